/** Reading NIfTI-1 and NIfTI-2 files, plain or gzipped, of either byte order. */
import { columnNorms } from "./affine.ts";
import { gunzip, isGzip } from "./gzip.ts";
import { DATATYPES, MILLIMETRES, NiftiError, readHeader } from "./nifti_header.ts";
import { voxelCount } from "./volume.ts";
import type { Triple, Volume, VoxelData } from "./volume.ts";

export { NiftiError } from "./nifti_header.ts";
export { writeNifti } from "./nifti_write.ts";

/**
 * Reads a NIfTI file. Gzip is recognised by content, not by name.
 *
 * Values are as stored where the header gives no scale (slope 0 or NaN, or slope 1 with intercept 0), else scaled:
 * to Float32 from 8 and 16 bit integers and float32, to Float64 from wider types, whose values float32 would change.
 * Stored int64 and uint64 become Float64 when every value is exact in it. Axes beyond the third become channels; a 2-D
 * image gets Z = 1. The affine is the sform, else the qform, else nibabel's centred fallback, in mm whatever the unit.
 *
 * @param bytes the whole file
 * @param name for messages and `volume.name`, such as its path
 * @throws NiftiError when it is truncated, damaged, no NIfTI file, or holds colours, complex numbers or bits
 * @example const volume = readNifti(await platform.readFile("scan.nii.gz"), "scan.nii.gz");
 */
export function readNifti(bytes: Uint8Array | ArrayBuffer, name = "NIfTI data"): Volume {
  // A plain view: a Node Buffer would do, but its slice() does not copy.
  const given = bytes instanceof Uint8Array
    ? new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    : new Uint8Array(bytes);
  if (given.length === 0) throw new NiftiError(name, "an empty file", "a NIfTI file");
  let content = given;
  if (isGzip(given)) {
    try {
      content = gunzip(given);
    } catch (cause) {
      throw new NiftiError(name, "damaged gzip data", `intact ones (${(cause as Error).message})`, cause);
    }
  }
  const { source, littleEndian, offset, units } = readHeader(content, name);
  const dims = source.dims;
  const shape: Triple = [dims[0], dims[1] ?? 1, dims[2] ?? 1];
  const channels = voxelCount(dims.slice(3));
  const count = voxelCount(dims);
  const { name: type, bytes: width } = DATATYPES.get(source.datatype)!;
  if (!(count * width <= content.length - offset)) {
    throw new NiftiError(
      name,
      `${content.length - offset} bytes of voxels`,
      `${count * width} for ${dims.join(" x ")} of ${type}: the file is truncated`,
    );
  }
  // A copy of its own, aligned; after gunzip nobody else holds the buffer, and it is reused in place when aligned.
  const end = offset + count * width;
  const own = content !== given && (content.byteOffset + offset) % width === 0;
  const raw = (own ? content.subarray(offset, end) : content.slice(offset, end)) as Uint8Array<ArrayBuffer>;
  if (!littleEndian && width > 1) swapBytes(raw, width);
  const stored = asNumbers(raw, type, count, name);
  const scale = MILLIMETRES[units];
  const affine = scale === 1 ? [...source.affine] : source.affine.map((v, i) => (i < 12 ? v * scale : v));
  return {
    data: rescale(stored, source.slope, source.intercept),
    shape,
    channels,
    affine,
    spacing: columnNorms(affine),
    units,
    name,
    source,
  };
}

function swapBytes(bytes: Uint8Array, width: number): void {
  for (let at = 0; at < bytes.length; at += width) {
    for (let low = at, high = at + width - 1; low < high; low++, high--) {
      const byte = bytes[low];
      bytes[low] = bytes[high];
      bytes[high] = byte;
    }
  }
}

// Every host that has WebGPU is little-endian, so typed arrays read the swapped bytes.
function asNumbers(raw: Uint8Array<ArrayBuffer>, type: string, count: number, file: string): VoxelData {
  const { buffer, byteOffset } = raw;
  switch (type) {
    case "uint8": return raw;
    case "int8": return new Int8Array(buffer, byteOffset, count);
    case "int16": return new Int16Array(buffer, byteOffset, count);
    case "uint16": return new Uint16Array(buffer, byteOffset, count);
    case "int32": return new Int32Array(buffer, byteOffset, count);
    case "uint32": return new Uint32Array(buffer, byteOffset, count);
    case "float32": return new Float32Array(buffer, byteOffset, count);
    case "float64": return new Float64Array(buffer, byteOffset, count);
    case "int64": return exactFloat64(new BigInt64Array(buffer, byteOffset, count), file);
    case "uint64": return exactFloat64(new BigUint64Array(buffer, byteOffset, count), file);
  }
  throw new NiftiError(file, `datatype ${type}`, [...DATATYPES.values()].map((d) => d.name).join(", "));
}

function exactFloat64(wide: BigInt64Array | BigUint64Array, file: string): Float64Array<ArrayBuffer> {
  const out = new Float64Array(wide.length);
  for (let i = 0; i < wide.length; i++) {
    out[i] = Number(wide[i]);
    if (!Number.isSafeInteger(out[i])) {
      throw new NiftiError(file, `the 64-bit value ${wide[i]}`, "values within 2^53, which a number holds exactly");
    }
  }
  return out;
}

function rescale(stored: VoxelData, slope: number, intercept: number): VoxelData {
  if (!Number.isFinite(slope) || slope === 0) return stored;
  const shift = Number.isFinite(intercept) ? intercept : 0;
  if (slope === 1 && shift === 0) return stored;
  const wide = stored.BYTES_PER_ELEMENT > 4 || stored instanceof Int32Array || stored instanceof Uint32Array;
  const out = wide ? new Float64Array(stored.length) : new Float32Array(stored.length);
  for (let i = 0; i < stored.length; i++) out[i] = stored[i] * slope + shift;
  return out;
}
