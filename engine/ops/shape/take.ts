/** take and oneHot. */
import { type DType, dtypes, isDType } from "../../core/dtype.ts";
import { check, checkOptions, ifTraced, show } from "../../core/errors.ts";
import { call } from "../../core/expr.ts";
import type { Op } from "../../core/op.ts";
import { checkShape, normalizeAxis } from "../../core/shape.ts";
import { checkTensor, node, type Tensor } from "../../core/tensor.ts";
import { constant } from "../elementwise/constant.ts";
import { arange } from "../elementwise/creation.ts";
import { add, cast, equal, maximum, minimum, mul } from "../elementwise/elementwise.ts";
import type { scatterAt } from "../index/gather.ts";
import { late } from "../late.ts";
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
    const rows = reshape(g, { shape: [...x.shape.slice(0, axis), indices.size, ...x.shape.slice(axis + 1)] });
    const places = reshape(clampIndex(indices, n), { shape: x.shape.map((_, k) => (k === axis ? indices.size : 1)) });
    return [sumRows.call(rows, places, n, { axis, distinct: false }), null];
  },
  jvp: (c, [t]) => take(t!, c.inputs[1], c.attrs),
  // Examples are concatenated along the axis, and each index is offset to its own example.
  batch({ inputs: [x, indices], batched, size: batch, attrs: { axis }, full }) {
    if (!batched[1]) return take(x, indices, { axis: axis + 1 });
    const all = full(0);
    const shape = all.shape.slice(1);
    const n = shape[axis];
    const behind = moveAxis(all, { source: 0, destination: axis });
    const joined = reshape(behind, { shape: shape.map((m, k) => (k === axis ? batch * m : m)) });
    const first = reshape(mul(arange(batch), n), { shape: [batch, ...indices.shape.slice(1).map(() => 1)] });
    return moveAxis(take(joined, add(clampIndex(indices, n), first), { axis }), { source: axis, destination: 0 });
  },
};

/** The adjoint: reverse mode gives it, since it sorts. */
export const sumRows = late<typeof scatterAt>("the gradient of take", "import engine/autodiff/reverse.ts");

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
