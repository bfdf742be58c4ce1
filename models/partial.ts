/**
 * One network from partially labelled scans: the losses of Shi et al., "Marginal loss and exclusion loss for partially
 * supervised multi-organ segmentation", 2021.
 *
 * Logits are [N, K, ...space] of any axes of space, class 0 the background. Labels are i32 or u32 [N, ...space] of class
 * values, 0 wherever no annotated class is. `groups` tells what a label may stand for: a partition of the K classes into
 * sets (Phi_m of Eq. 4), and a label means the set that holds it. A scan in which only class 1 of five is annotated has
 * the groups [[0, 2, 3, 4], [1]]: its 0 is background or any of the classes 2 to 4. So the label files of every dataset
 * are used as they are, and a label map that shows more than `groups` admits is read as if it did not.
 *
 * Groups are arrays, one partition for the batch or one for each sample, or a 0/1 tensor of `mergeMatrix`, which may be
 * an argument of a compiled function: other groups then run in the same program. They cost next to nothing, because
 * only what is summed over voxels is merged, and the cross-entropy is a sum over the classes of one set.
 */
import {
  arange, argmax, equal, exp, greater, greaterEqual, less, log, log1p, logicalAnd, logSoftmax, logSumExp, matmul, max, mean, min, slice,
  stopGradient, sum, take, Tensor, tensor, VoxgradError, where,
} from "../engine/mod.ts";

const need = (condition: boolean, name: string, message: () => string): void => {
  if (!condition) throw new VoxgradError(`${name}: ${message()}`);
};

/** Sets of class values that together hold each class once; the first is usually that of the background. */
export type ClassSets = readonly (readonly number[])[];

/** One partition for all samples, one for each sample, or a 0/1 tensor [M, K] or [N, M, K] from `mergeMatrix`. */
export type Groups = ClassSets | readonly ClassSets[] | Tensor;

/** "probability": sums of probabilities (Eq. 4); "logit": sums of logits before one softmax, as the official code. */
export type MergeMode = "probability" | "logit";

/** Stands for the logarithm of 0: far below any, and no infinity, whose differences would be NaN. */
const NOTHING = -1e30;

const shown = (value: unknown): string => (value instanceof Tensor ? String(value) : JSON.stringify(value));

const checkClasses = (name: string, classes: number): void =>
  need(Number.isInteger(classes) && classes >= 2, name, () => `classes is a whole number from 2, the background included, got ${shown(classes)}`);

/**
 * Groups of a scan in which only some classes are annotated: each of those by itself, all others with the background.
 *
 * @param labelsPresent foreground values that are annotated, as a case of a dataset has it; undefined: all are
 * @param classes K, with the background
 * @example partial.mergedGroups([2, 3], 5); // [[0, 1, 4], [2], [3]]
 */
export function mergedGroups(labelsPresent: readonly number[] | undefined, classes: number): number[][] {
  checkClasses("mergedGroups", classes);
  const foreground = Array.from({ length: classes - 1 }, (_, k) => k + 1);
  const stray = labelsPresent?.find((value) => value !== 0 && !foreground.includes(value));
  need(stray === undefined, "mergedGroups", () => `labelsPresent holds class values from 1 to ${classes - 1}, got ${shown(stray)}`);
  const apart = foreground.filter((k) => labelsPresent?.includes(k) ?? true);
  return [[0, ...foreground.filter((k) => !apart.includes(k))], ...apart.map((k) => [k])];
}

/** The smallest class of the set that holds each class, or an error that says what is no partition. */
function smallestOfSets(name: string, sets: ClassSets, classes: number): number[] {
  const smallest = Array.from<number | undefined>({ length: classes });
  const isList = Array.isArray(sets) && sets.length > 0 && sets.every((set) => Array.isArray(set) && set.length > 0);
  need(isList, name, () => `groups are lists of class values such as [[0, 2], [1]], or a tensor of mergeMatrix, got ${shown(sets)}`);
  for (const set of sets) {
    for (const value of set) {
      need(Number.isInteger(value) && value >= 0 && value < classes, name,
        () => `groups hold class values from 0 to ${classes - 1}, got ${shown(value)} in ${shown(sets)}`);
      need(smallest[value] === undefined, name, () => `class ${value} is in two sets of ${shown(sets)}; a class belongs to one`);
      smallest[value] = Math.min(...set);
    }
  }
  const missing = smallest.indexOf(undefined);
  need(missing < 0, name, () => `class ${missing} is in no set of ${shown(sets)}; put those that are not annotated into the set of 0`);
  return smallest as number[];
}

