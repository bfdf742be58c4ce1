/** Augmentation of intensities: noise, brightness, contrast, gamma. */
import { check, checkOptions, show } from "../../core/errors.ts";
import type { Tensor } from "../../core/tensor.ts";
import { arange } from "../../ops/elementwise/creation.ts";
import {
  add,
  div,
  equal,
  greater,
  less,
  logicalAnd,
  maximum,
  minimum,
  mul,
  neg,
  pow,
  sub,
  where,
} from "../../ops/elementwise/elementwise.ts";
import { columns, moments } from "../../ops/reduce/moments.ts";
import { normal, split } from "../../ops/random/mod.ts";
import { max, mean, min } from "../../ops/reduce/reduce.ts";
import { reshape } from "../../ops/shape/reshape.ts";
import { take } from "../../ops/shape/take.ts";
import { checkBatch, checkChance, draws, over } from "./options.ts";
import type { Batch, FactorOptions, GammaOptions, NoiseOptions, Range } from "./options.ts";

/** Maps uniform numbers u to a factor: below 1 where side < 0.5, else above 1, if the range contains both. */
function aroundOne(side: Tensor, u: Tensor, [low, high]: Range): Tensor {
  const between = (from: number, to: number): Tensor => add(mul(u, to - from), from);
  return low < 1 && high > 1 ? where(less(side, 0.5), between(low, 1), between(1, high)) : between(low, high);
}

/** Space axes of an image. */
const spaceOf = (image: Tensor): number[] => image.shape.map((_, k) => k).slice(2);

/** A factor for each channel, [N, C, 1, ...], above 0; 0 for samples that are left unchanged. */
function factors(key: Tensor, image: Tensor, p: number, range: Range): Tensor {
  const [chance, side, u] = draws(key, image.shape.slice(0, 2), 3);
  return over(where(less(take(chance, arange(1), { axis: 1 }), p), aroundOne(side, u, range), 0), image);
}

/**
 * Adds Gaussian noise of random standard deviation to a sample with probability p; all its channels get the same noise.
 *
 * @param options nnU-Net's are { p: 0.1, deviation: [0, 0.1] } (it calls the range a variance but uses it as a standard
 *   deviation)
 * @throws VoxgradError for other options
 * @example
 * ```ts
 * import { random } from "voxgrad";
 * import { augment } from "voxgrad/imaging";
 *
 * const image = random.normal(random.key(0), { shape: [2, 1, 16, 16, 16] });
 * const batch = augment.noise(random.key(1), { image }, { p: 0.1, deviation: [0, 0.1] });
 * ```
 */
export function noise<B extends Batch>(key: Tensor, batch: B, options: NoiseOptions): B {
  const name = "augment.noise";
  checkOptions(name, options, ["p", "deviation"]);
  checkBatch(name, batch);
  const { p, deviation } = options;
  checkChance(name, options, { deviation });
  check(deviation[0] >= 0, name, () => `deviation is 0 or more, got ${show(deviation)}`);
  if (p === 0) return batch;
  const { image } = batch;
  const [samples, , ...space] = image.shape as [number, number, ...number[]];
  const [own, field] = split(key);
  const [chance, u] = draws(own, [samples], 2);
  const width = over(add(mul(u, deviation[1] - deviation[0]), deviation[0]), image);
  const z = normal(field, { shape: [samples, 1, ...space] });
  return { ...batch, image: where(over(less(chance, p), image), add(image, mul(z, width)), image) };
}

function checkFactor(name: string, options: FactorOptions): void {
  checkChance(name, options, { factor: options.factor });
  check(options.factor[0] > 0, name, () => `factor is above 0, got ${show(options.factor)}`);
}

/**
 * Multiplies each channel of a sample by its own factor, with probability p.
 *
 * @param options nnU-Net's are { p: 0.15, factor: [0.75, 1.25] }
 * @throws VoxgradError for other options
 * @example
 * ```ts
 * import { random } from "voxgrad";
 * import { augment } from "voxgrad/imaging";
 *
 * const image = random.normal(random.key(0), { shape: [2, 1, 16, 16, 16] });
 * const batch = augment.brightness(random.key(1), { image }, { p: 0.15, factor: [0.75, 1.25] });
 * ```
 */
export function brightness<B extends Batch>(key: Tensor, batch: B, options: FactorOptions): B {
  const name = "augment.brightness";
  checkOptions(name, options, ["p", "factor"]);
  checkBatch(name, batch);
  checkFactor(name, options);
  if (options.p === 0) return batch;
  const factor = factors(key, batch.image, options.p, options.factor);
  return { ...batch, image: mul(batch.image, where(equal(factor, 0), 1, factor)) };
}

