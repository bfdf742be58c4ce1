/** Draws from uniform, normal and simple discrete distributions. */
import { check, checkOptions, fail, show } from "../../core/errors.ts";
import { type DType, isFloat } from "../../core/dtype.ts";
import { type Expr, fn, member } from "../../core/expr.ts";
import type { Op } from "../../core/op.ts";
import { checkShape, type Shape } from "../../core/shape.ts";
import { node, Tensor } from "../../core/tensor.ts";
import { add, less, mul, sub } from "../elementwise/elementwise.ts";
import { block, checkKey, lead } from "./keys.ts";

/** An operator that maps one random word to each element of its output. */
export function generator<A>(name: string, value: (word: Expr, attrs: A) => Expr): Op<A> {
  const op: Op<A> = {
    name: `random.${name}`,
    lowering: {
      kind: "map",
      cost: 30,
      emit(e, index) {
        const counter = index.part(lead(e), e.output.shape.length - 1);
        return e.bind(value(member(block(e, index, counter, 0), "x"), e.attrs), e.output.dtype);
      },
    },
    vjp: null,
    batch: (c) => node(op, [c.inputs[0]], c.attrs, [c.size, ...c.output.shape], c.output.dtype),
  };
  return op;
}
export const bitsOp = generator("bits32", (word) => word);
const uniformOp = generator("uniform", (word) => fn("vg_uniform", word));
const normalOp = generator("normal", (word) => fn("vg_normal", word));

/** Draws of a generator; `name` is that of the function that the user called. */
export function draw<A>(op: Op<A>, name: string, key: Tensor, shape: Shape, dtype: DType, attrs: A): Tensor {
  checkKey(name, key);
  checkShape(`random.${name}`, shape);
  return node(op, [key], attrs, shape, dtype);
}

/** A distribution parameter: a number that passes the check, or a scalar tensor. */
export function checkParameter(
  name: string,
  what: string,
  value: unknown,
  passes: (value: number) => boolean,
  wanted: string,
): void {
  check(
    value instanceof Tensor
      ? value.size === 1 && value.rank === 0 && isFloat(value.dtype)
      : typeof value === "number" && passes(value),
    name,
    () => `${what} is ${wanted} or a scalar tensor, got ${show(value)}`,
  );
}
export const anyNumber = (value: number): boolean => !Number.isNaN(value);

/**
 * Uniform in [min, max), default: [0, 1), in steps of 2^-24 of the range.
 *
 * @example
 * ```ts
 * import { random } from "voxgrad";
 *
 * const angles = random.uniform(random.key(1), { shape: [4], min: -Math.PI, max: Math.PI }); // [4]
 * ```
 */
export function uniform(
  key: Tensor,
  options: { shape: Shape; min?: number | Tensor; max?: number | Tensor },
): Tensor {
  checkOptions("random.uniform", options, ["shape", "min", "max"]);
  const { shape, min = 0, max = 1 } = options;
  checkParameter("random.uniform", "min", min, anyNumber, "a number");
  checkParameter("random.uniform", "max", max, anyNumber, "a number");
  const u = draw(uniformOp, "uniform", key, shape, "f32", {});
  if (min instanceof Tensor || max instanceof Tensor) return add(mul(u, sub(max, min)), min);
  if (!(min < max)) fail("random.uniform", `min ${min} is not below max ${max}`);
  return min === 0 && max === 1 ? u : add(mul(u, max - min), min);
}

/**
 * Normal; default: mean 0 and standard deviation 1.
 *
 * @example
 * ```ts
 * import { random } from "voxgrad";
 *
 * const noise = random.normal(random.key(1), { shape: [2, 3], std: 0.1 }); // [2, 3]
 * ```
 */
export function normal(
  key: Tensor,
  options: { shape: Shape; mean?: number | Tensor; std?: number | Tensor },
): Tensor {
  checkOptions("random.normal", options, ["shape", "mean", "std"]);
  const { shape, mean = 0, std = 1 } = options;
  checkParameter("random.normal", "mean", mean, anyNumber, "a number");
  checkParameter("random.normal", "std", std, (value) => value >= 0, "a number >= 0");
  const z = draw(normalOp, "normal", key, shape, "f32", {});
  return mean === 0 && std === 1 ? z : add(mul(z, std), mean);
}

/**
 * true with probability p (default: 0.5), as bool.
 *
 * @example
 * ```ts
 * import { random } from "voxgrad";
 *
 * const kept = random.bernoulli(random.key(1), { shape: [4, 4], p: 0.9 }); // bool [4, 4]
 * ```
 */
export function bernoulli(key: Tensor, options: { shape: Shape; p?: number | Tensor }): Tensor {
  checkOptions("random.bernoulli", options, ["shape", "p"]);
  const { shape, p = 0.5 } = options;
  checkParameter("random.bernoulli", "p", p, (value) => value >= 0 && value <= 1, "in [0, 1]");
  return less(draw(uniformOp, "bernoulli", key, shape, "f32", {}), p);
}

/**
 * Uniform random u32.
 *
 * @example
 * ```ts
 * import { random } from "voxgrad";
 *
 * const words = random.bits32(random.key(1), { shape: [8] });
 * words.dtype; // "u32"
 * ```
 */
export function bits32(key: Tensor, options: { shape: Shape }): Tensor {
  checkOptions("random.bits32", options, ["shape"]);
  return draw(bitsOp, "bits32", key, options.shape, "u32", {});
}
