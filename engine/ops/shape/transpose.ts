/** transpose, moveAxis and swapAxes. */
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

/**
 * Moves axes to other positions, as `numpy.moveaxis`; the others keep their order.
 *
 * @param options.source an axis, or a list of axes
 * @param options.destination where each of them lies in the result
 * @example
 * ```ts
 * import { ones } from "voxgrad";
 *
 * const last = ones([2, 3, 4, 5]).moveAxis({ source: 1, destination: -1 }); // [2, 4, 5, 3]
 * const swapped = ones([2, 3, 4]).moveAxis({ source: [0, 1], destination: [2, 0] }); // [3, 4, 2]
 * ```
 */
export function moveAxis(
  x: Tensor,
  options: { source: number | readonly number[]; destination: number | readonly number[] },
): Tensor {
  checkTensor("moveAxis", x);
  checkOptions("moveAxis", options, ["source", "destination"]);
  const [source, destination] = (["source", "destination"] as const).map((name) => {
    const given = options[name];
    const list = (Array.isArray(given) ? given : [given]).map((axis) => normalizeAxis("moveAxis", axis, x.rank, name));
    check(new Set(list).size === list.length, "moveAxis", () => `${name} ${show(given)} names an axis twice`);
    return list;
  }) as [number[], number[]];
  check(
    source.length === destination.length,
    "moveAxis",
    () => `source and destination name as many axes, got ${show(options.source)} and ${show(options.destination)}`,
  );
  const rest = x.shape.map((_, k) => k).filter((k) => !source.includes(k));
  const axes = x.shape.map((_, k) => {
    const at = destination.indexOf(k);
    return at < 0 ? rest.shift()! : source[at];
  });
  return transpose(x, { axes });
}

/**
 * Exchanges two axes, as `numpy.swapaxes`.
 *
 * @example
 * ```ts
 * import { ones } from "voxgrad";
 *
 * const x = ones([2, 3, 4]).swapAxes({ axes: [0, -1] }); // [4, 3, 2]
 * ```
 */
export function swapAxes(x: Tensor, options: { axes: readonly [number, number] }): Tensor {
  checkTensor("swapAxes", x);
  checkOptions("swapAxes", options, ["axes"]);
  const [a, b] = pairOfAxes("swapAxes", options.axes, x.rank);
  return transpose(x, { axes: x.shape.map((_, k) => (k === a ? b : k === b ? a : k)) });
}

/** Checks two different axes. */
export function pairOfAxes(operator: string, axes: unknown, rank: number): readonly [number, number] {
  check(Array.isArray(axes) && axes.length === 2, operator, () => `axes are two axes, got ${show(axes)}`);
  const [a, b] = axes.map((axis: unknown) => normalizeAxis(operator, axis, rank, "axes entry")) as [number, number];
  check(a !== b, operator, () => `axes ${show(axes)} name an axis twice`);
  return [a, b];
}
