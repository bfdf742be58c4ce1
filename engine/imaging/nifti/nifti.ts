/** Reading NIfTI-1 and NIfTI-2, one file or a .hdr/.img pair, plain or gzipped, in either byte order. */
import { columnNorms } from "../volume/affine.ts";
import { gunzip, isGzip, LARGEST_RATIO } from "./gunzip.ts";
import type { GunzipOptions } from "./gunzip.ts";
import { gunzipStreamed } from "./gunzip_stream.ts";
import { DATATYPES, HEADER_BYTES, MILLIMETERS, readExtensions, readHeader } from "./header.ts";
import type { NiftiHeader } from "./header.ts";
import { NiftiError } from "./nifti_error.ts";
import { asNumbers, swapBytes } from "../volume/raw_values.ts";
import type { ValueType } from "../volume/raw_values.ts";
import { gib, LARGEST_ARRAY, memoryProblem } from "../volume/memory.ts";
import { voxelCount } from "../volume/volume.ts";
import type { Triple, Volume, VoxelData } from "../volume/volume.ts";

type Bytes = Uint8Array<ArrayBuffer>;

// The header file of a pair does not state its length; this leaves room for large extensions.
const LARGEST_HEADER_FILE = 2 ** 20;

/**
 * Reads a NIfTI file. Gzip is recognized by content, not by name.
 *
 * Values are as stored if the header gives no scale (slope 0 or NaN, or slope 1 with intercept 0), otherwise scaled: to
 * Float32 from 8 and 16 bit integers and float32, to Float64 from wider types, whose values float32 would change.
 * Stored int64 and uint64 become Float64 when every value is exact in it. Axes beyond the third become channels; a 2-D
 * image gets Z = 1. The affine is the sform, else the qform, else nibabel's centered fallback, in mm whatever the unit.
 *
 * The header is not trusted: memory is only allocated for voxels that the file contains.
 *
 * @param bytes the whole file; of a pair, the .hdr file
 * @param name for messages and `volume.name`, such as its path
 * @param options data: the .img file of a pair; `readVolume(path)` finds it
 * @throws NiftiError if it is truncated, damaged, not a NIfTI file, or contains colors, complex numbers or bits
 * @example
 * ```ts
 * import { readNifti, writeNifti } from "voxgrad";
 * import { phantomCase } from "voxgrad/imaging";
 *
 * const bytes = writeNifti(phantomCase({ seed: 1 }).image, { gzip: true });
 * const volume = readNifti(bytes, "scan.nii.gz");
 * ```
 */
export function readNifti(
  bytes: Uint8Array | ArrayBuffer,
  name = "NIfTI data",
  options: { data?: Uint8Array | ArrayBuffer } = {},
): Volume {
  const file = plainView(bytes);
  const head = unpack(gunzip, file, name, headLimits(file, name, options.data !== undefined));
  if (options.data === undefined) return decode({ head, stored: file, content: head, name });
  const stored = plainView(options.data);
  const content = unpack(gunzip, stored, imageName(name), dataLimits(head, stored, name));
  return decode({ head, stored, content, name });
}

/** As readNifti, but unpacks off the main thread where the host can. */
export async function readNiftiStreamed(
  bytes: Uint8Array | ArrayBuffer,
  name: string,
  options: { data?: Uint8Array | ArrayBuffer } = {},
): Promise<Volume> {
  const file = plainView(bytes);
  const head = await unpack(gunzipStreamed, file, name, headLimits(file, name, options.data !== undefined));
  if (options.data === undefined) return decode({ head, stored: file, content: head, name });
  const stored = plainView(options.data);
  const content = await unpack(gunzipStreamed, stored, imageName(name), dataLimits(head, stored, name));
  return decode({ head, stored, content, name });
}

const imageName = (name: string): string => `${name} (.img)`;

const headLimits = (file: Bytes, name: string, pair: boolean): GunzipOptions => ({
  head: HEADER_BYTES,
  wanted: (start) => (pair ? LARGEST_HEADER_FILE : bytesWanted(readHeader(start, name, pair), file, name)),
});

const dataLimits = (head: Bytes, stored: Bytes, name: string): GunzipOptions => {
  const header = readHeader(head, name, true);
  return { head: 0, wanted: () => bytesWanted(header, stored, name) };
};

/** A file, unpacked: its header file, and the stored and the unpacked bytes of the file with the voxels. */
interface Unpacked {
  readonly head: Bytes;
  readonly stored: Bytes;
  readonly content: Bytes;
  readonly name: string;
}

