/**
 * What ConResNet is trained with (Zhang et al., "Inter-slice context residual learning for 3D medical image
 * segmentation", 2021): labels that say where neighboring slices differ, losses for them and for the segmentation, and
 * how the boundary loss that the paper compares with is mixed in.
 *
 * Logits are [N, R, D, H, W]: R regions that may overlap, with a sigmoid each. Targets are f32 of the same shape and
 * hold 0 or 1, as `regionTargets(labels, regions).cast("f32")` makes them of integer labels.
 */
import {
  check,
  checkOptions,
  clamp,
  greater,
  log,
  mean,
  notEqual,
  show,
  sigmoid,
  softplus,
  sum,
  Tensor,
  where,
} from "../../engine/mod.ts";
import { diceCrossEntropy, regionTargets, type Schedule } from "../../engine/nn/mod.ts";
export { boundaryLoss, signedDistances } from "../../engine/nn/mod.ts";
import { behindZeros, neighbors, type ResidualAxis, sliceResidual, spaceAxis } from "./axis.ts";
export type { ResidualAxis } from "./axis.ts";

/** Axes of space of [N, R, D, H, W]. */
const SPACE = [2, 3, 4];

const isFloat = (x: unknown): x is Tensor => x instanceof Tensor && (x.dtype === "f32" || x.dtype === "f16");

function checkPair(name: string, logits: Tensor, what: string, targets: Tensor): void {
  check(
    isFloat(logits) && logits.rank === 5 && logits.size > 0,
    name,
    () => `logits are f32 or f16 [N, R, depth, height, width], got ${show(logits)}`,
  );
  check(
    isFloat(targets) && String(targets.shape) === String(logits.shape),
    name,
    () => `${what} is f32 of the shape of the logits, ${logits}, got ${show(targets)}`,
  );
}

export interface ResidualLabelOptions {
  /** Along which axis slices are compared; default "axial". */
  readonly axis?: ResidualAxis;
  /**
   * The first slice, which has none before it: "zero" (paper, the default); "label", as the official code: what differs
   * from 0.
   */
  readonly first?: "zero" | "label";
  /** Makes channels of class values first: one for each class but the background 0 (Eq. 13). */
  readonly classes?: number;
}

/**
 * Where a label differs from that of the slice before (Eqs. 1 and 13).
 *
 * @param labels [..., D, H, W], usually channels [N, R, D, H, W] of 0 and 1; with `classes` integer class values
 *   [N, D, H, W]
 * @returns f32 of the same shape, with `classes` [N, classes - 1, D, H, W]: 1 where labels differ (of f32 labels the
 *   absolute difference), 0 elsewhere
 * @example
 * ```ts
 * import { zeros } from "voxgrad";
 * import { conres } from "voxgrad/models";
 * import { regionTargets } from "voxgrad/nn";
 *
 * const labels = zeros([1, 4, 8, 8], { dtype: "i32" });
 * const regions = regionTargets(labels, [[1, 2, 3], [2, 3], [3]]);
 * const residual = conres.residualLabels(regions, { axis: "axial" }); // [1, 3, 4, 8, 8]
 * ```
 */
export function residualLabels(labels: Tensor, options: ResidualLabelOptions = {}): Tensor {
  checkOptions("residualLabels", options, ["axis", "first", "classes"]);
  const name = "residualLabels";
  const { axis = "axial", first = "zero", classes } = options;
  check(first === "zero" || first === "label", name, () => `first is "zero" or "label", got ${show(first)}`);
  const place = spaceAxis(name, axis);
  if (classes !== undefined) {
    return residualLabels(regionTargets(labels, foreground(name, labels, classes)), { axis, first });
  }
  check(
    labels instanceof Tensor && labels.rank >= 3 && labels.size > 0,
    name,
    () => `labels are a tensor [..., depth, height, width] that is not empty, got ${show(labels)}`,
  );
  const along = labels.rank - 3 + place;
  const x = labels.dtype === "bool" || labels.dtype === "f16" ? labels.cast("f32") : labels;
  if (first === "zero" && x.dtype === "f32") return sliceResidual(x, along);
  const [later, earlier] = neighbors(x, along);
  if (first === "zero") return behindZeros(notEqual(later, earlier).cast("f32"), along);
  const before = behindZeros(earlier, along);
  return x.dtype === "f32" ? x.sub(before).abs() : notEqual(x, before).cast("f32");
}

