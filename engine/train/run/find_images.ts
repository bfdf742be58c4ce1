/** Finds the images to segment. */
import { trimSlashes } from "../../core/paths.ts";
import { platform } from "#platform";
import { listed, VoxgradError } from "../../core/errors.ts";
import type { DatasetCase } from "../../imaging/dataset/types.ts";
import { baseName, checkCaseId, contentOf, folderOf, idsOf, imagesIn } from "../../imaging/dataset/files.ts";
import { hasImageEnding, IMAGE_ENDINGS, withoutEnding } from "../../imaging/formats/image_files.ts";
import { isDicomFolder, namesIn } from "../../imaging/formats/image_folders.ts";
import { isLabel, keysOf } from "../../imaging/dataset/plain.ts";
import { print } from "./logging.ts";
import { isWithin } from "./provenance.ts";

const number = (channel: number): string => String(channel).padStart(4, "0");

/** One way to parse a file name: its case and channel. */
interface Reading {
  readonly id: string;
  readonly channel: number;
}

/**
 * The cases in an image, or in a folder of them (.hdr stands for its pair, a folder of DICOM files for its series);
 * if it contains none directly, in its subfolders, such as one per patient. Files that differ only in their channel
 * form one case, by number as in nnU-Net (CASE_0000.nii.gz, CASE_0001.nii.gz) or by name (CASE_t1.nii.gz,
 * CASE_flair.nii.gz); any other file is a case with all channels. A file named like the label of another image is
 * skipped and reported.
 *
 * @param given an image (any file of a case with several, the folder of a DICOM series), or a folder of them
 * @param channels number of channels, or their names in order
 * @param onFault called with the error of a case, which is then skipped; default: throws
 * @param output the output folder: if it lies within that folder, its files are not images
 * @returns cases by id: the file's name without channel and ending; if several share a name, prefixed by their folders
 * @throws VoxgradError without images, with a missing channel, or if two files are the same case; PlatformError
 * @example
 * ```ts
 * import { findImages } from "voxgrad/train";
 *
 * const cases = await findImages("imagesTs", 1);
 * ```
 */
export async function findImages(
  given: string,
  channels: number | readonly string[],
  onFault: (id: string, fault: VoxgradError) => void = (_, fault) => {
    throw fault;
  },
  output = "",
): Promise<DatasetCase[]> {
  const input = trimSlashes(given);
  const ordered = typeof channels === "number" ? [] : channels;
  const names = ordered.map((name) => name.toLowerCase());
  const count = typeof channels === "number" ? channels : channels.length;
  // A file, or the folder of a DICOM series.
  const single = hasImageEnding(input) || ((await platform.exists(input)) && (await namesIn(input)) === undefined) ||
    (await isDicomFolder(input));
  const folder = single ? folderOf(input) : input;
  const file = (
    name: string,
  ): string => (folder === "." && !input.startsWith("./") && single ? name : `${folder}/${name}`);
  const read = (stem: string): Reading => {
    // With several channels any number counts; with one, only _0000: case_0007 is more likely a seventh case.
    const [, id, digits] = (count > 1 ? /^(.+)_(\d{4})$/ : /^(.+)_(0000)$/).exec(stem) ?? [];
    if (id !== undefined) return { id, channel: Number(digits) };
    // A single channel is recognized by name only in a patient's folder.
    const [, before, name] = (count > 1 ? /^(.+)[/_.-]([^/_.-]+)$/ : /^(.+)\/([^/]+)$/).exec(stem) ?? [];
    const channel = names.indexOf(name?.toLowerCase() ?? "");
    return channel >= 0 ? { id: before, channel } : { id: stem, channel: 0 };
  };
  let found = single ? [] : await imagesIn(folder, 0);
  if (single) {
    const { id } = read(withoutEnding(baseName(input)));
    const beside = (await platform.exists(folder)) ? await imagesIn(folder, 0) : [];
    const parts = id === withoutEnding(baseName(input))
      ? []
      : beside.filter((name) => read(withoutEnding(name)).id === id);
    found = parts.some((name) => file(name) === input) ? parts : [baseName(input)];
  } else if (found.length === 0) {
    found = await imagesIn(folder, 3);
    if (output !== "" && (await isWithin(output, folder)) && !(await isWithin(folder, output))) {
      const results = await Promise.all(found.map((name) => isWithin(folderOf(file(name)), output)));
      found = found.filter((_, k) => !results[k]);
    }
  }
  if (found.length === 0) {
    const there = (await contentOf(folder)).slice(0, 400);
    throw new VoxgradError(
      `${input}: there is no image in it, nor in the folders within (${IMAGE_ENDINGS}); ${there}`,
    );
  }
  const files = new Map<string, string[]>();
  const faulty = new Set<string>();
  for (const name of found) {
    const { id, channel } = read(withoutEnding(name));
    const list = files.get(id) ?? [];
    const twin = list[channel];
    if (twin === undefined) list[channel] = file(name);
    else {
      faulty.add(id);
      onFault(
        id,
        new VoxgradError(`${file(name)}: ${twin} is the same case; keep in the folder the one that is meant`),
      );
    }
    files.set(id, list);
  }
  const labels = [...files.keys()].filter((id) =>
    isLabel(id) && keysOf(id).some((key) => key !== id && files.has(key))
  );
  if (labels.length > 0 && !single) {
    print(
      `Not taken for images, for they are called as labels of others: ${
        listed(labels.flatMap((id) => files.get(id)!).map(baseName))
      }`,
    );
    for (const id of labels) files.delete(id);
  }
  const stems = [...files.keys()];
  const ids = idsOf(stems);
  const cases: DatasetCase[] = [];
  stems.forEach((stem, k) => {
    const images = files.get(stem)!;
    const id = ids[k];
    const fail = (message: string): void => {
      faulty.add(stem);
      onFault(id, new VoxgradError(message));
    };
    try {
      checkCaseId(id, Array.from(images).find(Boolean)!);
    } catch (fault) {
      faulty.add(stem);
      onFault(id, fault as VoxgradError);
    }
    if (images.length > count) fail(`${images.at(-1)}: the network takes ${count} channel(s), numbered from 0000`);
    // A single file may contain all channels; loadCase checks that.
    const missing = images.length > 1 && images.length <= count
      ? Array.from({ length: count }, (_, c) => c).find((c) => !images[c])
      : undefined;
    if (missing !== undefined) {
      const named = ordered[missing] === undefined ? "" : ` or ${baseName(stem)}_${ordered[missing]}`;
      fail(
        `${input}: case ${id} has no channel ${number(missing)}; add ${baseName(stem)}_${
          number(missing)
        }.nii.gz${named}`,
      );
    }
    if (!faulty.has(stem)) cases.push({ id, images });
  });
  return cases;
}