/** Partitions of one scan or of each of a batch: true of [[[0], [1]], [[0, 1]]]. */
const isPerSample = (groups: ClassSets | readonly ClassSets[]): groups is readonly ClassSets[] => Array.isArray(groups[0]?.[0]);

/**
 * Groups as a 0/1 matrix (the sets of Eq. 4), to be an argument of a compiled function: row m has ones at the classes of
 * the m-th set. There are K rows whatever the groups, those beyond the last set 0, so the shape is always the same.
 *
 * @param groups one partition, or one for each sample
 * @param classes K, with the background
 * @returns f32 [K, K], or [N, K, K]
 * @example
 * const merge = partial.mergeMatrix(batch.map((item) => partial.mergedGroups(item.labelsPresent, 5)), 5);
 * const step = compile((logits, labels, groups) => partial.marginalDice(logits, labels, { groups }));
 */
export function mergeMatrix(groups: ClassSets | readonly ClassSets[], classes: number): Tensor {
  checkClasses("mergeMatrix", classes);
  const all = isPerSample(groups) ? groups : [groups];
  const ones = new Float32Array(all.length * classes * classes);
  all.forEach((sets, n) => {
    smallestOfSets("mergeMatrix", sets, classes);
    sets.forEach((set, m) => set.forEach((k) => (ones[(n * classes + m) * classes + k] = 1)));
  });
  return tensor(ones, { shape: [...(isPerSample(groups) ? [all.length] : []), classes, classes] });
}

/** A partition as the engine computes with it: a set is named by its smallest class, so that of the background by 0. */
interface Sets {
  /** i32 [G, K]: the set that holds each class; G is 1 where all samples share the groups, else N. */
  readonly of: Tensor;
  /** 0, or NaN where a traced matrix is no partition: added to a loss, so that no wrong number is returned. */
  readonly fault: Tensor | null;
}

function setsOf(name: string, groups: Groups, samples: number, classes: number): Sets {
  if (!(groups instanceof Tensor)) {
    need(Array.isArray(groups), name, () => `groups are lists of class values such as [[0, 2], [1]], or a tensor of mergeMatrix, got ${shown(groups)}`);
    const all = isPerSample(groups) ? groups : [groups];
    need(!isPerSample(groups) || all.length === samples, name, () => `groups are one partition or one for each of ${samples} samples, got ${all.length}`);
    const of = Int32Array.from(all.flatMap((sets) => smallestOfSets(name, sets, classes)));
    return { of: tensor(of, { shape: [all.length, classes] }), fault: null };
  }
  const { shape } = groups;
  const fits = (shape.length === 2 || (shape.length === 3 && shape[0] === samples)) && shape.at(-1) === classes;
  need(fits, name, () => `groups as a tensor are [M, ${classes}] or [${samples}, M, ${classes}], got ${groups}`);
  const [G, M] = shape.length === 3 ? [samples, shape[1]!] : [1, shape[0]!];
  const member = groups.cast("f32").reshape({ shape: [G, M, classes] });
  const inSets = sum(member, { axes: [1] });
  // Where a set is 1 its smallest class, elsewhere K; then what is least over the sets that hold a class.
  const class_ = arange(classes);
  const smallest = min(where(greater(member, 0), class_, classes), { axes: [2], keepDims: true });
  const of = min(where(greater(member, 0), smallest, classes), { axes: [1] });
  const whole = max(inSets.sub(1).abs()).equal(0);
  return { of, fault: where(whole, 0, NaN) };
}

/** Classes as a column beside [G, K]: i32 [1, K, 1], to compare with [G, 1, K]. */
const column = (classes: number): Tensor => arange(classes).reshape({ shape: [1, classes, 1] });
/** bool [G, K, K]: whether class k belongs to the set named r, at [g, r, k]. */
const members = ({ of }: Sets): Tensor => equal(of.expandDims({ axis: 1 }), column(of.shape[1]!));
/** bool [G, K]: whether there is a set named r. */
const named = ({ of }: Sets): Tensor => equal(of, arange(of.shape[1]!));

