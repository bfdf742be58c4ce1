/** Segmentation losses from logits and integer labels: soft Dice, Dice + cross-entropy, deep supervision. */
import { isFloat } from "../core/dtype.ts";
import { check, checkOptions, show } from "../core/errors.ts";
import { normalizeAxis, sameShape } from "../core/shape.ts";
import { Tensor } from "../core/tensor.ts";
import { arange, tensor } from "../ops/elementwise/creation.ts";
import { concat } from "../ops/shape/concat.ts";
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
  mul,
  notEqual,
  sigmoid,
  softplus,
  sub,
  where,
} from "../ops/elementwise/elementwise.ts";
import { mean, sum } from "../ops/reduce/reduce.ts";
import { expandDims, reshape } from "../ops/shape/reshape.ts";
import { slice } from "../ops/shape/slice.ts";
import { logSoftmax } from "../ops/reduce/softmax.ts";
import { take } from "../ops/shape/take.ts";

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

/** Sum or mean of 1 - Dice. Two sums over space per class suffice: the intersection, and that of both cardinalities. */
function diceTerm(name: string, scored: Scored, options: SoftDiceOptions): Tensor {
  const { axis, hit, valid, logits } = scored;
  const { includeBackground = false, smooth = 1e-5, batch = false, squared = false, reduction = "mean" } = options;
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
  const all = exp(scored.logProbability);
  const probability = valid ? where(valid, all, 0) : all;
  const axes = logits.shape.map((_, k) => k).filter((k) => k !== axis && (batch || k !== 0));
  const both = sum(where(hit, probability, 0), { axes });
  const either = sum(add(squared ? mul(probability, probability) : probability, cast(hit, "f32")), { axes });
  const dice = div(add(mul(both, 2), smooth), add(either, smooth));
  // [classes], or [N, classes], or [classes] where the classes are axis 0
  const foreground = includeBackground
    ? dice
    : slice(dice, { start: dice.shape.map((_, k) => (k === dice.rank - 1 ? 1 : 0)) });
  const loss = sub(1, mean(foreground));
  return reduction === "sum" ? mul(loss, foreground.shape.at(-1)!) : loss;
}

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

/**
 * Resizes integer labels [N, ...space] on the device by nearest neighbor: voxel i takes the value at index floor((i +
 * 0.5) old / new), torch's "nearest-exact", which nnU-Net uses for deep supervision.
 *
 * @example
 * ```ts
 * import { tensor } from "voxgrad";
 * import { resizeLabels } from "voxgrad/nn";
 *
 * await resizeLabels(tensor([[0, 1, 2, 3]], { dtype: "i32" }), [2]).array(); // [[1, 3]]
 * ```
 */
export function resizeLabels(labels: Tensor, size: readonly number[]): Tensor {
  const space = labels.shape.slice(1);
  check(
    Array.isArray(size) && size.length === space.length && size.every((n) => Number.isInteger(n) && n >= 1),
    "resizeLabels",
    () => `the size has ${space.length} integers >= 1 for labels ${show(labels.shape)}, got ${show(size)}`,
  );
  // An integer factor is a strided slice, which fuses into the kernels that use it at no cost.
  const factors = space.map((n, k) => n / size[k]);
  const whole = (f: number): boolean => Number.isInteger(f);
  let result = labels;
  if (factors.some((f) => whole(f) && f > 1)) {
    result = slice(labels, {
      start: [0, ...factors.map((f) => (whole(f) ? Math.floor(f / 2) : 0))],
      step: [1, ...factors.map((f) => (whole(f) ? f : 1))],
    });
  }
  factors.forEach((f, k) => {
    if (whole(f)) return;
    const places = Int32Array.from(
      { length: size[k] },
      (_, i) => Math.floor(((2 * i + 1) * space[k]) / (2 * size[k])),
    );
    result = take(result, tensor(places), { axis: k + 1 });
  });
  return result;
}

/**
 * Weights of `count` outputs, finest first: 1/2^i, the coarsest 0, normalized to sum 1, as nnU-Net v2 (so two outputs
 * have weights 1 and 0). A single output has weight 1.
 *
 * @param options.coarsest whether the coarsest output counts; default: false
 * @example
 * ```ts
 * import { deepSupervisionWeights } from "voxgrad/nn";
 *
 * deepSupervisionWeights(4); // [0.571, 0.286, 0.143, 0]
 * ```
 */
export function deepSupervisionWeights(count: number, options: { coarsest?: boolean } = {}): number[] {
  checkOptions("deepSupervisionWeights", options, ["coarsest"]);
  check(
    Number.isInteger(count) && count >= 1,
    "deepSupervisionWeights",
    () => `count is an integer >= 1, got ${show(count)}`,
  );
  const dropped = options.coarsest || count === 1 ? -1 : count - 1;
  const weights = Array.from({ length: count }, (_, i) => (i === dropped ? 0 : 2 ** -i));
  const total = weights.reduce((a, b) => a + b, 0);
  return weights.map((w) => w / total);
}

/**
 * The weighted sum of a loss over the outputs of a deeply supervised network (Lee et al. 2015), with labels resized to
 * each output. Outputs of weight 0 are skipped.
 *
 * @param loss takes one output [N, K, ...space] and its labels [N, ...space]
 * @param outputs finest first; a single tensor is a list of one
 * @param labels at full size, or a list with labels for each output
 * @param options.weights one number per output, not normalized; default: deepSupervisionWeights(outputs.length)
 * @example
 * ```ts
 * import { random, zeros } from "voxgrad";
 * import { deepSupervision, diceCrossEntropy } from "voxgrad/nn";
 *
 * const fine = random.normal(random.key(0), { shape: [1, 2, 8, 8, 8] });
 * const coarse = random.normal(random.key(1), { shape: [1, 2, 4, 4, 4] });
 * const loss = deepSupervision(diceCrossEntropy, [fine, coarse], zeros([1, 8, 8, 8], { dtype: "i32" }));
 * ```
 */
export function deepSupervision(
  loss: (output: Tensor, labels: Tensor) => Tensor,
  outputs: Tensor | readonly Tensor[],
  labels: Tensor | readonly Tensor[],
  options: { weights?: readonly number[] } = {},
): Tensor {
  checkOptions("deepSupervision", options, ["weights"]);
  const list = outputs instanceof Tensor ? [outputs] : outputs;
  check(list.length > 0, "deepSupervision", () => "there is no output");
  const weights = options.weights ?? deepSupervisionWeights(list.length);
  check(
    weights.length === list.length && weights.some((w) => w !== 0),
    "deepSupervision",
    () => `weights has ${list.length} numbers, one per output and not all 0, got ${show(weights)}`,
  );
  check(
    labels instanceof Tensor || labels.length === list.length,
    "deepSupervision",
    () => `labels are one tensor or one per output (${list.length}), got ${(labels as readonly Tensor[]).length}`,
  );
  let total: Tensor | null = null;
  list.forEach((output, k) => {
    if (weights[k] === 0) return;
    const at = labels instanceof Tensor ? resizeLabels(labels, output.shape.slice(2)) : labels[k];
    const term = mul(loss(output, at), weights[k]);
    total = total === null ? term : add(total, term);
  });
  return total!;
}
