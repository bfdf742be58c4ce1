/** Arrays on the host resampled on the device, in parts where they are too large for one go. */
import { VoxgradError } from "../core/errors.ts";
import { tensor } from "../ops/creation.ts";
import { labelPlaces, labelsAt, resampleVolume } from "../ops/resample.ts";
import type { SplineOrder } from "../ops/resample.ts";
import type { ResamplingPlan } from "./plan.ts";
import { roundHalfEven } from "./sampling.ts";
import { voxelCount } from "./volume.ts";
import type { Triple } from "./volume.ts";

/** Elements of the largest tensor of one go: 64 MiB, below what any adapter binds. */
const PART = 2 ** 24;

/** Sizes of a grid of `shape` and `spacing` at another spacing, as nnU-Net rounds them (halves to even); at least 1. */
export const resampledShape = (shape: Triple, spacing: Triple, to: Triple): [number, number, number] => {
  const along = (k: 0 | 1 | 2): number => Math.max(1, roundHalfEven((spacing[k] / to[k]) * shape[k]));
  return [along(0), along(1), along(2)];
};

/**
 * Which axis, if any, is resampled apart from the others, by nnU-Net's rule: the one of the largest spacing, where that
 * is more than `anisotropy` times the smallest, of the grid as it is or else of the grid wanted. None where two axes
 * share the largest spacing.
 */
export function separateAxis(spacing: Triple, to: Triple, anisotropy: number): 0 | 1 | 2 | undefined {
  const uneven = (s: Triple): boolean => Math.max(...s) / Math.min(...s) > anisotropy;
  const coarse = uneven(spacing) ? spacing : uneven(to) ? to : undefined;
  if (!coarse) return undefined;
  const axes = ([0, 1, 2] as const).filter((k) => coarse[k] === Math.max(...coarse));
  return axes.length === 1 ? axes[0] : undefined;
}

/** The order along each axis: `order`, and `plan.separateAxis` along the axis that is taken apart. */
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
 * Channels of voxels [C, D, H, W] on another grid: `resampleVolume` for any size. A channel that is too large for one go
 * is taken through slabs of slices and then through columns of them, which is the same as the axes are separate.
 *
 * @param data channels one after the other; not changed, and returned itself where the grid stays
 * @param options.shape [D, H, W]
 * @param options.size wanted [D, H, W]
 * @param options.order one order along each axis, all alike but for one axis of order 0 or 1; see `resamplingOrders`
 * @param options.part elements of the largest tensor on the device; default 2^24
 * @example const out = await resampleArray(voxels, { channels: 1, shape: [400, 512, 512], size: [267, 273, 273], order: [3, 3, 3] });
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

async function onDevice(
  data: Float32Array<ArrayBuffer>,
  shape: readonly number[],
  options: { size: readonly number[]; order: readonly SplineOrder[]; clip: boolean },
): Promise<Float32Array> {
  using x = tensor(data, { shape });
  using y = resampleVolume(x, options);
  return (await y.data()) as Float32Array;
}

async function resampleChannel(
  data: Float32Array<ArrayBuffer>,
  options: { shape: Triple; size: Triple; order: readonly SplineOrder[]; part: number },
): Promise<Float32Array> {
  const { shape, size, order, part } = options;
  const [D, H, W] = shape;
  const [d, h, w] = size;
  const whole = Math.max(D, d) * Math.max(H, h) * Math.max(W, w);
  if (whole <= part) return onDevice(data, shape, { size, order, clip: true });

  // The axis that is taken apart comes first, so that slices lie whole in memory.
  const apart = [0, 1, 2].find((k) => order.filter((n) => n === order[k]).length === 1) ?? 0;
  if (apart !== 0) {
    const axes = [apart, ...[0, 1, 2].filter((k) => k !== apart)];
    const turned = <T>(list: readonly T[]): [T, T, T] => [list[axes[0]!]!, list[axes[1]!]!, list[axes[2]!]!];
    const moved = transposed(data, shape, axes);
    const out = await resampleChannel(moved, { shape: turned(shape), size: turned(size), order: turned(order), part });
    return transposed(
      out,
      turned(size),
      [0, 1, 2].map((k) => axes.indexOf(k)),
    );
  }
  // Planes first. Where the third axis is cubic too, values are clipped to the range of all of them, at the end.
  const joint = order[0] === 3;
  const slices = Math.max(1, Math.floor(part / (Math.max(H, h) * Math.max(W, w))));
  const planes = new Float32Array(D * h * w);
  for (let z = 0; z < D; z += slices) {
    const n = Math.min(slices, D - z);
    const slab = data.subarray(z * H * W, (z + n) * H * W);
    const plane = { size: [h, w], order: [order[1]!, order[2]!], clip: !joint };
    planes.set(await onDevice(slab, [n, H, W], plane), z * h * w);
  }
  const out = d === D ? planes : new Float32Array(d * h * w);
  const columns = Math.max(1, Math.floor(part / Math.max(D, d)));
  for (let from = 0; d !== D && from < h * w; from += columns) {
    const n = Math.min(columns, h * w - from);
    const strip = new Float32Array(D * n);
    for (let z = 0; z < D; z++) strip.set(planes.subarray(z * h * w + from, z * h * w + from + n), z * n);
    // The axis of the strip's columns stays, whatever its order.
    const got = await onDevice(strip, [D, n], { size: [d, n], order: [order[0]!, 1], clip: false });
    for (let z = 0; z < d; z++) out.set(got.subarray(z * n, (z + 1) * n), z * h * w + from);
  }
  if (joint) {
    let [low, high] = [Infinity, -Infinity];
    for (const value of data) {
      if (value < low) low = value;
      if (value > high) high = value;
    }
    for (let i = 0; i < out.length; i++) out[i] = Math.min(high, Math.max(low, out[i]!));
  }
  return out;
}

