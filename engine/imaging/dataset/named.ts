/** Cases by the names of their files, as in nnU-Net: CASE_0000, CASE_0001, ... by channel, and a label CASE. */
import type { DatasetCase, OnFault } from "./types.ts";
import { channelFiles, contentOf, filesOf, isImageIn } from "./files.ts";
import { hasImageEnding, withoutEnding } from "../formats/image_files.ts";
import { DatasetError } from "./finding.ts";

/**
 * The cases in two folders. An image with all channels in one file may also have the name of its label; images without
 * labels, in a test folder, may have any name.
 *
 * @param options ending: of the files; ignored if no file has it; default: any image
 */
export async function namedCases(
  folders: { images: string; labels?: string },
  options: { ending?: string; channels: number; onFault: OnFault },
): Promise<DatasetCase[]> {
  const { ending, channels, onFault } = options;
  /** Names of the images in a folder; only those with the ending, if there are any. */
  const list = async (folder: string): Promise<string[]> => {
    const names = await filesOf(folder);
    const wanted = ending === undefined
      ? []
      : names.filter((name) => hasImageEnding(name) && name.toLowerCase().endsWith(ending));
    if (wanted.length > 0) return wanted;
    const found: string[] = [];
    for (const name of names) if (await isImageIn(folder, name)) found.push(name);
    return found;
  };
  // A label may have another ending than the images.
  const labels = new Map<string, string[]>();
  const ended = (name: string): boolean =>
    ending !== undefined && hasImageEnding(name) && name.toLowerCase().endsWith(ending);
  for (const name of folders.labels === undefined ? [] : await filesOf(folders.labels)) {
    if (!ended(name) && !(await isImageIn(folders.labels!, name))) continue;
    const others = labels.get(withoutEnding(name)) ?? [];
    if (others.some(ended)) continue;
    labels.set(withoutEnding(name), ended(name) ? [name] : [...others, name]);
  }
  const byCase = new Map<string, string[][]>();
  for (const name of await list(folders.images)) {
    const stem = withoutEnding(name);
    const whole = labels.has(stem);
    const [, id = stem, channel] = whole ? [] : (/^(.+)_(\d{4})$/.exec(stem) ?? []);
    if (!whole && channel === undefined && folders.labels !== undefined) {
      const fix =
        `Files of a case are looked for as ${stem}_0000.nii.gz, with the number of the channel, or by the name of ` +
        "its " +
        'label; list others under "training" in dataset.json';
      onFault(
        new DatasetError(
          `${folders.images}/${name}`,
          "its name does not end in a channel number, and no label has it",
          fix,
        ),
      );
      continue;
    }
    const files = byCase.get(id) ?? [];
    (files[Number(channel ?? 0)] ??= []).push(`${folders.images}/${name}`);
    byCase.set(id, files);
  }
  const cases: DatasetCase[] = [];
  for (const [id, files] of byCase) {
    const only = files.length === 1 && files[0].length === 1 && withoutEnding(files[0][0]).endsWith(`/${id}`);
    const { images, faults } = channelFiles(files, {
      id,
      folder: folders.images,
      channels: only ? 1 : channels,
      ...(ending && { ending }),
    });
    let label: string | undefined;
    if (folders.labels !== undefined) {
      const [name, twin] = labels.get(id) ?? [];
      label = `${folders.labels}/${name}`;
      if (name === undefined) {
        const wanted = `${folders.labels}/${id}${ending ?? ".nii.gz"}`;
        const fix = `Add it; images without labels belong into ${folders.images.replace(/Tr$/, "Ts")}`;
        faults.push(new DatasetError(wanted, `case ${id} has no label`, `${fix}; ${await contentOf(folders.labels)}`));
      } else if (twin !== undefined) {
        const fix = 'Say by "file_ending" in dataset.json which is meant';
        faults.push(
          new DatasetError(`${folders.labels}/${twin}`, `it and ${label} are both the label of case ${id}`, fix),
        );
      }
    }
    faults.forEach(onFault);
    if (faults.length === 0) cases.push({ id, images, ...(label === undefined ? {} : { label }) });
  }
  return cases;
}