/** Each class but the background as a region of its own. */
function foreground(name: string, labels: Tensor, classes: number): number[][] {
  check(
    Number.isInteger(classes) && classes >= 2,
    name,
    () => `classes is an integer from 2, the background included, got ${show(classes)}`,
  );
  check(
    labels instanceof Tensor && labels.rank === 4 && (labels.dtype === "i32" || labels.dtype === "u32"),
    name,
    () => `class values are i32 or u32 [N, depth, height, width], got ${show(labels)}`,
  );
  return Array.from({ length: classes - 1 }, (_, k) => [k + 1]);
}

export interface ResidualLossOptions {
  /** Default "paper"; "code" for what the official code computes. */
  readonly mode?: "paper" | "code";
  /** Weight of voxels where nothing differs: log(V / V_0) unless given, in code mode 1. */
  readonly backgroundWeight?: number;
  /**
   * Where the shares behind the weights are counted: "batch", the default, over all regions together; "region", in each
   * region by itself, so that small regions weigh as much as large ones. Code mode always counts by region.
   */
  readonly residualWeights?: "batch" | "region";
}

/** log(V / V_k) and, of a class that has no voxel, 0: no term has this weight. */
function logShare(voxels: number, count: Tensor): Tensor {
  const some = greater(count, 0);
  return where(some, log(where(some, count, 1).div(voxels)).mul(-1), 0);
}

/**
 * Weighted binary cross-entropy of a residual (Eq. 8), the mean over voxels: a voxel of class k (1: differs, 0: does
 * not) has the weight log(V / V_k), with V and V_k counted over the whole tensor, or with `residualWeights` "region"
 * over each region of the batch.
 *
 * In code mode the logits themselves, clamped to [0.001, 0.999], stand where probabilities should; the weights are 1
 * and, for each region by itself, log(V / (V_1 + 1)) with V the voxels of one sample and V_1 those of the whole batch.
 * This is the published behavior, kept for comparison; gradients vanish wherever a logit leaves that interval.
 *
 * @param logits [N, R, D, H, W]
 * @param residual of the same shape, from residualLabels
 * @example
 * ```ts
 * import { random, zeros } from "voxgrad";
 * import { conres } from "voxgrad/models";
 *
 * const logits = random.normal(random.key(0), { shape: [1, 3, 4, 8, 8] });
 * const loss = conres.residualLoss(logits, conres.residualLabels(zeros([1, 3, 4, 8, 8])), { mode: "paper" });
 * ```
 */
