/** The files of a dataset: which are images, where they lie, and which case names are valid. */
import { platform } from "#platform";
import { listed, show } from "../../core/errors.ts";
import { PlatformError } from "../../platform/types.ts";
import { DatasetError } from "./finding.ts";
import { hasDicomEnding } from "../dicom/is_dicom.ts";
import { hasImageEnding, imageStem, withoutEnding } from "../formats/image_files.ts";
import { isDicomFolder } from "../formats/image_folders.ts";

/** Longest case name in bytes: file systems allow 255, including endings that we append. */
const LONGEST_ID = 200;

/**
 * Throws unless a case's name is one safe segment of a path, because files are written under it: not empty, "." or
 * "..", without "/", "\" and control characters, and of 200 bytes in UTF-8 at most. Returns it.
 *
 * @param file where the name comes from, for the message
 * @throws DatasetError
 */
export function checkCaseId(id: unknown, file: string): string {
  const bytes = typeof id === "string" ? new TextEncoder().encode(id).length : 0;
  if (typeof id === "string" && bytes > 0 && bytes <= LONGEST_ID && !/^\.{1,2}$|[/\\\p{Cc}\p{Cs}]/u.test(id)) return id;
  const long = bytes > LONGEST_ID ? ` (${bytes} bytes)` : "";
  throw new DatasetError(
    file,
    `a case is called ${show(id)}${long}, which cannot name its files`,
    `Take letters, digits, ".", "_" and "-", ${LONGEST_ID} bytes at most`,
  );
}

/** The last part of a path. */
export const baseName = (path: string): string => path.slice(path.lastIndexOf("/") + 1);
/** The folder of a path, without the trailing slash; "." if there is none. */
export const folderOf = (
  path: string,
): string => (path.includes("/") ? path.slice(0, path.lastIndexOf("/")) || "/" : ".");

/**
 * Ids for cases, given the paths of their images without endings: the file's name. If files in different folders share
 * a name, as with one folder per patient, the folders in which they differ come first: p0_ct, p1_ct.
 */
export function idsOf(stems: readonly string[]): string[] {
  const partsOf = (stem: string): string[] => {
    const parts: string[] = [];
    for (const part of stem.split("/")) {
      if (part === "..") parts.pop();
      else if (part !== "" && part !== ".") parts.push(part);
    }
    return parts;
  };
  const all = stems.map(partsOf);
  const byName = new Map<string, string[][]>();
  for (const parts of all) {
    const name = parts.at(-1) ?? "";
    byName.set(name, [...(byName.get(name) ?? []), parts]);
  }
  return all.map((parts) => {
    const name = parts.at(-1) ?? "";
    const twins = byName.get(name)!;
    let common = 0;
    while (common < parts.length - 1 && twins.every((other) => other[common] === parts[common])) common++;
    return twins.length > 1 ? parts.slice(common).join("_") : name;
  });
}

/** Names in a folder, without hidden ones; empty if the folder does not exist. */
export const filesOf = async (folder: string): Promise<string[]> =>
  (await platform.exists(folder)) ? (await platform.listFiles(folder)).filter((name) => !name.startsWith(".")) : [];

/** Whether a name in a folder is that of an image: a file by its ending, or a folder of DICOM files. */
export const isImageIn = async (folder: string, name: string): Promise<boolean> =>
  imageStem(name) !== undefined ||
  (!hasImageEnding(name) && !hasDicomEnding(name) && (await isDicomFolder(`${folder}/${name}`)));

/**
 * Relative paths of the images in a folder and, up to a depth, its subfolders; for a pair the .hdr file, for a DICOM
 * series its folder.
 */
export async function imagesIn(folder: string, depth = 3): Promise<string[]> {
  const found: string[] = [];
  for (const name of await filesOf(folder)) {
    if (await isImageIn(folder, name)) found.push(name);
    else if (depth > 0 && !hasImageEnding(name) && !hasDicomEnding(name)) {
      try {
        found.push(...(await imagesIn(`${folder}/${name}`, depth - 1)).map((inner) => `${name}/${inner}`));
      } catch (fault) {
        if (!(fault instanceof PlatformError && fault.code === "not-a-folder")) throw fault;
      }
    }
  }
  return found;
}

