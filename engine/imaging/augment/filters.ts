/** Augmentation by separable filters: Gaussian blur and simulated low resolution. */
import { check, checkOptions, show } from "../../core/errors.ts";
import type { Tensor } from "../../core/tensor.ts";
import { stack } from "../../ops/shape/concat.ts";
import { arange, tensor } from "../../ops/elementwise/creation.ts";
import {
  abs,
  add,
  cast,
  div,
  equal,
  exp,
  floor,
  less,
  logicalAnd,
  maximum,
  minimum,
  mul,
  square,
  sub,
  where,
} from "../../ops/elementwise/elementwise.ts";
import { sum } from "../../ops/reduce/reduce.ts";
import { expandDims, reshape } from "../../ops/shape/reshape.ts";
import { slice } from "../../ops/shape/slice.ts";
import { take } from "../../ops/shape/take.ts";
import { transpose } from "../../ops/shape/transpose.ts";
import { checkBatch, checkChance, draws, over } from "./options.ts";
import type { Batch, BlurOptions, LowResolutionOptions } from "./options.ts";

/**
 * Gaussian blur: a sample with probability p, each of its channels with probability perChannel, with a separate
 * standard deviation along every axis. The kernel is truncated at three times the largest standard deviation, its
 * weights sum to 1, and the image is padded by reflection about its end voxels.
 *
 * @param options nnU-Net's are { p: 0.2, perChannel: 0.5, sigma: [0.5, 1] }
 * @throws VoxgradError for other options
 * @example
 * ```ts
 * import { random } from "voxgrad";
 * import { augment } from "voxgrad/imaging";
 *
 * const image = random.normal(random.key(0), { shape: [2, 1, 16, 16, 16] });
 * const batch = augment.blur(random.key(1), { image }, { p: 0.2, perChannel: 0.5, sigma: [0.5, 1] });
 * ```
 */
export function blur<B extends Batch>(key: Tensor, batch: B, options: BlurOptions): B {
  const name = "augment.blur";
  checkOptions(name, options, ["p", "perChannel", "sigma"]);
  checkBatch(name, batch);
  const { p, perChannel, sigma } = options;
  checkChance(name, options, { sigma });
  check(sigma[0] > 0, name, () => `sigma is above 0, got ${show(sigma)}`);
  if (p === 0) return batch;
  const { image } = batch;
  const [samples, channels, ...space] = image.shape as [number, number, ...number[]];
  const [chance, each, ...widths] = draws(key, [samples, channels], 2 + space.length);
  const active = logicalAnd(less(first(chance), p), less(each, perChannel));
  // Weights [axis, tap, N, C]; for a channel that is not blurred, 1 at the center tap.
  const radius = Math.ceil(3 * sigma[1]);
  const taps = 2 * radius + 1;
  const deviation = expandDims(add(mul(stack(widths), sigma[1] - sigma[0]), sigma[0]), { axis: 1 });
  const distance = reshape(sub(arange(taps), radius), { shape: [1, taps, 1, 1] });
  const bell = exp(mul(square(div(distance, deviation)), -0.5));
  const weights = where(active, div(bell, sum(bell, { axes: [1], keepDims: true })), equal(distance, 0));
  const blurred = space.reduce((x, n, k) => {
    const axis = k + 2;
    const own = slice(weights, { start: [k, 0, 0, 0], end: [k + 1, taps, samples, channels] });
    const behind = transpose(reshape(own, { shape: [taps, samples, channels] }), { axes: [1, 2, 0] });
    const shape = [...x.shape.slice(0, 2), ...space.slice(0, k).map(() => 1), taps, ...space.slice(k).map(() => 1)];
    const around = take(x, reflected(n, radius), { axis });
    return sum(mul(around, reshape(behind, { shape })), { axes: [axis] });
  }, image);
  return { ...batch, image: where(over(active, image), blurred, image) };
}

/** Voxels [taps, n] within `radius` of each, reflected about the end voxels; clamped on short axes. */
function reflected(n: number, radius: number): Tensor {
  const taps = 2 * radius + 1;
  const voxels = Int32Array.from({ length: taps * n }, (_, i) => {
    const place = (i % n) + Math.floor(i / n) - radius;
    return Math.max(0, n - 1 - Math.abs(n - 1 - Math.abs(place)));
  });
  return tensor(voxels, { shape: [taps, n] });
}

/** Broadcasts the draw of the first channel to all channels, for decisions made once per sample. */
const first = (u: Tensor): Tensor => take(u, arange(1), { axis: 1 });

