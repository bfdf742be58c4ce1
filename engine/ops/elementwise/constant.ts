/** Numbers as WGSL. */
import { type DType, fromHalf, toHalf } from "../../core/dtype.ts";

/** A number of a dtype as WGSL. */
export function constant(value: number, dtype: DType): string {
  switch (dtype) {
    case "f16":
      return literal(fromHalf(toHalf(value)));
    case "f32":
      return literal(value);
    case "i32":
      // The literal of the smallest would be the negative of one that is too large.
      if (value === -(2 ** 31)) return "(-2147483647i - 1i)";
      return value < 0 ? `(${Math.trunc(value)}i)` : `${Math.trunc(value)}i`;
    case "u32":
      // A negative step of a range wraps around.
      return `${value >>> 0}u`;
    case "bool":
      return value !== 0 ? "true" : "false";
  }
}

/** A number as a WGSL f32. */
export function literal(value: number): string {
  const rounded = Math.fround(value);
  // The generator adds the function wherever it is named.
  if (Object.is(rounded, -0)) return "vg_float(0x80000000u)";
  if (!Number.isFinite(rounded)) {
    // WGSL refuses constants that are not finite.
    return `vg_float(${Number.isNaN(rounded) ? "0x7fc00000u" : rounded > 0 ? "0x7f800000u" : "0xff800000u"})`;
  }
  return rounded < 0 ? `(-${-rounded}f)` : `${rounded}f`;
}

/** Whether an expression is the literal 0 of f32. */
export const isZero = (expression: string): boolean => expression === "0f";

/** Whether an expression is what `constant` writes for a number or truth value, and WGSL computes with at once. */
export const isLiteral = (expression: string): boolean =>
  /^(true|false|[\d.]+(e[-+]?\d+)?[fiu]|\(-[^()]*\))$/.test(expression);
