/** Numbers as literals of expressions. */
import { type DType, fromHalf, toHalf } from "../../core/dtype.ts";
import { type Expr, fn, u32 } from "../../core/expr.ts";

/** A literal of a dtype; f16 is computed in f32. */
export function constant(value: number, dtype: DType): Expr {
  switch (dtype) {
    case "f16":
      return f32(fromHalf(toHalf(value)));
    case "f32":
      return f32(value);
    case "i32":
      return { kind: "literal", text: i32Text(Math.trunc(value)), value: Math.trunc(value) };
    case "u32":
      // A negative step of a range wraps around.
      return u32(value >>> 0);
    case "bool":
      return { kind: "literal", text: value !== 0 ? "true" : "false", value: Number(value !== 0) };
  }
}

function i32Text(value: number): string {
  // WGSL parses the smallest i32 as the negation of a literal that is out of range.
  if (value === -(2 ** 31)) return "(-2147483647i - 1i)";
  return value < 0 ? `(${value}i)` : `${value}i`;
}

/** An f32 literal. WGSL has no literals for -0, NaN and infinity, so a function creates them from their bits. */
export function f32(value: number): Expr {
  const rounded = Math.fround(value);
  if (Object.is(rounded, -0)) return fn("vg_float", u32(0x80000000));
  if (!Number.isFinite(rounded)) {
    return fn("vg_float", u32(Number.isNaN(rounded) ? 0x7fc00000 : rounded > 0 ? 0x7f800000 : 0xff800000));
  }
  return { kind: "literal", text: rounded < 0 ? `(-${-rounded}f)` : `${rounded}f`, value: rounded };
}
