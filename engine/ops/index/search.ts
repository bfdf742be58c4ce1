/** searchSorted, bincount and histogram. */
import { promote } from "../../core/dtype.ts";
import { check, checkFlag, checkOptions, ifTraced, show } from "../../core/errors.ts";
import { checkShape, sameShape, size } from "../../core/shape.ts";
import { checkTensor, type Tensor } from "../../core/tensor.ts";
import { add, cast, div, equal, isFinite, less, mul, sub, where } from "../elementwise/elementwise.ts";
import { computeInF32 } from "../promote_f16.ts";
import { max, min, sum } from "../reduce/reduce.ts";
import { narrow } from "../shape/parts.ts";
import { reshape } from "../shape/reshape.ts";
import { linspace } from "../shape/meshgrid.ts";
import { countAt, scatterAt } from "./gather.ts";
import { checkIndices, checkPlaces } from "./indices.ts";
import { searchIn } from "./order.ts";

/**
 * Where values would be inserted into sorted lines to keep them sorted, as `torch.searchsorted`: i32 from 0 to n. NaN
 * counts as the largest value.
 *
 * @param sorted [n] for all values, or [..., n], sorted along the last axis; this is not checked
 * @param values of any shape, or [..., m] with the same leading axes
 * @param options.side "left" (default): before equal entries; "right": behind them
 * @throws VoxgradError if the leading axes differ
 * @example
 * ```ts
 * import { searchSorted, tensor } from "voxgrad";
 *
 * const edges = tensor([1, 3, 3, 5]);
 * await searchSorted(edges, tensor([0, 3, 9])).array(); // [0, 1, 4]
 * await searchSorted(edges, tensor([0, 3, 9]), { side: "right" }).array(); // [0, 3, 4]
 * ```
 */
export function searchSorted(sorted: Tensor, values: Tensor, options: { side?: "left" | "right" } = {}): Tensor {
  checkTensor("searchSorted", sorted, "the sorted tensor");
  checkTensor("searchSorted", values, "the tensor of values");
  checkOptions("searchSorted", options, ["side"]);
  const { side = "left" } = options;
  check(side === "left" || side === "right", "searchSorted", () => `side is "left" or "right", got ${show(side)}`);
  check(
    sorted.rank === 1 || (sorted.rank > 1 && sameShape(sorted.shape.slice(0, -1), values.shape.slice(0, -1))),
    "searchSorted",
    () => `the sorted tensor is a vector, or shares the leading axes of the values ${values}, got ${sorted}`,
  );
  const dtype = promote(promote(sorted.dtype, values.dtype), "u32");
  const common = dtype === "f16" ? "f32" : dtype;
  const lines = size(sorted.shape.slice(0, -1));
  const toLines = (x: Tensor): Tensor => reshape(cast(x, common), { shape: [lines, lines === 0 ? 0 : x.size / lines] });
  const places = searchIn(toLines(sorted), toLines(values), { right: side === "right" });
  return reshape(places, { shape: values.shape });
}

/**
 * How often each of 0, 1, ..., length - 1 occurs in x, as `jax.numpy.bincount`, in i32; or sums of weights.
 *
 * @param x i32 or u32 of any shape. Values known on the host lie in [0, length), others out of it do not count
 * @param options.length the length of the result, known beforehand
 * @param options.weights of the shape of x; the result has their dtype, and a gradient by them
 * @throws VoxgradError for weights of another shape, or values known to be out of range
 * @example
 * ```ts
 * import { bincount, tensor } from "voxgrad";
 *
 * const labels = tensor([0, 2, 2, 1, 2], { dtype: "i32" });
 * await bincount(labels, { length: 4 }).array(); // [1, 1, 3, 0]
 * ```
 */
export const bincount: (x: Tensor, options: { length: number; weights?: Tensor }) => Tensor = computeInF32(
  (x, options) => {
    checkTensor("bincount", x);
    checkOptions("bincount", options, ["length", "weights"]);
    const { length, weights } = options;
    checkPlaces("bincount", "length", length);
    checkShape("bincount", [length]);
    checkIndices("bincount", x, length, "values");
    checkWeights("bincount", x, weights);
    return countsOf(cast(x, "i32"), length, weights);
  },
  { kind: "sum" },
);

function checkWeights(operator: string, x: Tensor, weights: unknown): asserts weights is Tensor | undefined {
  if (weights === undefined || weights === null) return;
  checkTensor(operator, weights, "weights");
  check(
    sameShape(weights.shape, x.shape),
    operator,
    () => `weights have the shape of the input ${show(x.shape)}, got ${show(weights.shape)}`,
  );
}

