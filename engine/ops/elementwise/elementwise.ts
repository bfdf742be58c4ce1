/** Elementwise operators: one table row each, with the expression and the derivative with respect to each input. */
import { type DType, isFloat, joinNumber, promote } from "../../core/dtype.ts";
import { check, checkNumber, checkOptions, fail, refuseOptions, show } from "../../core/errors.ts";
import { call, type Expr, fn, infix, type InfixOperator, isLiteral, isZero, prefix, select } from "../../core/expr.ts";
import type { Op } from "../../core/op.ts";
import { broadcastShapes, sameShape } from "../../core/shape.ts";
import { checkTensor, node, Tensor } from "../../core/tensor.ts";
import { scalar } from "./creation.ts";

import {
  add,
  apply,
  binary,
  type BinaryOperator,
  bool,
  cast,
  define,
  float,
  isOperand,
  numeric,
  type Operand,
  type Row,
  unary,
  type UnaryOperator,
  wide,
} from "./elementwise_op.ts";

import { constant, f32 } from "./constant.ts";

export { add, cast };
export type { Operand };

/** a - b */
export const sub: BinaryOperator = binary("sub", {
  expr: ([a, b]) => infix(a, "-", b),
  inputs: numeric,
  d: [(t) => t, (t) => neg(t)],
});
/** a * b */
export const mul: BinaryOperator = binary("mul", {
  expr: ([a, b], _, dtype) => {
    if (!isFloat(dtype) || !(isZero(a) || isZero(b))) return infix(a, "*", b);
    return fn("vg_times_zero", isZero(a) ? b : a);
  },
  inputs: numeric,
  d: [(t, c) => mul(t, c.inputs[1]), (t, c) => mul(t, c.inputs[0])],
});
/** a / b, in f32 for integers too */
export const div: BinaryOperator = binary("div", {
  expr: ([a, b]) => (isLiteral(b) && !isZero(b) ? infix(a, "/", b) : fn("vg_div", a, b)),
  inputs: float,
  cost: 2,
  // d(a/b) = da / b - (a/b) db / b
  d: [(t, c) => div(t, c.inputs[1]), (t, c) => neg(div(mul(t, c.output), c.inputs[1]))],
});
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

/** a ** b in f32; the constant exponents 1, 2 and 3 are products */
export function pow(a: Operand, b: Operand, ...rest: never[]): Tensor {
  refuseOptions("pow", rest);
  if (a instanceof Tensor && isFloat(a.dtype)) {
    if (b === 1) return a;
    if (b === 2) return square(a);
    if (b === 3) return mul(square(a), a);
  }
  return power(a, b);
}

/** At a tie each input gets half of the gradient, as in PyTorch. */
const share = (first: (a: Operand, b: Operand) => Tensor) => (t: Tensor, a: Tensor, b: Tensor): Tensor =>
  where(equal(a, b), mul(t, 0.5), where(first(a, b), t, 0));
/** WGSL's max and min may drop NaN, or assume that there is none; comparisons with NaN are false. */
const extremum = (name: "max" | "min", sign: ">" | "<") => ([a, b]: readonly Expr[], _: unknown, dtype: DType): Expr =>
  isFloat(dtype) ? select(select(b, a, infix(a, sign, b)), a, fn("vg_is_nan", a)) : call(name, a, b);
const shareGreater = share((a, b) => greater(a, b));
const shareLess = share((a, b) => less(a, b));
/** The larger of a and b, NaN if either is; a tie shares the gradient */
export const maximum: BinaryOperator = binary("maximum", {
  expr: extremum("max", ">"),
  cost: 3,
  inputs: numeric,
  d: [(t, { inputs: [a, b] }) => shareGreater(t, a, b), (t, { inputs: [a, b] }) => shareGreater(t, b, a)],
});
/** The smaller of a and b, NaN if either is; a tie shares the gradient */
export const minimum: BinaryOperator = binary("minimum", {
  expr: extremum("min", "<"),
  cost: 3,
  inputs: numeric,
  d: [(t, { inputs: [a, b] }) => shareLess(t, a, b), (t, { inputs: [a, b] }) => shareLess(t, b, a)],
});

