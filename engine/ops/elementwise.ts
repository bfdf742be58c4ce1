/** Elementwise operators: one row each, with the WGSL expression and the derivative by each input. */
import { arithmetic, promote, type DType } from "../core/dtype.ts";
import { check, checkOptions, fail, show } from "../core/errors.ts";
import type { Op, RuleContext } from "../core/op.ts";
import { broadcastShapes } from "../core/shape.ts";
import { node, Tensor } from "../core/tensor.ts";
import { broadcastTo, sumTo } from "./broadcast_to.ts";
import { scalar } from "./creation.ts";

/** A tensor, or a plain number that takes the dtype of the other operands. */
export type Operand = Tensor | number;

interface Row<A> {
  /** WGSL from the input expressions; the functions named in `uses` come from shaders/. */
  readonly wgsl: (args: readonly string[], attrs: A) => string;
  readonly uses?: readonly string[];
  /** For fusion: operations, a transcendental function counting 8. */
  readonly cost?: number;
  /** Result dtype from the promoted input dtype; inputs are cast to `inputs` first. */
  readonly dtype?: (promoted: DType, attrs: A) => DType;
  readonly inputs?: (promoted: DType) => DType;
  /**
   * Input k: multiplies t by dy/dx_k. The matrix is diagonal, so one rule serves cotangents and tangents.
   * Missing: the result is piecewise constant or not a number.
   */
  readonly d?: readonly (((t: Tensor, c: RuleContext<A>) => Tensor) | null)[];
}

const float = (): DType => "f32";
const bool = (): DType => "bool";
/** Ordered comparison and arithmetic take truth values as integers. */
const numeric = (dtype: DType): DType => arithmetic(dtype);

function define<A = object>(name: string, row: Row<A>): Op<A> {
  const derivative = row.d;
  return {
    name,
    lowering: {
      kind: "map",
      cost: row.cost ?? 1,
      emit(e, index) {
        for (const used of row.uses ?? []) e.fn(used);
        const args = e.inputs.map((aval, k) => e.input(k, index.unbroadcast(aval.shape)));
        return e.bind(row.wgsl(args, e.attrs), e.output.dtype);
      },
    },
    vjp: derivative
      ? (c, g) =>
          c.inputs.map((x, k) => (x.dtype === "f32" && derivative[k] ? sumTo(derivative[k](g, c), x.shape) : null))
      : null,
    jvp: derivative
      ? (c, tangents) => {
          let total: Tensor | null = null;
          tangents.forEach((t, k) => {
            if (t === null || !derivative[k]) return;
            const term = broadcastTo(derivative[k](t, c), { shape: c.output.shape });
            total = total === null ? term : add(total, term);
          });
          return total ?? scalar(0, "f32", c.output.shape);
        }
      : null,
  };
}

const isOperand = (value: unknown): value is Operand => value instanceof Tensor || typeof value === "number";

/** Applies a row: promotes dtypes, turns numbers into constants, broadcasts. */
function apply<A>(op: Op<A>, row: Row<A>, operands: readonly Operand[], attrs: A): Tensor {
  for (const operand of operands) {
    check(isOperand(operand), op.name, () => `operands are tensors or numbers, got ${show(operand)}`);
  }
  const tensors = operands.filter((x): x is Tensor => x instanceof Tensor);
  let promoted = tensors.map((x) => x.dtype).reduce(promote, "bool" as DType);
  for (const x of operands) {
    if (typeof x !== "number") continue;
    const own: DType = Number.isInteger(x) && Math.abs(x) < 2 ** 31 && tensors.length > 0 ? "i32" : "f32";
    // A whole number joins any numeric type; a fraction makes integers f32.
    if (own === "f32" || promoted === "bool") promoted = promote(promoted, own);
    else if (promoted === "u32" && x < 0) promoted = "i32";
  }
  const wanted = row.inputs ? row.inputs(promoted) : promoted;
  const shape = tensors.map((x) => x.shape).reduce((a, b) => broadcastShapes(op.name, a, b), [] as readonly number[]);
  const inputs = operands.map((x) =>
    typeof x === "number" ? scalar(x, wanted) : x.dtype === wanted ? x : cast(x, wanted),
  );
  return node(op, inputs, attrs, shape, row.dtype ? row.dtype(wanted, attrs) : wanted);
}

function unary(name: string, row: Row<object>): (x: Tensor) => Tensor {
  const op = define(name, row);
  return (x) => {
    check(x instanceof Tensor, name, () => `the input is a tensor, got ${show(x)}`);
    return apply(op, row, [x], {});
  };
}

