/**
 * Datasets without dataset.json: a folder of images and one of labels, or one folder of both, with or without one
 * folder per patient. Names tell which label belongs to which image.
 */
import { platform } from "#platform";
import { listed } from "../../core/errors.ts";
import type { Dataset, DatasetCase, OnFault, PlainFolders } from "./types.ts";
import { baseName, contentOf, folderOf, idsOf, imagesIn } from "./files.ts";
import { withoutEnding } from "../formats/image_files.ts";
import { DatasetError } from "./finding.ts";
import { brokenLabels, countValues, roundLabels } from "./label_values.ts";
import { readVolume } from "../formats/read_volume.ts";

// Common folder names, compared in lower case.
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
// Suffix of label files, or their whole name in a patient's folder: case_01_seg.nii.gz for case_01.nii.gz,
// p0/seg.nii.gz.
const SUFFIX = /[/_.-](labels?|masks?|seg|segmentation|gt)$/i;
// Suffix of image files: case_01_image.nii.gz.
const IMAGE_SUFFIX = /[/_.-](images?|img|scan|volume)$/i;
// Prefixes: volume-0.nii and segmentation-0.nii, img0001.nii and label0001.nii.
const PREFIX = /(?<=^|\/)(labels?|masks?|seg|segmentation|gt)([_.-]+(?=[^/])|(?=\d))/i;
const IMAGE_PREFIX = /(?<=^|\/)(images?|img|scan|volume)([_.-]+(?=[^/])|(?=\d))/i;
// Modalities used in place of a channel number: case_01_t1.nii.gz, case_01_flair.nii.gz.
const MODALITY =
  /^(.+)[/_.-](t1|t1w|t1n|t1c|t1ce|t1gd|t2|t2w|t2f|flair|pd|swi|dwi|adc|hbv|mra?|ct|ctres|pet|suv|cbf|cbv|mtt|tmax)$/i;

/** Whether a name is that of a label file. */
export const isLabel = (stem: string): boolean => SUFFIX.test(stem) || PREFIX.test(stem);

/** One way to parse the name of an image: the key of its label, the case id, the channel. */
export interface Reading {
  readonly key: string;
  readonly id: string;
  readonly channel: string;
}

/** The ways to parse the name of an image, the simplest first. */
export function readingsOf(stem: string): Reading[] {
  const readings: Reading[] = [{ key: stem, id: stem, channel: "" }];
  const bare = stem.replace(IMAGE_SUFFIX, "");
  if (bare !== stem) readings.push({ key: bare, id: bare, channel: "" });
  // CASE_0000 is a channel only if the label names say so: case_0007 may be a seventh case.
  for (const each of new Set([stem, bare])) {
    const [, key, channel] = /^(.+)_(\d{4})$/.exec(each) ?? MODALITY.exec(each) ?? [];
    if (key !== undefined) readings.push({ key, id: key, channel: channel.toLowerCase() });
  }
  const short = stem.replace(IMAGE_PREFIX, "");
  if (short !== stem) readings.push({ key: short, id: stem, channel: "" });
  return readings;
}

/** The names that the image of a label may have, the simplest first. */
export const keysOf = (stem: string): string[] => [stem, stem.replace(SUFFIX, ""), stem.replace(PREFIX, "")];

/**
 * The two folders in `root` if it has no dataset.json and exactly one folder of each kind; `root` for both if names
 * tell its images from its labels; else undefined.
 */
export async function plainFolders(root: string): Promise<PlainFolders | undefined> {
  if (!(await platform.exists(root)) || (await platform.exists(`${root}/dataset.json`))) return undefined;
  const names = await platform.listFiles(root);
  const [images, labels] = [IMAGES, LABELS].map((kind) => names.filter((name) => kind.includes(name.toLowerCase())));
  if (images.length === 1 && labels.length === 1) {
    return { images: `${root}/${images[0]}`, labels: `${root}/${labels[0]}` };
  }
  const stems = (await imagesIn(root)).map(withoutEnding);
  const marked = stems.some(isLabel) && stems.some((stem) => !isLabel(stem));
  return marked ? { images: root, labels: root } : undefined;
}