function decode({ head, stored, content, name }: Unpacked): Volume {
  const pair = content !== head;
  const header = readHeader(head, name, pair);
  const { littleEndian, offset, units } = header;
  const extensions = readExtensions(head, header, pair ? head.length : Math.min(offset, head.length));
  const source = extensions.length > 0 ? { ...header.source, extensions } : header.source;
  const end = bytesWanted(header, stored, name);
  if (end > content.length) throw truncated(header, content.length, name);
  const dims = source.dims;
  const shape: Triple = [dims[0], dims[1] ?? 1, dims[2] ?? 1];
  const { name: type, bytes: width } = DATATYPES.get(source.datatype)!;
  // An aligned copy; after gunzip the buffer is not shared, so it is reused in place if aligned.
  const own = content !== stored && (content.byteOffset + offset) % width === 0;
  const raw = own ? content.subarray(offset, end) : content.slice(offset, end);
  if (!littleEndian && width > 1) swapBytes(raw, width);
  const values = asNumbers(raw, type as ValueType, (got, wanted) => new NiftiError(name, got, wanted));
  const scale = MILLIMETERS[units];
  const affine = scale === 1 ? [...source.affine] : source.affine.map((v, i) => (i < 12 ? v * scale : v));
  if (!affine.every((v) => Number.isFinite(Math.fround(v)))) {
    throw new NiftiError(
      name,
      `an affine of ${affine.slice(0, 12).join(", ")} mm`,
      "numbers within float32 in its sform or qform",
    );
  }
  return {
    data: rescale(values, source.slope, source.intercept),
    shape,
    channels: voxelCount(dims.slice(3)),
    affine,
    spacing: columnNorms(affine),
    units,
    name,
    source,
  };
}

/** A plain view: a Node Buffer would do, but its slice() does not copy. */
const plainView = (bytes: Uint8Array | ArrayBuffer): Bytes =>
  bytes instanceof Uint8Array
    ? new Uint8Array(bytes.buffer as ArrayBuffer, bytes.byteOffset, bytes.byteLength)
    : new Uint8Array(bytes);

/** The content of a file, by `gunzip` if it is packed. */
function unpack<R extends Bytes | Promise<Bytes>>(
  gunzip: (bytes: Bytes, options: GunzipOptions) => R,
  given: Bytes,
  name: string,
  options: GunzipOptions,
): R | Bytes {
  if (given.length === 0) throw new NiftiError(name, "an empty file", "a NIfTI file");
  if (!isGzip(given)) return given;
  const damaged = (cause: unknown): never => {
    if (cause instanceof NiftiError) throw cause;
    throw new NiftiError(name, "damaged gzip data", `intact ones (${(cause as Error).message})`, cause);
  };
  try {
    const content = gunzip(given, options);
    return content instanceof Promise ? content.catch(damaged) as R : content;
  } catch (cause) {
    return damaged(cause);
  }
}

const truncated = (header: NiftiHeader, length: number, name: string): NiftiError => {
  const { dims, datatype } = header.source;
  const { name: type, bytes: width } = DATATYPES.get(datatype)!;
  const size = `${voxelCount(dims) * width} for ${dims.join(" x ")} of ${type}`;
  return header.offset > length
    ? new NiftiError(name, `${length} bytes`, `voxels from byte ${header.offset} on: the file is truncated`)
    : new NiftiError(name, `${length - header.offset} bytes of voxels`, `${size}: the file is truncated`);
};

/** End of the voxels, after checking that the file and the memory can hold them. */
function bytesWanted(header: NiftiHeader, file: Bytes, name: string): number {
  const { dims, datatype, slope, intercept } = header.source;
  const { name: type, bytes: width } = DATATYPES.get(datatype)!;
  const count = voxelCount(dims);
  const end = header.offset + count * width;
  const packed = isGzip(file);
  const most = packed ? file.length * LARGEST_RATIO : file.length;
  if (!(end <= most)) throw truncated(header, most, name);
  // Decompression grows by copying; converted values are held beside the stored ones.
  const values = type.endsWith("64") ? 8 : isScaled(slope, intercept) ? (width < 4 || type === "float32" ? 4 : 8) : 0;
  const needed = (packed ? 1.4 : 1) * end + values * count;
  const problem = memoryProblem(needed, end);
  if (problem) {
    const got = `${gib(end)} of voxels (${dims.join(" x ")} of ${type})`;
    throw new NiftiError(
      name,
      got,
      `less, for ${problem}: at most ${gib(LARGEST_ARRAY)} a file; crop it, or resample it to larger voxels`,
    );
  }
  return end;
}

/** Whether a header's scale changes the stored values. */
const isScaled = (slope: number, intercept: number): boolean =>
  Number.isFinite(slope) && slope !== 0 && !(slope === 1 && !(Number.isFinite(intercept) && intercept !== 0));

function rescale(stored: VoxelData, slope: number, intercept: number): VoxelData {
  if (!isScaled(slope, intercept)) return stored;
  const shift = Number.isFinite(intercept) ? intercept : 0;
  const wide = stored.BYTES_PER_ELEMENT > 4 || stored instanceof Int32Array || stored instanceof Uint32Array;
  const out = wide ? new Float64Array(stored.length) : new Float32Array(stored.length);
  for (let i = 0; i < stored.length; i++) out[i] = stored[i] * slope + shift;
  return out;
}
