/** Cross-entropy from logits: over classes, with labels or probabilities, and binary with targets in [0, 1]. */
import { isFloat } from "../../core/dtype.ts";
import { check, checkOptions, refuseOptions, show } from "../../core/errors.ts";
import { normalizeAxis, sameShape } from "../../core/shape.ts";
import { Tensor } from "../../core/tensor.ts";
import { arange, tensor } from "../elementwise/creation.ts";
import {
  add,
  cast,
  div,
  equal,
  greaterEqual,
  less,
  logicalAnd,
  mul,
  neg,
  notEqual,
  softplus,
  sub,
  where,
} from "../elementwise/elementwise.ts";
import { computeInF32 } from "../promote_f16.ts";
import { logSumExp, mean, sum } from "./reduce.ts";
import { expandDims, reshape } from "../shape/reshape.ts";
import { take } from "../shape/take.ts";

export interface NllOptions {
  /** Class axis; default: 1. */
  axis?: number;
  /** A weight for each class. */
  weight?: readonly number[] | Tensor;
  /** Positions with this label are ignored. */
  ignoreIndex?: number;
  /** Over positions: the weighted mean (default), the sum, or none. */
  reduction?: "mean" | "sum" | "none";
}

export interface CrossEntropyOptions extends NllOptions {
  /** Share of each label that is spread evenly over all classes, Szegedy et al. 2016; default: 0. */
  labelSmoothing?: number;
}

const NLL_OPTIONS = ["axis", "weight", "ignoreIndex", "reduction"];

/**
 * Mean over positions of -weight[label] log softmax(logits)[label], divided by the sum of weights, as
 * torch.nn.functional.cross_entropy. Labels may also be probabilities of the classes, in the shape of the logits; then
 * the mean is over positions.
 *
 * @param logits f32 with classes along `axis` (default 1), such as [N, K, D, H, W]
 * @param labels i32 or u32 of the logits' shape without that axis; a label outside [0, K), unless it is ignoreIndex,
 *   makes the loss NaN (PyTorch raises, but values are not known here before the device has computed). Or f32 of the
 *   logits' shape.
 * @param options.weight K class weights
 * @param options.ignoreIndex positions with this label are ignored; if all have it, the mean is NaN, as in PyTorch
 * @example
 * ```ts
 * import { crossEntropy, random, tensor } from "voxgrad";
 *
 * const logits = random.normal(random.key(0), { shape: [1, 3, 2, 2] });
 * const labels = tensor([[[0, 1], [2, 255]]], { dtype: "i32" });
 * const loss = crossEntropy(logits, labels, { axis: 1, ignoreIndex: 255 });
 * const each = crossEntropy(logits, labels, { ignoreIndex: 255, labelSmoothing: 0.1, reduction: "none" }); // [1, 2, 2]
 * ```
 */
export const crossEntropy: (logits: Tensor, labels: Tensor, options?: CrossEntropyOptions) => Tensor = computeInF32(
  (logits, labels, options = {}) => {
    const name = "crossEntropy";
    checkOptions(name, options, [...NLL_OPTIONS, "labelSmoothing"]);
    const axis = checkScores(name, logits, options);
    const normalizer = logSumExp(logits, { axes: [axis] });
    return labels instanceof Tensor && isFloat(labels.dtype)
      ? softEntropy(logits, labels, axis, normalizer, options)
      : labelEntropy(name, logits, labels, axis, normalizer, options);
  },
  { keep: true },
);

/**
 * Negative log-likelihood: the mean over positions of -weight[label] logProbabilities[label], divided by the sum of
 * weights, as torch.nn.functional.nll_loss. `crossEntropy` is the same from logits.
 *
 * @param logProbabilities f32 with classes along `axis` (default 1), such as logSoftmax gives
 * @param labels as those of crossEntropy
 * @example
 * ```ts
 * import { logSoftmax, nll, tensor } from "voxgrad";
 *
 * const logProbabilities = logSoftmax(tensor([[1, 2, 3], [0, 0, 0]]), { axis: 1 });
 * const loss = nll(logProbabilities, tensor([2, 0], { dtype: "i32" }));
 * ```
 */