/** Counts of values, or sums of weights, by value; those outside of [0, length) are left out. */
function countsOf(x: Tensor, length: number, weights: Tensor | undefined | null): Tensor {
  const places = reshape(x, { shape: [x.size] });
  if (!weights) return countAt(places, length);
  const flat = reshape(weights.dtype === "bool" ? cast(weights, "i32") : weights, { shape: [x.size] });
  return scatterAt(flat, places, length, { axis: 0, distinct: false });
}

export interface HistogramOptions {
  /** Bins of equal width; default: 10. */
  bins?: number;
  /** Where the first bin starts and the last one ends; default: the least and largest finite value. */
  range?: readonly [number, number];
  /** Ascending edges of the bins instead, one more than bins. */
  edges?: Tensor;
  /** Of the shape of x: sums of weights instead of counts. */
  weights?: Tensor;
  /** Divide by the sum and the widths of the bins, so that the integral is 1; default: false. */
  density?: boolean;
}

/**
 * The histogram of the values of x, as `numpy.histogram`: bins include their left edge, the last one its right edge
 * too. NaN and values outside of the edges do not count.
 *
 * @param x of any shape; computed in f32
 * @returns counts [bins], i32, or f32 if there are weights or a density, and edges [bins + 1], f32
 * @throws VoxgradError for edges that are no vector of two or more, a range that is empty, or bins beside edges
 * @example
 * ```ts
 * import { histogram, tensor } from "voxgrad";
 *
 * const [counts, edges] = histogram(tensor([0, 1, 1, 4]), { bins: 2 });
 * await counts.array(); // [3, 1]
 * await edges.array(); // [0, 2, 4]
 * ```
 */
export function histogram(x: Tensor, options: HistogramOptions = {}): [counts: Tensor, edges: Tensor] {
  checkTensor("histogram", x);
  checkOptions("histogram", options, ["bins", "range", "edges", "weights", "density"]);
  checkFlag("histogram", "density", options.density);
  const { weights, density } = options;
  checkWeights("histogram", x, weights);
  const values = reshape(cast(x, "f32"), { shape: [x.size] });
  const edges = edgesOf(values, options);
  const bins = edges.size - 1;
  const last = narrow(edges, { axis: 0, start: bins, length: 1 });
  const bin = sub(searchSorted(edges, values, { side: "right" }), 1);
  const place = where(equal(values, last), bins - 1, bin);
  const counts = countsOf(place, bins, weights?.dtype === "f16" ? cast(weights, "f32") : weights);
  if (!density) return [counts, edges];
  const [from, to] = [0, 1].map((start) => narrow(edges, { axis: 0, start, length: bins }));
  return [div(div(counts, sum(counts)), sub(to, from)), edges];
}

/** The edges of the bins, after checking the options that say them. */
function edgesOf(values: Tensor, { bins, range, edges }: HistogramOptions): Tensor {
  if (edges !== undefined && edges !== null) {
    checkTensor("histogram", edges, "edges");
    check(edges.rank === 1 && edges.size > 1, "histogram", () => `edges are a vector of two or more, got ${edges}`);
    const more = bins ?? range;
    check(more === undefined || more === null, "histogram", () => "edges say the bins; leave out bins and range");
    return cast(edges, "f32");
  }
  const num = bins ?? 10;
  check(
    Number.isInteger(num) && num > 0,
    "histogram",
    () => `bins is an integer > 0, got ${show(num)}${ifTraced(num)}`,
  );
  checkShape("histogram", [num + 1]);
  if (range !== undefined && range !== null) {
    const [low, high] = Array.isArray(range) ? (range as number[]) : [];
    check(
      Array.isArray(range) && range.length === 2 && range.every(Number.isFinite) && low < high,
      "histogram",
      () => `range is two ascending numbers, got ${show(range)}${ifTraced(low) || ifTraced(high)}`,
    );
    return linspace(low, high, { num: num + 1 });
  }
  if (values.size === 0) return linspace(0, 1, { num: num + 1 });
  const finite = isFinite(values);
  const [least, largest] = [min(where(finite, values, Infinity)), max(where(finite, values, -Infinity))];
  // As NumPy: one value lies in the middle of a range of 1, none in that from 0 to 1.
  const isRange = less(least, largest);
  const isOne = equal(least, largest);
  const low = where(isRange, least, where(isOne, sub(least, 0.5), 0));
  const high = where(isRange, largest, where(isOne, add(largest, 0.5), 1));
  const part = linspace(0, 1, { num: num + 1 });
  // Both ends are exact.
  return where(less(part, 0.5), add(low, mul(sub(high, low), part)), sub(high, mul(sub(high, low), sub(1, part))));
}
