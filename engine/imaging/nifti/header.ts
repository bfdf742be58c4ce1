/** Headers of NIfTI-1 and NIfTI-2: parsed by nifti-reader-js, checked and converted to shape, affine and source. */
import { isNIFTI1, isNIFTI2, NIFTI1, NIFTI2 } from "nifti-reader-js";
import { affineFromQuaternion } from "../volume/affine.ts";
import type { Affine } from "../volume/affine.ts";
import { NiftiError } from "./nifti_error.ts";
import type { NiftiExtension, NiftiSource, SpatialUnit } from "../volume/volume.ts";

/** Datatype codes of NIfTI with one real number per voxel. */
export const DATATYPES: ReadonlyMap<number, { name: string; bytes: number }> = new Map([
  [2, { name: "uint8", bytes: 1 }],
  [4, { name: "int16", bytes: 2 }],
  [8, { name: "int32", bytes: 4 }],
  [16, { name: "float32", bytes: 4 }],
  [64, { name: "float64", bytes: 8 }],
  [256, { name: "int8", bytes: 1 }],
  [512, { name: "uint16", bytes: 2 }],
  [768, { name: "uint32", bytes: 4 }],
  [1024, { name: "int64", bytes: 8 }],
  [1280, { name: "uint64", bytes: 8 }],
]);

const REFUSED_DATATYPES: Readonly<Record<number, string>> = {
  1: "1-bit",
  32: "complex64",
  128: "RGB24",
  1536: "float128",
  1792: "complex128",
  2048: "complex256",
  2304: "RGBA32",
};

const UNITS: readonly SpatialUnit[] = ["unknown", "m", "mm", "um"];
/** Millimeters in a unit. Without a unit mm is assumed, as in every tool. */
export const MILLIMETERS: Readonly<Record<SpatialUnit, number>> = { unknown: 1, m: 1000, mm: 1, um: 1e-3 };

export interface NiftiHeader {
  readonly source: NiftiSource;
  readonly littleEndian: boolean;
  /** Byte where the voxels start. */
  readonly offset: number;
  readonly units: SpatialUnit;
}

/** Largest size of a header, without extensions. */
export const HEADER_BYTES = 540;

/**
 * Reads and checks the header of an uncompressed NIfTI file, or its first HEADER_BYTES.
 *
 * @param pair whether the voxels are in a second file
 * @throws NiftiError
 */
export function readHeader(bytes: Uint8Array<ArrayBuffer>, file: string, pair = false): NiftiHeader {
  const wanted = `a NIfTI-1 or NIfTI-2 file (${pair ? ".hdr" : ".nii or .nii.gz"})`;
  if (bytes.length < 348) throw new NiftiError(file, `${bytes.length} bytes`, `at least the 348 of ${wanted}`);
  // Pass only the header: the library would follow extension sizes, which in a broken file can loop forever.
  const head = bytes.slice(0, HEADER_BYTES).buffer;
  const [one, two] = [isNIFTI1(head, true), isNIFTI2(head, true)];
  if (!one && !two) {
    const view = new DataView(head);
    const analyze = view.getInt32(0, true) === 348 || view.getInt32(0, false) === 348;
    throw new NiftiError(file, `no NIfTI magic number${analyze ? " (an ANALYZE 7.5 header?)" : ""}`, wanted);
  }
  if (pair !== !(isNIFTI1(head) || isNIFTI2(head))) {
    throw pair
      ? new NiftiError(file, "the header of a file that holds its voxels itself", `${wanted}, or no second file`)
      : new NiftiError(file, "the header of a .hdr/.img pair", "its .img file too (readVolume(path) finds it)");
  }
  const version = one ? 1 : 2;
  const size = version === 1 ? 348 : 540;
  if (bytes.length < size) throw new NiftiError(file, `${bytes.length} bytes`, `a NIfTI-${version} header of ${size}`);
  const header = version === 1 ? new NIFTI1() : new NIFTI2();
  try {
    header.readHeader(head.slice(0, size));
  } catch (cause) {
    throw new NiftiError(file, "a header that does not start with its own size", wanted, cause);
  }
  const dims = readDims(header.dims, file);
  const offset = readOffset(header.vox_offset, pair ? 0 : size + 4, file);
  const datatype = header.datatypeCode;
  if (!DATATYPES.has(datatype)) {
    const got = REFUSED_DATATYPES[datatype];
    const known = [...DATATYPES.values()].map((d) => d.name).join(", ");
    throw new NiftiError(file, `datatype ${datatype}${got ? ` (${got})` : ""}`, `one real number per voxel: ${known}`);
  }
  const affine = readAffine(header, head, version, dims, file);
  return {
    littleEndian: header.littleEndian,
    offset,
    units: UNITS[header.xyzt_units & 7] ?? "unknown",
    source: {
      version,
      dims,
      pixdim: [...header.pixDims],
      datatype,
      slope: header.scl_slope,
      intercept: header.scl_inter,
      qformCode: header.qform_code,
      sformCode: header.sform_code,
      quaternion: [header.quatern_b, header.quatern_c, header.quatern_d],
      offset: [header.qoffset_x, header.qoffset_y, header.qoffset_z],
      unitsCode: header.xyzt_units,
      intentCode: header.intent_code,
      description: header.description,
      affine,
    },
  };
}

