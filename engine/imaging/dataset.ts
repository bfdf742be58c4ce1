/** Dataset folders: Medical Segmentation Decathlon (MSD), nnU-Net raw, plain folders of images and labels; groups. */
import { platform } from "#platform";
import { DatasetError, isObject, readChannels, readJson, readLabels, readLabelsPresent } from "./dataset_json.ts";
import type { DatasetLabel, DatasetRegion, Json, LabelNames } from "./dataset_json.ts";
import { isGroupFile, openGroup } from "./dataset_group.ts";
import type { DatasetSet } from "./dataset_group.ts";
import { openPlain, plainFolders } from "./dataset_plain.ts";
import type { LabelMap } from "./label_map.ts";
import { imageStem } from "./read_volume.ts";

export { DatasetError } from "./dataset_json.ts";
export type { DatasetLabel, DatasetRegion } from "./dataset_json.ts";

export interface DatasetCase {
  readonly id: string;
  /** One file per channel, or a single file that holds them all. */
  readonly images: readonly string[];
  /** Absent for test cases. */
  readonly label?: string;
  /** Foreground values that were annotated in this case, lowest first; absent where all were. */
  readonly labelsPresent?: readonly number[];
  /**
   * In a dataset group: lists of two or more foreground values that its label does not tell apart, lowest first; a voxel of
   * any of them has the lowest. None of them is in `labelsPresent`.
   */
  readonly merged?: readonly (readonly number[])[];
  /** In a dataset group: the name of the set that it belongs to. */
  readonly set?: string;
  /** In a dataset group: how loadCase turns the labels of the file into those of the group. */
  readonly labelMap?: LabelMap;
}

export interface Dataset {
  /** The folder; of a dataset group its file. */
  readonly folder: string;
  readonly name: string;
  /** Channel names in order: ["T1", "T2"]. */
  readonly channels: readonly string[];
  /** By value, 0 (background) first, without gaps; `labels.length` is the number of classes. */
  readonly labels: readonly DatasetLabel[];
  /** Where labels overlap: one output of the network each, in the order of nnU-Net's regions_class_order. */
  readonly regions?: readonly DatasetRegion[];
  /** Value of voxels that count neither way (nnU-Net's "ignore"), where there is one. */
  readonly ignoreLabel?: number;
  readonly cases: readonly DatasetCase[];
  readonly testCases: readonly DatasetCase[];
  /** The sets of a dataset group. */
  readonly sets?: readonly DatasetSet[];
}

/** Two folders of files with the same names, or one folder twice, where a suffix tells labels from images. */
export interface PlainFolders {
  readonly images: string;
  readonly labels: string;
}

/** Is told a fault that leaves the rest of a dataset readable: throws it, or notes it. */
export type OnFault = (fault: DatasetError) => void;

/**
 * Opens a dataset folder: MSD (`training` lists the files; labels {"0": "background"}), nnU-Net raw (CASE_0000.nii.gz,
 * one file per channel; labels {"background": 0}), or, without dataset.json, images and labels beside each other in
 * folders named images and labels, imagesTr and labelsTr, image and mask and the like, or in the folder itself as
 * CASE_image and CASE_mask (or _label, _seg, ...); `{ images, labels }` names two folders, whatever they are called. Without dataset.json the label files are read for the values in them.
 *
 * Label values that are lists ("tumour": [1, 2]) are regions and want regions_class_order. Where some labels were not
 * annotated in every case, dataset.json says so: "labels_present": {"CASE": ["liver"]}, or labels_present in an entry
 * of training.
 *
 * A path that ends in .json is a dataset group: several folders with their own labels, as one dataset; see openGroup.
 *
 * @param onFault told what is wrong with single files, which are then left out; it is thrown unless given
 * @throws DatasetError naming the file at fault and what to do
 * @example const dataset = await openDataset("data/Task04_Hippocampus"); dataset.cases.length; // 260
 */
export async function openDataset(
  folder: string | PlainFolders,
  onFault: OnFault = (fault) => {
    throw fault;
  },
): Promise<Dataset> {
  const dataset = isGroupFile(folder)
    ? await openGroup(folder, (each) => openDataset(each, onFault), onFault)
    : await openFolder(folder, onFault);
  const seen = new Set<string>();
  const cases = dataset.cases.filter(({ id, images }) => {
    if (seen.has(id)) onFault(new DatasetError(images[0], `case ${id} is listed twice`, "List every case once"));
    return !seen.has(id) && seen.add(id);
  });
  return { ...dataset, cases };
}

