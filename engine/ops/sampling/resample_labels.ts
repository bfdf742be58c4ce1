/** resampleLabels: resampling of label maps as in medical imaging pipelines. */
import { check, checkOptions } from "../../core/errors.ts";
import type { Op } from "../../core/op.ts";
import { type Shape, size } from "../../core/shape.ts";
import { node, type Tensor } from "../../core/tensor.ts";
import { labelHeader, lowerResampleLabels } from "../../../shaders/sampling/resample_labels.wgsl.ts";
import { tensor } from "../elementwise/creation.ts";
import { cast } from "../elementwise/elementwise.ts";
import { reshape } from "../shape/reshape.ts";
import { type LabelAxis, labelPlaces } from "./label_places.ts";
import { checkGrid } from "./resample.ts";

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
