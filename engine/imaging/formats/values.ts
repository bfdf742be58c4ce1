/** Values of voxels as formats beside NIfTI store them. */
import { asNumbers, swapBytes, VALUE_BYTES, type ValueType } from "../volume/raw_values.ts";
import type { VoxelData } from "../volume/volume.ts";

/**
 * The values at the start of bytes, copied.
 *
 * @throws the error that `refuse` makes, also if there are fewer bytes
 */
export function valuesAt(
  bytes: Uint8Array,
  type: ValueType,
  options: { count: number; littleEndian: boolean; refuse: (got: string, wanted: string) => Error },
): VoxelData {
  const { count, littleEndian, refuse } = options;
  const width = VALUE_BYTES[type];
  if (bytes.length < count * width) {
    throw refuse(`${bytes.length} bytes of voxels`, `${count * width} of ${type}: the file is truncated`);
  }
  const raw = Uint8Array.from(bytes.subarray(0, count * width));
  if (!littleEndian && width > 1) swapBytes(raw, width);
  return asNumbers(raw, type, refuse);
}

/** Values whose channels change fastest, with each channel as a volume of its own. */
export function channelsLast(values: VoxelData, channels: number): VoxelData {
  if (channels === 1) return values;
  const out = new (values.constructor as new (n: number) => VoxelData)(values.length);
  const count = values.length / channels;
  for (let i = 0, at = 0; i < count; i++) for (let c = 0; c < channels; c++) out[c * count + i] = values[at++];
  return out;
}

/** The bytes of values, as they lie in memory. */
export const bytesOf = ({ buffer, byteOffset, byteLength }: VoxelData): Uint8Array<ArrayBuffer> =>
  new Uint8Array(buffer, byteOffset, byteLength);

/** The name of a typed array's values. */
export const typeOf = (values: VoxelData): ValueType =>
  values.constructor.name.replace("Array", "").toLowerCase() as ValueType;
