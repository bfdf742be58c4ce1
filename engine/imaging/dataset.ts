/** Dataset folders of the Medical Segmentation Decathlon (MSD) and of nnU-Net: dataset.json, imagesTr, labelsTr. */
import { platform } from "#platform";
import { VoxgradError } from "../core/errors.ts";

/** A dataset that cannot be used as it is; `file` is the culprit and the message ends with the fix. */
export class DatasetError extends VoxgradError {
  override name = "DatasetError";
  readonly file: string;

  constructor(file: string, problem: string, fix: string, cause?: unknown) {
    super(`${file}: ${problem}. ${fix}`);
    this.file = file;
    if (cause !== undefined) this.cause = cause;
  }
}

export interface DatasetLabel {
  readonly value: number;
  readonly name: string;
}

export interface DatasetCase {
  readonly id: string;
  /** One file per channel, or a single file that holds them all. */
  readonly images: readonly string[];
  /** Absent for test cases. */
  readonly label?: string;
}

export interface Dataset {
  readonly folder: string;
  readonly name: string;
  /** Channel names in order: ["T1", "T2"]. */
  readonly channels: readonly string[];
  /** By value, 0 (background) first, without gaps; `labels.length` is the number of classes. */
  readonly labels: readonly DatasetLabel[];
  /** Value of voxels that count neither way (nnU-Net's "ignore"), where there is one. */
  readonly ignoreLabel?: number;
  readonly cases: readonly DatasetCase[];
  readonly testCases: readonly DatasetCase[];
}

type Json = Record<string, unknown>;

/**
 * Opens a dataset folder: MSD (`training` lists the files; labels {"0": "background"}) or nnU-Net raw
 * (CASE_0000.nii.gz, one file per channel; labels {"background": 0}). Files are named, not read.
 *
 * @throws DatasetError naming the file at fault and what to do
 * @example const dataset = await openDataset("data/Task04_Hippocampus"); dataset.cases.length; // 260
 */
export async function openDataset(folder: string): Promise<Dataset> {
  const root = folder.replace(/(?<=.)\/+$/, "");
  const file = `${root}/dataset.json`;
  const json = await readJson(root, file);
  const { labels, ignoreLabel } = readLabels(json.labels, file);
  const channels = readChannels(json, file);
  const ending = typeof json.file_ending === "string" ? json.file_ending : ".nii.gz";
  if (ending !== ".nii.gz" && ending !== ".nii") {
    throw new DatasetError(file, `file_ending is "${ending}"`, "Convert the images to .nii.gz or .nii");
  }
  const listed = Array.isArray(json.training) && json.training.length > 0;
  const cases = listed
    ? await listedCases(root, json.training as unknown[], file)
    : await namedCases(root, "imagesTr", "labelsTr", { ending, channels: channels.length });
  const testCases =
    Array.isArray(json.test) && json.test.length > 0
      ? json.test.map((entry) => testCase(root, entry, file))
      : await namedCases(root, "imagesTs", undefined, { ending, channels: channels.length });
  if (cases.length === 0 && testCases.length === 0) {
    throw new DatasetError(file, "no case found", `Put images into ${root}/imagesTr and labels into ${root}/labelsTr`);
  }
  const seen = new Set<string>();
  for (const { id } of cases) {
    if (seen.has(id)) throw new DatasetError(file, `case ${id} is listed twice`, "List every case once");
    seen.add(id);
  }
  const name = typeof json.name === "string" && json.name !== "" ? json.name : (root.split("/").pop() ?? root);
  return {
    folder: root,
    name,
    channels,
    labels,
    ...(ignoreLabel === undefined ? {} : { ignoreLabel }),
    cases,
    testCases,
  };
}

async function readJson(root: string, file: string): Promise<Json> {
  if (!(await platform.exists(file))) {
    throw new DatasetError(
      file,
      "there is no such file",
      `Name a folder in the layout of MSD or nnU-Net, with dataset.json, imagesTr and labelsTr; ${root} is none`,
    );
  }
  const text = new TextDecoder().decode(await platform.readFile(file));
  let json: unknown;
  try {
    json = JSON.parse(text.replace(/^\uFEFF/, ""));
  } catch (cause) {
    throw new DatasetError(file, `it is no JSON (${(cause as Error).message})`, "Correct it in a text editor", cause);
  }
  if (typeof json !== "object" || json === null || Array.isArray(json)) {
    throw new DatasetError(file, "it holds no object", 'Start it with {"labels": {"background": 0, ...}, ...}');
  }
  return json as Json;
}

function readLabels(stored: unknown, file: string): { labels: DatasetLabel[]; ignoreLabel?: number } {
  const example = 'Write them as {"background": 0, "liver": 1} or {"0": "background", "1": "liver"}';
  if (typeof stored !== "object" || stored === null || Array.isArray(stored)) {
    throw new DatasetError(file, "it has no labels", example);
  }
  const entries = Object.entries(stored);
  // MSD has values as keys, nnU-Net names. {"1": 1} alone is either: a number as the value decides for nnU-Net.
  const labels = entries.map(([key, value]): DatasetLabel => {
    if (Array.isArray(value)) {
      throw new DatasetError(file, `label "${key}" is a region of several values`, "Give each label one value");
    }
    const byValue = typeof value === "string" && /^\d+$/.test(key) && !/^\d+$/.test(value);
    const label = byValue ? { value: Number(key), name: value } : { value: Number(value), name: key };
    if (value === "" || !Number.isInteger(label.value) || label.value < 0) {
      throw new DatasetError(
        file,
        `label ${JSON.stringify(key)}: ${JSON.stringify(value)} has no whole value`,
        example,
      );
    }
    return label;
  });
  labels.sort((a, b) => a.value - b.value);
  const ignore = labels.find((label) => label.name === "ignore");
  const used = labels.filter((label) => label !== ignore);
  used.forEach((label, index) => {
    if (label.value !== index) {
      const values = labels.map((l) => l.value).join(", ");
      throw new DatasetError(
        file,
        `its label values are ${values}`,
        "Number the labels 0 (background), 1, 2, ... without gaps",
      );
    }
  });
  if (used.length < 2) throw new DatasetError(file, "it names no label beside the background", example);
  if (ignore && ignore.value !== used.length) {
    throw new DatasetError(file, `"ignore" is ${ignore.value}`, `Give it the highest value, ${used.length}`);
  }
  return ignore ? { labels: used, ignoreLabel: ignore.value } : { labels: used };
}

