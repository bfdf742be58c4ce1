/** Reads volumes of any format, by content and name. */
import type { FileSource, SourceBytes } from "../../platform/sources.ts";
import { isPath, readSource } from "../../platform/sources.ts";
import type { FolderSource } from "../../platform/files/mounts.ts";
import { isGzip } from "../nifti/gunzip.ts";
import { readNiftiStreamed } from "../nifti/nifti.ts";
import type { Volume } from "../volume/volume.ts";
import { isPairHeader, otherHalf } from "./image_files.ts";
import { formats, otherReaders } from "./readers.ts";

export interface ReadVolumeOptions {
  /** The data file, if the source is the header of a .hdr/.img pair, .mhd or .nhdr, and not its path. */
  readonly data?: FileSource;
  /** Of several DICOM series, which: its number as the error lists it, or its Series Instance UID. */
  readonly series?: string;
}

/** A scan: a file, or the folder or files of a DICOM series. */
export type VolumeSource = FileSource | FolderSource | readonly FileSource[];

/**
 * Reads a scan, wherever it is: NIfTI, DICOM, NRRD, MetaImage or MGH, told by content. A DICOM series may be a folder
 * (also of subfolders), a ZIP archive or a list of files; it must be the only one there unless `series` chooses one.
 * Of a pair of files, and of a header with its data, the path of one is enough. What is gzipped is unpacked off the
 * main thread where the host can.
 *
 * @throws NiftiError, DicomError, FormatError if a file is of no known format, damaged or of an unsupported kind, or a
 *   series lacks slices
 * @throws PlatformError if a file does not exist or cannot be read
 * @example
 * ```ts
 * import { readVolume } from "voxgrad/imaging";
 *
 * const volume = await readVolume("scans/patient_01.nii.gz");
 * const remote = await readVolume(new URL("https://example.org/scan.nii.gz"));
 * const series = await readVolume("scans/patient_02/dicom", { series: "3" });
 * ```
 */
export async function readVolume(source: VolumeSource, options: ReadVolumeOptions = {}): Promise<Volume> {
  const { series } = options;
  if (!isFile(source)) return (await (await otherReaders("scan")).readFolder(source, series))!;
  let file: SourceBytes;
  try {
    file = await readSource(source);
  } catch (fault) {
    const folder = isPath(source) ? await (await formats.load?.())?.readFolder(source, series) : undefined;
    if (folder) return folder;
    throw fault;
  }
  const { bytes, name } = file;
  const data = options.data === undefined ? undefined : (await readSource(options.data)).bytes;
  if (!isNiftiLike(bytes, name)) {
    const volume = await (await otherReaders(name)).readBytes(bytes, name, { series, data, path: isPath(source) });
    if (volume) return volume;
  }
  if (data !== undefined) return readNiftiStreamed(bytes, name, { data });
  const other = isPath(source) ? await otherHalf(source) : undefined;
  if (other === undefined) return readNiftiStreamed(bytes, name);
  const { bytes: second } = await readSource(other);
  const [header, voxels] = isPairHeader(name) ? [bytes, second] : [second, bytes];
  return readNiftiStreamed(header, name, { data: voxels });
}

/** Whether a source is one file, and not a folder or a list. */
const isFile = (source: VolumeSource): source is FileSource =>
  typeof source !== "object" || source === null || ArrayBuffer.isView(source) || "byteLength" in source ||
  "arrayBuffer" in source || "href" in source || "getFile" in source;

/**
 * Whether a source is a NIfTI file, as far as that is told without reading much of it. A path or address without an
 * ending of another format counts as one.
 */
export async function isNiftiSource(source: VolumeSource): Promise<boolean> {
  if (typeof source === "string" || "href" in source) {
    const path = String(source).replace(/(?<=^\w+:.*)[?#].*$/, "");
    if (!isPath(source)) return !/\.(dcm|dicom|ima|zip|nrrd|nhdr|mha|mhd|mgh|mgz)$/i.test(path);
    return /\.(nii|hdr|img)(\.gz)?$/i.test(path);
  }
  if (ArrayBuffer.isView(source)) return isNiftiLike(source as Uint8Array, "data");
  if (Object.prototype.toString.call(source) === "[object ArrayBuffer]") {
    return isNiftiLike(new Uint8Array(source as ArrayBuffer), "data");
  }
  const blob = "getFile" in source ? await source.getFile() : source;
  if (!("arrayBuffer" in blob)) return false;
  const head = new Uint8Array(await (blob as unknown as SlicedBlob).slice(0, 348).arrayBuffer());
  return isNiftiLike(head, (blob as { name?: string }).name ?? "data");
}

/** Whether a file is NIfTI, by its first bytes, or by its name where it is packed, empty or of a pair. */
function isNiftiLike(bytes: Uint8Array, name: string): boolean {
  if (isGzip(bytes)) return !/\.mgz$/i.test(name);
  if (bytes.length < 4 || /\.(img|hdr)$/i.test(name)) return true;
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  return [true, false].some((little) => [348, 540].includes(view.getInt32(0, little)));
}

/** What is used of a Blob, whose type here is without `slice`. */
interface SlicedBlob {
  slice(start: number, end: number): { arrayBuffer(): Promise<ArrayBuffer> };
}
