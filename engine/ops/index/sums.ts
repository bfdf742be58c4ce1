/**
 * Sums and counts of lines by index, in a fixed order: by chunks if there are few places, otherwise by sorting the
 * indices; and the scatter of values to different places. They are what scatterAdd and bincount are lowered to, after
 * differentiation.
 */
import { fail } from "../../core/errors.ts";
import type { Op } from "../../core/op.ts";
import { size } from "../../core/shape.ts";
import { node, type Tensor } from "../../core/tensor.ts";
import { lowerPartialSums, lowerPut, lowerSumByIndex } from "../../../shaders/index/scatter.wgsl.ts";
import { lowerStarts } from "../../../shaders/index/search.wgsl.ts";
import type { Ordered } from "../../../shaders/index/step.wgsl.ts";
import { chunkElements, type Target } from "../../../shaders/types.ts";
import { add, sub } from "../elementwise/elementwise.ts";
import { sum } from "../reduce/reduce.ts";
import { concat } from "../shape/concat.ts";
import { reshape } from "../shape/reshape.ts";
import { inParts, partsFor, range, ranges } from "../split.ts";
import { orderOf } from "./order.ts";

const startsOp: Op<{ first: number }> = {
  name: "scatterAdd",
  lowering: {
    kind: "kernel",
    lower([indices], output, { first }, target) {
      const [lines, count] = indices.shape as [number, number];
      return lowerStarts({ lines, count, first, length: output.shape[1] }, target);
    },
  },
  vjp: null,
  split([indices, order], output, { first }, most) {
    const [lines, length] = output.shape as [number, number];
    if (indices.size > most) {
      const count = partsFor("scatterAdd", [indices], lines, most);
      return inParts([indices, order], 0, count, ([i, o]) => startsIn(i, o, first, length));
    }
    const parts = ranges(length, partsFor("scatterAdd", [{ size: lines * length }], length, most));
    return concat(parts.map(([a, b]) => startsIn(indices, order, first + a, b - a)), { axis: 1 });
  },
};

/** Where each of `length` places from `first` on starts in the order of indices [lines, n]: [lines, length]. */
const startsIn = (indices: Tensor, order: Tensor, first: number, length: number): Tensor =>
  node(startsOp, [indices, order], { first }, [indices.shape[0], length], "i32");

/** The order of indices, and where each place starts and the last one ends in it: [lines, n], [lines, length + 1]. */
function startsOf(indices: Tensor, length: number): { order: Tensor; starts: Tensor } {
  const order = orderOf(indices, { descending: false, largest: length });
  return { order, starts: startsIn(indices, order, 0, length + 1) };
}

/** Values that one invocation adds one by one: enough to be worth its row of sums, and few for the sake of rounding. */
const SHORTEST_CHUNK = 256;
const LONGEST_CHUNK = 2048;

/** An operator that stands for others on tensors that fit. */
const standsFor = <A>(name: string): Op<A>["lowering"] => ({ kind: "kernel", lower: () => fail(name, "no kernel") });

/** The sum of f of parts of lines, which are longer than a binding. */
const inPieces = (tensors: readonly Tensor[], most: number, f: (parts: readonly Tensor[]) => Tensor): Tensor =>
  ranges(tensors[0].shape[1], Math.ceil(tensors[0].shape[1] / most))
    .map(([start, end]) => f(tensors.map((x) => range(x, 1, start, end))))
    .reduce((a, b) => add(a, b));

const partialOp: Op<{ length: number; chunk: number }> = {
  name: "scatterAdd",
  lowering: {
    kind: "kernel",
    lower(inputs, output, { length, chunk }, target) {
      const [outer, , , inner] = output.shape as [number, number, number, number];
      const [lines, count] = inputs.at(-1)!.shape as [number, number];
      const type = inputs.length === 1 ? null : (output.dtype as Ordered);
      return lowerPartialSums({ outer, count, inner, length, shared: lines === 1, type, chunk }, target);
    },
  },
  vjp: null,
};

/** Values (null: ones) summed by index for each of many chunks, then over the chunks; null if there are few chunks. */
function byChunks(values: Tensor | null, indices: Tensor, length: number, target: Target): Tensor | null {
  const [lines, count] = indices.shape as [number, number];
  const [outer, , inner] = values?.shape ?? [lines, count, 1];
  const chunk = Math.max(length, SHORTEST_CHUNK);
  const chunks = Math.ceil(count / chunk);
  const shape = [outer, chunks, length, inner];
  const isParallel = outer * chunks * inner >= (target.software ? 16 : 1024);
  if (!isParallel || chunk > LONGEST_CHUNK || size(shape) > chunkElements(target)) return null;
  const inputs = values ? [values, indices] : [indices];
  const all = sum(node(partialOp, inputs, { length, chunk }, shape, values?.dtype ?? "i32"), { axes: [1] });
  return values ? all : reshape(all, { shape: [lines, length] });
}