const compare = (name: string, sign: InfixOperator, inputs: (dtype: DType) => DType = numeric) =>
  binary(name, { expr: ([a, b]) => infix(a, sign, b), inputs, dtype: bool });
/** a == b, as bool */
export const equal: BinaryOperator = compare("equal", "==");
/** a != b, as bool; NaN is not equal to anything */
export const notEqual: BinaryOperator = binary("notEqual", {
  expr: ([a, b]) => prefix("!", infix(a, "==", b)),
  inputs: numeric,
  dtype: bool,
});
/** a < b, as bool */
export const less: BinaryOperator = compare("less", "<");
/** a > b, as bool */
export const greater: BinaryOperator = compare("greater", ">");
/** a <= b, as bool */
export const lessEqual: BinaryOperator = compare("lessEqual", "<=");
/** a >= b, as bool */
export const greaterEqual: BinaryOperator = compare("greaterEqual", ">=");
/** a and b, as bool */
export const logicalAnd: BinaryOperator = compare("logicalAnd", "&", bool);
/** a or b, as bool */
export const logicalOr: BinaryOperator = compare("logicalOr", "|", bool);
/** not x, as bool */
export const logicalNot: UnaryOperator = unary("logicalNot", {
  expr: ([x]) => prefix("!", x),
  inputs: bool,
  dtype: bool,
});

/** -x */
export const neg: UnaryOperator = unary("neg", {
  expr: ([x]) => prefix("-", x),
  inputs: (d) => (numeric(d) === "u32" ? "i32" : numeric(d)),
  d: [(t) => neg(t)],
});
/** |x|; gradient 0 at 0 */
export const abs: UnaryOperator = unary("abs", {
  expr: ([x]) => call("abs", x),
  inputs: numeric,
  d: [(t, c) => mul(t, sign(c.inputs[0]))],
});
/** -1, 0 or 1 */
export const sign: UnaryOperator = unary("sign", {
  expr: ([x]) => call("sign", x),
  inputs: (d) => (numeric(d) === "u32" ? "i32" : numeric(d)),
  d: [(t) => mul(t, 0)],
});
/** Whether x is NaN, as bool */
export const isNaN: UnaryOperator = unary("isNaN", {
  expr: ([x]) => fn("vg_is_nan", x),
  inputs: float,
  dtype: bool,
});
/** Whether x is neither NaN nor infinite, as bool */
export const isFinite: UnaryOperator = unary("isFinite", {
  expr: ([x]) => fn("vg_is_finite", x),
  inputs: float,
  dtype: bool,
});
/** The largest integer not above x */
export const floor: UnaryOperator = unary("floor", {
  expr: ([x]) => call("floor", x),
  inputs: float,
  d: [(t) => mul(t, 0)],
});
/** e ** x */
export const exp: UnaryOperator = unary("exp", {
  expr: ([x]) => fn("vg_exp", x),
  inputs: wide,
  cost: 8,
  d: [(t, c) => mul(t, c.output)],
});
/** Natural logarithm */
export const log: UnaryOperator = unary("log", {
  expr: ([x]) => fn("vg_log", x),
  inputs: wide,
  cost: 8,
  d: [(t, c) => div(t, c.inputs[0])],
});
/** log(1 + x), accurate near 0 */
export const log1p: UnaryOperator = unary("log1p", {
  expr: ([x]) => fn("vg_log1p", x),
  inputs: wide,
  cost: 10,
  d: [(t, c) => div(t, add(c.inputs[0], 1))],
});
/** Square root */
export const sqrt: UnaryOperator = unary("sqrt", {
  expr: ([x]) => fn("vg_sqrt", x),
  inputs: float,
  cost: 2,
  d: [(t, c) => div(mul(t, 0.5), c.output)],
});
/** 1 / sqrt(x) */
export const rsqrt: UnaryOperator = unary("rsqrt", {
  expr: ([x]) => fn("vg_rsqrt", x),
  inputs: wide,
  cost: 3,
  // d x^(-1/2) = -1/2 y^3
  d: [(t, { output: y }) => mul(mul(t, -0.5), mul(y, mul(y, y)))],
});
/** x * x */
export const square: UnaryOperator = unary("square", {
  expr: ([x]) => infix(x, "*", x),
  inputs: (dtype) => (isFloat(dtype) ? wide(dtype) : numeric(dtype)),
  d: [(t, c) => mul(t, mul(c.inputs[0], 2))],
});
/** Sine of x in radians, to 1e-6 for magnitudes below 6e6; beyond that, f32 cannot resolve the angle */
export const sin: UnaryOperator = unary("sin", {
  expr: ([x]) => fn("vg_sin", x),
  inputs: float,
  cost: 8,
  d: [(t, c) => mul(t, cos(c.inputs[0]))],
});
/** Cosine of x in radians, as sin */
export const cos: UnaryOperator = unary("cos", {
  expr: ([x]) => fn("vg_cos", x),
  inputs: float,
  cost: 8,
  d: [(t, c) => neg(mul(t, sin(c.inputs[0])))],
});
/** Hyperbolic tangent */
export const tanh: UnaryOperator = unary("tanh", {
  expr: ([x]) => fn("vg_tanh", x),
  inputs: float,
  cost: 10,
  d: [(t, { output: y }) => mul(t, sub(1, mul(y, y)))],
});
/** Error function */
export const erf: UnaryOperator = unary("erf", {
  expr: ([x]) => fn("vg_erf", x),
  inputs: float,
  cost: 12,
  // d erf = 2 / sqrt(pi) exp(-x^2)
  d: [(t, c) => mul(t, mul(exp(neg(square(c.inputs[0]))), 2 / Math.sqrt(Math.PI)))],
});
/** 1 / (1 + exp(-x)) */
export const sigmoid: UnaryOperator = unary("sigmoid", {
  expr: ([x]) => fn("vg_sigmoid", x),
  inputs: float,
  cost: 9,
  d: [(t, { output: y }) => mul(t, mul(y, sub(1, y)))],
});
/** log(1 + exp(x)), without overflow */
export const softplus: UnaryOperator = unary("softplus", {
  expr: ([x]) => fn("vg_softplus", x),
  inputs: wide,
  cost: 16,
  d: [(t, c) => mul(t, sigmoid(c.inputs[0]))],
});
/** max(x, 0); gradient 0 at 0 */
export const relu: UnaryOperator = unary("relu", {
  expr: ([x], _, dtype) => select(x, constant(0, dtype), infix(x, "<=", constant(0, dtype))),
  inputs: numeric,
  d: [(t, c) => where(greater(c.output, 0), t, 0)],
});
/** x Phi(x) with the normal distribution function, as PyTorch's default */
export function gelu(x: Tensor): Tensor {
  checkTensor("gelu", x);
  return mul(x, mul(add(erf(mul(x, Math.SQRT1_2)), 1), 0.5));
}

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
/** x where positive, slope * x elsewhere (default: slope 0.01, as PyTorch); the slope may be a tensor */
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
/** Limits x to [min, max]; either bound may be omitted or be a tensor */
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

