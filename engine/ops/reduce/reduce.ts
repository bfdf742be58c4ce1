/** Reductions: sum, mean, max, min, argmax, variance, logSumExp. */
import { isFloat } from "../../core/dtype.ts";
import { check, checkFlag, checkNumber, checkOptions, fail, show } from "../../core/errors.ts";
import type { Aval, BatchContext, Op, ReduceAttrs } from "../../core/op.ts";
import { normalizeAxes, normalizeAxis, type Shape, size } from "../../core/shape.ts";
import { checkTensor, node, type Tensor } from "../../core/tensor.ts";
import { broadcastTo } from "../shape/broadcast_to.ts";
import { scalar } from "../elementwise/creation.ts";
import {
  add,
  cast,
  div,
  equal,
  exp,
  greater,
  isFinite,
  isNaN,
  less,
  log,
  logicalAnd,
  logicalNot,
  logicalOr,
  maximum,
  minimum,
  mul,
  square,
  sub,
  where,
} from "../elementwise/elementwise.ts";
import { concat } from "../shape/concat.ts";
import { computeInF32 } from "../promote_f16.ts";
import { inParts, partsFor, range, ranges } from "../split.ts";
import { reshape, stopGradient } from "../shape/reshape.ts";
import { provideSumTo } from "../shape/sum_to.ts";

export interface ReduceOptions {
  /** Axes to reduce; default: all. */
  axes?: readonly number[];
  /** Keep them with size 1. */
  keepDims?: boolean;
}

const kept = (shape: Shape, axes: readonly number[]): number[] => shape.map((n, k) => (axes.includes(k) ? 1 : n));
/** Broadcasts a reduced tensor back over the reduced axes. */
const spread = (x: Tensor, shape: Shape, axes: readonly number[]): Tensor =>
  broadcastTo(reshape(x, { shape: kept(shape, axes) }), { shape });

const operators = (): Record<ReduceAttrs["by"], Op<ReduceAttrs>> => ({
  sum: sumOp,
  max: maxOp,
  min: minOp,
  argmax: argmaxOp,
});
/** Chunks that a part of a large input may span: fewer than any adapter can bind. */
const PART = 3;

/** Reduces an input with more chunks than a kernel can bind: parts along the first axes span few chunks. */
function byParts(x: Tensor, { axes, by }: ReduceAttrs, most: number): Tensor {
  const axis = x.shape.findIndex((n) => n > 1);
  const each = Math.max(1, Math.floor((PART * most) / size(x.shape.slice(axis + 1))));
  const parts = ranges(x.shape[axis], Math.ceil(x.shape[axis] / each)).map(([start, end]) => ({
    start,
    x: range(x, axis, start, end),
  }));
  const of = (kind: ReduceAttrs["by"], part: Tensor): Tensor => reduce(operators()[kind], kind, part, { axes });
  if (!axes.includes(axis)) {
    const to = x.shape.map((_, k) => k).filter((k) => !axes.includes(k)).indexOf(axis);
    return concat(parts.map((part) => of(by, part.x)), { axis: to });
  }
  if (by === "argmax") {
    // The first of equal values wins; NaN wins over any number.
    const candidates = parts.map((part) => ({ value: of("max", part.x), at: add(of("argmax", part.x), part.start) }));
    return candidates.reduce((a, b) => {
      const ahead = isFloat(x.dtype) ? logicalAnd(isNaN(b.value), logicalNot(isNaN(a.value))) : less(b.value, b.value);
      const later = logicalOr(greater(b.value, a.value), ahead);
      return { value: where(later, b.value, a.value), at: where(later, b.at, a.at) };
    }).at;
  }
  let list = parts.map((part) => of(by, part.x));
  const join = by === "sum" ? add : by === "max" ? maximum : minimum;
  while (list.length > 1) {
    list = list.flatMap((a, k) => (k % 2 ? [] : [k + 1 < list.length ? join(a, list[k + 1]) : a]));
  }
  return list[0];
}

function split([x]: readonly Tensor[], output: Aval, attrs: ReduceAttrs, most: number, buffers: number): Tensor {
  const { axes, by } = attrs;
  if (x.size > most * (buffers - 1)) return byParts(x, attrs, most);
  const kept = x.shape.map((_, k) => k).filter((k) => !axes.includes(k));
  const longest = kept.reduce((a, b) => (x.shape[a] >= x.shape[b] ? a : b));
  const count = partsFor(by, [{ size: size(output.shape) }], x.shape[longest], most);
  const part = ([p]: readonly Tensor[]): Tensor => reduce(operators()[by], by, p, { axes });
  return inParts([x], longest, count, part, kept.indexOf(longest));
}
function batch({ inputs: [x], attrs: { axes, by } }: BatchContext<ReduceAttrs>): Tensor {
  return reduce(operators()[by], by, x, { axes: axes.map((k) => k + 1) });
}

