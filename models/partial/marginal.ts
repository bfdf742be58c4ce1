/** Marginal losses (Eqs. 4 to 6 of Shi et al. 2021): a label counts for all classes that it may stand for. */
import {
  arange,
  check,
  checkOptions,
  equal,
  exp,
  greater,
  greaterEqual,
  logicalAnd,
  logSoftmax,
  logSumExp,
  matmul,
  show,
  sum,
  type Tensor,
  where,
} from "../../engine/mod.ts";
import {
  checked,
  checkLabels,
  checkLogits,
  type Groups,
  members,
  named,
  NOTHING,
  partlyLabeled,
  perVoxel,
  type Sets,
  setsOf,
  setsOfLabels,
  spaceOf,
} from "./groups.ts";

/** What the marginal losses share. */
export interface Scored {
  readonly sets: Sets;
  /** f32 [N, K, ...space]: of classes; in logit mode of sets, each at its smallest class */
  readonly logProbability: Tensor;
  /** i32 [N, 1, ...space]: the set of each voxel's label, -1 where it counts for none */
  readonly set: Tensor;
  /** bool [N, 1, ...space]; null: all voxels count */
  readonly valid: Tensor | null;
  /** bool: whether a class belongs to the set of the label, of the logits' shape */
  readonly hit: Tensor;
  /** bool [G, K, K]: which channels make up each set */
  readonly members: Tensor;
  /** f32 [G]: how much a sample counts; null: all alike */
  readonly weight: Tensor | null;
}

export interface MarginalOptions {
  /** What labels may stand for; see the top of partial.ts. */
  readonly groups: Groups;
  /** "probability" (paper, the default); "logit" as the official code, which is another loss. */
  readonly mode?: MergeMode;
  /** Voxels with this label have no part. */
  readonly ignoreIndex?: number;
  /**
   * What partly labeled samples count beside those with all classes annotated; default 1. With another weight the
   * two kinds are not scored together, so that it has no influence on what fully labeled samples are told.
   */
  readonly partly?: number;
}

/** "probability": sums of probabilities (Eq. 4); "logit": sums of logits before one softmax, as the official code. */
export type MergeMode = "probability" | "logit";

const checkMode = (name: string, mode: MergeMode): void =>
  check(mode === "probability" || mode === "logit", name, () => `mode is "probability" or "logit", got ${show(mode)}`);

/** Logits of sets: sums over their classes, at the smallest class of each; NOTHING where there is no set. */
function sumLogits(sets: Sets, logits: Tensor): Tensor {
  const [N, K] = logits.shape as [number, number];
  const summed = matmul(members(sets).cast("f32"), logits.reshape({ shape: [N, K, logits.size / (N * K)] }));
  return where(perVoxel(named(sets), logits.rank), summed.reshape({ shape: logits.shape }), NOTHING);
}

/** Of all marginal losses, so that they take one another's settings. */
const OPTIONS = [
  "groups",
  "mode",
  "ignoreIndex",
  "partly",
  "smooth",
  "batch",
  "includeBackground",
  "reduction",
  "alpha",
  "beta",
  "gamma",
];

export function score(name: string, logits: Tensor, labels: Tensor, options: MarginalOptions): Scored {
  checkOptions(name, options, OPTIONS);
  const [N, K] = checkLogits(name, logits);
  checkLabels(name, labels, [N, ...logits.shape.slice(2)]);
  const { groups, mode = "probability", ignoreIndex, partly = 1 } = options;
  checkMode(name, mode);
  check(Number.isFinite(partly) && partly >= 0, name, () => `partly is a number >= 0, got ${show(partly)}`);
  check(
    ignoreIndex === undefined || Number.isInteger(ignoreIndex),
    name,
    () => `ignoreIndex is an integer, got ${show(ignoreIndex)}`,
  );
  const sets = setsOf(name, groups, N, K);
  const x = logits.cast("f32");
  const set = setsOfLabels(sets, labels, ignoreIndex);
  const apart = { ...sets, of: arange(K).reshape({ shape: [1, K] }) };
  const merged = mode === "logit" ? { sets: apart, x: sumLogits(sets, x) } : { sets, x };
  return {
    sets,
    set,
    logProbability: logSoftmax(merged.x, { axis: 1 }),
    valid: ignoreIndex === undefined ? null : labels.notEqual(ignoreIndex).expandDims({ axis: 1 }),
    hit: equal(perVoxel(merged.sets.of, logits.rank), set),
    members: members(merged.sets),
    weight: partly === 1 ? null : where(partlyLabeled(sets), partly, 1),
  };
}

