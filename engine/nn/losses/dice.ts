/** Segmentation losses from logits and integer labels: soft Dice, Tversky, Dice + cross-entropy. */
import { isFloat } from "../../core/dtype.ts";
import { check, checkOptions, show } from "../../core/errors.ts";
import { normalizeAxis, sameShape } from "../../core/shape.ts";
import { Tensor } from "../../core/tensor.ts";
import { arange } from "../../ops/elementwise/creation.ts";
import { concat } from "../../ops/shape/concat.ts";
import {
  add,
  cast,
  div,
  equal,
  exp,
  greaterEqual,
  less,
  logicalAnd,
  logicalNot,
  logicalOr,
  maximum,
  mul,
  notEqual,
  pow,
  sigmoid,
  softplus,
  sub,
  where,
} from "../../ops/elementwise/elementwise.ts";
import { mean, sum } from "../../ops/reduce/reduce.ts";
import { expandDims, reshape } from "../../ops/shape/reshape.ts";
import { slice } from "../../ops/shape/slice.ts";
import { logSoftmax } from "../../ops/reduce/softmax.ts";

export interface SoftDiceOptions {
  /** Whether class 0 counts; default: false, as nnU-Net. */
  includeBackground?: boolean;
  /**
   * Added to numerator and denominator; default: 1e-5. A class absent from both labels and prediction then scores 1.
   */
  smooth?: number;
  /** One Dice per class over the whole batch instead of one per sample and class; default: false. */
  batch?: boolean;
  /** Squares in the denominator, sum(p^2) + sum(y^2), as Milletari et al. 2016 (V-Net); default: false, as nnU-Net. */
  squared?: boolean;
  /** Over classes: the mean (default), or the sum as some papers write it. */
  reduction?: "mean" | "sum";
  /** Class axis of the logits; default: 1. */
  axis?: number;
  /** Positions with this label are ignored. */
  ignoreIndex?: number;
}

const DICE_OPTIONS = ["includeBackground", "smooth", "batch", "squared", "reduction", "axis", "ignoreIndex"];

/** Shared input of both terms: log-probabilities, one-hot labels, and the mask of counted positions. */
interface Scored {
  readonly logits: Tensor;
  readonly axis: number;
  readonly logProbability: Tensor;
  /** bool, shape of the logits */
  readonly hit: Tensor;
  /** bool, shape of the logits with one class; null: all positions count */
  readonly valid: Tensor | null;
  /** Labels, in the shape of the logits with one class. */
  readonly label: Tensor;
  readonly classes: number;
}

function score(name: string, logits: Tensor, labels: Tensor, options: { axis?: number; ignoreIndex?: number }): Scored {
  check(
    logits instanceof Tensor && isFloat(logits.dtype) && logits.rank >= 2,
    name,
    () => `logits are f32 or f16 of rank 2 or more, got ${logits}`,
  );
  const axis = normalizeAxis(name, options.axis ?? 1, logits.rank);
  const positions = logits.shape.filter((_, k) => k !== axis);
  check(
    labels instanceof Tensor && (labels.dtype === "i32" || labels.dtype === "u32"),
    name,
    () => `labels are i32 or u32, got ${labels}`,
  );
  check(
    sameShape(labels.shape, positions),
    name,
    () =>
      `labels have the shape ${show(positions)} of the logits ${show(logits.shape)} without axis ${axis}, ` +
      `got ${show(labels.shape)}`,
  );
  const classes = logits.shape[axis];
  const label = expandDims(labels, { axis });
  const column = reshape(arange(classes), { shape: logits.shape.map((_, k) => (k === axis ? classes : 1)) });
  const valid = options.ignoreIndex === undefined ? null : notEqual(label, options.ignoreIndex);
  const hit = equal(label, column);
  return {
    logits,
    axis,
    logProbability: logSoftmax(cast(logits, "f32"), { axis }),
    hit: valid ? logicalAnd(hit, valid) : hit,
    valid,
    label,
    classes,
  };
}

/**
 * Sum or mean over classes of what each lacks. Dice needs two sums over space per class: the intersection, and that of
 * both cardinalities.
 */