/** Pairs the files of two folders, or of one, by name and reads their label values. */
export async function openPlain(root: string, folders: PlainFolders, onFault: OnFault): Promise<Dataset> {
  const found = await pairs(folders, onFault);
  const channels = await channelsOf(found, folders, onFault);
  const cases = found.filter(({ id, files }) => {
    const own = [...files.keys()].sort();
    const whole = own.join() === channels.keys.join() || own.join() === "";
    if (whole) return true;
    const text = (keys: readonly string[]): string => (keys.join() === "" ? "one file" : listed(keys));
    const problem = `case ${id} has other channels (${text(own)}) than the first case, which has ${
      text(channels.keys)
    }`;
    const fix =
      "Give every case a file for each channel: CASE_0000, CASE_0001, ... without gaps, or CASE_t1, CASE_flair, ...";
    onFault(new DatasetError([...files.values()][0], problem, fix));
    return false;
  }).map(({ id, files, label }): DatasetCase => ({ id, images: [...files].sort().map(([, path]) => path), label }));
  const classes = await classesOf(cases, folders, onFault);
  const labels = Array.from(
    { length: classes },
    (_, value) => ({ value, name: value === 0 ? "background" : `label ${value}` }),
  );
  return { folder: root, name: baseName(root), channels: channels.names, labels, cases, testCases: [] };
}

interface Pair {
  readonly id: string;
  /** Image files by channel: "", "0000", "t1". */
  readonly files: ReadonlyMap<string, string>;
  readonly label: string;
}

async function pairs(folders: PlainFolders, onFault: OnFault): Promise<Pair[]> {
  const mixed = folders.images === folders.labels;
  const all = async (folder: string, wanted: (stem: string) => boolean) =>
    (await imagesIn(folder)).map((name) => ({ path: `${folder}/${name}`, stem: withoutEnding(name) })).filter((
      { stem },
    ) => !mixed || wanted(stem));
  const labelFiles = await all(folders.labels, isLabel);
  const images = (await all(folders.images, (stem) => !isLabel(stem))).map((image) => ({
    ...image,
    readings: readingsOf(image.stem),
  }));
  const keys = new Set(images.flatMap(({ readings }) => readings.map(({ key }) => key)));
  const labels = new Map<string, string>();
  for (const { path, stem } of labelFiles) {
    const names = keysOf(stem);
    const key = names.find((each) => keys.has(each)) ?? names.find((each) => each !== stem) ?? stem;
    const twin = labels.get(key);
    if (twin !== undefined) onFault(twice(path, `${baseName(twin)} is the label of ${key} too`));
    else labels.set(key, path);
  }
  // In a patient's folder with one label and one image they belong together, whatever their names.
  const only = (folder: string, list: readonly { stem: string }[]): boolean =>
    folder !== "." && list.filter(({ stem }) => folderOf(stem) === folder).length === 1;
  const grouped = new Map<string, { id: string; files: Map<string, string>; label: string }>();
  const alone: { path: string; key: string }[] = [];
  for (const { path, stem, readings } of images) {
    let reading = readings.find(({ key }) => labels.has(key));
    const folder = folderOf(stem);
    if (!reading && only(folder, images) && only(folder, labelFiles)) {
      const label = labelFiles.find((each) => folderOf(each.stem) === folder)!.path;
      const key = [...labels].find(([, each]) => each === label)?.[0];
      if (key !== undefined) reading = { key, id: folder, channel: "" };
    }
    if (!reading) {
      alone.push({ path, key: readings.at(mixed || readings.length > 1 ? 1 : 0)?.key ?? stem });
      continue;
    }
    const { key, id, channel } = reading;
    const group = grouped.get(key) ?? { id, files: new Map(), label: labels.get(key)! };
    const twin = group.files.get(channel);
    if (twin !== undefined) onFault(twice(path, `${twin} is the image of ${id} too`));
    else group.files.set(channel, path);
    grouped.set(key, group);
  }
  const unused = [...labels].filter(([key]) => !grouped.has(key)).map(([, path]) => path);
  if (grouped.size === 0) throw await noPair(folders, images.map(({ path }) => path), unused);
  for (const { path, key } of alone) {
    const wanted = mixed ? `label of ${key}, such as ${key}_mask` : `file named ${key}`;
    onFault(new DatasetError(path, `${folders.labels} has no ${wanted}`, "Add it"));
  }
  for (const path of unused) {
    onFault(
      new DatasetError(
        path,
        `${folders.images} has no such image`,
        "Add the image, if the label belongs to the dataset",
      ),
    );
  }
  const groups = [...grouped.values()];
  const ids = idsOf(groups.map(({ id }) => id));
  return groups.map(({ files, label }, k) => ({ id: ids[k], files, label }));
}

const twice = (file: string, problem: string): DatasetError =>
  new DatasetError(file, problem, "Keep in the folder the one that is meant, and the other elsewhere");

