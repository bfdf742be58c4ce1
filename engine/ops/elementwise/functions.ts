/** Further functions of one number, and what is made of them: one table row each, as in elementwise.ts. */
import { call, fn } from "../../core/expr.ts";
import { check, checkNumber, checkOptions, refuseOptions, show } from "../../core/errors.ts";
import { broadcastShapes } from "../../core/shape.ts";
import { checkTensor, Tensor } from "../../core/tensor.ts";
import { div, mul, neg, sub } from "./arithmetic.ts";
import {
  add,
  binary,
  type BinaryOperator,
  float,
  isOperand,
  type Operand,
  unary,
  type UnaryOperator,
  wide,
} from "./elementwise_op.ts";
import { f32 } from "./constant.ts";
import { rsqrt, square } from "./elementwise.ts";
import { greater, isFinite, isNaN, less, logicalAnd, logicalNot, where } from "./comparison.ts";

/**
 * 2 ** x
 *
 * @example
 * ```ts
 * import { tensor } from "voxgrad";
 *
 * await tensor([0, 3, -1]).exp2().array(); // [1, 8, 0.5]
 * ```
 */
export const exp2: UnaryOperator = unary("exp2", {
  expr: ([x]) => fn("vg_exp2", x),
  inputs: wide,
  cost: 8,
  d: [(t, c) => mul(t, mul(c.output, Math.LN2))],
});
/**
 * e ** x - 1, accurate near 0
 *
 * @example
 * ```ts
 * import { tensor } from "voxgrad";
 *
 * await tensor([0, 1e-6]).expm1().array(); // [0, 0.0000010]
 * ```
 */
export const expm1: UnaryOperator = unary("expm1", {
  expr: ([x]) => fn("vg_expm1", x),
  inputs: wide,
  cost: 8,
  d: [(t, c) => mul(t, add(c.output, 1))],
});
/**
 * The logarithm to base 2
 *
 * @example
 * ```ts
 * import { tensor } from "voxgrad";
 *
 * await tensor([1, 8]).log2().array(); // [0, 3]
 * ```
 */
export const log2: UnaryOperator = unary("log2", {
  expr: ([x]) => fn("vg_log2", x),
  inputs: wide,
  cost: 8,
  d: [(t, c) => div(mul(t, Math.LOG2E), c.inputs[0])],
});
/**
 * 1 / x
 *
 * @example
 * ```ts
 * import { tensor } from "voxgrad";
 *
 * await tensor([2, 4]).reciprocal().array(); // [0.5, 0.25]
 * ```
 */
export const reciprocal: UnaryOperator = unary("reciprocal", {
  expr: ([x]) => fn("vg_div", f32(1), x),
  inputs: float,
  cost: 2,
  d: [(t, c) => neg(mul(t, square(c.output)))],
});
/**
 * The tangent
 *
 * @example
 * ```ts
 * import { tensor } from "voxgrad";
 *
 * await tensor([0, 1]).tan().array(); // [0, 1.5574]
 * ```
 */
export const tan: UnaryOperator = unary("tan", {
  expr: ([x]) => fn("vg_tan", x),
  inputs: float,
  cost: 16,
  // 1 + tan(x)^2
  d: [(t, c) => mul(t, add(square(c.output), 1))],
});
/**
 * The inverse sine, in [-pi / 2, pi / 2]; NaN outside [-1, 1]
 *
 * @example
 * ```ts
 * import { tensor } from "voxgrad";
 *
 * await tensor([0, 1]).asin().array(); // [0, 1.5708]
 * ```
 */
export const asin: UnaryOperator = unary("asin", {
  expr: ([x]) => fn("vg_asin", x),
  inputs: float,
  cost: 12,
  // 1 / sqrt(1 - x^2)
  d: [(t, c) => mul(t, rsqrt(sub(1, square(c.inputs[0]))))],
});
/**
 * The inverse cosine, in [0, pi]; NaN outside [-1, 1]
 *
 * @example
 * ```ts
 * import { tensor } from "voxgrad";
 *
 * await tensor([1, 0]).acos().array(); // [0, 1.5708]
 * ```
 */
