/** CoLab's labels with contexts, and the losses of both networks. */
import {
  avgPool2d,
  avgPool3d,
  check,
  checkOptions,
  concat,
  exp,
  log,
  logSoftmax,
  max,
  maximum,
  maxPool2d,
  maxPool3d,
  minimum,
  show,
  slice,
  softmax,
  sum,
  Tensor,
} from "../../engine/mod.ts";

/** Axes of space of a tensor [N, K, ...space]. */
const spaceOf = (x: Tensor): number[] => x.shape.map((_, k) => k).slice(2);

/**
 * How much the generated context counts at a distance from the ROI (Eq. 8): 1 up to the margin, then falling as
 * exp((margin - distance) / tau).
 *
 * @param distance to the nearest ROI voxel, 0 within, of whole volumes (`distanceTransform`); in voxels as the official
 *   code, or in mm
 * @param options margin and tau in the unit of the distance; the paper takes 30 and 20 voxels, 10 for colon and
 *   pancreas
 * @returns values in (0, 1] of the distance's shape
 * @example
 * ```ts
 * import { distanceTransform, tensor } from "voxgrad";
 * import { colab } from "voxgrad/models";
 *
 * const roi = tensor([[0, 0, 1, 1, 0, 0]]);
 * const mask = colab.softDilatedMask(distanceTransform(roi.equal(0)), { margin: 1, tau: 20 });
 * ```
 */
export function softDilatedMask(distance: Tensor, options: { margin: number; tau: number }): Tensor {
  checkOptions("softDilatedMask", options, ["margin", "tau"]);
  const { margin, tau } = options;
  check(margin >= 0 && tau > 0, "softDilatedMask", () => `margin is >= 0 and tau > 0, got ${margin} and ${tau}`);
  return minimum(exp(distance.cast("f32").mul(-1).add(margin).div(tau)), 1);
}

/** ROI classes as channels, f32 [N, c, ...space]. */
function roiChannels(name: string, roi: Tensor, like: Tensor): Tensor {
  const channels = (roi.rank === like.rank - 1 ? roi.expandDims({ axis: 1 }) : roi).cast("f32");
  const fits = channels.rank === like.rank && channels.shape.every((n, k) => k === 1 || n === like.shape[k]) &&
    channels.shape[1] > 0;
  check(fits, name, () => `the ROI is [N, ...space] or [N, c, ...space] over the voxels of ${like}, got ${roi}`);
  return channels;
}

/**
 * Labels for the segmentation network (Eqs. 5, 6, 9): ROI voxels keep their class; all others take the generator's
 * context, mixed with the first context where the mask fades: M q + (1 - M) b.
 *
 * @param roi 0 or 1, [N, ...space]; with c classes [N, c, ...space]
 * @param q context probabilities [N, t, ...space]
 * @param mask from softDilatedMask, [N, ...space]
 * @returns soft labels [N, c + t, ...space] that add up to 1
 * @example
 * ```ts
 * import { ones, random, softmax, zeros } from "voxgrad";
 * import { colab } from "voxgrad/models";
 *
 * const q = softmax(random.normal(random.key(0), { shape: [1, 2, 8, 8, 8] }), { axis: 1 }); // of a generator
 * const labels = colab.constrainedLabels(zeros([1, 8, 8, 8]), q, ones([1, 8, 8, 8])); // [1, 3, 8, 8, 8]
 * ```
 */
export function constrainedLabels(roi: Tensor, q: Tensor, mask: Tensor): Tensor {
  const rois = roiChannels("constrainedLabels", roi, q);
  const near = roiChannels("constrainedLabels", mask, q);
  check(near.shape[1] === 1, "constrainedLabels", () => `the mask is [N, ...space], got ${mask}`);
  const outside = max(rois, { axes: [1], keepDims: true }).mul(-1).add(1);
  const contexts = q.mul(near);
  const first = slice(contexts, { end: [contexts.shape[0], 1] }).sub(near).add(1);
  const others = slice(contexts, { start: [0, 1] });
  const parts = q.shape[1] === 1 ? [first] : [first, others];
  return concat([rois, ...parts.map((part) => part.mul(outside))], { axis: 1 });
}