async function openFolder(folder: string | PlainFolders, onFault: OnFault): Promise<Dataset> {
  const root = trimmed(typeof folder === "string" ? folder : folder.images);
  const plain = typeof folder === "string" ? await plainFolders(root) : folder;
  return plain
    ? openPlain(root, { images: trimmed(plain.images), labels: trimmed(plain.labels) }, onFault)
    : openDescribed(root, onFault);
}

const trimmed = (path: string): string => path.replace(/(?<=.)\/+$/, "");

async function openDescribed(root: string, onFault: OnFault): Promise<Dataset> {
  const file = `${root}/dataset.json`;
  const hint = "Name a folder in the layout of MSD or nnU-Net, with dataset.json, imagesTr and labelsTr";
  const json = await readJson(file, `${hint}, or one with images and labels; ${root} is none`);
  const names = readLabels(json, file);
  const channels = readChannels(json, file);
  const ending = typeof json.file_ending === "string" ? json.file_ending : ".nii.gz";
  if (!/^\.(nii|hdr|img)(\.gz)?$/.test(ending)) {
    throw new DatasetError(file, `file_ending is "${ending}"`, "Convert the images to .nii.gz, .nii or .hdr and .img");
  }
  const trainingFolders = { images: `${root}/imagesTr`, labels: `${root}/labelsTr` };
  const entries = listedEntries(json);
  let cases = entries
    ? await listedCases(root, entries, { file, names, onFault })
    : await namedCases(trainingFolders, { ending, channels: channels.length, onFault });
  const test = json.test;
  const testCases =
    Array.isArray(test) && test.length > 0
      ? test.map((entry) => testCase(root, entry, file))
      : await namedCases({ images: `${root}/imagesTs` }, { ending, channels: channels.length, onFault });
  if (cases.length === 0 && testCases.length === 0) {
    onFault(new DatasetError(file, "no case found", `Put images into ${root}/imagesTr and labels into ${root}/labelsTr`));
  }
  cases = withLabelsPresent(cases, json.labels_present, { file, names, onFault });
  const name = typeof json.name === "string" && json.name !== "" ? json.name : (root.split("/").pop() ?? root);
  return { folder: root, name, channels, ...names, cases, testCases };
}

const inside = (root: string, path: string): string => `${root}/${path.replace(/^\.\//, "")}`;

const caseId = (path: string): string => {
  const name = path.split("/").pop() ?? path;
  return imageStem(name) ?? name.replace(/\.img(\.gz)?$/, "");
};

interface Listed {
  readonly place: string;
  readonly id?: string;
  readonly images: readonly unknown[];
  readonly label: unknown;
  readonly present: unknown;
}

/** `training` of MSD, or `dataset` of nnU-Net: { CASE: { images: [...], label } }. */
function listedEntries(json: Json): Listed[] | undefined {
  const entry = (place: string, stored: unknown, id?: string): Listed => {
    const { image, images, label, labels_present: present } = isObject(stored) ? stored : ({} as Json);
    return { place, ...(id === undefined ? {} : { id }), images: Array.isArray(images) ? images : [image], label, present };
  };
  if (Array.isArray(json.training) && json.training.length > 0) {
    return json.training.map((stored, index) => entry(`training[${index}]`, stored));
  }
  if (!isObject(json.dataset)) return undefined;
  return Object.entries(json.dataset).map(([id, stored]) => entry(`dataset.${id}`, stored, id));
}

interface Context {
  readonly file: string;
  readonly names: LabelNames;
  readonly onFault: OnFault;
}

async function listedCases(root: string, entries: readonly Listed[], context: Context): Promise<DatasetCase[]> {
  const { file, names, onFault } = context;
  const folders = new Map<string, Set<string>>();
  const present = async (path: string): Promise<boolean> => {
    const cut = path.lastIndexOf("/");
    const folder = path.slice(0, cut);
    if (!folders.has(folder)) folders.set(folder, new Set(await filesOf(folder)));
    return folders.get(folder)!.has(path.slice(cut + 1));
  };
  const cases: DatasetCase[] = [];
  for (const { place, id, images, label, present: stored } of entries) {
    if (typeof label !== "string" || !images.every((image) => typeof image === "string")) {
      onFault(new DatasetError(file, `${place} is no pair of paths`, 'Write it as {"image": "...", "label": "..."}'));
      continue;
    }
    const paths = images.map((image) => inside(root, image as string));
    const labelPath = inside(root, label);
    let complete = true;
    for (const path of [...paths, labelPath]) {
      if (await present(path)) continue;
      complete = false;
      const problem = `no such file, though ${place} of dataset.json names it`;
      onFault(new DatasetError(path, problem, "Add it, or drop the entry"));
    }
    let labelsPresent: number[] | undefined;
    try {
      if (stored !== undefined) labelsPresent = readLabelsPresent(stored, names, place, file);
    } catch (fault) {
      if (!(fault instanceof DatasetError)) throw fault;
      onFault(fault);
    }
    if (!complete) continue;
    const known = labelsPresent ? { labelsPresent } : {};
    cases.push({ id: id ?? caseId(paths[0]), images: paths, label: labelPath, ...known });
  }
  return cases;
}