/** What the marginal losses share. */
interface Scored {
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
}

export interface MarginalOptions {
  /** What labels may stand for; see the top of this file. */
  readonly groups: Groups;
  /** "probability" (paper) unless given; "logit" as the official code, which is another loss. */
  readonly mode?: MergeMode;
  /** Voxels with this label have no part. */
  readonly ignoreIndex?: number;
}

function checkLogits(name: string, logits: Tensor): [number, number] {
  const right = logits instanceof Tensor && (logits.dtype === "f32" || logits.dtype === "f16") && logits.rank >= 2 && logits.shape[1]! >= 2;
  need(right, name, () => `logits are f32 or f16 [N, K, ...space] of at least 2 classes, got ${shown(logits)}`);
  return [logits.shape[0]!, logits.shape[1]!];
}

function checkLabels(name: string, labels: Tensor, wanted?: readonly number[]): void {
  const right = labels instanceof Tensor && (labels.dtype === "i32" || labels.dtype === "u32");
  need(right, name, () => `labels are i32 or u32 class values, got ${shown(labels)}`);
  const fits = wanted ? String(labels.shape) === String(wanted) : labels.rank >= 1;
  need(fits, name, () => `labels are [N, ...space], here [${wanted ?? "N, ...space"}], got ${labels}`);
}

/** A row for each sample, [N, K, ...space's ones], of one for all or one each. */
const perVoxel = (rows: Tensor, rank: number): Tensor => rows.reshape({ shape: [...rows.shape, ...Array(rank - 2).fill(1)] });

/** The entry at each label of a table that has K of them for each sample (or for all), [G, K]; any where it has none. */
function lookUp(table: Tensor, labels: Tensor): Tensor {
  const [G, K] = table.shape as [number, number];
  const first = arange(G).mul(K).reshape({ shape: [G, ...Array(labels.rank - 1).fill(1)] });
  return take(table.reshape({ shape: [G * K] }), G === 1 ? labels : labels.add(first));
}

/** The labels' sets, -1 where a label is no class or ignored: [N, 1, ...space]. */
function setsOfLabels(sets: Sets, labels: Tensor, ignoreIndex: number | undefined): Tensor {
  const value = labels.cast("i32");
  const known = logicalAnd(greaterEqual(value, 0), less(value, sets.of.shape[1]!));
  const counted = ignoreIndex === undefined ? known : logicalAnd(known, value.notEqual(ignoreIndex));
  return where(counted, lookUp(sets.of, value), -1).expandDims({ axis: 1 });
}

/** Logits of sets: sums over their classes, at the smallest class of each; NOTHING where there is no set. */
function sumLogits(sets: Sets, logits: Tensor): Tensor {
  const [N, K] = logits.shape as [number, number];
  const summed = matmul(members(sets).cast("f32"), logits.reshape({ shape: [N, K, logits.size / (N * K)] }));
  return where(perVoxel(named(sets), logits.rank), summed.reshape({ shape: logits.shape }), NOTHING);
}

function score(name: string, logits: Tensor, labels: Tensor, options: MarginalOptions): Scored {
  const [N, K] = checkLogits(name, logits);
  checkLabels(name, labels, [N, ...logits.shape.slice(2)]);
  const { groups, mode = "probability", ignoreIndex } = options;
  need(mode === "probability" || mode === "logit", name, () => `mode is "probability" or "logit", got ${shown(mode)}`);
  need(ignoreIndex === undefined || Number.isInteger(ignoreIndex), name, () => `ignoreIndex is a whole number, got ${shown(ignoreIndex)}`);
  const sets = setsOf(name, groups, N, K);
  const x = logits.cast("f32");
  const set = setsOfLabels(sets, labels, ignoreIndex);
  const apart = { ...sets, of: arange(K).reshape({ shape: [1, K] }) };
  const merged = mode === "logit" ? { sets: apart, x: sumLogits(sets, x) } : { sets, x };
  return {
    sets, set,
    logProbability: logSoftmax(merged.x, { axis: 1 }),
    valid: ignoreIndex === undefined ? null : labels.notEqual(ignoreIndex).expandDims({ axis: 1 }),
    hit: equal(perVoxel(merged.sets.of, logits.rank), set),
    members: members(merged.sets),
  };
}

