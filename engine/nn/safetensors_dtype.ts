/** The element types of safetensors files and their conversion to the engine's dtypes. */
import { fromHalf, type TypedArray } from "../core/dtype.ts";
import type { FileDType } from "../core/safetensors.ts";

/** bfloat16 is the upper half of an f32. */
function brain(buffer: ArrayBuffer): Float32Array {
  return new Float32Array(Uint32Array.from(new Uint16Array(buffer), (bits) => bits << 16).buffer);
}

function double(buffer: ArrayBuffer): Float32Array {
  return Float32Array.from(new Float64Array(buffer), (value) => {
    const rounded = Math.fround(value);
    if (Number.isFinite(value) && !Number.isFinite(rounded)) throw new Error(`the F64 value ${value} is beyond f32`);
    return rounded;
  });
}

function wide(values: BigInt64Array | BigUint64Array, signed: boolean): Int32Array | Uint32Array {
  const [least, most] = signed ? [-(2n ** 31n), 2n ** 31n - 1n] : [0n, 2n ** 32n - 1n];
  const result = signed ? new Int32Array(values.length) : new Uint32Array(values.length);
  values.forEach((value: bigint, k: number) => {
    if (value < least || value > most) {
      throw new Error(`the ${signed ? "I64" : "U64"} value ${value} is beyond ${signed ? "i32" : "u32"}`);
    }
    result[k] = Number(value);
  });
  return result;
}

function truth(buffer: ArrayBuffer): Uint8Array {
  const values = new Uint8Array(buffer);
  const odd = values.find((v) => v > 1);
  if (odd !== undefined) throw new Error(`a BOOL is 0 or 1, found ${odd}`);
  return values;
}

/** Decoders of aligned buffers by type; each throws for a value that the target type cannot represent. */
export const decoders: Readonly<Record<FileDType, (buffer: ArrayBuffer) => TypedArray>> = {
  F64: double,
  F32: (buffer) => new Float32Array(buffer),
  F16: (buffer) => Float32Array.from(new Uint16Array(buffer), fromHalf),
  BF16: brain,
  I64: (buffer) => wide(new BigInt64Array(buffer), true),
  I32: (buffer) => new Int32Array(buffer),
  I16: (buffer) => Int32Array.from(new Int16Array(buffer)),
  I8: (buffer) => Int32Array.from(new Int8Array(buffer)),
  U64: (buffer) => wide(new BigUint64Array(buffer), false),
  U32: (buffer) => new Uint32Array(buffer),
  U16: (buffer) => Uint32Array.from(new Uint16Array(buffer)),
  U8: (buffer) => Uint32Array.from(new Uint8Array(buffer)),
  BOOL: truth,
};
