/**
 * ALPNet's few-shot segmentation (Ouyang et al., "Self-supervision with superpixels: training few-shot medical image
 * segmentation without annotation", 2020): classes that the network has never seen are segmented by their similarity to
 * labeled images. No function here has parameters; features come from any network, such as `encoder`.
 *
 * Supports are S images [S, C, H, W] with label maps [S, h, w]: 0 is the background, 1 to `ways` the classes. An image
 * may show one class, several or none, and a class may be in one image (1-shot) or several. Any other value, such as
 * 255, is neither class nor background, like the classes of the other ways in the official code.
 */
import {
  arange,
  argmax,
  cast,
  check,
  checkOptions,
  crossEntropy,
  equal,
  expandDims,
  greaterEqual,
  lessEqual,
  logicalAnd,
  max,
  maximum,
  resize,
  show,
  slice,
  softplus,
  squeeze,
  stack,
  stopGradient,
  sum,
  Tensor,
  where,
  zeros,
} from "../../engine/mod.ts";
import { type PrototypeMode, type PrototypeOptions, type Prototypes, prototypes, similarity } from "./prototypes.ts";
import type { SimilarityOptions } from "./prototypes.ts";
export { encoder } from "./encoder.ts";
export type { Encoder, EncoderConfig, ResolvedEncoder } from "./encoder.ts";
export { prototypes, prototypeSimilarity, similarity } from "./prototypes.ts";
export type {
  PrototypeMode,
  PrototypeOptions,
  Prototypes,
  PrototypeSimilarityOptions,
  SimilarityOptions,
} from "./prototypes.ts";
export type { PlaceOptions } from "./place.ts";

export interface ClassPrototypeOptions extends Pick<PrototypeOptions, "window" | "threshold" | "frames"> {
  /** Number of foreground classes; default 1. */
  readonly ways?: number;
  /** Prototypes of the classes; default "gridconv+"; "mask" for PANet. */
  readonly foreground?: PrototypeMode;
  /** Prototypes of the background; default "gridconv"; "mask" for PANet. */
  readonly background?: PrototypeMode;
  /**
   * Which windows are background. Default "code": those with more than the threshold of background, as for a class;
   * windows of several classes are dropped. "paper": those in which classes (and unlabeled pixels) have less than the
   * threshold; a share equal to the threshold counts as class (Eq. 2).
   */
  readonly rule?: "code" | "paper";
  /**
   * A class has local prototypes only if it contains some square with this edge in pixels of the feature map. Default:
   * the window, so that every window in the class counts; 4 in the official code, whatever the window. Not of the rule
   * "paper", which asks for none.
   */
  readonly probe?: number;
}

export interface FewShotOptions extends ClassPrototypeOptions {
  /** alpha of Eq. 4; default 20. */
  readonly temperature?: number;
}

const KEYS = ["ways", "foreground", "background", "rule", "window", "threshold", "probe", "frames"];

const isFeatures = (x: unknown): x is Tensor => x instanceof Tensor && x.rank === 4 && x.size > 0;
const isLabels = (x: unknown): x is Tensor =>
  x instanceof Tensor && x.rank === 3 && (x.dtype === "i32" || x.dtype === "u32");

function checkPair(name: string, what: string, features: unknown, labels: unknown): void {
  check(isFeatures(features), name, () => `${what} features are [N, C, H, W], got ${show(features)}`);
  check(
    isLabels(labels) && labels.shape[0] === (features as Tensor).shape[0],
    name,
    () => `${what} labels are i32 or u32 [${(features as Tensor).shape[0]}, height, width], got ${show(labels)}`,
  );
}

function waysOf(name: string, ways: number | undefined = 1): number {
  check(Number.isInteger(ways) && ways >= 1, name, () => `ways is an integer >= 1, got ${show(ways)}`);
  return ways;
}

/** Bilinear interpolation between pixel centers, as in the official code for masks and scores. */
const scaleTo = (x: Tensor, size: readonly number[]): Tensor => resize(x, { size, mode: "linear" });

/**
 * The prototypes of the background and of each class in S labeled images. Labels are resized to the features' size as
 * masks, by bilinear interpolation.
 *
 * @param support features [S, C, H, W]
 * @param labels i32 or u32 [S, h, w] of any size
 * @returns the background's, then those of class 1 to `ways`
 * @throws VoxgradError for inconsistent shapes, or an option out of range
 * @example
 * ```ts
 * import { random, zeros } from "voxgrad";
 * import { alpnet } from "voxgrad/models";
 *
 * const features = random.normal(random.key(0), { shape: [1, 16, 8, 8] });
 * const labels = zeros([1, 64, 64], { dtype: "i32" });
 * const [background, first, second] = alpnet.classPrototypes(features, labels, { ways: 2, window: 2 });
 * ```
 */