const checked = (loss: Tensor, { fault }: Sets): Tensor => (fault ? loss.add(fault) : loss);

/** log q of each voxel's set, [N, ...space], and the same of all classes outside it; NOTHING where there are none. */
const logOfSet = ({ hit, logProbability }: Scored): Tensor => logSumExp(where(hit, logProbability, NOTHING), { axes: [1] });
const logOfOthers = ({ hit, logProbability }: Scored): Tensor => logSumExp(where(hit, NOTHING, logProbability), { axes: [1] });

/** Mean over the voxels that count; labels that are no class give 0, as in crossEntropy. */
function voxelMean({ set, valid }: Scored, values: Tensor): Tensor {
  const total = sum(where(greaterEqual(set.squeeze({ axes: [1] }), 0), values, 0));
  return valid ? total.div(sum(valid.cast("f32"))) : total.div(values.size);
}

/**
 * Marginal cross-entropy (Eqs. 4, 5): the mean over voxels of -log q, where q is the summed probability of all classes
 * that the label may stand for. With each class in a set of its own this is `crossEntropy`.
 *
 * @param logits [N, K, ...space]
 * @param labels class values [N, ...space]; one outside [0, K) counts as no class, as in crossEntropy
 * @example
 * const groups = partial.mergedGroups([1], 5); // only class 1 is annotated
 * const loss = partial.marginalCrossEntropy(network.apply(params, x), labels, { groups });
 */
export function marginalCrossEntropy(logits: Tensor, labels: Tensor, options: MarginalOptions): Tensor {
  const scored = score("marginalCrossEntropy", logits, labels, options);
  return checked(voxelMean(scored, logOfSet(scored)).mul(-1), scored.sets);
}

export interface MarginalFocalOptions extends MarginalOptions {
  /** How much voxels that are already right lose of their weight; 2 unless given, 0 is the cross-entropy. */
  readonly gamma?: number;
}

/**
 * Marginal focal loss: the mean over voxels of -(1 - q)^gamma log q (Lin et al. 2017 with q of Eq. 4).
 *
 * @param logits [N, K, ...space]
 * @param labels class values [N, ...space]
 * @example const loss = partial.marginalFocal(logits, labels, { groups: [[0, 2], [1]], gamma: 2 });
 */
export function marginalFocal(logits: Tensor, labels: Tensor, options: MarginalFocalOptions): Tensor {
  const { gamma = 2 } = options;
  need(gamma >= 0, "marginalFocal", () => `gamma is a number >= 0, got ${shown(gamma)}`);
  const scored = score("marginalFocal", logits, labels, options);
  // 1 - q from the other classes, which keeps its digits and its derivative where q is nearly 1.
  const focus = exp(logOfOthers(scored).mul(gamma));
  return checked(voxelMean(scored, focus.mul(logOfSet(scored))).mul(-1), scored.sets);
}

export interface MarginalDiceOptions extends MarginalOptions {
  /** Added to numerator and denominator; 1e-5 unless given. */
  readonly smooth?: number;
  /**
   * Whether a set is scored once over all samples that have it (unless given, as the official code), not once in each
   * sample.
   */
  readonly batch?: boolean;
  /** Whether the set of the background counts; not unless given, as in the official code (Eq. 6 counts it). */
  readonly includeBackground?: boolean;
}

export interface MarginalTverskyOptions extends MarginalDiceOptions {
  /** Weight of false positives; 0.3 unless given. */
  readonly alpha?: number;
  /** Weight of false negatives; 0.7 unless given. */
  readonly beta?: number;
}

/** Axes of space of a tensor [N, K, ...space]. */
const spaceOf = (x: Tensor): number[] => x.shape.map((_, k) => k).slice(2);

/** Sums [N, K] of classes as sums of sets, [N, K] at the smallest class of each. */
const ofSets = (sums: Tensor, { members }: Scored): Tensor => sum(where(members, sums.expandDims({ axis: 1 }), 0), { axes: [2] });

/**
 * bool [N, N, K]: whether sample j has the set that sample n has under the name r, at [n, j, r]. Sets of one name differ
 * where one sample has more of its classes annotated than the other.
 */