function diceTerm(name: string, scored: Scored, options: SoftDiceOptions): Tensor {
  const { smooth = 1e-5, squared = false } = options;
  const { classes, probability, axes } = overlap(name, scored, options);
  const { hit } = scored;
  const both = sum(where(hit, probability, 0), { axes });
  const either = sum(add(squared ? mul(probability, probability) : probability, cast(hit, "f32")), { axes });
  const dice = div(add(mul(both, 2), smooth), add(either, smooth));
  const loss = sub(1, mean(foregroundOf(dice, options)));
  return options.reduction === "sum" ? mul(loss, classes) : loss;
}

/** What overlaps are computed of: probabilities of positions that count, axes to sum over, classes that count. */
function overlap(
  name: string,
  { axis, valid, logits, logProbability }: Scored,
  options: SoftDiceOptions,
): { classes: number; probability: Tensor; axes: number[] } {
  const { includeBackground = false, smooth = 1e-5, batch = false, reduction = "mean" } = options;
  check(smooth >= 0, name, () => `smooth is a number >= 0, got ${show(smooth)}`);
  check(
    reduction === "mean" || reduction === "sum",
    name,
    () => `reduction is "mean" or "sum", got ${show(reduction)}`,
  );
  const classes = logits.shape[axis];
  check(
    includeBackground || classes > 1,
    name,
    () => `one class is background alone; give more classes or includeBackground: true`,
  );
  const all = exp(logProbability);
  return {
    classes: includeBackground ? classes : classes - 1,
    probability: valid ? where(valid, all, 0) : all,
    axes: logits.shape.map((_, k) => k).filter((k) => k !== axis && (batch || k !== 0)),
  };
}

/** The classes that count, of [classes], or [N, classes], or [classes] where the classes are axis 0. */
const foregroundOf = (x: Tensor, { includeBackground = false }: SoftDiceOptions): Tensor =>
  includeBackground ? x : slice(x, { start: x.shape.map((_, k) => (k === x.rank - 1 ? 1 : 0)) });

/**
 * 1 - mean soft Dice of softmax(logits) against integer labels: Milletari et al. 2016 in nnU-Net's form, where a class
 * scores (2 sum(p y) + smooth) / (sum(p) + sum(y) + smooth), averaged over classes (and samples). nnU-Net minimizes
 * minus the mean; the gradient is the same, and this loss has minimum 0. With `squared` it is Milletari's own form.
 *
 * @param logits f32 with classes along `axis` (default 1), such as [N, K, D, H, W]
 * @param labels i32 or u32 of the logits' shape without that axis; a label outside [0, K) belongs to no class
 * @example
 * ```ts
 * import { random, zeros } from "voxgrad";
 * import { softDice } from "voxgrad/nn";
 *
 * const logits = random.normal(random.key(0), { shape: [2, 3, 4, 4, 4] });
 * const loss = softDice(logits, zeros([2, 4, 4, 4], { dtype: "i32" }), { batch: true });
 * ```
 */
export function softDice(logits: Tensor, labels: Tensor, options: SoftDiceOptions = {}): Tensor {
  checkOptions("softDice", options, DICE_OPTIONS);
  return diceTerm("softDice", score("softDice", logits, labels, options), options);
}

export interface TverskyOptions extends Omit<SoftDiceOptions, "squared"> {
  /** Weight of false positives; default: 0.5, which with that of false negatives gives Dice. */
  alpha?: number;
  /** Weight of false negatives; default: 0.5. */
  beta?: number;
  /** Power of each 1 - index: the focal Tversky loss, Abraham and Khan 2019; default: 1. */
  gamma?: number;
}