/** log q of each voxel's set, [N, ...space], and the same of all classes outside it; NOTHING where there are none. */
const logOfSet = ({ hit, logProbability }: Scored): Tensor =>
  logSumExp(where(hit, logProbability, NOTHING), { axes: [1] });
const logOfOthers = ({ hit, logProbability }: Scored): Tensor =>
  logSumExp(where(hit, NOTHING, logProbability), { axes: [1] });

/** Mean over the voxels that count; a label that is no class makes it NaN, as in crossEntropy. */
function voxelMean({ set, valid, weight }: Scored, values: Tensor): Tensor {
  const weighted = weight
    ? values.mul(perVoxel(weight.expandDims({ axis: 1 }), values.rank + 1).squeeze({ axes: [1] }))
    : values;
  const own = where(greaterEqual(set.squeeze({ axes: [1] }), 0), weighted, NaN);
  if (!valid) return sum(own).div(values.size);
  return sum(where(valid.squeeze({ axes: [1] }), own, 0)).div(sum(valid.cast("f32")));
}

/**
 * Marginal cross-entropy (Eqs. 4, 5): the mean over voxels of -log q, where q is the summed probability of all classes
 * that the label may stand for. With each class in a set of its own this is `crossEntropy`.
 *
 * @param logits [N, K, ...space]
 * @param labels class values [N, ...space]; one outside [0, K), unless ignored, makes the loss NaN, as in crossEntropy
 * @example
 * ```ts
 * import { random, zeros } from "voxgrad";
 * import { partial } from "voxgrad/models";
 *
 * const logits = random.normal(random.key(0), { shape: [1, 5, 4, 8, 8] });
 * const groups = partial.mergedGroups([1], 5); // only class 1 is annotated
 * const loss = partial.marginalCrossEntropy(logits, zeros([1, 4, 8, 8], { dtype: "i32" }), { groups });
 * ```
 */
export function marginalCrossEntropy(logits: Tensor, labels: Tensor, options: MarginalOptions): Tensor {
  const scored = score("marginalCrossEntropy", logits, labels, options);
  return checked(voxelMean(scored, logOfSet(scored)).mul(-1), scored.sets);
}

export interface MarginalFocalOptions extends MarginalOptions {
  /** How much voxels that are already right lose of their weight; default 2, 0 is the cross-entropy. */
  readonly gamma?: number;
}

/**
 * Marginal focal loss: the mean over voxels of -(1 - q)^gamma log q (Lin et al. 2017 with q of Eq. 4).
 *
 * @param logits [N, K, ...space]
 * @param labels class values [N, ...space]
 * @example
 * ```ts
 * import { random, zeros } from "voxgrad";
 * import { partial } from "voxgrad/models";
 *
 * const logits = random.normal(random.key(0), { shape: [1, 3, 4, 8, 8] });
 * const labels = zeros([1, 4, 8, 8], { dtype: "i32" });
 * const loss = partial.marginalFocal(logits, labels, { groups: [[0, 2], [1]], gamma: 2 });
 * ```
 */
export function marginalFocal(logits: Tensor, labels: Tensor, options: MarginalFocalOptions): Tensor {
  const { gamma = 2 } = options;
  check(gamma >= 0, "marginalFocal", () => `gamma is a number >= 0, got ${show(gamma)}`);
  const scored = score("marginalFocal", logits, labels, options);
  // 1 - q from the other classes, which keeps its digits and its derivative where q is nearly 1.
  const focus = exp(logOfOthers(scored).mul(gamma));
  return checked(voxelMean(scored, focus.mul(logOfSet(scored))).mul(-1), scored.sets);
}

export interface MarginalDiceOptions extends MarginalOptions {
  /** Added to numerator and denominator; default 1e-5. */
  readonly smooth?: number;
  /**
   * Whether a set is scored once over all samples that have it (unless given, as the official code), not once in each
   * sample.
   */
  readonly batch?: boolean;
  /** Whether the set of the background counts; default false, as in the official code (Eq. 6 counts it). */
  readonly includeBackground?: boolean;
  /** Over sets: the mean (default, as the official code), or the sum (Eq. 6). */
  readonly reduction?: "mean" | "sum";
}

