/** Resamples host arrays on the device, in parts if they are too large at once. */
import { VoxgradError } from "../../core/errors.ts";
import { tensor } from "../../ops/elementwise/creation.ts";
import { resampleVolume } from "../../ops/sampling/resample.ts";
import type { SplineOrder } from "../../ops/sampling/resample.ts";
import type { ResamplingPlan } from "../plan/plan.ts";
import { roundHalfEven } from "./sampling.ts";
import { voxelCount } from "../volume/volume.ts";
import type { Triple } from "../volume/volume.ts";

/** Elements of the largest tensor per part: 64 MiB, below the binding limit of any adapter. */
export const PART = 2 ** 24;

/** Size of a grid of `shape` and `spacing` at another spacing, rounded as in nnU-Net (halves to even); at least 1. */
export const resampledShape = (shape: Triple, spacing: Triple, to: Triple): [number, number, number] => {
  const along = (k: 0 | 1 | 2): number => Math.max(1, roundHalfEven((spacing[k] / to[k]) * shape[k]));
  return [along(0), along(1), along(2)];
};

/**
 * The axis, if any, that is resampled separately by nnU-Net's rule: the one of the largest spacing, if that is more
 * than `anisotropy` times the smallest, in the source grid or else in the target grid. None if two axes share the
 * largest spacing.
 */
export function separateAxis(spacing: Triple, to: Triple, anisotropy: number): 0 | 1 | 2 | undefined {
  const uneven = (s: Triple): boolean => Math.max(...s) / Math.min(...s) > anisotropy;
  const coarse = uneven(spacing) ? spacing : uneven(to) ? to : undefined;
  if (!coarse) return undefined;
  const axes = ([0, 1, 2] as const).filter((k) => coarse[k] === Math.max(...coarse));
  return axes.length === 1 ? axes[0] : undefined;
}

/** The order along each axis: `order`, and `plan.separateAxis` along the separate axis. */
export function resamplingOrders(
  order: SplineOrder,
  plan: ResamplingPlan,
  spacing: Triple,
  to: Triple,
): [SplineOrder, SplineOrder, SplineOrder] {
  const apart = separateAxis(spacing, to, plan.anisotropy);
  const along = (k: number): SplineOrder => (k === apart ? plan.separateAxis : order);
  return [along(0), along(1), along(2)];
}

/**
 * Channels of voxels [C, D, H, W] on another grid: `resampleVolume` for any size. A channel that is too large at once
 * is resampled in slabs of slices and then in columns, which is equivalent because the axes are separable.
 *
 * @param data channels one after the other; not changed, and returned itself if the grid does not change
 * @param options.shape [D, H, W]
 * @param options.size target [D, H, W]
 * @param options.order one order along each axis, all alike but for one axis of order 0 or 1; see `resamplingOrders`
 * @param options.part elements of the largest tensor on the device; default 2^24
 */
export async function resampleArray(
  data: Float32Array<ArrayBuffer>,
  options: { channels: number; shape: Triple; size: Triple; order: readonly SplineOrder[]; part?: number },
): Promise<Float32Array<ArrayBuffer>> {
  const { channels, shape, size, order, part = PART } = options;
  const count = voxelCount(shape);
  if (data.length !== channels * count) {
    throw new VoxgradError(`resampleArray: got ${data.length} values, wanted ${channels} x ${shape.join(" x ")}`);
  }
  const kinds = new Set(order);
  if (order.length !== 3 || kinds.size > 2 || (kinds.size === 2 && order.filter((n) => n === 3).length === 1)) {
    throw new VoxgradError(
      `resampleArray: orders ${order.join(", ")}; wanted three alike, or two of 3 and one of 0 or 1`,
    );
  }
  if (shape.every((n, k) => n === size[k])) return data;
  const out = new Float32Array(channels * voxelCount(size));
  for (let c = 0; c < channels; c++) {
    const channel = data.subarray(c * count, (c + 1) * count);
    out.set(await resampleChannel(channel, { ...options, part }), c * voxelCount(size));
  }
  return out;
}

/** Without clipping, whose kernels depend on the sizes: every scan would have to compile its own. */
async function onDevice(
  data: Float32Array<ArrayBuffer>,
  shape: readonly number[],
  options: { size: readonly number[]; order: readonly SplineOrder[] },
): Promise<Float32Array<ArrayBuffer>> {
  using x = tensor(data, { shape });
  using y = resampleVolume(x, { ...options, clip: false });
  return (await y.data()) as Float32Array<ArrayBuffer>;
}

