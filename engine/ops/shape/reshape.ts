/** reshape, squeeze, expandDims and flatten: the same values in the same order. */
import { check, checkOptions, refuseOptions, show } from "../../core/errors.ts";
import type { Op } from "../../core/op.ts";
import { checkShape, normalizeAxes, normalizeAxis, sameShape, type Shape, size } from "../../core/shape.ts";
import { checkTensor, node, type Tensor } from "../../core/tensor.ts";

const op: Op = {
  name: "reshape",
  lowering: { kind: "view" },
  vjp: (c, g) => [reshape(g, { shape: c.inputs[0].shape })],
  jvp: (c, [t]) => reshape(t!, { shape: c.output.shape }),
  batch: (c) => reshape(c.inputs[0], { shape: [c.size, ...c.output.shape] }),
};

/**
 * The same values with another shape; one entry may be -1, which is inferred.
 *
 * @example
 * ```ts
 * import { tensor } from "voxgrad";
 *
 * await tensor([1, 2, 3, 4]).reshape({ shape: [2, -1] }).array(); // [[1, 2], [3, 4]]
 * ```
 */
export function reshape(x: Tensor, options: { shape: Shape }): Tensor {
  checkTensor("reshape", x);
  checkOptions("reshape", options, ["shape"]);
  let shape = options.shape;
  check(Array.isArray(shape), "reshape", () => `shape is an array, got ${show(shape)}`);
  if (shape.filter((n) => n === -1).length === 1) {
    const rest = size(shape.filter((n) => n !== -1));
    check(
      rest > 0 && x.size % rest === 0,
      "reshape",
      () => `${x.size} elements of ${show(x.shape)} do not fill ${show(shape)}`,
    );
    shape = shape.map((n) => (n === -1 ? x.size / rest : n));
  }
  checkShape("reshape", shape);
  check(
    size(shape) === x.size,
    "reshape",
    () => `${show(x.shape)} has ${x.size} elements, ${show(shape)} has ${size(shape)}`,
  );
  return sameShape(shape, x.shape) ? x : node(op, [x], {}, shape, x.dtype);
}

/**
 * Removes axes of size 1 (all, or those listed).
 *
 * @example
 * ```ts
 * import { ones } from "voxgrad";
 *
 * const x = ones([1, 3, 1]).squeeze({ axes: [0] }); // [3, 1]
 * ```
 */
export function squeeze(x: Tensor, options: { axes?: readonly number[] } = {}): Tensor {
  checkTensor("squeeze", x);
  checkOptions("squeeze", options, ["axes"]);
  const axes = options.axes === undefined
    ? x.shape.flatMap((n, k) => (n === 1 ? [k] : []))
    : normalizeAxes("squeeze", options.axes, x.rank);
  for (const k of axes) check(x.shape[k] === 1, "squeeze", () => `axis ${k} of ${show(x.shape)} is not of size 1`);
  return reshape(x, { shape: x.shape.filter((_, k) => !axes.includes(k)) });
}

/**
 * Inserts an axis of size 1 at `axis`.
 *
 * @example
 * ```ts
 * import { ones } from "voxgrad";
 *
 * const x = ones([3, 4]).expandDims({ axis: 0 }); // [1, 3, 4]
 * ```
 */
export function expandDims(x: Tensor, options: { axis: number }): Tensor {
  checkTensor("expandDims", x);
  checkOptions("expandDims", options, ["axis"]);
  const axis = normalizeAxis("expandDims", options.axis, x.rank + 1);
  return reshape(x, { shape: [...x.shape.slice(0, axis), 1, ...x.shape.slice(axis)] });
}

/**
 * Joins the axes from `startAxis` to `endAxis`, both included, into one, as `torch.flatten`; default: all axes.
 *
 * @example
 * ```ts
 * import { ones } from "voxgrad";
 *
 * const flat = ones([2, 3, 4]).flatten(); // [24]
 * const rows = ones([2, 3, 4]).flatten({ startAxis: 1 }); // [2, 12]
 * ```
 */
export function flatten(x: Tensor, options: { startAxis?: number; endAxis?: number } = {}): Tensor {
  checkTensor("flatten", x);
  checkOptions("flatten", options, ["startAxis", "endAxis"]);
  const rank = Math.max(1, x.rank);
  const start = normalizeAxis("flatten", options.startAxis ?? 0, rank, "startAxis");
  const end = normalizeAxis("flatten", options.endAxis ?? -1, rank, "endAxis");
  check(start <= end, "flatten", () => `startAxis ${start} lies behind endAxis ${end}`);
  const { shape } = x;
  return reshape(x, { shape: [...shape.slice(0, start), size(shape.slice(start, end + 1)), ...shape.slice(end + 1)] });
}

const stopOp: Op = {
  name: "stopGradient",
  lowering: { kind: "view" },
  vjp: () => [null],
  jvp: null,
  batch: (c) => stopGradient(c.inputs[0]),
};

export const isStopGradient = (t: Tensor): boolean => t.source.kind === "op" && t.source.op === stopOp;

/**
 * x, treated as a constant by differentiation.
 *
 * @example
 * ```ts
 * import { grad, stopGradient, tensor, type Tensor } from "voxgrad";
 *
 * const f = (x: Tensor) => x.mul(stopGradient(x));
 * await grad(f)(tensor(3)).item(); // 3: of x * x it would be 6
 * ```
 */
export function stopGradient(x: Tensor, ...rest: never[]): Tensor {
  checkTensor("stopGradient", x);
  refuseOptions("stopGradient", rest);
  return node(stopOp, [x], {}, x.shape, x.dtype);
}

const aliasOp: Op = {
  name: "alias",
  lowering: { kind: "view" },
  vjp: (_, g) => [g],
  jvp: (_, [t]) => t!,
  batch: (c) => alias(c.inputs[0]),
};

/** A distinct node with the values of x, to differentiate with respect to. */
export const alias = (x: Tensor): Tensor => node(aliasOp, [x], {}, x.shape, x.dtype);

const recomputeOp: Op = {
  name: "recompute",
  lowering: { kind: "view", barrier: true },
  vjp: (_, g) => [g],
  jvp: (_, [t]) => t!,
  batch: (c) => recompute(c.inputs[0]),
};

/** x as a barrier that is never merged with equal values, so everything computed from it is recomputed. */
export const recompute = (x: Tensor): Tensor => node(recomputeOp, [x], {}, x.shape, x.dtype);