export const acos: UnaryOperator = unary("acos", {
  expr: ([x]) => fn("vg_acos", x),
  inputs: float,
  cost: 12,
  // -1 / sqrt(1 - x^2)
  d: [(t, c) => neg(mul(t, rsqrt(sub(1, square(c.inputs[0])))))],
});
/**
 * The inverse tangent, in [-pi / 2, pi / 2]
 *
 * @example
 * ```ts
 * import { tensor } from "voxgrad";
 *
 * await tensor([0, 1]).atan().array(); // [0, 0.7854]
 * ```
 */
export const atan: UnaryOperator = unary("atan", {
  expr: ([x]) => fn("vg_atan", x),
  inputs: float,
  cost: 12,
  // 1 / (1 + x^2)
  d: [(t, c) => div(t, add(square(c.inputs[0]), 1))],
});
/**
 * The hyperbolic sine
 *
 * @example
 * ```ts
 * import { tensor } from "voxgrad";
 *
 * await tensor([0, 1]).sinh().array(); // [0, 1.1752]
 * ```
 */
export const sinh: UnaryOperator = unary("sinh", {
  expr: ([x]) => fn("vg_sinh", x),
  inputs: wide,
  cost: 16,
  d: [(t, c) => mul(t, cosh(c.inputs[0]))],
});
/**
 * The hyperbolic cosine
 *
 * @example
 * ```ts
 * import { tensor } from "voxgrad";
 *
 * await tensor([0, 1]).cosh().array(); // [1, 1.5431]
 * ```
 */
export const cosh: UnaryOperator = unary("cosh", {
  expr: ([x]) => fn("vg_cosh", x),
  inputs: wide,
  cost: 10,
  d: [(t, c) => mul(t, sinh(c.inputs[0]))],
});
/**
 * The inverse hyperbolic sine
 *
 * @example
 * ```ts
 * import { tensor } from "voxgrad";
 *
 * await tensor([0, 1]).asinh().array(); // [0, 0.8814]
 * ```
 */
export const asinh: UnaryOperator = unary("asinh", {
  expr: ([x]) => fn("vg_asinh", x),
  inputs: float,
  cost: 20,
  // 1 / sqrt(x^2 + 1)
  d: [(t, c) => mul(t, rsqrt(add(square(c.inputs[0]), 1)))],
});
/**
 * The inverse hyperbolic cosine; NaN below 1
 *
 * @example
 * ```ts
 * import { tensor } from "voxgrad";
 *
 * await tensor([1, 2]).acosh().array(); // [0, 1.317]
 * ```
 */
export const acosh: UnaryOperator = unary("acosh", {
  expr: ([x]) => fn("vg_acosh", x),
  inputs: float,
  cost: 20,
  // 1 / sqrt(x^2 - 1)
  d: [(t, c) => mul(t, rsqrt(sub(square(c.inputs[0]), 1)))],
});
/**
 * The inverse hyperbolic tangent; NaN outside [-1, 1]
 *
 * @example
 * ```ts
 * import { tensor } from "voxgrad";
 *
 * await tensor([0, 0.5]).atanh().array(); // [0, 0.5493]
 * ```
 */
export const atanh: UnaryOperator = unary("atanh", {
  expr: ([x]) => fn("vg_atanh", x),
  inputs: float,
  cost: 16,
  // 1 / (1 - x^2)
  d: [(t, c) => div(t, sub(1, square(c.inputs[0])))],
});
/**
 * The nearest integer, halves to the even one, as in PyTorch and NumPy
 *
 * @example
 * ```ts
 * import { tensor } from "voxgrad";
 *
 * await tensor([1.7, 0.5, 1.5]).round().array(); // [2, 0, 2]
 * ```
 */
export const round: UnaryOperator = unary("round", {
  expr: ([x]) => call("round", x),
  inputs: float,
  d: [(t) => mul(t, 0)],
});
/**
 * The smallest integer not below x
 *
 * @example
 * ```ts
 * import { tensor } from "voxgrad";
 *
 * await tensor([1.2, -1.7]).ceil().array(); // [2, -1]
 * ```
 */
