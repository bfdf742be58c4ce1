/** resampleVolume and resampleLabels: resampling of scans and label maps as in medical imaging pipelines. */
import { check, checkFlag, checkOptions, show } from "../../core/errors.ts";
import type { Op } from "../../core/op.ts";
import { checkShape, type Shape, size } from "../../core/shape.ts";
import { node, Tensor } from "../../core/tensor.ts";
import { bandHeader, lowerBandAxis } from "../../../shaders/sampling/band_axis.wgsl.ts";
import { labelHeader, lowerResampleLabels } from "../../../shaders/sampling/resample_labels.wgsl.ts";
import { tensor } from "../elementwise/creation.ts";
import { cast, maximum, minimum } from "../elementwise/elementwise.ts";
import { computeInF32 } from "../promote_f16.ts";
import { inParts, partsFor } from "../split.ts";
import { max, min } from "../reduce/reduce.ts";
import { reshape } from "../shape/reshape.ts";
import { bandOf } from "./resample_band.ts";
import type { BandAttrs, SplineOrder } from "./resample_band.ts";

export type { SplineOrder } from "./resample_band.ts";

interface AxisAttrs extends BandAttrs {
  readonly axis: number;
  readonly rows: 1 | 4;
  readonly span: number;
}

// Linear in x: the vjp is the adjoint, the jvp the operator itself.
const op: Op<AxisAttrs> = {
  name: "resampleVolume",
  lowering: {
    kind: "kernel",
    lower([x], output, { axis, rows, span }, target) {
      const [outer, inner] = [size(x.shape.slice(0, axis)), size(x.shape.slice(axis + 1))];
      return lowerBandAxis({ outer, inner, from: x.shape[axis], to: output.shape[axis], rows, span }, target);
    },
  },
  vjp: (c, g) => [along(g, c.attrs.axis, { ...c.attrs, transposed: !c.attrs.transposed }), null, null],
  jvp: (c, [t]) => along(t!, c.attrs.axis, c.attrs),
  batch: (c) => along(c.inputs[0], c.attrs.axis + 1, c.attrs),
  split([x, , weights], output, attrs, most) {
    check(
      weights.size <= most,
      "resampleVolume",
      () => `the weights of an axis take ${4 * weights.size} bytes, the adapter binds ${4 * most}; use a smaller size`,
    );
    const others = x.shape.map((_, k) => k).filter((k) => k !== attrs.axis);
    const longest = others.reduce((a, b) => (x.shape[a] >= x.shape[b] ? a : b), others[0] ?? attrs.axis);
    const length = longest === attrs.axis ? 1 : x.shape[longest];
    const count = partsFor("resampleVolume", [x, { size: size(output.shape) }], length, most);
    return inParts([x], longest, count, ([part]) => along(part, attrs.axis, attrs));
  },
};

function along(x: Tensor, axis: number, { order, inputSize, outputSize, transposed }: BandAttrs): Tensor {
  const attrs: BandAttrs = { order, inputSize, outputSize, transposed };
  const { rows, span, first, weights } = bandOf(attrs);
  const to = transposed ? inputSize : outputSize;
  const [outer, inner] = [size(x.shape.slice(0, axis)), size(x.shape.slice(axis + 1))];
  const header = bandHeader({ outer, inner, from: x.shape[axis], to, rows, span });
  const table = Int32Array.from([...header, ...first]);
  const shape = x.shape.map((n, k) => (k === axis ? to : n));
  return node(op, [x, tensor(table), tensor(weights)], { ...attrs, axis, rows, span }, shape, "f32");
}