function sameSets(sets: Sets): Tensor {
  const all = members(sets).cast("f32");
  const differ = sum(all.expandDims({ axis: 1 }).sub(all.expandDims({ axis: 0 })).abs(), { axes: [3] });
  const there = named(sets);
  return logicalAnd(logicalAnd(equal(differ, 0), there.expandDims({ axis: 1 })), there.expandDims({ axis: 0 }));
}

/**
 * 1 - Tversky index of the sets, mean over the sets that there are. Merging is linear, so probabilities are summed over
 * voxels first, class by class as in an ordinary Dice loss, and only K sums are merged.
 */
function tverskyTerm(name: string, scored: Scored, options: MarginalTverskyOptions & { alpha: number; beta: number }): Tensor {
  const { alpha, beta, smooth = 1e-5, batch = true, includeBackground = false } = options;
  for (const [key, value] of Object.entries({ alpha, beta, smooth })) need(value >= 0, name, () => `${key} is a number >= 0, got ${shown(value)}`);
  const { sets, logProbability, set, valid, hit } = scored;
  const K = logProbability.shape[1]!;
  const axes = spaceOf(logProbability);
  const all = exp(logProbability);
  const probability = valid ? where(valid, all, 0) : all;
  // A set's labels are counted at its smallest class. TP + alpha FP + beta FN = (1 - alpha - beta) TP + alpha Q + beta Z.
  const labelled = equal(arange(K).reshape({ shape: [1, K, ...axes.map(() => 1)] }), set);
  let both = ofSets(sum(where(hit, probability, 0), { axes }), scored);
  let either = ofSets(sum(probability.mul(alpha).add(labelled.cast("f32").mul(beta)), { axes }), scored);
  // [G, K]: how much each set counts in the mean.
  let share = named(sets).cast("f32");
  if (batch && sets.of.shape[0] === 1) {
    both = sum(both, { axes: [0], keepDims: true });
    either = sum(either, { axes: [0], keepDims: true });
  } else if (batch) {
    const same = sameSets(sets);
    const pool = (x: Tensor): Tensor => sum(where(same, x.expandDims({ axis: 0 }), 0), { axes: [1] });
    both = pool(both);
    either = pool(either);
    const times = sum(same.cast("f32"), { axes: [1] });
    share = share.div(where(greater(times, 0), times, 1));
  }
  if (!includeBackground) share = where(greater(arange(K), 0), share, 0);
  const denominator = both.mul(1 - alpha - beta).add(either).add(smooth);
  const index = both.add(smooth).div(where(greater(share, 0), denominator, 1));
  const lost = sum(share.mul(index.mul(-1).add(1)));
  const count = sum(share).mul(both.shape[0]! / share.shape[0]!);
  // Without any annotated class there is nothing to lose.
  return checked(lost.div(where(greater(count, 0), count, 1)), sets);
}

/**
 * Marginal Dice loss (Eqs. 4, 6): 1 - soft Dice between the merged probabilities and the labels, the mean over the sets
 * of classes, (2 sum(q z) + smooth) / (sum(q) + sum(z) + smooth) each. With each class in a set of its own this is
 * `softDice`, with the same `batch` (which is not softDice's unless given).
 *
 * @param logits [N, K, ...space]
 * @param labels class values [N, ...space]
 * @example const loss = partial.marginalDice(logits, labels, { groups: [[0, 2, 3, 4], [1]] });
 */
export function marginalDice(logits: Tensor, labels: Tensor, options: MarginalDiceOptions): Tensor {
  const scored = score("marginalDice", logits, labels, options);
  const { smooth = 1e-5 } = options;
  need(smooth >= 0, "marginalDice", () => `smooth is a number >= 0, got ${shown(smooth)}`);
  return tverskyTerm("marginalDice", scored, { ...options, alpha: 0.5, beta: 0.5, smooth: smooth / 2 });
}

/**
 * Marginal Tversky loss: 1 - (TP + smooth) / (TP + alpha FP + beta FN + smooth) of the merged probabilities, the mean
 * over the sets of classes (Salehi et al. 2017 with q of Eq. 4).
 *
 * @param logits [N, K, ...space]
 * @param labels class values [N, ...space]
 * @example const loss = partial.marginalTversky(logits, labels, { groups: [[0, 2], [1]], alpha: 0.3, beta: 0.7 });
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
 * @example const q = partial.mergedProbabilities(logits, { groups: [[0, 2], [1]] }); // q at class 0 is p0 + p2
 */
