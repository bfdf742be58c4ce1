/**
 * Values at places along an axis, and sums of values by place: adjoints of each other, so every derivative of either is
 * made of the two. takeAlongAxis, scatterAdd, segmentSum, sort, topK and the derivative of take use them.
 */
import { call, infix, u32 } from "../../core/expr.ts";
import type { Op } from "../../core/op.ts";
import { type Shape, size } from "../../core/shape.ts";
import { node, type Tensor } from "../../core/tensor.ts";
import { constant } from "../elementwise/constant.ts";
import { arange, scalar } from "../elementwise/creation.ts";
import { cast, equal, where } from "../elementwise/elementwise.ts";
import { sum } from "../reduce/reduce.ts";
import { broadcastTo } from "../shape/broadcast_to.ts";
import { expandDims, reshape } from "../shape/reshape.ts";
import { moveAxis } from "../shape/transpose.ts";
import { countIn, putAt, sumByIndex } from "./sums.ts";

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
    ? putAt(values, places, length)
    : reshape(sumByIndex(expandDims(values, { axis: 2 }), places, length), { shape: [values.shape[0], length] });
  return moveAxis(reshape(lines, { shape: [...before, ...after, length] }), { source: -1, destination: axis });
}

/** How many of the indices [n] are 0, 1, ..., length - 1, as i32. */
export const countAt = (indices: Tensor, length: number): Tensor =>
  indices.size * length <= DENSE
    ? scatterAt(scalar(1, "i32", indices.shape), indices, length, { axis: 0, distinct: false })
    : reshape(countIn(reshape(indices, { shape: [1, indices.size] }), length), { shape: [length] });