export function residualLoss(logits: Tensor, residual: Tensor, options: ResidualLossOptions = {}): Tensor {
  checkOptions("residualLoss", options, ["mode", "backgroundWeight", "residualWeights"]);
  const name = "residualLoss";
  const { mode = "paper", backgroundWeight, residualWeights = "batch" } = options;
  checkPair(name, logits, "the residual", residual);
  check(mode === "paper" || mode === "code", name, () => `mode is "paper" or "code", got ${show(mode)}`);
  check(
    backgroundWeight === undefined || (Number.isFinite(backgroundWeight) && backgroundWeight >= 0),
    name,
    () => `backgroundWeight is a number >= 0, got ${show(backgroundWeight)}`,
  );
  check(
    residualWeights === "batch" || residualWeights === "region",
    name,
    () => `residualWeights is "batch" or "region", got ${show(residualWeights)}`,
  );
  check(
    mode === "paper" || options.residualWeights === undefined,
    name,
    () => "residualWeights has no effect in code mode, which counts each region by itself; leave it out",
  );
  const x = logits.cast("f32");
  const same = residual.mul(-1).add(1);
  if (mode === "code") {
    const [, R, ...space] = x.shape as [number, number, ...number[]];
    const voxels = space.reduce((a, b) => a * b, 1);
    const count = sum(residual, { axes: [0, ...SPACE], keepDims: true }).add(1);
    const weight = log(count.div(voxels))
      .mul(-1)
      .reshape({ shape: [1, R, 1, 1, 1] });
    const p = clamp(x, { min: 1e-3, max: 1 - 1e-3 });
    const likelihood = weight
      .mul(residual)
      .mul(log(p))
      .add(same.mul(log(p.mul(-1).add(1))).mul(backgroundWeight ?? 1));
    return mean(likelihood).mul(-1);
  }
  const byRegion = residualWeights === "region";
  const voxels = byRegion ? x.size / x.shape[1] : x.size;
  const counted = (part: Tensor): Tensor => byRegion ? sum(part, { axes: [0, ...SPACE], keepDims: true }) : sum(part);
  const differing = logShare(voxels, counted(residual));
  const background = backgroundWeight ?? logShare(voxels, counted(same));
  // -log s(x) = softplus(-x) and -log(1 - s(x)) = softplus(x)
  return mean(
    residual
      .mul(softplus(x.mul(-1)))
      .mul(differing)
      .add(same.mul(softplus(x)).mul(background)),
  );
}

export interface DeepResidualLossOptions extends ResidualLossOptions {
  /** Weight of the coarser scales; default 0.5, 0: they are not computed. */
  readonly lambda?: number;
}

/**
 * The loss of the residuals of all scales (Eq. 9): that of the finest plus lambda times the sum of the others.
 *
 * @param outputs logits [N, R, D, H, W] of the scales, finest first, all at full size as conResNet gives them
 * @param residual of the same shape
 * @example
 * ```ts
 * import { random, zeros } from "voxgrad";
 * import { conres } from "voxgrad/models";
 *
 * const outputs = random.split(random.key(0)).map((key) => random.normal(key, { shape: [1, 3, 4, 8, 8] }));
 * const loss = conres.deepResidualLoss(outputs, zeros([1, 3, 4, 8, 8]), { lambda: 0.5 });
 * ```
 */
export function deepResidualLoss(
  outputs: readonly Tensor[],
  residual: Tensor,
  options: DeepResidualLossOptions = {},
): Tensor {
  const { lambda = 0.5, ...own } = options;
  check(
    Array.isArray(outputs) && outputs.length > 0,
    "deepResidualLoss",
    () => "there are no residuals: outputs lists logits, finest first; a network without mapping has none",
  );
  check(lambda >= 0, "deepResidualLoss", () => `lambda is a number >= 0, got ${show(lambda)}`);
  const counted = lambda === 0 ? outputs.slice(0, 1) : outputs;
  const terms = counted.map((output) => residualLoss(output, residual, own));
  return terms.slice(1).reduce((total, term) => total.add(term.mul(lambda)), terms[0]);
}

/**
 * Cross-entropy and Dice of regions (Eq. 7): the binary cross-entropy of each region, mean over voxels, summed over the
 * regions; plus 1 - 2 sum(p y) / (sum(p) + sum(y) + smooth), mean over samples and regions. The paper sums both over
 * voxels and does not say how regions are joined; this is how its code does it. A region that is not there has a Dice
 * of 0, so it pulls by the cross-entropy alone.
 *
 * @param logits [N, R, D, H, W]
 * @param targets 0 or 1, of the same shape
 * @param options.smooth 1 unless given
 * @example
 * ```ts
 * import { random, zeros } from "voxgrad";
 * import { conres } from "voxgrad/models";
 *
 * const logits = random.normal(random.key(0), { shape: [1, 3, 4, 8, 8] });
 * const loss = conres.segmentationLoss(logits, zeros([1, 3, 4, 8, 8]));
 * ```
 */