export interface SegmentationLossOptions {
  /**
   * Classes that have no Dice term: one, as the far background in the official code, or several, such as all contexts;
   * default: all classes count (paper).
   */
  readonly without?: number | readonly number[];
  /** Dice of a class over the whole batch instead of the mean of the samples'; default false. */
  readonly batch?: boolean;
  /**
   * Squares in the denominator, sum(p^2) + sum(y^2), as V-Net (Milletari et al. 2016), which the paper cites: with soft
   * labels it is least at p = y, where plain sums (default, as the official code) are least at hard p.
   */
  readonly squared?: boolean;
  /** Dice over classes: the mean (default, as the official code), or the sum (Eqs. 2 and 3). */
  readonly reduction?: "mean" | "sum";
  /** Added to numerator and denominator of Dice; default 1e-5. */
  readonly smooth?: number;
}

/**
 * L_seg: cross-entropy with soft labels, mean over voxels, plus 1 - soft Dice, mean over samples (unless `batch`), and
 * mean or sum over classes.
 *
 * @param logits [N, K, ...space]
 * @param labels soft, of the same shape, from constrainedLabels
 * @example
 * ```ts
 * import { ones, random, softmax, zeros } from "voxgrad";
 * import { colab } from "voxgrad/models";
 *
 * const [first, second] = random.split(random.key(0));
 * const q = softmax(random.normal(first, { shape: [1, 2, 8, 8, 8] }), { axis: 1 });
 * const labels = colab.constrainedLabels(zeros([1, 8, 8, 8]), q, ones([1, 8, 8, 8]));
 * const loss = colab.segmentationLoss(random.normal(second, { shape: [1, 3, 8, 8, 8] }), labels, { squared: true });
 * ```
 */
export function segmentationLoss(logits: Tensor, labels: Tensor, options: SegmentationLossOptions = {}): Tensor {
  const name = "segmentationLoss";
  checkOptions(name, options, ["without", "batch", "squared", "reduction", "smooth"]);
  const { without = [], batch = false, squared = false, reduction = "mean", smooth = 1e-5 } = options;
  const same = String(logits.shape) === String(labels.shape);
  check(same, name, () => `logits and labels have one shape, got ${logits} and ${labels}`);
  const [N, K] = logits.shape as [number, number];
  const left = [without].flat();
  check(
    left.every((k) => Number.isInteger(k) && k >= 0 && k < K) && new Set(left).size === left.length && left.length < K,
    name,
    () => `without is a class from 0 to ${K - 1}, or several of them but not all, got ${show(without)}`,
  );
  check(
    reduction === "mean" || reduction === "sum",
    name,
    () => `reduction is "mean" or "sum", got ${show(reduction)}`,
  );
  const logProbability = logSoftmax(logits.cast("f32"), { axis: 1 });
  const entropy = sum(labels.mul(logProbability)).div(-logits.size / K);
  const probability = exp(logProbability);
  const axes = batch ? [0, ...spaceOf(logits)] : spaceOf(logits);
  const both = sum(probability.mul(labels), { axes, keepDims: true });
  const either = sum(squared ? probability.square().add(labels.square()) : probability.add(labels), {
    axes,
    keepDims: true,
  });
  const dice = both.mul(2).add(smooth).div(either.add(smooth)).reshape({ shape: [batch ? 1 : N, K] });
  const last = dice.shape[0];
  const counted = left.reduce(
    (total, k) => total.sub(sum(slice(dice, { start: [0, k], end: [last, k + 1] }))),
    sum(dice),
  );
  const classes = K - left.length;
  return reduction === "sum"
    ? entropy.add(classes).sub(counted.div(last))
    : entropy.add(1).sub(counted.div(last * classes));
}

/**
 * Entropy in nats of the mean context probabilities over the voxels that contexts are taught at: log t where all
 * contexts are used alike, 0 where the generator's labels have collapsed into one.
 *
 * @param q context probabilities [N, t, ...space]
 * @param weights how much each voxel counts, [N, ...space], such as the mask outside the ROI
 * @returns entropy, an f32 scalar, and shares [t] of the contexts
 * @example
 * ```ts
 * import { ones, random, softmax } from "voxgrad";
 * import { colab } from "voxgrad/models";
 *
 * const q = softmax(random.normal(random.key(0), { shape: [1, 4, 8, 8, 8] }), { axis: 1 });
 * const { entropy, shares } = colab.contextUse(q, ones([1, 8, 8, 8]));
 * console.log(await entropy.item(), await shares.array());
 * ```
 */
