/**
 * CoLab: context labels by second-order meta-learning (Li et al., "Context label learning: improving background class
 * representations in semantic segmentation", 2022). A task generator splits the background of a segmentation task into
 * t context classes; it is trained so that a step of the segmentation network on its labels lowers the loss of the
 * region of interest (ROI).
 *
 * Order of classes: those of the ROI first, then the contexts. The first context is also the class of the far
 * background. Tensors are [N, K, ...space], of as many axes of space as there are.
 */
import {
  avgPool2d,
  avgPool3d,
  check,
  checkOptions,
  checkpoint,
  concat,
  exp,
  grad,
  hvp,
  jvp,
  log,
  logSoftmax,
  max,
  maxPool2d,
  maxPool3d,
  minimum,
  slice,
  softmax,
  stopGradient,
  sum,
  Tensor,
  tree,
  where,
} from "../../engine/mod.ts";

export { contextsFirst, contextUNet, withoutContexts } from "./network.ts";
export type { ContextUNetConfig } from "./network.ts";

/** A tree of tensors. */
type Tree = any;

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
  /** Class that has no Dice term, as the far background in the official code; default: all count (paper). */
  readonly without?: number;
  /** Dice of a class over the whole batch instead of the mean of the samples'; default false. */
  readonly batch?: boolean;
  /** Added to numerator and denominator of Dice; default 1e-5. */
  readonly smooth?: number;
}

/**
 * L_seg: cross-entropy with soft labels, mean over voxels, plus 1 - soft Dice, mean over samples (unless `batch`) and
 * classes.
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
 * const loss = colab.segmentationLoss(random.normal(second, { shape: [1, 3, 8, 8, 8] }), labels);
 * ```
 */