export function classPrototypes(support: Tensor, labels: Tensor, options: ClassPrototypeOptions = {}): Prototypes[] {
  const name = "alpnet.classPrototypes";
  checkPair(name, "support", support, labels);
  checkOptions(name, options, KEYS);
  const { foreground = "gridconv+", background = "gridconv", rule = "code", window = 4, threshold = 0.95 } = options;
  check(rule === "code" || rule === "paper", name, () => `rule is "code" or "paper", got ${show(rule)}`);
  check(threshold >= 0 && threshold <= 1, name, () => `threshold is a number from 0 to 1, got ${show(threshold)}`);
  const values = arange(waysOf(name, options.ways) + 1).reshape({ shape: [-1, 1, 1] });
  const masks = scaleTo(
    cast(equal(expandDims(cast(labels, "i32"), { axis: 1 }), values), "f32"),
    support.shape.slice(2),
  );
  const paper = rule === "paper";
  const { probe, frames } = options;
  const framed = frames === undefined ? {} : { frames };
  check(!paper || probe === undefined, name, () => `the rule "paper" asks for no probe, got ${show(probe)}`);
  return Array.from({ length: masks.shape[1] }, (_, k) => {
    const mask = squeeze(slice(masks, { start: [0, k], end: [masks.shape[0], k + 1] }), { axes: [1] });
    const own = paper ? { inclusive: true } : { probe: probe ?? window };
    if (k > 0) return prototypes(support, mask, { mode: foreground, window, threshold, ...framed, ...own });
    // Classes have less than T where the background has more than 1 - T.
    const least = paper ? 1 - threshold : threshold;
    return prototypes(support, mask, { mode: background, window, threshold: least, ...framed });
  });
}

/**
 * Similarity of each pixel to each class: the softmax over axis 1 is Eq. 6.
 *
 * @param query features [N, C, H, W]
 * @param classes from `classPrototypes`, the background's first
 * @param options size: [height, width] of the result, by bilinear interpolation; default that of the features
 * @returns logits [N, 1 + ways, ...size]
 * @example
 * ```ts
 * import { argmax, random, zeros } from "voxgrad";
 * import { alpnet } from "voxgrad/models";
 *
 * const features = random.normal(random.key(0), { shape: [1, 16, 8, 8] });
 * const classes = alpnet.classPrototypes(features, zeros([1, 64, 64], { dtype: "i32" }), { window: 2 });
 * const labels = argmax(alpnet.logits(features, classes, { size: [64, 64] }), { axis: 1 }); // [1, 64, 64]
 * ```
 */
export function logits(
  query: Tensor,
  classes: readonly Prototypes[],
  options: SimilarityOptions & { readonly size?: readonly number[] } = {},
): Tensor {
  const { size, ...own } = options;
  const scores = stack(
    classes.map((one) => similarity(query, one, own)),
    { axis: 1 },
  );
  return size === undefined ? scores : scaleTo(scores, size);
}

/**
 * Segments queries by supports: `classPrototypes` and `logits` in one call. For many queries with the same supports,
 * such as the slices of a scan, compute the prototypes once with `classPrototypes`.
 *
 * @param query features [N, C, H, W]
 * @param support features [S, C, H, W]
 * @param labels i32 or u32 [S, h, w]
 * @returns logits [N, 1 + ways, h, w], at the size of the labels
 * @example
 * ```ts
 * import { random, softmax, zeros } from "voxgrad";
 * import { alpnet } from "voxgrad/models";
 *
 * const [query, support] = random.split(random.key(0)).map((key) => random.normal(key, { shape: [1, 16, 8, 8] }));
 * const labels = zeros([1, 64, 64], { dtype: "i32" });
 * const p = softmax(alpnet.segment(query, support, labels, { ways: 1, window: 2 }), { axis: 1 }); // [1, 2, 64, 64]
 * ```
 */
export function segment(query: Tensor, support: Tensor, labels: Tensor, options: FewShotOptions = {}): Tensor {
  const { temperature = 20, ...own } = options;
  return logits(query, classPrototypes(support, labels, own), { temperature, size: labels.shape.slice(1) });
}

/**
 * Prototypical alignment (Wang et al., "PANet", 2019; Eq. 8): the queries with their predictions become the supports,
 * and should segment the original supports. As in the official code the prediction is the most likely class of each
 * pixel of the feature map, without gradient; each class is separated from the background individually, ignoring other
 * classes; the cross-entropy is unweighted, and averaged over the supports that show the class.
 *
 * @param query features [N, C, H, W]
 * @param support features [S, C, H, W]
 * @param labels of the supports, i32 or u32 [S, h, w]
 * @param scores of the queries, [N, 1 + ways, H, W], from `logits`
 * @returns f32 scalar, 0 if no support shows a class
 * @example
 * ```ts
 * import { random, zeros } from "voxgrad";
 * import { alpnet } from "voxgrad/models";
 *
 * const [query, support] = random.split(random.key(0)).map((key) => random.normal(key, { shape: [1, 16, 8, 8] }));
 * const labels = zeros([1, 64, 64], { dtype: "i32" });
 * const scores = alpnet.logits(query, alpnet.classPrototypes(support, labels, { window: 2 }));
 * const loss = alpnet.alignmentLoss(query, support, labels, scores, { window: 2 });
 * ```
 */
