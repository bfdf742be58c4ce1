/**
 * The cases that a dataset.json lists: "training" of MSD, of nnU-Net's first version and of MONAI, "dataset" of
 * nnU-Net's second, and "test".
 */
import { listed, show } from "../../core/errors.ts";
import type { DatasetCase, OnFault } from "./types.ts";
import { baseName, channelFiles, contentOf, FileFinder, folderOf, idsOf } from "./files.ts";
import { withoutEnding } from "../formats/image_files.ts";
import { DatasetError } from "./finding.ts";
import { isObject, readLabelsPresent } from "./dataset_json.ts";
import type { Json, LabelNames } from "./dataset_json.ts";

/** Context for reading the entries of a dataset.json. */
export interface ListContext {
  /** The folder of dataset.json, which paths are relative to. */
  readonly root: string;
  readonly file: string;
  readonly names: LabelNames;
  /** Number of channels of the dataset. */
  readonly channels: number;
  readonly onFault: OnFault;
}

interface Entry {
  readonly place: string;
  readonly id?: string;
  readonly images: readonly unknown[];
  readonly label: unknown;
  readonly present: unknown;
}

function entryOf(place: string, stored: unknown, id?: string): Entry {
  const { image, images, label, labels_present: present } = isObject(stored) ? stored : ({ image: stored } as Json);
  const list = [images, image].find(Array.isArray) ?? [image ?? images];
  return { place, ...(id === undefined ? {} : { id }), images: list, label, present };
}

/** The entries of "training" or "dataset"; undefined if both are absent. */
function entriesOf(json: Json): Entry[] | undefined {
  if (Array.isArray(json.training) && json.training.length > 0) {
    return json.training.map((stored, index) => entryOf(`training[${index}]`, stored));
  }
  if (!isObject(json.dataset)) return undefined;
  return Object.entries(json.dataset).map(([id, stored]) => entryOf(`dataset[${show(id)}]`, stored, id));
}

/** The number of training cases that dataset.json lists, if it does. */
export const countListed = (json: Json): number | undefined => entriesOf(json)?.length;

/** Whether entries name labels; undefined without a list of cases. */
export const listsLabels = (json: Json): boolean | undefined =>
  entriesOf(json)?.some(({ label }) => label !== undefined && label !== null && label !== "");

/** A path of dataset.json: absolute, or in the dataset's folder. */
const placed = (root: string, path: string): string =>
  /^\/|^[a-z][a-z0-9+.-]*:/i.test(path) ? path : `${root}/${path.replace(/^(\.[/\\])+/, "")}`;