/** The content of a folder, for a message. */
export async function contentOf(folder: string): Promise<string> {
  if (!(await platform.exists(folder))) return `there is no ${folder}`;
  const names = await filesOf(folder);
  return names.length === 0 ? `${folder} is empty` : `${folder} holds ${listed(names, 5)}`;
}

/** Finds files in folders, listing each folder once. */
export class FileFinder {
  readonly #folders = new Map<string, Set<string>>();

  /** Names in a folder; empty if the folder does not exist. */
  async names(folder: string): Promise<ReadonlySet<string>> {
    const known = this.#folders.get(folder);
    if (known) return known;
    let names: string[] = [];
    try {
      names = await filesOf(folder);
    } catch (fault) {
      if (!(fault instanceof PlatformError && fault.code === "not-a-folder")) throw fault;
    }
    const found = new Set(names);
    this.#folders.set(folder, found);
    return found;
  }

  /** Finds the file of a path, whose ending may be upper case and whose separators may be those of Windows. */
  async find(path: string): Promise<string | undefined> {
    for (const each of new Set([path, path.replaceAll("\\", "/")])) {
      const [folder, name] = [folderOf(each), baseName(each)];
      const names = await this.names(folder);
      if (names.has(name)) return each;
      const isAlike = (other: string): boolean =>
        other.toLowerCase() === name.toLowerCase() && withoutEnding(other) === withoutEnding(name);
      const alike = hasImageEnding(name) ? [...names].filter(isAlike) : [];
      if (alike.length === 1) return `${folder}/${alike[0]}`;
    }
    return undefined;
  }

  /** Files CASE_0000, CASE_0001, ... by their channel, of a case in a folder; each with any image ending. */
  async channels(folder: string, id: string): Promise<string[][]> {
    const found: string[][] = [];
    for (const name of await this.names(folder)) {
      const stem = withoutEnding(name);
      if (stem.length !== id.length + 5 || !stem.startsWith(`${id}_`) || !(await isImageIn(folder, name))) continue;
      const number = stem.slice(-4);
      if (/^\d{4}$/.test(number)) (found[Number(number)] ??= []).push(`${folder}/${name}`);
    }
    return found;
  }

  /** Suggestions for a missing path: files of the same name with another ending. */
  async near(path: string): Promise<string[]> {
    const stem = withoutEnding(baseName(path));
    const folder = folderOf(path);
    return [...(await this.names(folder))].filter((name) => hasImageEnding(name) && withoutEnding(name) === stem).map((
      name,
    ) => `${folder}/${name}`);
  }
}

const number = (channel: number): string => String(channel).padStart(4, "0");

/**
 * The files of a case's channels, or the error: a channel that is missing, duplicated, or beyond those of the dataset.
 *
 * @param files by channel, as returned by FileFinder.channels
 */
export function channelFiles(
  files: readonly (readonly string[] | undefined)[],
  of: { id: string; folder: string; channels: number; ending?: string },
): { images: string[]; faults: DatasetError[] } {
  const { id, folder, channels, ending = ".nii.gz" } = of;
  const faults: DatasetError[] = [];
  const images: string[] = [];
  for (let channel = 0; channel < Math.max(channels, files.length); channel++) {
    const [path, twin] = files[channel] ?? [];
    if (channel < channels && path === undefined) {
      const missing = `${folder}/${id}_${number(channel)}${ending}`;
      faults.push(new DatasetError(missing, `channel ${channel} of case ${id} is missing`, "Add the file"));
    } else if (channel >= channels && path !== undefined) {
      const problem = `it is channel ${channel} of case ${id}, and dataset.json names ${channels} channel(s)`;
      faults.push(new DatasetError(path, problem, "Name its channel in channel_names, if it is one"));
    } else if (twin !== undefined) {
      const problem = `it and ${path} are both channel ${channel} of case ${id}`;
      faults.push(new DatasetError(twin, problem, 'Say by "file_ending" in dataset.json which is meant'));
    }
    if (path !== undefined) images.push(path);
  }
  return { images, faults };
}
