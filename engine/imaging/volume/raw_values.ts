/** Values of voxels as files store them. */
import type { VoxelData } from "./volume.ts";

/** Bytes of the types of one real number per voxel. */
export const VALUE_BYTES = {
  ...{ uint8: 1, int8: 1, int16: 2, uint16: 2, int32: 4, uint32: 4, float32: 4, float64: 8, int64: 8, uint64: 8 },
} as const;

export type ValueType = keyof typeof VALUE_BYTES;

/** Reverses the bytes of each value, in place. */
export function swapBytes(bytes: Uint8Array, width: number): void {
  for (let at = 0; at < bytes.length; at += width) {
    for (let low = at, high = at + width - 1; low < high; low++, high--) {
      const byte = bytes[low];
      bytes[low] = bytes[high];
      bytes[high] = byte;
    }
  }
}

/**
 * The values of little-endian bytes, which begin at a multiple of their size; integers of 64 bits as Float64Array.
 *
 * @param refuse makes the error for an integer that float64 does not hold, of what was got and wanted
 */
// Every host with WebGPU is little-endian, so typed arrays read the bytes as they are.
export function asNumbers(
  raw: Uint8Array<ArrayBuffer>,
  type: ValueType,
  refuse: (got: string, wanted: string) => Error,
): VoxelData {
  const { buffer, byteOffset } = raw;
  const count = raw.length / VALUE_BYTES[type];
  switch (type) {
    case "uint8":
      return raw;
    case "int8":
      return new Int8Array(buffer, byteOffset, count);
    case "int16":
      return new Int16Array(buffer, byteOffset, count);
    case "uint16":
      return new Uint16Array(buffer, byteOffset, count);
    case "int32":
      return new Int32Array(buffer, byteOffset, count);
    case "uint32":
      return new Uint32Array(buffer, byteOffset, count);
    case "float32":
      return new Float32Array(buffer, byteOffset, count);
    case "float64":
      return new Float64Array(buffer, byteOffset, count);
    case "int64":
      return exactFloat64(new BigInt64Array(buffer, byteOffset, count), refuse);
    case "uint64":
      return exactFloat64(new BigUint64Array(buffer, byteOffset, count), refuse);
  }
}

function exactFloat64(
  wide: BigInt64Array | BigUint64Array,
  refuse: (got: string, wanted: string) => Error,
): Float64Array<ArrayBuffer> {
  const out = new Float64Array(wide.length);
  for (let i = 0; i < wide.length; i++) {
    out[i] = Number(wide[i]);
    if (!Number.isSafeInteger(out[i])) {
      throw refuse(`the 64-bit value ${wide[i]}`, "values within 2^53, which a number holds exactly");
    }
  }
  return out;
}