function withLabelsPresent(cases: DatasetCase[], stored: unknown, context: Context): DatasetCase[] {
  const { file, names, onFault } = context;
  if (stored === undefined) return cases;
  if (!isObject(stored)) {
    onFault(new DatasetError(file, "its labels_present is no object", 'Write {"CASE": ["liver"], ...}'));
    return cases;
  }
  const byCase = new Map<string, number[]>();
  for (const [id, list] of Object.entries(stored)) {
    try {
      if (!cases.some((item) => item.id === id)) {
        throw new DatasetError(file, `labels_present names ${id}, which is no case`, "Correct the name or drop it");
      }
      byCase.set(id, readLabelsPresent(list, names, id, file));
    } catch (fault) {
      if (!(fault instanceof DatasetError)) throw fault;
      onFault(fault);
    }
  }
  return cases.map((item) => (byCase.has(item.id) ? { ...item, labelsPresent: byCase.get(item.id)! } : item));
}

function testCase(root: string, entry: unknown, file: string): DatasetCase {
  const path = typeof entry === "string" ? entry : isObject(entry) ? entry.image : undefined;
  if (typeof path !== "string")
    throw new DatasetError(file, "an entry of test is no path", 'Write "./imagesTs/NAME.nii.gz"');
  return { id: caseId(path), images: [inside(root, path)] };
}

const filesOf = async (folder: string): Promise<string[]> =>
  (await platform.exists(folder)) ? platform.listFiles(folder) : [];

/** Files named CASE_0000, CASE_0001, ... by channel, and a label named CASE. */
async function namedCases(
  folders: { images: string; labels?: string },
  options: { ending: string; channels: number; onFault: OnFault },
): Promise<DatasetCase[]> {
  const { ending, channels, onFault } = options;
  const list = async (folder: string | undefined) =>
    folder === undefined
      ? []
      : (await filesOf(folder)).filter((name) => name.endsWith(ending) && !name.startsWith("."));
  const labels = new Set(await list(folders.labels));
  const byCase = new Map<string, string[]>();
  for (const name of await list(folders.images)) {
    const path = `${folders.images}/${name}`;
    const stem = name.slice(0, -ending.length);
    const match = /^(.+)_(\d{4})$/.exec(stem);
    if (!match) {
      const fix = `Call it ${stem}_0000${ending}, or list it under "training" in dataset.json`;
      onFault(new DatasetError(path, "its name does not end in a channel number", fix));
      continue;
    }
    const files = byCase.get(match[1]) ?? [];
    files[Number(match[2])] = path;
    byCase.set(match[1], files);
  }
  const cases: DatasetCase[] = [];
  for (const [id, files] of byCase) {
    const faults: DatasetError[] = [];
    for (let channel = 0; channel < Math.max(channels, files.length); channel++) {
      const path = `${folders.images}/${id}_${String(channel).padStart(4, "0")}${ending}`;
      if (channel < channels && !files[channel]) {
        faults.push(new DatasetError(path, `channel ${channel} of case ${id} is missing`, "Add the file"));
      } else if (channel >= channels && files[channel]) {
        const problem = `dataset.json names ${channels} channel(s)`;
        faults.push(new DatasetError(path, problem, "Remove the file or name its channel"));
      }
    }
    const label = folders.labels === undefined ? undefined : `${folders.labels}/${id}${ending}`;
    if (label !== undefined && !labels.has(`${id}${ending}`)) {
      const fix = `Add it, or move the images to ${folders.images.replace(/Tr$/, "Ts")}`;
      faults.push(new DatasetError(label, `case ${id} has no label`, fix));
    }
    faults.forEach(onFault);
    if (faults.length === 0) cases.push({ id, images: files, ...(label === undefined ? {} : { label }) });
  }
  return cases;
}