export function segmentationLoss(logits: Tensor, targets: Tensor, options: { smooth?: number } = {}): Tensor {
  checkOptions("segmentationLoss", options, ["smooth"]);
  const { smooth = 1 } = options;
  checkPair("segmentationLoss", logits, "the target", targets);
  check(smooth > 0, "segmentationLoss", () => `smooth is a number > 0, got ${show(smooth)}`);
  const x = logits.cast("f32");
  // -t log s(x) - (1 - t) log(1 - s(x)) = softplus(x) - t x
  const entropy = mean(softplus(x).sub(targets.mul(x))).mul(x.shape[1]);
  const p = sigmoid(x);
  const both = sum(p.mul(targets), { axes: SPACE });
  const either = sum(p.add(targets), { axes: SPACE });
  return entropy.add(1).sub(mean(both.mul(2).div(either.add(smooth))));
}

export interface LossOptions extends DeepResidualLossOptions {
  /** Label values of each region, one output each; without, outputs are classes that exclude each other. */
  readonly regions?: readonly (readonly number[])[];
  /** As in residualLabels. */
  readonly axis?: ResidualAxis;
  readonly first?: "zero" | "label";
}

/**
 * What ConResNet minimizes, L_seg + L_res. Of regions, segmentationLoss and the residuals of each; of classes (Section
 * V-D), cross-entropy plus Dice and the residuals of each class but the background. The baseline's single output gives
 * L_seg alone.
 *
 * @param outputs of conResNet: the segmentation, then the residuals, finest first
 * @param labels class values [N, D, H, W]
 * @example
 * ```ts
 * import { random, zeros } from "voxgrad";
 * import { conres } from "voxgrad/models";
 *
 * const outputs = random.split(random.key(0)).map((key) => random.normal(key, { shape: [1, 3, 4, 8, 8] }));
 * const labels = zeros([1, 4, 8, 8], { dtype: "i32" });
 * const loss = conres.loss(outputs, labels, { regions: [[1, 2, 3], [2, 3], [3]] });
 * ```
 */
export function loss(outputs: readonly Tensor[], labels: Tensor, options: LossOptions = {}): Tensor {
  checkOptions("conres.loss", options, [
    "regions",
    "axis",
    "first",
    "mode",
    "backgroundWeight",
    "residualWeights",
    "lambda",
  ]);
  const { regions, axis = "axial", first = "zero", ...own } = options;
  const [logits, ...residuals] = outputs;
  check(
    logits instanceof Tensor && logits.rank === 5,
    "conres.loss",
    () => `outputs are those of conResNet, a list of logits [N, K, depth, height, width], got ${show(outputs)}`,
  );
  const sets = regions ?? foreground("conres.loss", labels, logits.shape[1]);
  const targets = regionTargets(labels, sets).cast("f32");
  const segmentation = regions
    ? segmentationLoss(logits, targets)
    : diceCrossEntropy(logits, labels, { includeBackground: true });
  if (residuals.length === 0) return segmentation;
  return segmentation.add(deepResidualLoss(residuals, residualLabels(targets, { axis, first }), own));
}

/**
 * The share of the loss beside the boundary loss (Eq. 14): from 1 down to 0.01 in `steps` steps.
 *
 * @example
 * ```ts
 * import { conres } from "voxgrad/models";
 *
 * const alpha = conres.boundarySchedule({ steps: 40_000 });
 * alpha(20_000); // 0.505
 * ```
 */
export function boundarySchedule(options: { steps: number }): Schedule {
  const { steps } = options;
  check(steps > 0, "boundarySchedule", () => `steps is a number > 0, got ${show(steps)}`);
  return (step) => 1 - 0.99 * Math.min(1, step / steps);
}