/** Checks size and order against the last axes of x; returns one order per axis. */
function checkGrid(
  name: string,
  x: Tensor,
  options: { size: readonly number[]; order: number | readonly number[] },
  orders: readonly number[],
): number[] {
  const { size: target, order } = options;
  check(
    Array.isArray(target) &&
      target.length >= 1 &&
      target.length <= 3 &&
      target.every((n) => Number.isInteger(n) && n > 0),
    name,
    () => `size lists one to three integers >= 1, those of the last axes of the result, got ${show(target)}`,
  );
  check(
    x instanceof Tensor && x.rank >= target.length && x.size > 0,
    name,
    () => `the input is a non-empty tensor whose last ${target.length} axes are space, got ${show(x)}`,
  );
  checkShape(name, [...x.shape.slice(0, x.rank - target.length), ...target]);
  const list: readonly number[] = Array.isArray(order) ? order : target.map(() => order as number);
  check(
    list.length === target.length && list.every((n) => orders.includes(n)),
    name,
    () => `order is ${orders.join(" or ")}, or one of them for each of ${target.length} axes, got ${show(order)}`,
  );
  return [...list];
}

/**
 * Resamples the last axes of x to `size` by B-spline interpolation: half-pixel centers (the extents of both grids are
 * aligned), with border voxels extended. Matches skimage.transform.resize(mode="edge", anti_aliasing=False) of each
 * image over those axes, and so nnU-Net.
 *
 * @param x f32, [..., D, H, W] for a size of three, [..., H, W] for two
 * @param options.size size of the last axes of the result
 * @param options.order 0 (nearest), 1 (linear) or 3 (cubic), or one per axis: [0, 3, 3] interpolates only within
 *   slices
 * @param options.clip clip cubic results to the range of the voxels over the axes of order 3; default: true
 * @returns f32 [..., ...size]. With order 1 and 3, NaN and infinity affect voxels some distance away
 * @throws VoxgradError for other shapes, sizes and orders
 * @example
 * ```ts
 * import { random, resampleVolume } from "voxgrad";
 *
 * const image = random.normal(random.key(0), { shape: [1, 6, 20, 20] });
 * const isotropic = resampleVolume(image, { size: [18, 20, 20], order: 3 }); // [1, 18, 20, 20]
 * ```
 */
export const resampleVolume: (
  x: Tensor,
  options: { size: readonly number[]; order: SplineOrder | readonly SplineOrder[]; clip?: boolean },
) => Tensor = computeInF32(
  (x, options) => {
    const name = "resampleVolume";
    checkOptions(name, options, ["size", "order", "clip"]);
    checkFlag(name, "clip", options.clip);
    const orders = checkGrid(name, x, options, [0, 1, 3]) as SplineOrder[];
    check(x.dtype === "f32", name, () => `the image is f32 or f16, got ${x}; cast it, or use resampleLabels`);
    const target = options.size;
    const lead = x.rank - target.length;
    const apply = (y: Tensor, axes: readonly number[]): Tensor => {
      // Shrinking axes first keeps the intermediate tensors small.
      const ratio = (k: number): number => target[k] / x.shape[lead + k];
      return [...axes]
        .sort((a, b) => ratio(a) - ratio(b))
        .reduce((z, k) => {
          const [inputSize, outputSize] = [x.shape[lead + k], target[k]];
          if (inputSize === outputSize) return z;
          return along(z, lead + k, { order: orders[k], inputSize, outputSize, transposed: false });
        }, y);
    };
    const axes = target.map((_, k) => k);
    const smooth = axes.filter((k) => orders[k] === 3);
    let y = apply(x, smooth);
    if ((options.clip ?? true) && y !== x) {
      const over = { axes: smooth.map((k) => lead + k), keepDims: true };
      y = minimum(maximum(y, min(x, over)), max(x, over));
    }
    return apply(
      y,
      axes.filter((k) => orders[k] !== 3),
    );
  },
);

interface LabelAttrs {
  readonly axes: readonly LabelAxis[];
}

const labelOp: Op<LabelAttrs> = {
  name: "resampleLabels",
  lowering: {
    kind: "kernel",
    lower([x], output, _, target) {
      return lowerResampleLabels(labelSizes(x.shape, output.shape), target);
    },
  },
  vjp: null,
  jvp: null,
  batch: (c) => labelsAt(c.full(0), c.attrs.axes),
};

type Triple = readonly [number, number, number];

const labelSizes = (from: Shape, to: Shape) => ({
  outer: size(from.slice(0, -3)),
  from: from.slice(-3) as unknown as Triple,
  to: to.slice(-3) as unknown as Triple,
});

