/** Reductions: sum, mean, max, min, argmax, variance, logSumExp. */
import { isFloat } from "../core/dtype.ts";
import { check, checkOptions, fail, show } from "../core/errors.ts";
import type { Op, ReduceAttrs } from "../core/op.ts";
import { normalizeAxes, normalizeAxis, type Shape } from "../core/shape.ts";
import { node, type Tensor } from "../core/tensor.ts";
import { broadcastTo } from "./broadcast_to.ts";
import { add, cast, div, equal, exp, log, mul, square, sub } from "./elementwise.ts";
import { reshape, stopGradient } from "./reshape.ts";

export interface ReduceOptions {
  /** Axes that fall; all by default. */
  axes?: readonly number[];
  /** Leave them in place with size 1. */
  keepDims?: boolean;
}

const kept = (shape: Shape, axes: readonly number[]): number[] => shape.map((n, k) => (axes.includes(k) ? 1 : n));
/** A reduced tensor spread over what was reduced. */
const spread = (x: Tensor, shape: Shape, axes: readonly number[]): Tensor =>
  broadcastTo(reshape(x, { shape: kept(shape, axes) }), { shape });

const sumOp: Op<ReduceAttrs> = {
  name: "sum",
  lowering: { kind: "reduce" },
  vjp: (c, g) => [spread(g, c.inputs[0]!.shape, c.attrs.axes)],
  jvp: (c, [t]) => sum(t!, { axes: c.attrs.axes }),
};

/** Extrema share their gradient evenly among ties, as PyTorch's amax. */
const extremum = (by: "max" | "min"): Op<ReduceAttrs> => {
  const weight = (x: Tensor, y: Tensor, axes: readonly number[]): Tensor => {
    const mask = cast(equal(x, spread(y, x.shape, axes)), "f32");
    return div(mask, spread(sum(mask, { axes }), x.shape, axes));
  };
  return {
    name: by,
    lowering: { kind: "reduce" },
    vjp: ({ inputs: [x], output, attrs: { axes } }, g) => [mul(spread(g, x!.shape, axes), weight(x!, output, axes))],
    jvp: ({ inputs: [x], output, attrs: { axes } }, [t]) => sum(mul(t!, weight(x!, output, axes)), { axes }),
  };
};
const maxOp = extremum("max");
const minOp = extremum("min");
const argmaxOp: Op<ReduceAttrs> = { name: "argmax", lowering: { kind: "reduce" }, vjp: null };

function reduce(op: Op<ReduceAttrs>, by: ReduceAttrs["by"], input: Tensor, options: ReduceOptions): Tensor {
  checkOptions(op.name, options, ["axes", "keepDims"]);
  const axes = normalizeAxes(op.name, options.axes, input.rank);
  const x = by === "sum" && input.dtype === "bool" ? cast(input, "i32") : input;
  check(
    by === "sum" || axes.every((k) => x.shape[k]! > 0),
    op.name,
    () => `an empty axis of ${show(x.shape)} has no ${by}`,
  );
  check(by === "sum" || x.dtype !== "bool", op.name, () => "bool has no order; cast to i32 first");
  const shape = x.shape.filter((_, k) => !axes.includes(k));
  // Axes of size 1 fall without work.
  const y =
    axes.every((k) => x.shape[k] === 1) && by !== "argmax"
      ? reshape(x, { shape })
      : node(op, [x], { axes, by }, shape, by === "argmax" ? "i32" : x.dtype);
  return options.keepDims ? reshape(y, { shape: kept(x.shape, axes) }) : y;
}

/** Sum over axes, as a tree; bool sums as i32. The sum of an empty axis is 0. */
export const sum = (x: Tensor, options: ReduceOptions = {}): Tensor => reduce(sumOp, "sum", x, options);
/** Largest value over axes; ties share the gradient evenly. */
export const max = (x: Tensor, options: ReduceOptions = {}): Tensor => reduce(maxOp, "max", x, options);
/** Smallest value over axes; ties share the gradient evenly. */
export const min = (x: Tensor, options: ReduceOptions = {}): Tensor => reduce(minOp, "min", x, options);

const count = (x: Tensor, axes: readonly number[] | undefined, name: string): number =>
  normalizeAxes(name, axes, x.rank).reduce((product, k) => product * x.shape[k]!, 1);

/** Mean over axes, in f32. */
export function mean(x: Tensor, options: ReduceOptions = {}): Tensor {
  checkOptions("mean", options, ["axes", "keepDims"]);
  const n = count(x, options.axes, "mean");
  check(n > 0, "mean", () => `an empty axis of ${show(x.shape)} has no mean`);
  return mul(sum(isFloat(x.dtype) ? x : cast(x, "f32"), options), 1 / n);
}

/** Index of the largest value along `axis` (the first among equals), as i32; over all elements without one. */
export function argmax(x: Tensor, options: { axis?: number; keepDims?: boolean } = {}): Tensor {
  checkOptions("argmax", options, ["axis", "keepDims"]);
  if (options.axis === undefined) return reduce(argmaxOp, "argmax", reshape(x, { shape: [x.size] }), {});
  const axis = normalizeAxis("argmax", options.axis, x.rank);
  return reduce(argmaxOp, "argmax", x, { axes: [axis], keepDims: options.keepDims ?? false });
}

/** Mean squared deviation over axes; divides by count - correction (default 1, as PyTorch). */
export function variance(x: Tensor, options: ReduceOptions & { correction?: number } = {}): Tensor {
  checkOptions("variance", options, ["axes", "keepDims", "correction"]);
  const { axes, keepDims, correction = 1 } = options;
  const n = count(x, axes, "variance");
  if (n - correction <= 0) fail("variance", `${n} values with correction ${correction} leave no degree of freedom`);
  const deviation = sub(x, mean(x, { ...(axes && { axes }), keepDims: true }));
  return mul(sum(square(deviation), { ...(axes && { axes }), keepDims: keepDims ?? false }), 1 / (n - correction));
}

/** log(sum(exp(x))) over axes, without overflow. */
export function logSumExp(x: Tensor, options: ReduceOptions = {}): Tensor {
  checkOptions("logSumExp", options, ["axes", "keepDims"]);
  const axes = normalizeAxes("logSumExp", options.axes, x.rank);
  const top = stopGradient(max(x, { axes, keepDims: true }));
  const y = add(log(sum(exp(sub(x, top)), { axes, keepDims: true })), top);
  return options.keepDims ? y : reshape(y, { shape: x.shape.filter((_, k) => !axes.includes(k)) });
}