export function segmentationLoss(logits: Tensor, labels: Tensor, options: SegmentationLossOptions = {}): Tensor {
  checkOptions("segmentationLoss", options, ["without", "batch", "smooth"]);
  const { without, batch = false, smooth = 1e-5 } = options;
  const same = String(logits.shape) === String(labels.shape);
  check(same, "segmentationLoss", () => `logits and labels have one shape, got ${logits} and ${labels}`);
  const [N, K] = logits.shape as [number, number];
  check(
    without === undefined || (Number.isInteger(without) && without >= 0 && without < K),
    "segmentationLoss",
    () => `without is a class from 0 to ${K - 1}, got ${without}`,
  );
  const logProbability = logSoftmax(logits.cast("f32"), { axis: 1 });
  const entropy = sum(labels.mul(logProbability)).div(-logits.size / K);
  const probability = exp(logProbability);
  const axes = batch ? [0, ...spaceOf(logits)] : spaceOf(logits);
  const both = sum(probability.mul(labels), { axes, keepDims: true });
  const either = sum(probability.add(labels), { axes, keepDims: true });
  const dice = both.mul(2).add(smooth).div(either.add(smooth)).reshape({ shape: [batch ? 1 : N, K] });
  const last = dice.shape[0];
  const counted = without === undefined
    ? sum(dice)
    : sum(dice).sub(sum(slice(dice, { start: [0, without], end: [last, without + 1] })));
  return entropy.add(1).sub(counted.div(last * (without === undefined ? K : K - 1)));
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

/** How the meta-gradient is taken. */
export type MetaMethod = "exact" | "finite-difference" | "implicit";

export interface MetaGradientOptions {
  /**
   * Logits of the batch by the segmentation network; given a sample's number, of that sample alone, [1, K, ...space].
   */
  readonly segment: (theta: Tree, sample?: number) => Tensor;
  /** Logits of the batch by the task generator; given a sample's number, of that sample alone, [1, t, ...space]. */
  readonly generate: (omega: Tree, sample?: number) => Tensor;
  readonly theta: Tree;
  readonly omega: Tree;
  readonly roi: Tensor;
  readonly mask: Tensor;
  /** Rate of the inner step. */
  readonly alpha: number | Tensor;
  readonly method?: MetaMethod;
  /**
   * "batch", unless given: one inner step on the whole batch (paper). "sample": one on each sample, and the mean of the
   * gradients; the official code, too, looks at samples one by one, but updates the generator after each.
   */
  readonly per?: "batch" | "sample";
  readonly segmentation?: SegmentationLossOptions;
  readonly roiOptions?: RoiLossOptions;
  /**
   * Of the implicit method: steps of conjugate gradients (default 10), and what is added to the Hessian (1e-2).
   */
  readonly iterations?: number;
  readonly damping?: number;
}

const META_KEYS = [
  "segment",
  "generate",
  "theta",
  "omega",
  "roi",
  "mask",
  "alpha",
  "method",
  "per",
  "segmentation",
  "roiOptions",
  "iterations",
  "damping",
];

const zip = (a: Tree, b: Tree, f: (x: Tensor, y: Tensor) => Tensor): Tree => {
  // By name: one tree may list its names in another order.
  const others = tree.flatten(b);
  return tree.map(a, (x: Tensor, path: string) => f(x, others.get(path)!));
};
const dot = (a: Tree, b: Tree): Tensor =>
  (tree.leaves(zip(a, b, (x, y) => sum(x.mul(y)))) as Tensor[]).reduce((x, y) => x.add(y));
/** a + s b */
const along = (a: Tree, b: Tree, s: Tensor | number): Tree => zip(a, b, (x, y) => x.add(y.mul(s)));
const fixed = (a: Tree): Tree => tree.map(a, (x: Tensor) => stopGradient(x));

/**
 * The gradient of L_ROI after one inner step by the generator's parameters (Eqs. 12 to 15): with
 * theta* = theta - alpha dL_seg/dtheta(theta, omega) and v = dL_ROI/dtheta(theta*),
 *
 *     exact              -alpha d/domega <dL_seg/dtheta(theta, omega), v>
 *     finite-difference  -alpha (g+ - g-) / 2 eps, g± = dL_seg/domega(theta ± eps v, omega), eps = 0.01 / |v|  (Eq. 18)
 *     implicit           -d/domega <dL_seg/dtheta, x>, (H + damping) x = dL_ROI/dtheta(theta)               (Eqs. 16,
 *     17)
 *
 * The exact one needs no second derivative of the network: theta and omega meet in the labels alone, so the inner
 * product is the derivative of L_seg along v (forward mode), differentiated by omega (reverse mode). theta is not
 * changed.
 *
 * @returns a tree as omega
 * @example
 * ```ts
 * import { conv3d, ones, random, type Tensor, zeros } from "voxgrad";
 * import { colab } from "voxgrad/models";
 *
 * const [a, b, c] = random.split(random.key(0), 3);
 * const x = random.normal(a, { shape: [1, 1, 8, 8, 8] });
 * const gradient = colab.metaGradient({
 *   theta: random.normal(b, { shape: [3, 1, 3, 3, 3] }), // one ROI class and two contexts
 *   omega: random.normal(c, { shape: [2, 1, 3, 3, 3] }),
 *   segment: (theta) => conv3d(x, theta as Tensor, { padding: 1 }),
 *   generate: (omega) => conv3d(x, omega as Tensor, { padding: 1 }),
 *   roi: zeros([1, 8, 8, 8]),
 *   mask: ones([1, 8, 8, 8]),
 *   alpha: 0.01,
 * });
 * ```
 */
export function metaGradient(options: MetaGradientOptions): Tree {
  const { per = "batch" } = options;
  checkOptions("metaGradient", options, META_KEYS);
  for (const key of ["iterations", "damping"] as const) {
    check(
      options[key] === undefined || options.method === "implicit",
      "metaGradient",
      () => `${key} is of the method "implicit" alone; leave it out`,
    );
  }
  check(
    per === "batch" || per === "sample",
    "metaGradient",
    () => `per is "batch" or "sample", got ${JSON.stringify(per)}`,
  );
  if (per === "sample") return gradientPerSample(options);
  const { segment, generate, theta, omega, roi, mask, alpha, method = "exact", iterations = 10, damping = 1e-2 } =
    options;
  // The labels are needed at the start and their derivative at the end: what lies within the generator is computed
  // again there instead of being kept, which costs a forward pass of it and saves as much memory as a training step
  // takes.
  const again = checkpoint(generate);
  const labelsOf = (o: Tree): Tensor => constrainedLabels(roi, softmax(again(o).cast("f32"), { axis: 1 }), mask);
  const segLoss = (p: Tree, labels: Tensor): Tensor => segmentationLoss(segment(p), labels, options.segmentation);
  const regionLoss = (p: Tree): Tensor => roiLoss(segment(p), roi, options.roiOptions);
  /** d/domega <dL_seg/dtheta, v>. */
  const mixed = (v: Tree): Tree => grad((o: Tree) => jvp((p: Tree) => segLoss(p, labelsOf(o)), [theta], [v])[1])(omega);
  if (method === "implicit") {
    const labels = stopGradient(labelsOf(omega));
    const v = fixed(grad(regionLoss)(theta));
    const product = (x: Tree): Tree => along(hvp((p: Tree) => segLoss(p, labels), [theta], [x])[0], x, damping);
    const x = fixed(conjugateGradients(product, v, iterations));
    return tree.map(mixed(x), (g: Tensor) => g.mul(-1));
  }
  check(
    method === "exact" || method === "finite-difference",
    "metaGradient",
    () => `method is "exact", "finite-difference" or "implicit", got ${JSON.stringify(method)}`,
  );
  const negative = typeof alpha === "number" ? -alpha : alpha.mul(-1);
  const labels = stopGradient(labelsOf(omega));
  const inner = along(theta, grad((p: Tree) => segLoss(p, labels))(theta), negative);
  const v = fixed(grad(regionLoss)(fixed(inner)));
  if (method === "exact") return tree.map(mixed(v), (g: Tensor) => g.mul(negative));
  const eps = dot(v, v).sqrt().pow(-1).mul(0.01);
  const at = (sign: number): Tree => grad((o: Tree) => segLoss(along(theta, v, eps.mul(sign)), labelsOf(o)))(omega);
  return zip(at(1), at(-1), (a, b) => a.sub(b).mul(negative).div(eps.mul(2)));
}

/** The mean of the samples' gradients. */
function gradientPerSample(options: MetaGradientOptions): Tree {
  const { segment, generate, roi, mask } = options;
  const samples = Array.from({ length: Math.max(roi.shape[0], mask.shape[0]) }, (_, n) => n);
  const part = (x: Tensor, n: number): Tensor => (x.shape[0] === 1 ? x : slice(x, { start: [n], end: [n + 1] }));
  const only = (name: string, f: (p: Tree, sample: number) => Tensor, n: number) => (p: Tree): Tensor => {
    const logits = f(p, n);
    check(
      logits.shape[0] === 1,
      "metaGradient",
      () => `per "sample" asks ${name}(parameters, ${n}) for the logits of sample ${n} alone, got ${logits}`,
    );
    return logits;
  };
  const gradients = samples.map((n) =>
    metaGradient({
      ...options,
      per: "batch",
      roi: part(roi, n),
      mask: part(mask, n),
      segment: only("segment", segment, n),
      generate: only("generate", generate, n),
    })
  );
  const total = gradients.reduce((a, b) => zip(a, b, (x, y) => x.add(y)));
  return tree.map(total, (g: Tensor) => g.div(samples.length));
}

/**
 * x with A x = b for a symmetric A. Where A is not positive along a direction, or nothing is left to solve, the step is
 * 0.
 */
function conjugateGradients(product: (x: Tree) => Tree, b: Tree, iterations: number): Tree {
  check(
    Number.isInteger(iterations) && iterations >= 1,
    "metaGradient",
    () => `iterations is 1 or more, got ${iterations}`,
  );
  let x = tree.map(b, (t: Tensor) => t.mul(0));
  let residual = b;
  let direction = b;
  let left = dot(b, b);
  for (let k = 0; k < iterations; k++) {
    const image = product(direction);
    const curvature = dot(direction, image);
    const step = safeRatio(left, curvature);
    x = along(x, direction, step);
    residual = along(residual, image, step.mul(-1));
    const next = dot(residual, residual);
    direction = along(residual, direction, safeRatio(next, left));
    left = next;
  }
  return x;
}

/** a / b, 0 where b is not above 0. */
function safeRatio(a: Tensor, b: Tensor): Tensor {
  const positive = b.greater(0);
  return where(positive, a.div(where(positive, b, 1)), 0);
}
