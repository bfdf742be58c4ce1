/** Draws from further distributions: integers, truncated normal, Gumbel, categorical, gamma. */
import { check, checkOptions, fail, ifTraced, show } from "../../core/errors.ts";
import { isFloat } from "../../core/dtype.ts";
import { call, fn, infix, u32 } from "../../core/expr.ts";
import { checkShape, normalizeAxis, type Shape } from "../../core/shape.ts";
import { checkTensor, Tensor } from "../../core/tensor.ts";
import { constant } from "../elementwise/constant.ts";
import { full } from "../elementwise/creation.ts";
import {
  add,
  cast,
  div,
  exp,
  greater,
  greaterEqual,
  less,
  log,
  logicalAnd,
  logicalNot,
  logicalOr,
  maximum,
  mul,
  neg,
  sqrt,
  square,
  sub,
  where,
} from "../elementwise/elementwise.ts";
import { argmax } from "../reduce/reduce.ts";
import { broadcastTo } from "../shape/broadcast_to.ts";
import { stopGradient } from "../shape/reshape.ts";
import { draw, generator, normal, uniform } from "./draws.ts";
import { checkKey, split } from "./keys.ts";

const randintOp = generator<{ min: number; span: number }>(
  "randint",
  (word, { min, span }) => infix(call("i32", fn("vg_below", word, u32(span))), "+", constant(min, "i32")),
);

/**
 * Integers in [min, max), default min 0, as i32. Each value's probability is off by less than 2^-32.
 *
 * @example
 * ```ts
 * import { random } from "voxgrad";
 *
 * const dice = random.randint(random.key(1), { shape: [10], min: 1, max: 7 }); // [10]
 * ```
 */
export function randint(key: Tensor, options: { shape: Shape; min?: number; max: number }): Tensor {
  checkOptions("random.randint", options, ["shape", "min", "max"]);
  const { shape, min = 0, max } = options;
  for (const [name, value] of [["min", min], ["max", max]] as const) {
    check(
      Number.isInteger(value) && value >= -(2 ** 31) && value < 2 ** 31,
      "random.randint",
      () => `${name} is an integer of 32 bits, got ${show(value)}${ifTraced(value)}`,
    );
  }
  if (!(min < max)) fail("random.randint", `min ${min} is not below max ${max}`);
  return draw(randintOp, "randint", key, shape, "i32", { min, span: max - min });
}

/** Probability that a standard normal number is below x <= 0, to 1e-13 of itself. */
function lowerTail(x: number): number {
  if (x < -3) {
    // Continued fraction of Mills' ratio, from its end.
    let rest = -x;
    for (let k = 100; k >= 1; k--) rest = -x + k / rest;
    return Math.exp(-x * x / 2) / Math.sqrt(2 * Math.PI) / rest;
  }
  let [term, total] = [x, x];
  for (let k = 1; k < 60; k++) total += (term *= -x * x / (2 * k)) / (2 * k + 1);
  return 0.5 + total / Math.sqrt(2 * Math.PI);
}

/** Beyond every normal number of 32 bits. */
const FARTHEST = 40;
const truncatedOp = generator<{ below: number; within: number; above: number; min: number; max: number }>(
  "truncatedNormal",
  (word, { below, within, above, min, max }) =>
    call(
      "clamp",
      fn("vg_normal_between", word, constant(below, "f32"), constant(within, "f32"), constant(above, "f32")),
      constant(Math.max(min, -FARTHEST), "f32"),
      constant(Math.min(max, FARTHEST), "f32"),
    ),
);

/**
 * Normal numbers within [min, max] standard deviations of the mean (default: -2 and 2), then scaled: as
 * jax.random.truncated_normal and torch.nn.init.trunc_normal_.
 *
 * @throws VoxgradError for bounds that hold less than 1e-30 of the distribution
 * @example
 * ```ts
 * import { random } from "voxgrad";
 *
 * const weight = random.truncatedNormal(random.key(1), { shape: [64, 64], std: 0.02 }); // [64, 64]
 * ```
 */
export function truncatedNormal(
  key: Tensor,
  options: { shape: Shape; min?: number; max?: number; mean?: number; std?: number },
): Tensor {
  checkOptions("random.truncatedNormal", options, ["shape", "min", "max", "mean", "std"]);
  const { shape, min = -2, max = 2, mean = 0, std = 1 } = options;
  for (const [name, value] of Object.entries({ min, max, mean, std })) {
    check(
      typeof value === "number" && !Number.isNaN(value) && (name !== "std" || value >= 0),
      "random.truncatedNormal",
      () => `${name} is a number${name === "std" ? " >= 0" : ""}, got ${show(value)}${ifTraced(value)}`,
    );
  }
  if (!(min < max)) fail("random.truncatedNormal", `min ${min} is not below max ${max}`);
  const cumulative = (x: number): number => (x <= 0 ? lowerTail(x) : 1 - lowerTail(-x));
  const [below, above] = [cumulative(min), cumulative(-max)];
  // The difference of two numbers near 1 is that of their small complements.
  const within = min > 0 ? cumulative(-min) - above : max < 0 ? cumulative(max) - below : 1 - below - above;
  check(
    within > 1e-30,
    "random.truncatedNormal",
    () => `less than 1e-30 of the distribution lies between ${min} and ${max}; choose wider bounds`,
  );
  const z = draw(truncatedOp, "truncatedNormal", key, shape, "f32", { below, within, above, min, max });
  return mean === 0 && std === 1 ? z : add(mul(z, std), mean);
}

