/** Elementwise operators: one table row each, with the expression and the derivative with respect to each input. */
import { isFloat } from "../../core/dtype.ts";
import { check, checkNumber, checkOptions, fail, refuseOptions } from "../../core/errors.ts";
import { fn, infix, select } from "../../core/expr.ts";
import { broadcastShapes, sameShape } from "../../core/shape.ts";
import { checkTensor, Tensor } from "../../core/tensor.ts";
import { div, mul, neg, sub } from "./arithmetic.ts";
import { equal, greater, greaterEqual, less, lessEqual, logicalAnd, where } from "./comparison.ts";
import { constant, f32 } from "./constant.ts";
import {
  add,
  apply,
  binary,
  cast,
  define,
  float,
  numeric,
  type Operand,
  type Row,
  unary,
  type UnaryOperator,
  wide,
} from "./elementwise_op.ts";

export * from "./arithmetic.ts";
export * from "./comparison.ts";
export { add, cast };
export type { Operand };

const power = binary("pow", {
  expr: ([a, b]) => fn("vg_pow", a, b),
  inputs: float,
  cost: 16,
  // d/da = b a^(b-1), 0 where b = 0; d/db = a^b ln a, 0 where a = 0 and b >= 0
  d: [
    (t, { inputs: [a, b] }) => where(equal(b, 0), 0, mul(t, mul(b, pow(a, sub(b, 1))))),
    (t, { inputs: [a, b], output }) => {
      const zero = logicalAnd(equal(a, 0), greaterEqual(b, 0));
      return where(zero, 0, mul(t, mul(output, log(where(zero, 1, a)))));
    },
  ],
});

/**
 * a ** b in f32; the constant exponents 1, 2 and 3 are products
 *
 * @example
 * ```ts
 * import { tensor } from "voxgrad";
 *
 * await tensor([1, 2, 3]).pow(4).array(); // [1, 16, 81]
 * ```
 */
export function pow(a: Operand, b: Operand, ...rest: never[]): Tensor {
  refuseOptions("pow", rest);
  if (a instanceof Tensor && isFloat(a.dtype)) {
    if (b === 1) return a;
    if (b === 2) return square(a);
    if (b === 3) return mul(square(a), a);
  }
  return power(a, b);
}

/**
 * e ** x
 *
 * @example
 * ```ts
 * import { tensor } from "voxgrad";
 *
 * await tensor([0, 1]).exp().array(); // [1, 2.718]
 * ```
 */
export const exp: UnaryOperator = unary("exp", {
  expr: ([x]) => fn("vg_exp", x),
  inputs: wide,
  cost: 8,
  d: [(t, c) => mul(t, c.output)],
});
/**
 * Natural logarithm
 *
 * @example
 * ```ts
 * import { tensor } from "voxgrad";
 *
 * await tensor([1, 2.718]).log().array(); // [0, 1]
 * ```
 */
export const log: UnaryOperator = unary("log", {
  expr: ([x]) => fn("vg_log", x),
  inputs: wide,
  cost: 8,
  d: [(t, c) => div(t, c.inputs[0])],
});
/**
 * log(1 + x), accurate near 0
 *
 * @example
 * ```ts
 * import { tensor } from "voxgrad";
 *
 * await tensor([0, 1e-6, 1]).log1p().array(); // [0, 1e-6, 0.693]
 * ```
 */
export const log1p: UnaryOperator = unary("log1p", {
  expr: ([x]) => fn("vg_log1p", x),
  inputs: wide,
  cost: 10,
  d: [(t, c) => div(t, add(c.inputs[0], 1))],
});
/**
 * Square root
 *
 * @example
 * ```ts
 * import { tensor } from "voxgrad";
 *
 * await tensor([4, 9]).sqrt().array(); // [2, 3]
 * ```
 */
export const sqrt: UnaryOperator = unary("sqrt", {
  expr: ([x]) => fn("vg_sqrt", x),
  inputs: float,
  cost: 2,
  d: [(t, c) => div(mul(t, 0.5), c.output)],
});
/**
 * 1 / sqrt(x)
 *
 * @example
 * ```ts
 * import { tensor } from "voxgrad";
 *
 * await tensor([4, 0.25]).rsqrt().array(); // [0.5, 2]
 * ```
 */