/** Message for a missing path: similar files beside it, and the values of variables in it. */
async function notThere(path: string, place: string, finder: FileFinder): Promise<DatasetError> {
  const problem = `no such file, though ${place} of dataset.json names it`;
  if (/\$\{?\w|%\w+%/.test(path)) {
    return new DatasetError(path, problem, "Variables in paths are not replaced: write what they stand for");
  }
  const near = await finder.near(path);
  const there = near.length > 0
    ? `there is ${listed(near.map(baseName), 3)}`
    : await contentOf(folderOf(path.replaceAll("\\", "/")));
  return new DatasetError(path, problem, `Add it, or drop or correct the entry; ${there}`);
}

/**
 * The files of an image. If CASE.nii.gz is listed but missing, or CASE_0000.nii.gz is listed for a dataset with several
 * channels, the files are CASE_0000, CASE_0001 and so on.
 */
async function imagesOf(
  paths: readonly string[],
  place: string,
  finder: FileFinder,
  channels: number,
): Promise<{ images: string[]; stem: string; faults: DatasetError[] }> {
  const found = await finder.find(paths[0]);
  const first = found ?? paths[0];
  const whole = withoutEnding(first);
  const numbered = /^(.*)_0000$/.exec(whole)?.[1];
  if (paths.length === 1) {
    const id = found === undefined ? whole : channels > 1 ? numbered : undefined;
    if (id !== undefined) {
      const folder = folderOf(id);
      const files = await finder.channels(folder, baseName(id));
      // A single file may hold all channels.
      if (files.length > (found === undefined ? 0 : 1)) {
        const ending = first.slice(whole.length);
        return { ...channelFiles(files, { id: baseName(id), folder, channels, ending }), stem: id };
      }
    }
    if (found !== undefined) return { images: [found], stem: whole, faults: [] };
    return { images: [first], stem: whole, faults: [await notThere(first, place, finder)] };
  }
  const faults: DatasetError[] = [];
  const images: string[] = [];
  for (const path of paths) {
    const each = await finder.find(path);
    if (each === undefined) faults.push(await notThere(path, place, finder));
    images.push(each ?? path);
  }
  return { images, stem: numbered ?? whole, faults };
}

/** The training cases that dataset.json lists; undefined if it lists none. */
export async function listedCases(json: Json, context: ListContext): Promise<DatasetCase[] | undefined> {
  const entries = entriesOf(json);
  if (!entries) return undefined;
  const { root, file, names, channels, onFault } = context;
  const finder = new FileFinder();
  const found: { id?: string; stem: string; item: Omit<DatasetCase, "id"> }[] = [];
  for (const { place, id, images, label, present } of entries) {
    const texts = (list: readonly unknown[]): list is string[] =>
      list.every((each) => typeof each === "string" && each !== "");
    if (images.length === 0 || !texts(images) || !texts([label])) {
      const fix =
        'Write it as {"image": "...", "label": "..."}; with a file for each channel {"image": ["...", "..."], ' +
        '"label": "..."}';
      onFault(new DatasetError(file, `${place} is no pair of paths`, fix));
      continue;
    }
    const resolved = await imagesOf(images.map((path) => placed(root, path)), place, finder, channels);
    const faults = [...resolved.faults];
    const wanted = placed(root, label as string);
    const labelFile = await finder.find(wanted);
    if (labelFile === undefined) faults.push(await notThere(wanted, place, finder));
    let labelsPresent: number[] | undefined;
    try {
      if (present !== undefined) labelsPresent = readLabelsPresent(present, names, place, file);
    } catch (fault) {
      if (!(fault instanceof DatasetError)) throw fault;
      onFault(fault);
    }
    faults.forEach(onFault);
    if (faults.length > 0) continue;
    // CASE_0000 with a label CASE is nnU-Net's name for the first channel of CASE.
    const short = resolved.stem.replace(/_0000$/, "");
    const stem = baseName(withoutEnding(labelFile!)) === baseName(short) ? short : resolved.stem;
    const item = { images: resolved.images, label: labelFile!, ...(labelsPresent ? { labelsPresent } : {}) };
    found.push({ ...(id === undefined ? {} : { id }), stem, item });
  }
  const ids = idsOf(found.map(({ stem }) => stem));
  return found.map(({ id, item }, k) => ({ id: id ?? ids[k], ...item }));
}

/** The cases of "test": paths, or entries like those of "training". Their files are checked only when they are read. */
export async function listedTests(list: readonly unknown[], context: ListContext): Promise<DatasetCase[]> {
  const { root, file, channels, onFault } = context;
  const finder = new FileFinder();
  const found: { stem: string; images: string[] }[] = [];
  for (const [index, stored] of list.entries()) {
    const { images, place } = entryOf(`test[${index}]`, stored);
    if (images.length === 0 || !images.every((image) => typeof image === "string" && image !== "")) {
      onFault(new DatasetError(file, `${place} is no path`, 'Write "./imagesTs/NAME.nii.gz"'));
      continue;
    }
    const resolved = await imagesOf((images as string[]).map((path) => placed(root, path)), place, finder, channels);
    found.push(resolved);
  }
  const ids = idsOf(found.map(({ stem }) => stem));
  return found.map(({ images }, k) => ({ id: ids[k], images }));
}

/** Adds labels_present of dataset.json to the cases: { CASE: ["liver"] }. */
export function withLabelsPresent(
  cases: DatasetCase[],
  stored: unknown,
  context: Pick<ListContext, "file" | "names" | "onFault">,
): DatasetCase[] {
  const { file, names, onFault } = context;
  if (stored === undefined) return cases;
  if (!isObject(stored)) {
    onFault(new DatasetError(file, "its labels_present is no object", 'Write {"CASE": ["liver"], ...}'));
    return cases;
  }
  const known = new Set(cases.map(({ id }) => id));
  const byCase = new Map<string, number[]>();
  for (const [id, list] of Object.entries(stored)) {
    try {
      if (!known.has(id)) {
        throw new DatasetError(
          file,
          `labels_present names ${show(id).slice(1, -1)}, which is no case`,
          "Correct the name or drop it",
        );
      }
      byCase.set(id, readLabelsPresent(list, names, id, file));
    } catch (fault) {
      if (!(fault instanceof DatasetError)) throw fault;
      onFault(fault);
    }
  }
  return cases.map((item) => (byCase.has(item.id) ? { ...item, labelsPresent: byCase.get(item.id)! } : item));
}