export function mergedProbabilities(logits: Tensor, options: { groups: Groups; mode?: MergeMode }): Tensor {
  const [N, K] = checkLogits("mergedProbabilities", logits);
  const sets = setsOf("mergedProbabilities", options.groups, N, K);
  const x = logits.cast("f32");
  if (options.mode === "logit") return checked(exp(logSoftmax(sumLogits(sets, x), { axis: 1 })), sets);
  const p = exp(logSoftmax(x, { axis: 1 })).reshape({ shape: [N, K, x.size / (N * K)] });
  return checked(matmul(members(sets).cast("f32"), p).reshape({ shape: logits.shape }), sets);
}

/**
 * The classes that exclude each class (E_n of Section 3.3): all other foreground classes, none for the background.
 *
 * @param options.background whether the background excludes organs too, as in the official code
 * @example partial.exclusionSets(4); // [[], [2, 3], [1, 3], [1, 2]]
 */
export function exclusionSets(classes: number, options: { background?: boolean } = {}): number[][] {
  checkClasses("exclusionSets", classes);
  const all = Array.from({ length: classes }, (_, k) => k);
  return all.map((n) => (n === 0 ? [] : all.filter((k) => k !== n && (k > 0 || options.background === true))));
}

export interface ExclusionLabelOptions {
  readonly groups: Groups;
  /** K, with the background. */
  readonly classes: number;
  /** For each class those that it cannot share a voxel with; `exclusionSets(classes)` unless given. */
  readonly sets?: ClassSets;
}

/**
 * Exclusion labels (Eq. 9): 1 where a class cannot be, since every class that the label may stand for excludes it. With
 * liver alone annotated the liver's voxels exclude all other organs, and the merged background excludes none.
 *
 * @param labels class values [N, ...space]
 * @returns f32 [N, K, ...space] for exclusionDice and exclusionCrossEntropy
 * @example const e = partial.exclusionLabels(labels, { groups: partial.mergedGroups([1], 5), classes: 5 });
 */
export function exclusionLabels(labels: Tensor, options: ExclusionLabelOptions): Tensor {
  const { groups, classes } = options;
  checkClasses("exclusionLabels", classes);
  checkLabels("exclusionLabels", labels);
  const excluding = options.sets ?? exclusionSets(classes);
  const right = Array.isArray(excluding) && excluding.length === classes &&
    excluding.every((set, n) => Array.isArray(set) && set.every((k) => Number.isInteger(k) && k >= 0 && k < classes && k !== n));
  need(right, "exclusionLabels", () => `sets has for each of ${classes} classes the others that exclude it, got ${shown(excluding)}`);
  const sets = setsOf("exclusionLabels", groups, labels.shape[0]!, classes);
  const G = sets.of.shape[0]!;
  // [G, n, l]: whether no class that label l may stand for leaves room for class n.
  const together = equal(sets.of.expandDims({ axis: 2 }), sets.of.expandDims({ axis: 1 }));
  const open = tensor(excluding.map((set) => Array.from({ length: classes }, (_, k) => !set.includes(k))), { dtype: "f32" });
  const chances = sum(where(together.expandDims({ axis: 1 }), open.expandDims({ axis: 1 }), 0), { axes: [3] });
  const table = equal(chances, 0).cast("f32").reshape({ shape: [G, classes * classes] });
  const value = labels.cast("i32").expandDims({ axis: 1 });
  const known = logicalAnd(greaterEqual(value, 0), less(value, classes));
  const row = arange(classes).mul(classes).reshape({ shape: [1, classes, ...Array(labels.rank - 1).fill(1)] });
  const e = where(known, lookUp(table, value.add(row)), 0);
  return checked(e, sets);
}