function binary(name: string, row: Row<object>): (a: Operand, b: Operand) => Tensor {
  const op = define(name, row);
  return (a, b) => apply(op, row, [a, b], {});
}

const castRow: Row<{ dtype: DType }> = {
  wgsl: ([x], { dtype }) => `${dtype}(${x})`,
  d: [(t) => t],
};
const castOp = define("cast", castRow);

/** The values as another dtype: f32 to integer truncates, anything to bool is `!= 0`. The gradient passes between floats. */
export function cast(x: Tensor, dtype: DType): Tensor {
  check(x instanceof Tensor, "cast", () => `the input is a tensor, got ${show(x)}`);
  check(
    ["f32", "i32", "u32", "bool"].includes(dtype),
    "cast",
    () => `dtype is f32, i32, u32 or bool, got ${show(dtype)}`,
  );
  return x.dtype === dtype ? x : node(castOp, [x], { dtype }, x.shape, dtype);
}

/** a + b */
export const add = binary("add", { wgsl: ([a, b]) => `${a} + ${b}`, inputs: numeric, d: [(t) => t, (t) => t] });
/** a - b */
export const sub = binary("sub", { wgsl: ([a, b]) => `${a} - ${b}`, inputs: numeric, d: [(t) => t, (t) => neg(t)] });
/** a * b */
export const mul = binary("mul", {
  wgsl: ([a, b]) => `${a} * ${b}`,
  inputs: numeric,
  d: [(t, c) => mul(t, c.inputs[1]!), (t, c) => mul(t, c.inputs[0]!)],
});
/** a / b, in f32 for integers too */
export const div = binary("div", {
  wgsl: ([a, b]) => `${a} / ${b}`,
  inputs: float,
  cost: 2,
  // d(a/b) = da / b - (a/b) db / b
  d: [(t, c) => div(t, c.inputs[1]!), (t, c) => neg(div(mul(t, c.output), c.inputs[1]!))],
});
const power = binary("pow", {
  wgsl: ([a, b]) => `vg_pow(${a}, ${b})`,
  uses: ["vg_pow"],
  inputs: float,
  cost: 16,
  // d/da = b a^(b-1), 0 where b = 0; d/db = a^b ln a, 0 where a = 0 and b >= 0
  d: [
    (t, { inputs: [a, b] }) => where(equal(b!, 0), 0, mul(t, mul(b!, pow(a!, sub(b!, 1))))),
    (t, { inputs: [a, b], output }) => {
      const zero = logicalAnd(equal(a!, 0), greaterEqual(b!, 0));
      return where(zero, 0, mul(t, mul(output, log(where(zero, 1, a!)))));
    },
  ],
});

/** a ** b in f32; the constant exponents 1, 2 and 3 are products */
export function pow(a: Operand, b: Operand): Tensor {
  if (a instanceof Tensor && a.dtype === "f32") {
    if (b === 1) return a;
    if (b === 2) return square(a);
    if (b === 3) return mul(square(a), a);
  }
  return power(a, b);
}

/** At a tie each input takes half, as in PyTorch. */
const share =
  (first: (a: Operand, b: Operand) => Tensor) =>
  (t: Tensor, a: Tensor, b: Tensor): Tensor =>
    where(equal(a, b), mul(t, 0.5), where(first(a, b), t, 0));
const shareGreater = share((a, b) => greater(a, b));
const shareLess = share((a, b) => less(a, b));
/** The larger of a and b; a tie shares the gradient */
export const maximum = binary("maximum", {
  wgsl: ([a, b]) => `max(${a}, ${b})`,
  inputs: numeric,
  d: [(t, { inputs: [a, b] }) => shareGreater(t, a!, b!), (t, { inputs: [a, b] }) => shareGreater(t, b!, a!)],
});
/** The smaller of a and b; a tie shares the gradient */
export const minimum = binary("minimum", {
  wgsl: ([a, b]) => `min(${a}, ${b})`,
  inputs: numeric,
  d: [(t, { inputs: [a, b] }) => shareLess(t, a!, b!), (t, { inputs: [a, b] }) => shareLess(t, b!, a!)],
});

const compare = (name: string, sign: string, inputs: (dtype: DType) => DType = numeric) =>
  binary(name, { wgsl: ([a, b]) => `${a} ${sign} ${b}`, inputs, dtype: bool });
