/** Products, and running products and extrema: made of halves and shifts, in log2(n) steps. */
import { check, checkFlag, checkOptions, show } from "../../core/errors.ts";
import { normalizeAxes, normalizeAxis, size } from "../../core/shape.ts";
import { checkTensor, type Tensor } from "../../core/tensor.ts";
import { scalar } from "../elementwise/creation.ts";
import { cast, greaterEqual, isNaN, lessEqual, logicalOr, mul, where } from "../elementwise/elementwise.ts";
import { computeInF32 } from "../promote_f16.ts";
import { pad } from "../shape/pad.ts";
import { reshape } from "../shape/reshape.ts";
import { flip, slice } from "../shape/slice.ts";
import { transpose } from "../shape/transpose.ts";
import type { ReduceOptions } from "./reduce.ts";

/** A list with one entry for each axis: `value` for one of them, `other` for the rest. */
const at = (rank: number, axis: number, value: number, other = 0): number[] =>
  Array.from({ length: rank }, (_, k) => (k === axis ? value : other));

/** Entries from `start` to `end` along an axis. */
const part = (x: Tensor, axis: number, start: number, end: number): Tensor =>
  slice(x, { start: at(x.rank, axis, start), end: x.shape.map((n, k) => (k === axis ? end : n)) });

/**
 * Product over axes (default: all); bool multiplies as i32, and an empty product is 1. Pairs are multiplied, and pairs
 * of those, so the gradient is right where values are 0.
 *
 * @example
 * ```ts
 * import { tensor } from "voxgrad";
 *
 * const x = tensor([[1, 2], [3, 4]]);
 * await x.prod().item(); // 24
 * await x.prod({ axes: [0] }).array(); // [3, 8]
 * ```
 */
export const prod: (x: Tensor, options?: ReduceOptions) => Tensor = computeInF32(
  (x, options = {}) => {
    checkTensor("prod", x);
    checkOptions("prod", options, ["axes", "keepDims"]);
    checkFlag("prod", "keepDims", options.keepDims);
    const axes = normalizeAxes("prod", options.axes, x.rank);
    const kept = x.shape.map((_, k) => k).filter((k) => !axes.includes(k));
    const shape = options.keepDims ? x.shape.map((n, k) => (axes.includes(k) ? 1 : n)) : kept.map((k) => x.shape[k]);
    const numbers = x.dtype === "bool" ? cast(x, "i32") : x;
    let n = size(axes.map((k) => x.shape[k]));
    const rows = size(kept.map((k) => x.shape[k]));
    if (n === 0 || rows === 0) return scalar(1, numbers.dtype, shape);
    let y = reshape(transpose(numbers, { axes: [...kept, ...axes] }), { shape: [rows, n] });
    while (n > 1) {
      const half = Math.ceil(n / 2);
      y = mul(part(y, 1, 0, half), pad(part(y, 1, half, n), { after: [0, 2 * half - n], value: 1 }));
      n = half;
    }
    return reshape(y, { shape });
  },
  { kind: "sum" },
);

/** Joins each value with those before it along an axis, twice as many in each step (Hillis and Steele 1986). */
function running(x: Tensor, axis: number, neutral: number, join: (own: Tensor, before: Tensor) => Tensor): Tensor {
  const n = x.shape[axis];
  let y = x;
  for (let shift = 1; shift < n; shift *= 2) {
    y = join(y, pad(part(y, axis, 0, n - shift), { before: at(x.rank, axis, shift), value: neutral }));
  }
  return y;
}

function checkRunning(name: string, x: Tensor, options: { axis?: number; reverse?: boolean }): number {
  checkTensor(name, x);
  checkOptions(name, options, ["axis", "reverse"]);
  check(
    options.reverse === undefined || typeof options.reverse === "boolean",
    name,
    () => `reverse is true or false, got ${show(options.reverse)}`,
  );
  return normalizeAxis(name, options.axis ?? -1, x.rank);
}

/** Applies f from the end where `reverse` asks for it. */
const directed = (x: Tensor, axis: number, reverse: boolean | undefined, f: (x: Tensor) => Tensor): Tensor =>
  reverse ? flip(f(flip(x, { axes: [axis] })), { axes: [axis] }) : f(x);

/**
 * Inclusive cumulative product along `axis` (default: the last), as torch.cumprod; bool multiplies as i32. The gradient
 * is right where values are 0.
 *
 * @param options.reverse multiply from each value to the end instead
 * @example
 * ```ts
 * import { tensor } from "voxgrad";
 *
 * await tensor([1, 2, 3, 4]).cumprod().array(); // [1, 2, 6, 24]
 * ```
 */
export const cumprod: (x: Tensor, options?: { axis?: number; reverse?: boolean }) => Tensor = computeInF32(
  (x, options = {}) => {
    const axis = checkRunning("cumprod", x, options);
    const numbers = x.dtype === "bool" ? cast(x, "i32") : x;
    return directed(numbers, axis, options.reverse, (y) => running(y, axis, 1, mul));
  },
  { kind: "sum" },
);

/** The smallest and largest value of a dtype, as neutral elements. */
const LEAST = { f32: -Infinity, f16: -Infinity, i32: -(2 ** 31), u32: 0, bool: 0 };
const MOST = { f32: Infinity, f16: Infinity, i32: 2 ** 31 - 1, u32: 2 ** 32 - 1, bool: 1 };

const extreme = (name: "cummax" | "cummin") =>
  computeInF32(
    (x: Tensor, options: { axis?: number; reverse?: boolean } = {}) => {
      const axis = checkRunning(name, x, options);
      check(x.dtype !== "bool", name, () => "bool has no order; cast to i32 first");
      const ahead = name === "cummax" ? greaterEqual : lessEqual;
      // A later value wins a tie, and NaN over any number.
      const join = (own: Tensor, before: Tensor): Tensor =>
        where(isNaN(before), before, where(logicalOr(ahead(own, before), isNaN(own)), own, before));
      return directed(x, axis, options.reverse, (y) =>
        running(y, axis, (name === "cummax" ? LEAST : MOST)[y.dtype], join));
    },
    { kind: "sum" },
  );

/**
 * The largest value so far along `axis` (default: the last), as torch.cummax's values: NaN from the first NaN on, and
 * the latest of equal values has the gradient.
 *
 * @param options.reverse from each value to the end instead
 * @example
 * ```ts
 * import { tensor } from "voxgrad";
 *
 * await tensor([1, 3, 2, 5]).cummax().array(); // [1, 3, 3, 5]
 * ```
 */
export const cummax: (x: Tensor, options?: { axis?: number; reverse?: boolean }) => Tensor = extreme("cummax");
/**
 * The smallest value so far along `axis` (default: the last); see cummax
 *
 * @param options.reverse from each value to the end instead
 * @example
 * ```ts
 * import { tensor } from "voxgrad";
 *
 * await tensor([4, 3, 5, 1]).cummin().array(); // [4, 3, 3, 1]
 * ```
 */
export const cummin: (x: Tensor, options?: { axis?: number; reverse?: boolean }) => Tensor = extreme("cummin");
