/** concat and stack. */
import { promote } from "../../core/dtype.ts";
import { check, checkOptions, show } from "../../core/errors.ts";
import { type Expr, infix, u32 } from "../../core/expr.ts";
import type { Op } from "../../core/op.ts";
import { checkShape, normalizeAxis, sameShape } from "../../core/shape.ts";
import { node, Tensor } from "../../core/tensor.ts";
import { scalar } from "../elementwise/creation.ts";
import { cast } from "../elementwise/elementwise.ts";
import { expandDims } from "./reshape.ts";
import { split } from "./slice.ts";

const op: Op<{ axis: number }> = {
  name: "concat",
  lowering: {
    kind: "map",
    cost: 2,
    emit(e, index) {
      const { axis } = e.attrs;
      const place = index.part(axis, axis);
      const branch = (k: number, at: number): Expr => {
        const { shape } = e.inputs[k];
        const value = (): Expr =>
          e.input(
            k,
            index.along(
              shape,
              shape.map((_, j) => (j === axis ? (i) => (at === 0 ? i : infix(i, "-", u32(at))) : null)),
            ),
          );
        if (k === e.inputs.length - 1) return value();
        const end = at + shape[axis];
        return e.select(infix(place, "<", u32(end)), e.output.dtype, value, () => branch(k + 1, end));
      };
      return branch(0, 0);
    },
  },
  vjp: (c, g) => split(g, { sizes: c.inputs.map((x) => x.shape[c.attrs.axis]), axis: c.attrs.axis }),
  jvp: (c, tangents) =>
    concat(
      tangents.map((t, k) => t ?? scalar(0, c.output.dtype, c.inputs[k].shape)),
      c.attrs,
    ),
  batch: (c) =>
    concat(
      c.inputs.map((_, k) => c.full(k)),
      { axis: c.attrs.axis + 1 },
    ),
};

/** Kernels have a limited number of bindings: more inputs than this are concatenated in groups. */
const GROUP = 4;

/**
 * Concatenates tensors along an axis; their other axes must match.
 *
 * @example
 * ```ts
 * import { concat, tensor } from "voxgrad";
 *
 * await concat([tensor([[1], [2]]), tensor([[3], [4]])], { axis: 1 }).array(); // [[1, 3], [2, 4]]
 * ```
 */
export function concat(tensors: readonly Tensor[], options: { axis?: number } = {}): Tensor {
  checkOptions("concat", options, ["axis"]);
  check(
    Array.isArray(tensors) && tensors.length > 0 && tensors.every((x) => x instanceof Tensor),
    "concat",
    () => `the first argument is an array of at least one tensor, got ${show(tensors)}`,
  );
  const first = tensors[0];
  const axis = normalizeAxis("concat", options.axis ?? 0, first.rank);
  for (const x of tensors) {
    check(
      x.rank === first.rank && x.shape.every((n, k) => k === axis || n === first.shape[k]),
      "concat",
      () => `shapes ${show(first.shape)} and ${show(x.shape)} differ outside axis ${axis}`,
    );
  }
  const dtype = tensors.map((x) => x.dtype).reduce(promote);
  const parts = tensors.filter((x) => x.shape[axis] > 0).map((x) => cast(x, dtype));
  if (parts.length <= 1) return parts[0] ?? cast(first, dtype);
  if (parts.length > GROUP) {
    const width = Math.ceil(parts.length / GROUP);
    const groups = Array.from(
      { length: Math.ceil(parts.length / width) },
      (_, k) => parts.slice(k * width, (k + 1) * width),
    );
    return concat(
      groups.map((group) => concat(group, { axis })),
      { axis },
    );
  }
  const shape = first.shape.map((n, k) => (k === axis ? parts.reduce((total, x) => total + x.shape[axis], 0) : n));
  checkShape("concat", shape);
  return node(op, parts, { axis }, shape, dtype);
}

/**
 * Stacks tensors of one shape along a new axis.
 *
 * @example
 * ```ts
 * import { stack, tensor } from "voxgrad";
 *
 * await stack([tensor([1, 2]), tensor([3, 4])]).array(); // [[1, 2], [3, 4]]
 * ```
 */
export function stack(tensors: readonly Tensor[], options: { axis?: number } = {}): Tensor {
  checkOptions("stack", options, ["axis"]);
  check(
    Array.isArray(tensors) && tensors.length > 0 && tensors.every((x) => x instanceof Tensor),
    "stack",
    () => `the first argument is an array of at least one tensor, got ${show(tensors)}`,
  );
  const first = tensors[0];
  const axis = normalizeAxis("stack", options.axis ?? 0, first.rank + 1);
  for (const x of tensors) {
    check(sameShape(x.shape, first.shape), "stack", () => `shapes ${show(first.shape)} and ${show(x.shape)} differ`);
  }
  checkShape("stack", [tensors.length, ...first.shape]);
  return concat(
    tensors.map((x) => expandDims(x, { axis })),
    { axis },
  );
}
