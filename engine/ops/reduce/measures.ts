/** Reductions made of others: any, all, argmin, standard deviation and norms. */
import { isFloat } from "../../core/dtype.ts";
import { check, checkFlag, checkNumber, checkOptions, fail, show } from "../../core/errors.ts";
import { normalizeAxis } from "../../core/shape.ts";
import { checkTensor, type Tensor } from "../../core/tensor.ts";
import {
  abs,
  cast,
  equal,
  greater,
  logicalNot,
  mul,
  neg,
  notEqual,
  pow,
  sqrt,
  square,
  where,
} from "../elementwise/elementwise.ts";
import { bitwiseNot } from "../elementwise/integers.ts";
import { computeInF32 } from "../promote_f16.ts";
import { argmax, axesOf, count, max, min, type ReduceOptions, sum, variance } from "./reduce.ts";

/**
 * Whether any value over the axes (default: all) is not 0, as bool; false over an empty axis.
 *
 * @example
 * ```ts
 * import { tensor } from "voxgrad";
 *
 * await tensor([[0, 1], [0, 0]]).any({ axes: [1] }).array(); // [true, false]
 * ```
 */
export function any(x: Tensor, options: ReduceOptions = {}): Tensor {
  axesOf("any", x, options);
  return greater(sum(cast(x, "bool"), options), 0);
}

/**
 * Whether all values over the axes (default: all) are not 0, as bool; true over an empty axis.
 *
 * @example
 * ```ts
 * import { tensor } from "voxgrad";
 *
 * await tensor([[1, 2], [0, 1]]).all({ axes: [1] }).array(); // [true, false]
 * ```
 */
export function all(x: Tensor, options: ReduceOptions = {}): Tensor {
  axesOf("all", x, options);
  return equal(sum(logicalNot(cast(x, "bool")), options), 0);
}

/**
 * Index of the smallest value along `axis` (the first of equals, or of NaN), as i32; without an axis, over all
 * elements.
 *
 * @example
 * ```ts
 * import { tensor } from "voxgrad";
 *
 * await tensor([[1, 9, 3], [7, 2, 5]]).argmin({ axis: 1 }).array(); // [0, 1]
 * ```
 */
export function argmin(x: Tensor, options: { axis?: number; keepDims?: boolean } = {}): Tensor {
  checkTensor("argmin", x);
  checkOptions("argmin", options, ["axis", "keepDims"]);
  checkFlag("argmin", "keepDims", options.keepDims);
  const axes = options.axis === undefined ? undefined : [normalizeAxis("argmin", options.axis, x.rank)];
  check(
    count(x, axes ?? x.shape.map((_, k) => k)) > 0,
    "argmin",
    () => `an empty axis of ${show(x.shape)} has no argmin`,
  );
  check(x.dtype !== "bool", "argmin", () => "bool has no order; cast to i32 first");
  // -x overflows for the smallest integer, where ~x = -x - 1 does not.
  return argmax(isFloat(x.dtype) ? neg(x) : bitwiseNot(x), options);
}

/**
 * Standard deviation over axes, with count - correction (default: 1, as PyTorch) in the divisor. Its gradient is NaN
 * where all values are equal.
 *
 * @example
 * ```ts
 * import { tensor } from "voxgrad";
 *
 * await tensor([1, 2, 3, 4]).std().item(); // 1.291
 * ```
 */
export function std(x: Tensor, options: ReduceOptions & { correction?: number } = {}): Tensor {
  const n = count(x, axesOf("std", x, options, ["correction"]));
  const { correction = 1 } = options;
  checkNumber("std", "correction", correction);
  if (n - correction <= 0) fail("std", `${n} values with correction ${correction} leave no degree of freedom`);
  return sqrt(variance(x, options));
}

export interface NormOfAxesOptions extends ReduceOptions {
  /** Power p; default: 2. Infinity: the largest magnitude, -Infinity: the smallest, 0: how many are not 0. */
  ord?: number;
}

/** A root of sums of powers, whose slope at 0, which is infinite, is taken as 0. */
export function rootOf(total: Tensor, ord = 2): Tensor {
  const empty = equal(total, 0);
  const safe = where(empty, 1, total);
  return where(empty, mul(total, 0), ord === 2 ? sqrt(safe) : pow(safe, 1 / ord));
}

/**
 * Norm (sum |x|^p)^(1 / p) over axes (default: all), as torch.linalg.vector_norm. Where all values are 0, the gradient
 * of norms with p >= 1 is 0.
 *
 * @example
 * ```ts
 * import { tensor } from "voxgrad";
 *
 * await tensor([[3, 4], [6, 8]]).norm({ axes: [1] }).array(); // [5, 10]
 * await tensor([1, -2, 3]).norm({ ord: 1 }).item(); // 6
 * ```
 */
export const norm: (x: Tensor, options?: NormOfAxesOptions) => Tensor = computeInF32(
  (x, options = {}) => {
    const n = count(x, axesOf("norm", x, options, ["ord"]));
    const { ord = 2, ...over } = options;
    check(typeof ord === "number" && !Number.isNaN(ord), "norm", () => `ord is a number, got ${show(ord)}`);
    check(
      n > 0 || Number.isFinite(ord),
      "norm",
      () => `an empty axis of ${show(x.shape)} has no largest or smallest value`,
    );
    const values = isFloat(x.dtype) ? x : cast(x, "f32");
    if (ord === Infinity) return max(abs(values), over);
    if (ord === -Infinity) return min(abs(values), over);
    if (ord === 0) return cast(sum(notEqual(values, 0), over), "f32");
    if (ord === 1) return sum(abs(values), over);
    const total = sum(ord === 2 ? square(values) : pow(abs(values), ord), over);
    return rootOf(total, ord);
  },
  { kind: "sum" },
);