export interface MarginalTverskyOptions extends MarginalDiceOptions {
  /** Weight of false positives; default 0.3. */
  readonly alpha?: number;
  /** Weight of false negatives; default 0.7. */
  readonly beta?: number;
}

/** Sums [N, K] of classes as sums of sets, [N, K] at the smallest class of each. */
const ofSets = (sums: Tensor, { members }: Scored): Tensor =>
  sum(where(members, sums.expandDims({ axis: 1 }), 0), { axes: [2] });

/**
 * bool [N, N, K]: whether sample j has the set that sample n has under the name r, at [n, j, r]. Sets of one name
 * differ where one sample has more of its classes annotated than the other, or counts otherwise.
 */
function sameSets({ sets, weight }: Scored): Tensor {
  const all = members(sets).cast("f32");
  const differ = sum(
    all
      .expandDims({ axis: 1 })
      .sub(all.expandDims({ axis: 0 }))
      .abs(),
    { axes: [3] },
  );
  const there = named(sets);
  const same = logicalAnd(logicalAnd(equal(differ, 0), there.expandDims({ axis: 1 })), there.expandDims({ axis: 0 }));
  if (!weight) return same;
  const alike = equal(weight.expandDims({ axis: 1 }), weight.expandDims({ axis: 0 }));
  return logicalAnd(same, alike.expandDims({ axis: 2 }));
}

/** @throws VoxgradError unless it is "mean" or "sum" */
export function checkReduction(name: string, reduction: unknown): void {
  check(
    reduction === "mean" || reduction === "sum",
    name,
    () => `reduction is "mean" or "sum", got ${show(reduction)}`,
  );
}

/**
 * 1 - Tversky index of the sets, mean over the sets that there are. Merging is linear, so probabilities are summed over
 * voxels first, class by class as in an ordinary Dice loss, and only K sums are merged.
 */
function tverskyTerm(
  name: string,
  scored: Scored,
  options: MarginalTverskyOptions & { alpha: number; beta: number },
): Tensor {
  const { alpha, beta, smooth = 1e-5, batch = true, includeBackground = false, reduction = "mean" } = options;
  checkReduction(name, reduction);
  for (const [key, value] of Object.entries({ alpha, beta, smooth })) {
    check(value >= 0, name, () => `${key} is a number >= 0, got ${show(value)}`);
  }
  const { sets, logProbability, set, valid, hit, weight } = scored;
  const K = logProbability.shape[1];
  const axes = spaceOf(logProbability);
  const all = exp(logProbability);
  const probability = valid ? where(valid, all, 0) : all;
  // A set's labels are counted at its smallest class. TP + alpha FP + beta FN = (1 - alpha - beta) TP + alpha Q + beta
  // Z.
  const labeled = equal(arange(K).reshape({ shape: [1, K, ...axes.map(() => 1)] }), set);
  let both = ofSets(sum(where(hit, probability, 0), { axes }), scored);
  let either = ofSets(sum(probability.mul(alpha).add(labeled.cast("f32").mul(beta)), { axes }), scored);
  // [G, K]: how much each set counts in the mean.
  let share = named(sets).cast("f32");
  if (batch && sets.of.shape[0] === 1) {
    both = sum(both, { axes: [0], keepDims: true });
    either = sum(either, { axes: [0], keepDims: true });
  } else if (batch) {
    const same = sameSets(scored);
    const pool = (x: Tensor): Tensor => sum(where(same, x.expandDims({ axis: 0 }), 0), { axes: [1] });
    both = pool(both);
    either = pool(either);
    const times = sum(same.cast("f32"), { axes: [1] });
    share = share.div(where(greater(times, 0), times, 1));
  }
  if (!includeBackground) share = where(greater(arange(K), 0), share, 0);
  const denominator = both
    .mul(1 - alpha - beta)
    .add(either)
    .add(smooth);
  const index = both.add(smooth).div(where(greater(share, 0), denominator, 1));
  const each = weight ? share.mul(weight.expandDims({ axis: 1 })) : share;
  const lost = sum(each.mul(index.mul(-1).add(1)));
  // Once over the batch each set has a share of 1 in all; otherwise one in each sample.
  if (reduction === "sum") return checked(lost.div(batch ? 1 : both.shape[0]), sets);
  const count = sum(share).mul(both.shape[0] / share.shape[0]);
  // Without any annotated class there is nothing to lose.
  return checked(lost.div(where(greater(count, 0), count, 1)), sets);
}