/** The values with their axes in another order: axis k of the result is axis axes[k]. */
function transposed(data: Float32Array, shape: readonly number[], axes: readonly number[]): Float32Array<ArrayBuffer> {
  const strides = [shape[1]! * shape[2]!, shape[2]!, 1];
  const [n0, n1, n2] = [shape[axes[0]!]!, shape[axes[1]!]!, shape[axes[2]!]!];
  const [s0, s1, s2] = [strides[axes[0]!]!, strides[axes[1]!]!, strides[axes[2]!]!];
  const out = new Float32Array(data.length);
  let to = 0;
  for (let i = 0; i < n0; i++) {
    for (let j = 0; j < n1; j++) {
      for (let k = 0, at = i * s0 + j * s1; k < n2; k++, at += s2) out[to++] = data[at]!;
    }
  }
  return out;
}

/**
 * Labels [D, H, W] of 0 to 255 on another grid: `resampleLabels` for any size, by slabs of the result.
 *
 * @param options.order 0 or 1 along each axis
 * @param options.part elements of the largest tensor on the device; default 2^24
 * @example const out = await resampleLabelArray(label, { shape: [20, 64, 64], size: [40, 64, 64], order: [0, 1, 1] });
 */
export async function resampleLabelArray(
  data: Uint8Array<ArrayBuffer>,
  options: { shape: Triple; size: Triple; order: readonly SplineOrder[]; part?: number },
): Promise<Uint8Array<ArrayBuffer>> {
  const { shape, size, order, part = PART } = options;
  if (data.length !== voxelCount(shape)) {
    throw new VoxgradError(`resampleLabelArray: got ${data.length} values, wanted ${shape.join(" x ")}`);
  }
  if (shape.every((n, k) => n === size[k])) return data;
  const wrong = order.find((n) => n !== 0 && n !== 1);
  if (wrong !== undefined) throw new VoxgradError(`resampleLabelArray: order ${wrong}; labels take 0 or 1`);
  const axes = [0, 1, 2].map((k) => labelPlaces(shape[k]!, size[k]!, order[k] as 0 | 1));
  const [D, H, W] = shape;
  const plane = size[1] * size[2];
  const slices = Math.max(1, Math.floor(part / (Math.max(H * W, plane) * Math.max(1, Math.ceil(D / size[0])))) - 1);
  const out = new Uint8Array(size[0] * plane);
  for (let z = 0; z < size[0]; z += slices) {
    const n = Math.min(slices, size[0] - z);
    const place = axes[0]!.place.subarray(z, z + n);
    const first = place[0]!;
    const last = Math.min(D - 1, place[n - 1]! + 1);
    const slab = Int32Array.from(data.subarray(first * H * W, (last + 1) * H * W));
    using x = tensor(slab, { shape: [last + 1 - first, H, W] });
    const own = { place: place.map((p) => p - first), part: axes[0]!.part.slice(z, z + n) };
    using y = labelsAt(x, [own, axes[1]!, axes[2]!]);
    out.set((await y.data()) as Int32Array, z * plane);
  }
  return out;
}