export const ceil: UnaryOperator = unary("ceil", {
  expr: ([x]) => call("ceil", x),
  inputs: float,
  d: [(t) => mul(t, 0)],
});
/**
 * x without its fraction
 *
 * @example
 * ```ts
 * import { tensor } from "voxgrad";
 *
 * await tensor([1.7, -1.7]).trunc().array(); // [1, -1]
 * ```
 */
export const trunc: UnaryOperator = unary("trunc", {
  expr: ([x]) => call("trunc", x),
  inputs: float,
  d: [(t) => mul(t, 0)],
});
/**
 * The angle of the point (x, y), y first as everywhere, in [-pi, pi]
 *
 * @example
 * ```ts
 * import { tensor } from "voxgrad";
 *
 * await tensor([1, -1]).atan2(tensor([1, -1])).array(); // [0.7854, -2.3562]
 * ```
 */
export const atan2: BinaryOperator = binary("atan2", {
  expr: ([y, x]) => fn("vg_atan2", y, x),
  inputs: float,
  cost: 20,
  // d/dy = x / (x^2 + y^2), d/dx = -y / (x^2 + y^2)
  d: [
    (t, { inputs: [y, x] }) => div(mul(t, x), add(square(x), square(y))),
    (t, { inputs: [y, x] }) => neg(div(mul(t, y), add(square(x), square(y)))),
  ],
});

/** The largest f32. */
const LARGEST = 3.4028234663852886e38;

/**
 * x with numbers in place of what is not finite: 0 (or `nan`) for NaN, and the largest f32 and its negative (or
 * `posinf` and `neginf`) for infinity, as torch.nan_to_num. No gradient passes where x was replaced.
 *
 * @example
 * ```ts
 * import { tensor } from "voxgrad";
 *
 * await tensor([1, NaN, Infinity]).nanToNum({ posinf: 9 }).array(); // [1, 0, 9]
 * ```
 */
export function nanToNum(x: Tensor, options: { nan?: number; posinf?: number; neginf?: number } = {}): Tensor {
  checkTensor("nanToNum", x);
  checkOptions("nanToNum", options, ["nan", "posinf", "neginf"]);
  const largest = x.dtype === "f16" ? 65504 : LARGEST;
  const { nan = 0, posinf = largest, neginf = -largest } = options;
  for (const [name, value] of Object.entries({ nan, posinf, neginf })) checkNumber("nanToNum", name, value);
  if (float(x.dtype) !== x.dtype) return x;
  const infinite = logicalNot(isFinite(x));
  const limited = where(
    logicalAnd(infinite, greater(x, 0)),
    posinf,
    where(logicalAnd(infinite, less(x, 0)), neginf, x),
  );
  return where(isNaN(x), nan, limited);
}

/**
 * a + weight (b - a), which is a at weight 0 and exactly b at 1, as torch.lerp; the weight is a number or a tensor
 *
 * @example
 * ```ts
 * import { tensor } from "voxgrad";
 *
 * await tensor([0, 10]).lerp(tensor([4, 20]), 0.25).array(); // [1, 12.5]
 * ```
 */
export function lerp(a: Tensor, b: Operand, weight: Operand, ...rest: never[]): Tensor {
  checkTensor("lerp", a);
  refuseOptions("lerp", rest);
  check(isOperand(b), "lerp", () => `the end is a tensor or a number, got ${show(b)}`);
  check(isOperand(weight), "lerp", () => `the weight is a tensor or a number, got ${show(weight)}`);
  for (const x of [b, weight]) if (x instanceof Tensor) broadcastShapes("lerp", a.shape, x.shape);
  const d = sub(b, a);
  const [low, high] = [
    (): Tensor => add(a, mul(d, weight)),
    (): Tensor => sub(b, mul(d, weight instanceof Tensor ? sub(1, weight) : 1 - weight)),
  ];
  if (weight instanceof Tensor) return where(less(weight, 0.5), low(), high());
  return weight < 0.5 ? low() : high();
}