function countsBy(indices: Tensor, length: number): Tensor {
  const { starts } = startsOf(indices, length);
  return sub(range(starts, 1, 1, length + 1), range(starts, 1, 0, length));
}

const countOp: Op<{ length: number }> = {
  name: "bincount",
  lowering: standsFor("bincount"),
  decompose: ([indices], _, { length }, target) => byChunks(null, indices, length, target) ?? countsBy(indices, length),
  vjp: null,
  batch({ inputs: [indices], size: batch, output, attrs: { length } }) {
    const [, lines, n] = indices.shape as [number, number, number];
    return reshape(countIn(reshape(indices, { shape: [batch * lines, n] }), length), {
      shape: [batch, ...output.shape],
    });
  },
  split: ([indices], _, { length }, most) =>
    indices.shape[1] > most ? inPieces([indices], most, ([part]) => countIn(part, length)) : countsBy(indices, length),
};

/** Counts of the indices [lines, n] by place: [lines, length]. */
export const countIn = (indices: Tensor, length: number): Tensor =>
  node(countOp, [indices], { length }, [indices.shape[0], length], "i32");

function sumsBy(values: Tensor, indices: Tensor, length: number): Tensor {
  const { order, starts } = startsOf(indices, length);
  return sums(values, order, starts);
}

const linesOp: Op<{ length: number }> = {
  name: "scatterAdd",
  lowering: standsFor("scatterAdd"),
  decompose: ([values, indices], _, { length }, target) =>
    byChunks(values, indices, length, target) ?? sumsBy(values, indices, length),
  vjp: null,
  split: ([values, indices], _, { length }, most) =>
    indices.shape[1] > most
      ? inPieces([values, indices], most, ([v, at]) => sumByIndex(v, at, length))
      : sumsBy(values, indices, length),
};

/** Values [outer, n, inner] summed by the indices [outer or 1, n]: [outer, length, inner]. */
export const sumByIndex = (values: Tensor, indices: Tensor, length: number): Tensor =>
  node(linesOp, [values, indices], { length }, [values.shape[0], length, values.shape[2]], values.dtype);

const sumOp: Op = {
  name: "scatterAdd",
  lowering: {
    kind: "kernel",
    lower([v, order], output, _, target) {
      const [outer, count, inner] = v.shape as [number, number, number];
      const [shared, length, type] = [order.shape[0] === 1, output.shape[1], v.dtype as Ordered];
      return lowerSumByIndex({ outer, count, inner, length, shared, type }, target);
    },
  },
  vjp: null,
  split([v, order, starts], output, _, most) {
    const [outer, length, inner] = output.shape as [number, number, number];
    if (v.size <= most) {
      const count = partsFor("scatterAdd", [starts, { size: outer * length * inner }], length, most);
      return concat(ranges(length, count).map(([a, b]) => sums(v, order, range(starts, 1, a, b + 1))), { axis: 1 });
    }
    if (order.shape[0] > 1) {
      return inParts([v, order, starts], 0, partsFor("scatterAdd", [v], outer, most), ([x, o, s]) => sums(x, o, s));
    }
    const axis = inner > outer ? 2 : 0;
    const count = partsFor("scatterAdd", [v], v.shape[axis], most);
    return inParts([v], axis, count, ([part]) => sums(part, order, starts));
  },
};

/** Sums the values of each place, by the order of their indices and where each place starts in it. */
const sums = (v: Tensor, order: Tensor, starts: Tensor): Tensor =>
  node(sumOp, [v, order, starts], {}, [v.shape[0], starts.shape[1] - 1, v.shape[2]], v.dtype);

const putOp: Op<{ length: number }> = {
  name: "scatterAdd",
  lowering: {
    kind: "kernel",
    lower([v], _, { length }, target) {
      const [lines, count] = v.shape as [number, number];
      return lowerPut({ lines, count, length }, target);
    },
  },
  vjp: null,
  split([v, places], output, { length }, most) {
    const [lines] = v.shape as [number, number];
    const count = partsFor("scatterAdd", [v, { size: output.shape[0] * output.shape[1] }], lines, most);
    return inParts([v, places], 0, count, ([x, at]) => putAt(x, at, length));
  },
};

/** Values [lines, n] at different places [lines, n] of lines of `length`, 0 elsewhere. */
export const putAt = (values: Tensor, places: Tensor, length: number): Tensor =>
  node(putOp, [values, places], { length }, [values.shape[0], length], values.dtype);
