/**
 * Values at places along an axis, and sums of values by place: adjoints of each other, so every derivative of either is
 * made of the two. takeAlongAxis, scatterAdd, segmentSum, sort, topK and the derivative of take use them.
 */
import { fail } from "../../core/errors.ts";
import { call, infix, u32 } from "../../core/expr.ts";
import type { Op } from "../../core/op.ts";
import { type Shape, size } from "../../core/shape.ts";
import { node, type Tensor } from "../../core/tensor.ts";
import { lowerPartialSums, lowerPut, lowerSumByIndex } from "../../../shaders/index/scatter.wgsl.ts";
import type { Ordered } from "../../../shaders/index/step.wgsl.ts";
import { chunkElements, type Target } from "../../../shaders/types.ts";
import { constant } from "../elementwise/constant.ts";
import { arange, scalar } from "../elementwise/creation.ts";
import { add, cast, equal, greaterEqual, less, logicalAnd, sub, where } from "../elementwise/elementwise.ts";
import { sum } from "../reduce/reduce.ts";
import { broadcastTo } from "../shape/broadcast_to.ts";
import { concat } from "../shape/concat.ts";
import { expandDims, reshape } from "../shape/reshape.ts";
import { moveAxis } from "../shape/transpose.ts";
import { inParts, partsFor, range, ranges } from "../split.ts";
import { orderOf, searchIn } from "./order.ts";

interface Along {
  readonly axis: number;
  /** The indices of each line are different and in range, which saves sorting them. */
  readonly distinct: boolean;
}

const replaced = (shape: Shape, axis: number, n: number): number[] => shape.map((m, k) => (k === axis ? n : m));

// y[.., j, ..] = x[.., index[.., j, ..], ..], 0 out of range; dx = scatterAt(g, index)
const gatherOp: Op<Along> = {
  name: "takeAlongAxis",
  lowering: {
    kind: "map",
    cost: 2,
    emit(e, index) {
      const { axis } = e.attrs;
      const { shape } = e.inputs[0];
      const at = e.bind(call("u32", e.input(1, index.unbroadcast(e.inputs[1].shape))), "u32");
      // A negative index is a large u32.
      return e.select(
        infix(at, "<", u32(shape[axis])),
        e.output.dtype,
        () => e.input(0, index.replace(shape, axis, 1, at)),
        () => constant(0, e.output.dtype),
      );
    },
  },
  vjp: ({ inputs: [x, indices], attrs }, g) => [scatterAt(g, indices, x.shape[attrs.axis], attrs), null],
  jvp: (c, [t]) => gatherAt(t!, c.inputs[1], c.attrs),
  batch: ({ inputs: [, indices], batched, attrs: { axis, distinct }, full }) =>
    gatherAt(full(0), batched[1] ? indices : expandDims(indices, { axis: 0 }), { axis: axis + 1, distinct }),
};

/**
 * Entries of x at indices (i32) along an axis, 0 out of range. The indices have the rank of x; axes of size 1 other
 * than `axis` are broadcast.
 */
export function gatherAt(x: Tensor, indices: Tensor, attrs: Along): Tensor {
  const shape = replaced(x.shape, attrs.axis, indices.shape[attrs.axis]);
  return size(shape) === 0 || x.size === 0
    ? scalar(0, x.dtype, shape)
    : node(gatherOp, [x, indices], { axis: attrs.axis, distinct: attrs.distinct }, shape, x.dtype);
}

interface ScatterAttrs extends Along {
  readonly length: number;
}

/** Up to this many pairs of a value and a place, their indices are compared; sorting takes several kernels. */
const DENSE = 2 ** 20;

