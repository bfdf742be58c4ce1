/** Finds all problems of a dataset folder, each with its file and its fix; holds one case at a time in memory. */
import { platform } from "#platform";
import { bounded, escaped, listed } from "../../core/errors.ts";
import { CaseChecker } from "./check_case.ts";
import { GroupChecker } from "./check_group.ts";
import { openDataset } from "./dataset.ts";
import type { Dataset, DatasetCase, OnFault, PlainFolders } from "./types.ts";
import { baseName, filesOf, imagesIn } from "./files.ts";
import { hasImageEnding, IMAGE_ENDINGS, withoutEnding } from "../formats/image_files.ts";
import type { Finding, Note } from "./finding.ts";
import { isGroupFile, openGroup } from "./group.ts";
import { countListed } from "./listed.ts";
import { DatasetError } from "./finding.ts";
import { readJson } from "./dataset_json.ts";
import { PlatformError } from "../../platform/types.ts";
import type { Volume } from "../volume/volume.ts";

export interface CheckOptions {
  /** Largest distance, in voxels, between the corners of image and label; default 0.05, as in loadCase. */
  readonly tolerance?: number;
}

/** Called for each case without an error, with its image files and its label as stored. */
type Visit = (item: DatasetCase, images: readonly Volume[], label: Volume) => void;

/**
 * Checks every file of a dataset and lists all problems: missing, extra and unreadable files, duplicate ids, grids that
 * differ between the files of a case, wrong numbers of channels, NaN, constant images, labels that are not integers,
 * not declared, not declared as present, empty, or used nowhere, left-handed affines.
 *
 * For a dataset group it checks every set, and also: labels without a place in the group, channels that differ, voxels
 * of one image that two cases label differently, paired organs whose sides had to be guessed.
 *
 * @param folder as for openDataset
 * @returns the findings in file order; without one of severity "error" every case loads
 * @throws PlatformError when the folder cannot be listed
 * @example
 * ```ts
 * import { checkDataset } from "voxgrad/imaging";
 *
 * const findings = await checkDataset("data/Task04_Hippocampus");
 * const errors = findings.filter((finding) => finding.severity === "error");
 * ```
 */
export async function checkDataset(folder: string | PlainFolders, options: CheckOptions = {}): Promise<Finding[]> {
  const findings: Finding[] = [];
  const seen = new Set<string>();
  const note: Note = (severity, file, problem, fix) => {
    // Report a file whose labels could not be read only once, not again with its case.
    const key = `${file}\n${problem}`;
    if (!seen.has(key)) {
      findings.push({ severity, file, problem: escaped(bounded(problem)), fix: escaped(bounded(fix)) });
    }
    seen.add(key);
  };
  const onFault: OnFault = ({ file, problem, fix }) => note("error", file, problem, fix);
  const { tolerance = 0.05 } = options;
  try {
    if (isGroupFile(folder)) {
      // Problems within a folder are reported when that folder is checked.
      const group = await openGroup(folder, (each) => openDataset(each, () => undefined), onFault);
      const checker = new GroupChecker(group, tolerance, note);
      for (const each of new Set(group.sets!.map((set) => set.folder))) {
        const dataset = await openDataset(each, onFault);
        await checkFolder(dataset, tolerance, findings, note, (...found) => checker.add(...found));
        await checkFiles(dataset, findings, note);
      }
      await checker.compareTwins();
    } else {
      const dataset = await openDataset(folder, onFault);
      await checkFolder(dataset, tolerance, findings, note);
      if (typeof folder === "string") await checkFiles(dataset, findings, note);
    }
  } catch (fault) {
    if (!(fault instanceof DatasetError)) throw fault;
    onFault(fault);
  }
  return findings;
}