/** The extensions between a header and byte `end`, up to the first malformed one. */
export function readExtensions(bytes: Uint8Array<ArrayBuffer>, header: NiftiHeader, end: number): NiftiExtension[] {
  const start = header.source.version === 1 ? 348 : 540;
  const found: NiftiExtension[] = [];
  if (!(end >= start + 4) || bytes[start] === 0) return found;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (let at = start + 4; at + 8 <= end;) {
    const size = view.getInt32(at, header.littleEndian);
    if (!(size >= 8 && size <= end - at)) break;
    found.push({ code: view.getInt32(at + 4, header.littleEndian), data: bytes.slice(at + 8, at + size) });
    at += size;
  }
  return found;
}

function readDims(stored: readonly number[], file: string): number[] {
  const rank = stored[0];
  const dims = stored.slice(1, 1 + rank);
  if (!(rank >= 1 && rank <= 7)) throw new NiftiError(file, `${rank} dimensions`, "1 to 7");
  if (!dims.every((n) => Number.isSafeInteger(n) && n >= 1)) {
    throw new NiftiError(file, `sizes ${dims.join(" x ")}`, "every size to be 1 or more");
  }
  return dims;
}

function readOffset(stored: number, smallest: number, file: string): number {
  const offset = stored === 0 ? smallest : stored;
  if (!(Number.isInteger(offset) && offset >= smallest)) {
    throw new NiftiError(file, `voxels at byte ${stored}`, `an offset of ${smallest} or more`);
  }
  return offset;
}

// nifti-reader-js prefers whichever code is larger and does not support the quaternion of NIfTI-2. nibabel, ITK and the
// standard's authors use the sform if there is one, else the qform; else, as in nibabel, ANALYZE's convention: x to the
// left, origin at the center.
function readAffine(
  header: NIFTI1 | NIFTI2,
  head: ArrayBuffer,
  version: 1 | 2,
  dims: readonly number[],
  file: string,
): Affine {
  const steps = [1, 2, 3].map((axis) => Math.abs(header.pixDims[axis]));
  let affine: Affine;
  if (header.sform_code > 0) {
    const view = new DataView(head);
    affine = Array.from(
      { length: 12 },
      (_, i) =>
        version === 1
          ? view.getFloat32(280 + 4 * i, header.littleEndian)
          : view.getFloat64(400 + 8 * i, header.littleEndian),
    ).concat([0, 0, 0, 1]);
  } else if (header.qform_code > 0) {
    affine = affineFromQuaternion({
      quaternion: [header.quatern_b, header.quatern_c, header.quatern_d],
      offset: [header.qoffset_x, header.qoffset_y, header.qoffset_z],
      spacing: steps,
      qfac: header.pixDims[0],
    });
  } else {
    const center = [0, 1, 2].map((axis) => (((dims[axis] ?? 1) - 1) / 2) * steps[axis]);
    affine = [-steps[0], 0, 0, center[0], 0, steps[1], 0, -center[1], 0, 0, steps[2], -center[2], 0, 0, 0, 1];
  }
  if (!affine.every(Number.isFinite)) {
    throw new NiftiError(file, `an affine of ${affine.join(", ")}`, "finite numbers in its sform or qform");
  }
  return affine;
}