function excludedShare(name: string, logits: Tensor, exclusion: Tensor, includeBackground: boolean): { p: Tensor; e: Tensor } {
  const [N, K] = checkLogits(name, logits);
  const right = exclusion instanceof Tensor && String(exclusion.shape) === String(logits.shape);
  need(right, name, () => `exclusion labels have the logits' shape [${logits.shape}], got ${shown(exclusion)}`);
  const foreground = (x: Tensor): Tensor => (includeBackground ? x : slice(x, { start: [0, 1], end: [N, K] }));
  return { p: foreground(exp(logSoftmax(logits.cast("f32"), { axis: 1 }))), e: foreground(exclusion.cast("f32")) };
}

export interface ExclusionCrossEntropyOptions {
  /** Added to probabilities within the logarithm; 1 unless given (paper), which makes the loss 0 at its best. */
  readonly epsilon?: number;
  /** Whether class 0 counts; not unless given. */
  readonly includeBackground?: boolean;
}

/**
 * Exclusion cross-entropy (Eq. 11), to be minimised: the sum over foreground classes of e log(p + epsilon), the mean over
 * voxels.
 *
 * @param logits [N, K, ...space]
 * @param exclusion of the same shape, from exclusionLabels
 * @example const loss = partial.exclusionCrossEntropy(logits, partial.exclusionLabels(labels, { groups, classes: 5 }));
 */
export function exclusionCrossEntropy(logits: Tensor, exclusion: Tensor, options: ExclusionCrossEntropyOptions = {}): Tensor {
  const { epsilon = 1, includeBackground = false } = options;
  need(epsilon > 0, "exclusionCrossEntropy", () => `epsilon is a number > 0, got ${shown(epsilon)}`);
  const { p, e } = excludedShare("exclusionCrossEntropy", logits, exclusion, includeBackground);
  return sum(e.mul(epsilon === 1 ? log1p(p) : log(p.add(epsilon)))).mul(logits.shape[1]! / logits.size);
}

export interface ExclusionDiceOptions {
  /** Added to the denominator alone, so that the loss is 0 where no probability is excluded; 1e-5 unless given. */
  readonly smooth?: number;
  /** Whether a class is scored once over the batch (unless given, as the official code), not once in each sample. */
  readonly batch?: boolean;
  /** Whether class 0 counts; not unless given. */
  readonly includeBackground?: boolean;
}

/**
 * Exclusion Dice (Eq. 10), to be minimised: 2 sum(e p) / (sum(e) + sum(p) + smooth), the mean over foreground classes.
 *
 * @param logits [N, K, ...space]
 * @param exclusion of the same shape, from exclusionLabels
 * @example const loss = partial.exclusionDice(logits, partial.exclusionLabels(labels, { groups, classes: 5 }));
 */
export function exclusionDice(logits: Tensor, exclusion: Tensor, options: ExclusionDiceOptions = {}): Tensor {
  const { smooth = 1e-5, batch = true, includeBackground = false } = options;
  need(smooth > 0, "exclusionDice", () => `smooth is a number > 0, got ${shown(smooth)}`);
  const { p, e } = excludedShare("exclusionDice", logits, exclusion, includeBackground);
  const axes = [...(batch ? [0] : []), ...spaceOf(p)];
  return mean(sum(e.mul(p), { axes }).mul(2).div(sum(e.add(p), { axes }).add(smooth)));
}

export interface PartialLossOptions extends MarginalDiceOptions {
  /** Weights of the four terms: 1, 1, 2 and 2 unless given (the best of Table 5). A term of weight 0 is not computed. */
  readonly crossEntropy?: number;
  readonly dice?: number;
  readonly exclusionCrossEntropy?: number;
  readonly exclusionDice?: number;
  /** See exclusionLabels. */
  readonly sets?: ClassSets;
}

/**
 * The paper's best loss: marginal cross-entropy and Dice, plus twice exclusion cross-entropy and Dice. The terms share
 * one softmax.
 *
 * @param logits [N, K, ...space]
 * @param labels class values [N, ...space]
 * @example
 * const loss = deepSupervision((output, target) => partial.loss(output, target, { groups }), outputs, labels);
 */