/** The error if no image matches a label by name. */
async function noPair(
  folders: PlainFolders,
  images: readonly string[],
  labels: readonly string[],
): Promise<DatasetError> {
  const mixed = folders.images === folders.labels;
  const names = (paths: readonly string[]): string => (paths.length > 0 ? listed(paths.map(baseName), 3) : "none");
  const there = images.length + labels.length > 0
    ? `images: ${names(images)}; labels: ${names(labels)}`
    : [...new Set([await contentOf(folders.images), await contentOf(folders.labels)])].join(", ");
  const fix = mixed
    ? "Name images and labels alike but for a suffix, as case_01_image and case_01_mask, or volume-0 and segmentation-0"
    : `Put images into ${folders.images} and labels of the same names into ${folders.labels}`;
  const [first] = images;
  const problem = first !== undefined && labels.length > 0
    ? `${folders.labels} has no ${mixed ? "label of" : "file named"} ${
      withoutEnding(baseName(first))
    } or of any other image`
    : "no case found";
  return new DatasetError(folders.images, `${problem} (${there})`, fix);
}

/** The channels of the first readable case: its files by channel, and their names. */
async function channelsOf(
  found: readonly Pair[],
  folders: PlainFolders,
  onFault: OnFault,
): Promise<{ keys: string[]; names: string[] }> {
  const keys = [...found[0].files.keys()].sort();
  const numbered = keys.every((key, channel) => key === String(channel).padStart(4, "0"));
  if (numbered) return { keys, names: keys.map((_, channel) => `channel ${channel}`) };
  if (keys.join() !== "") {
    if (keys.every((key) => key !== "" && !/^\d/.test(key))) return { keys, names: keys };
    const fix = "Give every case a file for each channel: CASE_0000, CASE_0001, ... without gaps";
    const problem = `case ${found[0].id} has the channels ${listed(keys.map((key) => key || "without a number"))}`;
    onFault(new DatasetError([...found[0].files.values()][0], problem, fix));
    return { keys, names: keys.map((_, channel) => `channel ${channel}`) };
  }
  let first: DatasetError | undefined;
  for (const { files } of found) {
    const path = files.get("");
    if (path === undefined) continue;
    try {
      const { channels } = await readVolume(path);
      return { keys, names: Array.from({ length: channels }, (_, channel) => `channel ${channel}`) };
    } catch (fault) {
      first ??= unreadable(path, fault);
    }
  }
  onFault(first ?? new DatasetError(folders.images, "no case found", "Put images into it"));
  return { keys, names: ["channel 0"] };
}

/** The error for a file that cannot be read, with the reader's message. */
export function unreadable(path: string, fault: unknown): DatasetError {
  const text = (fault as Error).message;
  const problem = text.startsWith(`${path}: `) ? text.slice(path.length + 2) : text;
  return new DatasetError(path, `it cannot be read: ${problem}`, "Export it again, or leave the case out", fault);
}

/** Most distinct values in a label map; a file with more is not one. */
const MOST = 255;

/** Reads all labels and returns the number of classes; the values must be 0, 1, 2, ... without gaps. */
async function classesOf(cases: readonly DatasetCase[], folders: PlainFolders, onFault: OnFault): Promise<number> {
  const values = new Set<number>([0]);
  let read = 0;
  for (const { label } of cases) {
    try {
      const { volume, broken } = roundLabels(await readVolume(label!));
      if (broken.length > 0) throw new DatasetError(label!, ...brokenLabels(volume, broken));
      const own = countValues(volume).map(([value]) => value);
      if (own.length > MOST) {
        const fix = "Name the folder of the labels, not that of the images";
        throw new DatasetError(label!, `it holds more than ${MOST} different values`, fix);
      }
      if (own[0] < 0) throw new DatasetError(label!, `it holds ${own[0]}`, "Labels are integers from 0 on");
      for (const value of own) values.add(value);
      read++;
    } catch (fault) {
      onFault(fault instanceof DatasetError ? fault : unreadable(label!, fault));
    }
  }
  const sorted = [...values].sort((a, b) => a - b);
  if (sorted.length > 1 && sorted.length <= MOST && sorted.every((value, index) => value === index)) {
    return sorted.length;
  }
  const moved = sorted.flatMap((value, index) => (value === index ? [] : [`${index} for ${value}`]));
  const fix = sorted.length > MOST
    ? `Merge some: at most ${MOST} classes fit`
    : sorted.length > 1
    ? `Number them 0, 1, 2, ... without gaps in the files: write ${listed(moved, 8)}`
    : "Mark the structures in them by 1, 2, ...";
  const all = read === cases.length ? "" : ` that can be read (${read} of ${cases.length})`;
  if (read > 0) {
    onFault(new DatasetError(folders.labels, `the label files${all} hold ${listed(sorted.map(String))} alone`, fix));
  }
  return Math.max(2, Math.min(MOST, sorted.length));
}