/**
 * Marginal Dice loss (Eqs. 4, 6): 1 - soft Dice between the merged probabilities and the labels, mean or sum over the
 * sets of classes, (2 sum(q z) + smooth) / (sum(q) + sum(z) + smooth) each. With each class in a set of its own this is
 * `softDice`, with the same `batch`, whose default is not that of softDice.
 *
 * @param logits [N, K, ...space]
 * @param labels class values [N, ...space]
 * @example
 * ```ts
 * import { random, zeros } from "voxgrad";
 * import { partial } from "voxgrad/models";
 *
 * const logits = random.normal(random.key(0), { shape: [1, 3, 4, 8, 8] });
 * const loss = partial.marginalDice(logits, zeros([1, 4, 8, 8], { dtype: "i32" }), { groups: [[0, 2], [1]] });
 * ```
 */
export function marginalDice(logits: Tensor, labels: Tensor, options: MarginalDiceOptions): Tensor {
  const scored = score("marginalDice", logits, labels, options);
  const { smooth = 1e-5 } = options;
  check(smooth >= 0, "marginalDice", () => `smooth is a number >= 0, got ${show(smooth)}`);
  return tverskyTerm("marginalDice", scored, { ...options, alpha: 0.5, beta: 0.5, smooth: smooth / 2 });
}

/**
 * Marginal Tversky loss: 1 - (TP + smooth) / (TP + alpha FP + beta FN + smooth) of the merged probabilities, the mean
 * over the sets of classes (Salehi et al. 2017 with q of Eq. 4).
 *
 * @param logits [N, K, ...space]
 * @param labels class values [N, ...space]
 * @example
 * ```ts
 * import { random, zeros } from "voxgrad";
 * import { partial } from "voxgrad/models";
 *
 * const logits = random.normal(random.key(0), { shape: [1, 3, 4, 8, 8] });
 * const labels = zeros([1, 4, 8, 8], { dtype: "i32" });
 * const loss = partial.marginalTversky(logits, labels, { groups: [[0, 2], [1]], alpha: 0.3, beta: 0.7 });
 * ```
 */
export function marginalTversky(logits: Tensor, labels: Tensor, options: MarginalTverskyOptions): Tensor {
  const scored = score("marginalTversky", logits, labels, options);
  return tverskyTerm("marginalTversky", scored, { ...options, alpha: options.alpha ?? 0.3, beta: options.beta ?? 0.7 });
}

/**
 * Probabilities of the sets (Eq. 4): each at its smallest class, 0 at other classes, so they add up to 1.
 *
 * @param logits [N, K, ...space]
 * @returns f32 of the logits' shape
 * @example
 * ```ts
 * import { random } from "voxgrad";
 * import { partial } from "voxgrad/models";
 *
 * const logits = random.normal(random.key(0), { shape: [1, 3, 4, 8, 8] });
 * const q = partial.mergedProbabilities(logits, { groups: [[0, 2], [1]] }); // q at class 0 is p0 + p2
 * ```
 */
export function mergedProbabilities(logits: Tensor, options: { groups: Groups; mode?: MergeMode }): Tensor {
  checkOptions("mergedProbabilities", options, ["groups", "mode"]);
  const { groups, mode = "probability" } = options;
  const [N, K] = checkLogits("mergedProbabilities", logits);
  checkMode("mergedProbabilities", mode);
  const sets = setsOf("mergedProbabilities", groups, N, K);
  const x = logits.cast("f32");
  if (mode === "logit") return checked(exp(logSoftmax(sumLogits(sets, x), { axis: 1 })), sets);
  const p = exp(logSoftmax(x, { axis: 1 })).reshape({ shape: [N, K, x.size / (N * K)] });
  return checked(matmul(members(sets).cast("f32"), p).reshape({ shape: logits.shape }), sets);
}
