/** MGH of FreeSurfer (surfer.nmr.mgh.harvard.edu/fswiki/FsTutorial/MghFormat): .mgh, and .mgz, gzipped. */
import { gunzip, isGzip } from "../nifti/gunzip.ts";
import { gzip } from "../nifti/gzip.ts";
import { columnNorms } from "../volume/affine.ts";
import type { Affine } from "../volume/affine.ts";
import { FormatError } from "../volume/format_error.ts";
import { swapBytes, VALUE_BYTES, type ValueType } from "../volume/raw_values.ts";
import { type Triple, type Volume, voxelCount, type VoxelData } from "../volume/volume.ts";
import { checkSizes, finiteAffine, plainBytes } from "./checks.ts";
import { bytesOf, typeOf, valuesAt } from "./values.ts";

const TYPES: Readonly<Record<number, ValueType>> = { 0: "uint8", 1: "int32", 3: "float32", 4: "int16", 10: "uint16" };
const HEADER = 284;

/** Whether bytes begin as an MGH file, which is not gzipped: with its version, and sizes. */
export function isMgh(bytes: Uint8Array): boolean {
  if (bytes.length < HEADER) return false;
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  return view.getInt32(0) === 1 && [4, 8, 12, 16].every((at) => view.getInt32(at) >= 1) && view.getInt32(20) in TYPES;
}

/**
 * Reads an MGH or MGZ file; frames become channels.
 *
 * @throws FormatError if it is damaged or of another kind
 * @example
 * ```ts
 * import { phantomCase, readMgh, writeMgh } from "voxgrad/imaging";
 *
 * const bytes = writeMgh(phantomCase({ seed: 1, shape: [8, 8, 8] }).image);
 * readMgh(bytes, "scan.mgz").shape; // [8, 8, 8]
 * ```
 */
export function readMgh(bytes: Uint8Array | ArrayBuffer, name = "MGH data"): Volume {
  const stored = plainBytes(bytes);
  const refuse = (got: string, wanted: string): FormatError => new FormatError(name, got, wanted);
  const facts = (head: Uint8Array): { shape: Triple; channels: number; type: ValueType; count: number } => {
    if (head.length < HEADER) throw refuse(`${head.length} bytes`, `at least the ${HEADER} of an MGH file`);
    const view = new DataView(head.buffer, head.byteOffset);
    if (view.getInt32(0) !== 1) throw refuse(`version ${view.getInt32(0)}`, "an MGH file of version 1");
    const type = TYPES[view.getInt32(20)];
    if (!type) throw refuse(`type ${view.getInt32(20)}`, `one of ${Object.values(TYPES).join(", ")}`);
    const [x, y, z, channels] = [4, 8, 12, 16].map((at) => view.getInt32(at));
    return { shape: [x, y, z], channels, type, count: checkSizes([x, y, z, channels], VALUE_BYTES[type], name) };
  };
  let file = stored;
  if (isGzip(stored)) {
    const wanted = (head: Uint8Array): number => {
      const { count, type } = facts(head);
      return HEADER + count * VALUE_BYTES[type];
    };
    try {
      file = gunzip(stored, { head: HEADER, wanted });
    } catch (cause) {
      if (cause instanceof FormatError) throw cause;
      throw new FormatError(name, "damaged gzip data", `intact ones (${(cause as Error).message})`, cause);
    }
  }
  const { shape, channels, type, count } = facts(file);
  const affine = finiteAffine(affineOf(new DataView(file.buffer, file.byteOffset), shape), name);
  const data = valuesAt(file.subarray(HEADER), type, { count, littleEndian: false, refuse });
  return { data, shape, channels, affine, spacing: columnNorms(affine), units: "mm", name };
}

/** From spacing, directions and the center of the volume; FreeSurfer's own where the header has none. */
function affineOf(view: DataView, shape: Triple): Affine {
  const stored = view.getInt16(28) > 0;
  const all = Array.from({ length: 15 }, (_, k) => view.getFloat32(30 + 4 * k));
  const numbers = stored ? all : [1, 1, 1, -1, 0, 0, 0, 0, -1, 0, 1, 0, 0, 0, 0];
  const column = (axis: number): number[] => [0, 1, 2].map((row) => numbers[3 + 3 * axis + row] * numbers[axis]);
  const columns = [column(0), column(1), column(2)];
  const row = (r: number): number[] => {
    const steps = columns.map((each) => each[r]);
    return [...steps, numbers[12 + r] - steps.reduce((sum, step, axis) => sum + (step * shape[axis]) / 2, 0)];
  };
  return [...row(0), ...row(1), ...row(2), 0, 0, 0, 1];
}

/**
 * Encodes a volume as an MGZ file.
 *
 * @param options gzip: compress (.mgz), default true
 * @returns the bytes of the file, the same for the same volume
 * @throws FormatError if the format has no type for its values: int8, uint32 and float64
 * @example
 * ```ts
 * import { phantomCase, writeMgh } from "voxgrad/imaging";
 *
 * const bytes = writeMgh(phantomCase({ seed: 1 }).label);
 * ```
 */
export function writeMgh(volume: Volume, options: { gzip?: boolean } = {}): Uint8Array<ArrayBuffer> {
  const { data, shape, channels, affine, name } = volume;
  const type = typeOf(data);
  const code = Object.entries(TYPES).find(([, each]) => each === type)?.[0];
  if (code === undefined) {
    throw new FormatError(name, `values of ${type}`, `one of ${Object.values(TYPES).join(", ")}, which MGH has`);
  }
  if (data.length !== voxelCount(shape) * channels) {
    throw new FormatError(name, `${data.length} values`, `${channels} x ${shape.join(" x ")}`);
  }
  const values: VoxelData = data.slice();
  swapBytes(bytesOf(values), values.BYTES_PER_ELEMENT);
  const out = new Uint8Array(HEADER + values.byteLength);
  const view = new DataView(out.buffer);
  [1, ...shape, channels, Number(code), 0].forEach((v, k) => view.setInt32(4 * k, v));
  view.setInt16(28, 1);
  const steps = columnNorms(affine);
  const directions = [0, 1, 2].flatMap((axis) => [0, 4, 8].map((at) => affine[at + axis] / steps[axis]));
  const center = [0, 4, 8].map((at) =>
    affine[at + 3] + [0, 1, 2].reduce((sum, axis) => sum + (affine[at + axis] * shape[axis]) / 2, 0)
  );
  [...steps, ...directions, ...center].forEach((v, k) => view.setFloat32(30 + 4 * k, v));
  out.set(bytesOf(values), HEADER);
  return options.gzip === false ? out : gzip(out);
}