export const nll: (logProbabilities: Tensor, labels: Tensor, options?: NllOptions) => Tensor = computeInF32(
  (logProbabilities, labels, options = {}) => {
    checkOptions("nll", options, NLL_OPTIONS);
    const axis = checkScores("nll", logProbabilities, options);
    return labelEntropy("nll", logProbabilities, labels, axis, null, options);
  },
  { keep: true },
);

/** The class axis, after checking what holds for all kinds of labels. */
function checkScores(name: string, scores: Tensor, options: CrossEntropyOptions): number {
  const { ignoreIndex, reduction = "mean", labelSmoothing = 0 } = options;
  const what = name === "nll" ? "log-probabilities" : "logits";
  check(
    scores instanceof Tensor && scores.dtype === "f32",
    name,
    () => `${what} are an f32 tensor, got ${show(scores)}`,
  );
  const axis = normalizeAxis(name, options.axis ?? 1, scores.rank);
  check(scores.shape[axis] > 0, name, () => `${what} ${show(scores.shape)} have no class along axis ${axis}`);
  check(
    ignoreIndex === undefined || Number.isInteger(ignoreIndex),
    name,
    () => `ignoreIndex is an integer, got ${show(ignoreIndex)}`,
  );
  check(
    reduction === "mean" || reduction === "sum" || reduction === "none",
    name,
    () => `reduction is "mean", "sum" or "none", got ${show(reduction)}`,
  );
  check(
    typeof labelSmoothing === "number" && labelSmoothing >= 0 && labelSmoothing <= 1,
    name,
    () => `labelSmoothing is in [0, 1], got ${show(labelSmoothing)}`,
  );
  return axis;
}

/** With integer labels. Log-probabilities are scores - normalizer, or the scores where there is none. */
function labelEntropy(
  name: string,
  scores: Tensor,
  labels: Tensor,
  axis: number,
  normalizer: Tensor | null,
  { weight, ignoreIndex, reduction = "mean", labelSmoothing = 0 }: CrossEntropyOptions,
): Tensor {
  const positions = scores.shape.filter((_, k) => k !== axis);
  check(
    labels instanceof Tensor && (labels.dtype === "i32" || labels.dtype === "u32"),
    name,
    () =>
      `labels are an i32 or u32 tensor${name === "nll" ? "" : ", or probabilities of the logits' shape"}, ` +
      `got ${show(labels)}`,
  );
  check(
    sameShape(labels.shape, positions),
    name,
    () =>
      `labels have the shape ${show(positions)} of ${show(scores.shape)} without axis ${axis}, got ${
        show(labels.shape)
      }`,
  );
  const classes = scores.shape[axis];
  const column = perClass(arange(classes), scores, axis);
  const hit = equal(expandDims(labels, { axis }), column);
  // log softmax(x)[label] = x[label] - log(sum(exp(x))): two sums over the classes that are independent of each
  // other.
  const own = sum(where(hit, scores, 0), { axes: [axis] });
  const inside = logicalAnd(greaterEqual(labels, 0), less(labels, classes));
  const chosen = where(inside, normalizer ? sub(own, normalizer) : own, NaN);
  const plain = weight === undefined && ignoreIndex === undefined;
  if (plain && labelSmoothing === 0) {
    return reduction === "none" ? neg(chosen) : neg(reduction === "sum" ? sum(chosen) : mean(chosen));
  }
  const weights = weight === undefined ? null : checkWeight(name, weight, classes);
  let factor = weights ? take(weights, cast(labels, "i32")) : cast(equal(labels, labels), "f32");
  const counts = ignoreIndex === undefined ? null : notEqual(labels, ignoreIndex);
  if (counts) factor = where(counts, factor, 0);
  let terms = mul(chosen, factor);
  if (labelSmoothing > 0) {
    const spread = logProbabilitySum(scores, axis, normalizer, weights);
    // A label outside the classes stays NaN.
    terms = add(mul(terms, 1 - labelSmoothing), where(inside, mul(spread, labelSmoothing / classes), NaN));
  }
  if (counts) terms = where(counts, terms, 0);
  if (reduction === "none") return neg(terms);
  return neg(reduction === "sum" ? sum(terms) : div(sum(terms), sum(factor)));
}

