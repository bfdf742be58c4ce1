/** Element types and type promotion. */
import { check } from "./errors.ts";

export type DType = "f16" | "f32" | "i32" | "u32" | "bool";

/** The arrays that `data()` returns: bool as 0 and 1, f16 converted to f32. */
export type TypedArray = Float32Array | Int32Array | Uint32Array | Uint8Array;

/** Bytes of an element on the device; a bool is stored as a u32 that is 0 or 1. */
export const bytesPerElement = (dtype: DType): number => (dtype === "f16" ? 2 : 4);

/** Device memory of a tensor: a multiple of 4 bytes, and at least 4, since empty bindings are not allowed. */
export const bytesOf = (elements: number, dtype: DType): number =>
  Math.max(4, Math.ceil((elements * bytesPerElement(dtype)) / 4) * 4);

const rank: Record<DType, number> = { bool: 0, u32: 1, i32: 2, f16: 3, f32: 4 };

export const dtypes = Object.keys(rank) as DType[];

export const isFloat = (dtype: DType): dtype is "f16" | "f32" => dtype === "f32" || dtype === "f16";

/**
 * Type promotion: the wider of two types in the order bool < u32 < i32 < f16 < f32:
 *
 *          bool  u32  i32  f16  f32
 *     bool bool  u32  i32  f16  f32
 *     u32        u32  i32  f16  f32
 *     i32             i32  f16  f32
 *     f16                  f16  f32
 *     f32                       f32
 *
 * Arithmetic on bools is computed in i32. Functions that leave the integers (div, exp, mean, ...) convert bool to f32,
 * and comparisons give bool. A plain number is weak: it takes the tensor's type if that can represent it
 * (`joinNumber`).
 */
export const promote = (a: DType, b: DType): DType => (rank[a] >= rank[b] ? a : b);

/**
 * The result type of a tensor and a plain number. Floats accept any number. u32 accepts integers in [0, 2^32). Other
 * integers that fit in i32 promote bool and u32 to i32; all other numbers promote integers to f32.
 */
export function joinNumber(dtype: DType, value: number): DType {
  if (isFloat(dtype)) return dtype;
  if (dtype === "u32" && fits(value, "u32")) return "u32";
  return fits(value, "i32") ? "i32" : "f32";
}

/** Whether a dtype represents a number exactly, up to float rounding; bool accepts any integer, as != 0. */
export function fits(value: number, dtype: DType): boolean {
  if (isFloat(dtype)) return true;
  if (!Number.isInteger(value)) return false;
  const [least, end] = dtype === "i32" ? [-(2 ** 31), 2 ** 31] : dtype === "u32" ? [0, 2 ** 32] : [-Infinity, Infinity];
  return value >= least && value < end;
}

/** A number converted to a dtype by the rules of `cast`. */
export function convert(value: number, dtype: DType): number {
  switch (dtype) {
    case "f16":
      return fromHalf(toHalf(value));
    case "f32":
      return Math.fround(value);
    case "i32":
      return Math.trunc(Math.min(2 ** 31 - 1, Math.max(-(2 ** 31), value))) || 0;
    case "u32":
      return Math.trunc(Math.min(2 ** 32 - 1, Math.max(0, value))) || 0;
    case "bool":
      return Number(value !== 0);
  }
}

/** The type used for integer arithmetic: bool is computed as i32. */
export const arithmetic = (dtype: DType): DType => (dtype === "bool" ? "i32" : dtype);

export const isDType = (value: unknown): value is DType => typeof value === "string" && Object.hasOwn(rank, value);

export function allocate(dtype: DType, length: number): TypedArray {
  switch (dtype) {
    case "f16":
    case "f32":
      return new Float32Array(length);
    case "i32":
      return new Int32Array(length);
    case "u32":
      return new Uint32Array(length);
    case "bool":
      return new Uint8Array(length);
  }
}

/** The dtype of a typed array; null if there is none. */
export function dtypeOf(array: ArrayBufferView): DType | null {
  if (array instanceof Float32Array) return "f32";
  if (array instanceof Int32Array) return "i32";
  if (array instanceof Uint32Array) return "u32";
  if (array instanceof Uint8Array) return "bool";
  // Float16Array does not exist on every host.
  return array.constructor.name === "Float16Array" ? "f16" : null;
}

/** Rejects a detached array (transferred to a worker, for instance), which would read as empty. */
export function checkAttached(operator: string, data: ArrayBufferView): void {
  let attached = true;
  try {
    new Uint8Array(data.buffer, 0, 0);
  } catch {
    attached = false;
  }
  const what = "the typed array has lost its memory, which was transferred to a worker or another buffer";
  check(attached, operator, () => `${what}; copy it before the transfer`);
}

/** A half-precision number from its bits: 1 sign, 5 exponent, 10 mantissa. */
export function fromHalf(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 31;
  const mantissa = bits & 1023;
  if (exponent === 0) return sign * mantissa * 2 ** -24;
  if (exponent === 31) return mantissa === 0 ? sign * Infinity : NaN;
  return sign * (1 + mantissa / 1024) * 2 ** (exponent - 15);
}

/** The bits of the half-precision number nearest to a value, ties to even. */
export function toHalf(value: number): number {
  const sign = value < 0 || Object.is(value, -0) ? 0x8000 : 0;
  const magnitude = Math.abs(value);
  if (Number.isNaN(magnitude)) return 0x7e00;
  if (magnitude >= 65520) return sign | 0x7c00;
  // The spacing of half-precision numbers near the value; below 2^-14 it is that of subnormals.
  const exponent = magnitude < 2 ** -14 ? -14 : Math.floor(Math.log2(magnitude));
  const units = magnitude / 2 ** (exponent - 10);
  const floor = Math.floor(units);
  const rest = units - floor;
  const whole = floor + (rest > 0.5 || (rest === 0.5 && floor % 2 === 1) ? 1 : 0);
  // A carry out of the mantissa, or from subnormal to normal, correctly increments the exponent.
  return sign | (exponent === -14 ? whole : ((exponent + 14) << 10) + whole);
}

/** Index of the first NaN or infinite value; -1 if all are finite. */
export function firstNotFinite(values: ArrayLike<number>): number {
  // x - x is 0 only for finite x.
  for (let i = 0; i < values.length; i++) if (values[i] - values[i] !== 0) return i;
  return -1;
}