export function alignmentLoss(
  query: Tensor,
  support: Tensor,
  labels: Tensor,
  scores: Tensor,
  options: FewShotOptions = {},
): Tensor {
  const name = "alpnet.alignmentLoss";
  checkPair(name, "support", support, labels);
  const { temperature = 20, ...own } = options;
  const ways = waysOf(name, own.ways);
  check(
    scores instanceof Tensor && scores.rank === 4 && scores.shape[1] === ways + 1,
    name,
    () => `scores are [N, ${ways + 1}, H, W], got ${show(scores)}`,
  );
  const predicted = argmax(stopGradient(scores), { axis: 1 });
  const size = labels.shape.slice(1);
  const backward = logits(support, classPrototypes(query, predicted, own), { temperature, size });
  const of = (k: number, end: number): Tensor => slice(backward, { start: [0, k], end: [labels.shape[0], end] });
  // For two classes, -log softmax is the softplus of the logit difference.
  const lead = of(1, ways + 1).sub(of(0, 1));
  const truth = expandDims(cast(labels, "i32"), { axis: 1 });
  const hit = equal(truth, arange(1, ways + 1).reshape({ shape: [ways, 1, 1] }));
  const zero = equal(truth, 0);
  const space = { axes: [2, 3] };
  const loss = sum(where(hit, softplus(lead.neg()), where(zero, softplus(lead), 0)), space);
  const pixels = sum(hit.cast("f32"), space).add(sum(zero.cast("f32"), space));
  const shows = max(hit.cast("f32"), space);
  return sum(loss.div(maximum(pixels, 1)).mul(shows)).div(maximum(sum(shows), 1));
}

/** An episode: features of its images and their labels. */
export interface Episode {
  /** [N, C, H, W] */
  readonly query: Tensor;
  /** i32 or u32 [N, h, w], values as in the supports. */
  readonly queryLabels: Tensor;
  /** [S, C, H, W] */
  readonly support: Tensor;
  /** i32 or u32 [S, h, w] */
  readonly supportLabels: Tensor;
}

export interface EpisodeLossOptions extends FewShotOptions {
  /** Weights of the background and each class in the cross-entropy; default 0.05 and 1. */
  readonly weights?: readonly number[];
  /** lambda of Eq. 9: weight of the alignment; default 1; with 0 it is not computed. */
  readonly alignment?: number;
}

export interface EpisodeLoss {
  /** f32 scalar: segmentation + lambda alignment (Eq. 9). */
  readonly loss: Tensor;
  /** Eq. 7, weighted as in PyTorch's cross-entropy: divided by the summed weights. */
  readonly segmentation: Tensor;
  /** Eq. 8, or 0. */
  readonly alignment: Tensor;
  /** Of the queries, [N, 1 + ways, h, w]. */
  readonly logits: Tensor;
}

/**
 * The loss of an episode (Eqs. 7 to 9): supports segment queries, and queries supports. Query pixels with labels
 * outside 0 to `ways` are ignored; if all are, the loss is NaN, as in PyTorch.
 *
 * @throws VoxgradError for inconsistent shapes, or an option out of range
 * @example
 * ```ts
 * import { random, zeros } from "voxgrad";
 * import { alpnet } from "voxgrad/models";
 *
 * const [query, support] = random.split(random.key(0)).map((key) => random.normal(key, { shape: [1, 16, 8, 8] }));
 * const labels = zeros([1, 64, 64], { dtype: "i32" });
 * const episode = { query, queryLabels: labels, support, supportLabels: labels };
 * const { loss } = alpnet.episodeLoss(episode, { window: 2 });
 * ```
 */
export function episodeLoss(episode: Episode, options: EpisodeLossOptions = {}): EpisodeLoss {
  const name = "alpnet.episodeLoss";
  const { query, queryLabels, support, supportLabels } = episode;
  checkPair(name, "query", query, queryLabels);
  checkPair(name, "support", support, supportLabels);
  const { weights: given, alignment: lambda = 1, ...own } = options;
  const { temperature = 20, ...pooling } = own;
  const ways = waysOf(name, own.ways);
  const weights = given ?? [0.05, ...new Array<number>(ways).fill(1)];
  check(
    Array.isArray(weights) && weights.length === ways + 1 && weights.every((w) => w >= 0),
    name,
    () => `weights are ${ways + 1} numbers >= 0, the background's first, got ${show(weights)}`,
  );
  check(lambda >= 0, name, () => `alignment is a number >= 0, got ${show(lambda)}`);
  const scores = logits(query, classPrototypes(support, supportLabels, pooling), { temperature });
  const full = scaleTo(scores, queryLabels.shape.slice(1));
  const labels = cast(queryLabels, "i32");
  const counts = logicalAnd(greaterEqual(labels, 0), lessEqual(labels, ways));
  const target = where(counts, labels, -1);
  const segmentation = crossEntropy(full, target, { axis: 1, weight: weights, ignoreIndex: -1 });
  const alignment = lambda > 0 ? alignmentLoss(query, support, supportLabels, scores, own) : zeros([]);
  return {
    loss: lambda > 0 ? segmentation.add(alignment.mul(lambda)) : segmentation,
    segmentation,
    alignment,
    logits: full,
  };
}
