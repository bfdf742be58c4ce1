/** Which files are images, by their names. */
import { platform } from "#platform";
import { NiftiError } from "../nifti/nifti_error.ts";

const PAIR = /^(.+)\.(hdr|img)(\.gz)?$/i;
/** Endings of images of one file, or of the header of one of two. */
const ENDING = /^(.+)\.((?:nii|hdr)(?:\.gz)?|nrrd|nhdr|mha|mhd|mgh|mgz)$/i;
/** Endings of files that belong to one of those. */
const OF_IMAGE = /(?<=[^/])\.((?:nii|hdr|img)(?:\.gz)?|nrrd|nhdr|mha|mhd|mgh|mgz)$/i;

/** For messages: what images are. */
export const IMAGE_ENDINGS = ".nii, .nii.gz, .hdr with .img, .nrrd, .mha, .mhd, .mgh, .mgz, or a folder of DICOM files";

/**
 * The name of an image file without its ending, or undefined for other files. The .img file of a pair does not count,
 * so that each image of a folder is counted once. Endings may be upper case.
 *
 * @example
 * ```ts
 * import { imageStem } from "voxgrad/imaging";
 *
 * imageStem("scan.nii.gz"); // "scan"
 * ```
 */
export const imageStem = (file: string): string | undefined => ENDING.exec(file)?.[1];

/** A path without its image ending; also for the .img file of a pair. */
export const withoutEnding = (path: string): string => path.replace(OF_IMAGE, "");

/** Whether a path has the ending of an image, including both files of a pair. */
export const hasImageEnding = (path: string): boolean => withoutEnding(path) !== path;

/** Whether a path is the .hdr file of a pair. */
export const isPairHeader = (path: string): boolean => /\.hdr(\.gz)?$/i.test(path);

/**
 * The other file of a .hdr/.img pair, which has the same compression or another; undefined for other files.
 *
 * @throws NiftiError when it lacks
 */
export async function otherHalf(path: string): Promise<string | undefined> {
  const [, stem, kind, gz = ""] = PAIR.exec(path) ?? [];
  if (stem === undefined) return undefined;
  const other = isPairHeader(path) ? "img" : "hdr";
  const same = kind === kind.toUpperCase() ? other.toUpperCase() : other;
  // The other half with the same compression first, then with the other.
  const endings = [`${same}${gz}`, `${other}${gz.toLowerCase()}`, `${other}${gz ? "" : ".gz"}`, other.toUpperCase()];
  const candidates = [...new Set(endings)].map((ending) => `${stem}.${ending}`);
  for (const candidate of candidates) if (await platform.exists(candidate)) return candidate;
  throw new NiftiError(path, "one file of a .hdr/.img pair", `${candidates.slice(0, 2).join(" or ")} beside it`);
}
