/** Element types and how they promote. */
import { check } from "./errors.ts";

export type DType = "f16" | "f32" | "i32" | "u32" | "bool";

/** What `data()` gives: bool comes as 0 and 1, f16 as the same values in f32. */
export type TypedArray = Float32Array | Int32Array | Uint32Array | Uint8Array;

/** Bytes of an element on the device; a bool is stored as a u32 that is 0 or 1. */
export const bytesPerElement = (dtype: DType): number => (dtype === "f16" ? 2 : 4);

/** What a tensor takes in device memory: whole words, and at least one, since empty bindings are not allowed. */
export const bytesOf = (elements: number, dtype: DType): number =>
  Math.max(4, Math.ceil((elements * bytesPerElement(dtype)) / 4) * 4);

const rank: Record<DType, number> = { bool: 0, u32: 1, i32: 2, f16: 3, f32: 4 };

export const dtypes = Object.keys(rank) as DType[];

export const isFloat = (dtype: DType): dtype is "f16" | "f32" => dtype === "f32" || dtype === "f16";

/**
 * The type that two operands meet in, the wider of bool < u32 < i32 < f16 < f32:
 *
 *          bool  u32  i32  f16  f32
 *     bool bool  u32  i32  f16  f32
 *     u32        u32  i32  f16  f32
 *     i32             i32  f16  f32
 *     f16                  f16  f32
 *     f32                       f32
 *
 * Arithmetic on truth values alone is that of i32; functions that leave the integers (div, exp, mean, ...) take them as
 * f32; comparisons give bool. A plain number is weak: it takes the tensor's type where that can hold it (`joinNumber`).
 */
export const promote = (a: DType, b: DType): DType => (rank[a] >= rank[b] ? a : b);

/**
 * The type in which tensors of one type and a plain number meet. Floats take any number; u32 stays for whole numbers
 * from 0 below 2^32; other whole numbers that i32 holds make bool and u32 i32, all others make integers f32.
 */
export function joinNumber(dtype: DType, value: number): DType {
  if (isFloat(dtype)) return dtype;
  if (dtype === "u32" && fits(value, "u32")) return "u32";
  return fits(value, "i32") ? "i32" : "f32";
}

/** Whether a dtype holds a number without change, but for rounding of floats; bool holds whole numbers, as != 0. */
export function fits(value: number, dtype: DType): boolean {
  if (isFloat(dtype)) return true;
  if (!Number.isInteger(value)) return false;
  const [least, end] = dtype === "i32" ? [-(2 ** 31), 2 ** 31] : dtype === "u32" ? [0, 2 ** 32] : [-Infinity, Infinity];
  return value >= least && value < end;
}

/** A number as a dtype has it, by the rules of `cast`. */
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

/** The integer type that arithmetic on truth values happens in. */
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

/** The dtype that a typed array holds; null for one that no dtype fits. */
export function dtypeOf(array: ArrayBufferView): DType | null {
  if (array instanceof Float32Array) return "f32";
  if (array instanceof Int32Array) return "i32";
  if (array instanceof Uint32Array) return "u32";
  if (array instanceof Uint8Array) return "bool";
  // Not every host has it.
  return array.constructor.name === "Float16Array" ? "f16" : null;
}

/** Refuses an array whose memory was transferred away, to a worker for instance: it would read as empty. */
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

/** The bits of the half-precision number nearest to a value; ties go to the even one. */
export function toHalf(value: number): number {
  const sign = value < 0 || Object.is(value, -0) ? 0x8000 : 0;
  const magnitude = Math.abs(value);
  if (Number.isNaN(magnitude)) return 0x7e00;
  if (magnitude >= 65520) return sign | 0x7c00;
  // The spacing of half-precision numbers here; below 2^-14 it is that of the subnormal ones.
  const exponent = magnitude < 2 ** -14 ? -14 : Math.floor(Math.log2(magnitude));
  const units = magnitude / 2 ** (exponent - 10);
  const floor = Math.floor(units);
  const rest = units - floor;
  const whole = floor + (rest > 0.5 || (rest === 0.5 && floor % 2 === 1) ? 1 : 0);
  // A carry out of the mantissa, or into the normal numbers, lands in the exponent as it should.
  return sign | (exponent === -14 ? whole : ((exponent + 14) << 10) + whole);
}

/** Index of the first value that is NaN or infinite; -1 where all are finite. */
export function firstNotFinite(values: ArrayLike<number>): number {
  // A difference with itself is 0 for finite values alone.
  for (let i = 0; i < values.length; i++) if (values[i] - values[i] !== 0) return i;
  return -1;
}