/**
 * Scales each channel's difference from its mean by its own factor, with probability p; values are clipped to the
 * channel's range.
 *
 * @param options nnU-Net's are { p: 0.15, factor: [0.75, 1.25] }
 * @throws VoxgradError for other options
 * @example
 * ```ts
 * import { random } from "voxgrad";
 * import { augment } from "voxgrad/imaging";
 *
 * const image = random.normal(random.key(0), { shape: [2, 1, 16, 16, 16] });
 * const batch = augment.contrast(random.key(1), { image }, { p: 0.15, factor: [0.75, 1.25] });
 * ```
 */
export function contrast<B extends Batch>(key: Tensor, batch: B, options: FactorOptions): B {
  const name = "augment.contrast";
  checkOptions(name, options, ["p", "factor"]);
  checkBatch(name, batch);
  checkFactor(name, options);
  if (options.p === 0) return batch;
  const { image } = batch;
  const factor = factors(key, image, options.p, options.factor);
  const each = { axes: spaceOf(image), keepDims: true };
  const middle = mean(image, each);
  const spread = add(mul(sub(image, middle), factor), middle);
  const within = minimum(maximum(spread, min(image, each)), max(image, each));
  return { ...batch, image: where(equal(factor, 0), image, within) };
}

/** Standard deviations below this count as 0. */
const LEAST = 1e-7;

/**
 * Raises each channel of a sample, rescaled to 0..1 by its minimum and maximum, to its own power, with probability p;
 * the channel keeps its mean and standard deviation, or with `keep: "range"` its minimum and maximum, so that its
 * brightness changes. A constant channel is unchanged.
 *
 * @param options nnU-Net's are { p: 0.3, gamma: [0.7, 1.5] }, after { p: 0.1, gamma: [0.7, 1.5], invert: true }; those
 *   of SSL-ALPNet's code { p: 1, gamma: [0.5, 1.5], keep: "range" }
 * @throws VoxgradError for other options
 * @example
 * ```ts
 * import { random } from "voxgrad";
 * import { augment } from "voxgrad/imaging";
 *
 * const image = random.normal(random.key(0), { shape: [2, 1, 16, 16, 16] });
 * const batch = augment.gamma(random.key(1), { image }, { p: 0.3, gamma: [0.7, 1.5] });
 * ```
 */
export function gamma<B extends Batch>(key: Tensor, batch: B, options: GammaOptions): B {
  const name = "augment.gamma";
  checkOptions(name, options, ["p", "gamma", "invert", "keep"]);
  checkBatch(name, batch);
  const { p, gamma: range, invert = false, keep = "moments" } = options;
  checkChance(name, options, { gamma: range });
  check(keep === "moments" || keep === "range", name, () => `keep is "moments" or "range", got ${show(keep)}`);
  check(range[0] > 0, name, () => `gamma is above 0, got ${show(range)}`);
  if (p === 0) return batch;
  const { image } = batch;
  const power = factors(key, image, p, range);
  const each = { axes: spaceOf(image), keepDims: true };
  const [low, high] = [min(image, each), max(image, each)];
  const width = sub(high, low);
  // Measured from the end that the power leaves fixed; the minimum of the negative image is the maximum.
  const part = div(invert ? sub(high, image) : sub(image, low), maximum(width, LEAST));
  const raised = mul(pow(minimum(part, 1), power), invert ? neg(width) : width);
  const restored = keep === "range" ? add(raised, invert ? high : low) : withMoments(raised, image);
  return { ...batch, image: where(logicalAnd(greater(power, 0), greater(width, 0)), restored, image) };
}

/** x with the mean and standard deviation of each channel of another image. */
function withMoments(x: Tensor, image: Tensor): Tensor {
  const [before, after] = [statistics(image), statistics(x)];
  return add(mul(sub(x, after.mean), div(after.scale, before.scale)), before.mean);
}

/** Mean and 1 / standard deviation of each channel, [N, C, 1, ...]. */
function statistics(x: Tensor): { mean: Tensor; scale: Tensor } {
  const [samples, channels] = x.shape as [number, number];
  const rows = samples * channels;
  const both = moments(reshape(x, { shape: [rows, x.size / rows] }), { eps: LEAST ** 2 });
  const [middle, scale] = columns(both).map((t) => over(reshape(t, { shape: [samples, channels] }), x));
  return { mean: middle, scale };
}
