/** Finds the problems of a scan by itself: a file, or the DICOM series of a folder. */
import { platform } from "#platform";
import { bounded, escaped } from "../../core/errors.ts";
import { trimSlashes } from "../../core/paths.ts";
import { axisCodes } from "../volume/affine.ts";
import { FormatError } from "../volume/format_error.ts";
import type { Volume } from "../volume/volume.ts";
import { filesWithin, isDicomFolder, namesIn } from "../formats/image_folders.ts";
import { readVolume } from "../formats/read_volume.ts";
import { otherReaders } from "../formats/readers.ts";
import { CaseChecker } from "./check_case.ts";
import type { Finding, Note } from "./finding.ts";
import { isGroupFile } from "./group.ts";

/**
 * Whether a path is a scan and no dataset: a file that is no group, or a folder of DICOM files.
 *
 * @example
 * ```ts
 * import { isScan } from "voxgrad/imaging";
 *
 * await isScan("data/Task04_Hippocampus"); // false
 * ```
 */
export async function isScan(path: string): Promise<boolean> {
  const place = trimSlashes(path);
  if (isGroupFile(place) || !(await platform.exists(place))) return false;
  const names = await namesIn(place);
  return names === undefined || names.includes("DICOMDIR") || (await isDicomFolder(place));
}

/**
 * Checks a scan: whether it can be read as a volume, its voxels and its geometry. Of a folder every DICOM series is
 * checked, also which of its fields identify a patient; what they say appears nowhere.
 *
 * @param path a file, or a folder of DICOM files
 * @returns a line about each series or file, and the findings
 * @throws PlatformError when the path cannot be read
 * @example
 * ```ts
 * import { checkScan } from "voxgrad/imaging";
 *
 * const { scans, findings } = await checkScan("scans/patient_01");
 * ```
 */
export async function checkScan(path: string): Promise<{ scans: string[]; findings: Finding[] }> {
  const place = trimSlashes(path);
  const findings: Finding[] = [];
  const scans: string[] = [];
  const note: Note = (severity, file, problem, fix) => {
    findings.push({ severity, file, problem: escaped(bounded(problem)), fix: escaped(bounded(fix)) });
  };
  const dataset = { folder: place, name: place, channels: [], labels: [], cases: [], testCases: [] };
  const check = async (title: string, read: () => Promise<Volume>, others = false): Promise<void> => {
    try {
      const volume = await read();
      new CaseChecker(dataset, 0.05, note).checkImage({ ...volume, name: title });
      const spacing = volume.spacing.map((mm) => +mm.toFixed(3)).join(" x ");
      scans.push(`${title}; ${volume.shape.join(" x ")} voxels of ${spacing} mm, ${axisCodes(volume.affine)}`);
    } catch (fault) {
      if (!(fault instanceof FormatError)) throw fault;
      // Beside what can be read, a file that is no volume may be meant to be there.
      note(others ? "warning" : "error", title, `it is no volume: ${fault.got}`, `Wanted: ${fault.wanted}`);
    }
  };
  const paths = await filesWithin(place);
  if (paths === undefined) await check(place, () => readVolume(place));
  else {
    const files = paths.map((name) => ({ name, read: () => platform.readFile(name) }));
    const all = await (await otherReaders(place)).listSeries(files, place);
    if (all.length === 0) note("error", place, "no DICOM image is in it", "Name the folder of a series");
    for (const { text, syntax, other, read } of all) {
      await check(syntax === "" ? text : `series ${text}, ${syntax}`, read, other && scans.length > 0);
    }
  }
  return { scans, findings };
}
