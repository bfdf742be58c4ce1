/** transpose and moveAxis. */
import { check, checkOptions, show } from "../../core/errors.ts";
import type { Op } from "../../core/op.ts";
import { normalizeAxis } from "../../core/shape.ts";
import { checkTensor, node, type Tensor } from "../../core/tensor.ts";

const op: Op<{ axes: readonly number[] }> = {
  name: "transpose",
  lowering: {
    kind: "map",
    cost: 0,
    emit: (e, index) => e.input(0, index.untranspose(e.inputs[0].shape, e.attrs.axes)),
  },
  vjp: (c, g) => [transpose(g, { axes: c.attrs.axes.map((_, k) => c.attrs.axes.indexOf(k)) })],
  jvp: (c, [t]) => transpose(t!, c.attrs),
  batch: (c) => transpose(c.inputs[0], { axes: [0, ...c.attrs.axes.map((k) => k + 1)] }),
};

/**
 * Permutes axes: axis k of the result is axis axes[k] of x. Default: reversed order.
 *
 * @example
 * ```ts
 * import { ones, tensor } from "voxgrad";
 *
 * await tensor([[1, 2], [3, 4]]).transpose().array(); // [[1, 3], [2, 4]]
 * const last = ones([2, 3, 4, 5]).transpose({ axes: [0, 2, 3, 1] }); // [2, 4, 5, 3]
 * ```
 */
export function transpose(x: Tensor, options: { axes?: readonly number[] } = {}): Tensor {
  checkTensor("transpose", x);
  checkOptions("transpose", options, ["axes"]);
  const given = options.axes ?? x.shape.map((_, k) => x.rank - 1 - k);
  check(Array.isArray(given), "transpose", () => `axes are an array of integers, got ${show(given)}`);
  const axes = given.map((k) => normalizeAxis("transpose", k, x.rank, "axes entry"));
  check(
    axes.length === x.rank && new Set(axes).size === x.rank,
    "transpose",
    () => `axes ${show(options.axes)} are not a permutation of ${x.rank} axes`,
  );
  return axes.every((axis, k) => axis === k) ? x : node(
    op,
    [x],
    { axes },
    axes.map((k) => x.shape[k]),
    x.dtype,
  );
}

/** Moves one axis to another position; the others keep their order. */
export function moveAxis(x: Tensor, from: number, to: number): Tensor {
  const axes = x.shape.map((_, k) => k).filter((k) => k !== from);
  axes.splice(to, 0, from);
  return transpose(x, { axes });
}
