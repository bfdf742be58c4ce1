/** Reads volumes: .nii and .nii.gz files, and .hdr/.img pairs. */
import { platform } from "#platform";
import { isPath, readSource } from "../../platform/sources.ts";
import type { FileSource } from "../../platform/sources.ts";
import { readNiftiStreamed } from "./nifti.ts";
import { NiftiError } from "./nifti_error.ts";
import type { Volume } from "../volume/volume.ts";

const PAIR = /^(.+)\.(hdr|img)(\.gz)?$/i;

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
export const imageStem = (file: string): string | undefined => /^(.+)\.(nii|hdr)(\.gz)?$/i.exec(file)?.[1];

/**
 * The files that a volume is read from: itself, or both files of a .hdr/.img pair, the named one first.
 *
 * @throws NiftiError when a pair lacks its other half
 */
export async function volumeFiles(path: string): Promise<[string] | [string, string]> {
  const [, stem, kind, gz = ""] = PAIR.exec(path) ?? [];
  if (stem === undefined) return [path];
  const other = isHeader(path) ? "img" : "hdr";
  const same = kind === kind.toUpperCase() ? other.toUpperCase() : other;
  // The other half with the same compression first, then with the other.
  const endings = [`${same}${gz}`, `${other}${gz.toLowerCase()}`, `${other}${gz ? "" : ".gz"}`, other.toUpperCase()];
  const candidates = [...new Set(endings)].map((ending) => `${stem}.${ending}`);
  for (const candidate of candidates) if (await platform.exists(candidate)) return [path, candidate];
  throw new NiftiError(path, "one file of a .hdr/.img pair", `${candidates.slice(0, 2).join(" or ")} beside it`);
}

const isHeader = (path: string): boolean => /\.hdr(\.gz)?$/i.test(path);

/**
 * Reads a NIfTI file, wherever it is. By path, either file of a .hdr/.img pair may be named. What is gzipped is
 * unpacked off the main thread where the host can.
 *
 * @param options.data the .img file, if `source` is the .hdr file of a pair and not its path
 * @throws NiftiError if a file is not a NIfTI file, damaged or of an unsupported kind, or a pair lacks its other half
 * @throws PlatformError if the file does not exist or cannot be read
 * @example
 * ```ts
 * import { readVolume } from "voxgrad/imaging";
 *
 * const volume = await readVolume("scans/patient_01.nii.gz");
 * const remote = await readVolume(new URL("https://example.org/scan.nii.gz"));
 * ```
 */
export async function readVolume(source: FileSource, options: { data?: FileSource } = {}): Promise<Volume> {
  const { bytes, name } = await readSource(source);
  if (options.data !== undefined) {
    return readNiftiStreamed(bytes, name, { data: (await readSource(options.data)).bytes });
  }
  const [, other] = isPath(source) ? await volumeFiles(source) : [name];
  if (other === undefined) return readNiftiStreamed(bytes, name);
  const { bytes: second } = await readSource(other);
  const [header, data] = isHeader(name) ? [bytes, second] : [second, bytes];
  return readNiftiStreamed(header, name, { data });
}