/** Standard Gumbel noise of uniform numbers: -log(-log(u)), with u at least half a step above 0. */
const gumbelOf = (u: Tensor): Tensor => neg(log(neg(log(maximum(u, 2 ** -25)))));

/**
 * Numbers of the standard Gumbel distribution, -log(-log(u)): the largest of logits plus such noise is a categorical
 * draw.
 *
 * @example
 * ```ts
 * import { random } from "voxgrad";
 *
 * const noise = random.gumbel(random.key(1), { shape: [4, 10] }); // [4, 10]
 * ```
 */
export function gumbel(key: Tensor, options: { shape: Shape }): Tensor {
  checkKey("gumbel", key);
  checkOptions("random.gumbel", options, ["shape"]);
  checkShape("random.gumbel", options.shape);
  return gumbelOf(uniform(key, { shape: options.shape }));
}

/**
 * Classes drawn with probabilities softmax(logits) along `axis` (default: the last), as i32: the largest of logits plus
 * Gumbel noise. As jax.random.categorical.
 *
 * @param logits f32 or f16; -Infinity excludes a class
 * @param options.shape of the result; default: that of the logits without the axis, which it must end with
 * @example
 * ```ts
 * import { random, tensor } from "voxgrad";
 *
 * const logits = tensor([[0, 1, 2], [0, 0, -Infinity]]);
 * const classes = random.categorical(random.key(1), logits); // [2]
 * const many = random.categorical(random.key(1), logits, { shape: [100, 2] }); // [100, 2]
 * ```
 */
export function categorical(key: Tensor, logits: Tensor, options: { axis?: number; shape?: Shape } = {}): Tensor {
  checkKey("categorical", key);
  checkTensor("random.categorical", logits, "the logits");
  checkOptions("random.categorical", options, ["axis", "shape"]);
  check(isFloat(logits.dtype), "random.categorical", () => `the logits are f32 or f16, got ${logits}`);
  const axis = normalizeAxis("random.categorical", options.axis ?? -1, logits.rank);
  check(
    logits.shape[axis] > 0,
    "random.categorical",
    () => `axis ${axis} of the logits ${show(logits.shape)} is empty, so there is no class to draw`,
  );
  const own = logits.shape.filter((_, k) => k !== axis);
  const shape = options.shape ?? own;
  check(
    Array.isArray(shape) && String(shape.slice(shape.length - own.length)) === String(own) &&
      shape.length >= own.length,
    "random.categorical",
    () => `the shape ends with that of the logits without axis ${axis}, ${show(own)}, got ${show(shape)}`,
  );
  checkShape("random.categorical", shape);
  const lead = shape.length - own.length;
  const wide = [...shape.slice(0, lead), ...logits.shape];
  const noise = gumbel(key, { shape: wide });
  return argmax(add(stopGradient(cast(logits, "f32")), noise), { axis: axis + lead });
}

/** Candidates of a gamma draw. One is refused with a probability of 5 % at most, so all with one of 1e-13. */
const CANDIDATES = 10;

/**
 * Numbers of the gamma distribution with scale 1, by Marsaglia and Tsang 2000. Not differentiable by the concentration.
 * A sum to 1 of such numbers is a Dirichlet draw, a / (a + b) one of the beta distribution.
 *
 * @param options.concentration a number > 0, or an f32 tensor that broadcasts to the shape; NaN for one that is not > 0
 * @example
 * ```ts
 * import { random } from "voxgrad";
 *
 * const draws = random.gamma(random.key(1), { shape: [100], concentration: 0.5 }); // [100]
 * ```
 */
export function gamma(key: Tensor, options: { shape: Shape; concentration: number | Tensor }): Tensor {
  checkKey("gamma", key);
  checkOptions("random.gamma", options, ["shape", "concentration"]);
  const { shape, concentration } = options;
  checkShape("random.gamma", shape);
  check(
    concentration instanceof Tensor ? concentration.dtype === "f32" : concentration > 0 && concentration < Infinity,
    "random.gamma",
    () => `the concentration is a number > 0 or an f32 tensor, got ${show(concentration)}`,
  );
  const keys = split(key, 2 * CANDIDATES + 1);
  const a = concentration instanceof Tensor
    ? stopGradient(broadcastTo(concentration, { shape }))
    : full(shape, concentration);
  // Below 1, a draw of a + 1 times u^(1 / a).
  const small = less(a, 1);
  const d = sub(where(small, add(a, 1), a), 1 / 3);
  const c = div(1 / 3, sqrt(d));
  let result = d;
  let found = full(shape, 0, { dtype: "bool" });
  for (let k = 0; k < CANDIDATES; k++) {
    const x = normal(keys[2 * k], { shape });
    const u = maximum(uniform(keys[2 * k + 1], { shape }), 2 ** -25);
    const t = add(mul(c, x), 1);
    const v = mul(t, square(t));
    const bound = add(mul(square(x), 0.5), mul(d, add(sub(1, v), log(maximum(v, 1e-38)))));
    const accepted = logicalAnd(greater(v, 0), less(log(u), bound));
    result = where(logicalAnd(accepted, logicalNot(found)), mul(d, v), result);
    found = logicalOr(found, accepted);
  }
  const u = maximum(uniform(keys[2 * CANDIDATES], { shape }), 2 ** -25);
  const power = where(small, exp(div(log(u), a)), 1);
  return where(greaterEqual(0, a), NaN, mul(result, power));
}