export function contextUse(q: Tensor, weights: Tensor): { entropy: Tensor; shares: Tensor } {
  const near = roiChannels("contextUse", weights, q);
  const [, t] = q.shape;
  const shares = sum(q.mul(near), { axes: [0, ...spaceOf(q)] })
    .div(sum(near).add(1e-12)).reshape({ shape: [t] });
  return { entropy: sum(shares.mul(log(maximum(shares, 1e-12)))).mul(-1), shares };
}

/** The rest of the range [0, 1] that a probability keeps from its ends. */
const FLOOR = 1e-6;

export interface RoiLossOptions {
  /** "bce": binary cross-entropy, mean over voxels (paper and code); "dice": 1 - soft Dice, mean over samples. */
  readonly loss?: "bce" | "dice";
  /** Of several ROI classes only this one, as for pancreas tumors; default the mean over all. */
  readonly only?: number;
}

/**
 * L_ROI: how well the probability of the ROI classes agrees with the ROI, whatever the contexts.
 *
 * @param logits [N, c + t, ...space], ROI classes first
 * @param roi 0 or 1, [N, ...space] or [N, c, ...space]
 * @example
 * ```ts
 * import { random, zeros } from "voxgrad";
 * import { colab } from "voxgrad/models";
 *
 * const logits = random.normal(random.key(0), { shape: [1, 3, 8, 8, 8] });
 * const loss = colab.roiLoss(logits, zeros([1, 8, 8, 8]));
 * ```
 */
export function roiLoss(logits: Tensor, roi: Tensor, options: RoiLossOptions = {}): Tensor {
  checkOptions("roiLoss", options, ["loss", "only"]);
  const { loss = "bce", only } = options;
  check(loss === "bce" || loss === "dice", "roiLoss", () => `loss is "bce" or "dice", got ${JSON.stringify(loss)}`);
  const rois = roiChannels("roiLoss", roi, logits);
  const [N, c] = rois.shape as [number, number];
  check(c < logits.shape[1], "roiLoss", () => `${c} ROI classes leave no context in ${logits}`);
  check(
    only === undefined || (Number.isInteger(only) && only >= 0 && only < c),
    "roiLoss",
    () => `only is a class from 0 to ${c - 1}, got ${only}`,
  );
  const [from, to] = only === undefined ? [0, c] : [only, only + 1];
  const pick = (x: Tensor): Tensor => slice(x, { start: [0, from], end: [N, to] });
  const p = pick(softmax(logits.cast("f32"), { axis: 1 }));
  const y = pick(rois);
  if (loss === "dice") {
    const axes = spaceOf(p);
    const both = sum(p.mul(y), { axes });
    const either = sum(p.add(y), { axes });
    return both.mul(2).add(1e-5).div(either.add(1e-5)).mean().mul(-1).add(1);
  }
  const kept = p.clamp({ min: FLOOR, max: 1 - FLOOR });
  const outside = y.mul(-1).add(1);
  return y.mul(log(kept)).add(outside.mul(log(kept.mul(-1).add(1)))).mean().mul(-1);
}

/**
 * Labels at the resolution of each output of a deeply supervised network: the ROI from the nearest voxel, q averaged,
 * the mask at its least, as the official code.
 *
 * @param outputs logits, finest first
 * @param parts roi [N, ...space] or [N, c, ...space], q [N, t, ...space], mask [N, ...space], at full resolution
 * @returns soft labels for each output
 */
export function pyramidLabels(
  outputs: readonly Tensor[],
  parts: { roi: Tensor; q: Tensor; mask: Tensor },
): Tensor[] {
  const { roi, q, mask } = parts;
  const rois = roiChannels("pyramidLabels", roi, q);
  const near = roiChannels("pyramidLabels", mask, q);
  return outputs.map((output) => {
    const factors = output.shape.slice(2).map((n, k) => q.shape[k + 2] / n);
    check(factors.every((f) => Number.isInteger(f)), "pyramidLabels", () => `${output} does not divide ${q}`);
    if (factors.every((f) => f === 1)) return constrainedLabels(rois, q, near.squeeze({ axes: [1] }));
    const [pooled, least] = q.rank === 5
      ? [avgPool3d(q, { kernel: factors }), maxPool3d(near.mul(-1), { kernel: factors }).mul(-1)]
      : [avgPool2d(q, { kernel: factors }), maxPool2d(near.mul(-1), { kernel: factors }).mul(-1)];
    const nearest = slice(rois, { start: [0, 0, ...factors.map((f) => Math.floor(f / 2))], step: [1, 1, ...factors] });
    return constrainedLabels(nearest, pooled, least.squeeze({ axes: [1] }));
  });
}
