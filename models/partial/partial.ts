/**
 * One network from partially labeled scans: the losses of Shi et al., "Marginal loss and exclusion loss for partially
 * supervised multi-organ segmentation", 2021.
 *
 * Logits are [N, K, ...space] of any axes of space, class 0 the background. Labels are i32 or u32 [N, ...space] of
 * class values, 0 wherever no annotated class is. `groups` tells what a label may stand for: a partition of the K
 * classes into sets (Phi_m of Eq. 4), and a label means the set that holds it. A scan in which only class 1 of five is
 * annotated has the groups [[0, 2, 3, 4], [1]]: its 0 is background or any of the classes 2 to 4. So the label files of
 * every dataset are used as they are, and a label map that shows more than `groups` admits is read as if it did not.
 *
 * Groups are arrays, one partition for the batch or one for each sample, or a 0/1 tensor of `mergeMatrix`, which may be
 * an argument of a compiled function: other groups then run in the same program. They cost next to nothing, because
 * only what is summed over voxels is merged, and the cross-entropy is a sum over the classes of one set.
 */
import {
  arange,
  argmax,
  check,
  checkOptions,
  equal,
  greater,
  greaterEqual,
  log,
  logSoftmax,
  logSumExp,
  mean,
  show,
  stopGradient,
  sum,
  Tensor,
  tensor,
  where,
} from "../../engine/mod.ts";
import { exclusionCrossEntropy, exclusionDice, exclusionLabels } from "./exclusion.ts";
import { checkLogits, type ClassSets, type Groups, NOTHING, partlyLabeled, setsOf } from "./groups.ts";
import { marginalCrossEntropy, marginalDice, type MarginalDiceOptions, score } from "./marginal.ts";

export { exclusionCrossEntropy, exclusionDice, exclusionLabels, exclusionSets } from "./exclusion.ts";
export type { ExclusionCrossEntropyOptions, ExclusionDiceOptions, ExclusionLabelOptions } from "./exclusion.ts";
export { mergedGroups, mergeMatrix, setMatrix } from "./groups.ts";
export type { ClassSets, Groups } from "./groups.ts";
export { marginalCrossEntropy, marginalDice, marginalFocal, marginalTversky, mergedProbabilities } from "./marginal.ts";
export type {
  MarginalDiceOptions,
  MarginalFocalOptions,
  MarginalOptions,
  MarginalTverskyOptions,
  MergeMode,
} from "./marginal.ts";

export interface PartialLossOptions extends MarginalDiceOptions {
  /**
   * Weights of the four terms: 1, 1, 2 and 2 unless given (the best of Table 5). A term of weight 0 is not computed.
   * The paper's weight of the marginal losses is `partly`: fully labeled samples keep their ordinary loss whatever it
   * is.
   */
  readonly crossEntropy?: number;
  readonly dice?: number;
  readonly exclusionCrossEntropy?: number;
  readonly exclusionDice?: number;
  /** See exclusionLabels. */
  readonly sets?: ClassSets;
}

const KEYS = [
  "groups",
  "sets",
  "mode",
  "ignoreIndex",
  "partly",
  "smooth",
  "batch",
  "includeBackground",
  "reduction",
  "crossEntropy",
  "dice",
  "exclusionCrossEntropy",
  "exclusionDice",
];

/**
 * The paper's best loss: marginal cross-entropy and Dice, plus twice exclusion cross-entropy and Dice. The terms share
 * one softmax. The exclusion terms look at partly labeled samples alone (Section 4.4), so without any they are 0; the
 * official code has no exclusion cross-entropy.
 *
 * @param logits [N, K, ...space]
 * @param labels class values [N, ...space]
 * @example
 * ```ts
 * import { random, zeros } from "voxgrad";
 * import { partial } from "voxgrad/models";
 * import { deepSupervision } from "voxgrad/nn";
 *
 * const outputs = [4, 2].map((d) => random.normal(random.key(d), { shape: [1, 3, d, 8, 8] }));
 * const labels = zeros([1, 4, 8, 8], { dtype: "i32" });
 * const groups = partial.mergedGroups([1], 3);
 * const loss = deepSupervision((logits, labels) => partial.loss(logits, labels, { groups }), outputs, labels);
 * ```
 */
export function loss(logits: Tensor, labels: Tensor, options: PartialLossOptions): Tensor {
  checkOptions("partial.loss", options, KEYS);
  const { crossEntropy = 1, dice = 1, exclusionCrossEntropy: eCE = 2, exclusionDice: eDice = 2, ...own } = options;
  const weights = { crossEntropy, dice, exclusionCrossEntropy: eCE, exclusionDice: eDice };
  for (const [key, w] of Object.entries(weights)) {
    check(Number.isFinite(w) && w >= 0, "partial.loss", () => `${key} is a number >= 0, got ${show(w)}`);
  }
  const [, classes] = checkLogits("partial.loss", logits);
  const { sets, ...marginal } = own;
  const { groups, ignoreIndex, batch = true, reduction = "mean" } = own;
  const exclusion = exclusionLabels(labels, {
    groups,
    classes,
    ...(sets && { sets }),
    ...(ignoreIndex !== undefined && { ignoreIndex }),
  });
  const samples = partlyLabeled(setsOf("partial.loss", groups, labels.shape[0], classes));
  const terms = [
    ...(crossEntropy > 0 ? [marginalCrossEntropy(logits, labels, marginal).mul(crossEntropy)] : []),
    ...(dice > 0 ? [marginalDice(logits, labels, marginal).mul(dice)] : []),
    ...(eCE > 0 ? [exclusionCrossEntropy(logits, exclusion, { samples }).mul(eCE)] : []),
    ...(eDice > 0 ? [exclusionDice(logits, exclusion, { batch, samples, reduction }).mul(eDice)] : []),
  ];
  check(terms.length > 0, "partial.loss", () => "all weights are 0");
  return terms.reduce((a, b) => a.add(b));
}

