/** resampleVolume: resampling of scans as in medical imaging pipelines. */
import { check, checkFlag, checkOptions, show } from "../../core/errors.ts";
import type { Op } from "../../core/op.ts";
import { checkShape, size } from "../../core/shape.ts";
import { node, Tensor } from "../../core/tensor.ts";
import { bandHeader, lowerBandAxis } from "../../../shaders/sampling/band_axis.wgsl.ts";
import { tensor } from "../elementwise/creation.ts";
import { maximum, minimum } from "../elementwise/elementwise.ts";
import { computeInF32 } from "../promote_f16.ts";
import { inParts, partsFor } from "../split.ts";
import { max, min } from "../reduce/reduce.ts";
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
export function checkGrid(
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