export const rsqrt: UnaryOperator = unary("rsqrt", {
  expr: ([x]) => fn("vg_rsqrt", x),
  inputs: wide,
  cost: 3,
  // d x^(-1/2) = -1/2 y^3
  d: [(t, { output: y }) => mul(mul(t, -0.5), mul(y, mul(y, y)))],
});
/**
 * x * x
 *
 * @example
 * ```ts
 * import { tensor } from "voxgrad";
 *
 * await tensor([-3, 4]).square().array(); // [9, 16]
 * ```
 */
export const square: UnaryOperator = unary("square", {
  expr: ([x]) => infix(x, "*", x),
  inputs: (dtype) => (isFloat(dtype) ? wide(dtype) : numeric(dtype)),
  d: [(t, c) => mul(t, mul(c.inputs[0], 2))],
});
/**
 * Sine of x in radians, to 1e-6 for magnitudes below 6e6; beyond that, f32 cannot resolve the angle
 *
 * @example
 * ```ts
 * import { tensor } from "voxgrad";
 *
 * await tensor([0, Math.PI / 6, Math.PI / 2]).sin().array(); // [0, 0.5, 1]
 * ```
 */
export const sin: UnaryOperator = unary("sin", {
  expr: ([x]) => fn("vg_sin", x),
  inputs: float,
  cost: 8,
  d: [(t, c) => mul(t, cos(c.inputs[0]))],
});
/**
 * Cosine of x in radians, as sin
 *
 * @example
 * ```ts
 * import { tensor } from "voxgrad";
 *
 * await tensor([0, Math.PI / 3, Math.PI]).cos().array(); // [1, 0.5, -1]
 * ```
 */
export const cos: UnaryOperator = unary("cos", {
  expr: ([x]) => fn("vg_cos", x),
  inputs: float,
  cost: 8,
  d: [(t, c) => neg(mul(t, sin(c.inputs[0])))],
});
/**
 * Hyperbolic tangent
 *
 * @example
 * ```ts
 * import { tensor } from "voxgrad";
 *
 * await tensor([0, 1]).tanh().array(); // [0, 0.7616]
 * ```
 */
export const tanh: UnaryOperator = unary("tanh", {
  expr: ([x]) => fn("vg_tanh", x),
  inputs: float,
  cost: 10,
  d: [(t, { output: y }) => mul(t, sub(1, mul(y, y)))],
});
/**
 * Error function
 *
 * @example
 * ```ts
 * import { tensor } from "voxgrad";
 *
 * await tensor([0, 1]).erf().array(); // [0, 0.8427]
 * ```
 */
export const erf: UnaryOperator = unary("erf", {
  expr: ([x]) => fn("vg_erf", x),
  inputs: float,
  cost: 12,
  // d erf = 2 / sqrt(pi) exp(-x^2)
  d: [(t, c) => mul(t, mul(exp(neg(square(c.inputs[0]))), 2 / Math.sqrt(Math.PI)))],
});
/**
 * 1 / (1 + exp(-x))
 *
 * @example
 * ```ts
 * import { tensor } from "voxgrad";
 *
 * await tensor([0, 2]).sigmoid().array(); // [0.5, 0.8808]
 * ```
 */
export const sigmoid: UnaryOperator = unary("sigmoid", {
  expr: ([x]) => fn("vg_sigmoid", x),
  inputs: float,
  cost: 9,
  d: [(t, { output: y }) => mul(t, mul(y, sub(1, y)))],
});
/**
 * log(1 + exp(x)), without overflow
 *
 * @example
 * ```ts
 * import { tensor } from "voxgrad";
 *
 * await tensor([0, 100]).softplus().array(); // [0.6931, 100]
 * ```
 */
export const softplus: UnaryOperator = unary("softplus", {
  expr: ([x]) => fn("vg_softplus", x),
  inputs: wide,
  cost: 16,
  d: [(t, c) => mul(t, sigmoid(c.inputs[0]))],
});
/**
 * max(x, 0); gradient 0 at 0
 *
 * @example
 * ```ts
 * import { tensor } from "voxgrad";
 *
 * await tensor([-2, 3]).relu().array(); // [0, 3]
 * ```
 */