function readChannels(json: Json, file: string): string[] {
  const stored = json.channel_names ?? json.modality;
  if (typeof stored !== "object" || stored === null) {
    throw new DatasetError(file, "it has neither channel_names nor modality", 'Add "channel_names": {"0": "CT"}');
  }
  const entries = Object.entries(stored).map(([key, value]) => ({ index: Number(key), name: String(value) }));
  entries.sort((a, b) => a.index - b.index);
  if (entries.length === 0 || entries.some((entry, index) => entry.index !== index)) {
    throw new DatasetError(file, `its channels are ${Object.keys(stored).join(", ")}`, "Number them 0, 1, 2, ...");
  }
  return entries.map((entry) => entry.name);
}

const caseId = (path: string): string => (path.split("/").pop() ?? path).replace(/\.nii(\.gz)?$/, "");
const inside = (root: string, path: string): string => `${root}/${path.replace(/^\.\//, "")}`;

async function listedCases(root: string, training: readonly unknown[], file: string): Promise<DatasetCase[]> {
  const folders = new Map<string, Set<string>>();
  const present = async (path: string): Promise<boolean> => {
    const cut = path.lastIndexOf("/");
    const folder = path.slice(0, cut);
    if (!folders.has(folder)) {
      folders.set(folder, new Set((await platform.exists(folder)) ? await platform.listFiles(folder) : []));
    }
    return folders.get(folder)!.has(path.slice(cut + 1));
  };
  const cases: DatasetCase[] = [];
  for (const [index, entry] of training.entries()) {
    const { image, label } = (typeof entry === "object" && entry !== null ? entry : {}) as Json;
    if (typeof image !== "string" || typeof label !== "string") {
      throw new DatasetError(
        file,
        `training[${index}] is no pair of paths`,
        'Write it as {"image": "...", "label": "..."}',
      );
    }
    const [imagePath, labelPath] = [inside(root, image), inside(root, label)];
    for (const path of [imagePath, labelPath]) {
      if (await present(path)) continue;
      throw new DatasetError(
        path,
        `no such file, though training[${index}] of dataset.json names it`,
        "Add it, or drop the entry",
      );
    }
    cases.push({ id: caseId(image), images: [imagePath], label: labelPath });
  }
  return cases;
}

function testCase(root: string, entry: unknown, file: string): DatasetCase {
  const path = typeof entry === "string" ? entry : (entry as Json | null)?.image;
  if (typeof path !== "string")
    throw new DatasetError(file, "an entry of test is no path", 'Write "./imagesTs/NAME.nii.gz"');
  return { id: caseId(path), images: [inside(root, path)] };
}

async function namedCases(
  root: string,
  imageFolder: string,
  labelFolder: string | undefined,
  options: { ending: string; channels: number },
): Promise<DatasetCase[]> {
  const { ending, channels } = options;
  const list = async (folder: string) =>
    (await platform.exists(folder))
      ? (await platform.listFiles(folder)).filter((name) => name.endsWith(ending) && !name.startsWith("."))
      : [];
  const images = await list(`${root}/${imageFolder}`);
  const labels = new Set(labelFolder ? await list(`${root}/${labelFolder}`) : []);
  const byCase = new Map<string, string[]>();
  for (const name of images) {
    const match = /^(.+)_(\d{4})$/.exec(name.slice(0, -ending.length));
    if (!match) {
      throw new DatasetError(
        `${root}/${imageFolder}/${name}`,
        "its name does not end in a channel number",
        `Call it ${name.slice(0, -ending.length)}_0000${ending}, or list it under "training" in dataset.json`,
      );
    }
    const files = byCase.get(match[1]) ?? [];
    files[Number(match[2])] = `${root}/${imageFolder}/${name}`;
    byCase.set(match[1], files);
  }
  const cases: DatasetCase[] = [];
  for (const [id, files] of byCase) {
    for (let channel = 0; channel < Math.max(channels, files.length); channel++) {
      const path = `${root}/${imageFolder}/${id}_${String(channel).padStart(4, "0")}${ending}`;
      if (channel >= channels) {
        throw new DatasetError(
          path,
          `dataset.json names ${channels} channel(s)`,
          "Remove the file or name its channel",
        );
      }
      if (!files[channel]) throw new DatasetError(path, `channel ${channel} of case ${id} is missing`, "Add the file");
    }
    const label = labelFolder ? `${root}/${labelFolder}/${id}${ending}` : undefined;
    if (label !== undefined && !labels.has(`${id}${ending}`)) {
      throw new DatasetError(label, `case ${id} has no label`, `Add it, or move the images to ${root}/imagesTs`);
    }
    cases.push({ id, images: files, ...(label === undefined ? {} : { label }) });
  }
  return cases;
}