/** Clips values to the range of others. */
function clip(values: Float32Array, within: Float32Array): void {
  let [low, high] = [Infinity, -Infinity];
  for (const value of within) {
    if (value < low) low = value;
    if (value > high) high = value;
  }
  for (let i = 0; i < values.length; i++) {
    if (values[i] < low) values[i] = low;
    else if (values[i] > high) values[i] = high;
  }
}

async function resampleChannel(
  data: Float32Array<ArrayBuffer>,
  options: { shape: Triple; size: Triple; order: readonly SplineOrder[]; part: number },
): Promise<Float32Array<ArrayBuffer>> {
  const { shape, size, order, part } = options;
  const apart = [0, 1, 2].find((k) => order.filter((n) => n === order[k]).length === 1);
  const cubic = order.includes(3);
  const whole = [0, 1, 2].reduce((n, k) => n * Math.max(shape[k], size[k]), 1) <= part;
  if (whole && (apart === undefined || !cubic)) {
    const out = await onDevice(data, shape, { size, order });
    if (cubic) clip(out, data);
    return out;
  }
  // The separate axis comes first, so that slices are contiguous in memory.
  if (apart !== undefined && apart !== 0) {
    const axes = [apart, ...[0, 1, 2].filter((k) => k !== apart)];
    const turned = <T>(list: readonly T[]): [T, T, T] => [list[axes[0]]!, list[axes[1]]!, list[axes[2]]!];
    const moved = transposed(data, shape, axes);
    const out = await resampleChannel(moved, { shape: turned(shape), size: turned(size), order: turned(order), part });
    return transposed(
      out,
      turned(size),
      [0, 1, 2].map((k) => axes.indexOf(k)),
    );
  }

  // Planes first, by slabs of slices. Values are clipped to the range of their slice if the first axis is separate.
  const [D, H, W] = shape;
  const [d, h, w] = size;
  const slices = Math.max(1, Math.floor(part / (Math.max(H, h) * Math.max(W, w))));
  const planes = new Float32Array(D * h * w);
  for (let z = 0; z < D; z += slices) {
    const n = Math.min(slices, D - z);
    const slab = data.subarray(z * H * W, (z + n) * H * W);
    planes.set(await onDevice(slab, [n, H, W], { size: [h, w], order: [order[1], order[2]] }), z * h * w);
  }
  for (let z = 0; cubic && order[0] !== 3 && z < D; z++) {
    clip(planes.subarray(z * h * w, (z + 1) * h * w), data.subarray(z * H * W, (z + 1) * H * W));
  }
  // Then the first axis, by strips of columns.
  const out = d === D ? planes : new Float32Array(d * h * w);
  const columns = Math.max(1, Math.floor(part / Math.max(D, d)));
  for (let from = 0; d !== D && from < h * w; from += columns) {
    const n = Math.min(columns, h * w - from);
    let strip = planes;
    if (n < h * w) {
      strip = new Float32Array(D * n);
      for (let z = 0; z < D; z++) strip.set(planes.subarray(z * h * w + from, z * h * w + from + n), z * n);
    }
    // The other axis of a strip is unchanged, whatever its order.
    const got = await onDevice(strip, [D, n], { size: [d, n], order: [order[0], 1] });
    for (let z = 0; z < d; z++) out.set(got.subarray(z * n, (z + 1) * n), z * h * w + from);
  }
  if (order[0] === 3) clip(out, data);
  return out;
}

/** The values with their axes in another order: axis k of the result is axis axes[k]. */
function transposed(data: Float32Array, shape: readonly number[], axes: readonly number[]): Float32Array<ArrayBuffer> {
  const strides = [shape[1] * shape[2], shape[2], 1];
  const [n0, n1, n2] = [shape[axes[0]], shape[axes[1]], shape[axes[2]]];
  const [s0, s1, s2] = [strides[axes[0]], strides[axes[1]], strides[axes[2]]];
  const out = new Float32Array(data.length);
  let to = 0;
  for (let i = 0; i < n0; i++) {
    for (let j = 0; j < n1; j++) {
      for (let k = 0, at = i * s0 + j * s1; k < n2; k++, at += s2) out[to++] = data[at];
    }
  }
  return out;
}
