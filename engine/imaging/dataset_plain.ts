/**
 * Datasets without dataset.json: a folder of images and one of labels whose files have the same names, or one folder of
 * both, where label files are known by their suffix.
 */
import { platform } from "#platform";
import type { Dataset, DatasetCase, OnFault, PlainFolders } from "./dataset.ts";
import { DatasetError } from "./dataset_json.ts";
import { imageStem, readVolume } from "./read_volume.ts";

// Folder names as datasets have them, compared in lower case.
const IMAGES = ["images", "imagestr", "image", "img", "imgs", "imgtr", "scans", "volumes"];
const LABELS = [
  "labels",
  "labelstr",
  "label",
  "masks",
  "mask",
  "segmentations",
  "segmentation",
  "segs",
  "seg",
  "annotations",
  "annotation",
  "gt",
  "groundtruth",
  "ground_truth",
];
// What is appended to the names of label files: case_01_seg.nii.gz for case_01.nii.gz.
const SUFFIX = /[_.-](labels?|mask|seg|segmentation|gt)$/i;
// What image files may have in its place: case_01_image.nii.gz.
const IMAGE_SUFFIX = /[_.-](images?|img|scan|volume)$/i;

const visible = async (folder: string): Promise<string[]> =>
  (await platform.listFiles(folder)).filter((name) => !name.startsWith(".") && imageStem(name) !== undefined);

/**
 * The two folders in `root`, where there is no dataset.json and each kind is there once; `root` for both, where its files
 * are images and labels told apart by a suffix; else undefined.
 */
export async function plainFolders(root: string): Promise<PlainFolders | undefined> {
  if (!(await platform.exists(root)) || (await platform.exists(`${root}/dataset.json`))) return undefined;
  const names = await platform.listFiles(root);
  const [images, labels] = [IMAGES, LABELS].map((kind) => names.filter((name) => kind.includes(name.toLowerCase())));
  if (images.length === 1 && labels.length === 1) return { images: `${root}/${images[0]}`, labels: `${root}/${labels[0]}` };
  const stems = (await visible(root)).map((name) => imageStem(name)!);
  const marked = stems.some((stem) => SUFFIX.test(stem)) && stems.some((stem) => !SUFFIX.test(stem));
  return marked ? { images: root, labels: root } : undefined;
}

/** Pairs the files of two folders, or of one, by name and finds the labels in them. */
export async function openPlain(root: string, folders: PlainFolders, onFault: OnFault): Promise<Dataset> {
  const mixed = folders.images === folders.labels;
  const isLabel = (name: string): boolean => SUFFIX.test(imageStem(name)!);
  const labels = new Map<string, string>();
  for (const name of (await visible(folders.labels)).filter((each) => !mixed || isLabel(each))) {
    const id = imageStem(name)!.replace(SUFFIX, "");
    if (labels.has(id)) onFault(twice(`${folders.labels}/${name}`, `${labels.get(id)} is the label of ${id} too`));
    else labels.set(id, name);
  }
  const stems = new Map<string, string[]>();
  for (const name of (await visible(folders.images)).filter((each) => !mixed || !isLabel(each))) {
    const stem = imageStem(name)!;
    const bare = stem.replace(IMAGE_SUFFIX, "");
    // CASE_0000 is a channel only where the labels say so, for case_0007 may be a seventh case.
    const whole = [stem, bare].find((each) => labels.has(each));
    const [, id = bare, channel = "0"] = whole === undefined ? (/^(.+)_(\d{4})$/.exec(bare) ?? []) : [, whole];
    const files = stems.get(id) ?? [];
    const path = `${folders.images}/${name}`;
    if (files[Number(channel)]) onFault(twice(path, `${files[Number(channel)]} is the image of ${id} too`));
    else files[Number(channel)] = path;
    stems.set(id, files);
  }
  const found: DatasetCase[] = [];
  for (const [id, files] of stems) {
    const label = labels.get(id);
    labels.delete(id);
    if (label !== undefined) found.push({ id, images: files, label: `${folders.labels}/${label}` });
    else onFault(new DatasetError(files.find(Boolean)!, `${folders.labels} has no ${mixed ? `label of ${id}, such as ${id}_mask` : `file named ${id}`}`, "Add it"));
  }
  for (const name of labels.values()) {
    onFault(
      new DatasetError(`${folders.labels}/${name}`, `${folders.images} has no such image`, "Add it, or remove this"),
    );
  }
  const channels = await channelsOf(found, folders);
  const cases = found.filter(({ id, images }) => {
    const whole = images.length === channels.length || images.length === 1;
    if (whole && Array.from(images).every(Boolean)) return true;
    const problem = `case ${id} has other channels than the first case, which has ${channels.length}`;
    onFault(
      new DatasetError(Array.from(images).find(Boolean)!, problem, "Number the files _0000, _0001, ... without gaps"),
    );
    return false;
  });
  const highest = await highestLabel(cases, folders, onFault);
  const name = root.split("/").pop() ?? root;
  const names = Array.from({ length: highest + 1 }, (_, value) => (value === 0 ? "background" : `label ${value}`));
  return {
    folder: root,
    name,
    channels,
    labels: names.map((label, value) => ({ value, name: label })),
    cases,
    testCases: [],
  };
}

const twice = (file: string, problem: string): DatasetError => new DatasetError(file, problem, "Remove one of the two");

async function channelsOf(cases: readonly DatasetCase[], folders: PlainFolders): Promise<string[]> {
  if (cases.length === 0) {
    const fix = folders.images === folders.labels
      ? "Name images and labels alike but for a suffix, as case_01_image and case_01_mask"
      : `Put images into it and labels of the same names into ${folders.labels}`;
    throw new DatasetError(folders.images, "no case found", fix);
  }
  const { images } = cases[0];
  const count = images.length > 1 ? images.length : (await readVolume(images[0])).channels;
  return Array.from({ length: count }, (_, channel) => `channel ${channel}`);
}

/** Reads all labels: the values in them have to be 0, 1, 2, ... without gaps. */
async function highestLabel(cases: readonly DatasetCase[], folders: PlainFolders, onFault: OnFault): Promise<number> {
  const values = new Set<number>([0]);
  for (const { label } of cases) {
    let last = NaN;
    try {
      for (const value of (await readVolume(label!)).data) {
        if (value === last) continue;
        values.add((last = value));
        if (!(Number.isInteger(value) && value >= 0 && value < 255)) {
          throw new DatasetError(label!, `it holds ${value}`, "Labels are whole numbers from 0 to 254");
        }
      }
    } catch (fault) {
      // A check goes on and reads the file again later, which tells what was wrong with it.
      if (fault instanceof DatasetError) onFault(fault);
      else onFault(new DatasetError(label!, `it cannot be read (${(fault as Error).message})`, "Replace it", fault));
    }
  }
  const sorted = [...values]
    .sort((a, b) => a - b)
    .filter((value) => Number.isInteger(value) && value >= 0 && value < 255);
  if (sorted.length > 1 && sorted.every((value, index) => value === index)) return sorted.length - 1;
  const fix =
    sorted.length > 1
      ? "Number them 0, 1, 2, ... without gaps in the files"
      : "Mark the structures in them by 1, 2, ...";
  onFault(new DatasetError(folders.labels, `the label files hold ${sorted.join(", ")} alone`, fix));
  return Math.max(1, sorted.length - 1);
}