/** Interpolation of an axis of `from` voxels at `to` positions, of which `count` from `start` on are computed. */
export interface LabelAxis {
  readonly from: number;
  readonly to: number;
  readonly order: 0 | 1;
  readonly start: number;
  readonly count: number;
  /** The index of the tensor's first voxel. */
  readonly origin: number;
}

/** For each position along a whole axis, the voxel below it and the fraction to the next. */
export function labelPlaces({ from, to, order }: Pick<LabelAxis, "from" | "to" | "order">): {
  place: Int32Array;
  part: Float32Array;
} {
  const place = new Int32Array(to);
  const part = new Float32Array(to);
  for (let i = 0; i < to; i++) {
    const at = (i + 0.5) * (from / to) - 0.5;
    place[i] = Math.min(from - 1, Math.max(0, Math.floor(order === 0 ? at + 0.5 : at)));
    part[i] = order === 0 || from === 1 ? 0 : Math.min(1, Math.max(0, at - place[i]));
  }
  return { place, part };
}

/** Labels i32 [..., D, H, W] at the requested positions of each axis. */
export function labelsAt(x: Tensor, axes: readonly LabelAxis[]): Tensor {
  const shape = [...x.shape.slice(0, -3), ...axes.map((axis) => axis.count)];
  const table = [...labelHeader(labelSizes(x.shape, shape))];
  const parts: number[] = [];
  for (const axis of axes) {
    const { place, part } = labelPlaces(axis);
    for (let i = axis.start; i < axis.start + axis.count; i++) {
      table.push(place[i] - axis.origin);
      parts.push(part[i]);
    }
  }
  return node(labelOp, [x, tensor(Int32Array.from(table)), tensor(Float32Array.from(parts))], { axes }, shape, "i32");
}

/**
 * Resamples the last axes of a label map to `size`, as nnU-Net does (batchgenerators' resize_segmentation):
 * interpolates each label's mask linearly and assigns the label where it reaches one half. If two labels both have one
 * half, the higher wins; where none reaches it, for example where three meet, the result is 0. Masks are not stored,
 * so any number of labels takes one pass. Not differentiable.
 *
 * @param x i32, u32 or bool, [..., D, H, W] for a size of three, [..., H, W] for two; values may be negative
 * @param options.size size of the last axes of the result
 * @param options.order 1 (linear, as above) or 0 (nearest voxel), or one per axis: [0, 1, 1] interpolates only within
 *   slices
 * @returns i32 [..., ...size]
 * @throws VoxgradError for other shapes, dtypes, sizes and orders
 * @example
 * ```ts
 * import { resampleLabels, tensor } from "voxgrad";
 *
 * const coarse = tensor(new Int32Array(4 * 8 * 8).fill(1), { shape: [4, 8, 8] });
 * const fine = resampleLabels(coarse, { size: [12, 16, 16], order: 1 }); // i32 [12, 16, 16]
 * ```
 */
export function resampleLabels(
  x: Tensor,
  options: { size: readonly number[]; order: 0 | 1 | readonly (0 | 1)[] },
): Tensor {
  const name = "resampleLabels";
  checkOptions(name, options, ["size", "order"]);
  const orders = checkGrid(name, x, options, [0, 1]) as (0 | 1)[];
  check(x.dtype !== "f32" && x.dtype !== "f16", name, () => `labels are i32, u32 or bool, got ${x}; cast them`);
  const lead = x.rank - options.size.length;
  const to = [...options.size.map(() => 1), ...options.size].slice(-3);
  while (to.length < 3) to.unshift(1);
  const space = x.shape.slice(lead);
  while (space.length < 3) space.unshift(1);
  while (orders.length < 3) orders.unshift(0);
  const axes = [0, 1, 2].map((k): LabelAxis => ({
    from: space[k],
    to: to[k],
    order: orders[k],
    start: 0,
    count: to[k],
    origin: 0,
  }));
  const outer = x.shape.slice(0, lead);
  const y = labelsAt(reshape(x.dtype === "i32" ? x : cast(x, "i32"), { shape: [...outer, ...space] }), axes);
  return reshape(y, { shape: [...outer, ...options.size] });
}