/**
 * Prior-aware loss (Zhou et al., "Prior-aware neural network for partially-supervised multi-organ segmentation", 2019):
 * the classes' mean probability over the batch against the shares of the volume that they have in fully labeled scans,
 * the sum over classes of q log(q / p) + (1 - q) log((1 - q) / (1 - p)). That paper takes p over the whole dataset, by
 * a primal-dual method; here it is that of the batch, so batches have to be large or the weight small.
 *
 * @param logits [N, K, ...space]
 * @param options.prior K shares that add up to 1, the background's first
 * @example
 * ```ts
 * import { random } from "voxgrad";
 * import { partial } from "voxgrad/models";
 *
 * const logits = random.normal(random.key(0), { shape: [2, 3, 4, 8, 8] });
 * const loss = partial.priorAware(logits, { prior: [0.95, 0.04, 0.01] });
 * ```
 */
export function priorAware(logits: Tensor, options: { prior: readonly number[] | Tensor }): Tensor {
  checkOptions("priorAware", options, ["prior"]);
  const [, K] = checkLogits("priorAware", logits);
  const { prior } = options;
  const isShare = (q: unknown): boolean => typeof q === "number" && q >= 0 && q <= 1;
  const right = prior instanceof Tensor ? String(prior.shape) === String([K]) : Array.isArray(prior) &&
    prior.length === K &&
    prior.every(isShare) &&
    Math.abs(prior.reduce((a, b) => a + b, 0) - 1) < 1e-3;
  check(right, "priorAware", () => `the prior is ${K} shares from 0 to 1 that add up to 1, got ${show(prior)}`);
  const q = prior instanceof Tensor ? prior.cast("f32") : tensor(prior as number[], { dtype: "f32" });
  const each = logSoftmax(logits.cast("f32"), { axis: 1 });
  const inside = logSumExp(each, { axes: each.shape.map((_, k) => k).filter((k) => k !== 1) }).sub(
    Math.log(logits.size / K),
  );
  // 1 - p from the other classes, which keeps its digits where one class has nearly all.
  const classes = arange(K);
  const outside = logSumExp(where(equal(classes.expandDims({ axis: 1 }), classes), NOTHING, inside), { axes: [1] });
  const entropy = (share: Tensor): Tensor => share.mul(log(where(greater(share, 0), share, 1)));
  const rest = q.mul(-1).add(1);
  return sum(entropy(q).add(entropy(rest)).sub(q.mul(inside)).sub(rest.mul(outside)));
}

/**
 * The fraction of a batch's samples in which not all labels are annotated, f32 [].
 *
 * @param groups as for `loss`
 * @param samples patches of the batch
 * @param classes outputs of the network
 * @example
 * ```ts
 * import { partial } from "voxgrad/models";
 *
 * await partial.partlyLabeledShare([[0, 2], [1]], 2, 3).item(); // 1
 * ```
 */
export const partlyLabeledShare = (groups: Groups, samples: number, classes: number): Tensor =>
  mean(partlyLabeled(setsOf("partlyLabeledShare", groups, samples, classes)).cast("f32"));

/**
 * Labels that the network completes: where a label may stand for several classes, the most likely of those, to be
 * trained on with an ordinary loss. The official code compares with this under the name of PaNN.
 *
 * @param logits [N, K, ...space]
 * @param labels class values [N, ...space]; one outside [0, K) stays
 * @returns i32 [N, ...space], through which no gradient passes
 * @example
 * ```ts
 * import { random, zeros } from "voxgrad";
 * import { partial } from "voxgrad/models";
 * import { diceCrossEntropy } from "voxgrad/nn";
 *
 * const logits = random.normal(random.key(0), { shape: [1, 3, 4, 8, 8] });
 * const labels = zeros([1, 4, 8, 8], { dtype: "i32" });
 * const loss = diceCrossEntropy(logits, partial.pseudoLabels(logits, labels, { groups: [[0, 2], [1]] }));
 * ```
 */
export function pseudoLabels(logits: Tensor, labels: Tensor, options: { groups: Groups }): Tensor {
  checkOptions("pseudoLabels", options, ["groups"]);
  const { hit, set, sets } = score("pseudoLabels", logits, labels, { groups: options.groups });
  const likely = argmax(where(hit, stopGradient(logits.cast("f32")), NOTHING), { axis: 1 });
  const result = where(greaterEqual(set.squeeze({ axes: [1] }), 0), likely, labels.cast("i32"));
  // Labels hold no NaN; -1 is no class of any loss.
  return sets.fault ? where(equal(sets.fault, 0), result, -1) : result;
}
