/** Which folders are images, told without reading more of them than that takes, and the files of an image. */
import { platform } from "#platform";
import { PlatformError } from "../../platform/types.ts";
import { hasDicomEnding, isDicom } from "../dicom/is_dicom.ts";
import { hasImageEnding, otherHalf } from "./image_files.ts";
import { otherReaders } from "./readers.ts";

/** Files that say nothing about what a folder holds. */
const PASSED_OVER = /^(\.|DICOMDIR$|Thumbs\.db$)|\.(txt|json|xml|html?|pdf|jpe?g|png|csv|exe|inf|zip|md)$/i;
/** How many files without an ending are read to tell whether a folder holds DICOM files. */
const PROBES = 3;

/**
 * Whether a folder holds DICOM files directly, and no other image: such a folder is one image. Told by endings (.dcm,
 * .ima), else by the content of a few files.
 */
export async function isDicomFolder(folder: string): Promise<boolean> {
  const names = await namesIn(folder);
  if (names === undefined || names.some(hasImageEnding)) return false;
  if (names.some(hasDicomEnding)) return true;
  let probes = 0;
  for (const name of names) {
    if (PASSED_OVER.test(name) || probes >= PROBES) continue;
    try {
      if (isDicom(await platform.readFile(`${folder}/${name}`))) return true;
      probes++;
    } catch (fault) {
      // A folder, or a file that cannot be read: it is none of ours.
      if (!(fault instanceof PlatformError)) throw fault;
    }
  }
  return false;
}

/** Names in a folder; undefined if the path is no folder. */
export async function namesIn(path: string): Promise<string[] | undefined> {
  try {
    return await platform.listFiles(path);
  } catch (fault) {
    if (fault instanceof PlatformError && fault.code !== "file-failed") return undefined;
    throw fault;
  }
}

/** How deep DICOM files lie in folders: DICOMDIR's have patients, studies and series. */
const DEEPEST = 6;

/** Paths of all files in a folder and its subfolders, without hidden ones; undefined if the path is no folder. */
export async function filesWithin(folder: string, depth = DEEPEST): Promise<string[] | undefined> {
  const names = await namesIn(folder);
  if (names === undefined) return undefined;
  const found: string[] = [];
  for (const name of names) {
    if (name.startsWith(".")) continue;
    const path = `${folder}/${name}`;
    const within = depth > 0 && !hasDicomEnding(name) && !hasImageEnding(name)
      ? await filesWithin(path, depth - 1)
      : undefined;
    found.push(...(within ?? [path]));
  }
  return found;
}

/**
 * The files that an image is read from: itself, both files of a .hdr/.img pair, the named one first, the header and the
 * data of .mhd and .nhdr, all files of a DICOM folder.
 *
 * @throws NiftiError when a pair lacks its other half
 */
export async function volumeFiles(path: string): Promise<string[]> {
  if (/\.(mhd|nhdr)$/i.test(path)) {
    const data = (await otherReaders(path)).dataFile(await platform.readFile(path), path);
    return data === undefined ? [path] : [path, data];
  }
  const other = await otherHalf(path);
  if (other !== undefined) return [path, other];
  return (hasImageEnding(path) ? undefined : await filesWithin(path)) ?? [path];
}
