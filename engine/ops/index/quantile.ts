/** Quantiles and the median, from sorted values. */
import { isFloat } from "../../core/dtype.ts";
import { check, checkFlag, checkOptions, ifTraced, show } from "../../core/errors.ts";
import { normalizeAxis } from "../../core/shape.ts";
import { checkTensor, type Tensor } from "../../core/tensor.ts";
import { add, cast, isNaN, mul, sub, where } from "../elementwise/elementwise.ts";
import { stack } from "../shape/concat.ts";
import { select } from "../shape/parts.ts";
import { expandDims, flatten } from "../shape/reshape.ts";
import { sort } from "./sort.ts";

export interface QuantileOptions {
  /** Shares in [0, 1]: one number, or a list, which gives the result a new first axis. */
  q: number | readonly number[];
  /** Default: over all elements. */
  axis?: number;
  keepDims?: boolean;
  /** Between two values: "linear" (default), or the "lower", "higher", "nearest" one, or their "midpoint". */
  interpolation?: "linear" | "lower" | "higher" | "nearest" | "midpoint";
}

const INTERPOLATIONS = ["linear", "lower", "higher", "nearest", "midpoint"];

/**
 * Quantiles of x along an axis, as torch.quantile (of integers in f32): share q lies at place q (n - 1) of the n sorted
 * values. NaN if any of the values is. The gradient goes to the values that a quantile lies between.
 *
 * @example
 * ```ts
 * import { tensor } from "voxgrad";
 *
 * const x = tensor([[3, 1, 2], [10, 30, 20]]);
 * await x.quantile({ q: 0.25, axis: 1 }).array(); // [1.5, 15]
 * await x.quantile({ q: [0, 1], axis: 1 }).array(); // [[1, 10], [3, 30]]
 * ```
 */
export function quantile(x: Tensor, options: QuantileOptions): Tensor {
  return quantiles("quantile", x, options);
}

/**
 * The median of x along an axis (of integers in f32): the middle value, or the mean of the middle two, as numpy.median
 * (torch.median takes the lower of two). NaN if any of the values is.
 *
 * @example
 * ```ts
 * import { tensor } from "voxgrad";
 *
 * await tensor([[3, 1, 2], [10, 30, 20]]).median({ axis: 1 }).array(); // [2, 20]
 * ```
 */
export function median(x: Tensor, options: { axis?: number; keepDims?: boolean } = {}): Tensor {
  checkOptions("median", options, ["axis", "keepDims"]);
  return quantiles("median", x, { ...options, q: 0.5 });
}

function quantiles(name: string, x: Tensor, options: QuantileOptions): Tensor {
  checkTensor(name, x);
  checkOptions(name, options, ["q", "axis", "keepDims", "interpolation"]);
  checkFlag(name, "keepDims", options.keepDims);
  const { q, keepDims, interpolation = "linear" } = options;
  check(
    INTERPOLATIONS.includes(interpolation),
    name,
    () => `interpolation is one of ${INTERPOLATIONS.join(", ")}, got ${show(interpolation)}`,
  );
  const shares = Array.isArray(q) ? q as readonly number[] : [q as number];
  check(
    shares.length > 0 && shares.every((share) => typeof share === "number" && share >= 0 && share <= 1),
    name,
    () => `q is a number in [0, 1] or a list of them, got ${show(q)}${ifTraced(q)}`,
  );
  const whole = options.axis === undefined;
  const values = cast(whole ? flatten(x) : x, isFloat(x.dtype) ? x.dtype : "f32");
  const axis = whole ? 0 : normalizeAxis(name, options.axis, x.rank);
  const n = values.shape[axis];
  check(n > 0, name, () => `an empty axis of ${show(x.shape)} has no ${name}`);
  const sorted = sort(values, { axis });
  const at = (index: number): Tensor => select(sorted, { axis, index });
  const last = at(n - 1);
  const results = shares.map((share) => {
    const place = share * (n - 1);
    const [low, high] = [Math.floor(place), Math.ceil(place)];
    // Halves go to the even place, as in NumPy and PyTorch.
    const near = place - low === 0.5 ? (low % 2 === 0 ? low : high) : Math.round(place);
    const [a, b] = [at(low), at(high)];
    const between: Record<string, () => Tensor> = {
      linear: () => (low === high ? a : add(a, mul(sub(b, a), place - low))),
      lower: () => a,
      higher: () => b,
      nearest: () => at(near),
      midpoint: () => (low === high ? a : mul(add(a, b), 0.5)),
    };
    // NaN is sorted to the end.
    return where(isNaN(last), last, between[interpolation]());
  });
  const shaped = results.map((result) => {
    if (!keepDims) return result;
    if (!whole) return expandDims(result, { axis });
    return x.shape.reduce<Tensor>((y) => expandDims(y, { axis: 0 }), result);
  });
  return Array.isArray(q) ? stack(shaped) : shaped[0];
}
