/** Differences, products, quotients, signs and extrema: one table row each, as in elementwise.ts. */
import { type DType, isFloat } from "../../core/dtype.ts";
import { call, type Expr, fn, infix, isLiteral, isZero, prefix, select } from "../../core/expr.ts";
import type { Tensor } from "../../core/tensor.ts";
import { equal, greater, less, where } from "./comparison.ts";
import {
  binary,
  type BinaryOperator,
  float,
  numeric,
  type Operand,
  unary,
  type UnaryOperator,
} from "./elementwise_op.ts";

/**
 * a - b
 *
 * @example
 * ```ts
 * import { tensor } from "voxgrad";
 *
 * await tensor([5, 7]).sub(1).array(); // [4, 6]
 * ```
 */
export const sub: BinaryOperator = binary("sub", {
  expr: ([a, b]) => infix(a, "-", b),
  inputs: numeric,
  d: [(t) => t, (t) => neg(t)],
});
/**
 * a * b
 *
 * @example
 * ```ts
 * import { tensor } from "voxgrad";
 *
 * await tensor([1, 2]).mul(tensor([3, 4])).array(); // [3, 8]
 * ```
 */
export const mul: BinaryOperator = binary("mul", {
  expr: ([a, b], _, dtype) => {
    if (!isFloat(dtype) || !(isZero(a) || isZero(b))) return infix(a, "*", b);
    return fn("vg_times_zero", isZero(a) ? b : a);
  },
  inputs: numeric,
  d: [(t, c) => mul(t, c.inputs[1]), (t, c) => mul(t, c.inputs[0])],
});
/**
 * a / b, in f32 for integers too
 *
 * @example
 * ```ts
 * import { tensor } from "voxgrad";
 *
 * await tensor([1, 3]).div(tensor([2, 4])).array(); // [0.5, 0.75]
 * ```
 */
export const div: BinaryOperator = binary("div", {
  expr: ([a, b]) => (isLiteral(b) && !isZero(b) ? infix(a, "/", b) : fn("vg_div", a, b)),
  inputs: float,
  cost: 2,
  // d(a/b) = da / b - (a/b) db / b
  d: [(t, c) => div(t, c.inputs[1]), (t, c) => neg(div(mul(t, c.output), c.inputs[1]))],
});
/**
 * -x
 *
 * @example
 * ```ts
 * import { tensor } from "voxgrad";
 *
 * await tensor([1, -2]).neg().array(); // [-1, 2]
 * ```
 */
export const neg: UnaryOperator = unary("neg", {
  expr: ([x]) => prefix("-", x),
  inputs: (d) => (numeric(d) === "u32" ? "i32" : numeric(d)),
  d: [(t) => neg(t)],
});
/**
 * |x|; gradient 0 at 0
 *
 * @example
 * ```ts
 * import { tensor } from "voxgrad";
 *
 * await tensor([1.5, -2]).abs().array(); // [1.5, 2]
 * ```
 */
export const abs: UnaryOperator = unary("abs", {
  expr: ([x]) => call("abs", x),
  inputs: numeric,
  d: [(t, c) => mul(t, sign(c.inputs[0]))],
});
/**
 * -1, 0 or 1
 *
 * @example
 * ```ts
 * import { tensor } from "voxgrad";
 *
 * await tensor([-3, 0, 0.5]).sign().array(); // [-1, 0, 1]
 * ```
 */
export const sign: UnaryOperator = unary("sign", {
  expr: ([x]) => call("sign", x),
  inputs: (d) => (numeric(d) === "u32" ? "i32" : numeric(d)),
  d: [(t) => mul(t, 0)],
});
/**
 * The largest integer not above x
 *
 * @example
 * ```ts
 * import { tensor } from "voxgrad";
 *
 * await tensor([1.7, -1.2]).floor().array(); // [1, -2]
 * ```
 */
export const floor: UnaryOperator = unary("floor", {
  expr: ([x]) => call("floor", x),
  inputs: float,
  d: [(t) => mul(t, 0)],
});

/** At a tie each input gets half of the gradient, as in PyTorch. */
const share = (first: (a: Operand, b: Operand) => Tensor) => (t: Tensor, a: Tensor, b: Tensor): Tensor =>
  where(equal(a, b), mul(t, 0.5), where(first(a, b), t, 0));
/** WGSL's max and min may drop NaN, or assume that there is none; comparisons with NaN are false. */
const extremum = (name: "max" | "min", sign: ">" | "<") => ([a, b]: readonly Expr[], _: unknown, dtype: DType): Expr =>
  isFloat(dtype) ? select(select(b, a, infix(a, sign, b)), a, fn("vg_is_nan", a)) : call(name, a, b);
const shareGreater = share((a, b) => greater(a, b));
const shareLess = share((a, b) => less(a, b));

/**
 * The larger of a and b, NaN if either is; a tie shares the gradient
 *
 * @example
 * ```ts
 * import { tensor } from "voxgrad";
 *
 * await tensor([-1, 5]).maximum(0).array(); // [0, 5]
 * ```
 */
export const maximum: BinaryOperator = binary("maximum", {
  expr: extremum("max", ">"),
  cost: 3,
  inputs: numeric,
  d: [(t, { inputs: [a, b] }) => shareGreater(t, a, b), (t, { inputs: [a, b] }) => shareGreater(t, b, a)],
});
/**
 * The smaller of a and b, NaN if either is; a tie shares the gradient
 *
 * @example
 * ```ts
 * import { tensor } from "voxgrad";
 *
 * await tensor([-1, 5]).minimum(3).array(); // [-1, 3]
 * ```
 */
export const minimum: BinaryOperator = binary("minimum", {
  expr: extremum("min", "<"),
  cost: 3,
  inputs: numeric,
  d: [(t, { inputs: [a, b] }) => shareLess(t, a, b), (t, { inputs: [a, b] }) => shareLess(t, b, a)],
});