export const relu: UnaryOperator = unary("relu", {
  expr: ([x], _, dtype) => select(x, constant(0, dtype), infix(x, "<=", constant(0, dtype))),
  inputs: numeric,
  d: [(t, c) => where(greater(c.output, 0), t, 0)],
});
const leakyReluRow: Row<{ slope: number }> = {
  expr: ([x], { slope }) => select(infix(f32(slope), "*", x), x, infix(x, ">", f32(0))),
  inputs: float,
  cost: 2,
  // For slope >= 0 the output has the sign of the input, so the input need not be kept.
  d: [
    (t, { inputs, output, attrs: { slope } }) => where(greater(slope >= 0 ? output : inputs[0], 0), t, mul(t, slope)),
  ],
};
const leakyReluOp = define("leakyRelu", leakyReluRow);
/**
 * x where positive, slope * x elsewhere (default: slope 0.01, as PyTorch); the slope may be a tensor
 *
 * @example
 * ```ts
 * import { tensor } from "voxgrad";
 *
 * await tensor([-2, 3]).leakyRelu({ slope: 0.1 }).array(); // [-0.2, 3]
 * ```
 */
export function leakyRelu(x: Tensor, options: { slope?: number | Tensor } = {}): Tensor {
  checkTensor("leakyRelu", x);
  checkOptions("leakyRelu", options, ["slope"]);
  const slope = options.slope ?? 0.01;
  if (slope instanceof Tensor) return where(greater(x, 0), x, mul(x, checkBound("leakyRelu", "slope", slope, x)));
  checkNumber("leakyRelu", "slope", slope);
  return apply(leakyReluOp, leakyReluRow, [x], { slope });
}

/** Checks a tensor option: float, and broadcastable to x. */
function checkBound(operator: string, name: string, value: Tensor, x: Tensor): Tensor {
  const fits = isFloat(value.dtype) && sameShape(broadcastShapes(operator, value.shape, x.shape), x.shape);
  check(fits, operator, () => `${name} is a number or a float tensor that broadcasts to ${x}, got ${value}`);
  return value;
}

const clampRow: Row<{ min: number; max: number }> = {
  expr: ([x], { min, max }) => {
    const low = min === -Infinity ? x : select(x, f32(min), infix(x, "<", f32(min)));
    return max === Infinity ? low : select(low, f32(max), infix(x, ">", f32(max)));
  },
  inputs: float,
  cost: 2,
  // The gradient passes inside the closed interval, as PyTorch.
  d: [(t, { inputs: [x], attrs: { min, max } }) => where(logicalAnd(greaterEqual(x, min), lessEqual(x, max)), t, 0)],
};
const clampOp = define("clamp", clampRow);
/**
 * Limits x to [min, max]; either bound may be omitted or be a tensor
 *
 * @example
 * ```ts
 * import { tensor } from "voxgrad";
 *
 * await tensor([-2, 0.5, 3]).clamp({ min: 0, max: 1 }).array(); // [0, 0.5, 1]
 * ```
 */
export function clamp(x: Tensor, options: { min?: number | Tensor; max?: number | Tensor } = {}): Tensor {
  checkTensor("clamp", x);
  checkOptions("clamp", options, ["min", "max"]);
  const { min = -Infinity, max = Infinity } = options;
  if (min instanceof Tensor || max instanceof Tensor) {
    // Comparisons with NaN are false, so NaN stays; the gradient passes inside the closed interval.
    const limit = (name: string, bound: number | Tensor): Tensor | number => {
      if (bound instanceof Tensor) return checkBound("clamp", name, bound, x);
      checkNumber("clamp", name, bound);
      return bound;
    };
    const [low, high] = [limit("min", min), limit("max", max)];
    const raised = where(less(x, low), low, x);
    return where(greater(raised, high), high, raised);
  }
  checkNumber("clamp", "min", min);
  checkNumber("clamp", "max", max);
  if (!(min <= max)) fail("clamp", `min ${min} is above max ${max}`);
  return apply(clampOp, clampRow, [x], { min, max });
}