const sumOp: Op<ReduceAttrs> = {
  name: "sum",
  lowering: { kind: "reduce" },
  vjp: (c, g) => [spread(g, c.inputs[0].shape, c.attrs.axes)],
  jvp: (c, [t]) => sum(t!, { axes: c.attrs.axes }),
  batch,
  split,
};

/** Max and min share their gradient evenly among ties, as PyTorch's amax. */
const extremum = (by: "max" | "min"): Op<ReduceAttrs> => {
  const weight = (x: Tensor, y: Tensor, axes: readonly number[]): Tensor => {
    const mask = cast(equal(x, spread(y, x.shape, axes)), "f32");
    return div(mask, spread(sum(mask, { axes }), x.shape, axes));
  };
  return {
    name: by,
    lowering: { kind: "reduce" },
    vjp: ({ inputs: [x], output, attrs: { axes } }, g) => [mul(spread(g, x.shape, axes), weight(x, output, axes))],
    jvp: ({ inputs: [x], output, attrs: { axes } }, [t]) => sum(mul(t!, weight(x, output, axes)), { axes }),
    batch,
    split,
  };
};
const maxOp = extremum("max");
const minOp = extremum("min");
const argmaxOp: Op<ReduceAttrs> = { name: "argmax", lowering: { kind: "reduce" }, vjp: null, batch, split };

/** The axes to reduce, after checking all arguments. */
export function axesOf(name: string, x: Tensor, options: ReduceOptions, more: readonly string[] = []): number[] {
  checkTensor(name, x);
  checkOptions(name, options, ["axes", "keepDims", ...more]);
  checkFlag(name, "keepDims", options.keepDims);
  return normalizeAxes(name, options.axes, x.rank);
}

function reduce(op: Op<ReduceAttrs>, by: ReduceAttrs["by"], input: Tensor, options: ReduceOptions): Tensor {
  const axes = axesOf(op.name, input, options);
  const x = by === "sum" && input.dtype === "bool" ? cast(input, "i32") : input;
  check(
    by === "sum" || axes.every((k) => x.shape[k] > 0),
    op.name,
    () => `an empty axis of ${show(x.shape)} has no ${by}`,
  );
  check(by === "sum" || x.dtype !== "bool", op.name, () => "bool has no order; cast to i32 first");
  const shape = x.shape.filter((_, k) => !axes.includes(k));
  // An empty sum is 0.
  if (x.size === 0) return scalar(0, by === "argmax" ? "i32" : x.dtype, options.keepDims ? kept(x.shape, axes) : shape);
  // Axes of size 1 are removed by a reshape.
  const y = axes.every((k) => x.shape[k] === 1) && by !== "argmax"
    ? reshape(x, { shape })
    : node(op, [x], { axes, by }, shape, by === "argmax" ? "i32" : x.dtype);
  return options.keepDims ? reshape(y, { shape: kept(x.shape, axes) }) : y;
}

/**
 * Sum over axes, as a tree reduction; bool sums as i32. The sum over an empty axis is 0.
 *
 * @example
 * ```ts
 * import { tensor } from "voxgrad";
 *
 * const x = tensor([[1, 2], [3, 4]]);
 * await x.sum().item(); // 10
 * await x.sum({ axes: [1], keepDims: true }).array(); // [[3], [7]]
 * ```
 */
export const sum: (x: Tensor, options?: ReduceOptions) => Tensor = computeInF32(
  (x, options = {}) => reduce(sumOp, "sum", x, options),
  {
    kind: "sum",
  },
);
/**
 * Maximum over axes; ties share the gradient evenly.
 *
 * @example
 * ```ts
 * import { tensor } from "voxgrad";
 *
 * const x = tensor([[1, 2], [3, 4]]);
 * await x.max({ axes: [0] }).array(); // [3, 4]
 * ```
 */
export const max: (x: Tensor, options?: ReduceOptions) => Tensor = computeInF32(
  (x, options = {}) => reduce(maxOp, "max", x, options),
  {
    kind: "sum",
  },
);
/**
 * Minimum over axes; ties share the gradient evenly.
 *
 * @example
 * ```ts
 * import { tensor } from "voxgrad";
 *
 * const x = tensor([[1, 2], [3, 4]]);
 * await x.min({ axes: [1] }).array(); // [1, 3]
 * ```
 */
export const min: (x: Tensor, options?: ReduceOptions) => Tensor = computeInF32(
  (x, options = {}) => reduce(minOp, "min", x, options),
  {
    kind: "sum",
  },
);

provideSumTo((x, shape) => {
  const lead = x.rank - shape.length;
  const axes = x.shape.map((_, k) => k).filter((k) => k < lead || shape[k - lead] !== x.shape[k]);
  return reshape(axes.length === 0 ? x : sum(x, { axes }), { shape });
});

/** How many elements a reduction joins. */
export const count = (x: Tensor, axes: readonly number[]): number =>
  axes.reduce((product, k) => product * x.shape[k], 1);