/**
 * 1 - mean Tversky index of softmax(logits) against integer labels, Salehi et al. 2017: a class scores (tp + smooth) /
 * (tp + alpha fp + beta fn + smooth) with soft counts. A beta above alpha finds more of rare classes at the cost of
 * false positives.
 *
 * @param logits f32 or f16 with classes along `axis` (default 1), such as [N, K, D, H, W]
 * @param labels i32 or u32 of the logits' shape without that axis; a label outside [0, K) belongs to no class
 * @example
 * ```ts
 * import { random, zeros } from "voxgrad";
 * import { tversky } from "voxgrad/nn";
 *
 * const logits = random.normal(random.key(0), { shape: [2, 3, 4, 4, 4] });
 * const loss = tversky(logits, zeros([2, 4, 4, 4], { dtype: "i32" }), { alpha: 0.3, beta: 0.7 });
 * ```
 */
export function tversky(logits: Tensor, labels: Tensor, options: TverskyOptions = {}): Tensor {
  checkOptions("tversky", options, [...DICE_OPTIONS.filter((key) => key !== "squared"), "alpha", "beta", "gamma"]);
  const { alpha = 0.5, beta = 0.5, gamma = 1 } = options;
  for (const [key, value] of Object.entries({ alpha, beta, gamma })) {
    check(Number.isFinite(value) && value >= 0, "tversky", () => `${key} is a number >= 0, got ${show(value)}`);
  }
  const smooth = options.smooth ?? 1e-5;
  const scored = score("tversky", logits, labels, options);
  const { classes, probability, axes } = overlap("tversky", scored, options);
  const [both, predicted, labeled] = [where(scored.hit, probability, 0), probability, cast(scored.hit, "f32")]
    .map((x) => sum(x, { axes }));
  // fp = predicted - both, fn = labeled - both
  const wrong = add(mul(sub(predicted, both), alpha), mul(sub(labeled, both), beta));
  const lack = foregroundOf(sub(1, div(add(both, smooth), add(add(both, wrong), smooth))), options);
  // A fractional power has no finite derivative at 0.
  const loss = mean(gamma === 1 ? lack : pow(maximum(lack, 1e-7), gamma));
  return options.reduction === "sum" ? mul(loss, classes) : loss;
}

export interface DiceCrossEntropyOptions extends SoftDiceOptions {
  /** Weight of the Dice term; default: 1. */
  diceWeight?: number;
  /** Weight of the cross-entropy; default: 1. */
  crossEntropyWeight?: number;
}

/**
 * Cross-entropy (mean over positions) plus 1 - mean soft Dice: the loss of nnU-Net, up to the constant 1. Both terms
 * share one softmax.
 *
 * @param logits f32 with classes along `axis` (default 1), such as [N, K, D, H, W]
 * @param labels i32 or u32 of the logits' shape without that axis; a label outside [0, K), unless it is ignoreIndex,
 *   makes the loss NaN
 * @example
 * ```ts
 * import { grad, random, type Tensor, zeros } from "voxgrad";
 * import { diceCrossEntropy } from "voxgrad/nn";
 *
 * const logits = random.normal(random.key(0), { shape: [2, 3, 4, 4, 4] });
 * const labels = zeros([2, 4, 4, 4], { dtype: "i32" });
 * const gradient = grad((logits: Tensor) => diceCrossEntropy(logits, labels))(logits);
 * ```
 */
export function diceCrossEntropy(logits: Tensor, labels: Tensor, options: DiceCrossEntropyOptions = {}): Tensor {
  checkOptions("diceCrossEntropy", options, [...DICE_OPTIONS, "diceWeight", "crossEntropyWeight"]);
  const { diceWeight = 1, crossEntropyWeight = 1 } = options;
  const scored = score("diceCrossEntropy", logits, labels, options);
  const { classes, label } = scored;
  // A label outside [0, K) has no cross-entropy term, which would silently lower the loss; make it NaN instead.
  const outOfRange = logicalNot(logicalAnd(greaterEqual(label, 0), less(label, classes)));
  const faulty = scored.valid ? logicalAnd(outOfRange, scored.valid) : outOfRange;
  const total = add(sum(where(scored.hit, scored.logProbability, 0)), sum(where(faulty, NaN, 0)));
  const positions = labels.size;
  const crossEntropy = scored.valid ? div(total, mul(sum(cast(scored.valid, "f32")), -1)) : mul(total, -1 / positions);
  return add(mul(crossEntropy, crossEntropyWeight), mul(diceTerm("diceCrossEntropy", scored, options), diceWeight));
}