async function checkFolder(
  dataset: Dataset,
  tolerance: number,
  findings: readonly Finding[],
  note: Note,
  visit?: Visit,
): Promise<void> {
  const checker = new CaseChecker(dataset, tolerance, note);
  const all = [...dataset.cases, ...dataset.testCases];
  const errors = () => findings.filter((finding) => finding.severity === "error").length;
  for (const [index, item] of all.entries()) {
    const before = errors();
    const { images, label } = await checker.check(item);
    if (label && errors() === before) visit?.(item, images, label);
    const [done, total] = [index + 1, all.length];
    platform.progress({ done, total, text: `case ${done}/${total}  ${item.id}  ${errors()} errors` });
  }
  checker.finish();
}

/** Files that no case uses, and a mismatch with the number in dataset.json. */
async function checkFiles(dataset: Dataset, findings: readonly Finding[], note: Note): Promise<void> {
  const { folder: root, description } = dataset;
  if (description === undefined) return;
  const all = [...dataset.cases, ...dataset.testCases];
  const used = new Set(all.flatMap((item) => [...item.images, ...(item.label ? [item.label] : [])]).map(withoutEnding));
  const folders = new Set(
    [...used].flatMap((path) => [...path.matchAll(/\//g)].map(({ index }) => path.slice(0, index))),
  );
  // Skip files of cases that have problems of their own; those are already reported.
  const caseOf = (path: string) => withoutEnding(baseName(path)).replace(/_\d{4}$/, "");
  const told = new Set(findings.map(({ file }) => caseOf(file)));
  const json = await readJson(description, "");
  const entries = countListed(json);
  for (const name of ["imagesTr", "labelsTr", "imagesTs"]) {
    const folder = `${root}/${name}`;
    for (const file of await filesOf(folder)) {
      const path = `${folder}/${file}`;
      const within = hasImageEnding(file) || folders.has(path) ? [] : await inside(path);
      const unused = (within.length > 0 ? within : [path]).filter((each) => !used.has(withoutEnding(each)));
      if (folders.has(path) || unused.length === 0 || told.has(caseOf(path))) continue;
      if (within.length > 0) {
        const problem = `no case uses the ${unused.length} images in it: ${
          listed(unused.map((each) => each.slice(path.length + 1)), 3)
        }`;
        note("error", path, problem, 'List them under "training" in dataset.json, if they belong to the dataset');
      } else if (!hasImageEnding(file)) {
        const problem = `it is no image (${IMAGE_ENDINGS}) and is not used`;
        note("warning", path, problem, "Convert it, if it is a scan; else it may stay");
      } else {
        note("error", path, "no case uses it", whyUnused(name, file, json.file_ending, entries));
      }
    }
  }
  const count = entries ?? dataset.cases.length;
  if (typeof json.numTraining !== "number" || json.numTraining === count || count === 0) return;
  const problem = `its numTraining is ${json.numTraining}, and there are ${count} training cases`;
  note("warning", description, problem, `Write "numTraining": ${count}, or look for lost files`);
}

/** Images in a path that may be a folder. */
async function inside(path: string): Promise<string[]> {
  try {
    return (await imagesIn(path)).map((name) => `${path}/${name}`);
  } catch (fault) {
    if (fault instanceof PlatformError && fault.code === "not-a-folder") return [];
    throw fault;
  }
}

/** Explains why no case uses a file. */
function whyUnused(folder: string, file: string, ending: unknown, entries: number | undefined): string {
  if (entries !== undefined) {
    return `List it under ${
      folder === "imagesTs" ? '"test"' : '"training"'
    } in dataset.json, if it belongs to the dataset`;
  }
  if (typeof ending === "string" && !file.toLowerCase().endsWith(ending.toLowerCase())) {
    return `dataset.json says that files end in ${ending} (file_ending), as others do: convert it, if it belongs ` +
      "to the dataset";
  }
  const stem = withoutEnding(file);
  return folder === "labelsTr"
    ? `Its image is looked for as imagesTr/${stem}_0000.nii.gz or imagesTr/${stem}.nii.gz: add that, if it ` +
      "belongs to the dataset"
    : `Its label is looked for as labelsTr/${
      stem.replace(/_\d{4}$/, "")
    }.nii.gz: add that, if it belongs to the dataset`;
}