export function loss(logits: Tensor, labels: Tensor, options: PartialLossOptions): Tensor {
  const { crossEntropy = 1, dice = 1, exclusionCrossEntropy: eCE = 2, exclusionDice: eDice = 2, ...own } = options;
  const weights = { crossEntropy, dice, exclusionCrossEntropy: eCE, exclusionDice: eDice };
  for (const [key, w] of Object.entries(weights)) need(Number.isFinite(w) && w >= 0, "partial.loss", () => `${key} is a number >= 0, got ${shown(w)}`);
  const [, classes] = checkLogits("partial.loss", logits);
  const exclusion = (): Tensor => exclusionLabels(labels, { groups: own.groups, classes, ...(own.sets && { sets: own.sets }) });
  const terms = [
    ...(crossEntropy > 0 ? [marginalCrossEntropy(logits, labels, own).mul(crossEntropy)] : []),
    ...(dice > 0 ? [marginalDice(logits, labels, own).mul(dice)] : []),
    ...(eCE > 0 ? [exclusionCrossEntropy(logits, exclusion()).mul(eCE)] : []),
    ...(eDice > 0 ? [exclusionDice(logits, exclusion(), { batch: own.batch ?? true }).mul(eDice)] : []),
  ];
  need(terms.length > 0, "partial.loss", () => "all weights are 0");
  return terms.reduce((a, b) => a.add(b));
}

/**
 * Prior-aware loss (Zhou et al., "Prior-aware neural network for partially-supervised multi-organ segmentation", 2019):
 * the classes' mean probability over the batch against the shares of the volume that they have in fully labelled scans,
 * the sum over classes of q log(q / p) + (1 - q) log((1 - q) / (1 - p)). That paper takes p over the whole dataset, by a
 * primal-dual method; here it is that of the batch, so batches have to be large or the weight small.
 *
 * @param logits [N, K, ...space]
 * @param options.prior K shares that add up to 1, the background's first
 * @example const loss = partial.priorAware(logits, { prior: [0.95, 0.04, 0.01] });
 */
export function priorAware(logits: Tensor, options: { prior: readonly number[] | Tensor }): Tensor {
  const [, K] = checkLogits("priorAware", logits);
  const { prior } = options;
  const isShare = (q: unknown): boolean => typeof q === "number" && q >= 0 && q <= 1;
  const right = prior instanceof Tensor
    ? String(prior.shape) === String([K])
    : Array.isArray(prior) && prior.length === K && prior.every(isShare) && Math.abs(prior.reduce((a, b) => a + b, 0) - 1) < 1e-3;
  need(right, "priorAware", () => `the prior is ${K} shares from 0 to 1 that add up to 1, got ${shown(prior)}`);
  const q = prior instanceof Tensor ? prior.cast("f32") : tensor(prior as number[], { dtype: "f32" });
  const each = logSoftmax(logits.cast("f32"), { axis: 1 });
  const inside = logSumExp(each, { axes: each.shape.map((_, k) => k).filter((k) => k !== 1) }).sub(Math.log(logits.size / K));
  // 1 - p from the other classes, which keeps its digits where one class has nearly all.
  const classes = arange(K);
  const outside = logSumExp(where(equal(classes.expandDims({ axis: 1 }), classes), NOTHING, inside), { axes: [1] });
  const entropy = (share: Tensor): Tensor => share.mul(log(where(greater(share, 0), share, 1)));
  const rest = q.mul(-1).add(1);
  return sum(entropy(q).add(entropy(rest)).sub(q.mul(inside)).sub(rest.mul(outside)));
}

/**
 * Labels that the network completes: where a label may stand for several classes, the most likely of those, to be
 * trained on with an ordinary loss. The official code compares with this under the name of PaNN.
 *
 * @param logits [N, K, ...space]
 * @param labels class values [N, ...space]; one outside [0, K) stays
 * @returns i32 [N, ...space], through which no gradient passes
 * @example const loss = diceCrossEntropy(logits, partial.pseudoLabels(logits, labels, { groups }));
 */
export function pseudoLabels(logits: Tensor, labels: Tensor, options: { groups: Groups }): Tensor {
  const { hit, set, sets } = score("pseudoLabels", logits, labels, { groups: options.groups });
  const likely = argmax(where(hit, stopGradient(logits.cast("f32")), NOTHING), { axis: 1 });
  const result = where(greaterEqual(set.squeeze({ axes: [1] }), 0), likely, labels.cast("i32"));
  // Labels hold no NaN; -1 is no class of any loss.
  return sets.fault ? where(equal(sets.fault, 0), result, -1) : result;
}