/** a == b, as bool */
export const equal = compare("equal", "==");
/** a != b, as bool */
export const notEqual = compare("notEqual", "!=");
/** a < b, as bool */
export const less = compare("less", "<");
/** a > b, as bool */
export const greater = compare("greater", ">");
/** a <= b, as bool */
export const lessEqual = compare("lessEqual", "<=");
/** a >= b, as bool */
export const greaterEqual = compare("greaterEqual", ">=");
/** a and b, as bool */
export const logicalAnd = compare("logicalAnd", "&", bool);
/** a or b, as bool */
export const logicalOr = compare("logicalOr", "|", bool);
/** not x, as bool */
export const logicalNot = unary("logicalNot", { wgsl: ([x]) => `!${x}`, inputs: bool, dtype: bool });

/** -x */
export const neg = unary("neg", {
  wgsl: ([x]) => `-${x}`,
  inputs: (d) => (numeric(d) === "u32" ? "i32" : numeric(d)),
  d: [(t) => neg(t)],
});
/** |x|; gradient 0 at 0 */
export const abs = unary("abs", {
  wgsl: ([x]) => `abs(${x})`,
  inputs: numeric,
  d: [(t, c) => mul(t, sign(c.inputs[0]!))],
});
/** -1, 0 or 1 */
export const sign = unary("sign", {
  wgsl: ([x]) => `sign(${x})`,
  inputs: (d) => (numeric(d) === "u32" ? "i32" : numeric(d)),
  d: [(t) => mul(t, 0)],
});
/** The largest whole number not above x */
export const floor = unary("floor", { wgsl: ([x]) => `floor(${x})`, inputs: float, d: [(t) => mul(t, 0)] });
/** e ** x */
export const exp = unary("exp", {
  wgsl: ([x]) => `vg_exp(${x})`,
  uses: ["vg_exp"],
  inputs: float,
  cost: 8,
  d: [(t, c) => mul(t, c.output)],
});
/** Natural logarithm */
export const log = unary("log", {
  wgsl: ([x]) => `vg_log(${x})`,
  uses: ["vg_log"],
  inputs: float,
  cost: 8,
  d: [(t, c) => div(t, c.inputs[0]!)],
});
/** log(1 + x), accurate near 0 */
export const log1p = unary("log1p", {
  wgsl: ([x]) => `vg_log1p(${x})`,
  uses: ["vg_log1p"],
  inputs: float,
  cost: 10,
  d: [(t, c) => div(t, add(c.inputs[0]!, 1))],
});
/** Square root */
export const sqrt = unary("sqrt", {
  wgsl: ([x]) => `vg_sqrt(${x})`,
  uses: ["vg_sqrt"],
  inputs: float,
  cost: 2,
  d: [(t, c) => div(mul(t, 0.5), c.output)],
});
/** 1 / sqrt(x) */
export const rsqrt = unary("rsqrt", {
  wgsl: ([x]) => `vg_rsqrt(${x})`,
  uses: ["vg_rsqrt"],
  inputs: float,
  cost: 3,
  // d x^(-1/2) = -1/2 y^3
  d: [(t, { output: y }) => mul(mul(t, -0.5), mul(y, mul(y, y)))],
});
/** x * x */
export const square = unary("square", {
  wgsl: ([x]) => `${x} * ${x}`,
  inputs: numeric,
  d: [(t, c) => mul(t, mul(c.inputs[0]!, 2))],
});
/** Sine of x in radians */
export const sin = unary("sin", {
  wgsl: ([x]) => `vg_sin(${x})`,
  uses: ["vg_sin"],
  inputs: float,
  cost: 8,
  d: [(t, c) => mul(t, cos(c.inputs[0]!))],
});
/** Cosine of x in radians */
export const cos = unary("cos", {
  wgsl: ([x]) => `vg_cos(${x})`,
  uses: ["vg_cos"],
  inputs: float,
  cost: 8,
  d: [(t, c) => neg(mul(t, sin(c.inputs[0]!)))],
});
/** Hyperbolic tangent */
export const tanh = unary("tanh", {
  wgsl: ([x]) => `vg_tanh(${x})`,
  uses: ["vg_tanh"],
  inputs: float,
  cost: 10,
  d: [(t, { output: y }) => mul(t, sub(1, mul(y, y)))],
});
/** Error function */
export const erf = unary("erf", {
  wgsl: ([x]) => `vg_erf(${x})`,
  uses: ["vg_erf"],
  inputs: float,
  cost: 12,
  // d erf = 2 / sqrt(pi) exp(-x^2)
  d: [(t, c) => mul(t, mul(exp(neg(square(c.inputs[0]!))), 2 / Math.sqrt(Math.PI)))],
});
/** 1 / (1 + exp(-x)) */
export const sigmoid = unary("sigmoid", {
  wgsl: ([x]) => `vg_sigmoid(${x})`,
  uses: ["vg_sigmoid"],
  inputs: float,
  cost: 9,
  d: [(t, { output: y }) => mul(t, mul(y, sub(1, y)))],
});
/** log(1 + exp(x)), without overflow */
export const softplus = unary("softplus", {
  wgsl: ([x]) => `vg_softplus(${x})`,
  uses: ["vg_softplus"],
  inputs: float,
  cost: 16,
  d: [(t, c) => mul(t, sigmoid(c.inputs[0]!))],
});
/** max(x, 0); gradient 0 at 0 */
export const relu = unary("relu", {
  wgsl: ([x]) => `max(${x}, 0)`,
  inputs: numeric,
  d: [(t, c) => where(greater(c.output, 0), t, 0)],
});
/** x Phi(x) with the normal distribution function, as PyTorch's default */
export function gelu(x: Tensor): Tensor {
  return mul(x, mul(add(erf(mul(x, Math.SQRT1_2)), 1), 0.5));
}