/**
 * Mean over axes, in f32.
 *
 * @example
 * ```ts
 * import { tensor } from "voxgrad";
 *
 * const x = tensor([[1, 2], [3, 4]]);
 * await x.mean().item(); // 2.5
 * await x.mean({ axes: [0] }).array(); // [2, 3]
 * ```
 */
export const mean: (x: Tensor, options?: ReduceOptions) => Tensor = computeInF32(
  (x, options = {}) => {
    const n = count(x, axesOf("mean", x, options));
    check(n > 0, "mean", () => `an empty axis of ${show(x.shape)} has no mean`);
    return mul(sum(isFloat(x.dtype) ? x : cast(x, "f32"), options), 1 / n);
  },
  { kind: "sum" },
);

/**
 * Index of the largest value along `axis` (the first of equals), as i32; without an axis, over all elements.
 *
 * @example
 * ```ts
 * import { tensor } from "voxgrad";
 *
 * await tensor([[1, 9, 3], [7, 2, 5]]).argmax({ axis: 1 }).array(); // [1, 0]
 * ```
 */
export const argmax: (x: Tensor, options?: { axis?: number; keepDims?: boolean }) => Tensor = computeInF32(
  (x, options = {}) => {
    checkTensor("argmax", x);
    checkOptions("argmax", options, ["axis", "keepDims"]);
    checkFlag("argmax", "keepDims", options.keepDims);
    if (options.axis === undefined) return reduce(argmaxOp, "argmax", reshape(x, { shape: [x.size] }), {});
    const axis = normalizeAxis("argmax", options.axis, x.rank);
    return reduce(argmaxOp, "argmax", x, { axes: [axis], keepDims: options.keepDims ?? false });
  },
  { kind: "sum" },
);

/**
 * Mean squared deviation over axes, divided by count - correction (default: 1, as PyTorch).
 *
 * @example
 * ```ts
 * import { tensor } from "voxgrad";
 *
 * const x = tensor([1, 2, 3, 4]);
 * await x.variance().item(); // 1.667
 * await x.variance({ correction: 0 }).item(); // 1.25
 * ```
 */
export const variance: (x: Tensor, options?: ReduceOptions & { correction?: number }) => Tensor = computeInF32(
  (x, options = {}) => {
    const axes = axesOf("variance", x, options, ["correction"]);
    const { keepDims, correction = 1 } = options;
    checkNumber("variance", "correction", correction);
    const n = count(x, axes);
    if (n - correction <= 0) fail("variance", `${n} values with correction ${correction} leave no degree of freedom`);
    const deviation = sub(x, mean(x, { axes, keepDims: true }));
    return mul(sum(square(deviation), { axes, keepDims: keepDims ?? false }), 1 / (n - correction));
  },
  { kind: "sum" },
);

const lseOp: Op<{ axes: readonly number[] }> = {
  name: "logSumExp",
  lowering: {
    kind: "composite",
    expand([x], { axes }) {
      const top = stopGradient(max(x, { axes, keepDims: true }));
      const finite = add(log(sum(exp(sub(x, top)), { axes, keepDims: true })), top);
      const shape = x.shape.filter((_, k) => !axes.includes(k));
      // An infinite maximum is the result.
      return reshape(where(isFinite(top), finite, top), { shape });
    },
  },
  // dx = exp(x - y) g, the softmax without another sum;  dy = sum(exp(x - y) t)
  vjp: ({ inputs: [x], output: y, attrs: { axes } }, g) => [
    mul(exp(sub(x, spread(y, x.shape, axes))), spread(g, x.shape, axes)),
  ],
  jvp: ({ inputs: [x], output: y, attrs: { axes } }, [t]) =>
    sum(mul(exp(sub(x, spread(y, x.shape, axes))), t!), { axes }),
  batch: ({ inputs: [x], attrs: { axes } }) => logSumExp(x, { axes: axes.map((k) => k + 1) }),
};

/**
 * log(sum(exp(x))) over axes, without overflow.
 *
 * @example
 * ```ts
 * import { tensor } from "voxgrad";
 *
 * await tensor([1000, 1000]).logSumExp().item(); // 1000.69
 * ```
 */
export const logSumExp: (values: Tensor, options?: ReduceOptions) => Tensor = computeInF32(
  (values, options = {}) => {
    const axes = axesOf("logSumExp", values, options);
    const x = isFloat(values.dtype) ? values : cast(values, "f32");
    check(count(x, axes) > 0, "logSumExp", () => `an empty axis of ${show(x.shape)} has no largest value`);
    const y = node(
      lseOp,
      [x],
      { axes },
      x.shape.filter((_, k) => !axes.includes(k)),
      x.dtype,
    );
    return options.keepDims ? reshape(y, { shape: kept(x.shape, axes) }) : y;
  },
  { kind: "sum" },
);