/** With probabilities for labels. */
function softEntropy(
  logits: Tensor,
  labels: Tensor,
  axis: number,
  normalizer: Tensor,
  { weight, ignoreIndex, reduction = "mean", labelSmoothing = 0 }: CrossEntropyOptions,
): Tensor {
  check(
    sameShape(labels.shape, logits.shape),
    "crossEntropy",
    () =>
      `labels are an i32 or u32 tensor, or probabilities of the logits' shape ${show(logits.shape)}, got ${labels}; ` +
      `cast("i32") labels that are classes`,
  );
  check(
    ignoreIndex === undefined,
    "crossEntropy",
    () => `ignoreIndex is for integer labels; set the probabilities to 0 where nothing counts`,
  );
  const classes = logits.shape[axis];
  const weights = weight === undefined ? null : checkWeight("crossEntropy", weight, classes);
  const smooth = labelSmoothing === 0 ? labels : add(mul(labels, 1 - labelSmoothing), labelSmoothing / classes);
  const target = weights ? mul(smooth, perClass(weights, logits, axis)) : smooth;
  // sum_k t_k (x_k - n) = sum_k t_k x_k - n sum_k t_k, where 0 times -Infinity is 0
  const own = sum(where(equal(target, 0), 0, mul(target, logits)), { axes: [axis] });
  const losses = sub(mul(normalizer, sum(target, { axes: [axis] })), own);
  return reduction === "none" ? losses : reduction === "sum" ? sum(losses) : mean(losses);
}

/** The sum over classes of weight times log-probability. */
function logProbabilitySum(scores: Tensor, axis: number, normalizer: Tensor | null, weights: Tensor | null): Tensor {
  const own = sum(weights ? mul(scores, perClass(weights, scores, axis)) : scores, { axes: [axis] });
  return normalizer ? sub(own, mul(normalizer, weights ? sum(weights) : scores.shape[axis])) : own;
}

/** A vector over the classes, to broadcast against the scores. */
const perClass = (vector: Tensor, scores: Tensor, axis: number): Tensor =>
  reshape(vector, { shape: scores.shape.map((n, k) => (k === axis ? n : 1)) });

function checkWeight(name: string, weight: readonly number[] | Tensor, classes: number): Tensor {
  const right = weight instanceof Tensor
    ? weight.dtype === "f32" && weight.rank === 1 && weight.size === classes
    : Array.isArray(weight) && weight.length === classes && weight.every((w) => typeof w === "number");
  check(
    right,
    name,
    () => `weight is an array of ${classes} numbers or an f32 tensor of shape [${classes}], got ${show(weight)}`,
  );
  return weight instanceof Tensor ? weight : tensor(weight, { dtype: "f32" });
}

/**
 * Mean of -(t log s + (1 - t) log(1 - s)) with s = sigmoid(logits), without overflow; targets in [0, 1].
 *
 * @example
 * ```ts
 * import { binaryCrossEntropyWithLogits, tensor } from "voxgrad";
 *
 * await binaryCrossEntropyWithLogits(tensor([0, 2]), tensor([1, 0])).item(); // 1.41
 * ```
 */
export const binaryCrossEntropyWithLogits: (logits: Tensor, targets: Tensor, ...rest: never[]) => Tensor = computeInF32(
  (logits, targets, ...rest) => {
    refuseOptions("binaryCrossEntropyWithLogits", rest);
    check(
      logits instanceof Tensor && targets instanceof Tensor && sameShape(logits.shape, targets.shape),
      "binaryCrossEntropyWithLogits",
      () => `logits and targets are tensors of one shape, got ${show(logits)} and ${show(targets)}`,
    );
    // -(t log s + (1 - t) log(1 - s)) = softplus(x) - x t
    return mean(sub(softplus(logits), mul(logits, cast(targets, "f32"))));
  },
  { keep: true },
);