const whereOp: Op = define("where", {
  expr: ([c, a, b]) => select(b, a, c),
  d: [null, (t, c) => where(c.inputs[0], t, 0), (t, c) => where(c.inputs[0], 0, t)],
});
/** a where the condition holds, b elsewhere; all three broadcast; two plain numbers give f32 */
export function where(condition: Tensor, a: Operand, b: Operand, ...rest: never[]): Tensor {
  checkTensor("where", condition, "the condition");
  refuseOptions("where", rest);
  check(isOperand(a) && isOperand(b), "where", () => `branches are tensors or numbers, got ${show(a)} and ${show(b)}`);
  const tensors = [a, b].filter((x): x is Tensor => x instanceof Tensor);
  let dtype = tensors.map((x) => x.dtype).reduce(promote, "bool" as DType);
  if (tensors.length === 0) dtype = "f32";
  for (const x of [a, b]) if (typeof x === "number") dtype = joinNumber(dtype, x);
  const [x, y] = [a, b].map((v) => (typeof v === "number" ? scalar(v, dtype) : cast(v, dtype))) as [Tensor, Tensor];
  const shape = broadcastShapes("where", condition.shape, broadcastShapes("where", x.shape, y.shape));
  return node(whereOp, [cast(condition, "bool"), x, y], {}, shape, dtype);
}