const leakyReluRow: Row<{ slope: number }> = {
  wgsl: ([x], { slope }) => `select(${literal(slope)} * ${x}, ${x}, ${x} > 0.0)`,
  inputs: float,
  cost: 2,
  // For slope >= 0 the sign of the output is that of the input, so the input need not be kept.
  d: [
    (t, { inputs, output, attrs: { slope } }) => where(greater(slope >= 0 ? output : inputs[0]!, 0), t, mul(t, slope)),
  ],
};
const leakyReluOp = define("leakyRelu", leakyReluRow);
/** x where positive, slope * x elsewhere (default slope 0.01, as PyTorch) */
export function leakyRelu(x: Tensor, options: { slope?: number } = {}): Tensor {
  checkOptions("leakyRelu", options, ["slope"]);
  return apply(leakyReluOp, leakyReluRow, [x], { slope: options.slope ?? 0.01 });
}

const clampRow: Row<{ min: number; max: number }> = {
  wgsl: ([x], { min, max }) => `min(max(${x}, ${literal(min)}), ${literal(max)})`,
  inputs: float,
  cost: 2,
  // Passes inside the closed interval, as PyTorch.
  d: [(t, { inputs: [x], attrs: { min, max } }) => where(logicalAnd(greaterEqual(x!, min), lessEqual(x!, max)), t, 0)],
};
const clampOp = define("clamp", clampRow);
/** x limited to [min, max]; either bound may be left out */
export function clamp(x: Tensor, options: { min?: number; max?: number } = {}): Tensor {
  checkOptions("clamp", options, ["min", "max"]);
  const { min = -3.4028234663852886e38, max = 3.4028234663852886e38 } = options;
  if (!(min <= max)) fail("clamp", `min ${min} is above max ${max}`);
  return apply(clampOp, clampRow, [x], { min, max });
}

const whereOp: Op = define("where", {
  wgsl: ([c, a, b]) => `select(${b}, ${a}, ${c})`,
  d: [null, (t, c) => where(c.inputs[0]!, t, 0), (t, c) => where(c.inputs[0]!, 0, t)],
});
/** a where the condition holds, b elsewhere; all three broadcast */
export function where(condition: Tensor, a: Operand, b: Operand): Tensor {
  check(condition instanceof Tensor, "where", () => `the condition is a tensor, got ${show(condition)}`);
  check(isOperand(a) && isOperand(b), "where", () => `branches are tensors or numbers, got ${show(a)} and ${show(b)}`);
  const tensors = [a, b].filter((x): x is Tensor => x instanceof Tensor);
  const fraction = [a, b].some((x) => typeof x === "number" && !Number.isInteger(x));
  let dtype = tensors.map((x) => x.dtype).reduce(promote, "bool" as DType);
  if (tensors.length < 2 && dtype === "bool") dtype = "i32";
  if (fraction || tensors.length === 0) dtype = "f32";
  const [x, y] = [a, b].map((v) => (typeof v === "number" ? scalar(v, dtype) : cast(v, dtype))) as [Tensor, Tensor];
  const shape = broadcastShapes("where", condition.shape, broadcastShapes("where", x.shape, y.shape));
  return node(whereOp, [cast(condition, "bool"), x, y], {}, shape, dtype);
}

/** A number as a WGSL f32. */
export function literal(value: number): string {
  const rounded = Math.fround(value);
  if (!Number.isFinite(rounded)) {
    return `bitcast<f32>(${Number.isNaN(rounded) ? "0x7fc00000u" : rounded > 0 ? "0x7f800000u" : "0xff800000u"})`;
  }
  return rounded < 0 || Object.is(rounded, -0) ? `(-${-rounded}f)` : `${rounded}f`;
}
