/** take and oneHot. */
import { type DType, dtypes, isDType } from "../../core/dtype.ts";
import { check, checkOptions, ifTraced, show } from "../../core/errors.ts";
import { call } from "../../core/expr.ts";
import type { Op } from "../../core/op.ts";
import { checkShape, normalizeAxis, size } from "../../core/shape.ts";
import { checkTensor, node, type Tensor } from "../../core/tensor.ts";
import { constant } from "../elementwise/constant.ts";
import { arange, scalar } from "../elementwise/creation.ts";
import { add, cast, equal, maximum, minimum, mul, where } from "../elementwise/elementwise.ts";
import { scatter } from "../sampling/grid_taps.ts";
import { sum } from "../reduce/reduce.ts";
import { expandDims, reshape } from "./reshape.ts";
import { moveAxis } from "./transpose.ts";

const takeOp: Op<{ axis: number }> = {
  name: "take",
  lowering: {
    kind: "map",
    cost: 2,
    emit(e, index) {
      const { axis } = e.attrs;
      const [x, indices] = [e.inputs[0].shape, e.inputs[1].shape];
      const inner = index.within(indices, axis);
      // Out-of-range indices are clamped.
      const at = e.bind(
        call("u32", call("clamp", e.input(1, inner), constant(0, "i32"), constant(x[axis] - 1, "i32"))),
        "u32",
      );
      return e.input(0, index.replace(x, axis, indices.length, at));
    },
  },
  // The adjoint adds every cotangent row to its source row.
  vjp: ({ inputs: [x, indices], attrs: { axis } }, g) => {
    const n = x.shape[axis];
    const count = indices.size;
    const rows = reshape(g, { shape: [...x.shape.slice(0, axis), count, ...x.shape.slice(axis + 1)] });
    const clamped = clampIndex(indices, n);
    if (count * n > DENSE) return [scatterRows(rows, reshape(clamped, { shape: [1, count] }), axis, n), null];
    const hit = reshape(equal(reshape(clamped, { shape: [count, 1] }), arange(n)), {
      shape: [count, n, ...x.shape.slice(axis + 1).map(() => 1)],
    });
    return [sum(where(hit, expandDims(rows, { axis: axis + 1 }), 0), { axes: [axis] }), null];
  },
  jvp: (c, [t]) => take(t!, c.inputs[1], c.attrs),
  // Examples are concatenated along the axis, and each index is offset to its own example.
  batch({ inputs: [x, indices], batched, size: batch, attrs: { axis }, full }) {
    if (!batched[1]) return take(x, indices, { axis: axis + 1 });
    const all = full(0);
    const shape = all.shape.slice(1);
    const n = shape[axis];
    const behind = moveAxis(all, 0, axis);
    const joined = reshape(behind, { shape: shape.map((m, k) => (k === axis ? batch * m : m)) });
    const first = reshape(mul(arange(batch), n), { shape: [batch, ...indices.shape.slice(1).map(() => 1)] });
    return moveAxis(take(joined, add(clampIndex(indices, n), first), { axis }), axis, 0);
  },
};

/** Up to this many (index, position) pairs are compared directly; beyond it, indices are sorted. */
const DENSE = 2 ** 16;

/** Scatter-add of rows along an axis to the positions in cell [1, rows], out of n. */
function scatterRows(rows: Tensor, cell: Tensor, axis: number, n: number): Tensor {
  const behind = moveAxis(cast(rows, "f32"), axis, rows.rank - 1);
  const [count, others] = [behind.shape.at(-1)!, behind.shape.slice(0, -1)];
  const values = reshape(behind, { shape: [1, size(others), count] });
  const one = scalar(1, "f32", [1, 1, count]);
  const sums = scatter(values, cell, one, { space: [1, 1, n], taps: [1, 1, 1] });
  return cast(moveAxis(reshape(sums, { shape: [...others, n] }), rows.rank - 1, axis), rows.dtype);
}

const clampIndex = (indices: Tensor, n: number): Tensor => minimum(maximum(indices, 0), n - 1);

/**
 * Entries of x along `axis` at integer indices; the shape of the indices replaces the axis. Indices are clamped.
 *
 * @example
 * ```ts
 * import { tensor } from "voxgrad";
 *
 * const rows = tensor([[1, 2], [3, 4], [5, 6]]);
 * await rows.take(tensor([2, 0], { dtype: "i32" })).array(); // [[5, 6], [1, 2]]
 * ```
 */
export function take(x: Tensor, indices: Tensor, options: { axis?: number } = {}): Tensor {
  checkTensor("take", x);
  checkTensor("take", indices, "indices");
  checkOptions("take", options, ["axis"]);
  const axis = normalizeAxis("take", options.axis ?? 0, x.rank);
  check(
    indices.dtype === "i32" || indices.dtype === "u32",
    "take",
    () =>
      `indices are i32 or u32, got ${indices.dtype}` +
      (indices.rank === 0
        ? '; a number given to a compiled function is an f32 tensor inside: cast("i32") it, or list its position ' +
          "in static"
        : ""),
  );
  check(x.shape[axis] > 0 || indices.size === 0, "take", () => `axis ${axis} of ${show(x.shape)} is empty`);
  const shape = [...x.shape.slice(0, axis), ...indices.shape, ...x.shape.slice(axis + 1)];
  checkShape("take", shape);
  return node(takeOp, [x, cast(indices, "i32")], { axis }, shape, x.dtype);
}

/**
 * One-hot vectors [...S, classes] of integer labels of shape S; a label outside [0, classes) gives zeros. Default:
 * f32.
 *
 * @example
 * ```ts
 * import { oneHot, tensor } from "voxgrad";
 *
 * await oneHot(tensor([2, 0], { dtype: "i32" }), { classes: 3 }).array(); // [[0, 0, 1], [1, 0, 0]]
 * ```
 */
export function oneHot(labels: Tensor, options: { classes: number; dtype?: DType }): Tensor {
  checkTensor("oneHot", labels, "labels");
  checkOptions("oneHot", options, ["classes", "dtype"]);
  const { classes, dtype = "f32" } = options;
  check(
    Number.isInteger(classes) && classes > 0,
    "oneHot",
    () => `classes is an integer > 0, got ${show(classes)}${ifTraced(classes)}`,
  );
  check(isDType(dtype), "oneHot", () => `dtype is one of ${dtypes.join(", ")}, got ${show(dtype)}`);
  check(labels.dtype === "i32" || labels.dtype === "u32", "oneHot", () => `labels are i32 or u32, got ${labels.dtype}`);
  checkShape("oneHot", [...labels.shape, classes]);
  return cast(equal(expandDims(labels, { axis: labels.rank }), arange(classes)), dtype);
}
