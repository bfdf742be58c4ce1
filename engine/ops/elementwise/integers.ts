/** Remainders and bits: one table row each, as in elementwise.ts. */
import { type DType, isFloat } from "../../core/dtype.ts";
import { fail } from "../../core/errors.ts";
import { call, type Expr, fn, infix, type InfixOperator, prefix, select, u32 } from "../../core/expr.ts";
import { div, floor, mul, neg } from "./arithmetic.ts";
import { constant } from "./constant.ts";
import { binary, type BinaryOperator, numeric, unary, type UnaryOperator } from "./elementwise_op.ts";

/**
 * The remainder of a / b with the sign of b, as in Python, NumPy and torch.remainder. Floats: NaN for a divisor of 0,
 * and the error grows with the quotient, by 1e-7 of a. Integers: 0 for a divisor of 0.
 *
 * @example
 * ```ts
 * import { tensor } from "voxgrad";
 *
 * await tensor([5, -5, 5.5]).mod(3).array(); // [2, 1, 2.5]
 * ```
 */
export const mod: BinaryOperator = binary("mod", {
  expr: ([a, b], _, dtype) => fn(isFloat(dtype) ? "vg_mod" : `vg_mod_${dtype}`, a, b),
  inputs: numeric,
  cost: 6,
  // a mod b = a - b floor(a / b), and the floor is constant between jumps
  d: [(t) => t, (t, { inputs: [a, b] }) => neg(mul(t, floor(div(a, b))))],
});

/** Integers of the operands' type; bool counts as i32. */
const integers = (name: string) => (dtype: DType): DType =>
  isFloat(dtype) ? fail(name, `operands are integers, got ${dtype}; cast("i32") them`) : numeric(dtype);
const bits = (operator: InfixOperator) => ([a, b]: readonly Expr[]): Expr => infix(a, operator, b);

/**
 * The bits that both integers have
 *
 * @example
 * ```ts
 * import { tensor } from "voxgrad";
 *
 * await tensor([6, 5], { dtype: "i32" }).bitwiseAnd(3).array(); // [2, 1]
 * ```
 */
export const bitwiseAnd: BinaryOperator = binary("bitwiseAnd", { expr: bits("&"), inputs: integers("bitwiseAnd") });
/**
 * The bits that either integer has
 *
 * @example
 * ```ts
 * import { tensor } from "voxgrad";
 *
 * await tensor([6, 5], { dtype: "i32" }).bitwiseOr(3).array(); // [7, 7]
 * ```
 */
export const bitwiseOr: BinaryOperator = binary("bitwiseOr", { expr: bits("|"), inputs: integers("bitwiseOr") });
/**
 * The bits that one of two integers has
 *
 * @example
 * ```ts
 * import { tensor } from "voxgrad";
 *
 * await tensor([6, 5], { dtype: "i32" }).bitwiseXor(3).array(); // [5, 6]
 * ```
 */
export const bitwiseXor: BinaryOperator = binary("bitwiseXor", { expr: bits("^"), inputs: integers("bitwiseXor") });
/**
 * An integer with all bits flipped: -x - 1 for i32
 *
 * @example
 * ```ts
 * import { tensor } from "voxgrad";
 *
 * await tensor([0, 6], { dtype: "i32" }).bitwiseNot().array(); // [-1, -7]
 * ```
 */
export const bitwiseNot: UnaryOperator = unary("bitwiseNot", {
  expr: ([x]) => prefix("~", x),
  inputs: integers("bitwiseNot"),
});
/** A shift by less than 32 bits where the amount is in range, else what remains after that many bits. */
const shift = (operator: "<<" | ">>") => ([x, by]: readonly Expr[], _: unknown, dtype: DType): Expr => {
  const amount = call("u32", by);
  const rest = operator === ">>" ? infix(x, ">>", u32(31)) : constant(0, dtype);
  const far = operator === ">>" && dtype === "u32" ? constant(0, dtype) : rest;
  return select(infix(x, operator, infix(amount, "&", u32(31))), far, infix(amount, ">", u32(31)));
};
/**
 * An integer with its bits moved up; 0 from 32 on, and for negative amounts
 *
 * @example
 * ```ts
 * import { tensor } from "voxgrad";
 *
 * await tensor([1, 3], { dtype: "i32" }).leftShift(2).array(); // [4, 12]
 * ```
 */
export const leftShift: BinaryOperator = binary("leftShift", { expr: shift("<<"), inputs: integers("leftShift") });
/**
 * An integer with its bits moved down, i32 with its sign; all of them from 32 on, and for negative amounts
 *
 * @example
 * ```ts
 * import { tensor } from "voxgrad";
 *
 * await tensor([-8, 5], { dtype: "i32" }).rightShift(1).array(); // [-4, 2]
 * ```
 */
export const rightShift: BinaryOperator = binary("rightShift", { expr: shift(">>"), inputs: integers("rightShift") });