// y[.., p, ..] = sum of v[.., j, ..] over all j with index[.., j, ..] = p; dv = gatherAt(g, index)
const scatterOp: Op<ScatterAttrs> = {
  name: "scatterAdd",
  lowering: { kind: "composite", expand: ([v, indices], attrs) => expand(v, indices, attrs) },
  vjp: ({ inputs: [, indices], attrs }, g) => [gatherAt(g, indices, attrs), null],
  jvp: (c, [t]) => scatterAt(t!, c.inputs[1], c.attrs.length, c.attrs),
  batch: ({ inputs: [, indices], batched, attrs: { axis, length, distinct }, full }) =>
    scatterAt(full(0), batched[1] ? indices : expandDims(indices, { axis: 0 }), length, { axis: axis + 1, distinct }),
};

/** The adjoint of `gatherAt`: sums of f32, i32 or u32 values by index along an axis, in order; others are left out. */
export function scatterAt(v: Tensor, indices: Tensor, length: number, { axis, distinct }: Along): Tensor {
  if (v.dtype === "f16") return cast(scatterAt(cast(v, "f32"), indices, length, { axis, distinct }), "f16");
  const shape = replaced(v.shape, axis, length);
  return size(shape) === 0 || v.size === 0
    ? scalar(0, v.dtype, shape)
    : node(scatterOp, [v, indices], { axis, length, distinct }, shape, v.dtype);
}

function expand(v: Tensor, indices: Tensor, { axis, length, distinct }: ScatterAttrs): Tensor {
  const count = v.shape[axis];
  const [before, after] = [v.shape.slice(0, axis), v.shape.slice(axis + 1)];
  const shape = [...before, length, ...after];
  const shared = indices.size === count;
  if (!distinct && v.size * length <= DENSE) {
    const place = reshape(arange(length), { shape: [length, ...after.map(() => 1)] });
    const hit = equal(expandDims(indices, { axis: axis + 1 }), place);
    return sum(where(hit, expandDims(v, { axis: axis + 1 }), scalar(0, v.dtype)), { axes: [axis] });
  }
  if (shared && !distinct) {
    const lines = reshape(v, { shape: [size(before), count, size(after)] });
    return reshape(sumByIndex(lines, reshape(indices, { shape: [1, count] }), length), { shape });
  }
  // One line of indices for each line of values.
  const toLines = (x: Tensor): Tensor =>
    reshape(moveAxis(x, { source: axis, destination: -1 }), { shape: [x.size / count, count] });
  const [values, places] = [toLines(v), toLines(broadcastTo(indices, { shape: v.shape }))];
  const lines = distinct
    ? node(putOp, [values, places], { length }, [values.shape[0], length], v.dtype)
    : reshape(sumByIndex(expandDims(values, { axis: 2 }), places, length), { shape: [values.shape[0], length] });
  return moveAxis(reshape(lines, { shape: [...before, ...after, length] }), { source: -1, destination: axis });
}

/** How many of the indices [n] are 0, 1, ..., length - 1, as i32. */
export const countAt = (indices: Tensor, length: number): Tensor =>
  indices.size * length <= DENSE
    ? scatterAt(scalar(1, "i32", indices.shape), indices, length, { axis: 0, distinct: false })
    : reshape(countIn(reshape(indices, { shape: [1, indices.size] }), length), { shape: [length] });

/** The order of indices, and where each place starts in it: [lines, n] and [lines, length + 1]. */
function startsOf(indices: Tensor, length: number): { order: Tensor; starts: Tensor } {
  const isPlace = logicalAnd(greaterEqual(indices, 0), less(indices, length));
  const known = where(isPlace, indices, scalar(length, "i32"));
  const order = orderOf(known, { descending: false, largest: length });
  const sorted = gatherAt(known, order, { axis: 1, distinct: true });
  const places = broadcastTo(arange(length + 1), { shape: [indices.shape[0], length + 1] });
  return { order, starts: searchIn(sorted, places, { right: false }) };
}

/** Values that one invocation adds, one by one: enough to be worth its row of sums, and few for the sake of rounding. */
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
const countIn = (indices: Tensor, length: number): Tensor =>
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
const sumByIndex = (values: Tensor, indices: Tensor, length: number): Tensor =>
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
    return inParts([v, places], 0, count, ([x, at]) => node(putOp, [x, at], { length }, [x.shape[0], length], v.dtype));
  },
};