/**
 * Simulated low resolution: the image is downsampled by `scale` (nearest voxel) and interpolated back. Applied to a
 * sample with probability p and to each of its channels with probability perChannel, each with its own scale.
 *
 * @param options nnU-Net's (v2) are { p: 0.25, perChannel: 0.5, scale: [0.5, 1], mode: "linear" }; "cubic" is Keys'
 *   kernel with a = -0.75, as in `resize`
 * @throws VoxgradError for other options
 * @example
 * ```ts
 * import { random } from "voxgrad";
 * import { augment } from "voxgrad/imaging";
 *
 * const image = random.normal(random.key(0), { shape: [2, 1, 16, 16, 16] });
 * const options = { p: 0.25, perChannel: 0.5, scale: [0.5, 1], mode: "linear" } as const;
 * const batch = augment.lowResolution(random.key(1), { image }, options);
 * ```
 */
export function lowResolution<B extends Batch>(key: Tensor, batch: B, options: LowResolutionOptions): B {
  const name = "augment.lowResolution";
  checkOptions(name, options, ["p", "perChannel", "scale", "mode", "inPlane"]);
  checkBatch(name, batch);
  const { p, perChannel, scale, mode, inPlane = false } = options;
  checkChance(name, options, { scale });
  check(scale[0] > 0 && scale[1] <= 1, name, () => `scale is above 0 and at most 1, got ${show(scale)}`);
  check(mode === "linear" || mode === "cubic", name, () => `mode is "linear" or "cubic", got ${show(mode)}`);
  if (p === 0) return batch;
  const { image } = batch;
  const [samples, channels, ...space] = image.shape as [number, number, ...number[]];
  const [chance, each, factor] = draws(key, [samples, channels], 3);
  const active = logicalAnd(less(first(chance), p), less(each, perChannel));
  // All axes in sequence: voxel positions and sizes.
  const axes = space.map((n, k) => ({ n, k })).filter(({ n, k }) => n > 1 && !(inPlane && k === 0));
  if (axes.length === 0) return batch;
  const positions = tensor(Float32Array.from(axes.flatMap(({ n }) => Array.from({ length: n }, (_, i) => i + 0.5))));
  const sizes = tensor(Float32Array.from(axes.flatMap(({ n }) => Array<number>(n).fill(n))));
  const drawn = expandDims(add(mul(factor, scale[1] - scale[0]), scale[0]), { axis: 2 });
  const count = maximum(floor(add(mul(drawn, sizes), 0.5)), 1);
  const place = sub(div(mul(positions, count), sizes), 0.5);
  const { voxels, weights } = tapsOf(mode === "linear" ? maximum(place, 0) : place, count, sizes, mode);
  let [coarse, from] = [image, 0];
  for (const { n, k } of axes) {
    coarse = alongAxis(coarse, k + 2, range(voxels, from, n), range(weights, from, n));
    from += n;
  }
  return { ...batch, image: where(over(active, image), coarse, image) };
}

/** Entries from `start` on along the last axis. */
const range = (t: Tensor, start: number, length: number): Tensor =>
  slice(t, { start: [0, 0, 0, start], end: [...t.shape.slice(0, 3), start + length] });

/** Sums along one axis of x [N, C, ...space] of the voxels [taps, N, C, n], i32, weighted. */
function alongAxis(x: Tensor, axis: number, voxels: Tensor, weights: Tensor): Tensor {
  const stride = x.shape.slice(axis + 1).reduce((a, b) => a * b, 1);
  const [taps, samples, channels, n] = voxels.shape as [number, number, number, number];
  const flat = reshape(x, { shape: [x.size] });
  const along = x.shape.map((_, k) => (k === axis ? n : 1));
  const line = sub(reshape(arange(x.size), { shape: x.shape }), reshape(mul(arange(n), stride), { shape: along }));
  const spread = (t: Tensor): Tensor => reshape(t, { shape: [taps, samples, channels, ...along.slice(2)] });
  return sum(mul(take(flat, add(line, mul(spread(voxels), stride))), spread(weights)), { axes: [0] });
}

/**
 * Interpolation taps [taps, N, C, n] at positions on a coarse grid of `count` voxels: the nearest of the image's `size`
 * voxels, and their weights.
 */
function tapsOf(
  place: Tensor,
  count: Tensor,
  size: Tensor,
  mode: "linear" | "cubic",
): { voxels: Tensor; weights: Tensor } {
  const base = floor(place);
  const t = expandDims(sub(place, base), { axis: 0 });
  const taps = mode === "linear" ? 2 : 4;
  const tap = reshape(arange(taps), { shape: [taps, 1, 1, 1] });
  const inside = maximum(minimum(add(base, sub(tap, taps / 2 - 1)), sub(count, 1)), 0);
  const voxels = minimum(cast(floor(div(mul(add(inside, 0.5), size), count)), "i32"), cast(sub(size, 1), "i32"));
  if (mode === "linear") return { voxels, weights: where(equal(tap, 0), sub(1, t), t) };
  const d = abs(sub(add(t, 1), tap));
  const near = add(mul(mul(sub(mul(d, 1.25), 2.25), d), d), 1);
  const far = mul(mul(sub(d, 1), -0.75), square(sub(d, 2)));
  return { voxels, weights: where(less(d, 1), near, where(less(d, 2), far, 0)) };
}