/**
 * Region masks from integer labels, each the union of some values: bool [N, R, ...space] from labels [N, ...space].
 *
 * @param regions label values of each region; regions may overlap, such as whole tumor, tumor core and enhancing tumor
 * @example
 * ```ts
 * import { tensor } from "voxgrad";
 * import { regionTargets } from "voxgrad/nn";
 *
 * const labels = tensor([[0, 1, 2, 3]], { dtype: "i32" });
 * const target = regionTargets(labels, [[1, 2, 3], [2, 3], [3]]); // bool [1, 3, 4]
 * ```
 */
export function regionTargets(labels: Tensor, regions: readonly (readonly number[])[]): Tensor {
  check(
    Array.isArray(regions) && regions.length > 0 &&
      regions.every((values) => Array.isArray(values) && values.length > 0),
    "regionTargets",
    () => `regions are lists of label values, got ${show(regions)}`,
  );
  const column = expandDims(labels, { axis: 1 });
  const of = (values: readonly number[]): Tensor =>
    values.map((value) => equal(column, value)).reduce((a, b) => logicalOr(a, b));
  return concat(regions.map(of), { axis: 1 });
}

export interface DiceBinaryCrossEntropyOptions {
  /** Label values of each region, one sigmoid output each. */
  regions: readonly (readonly number[])[];
  /** Added to numerator and denominator of Dice; default: 1e-5. */
  smooth?: number;
  /** One Dice per region over the whole batch instead of one per sample and region; default: false. */
  batch?: boolean;
  /** Positions with this label are ignored. */
  ignoreIndex?: number;
}

/**
 * Binary cross-entropy (mean over positions and regions) plus 1 - mean soft Dice: the loss of nnU-Net for overlapping
 * regions, up to the constant 1.
 *
 * @param logits f32 or f16 [N, R, ...space]
 * @param labels i32 or u32 [N, ...space]
 * @example
 * ```ts
 * import { random, zeros } from "voxgrad";
 * import { diceBinaryCrossEntropy } from "voxgrad/nn";
 *
 * const logits = random.normal(random.key(0), { shape: [2, 3, 4, 4, 4] });
 * const labels = zeros([2, 4, 4, 4], { dtype: "i32" });
 * const loss = diceBinaryCrossEntropy(logits, labels, { regions: [[1, 2, 3], [2, 3], [3]], batch: true });
 * ```
 */
export function diceBinaryCrossEntropy(
  logits: Tensor,
  labels: Tensor,
  options: DiceBinaryCrossEntropyOptions,
): Tensor {
  checkOptions("diceBinaryCrossEntropy", options, ["regions", "smooth", "batch", "ignoreIndex"]);
  const { regions, smooth = 1e-5, batch = false, ignoreIndex } = options;
  const target = cast(regionTargets(labels, regions), "f32");
  check(
    sameShape(logits.shape, target.shape),
    "diceBinaryCrossEntropy",
    () => `logits have the shape ${show(target.shape)} of labels and ${regions.length} regions, got ${logits}`,
  );
  const x = cast(logits, "f32");
  const valid = ignoreIndex === undefined ? null : expandDims(notEqual(labels, ignoreIndex), { axis: 1 });
  const counted = (t: Tensor): Tensor => (valid ? where(valid, t, 0) : t);
  // -t log s(x) - (1 - t) log(1 - s(x)) = softplus(x) - t x
  const entropy = sum(counted(sub(softplus(x), mul(target, x))));
  const positions = valid ? mul(sum(cast(valid, "f32")), regions.length) : target.size;
  const probability = counted(sigmoid(x));
  const hit = counted(target);
  const axes = x.shape.map((_, k) => k).filter((k) => k !== 1 && (batch || k !== 0));
  const both = sum(mul(probability, hit), { axes });
  const either = sum(add(probability, hit), { axes });
  const dice = mean(div(add(mul(both, 2), smooth), add(either, smooth)));
  return add(div(entropy, positions), sub(1, dice));
}
