/** take and oneHot: by index. */
import type { DType } from "../core/dtype.ts";
import { check, checkOptions, show } from "../core/errors.ts";
import type { Op } from "../core/op.ts";
import { checkShape, normalizeAxis } from "../core/shape.ts";
import { node, type Tensor } from "../core/tensor.ts";
import { arange } from "./creation.ts";
import { cast, equal, maximum, minimum, where } from "./elementwise.ts";
import { sum } from "./reduce.ts";
import { expandDims, reshape } from "./reshape.ts";

const takeOp: Op<{ axis: number }> = {
  name: "take",
  lowering: {
    kind: "map",
    cost: 2,
    emit(e, index) {
      const { axis } = e.attrs;
      const [x, indices] = [e.inputs[0]!.shape, e.inputs[1]!.shape];
      const inner = index.within(indices, axis);
      // Out of range indices are clamped to the ends.
      const at = e.bind(`u32(clamp(${e.input(1, inner)}, 0i, ${x[axis]! - 1}i))`, "u32");
      return e.input(0, index.replace(x, axis, indices.length, at));
    },
  },
  // The adjoint adds every cotangent row to the row it was taken from.
  vjp: ({ inputs: [x, indices], attrs: { axis } }, g) => {
    const n = x!.shape[axis]!;
    const count = indices!.size;
    const rows = reshape(g, { shape: [...x!.shape.slice(0, axis), count, ...x!.shape.slice(axis + 1)] });
    const clamped = reshape(clampIndex(indices!, n), { shape: [count, 1] });
    const hit = reshape(equal(clamped, arange(n)), { shape: [count, n, ...x!.shape.slice(axis + 1).map(() => 1)] });
    return [sum(where(hit, expandDims(rows, { axis: axis + 1 }), 0), { axes: [axis] }), null];
  },
  jvp: (c, [t]) => take(t!, c.inputs[1]!, c.attrs),
};

const clampIndex = (indices: Tensor, n: number): Tensor => minimum(maximum(indices, 0), n - 1);

/** Entries of x along `axis` at integer indices, whose shape takes the axis' place; indices are clamped into range. */
export function take(x: Tensor, indices: Tensor, options: { axis?: number } = {}): Tensor {
  checkOptions("take", options, ["axis"]);
  const axis = normalizeAxis("take", options.axis ?? 0, x.rank);
  check(
    indices.dtype === "i32" || indices.dtype === "u32",
    "take",
    () => `indices are i32 or u32, got ${indices.dtype}`,
  );
  check(x.shape[axis]! > 0 || indices.size === 0, "take", () => `axis ${axis} of ${show(x.shape)} is empty`);
  const shape = [...x.shape.slice(0, axis), ...indices.shape, ...x.shape.slice(axis + 1)];
  checkShape("take", shape);
  return node(takeOp, [x, cast(indices, "i32")], { axis }, shape, x.dtype);
}

/** Integer labels of shape S as vectors of shape [...S, classes]; a label outside [0, classes) gives zeros. Default f32. */
export function oneHot(labels: Tensor, options: { classes: number; dtype?: DType }): Tensor {
  checkOptions("oneHot", options, ["classes", "dtype"]);
  const { classes, dtype = "f32" } = options;
  check(
    Number.isInteger(classes) && classes > 0,
    "oneHot",
    () => `classes is a whole number > 0, got ${show(classes)}`,
  );
  check(labels.dtype === "i32" || labels.dtype === "u32", "oneHot", () => `labels are i32 or u32, got ${labels.dtype}`);
  return cast(equal(expandDims(labels, { axis: labels.rank }), arange(classes)), dtype);
}
