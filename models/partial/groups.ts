/** What labels of a partly labeled scan may stand for: sets of classes, and how tensors are compared with them. */
import {
  arange,
  check,
  equal,
  greater,
  greaterEqual,
  less,
  logicalAnd,
  max,
  min,
  show,
  sum,
  take,
  Tensor,
  tensor,
  where,
} from "../../engine/mod.ts";

/** Sets of class values that together hold each class once; the first is usually that of the background. */
export type ClassSets = readonly (readonly number[])[];

/** One partition for all samples, one for each sample, or a 0/1 tensor [M, K] or [N, M, K] from `mergeMatrix`. */
export type Groups = ClassSets | readonly ClassSets[] | Tensor;

/** Stands for the logarithm of 0: far below any, and no infinity, whose differences would be NaN. */
export const NOTHING = -1e30;

export const checkClasses = (name: string, classes: number): void =>
  check(
    Number.isInteger(classes) && classes >= 2,
    name,
    () => `classes is an integer from 2, the background included, got ${show(classes)}`,
  );

/**
 * Groups of a scan in which only some classes are annotated: each of those by itself, all others with the background.
 *
 * @param labelsPresent foreground values that are annotated, as a case of a dataset has it; undefined: all are
 * @param classes K, with the background
 * @param merged lists of values that are annotated together, none of them in labelsPresent, as a case of a dataset
 *   group has it
 * @example
 * ```ts
 * import { partial } from "voxgrad/models";
 *
 * partial.mergedGroups([2, 3], 5); // [[0, 1, 4], [2], [3]]
 * partial.mergedGroups([3], 5, [[1, 2]]); // [[0, 4], [3], [1, 2]]
 * ```
 */
export function mergedGroups(
  labelsPresent: readonly number[] | undefined,
  classes: number,
  merged: readonly (readonly number[])[] = [],
): number[][] {
  checkClasses("mergedGroups", classes);
  const foreground = Array.from({ length: classes - 1 }, (_, k) => k + 1);
  const unknown = labelsPresent?.find((value) => value !== 0 && !foreground.includes(value));
  check(
    unknown === undefined,
    "mergedGroups",
    () => `labelsPresent holds class values from 1 to ${classes - 1}, got ${show(unknown)}`,
  );
  const apart = foreground.filter((k) => labelsPresent?.includes(k) ?? true);
  const together = merged.flat();
  const twice = together.find((k, at) => !foreground.includes(k) || apart.includes(k) || together.indexOf(k) !== at);
  check(
    twice === undefined,
    "mergedGroups",
    () => `merged holds class values from 1 to ${classes - 1}, each once and none of labelsPresent, got ${show(twice)}`,
  );
  const absent = foreground.filter((k) => !apart.includes(k) && !together.includes(k));
  return [[0, ...absent], ...apart.map((k) => [k]), ...merged.map((list) => [...list])];
}

/** The smallest class of the set that holds each class, or an error that says what is no partition. */
function smallestOfSets(name: string, sets: ClassSets, classes: number): number[] {
  const smallest = Array.from<number | undefined>({ length: classes });
  const isList = Array.isArray(sets) && sets.length > 0 && sets.every((set) => Array.isArray(set) && set.length > 0);
  check(
    isList,
    name,
    () => `groups are lists of class values such as [[0, 2], [1]], or a tensor of mergeMatrix, got ${show(sets)}`,
  );
  for (const set of sets) {
    for (const value of set) {
      check(
        Number.isInteger(value) && value >= 0 && value < classes,
        name,
        () => `groups hold class values from 0 to ${classes - 1}, got ${show(value)} in ${show(sets)}`,
      );
      check(
        smallest[value] === undefined,
        name,
        () => `class ${value} is in two sets of ${show(sets)}; a class belongs to one`,
      );
      smallest[value] = Math.min(...set);
    }
  }
  const missing = smallest.indexOf(undefined);
  check(
    missing < 0,
    name,
    () => `class ${missing} is in no set of ${show(sets)}; put those that are not annotated into the set of 0`,
  );
  return smallest as number[];
}

/** Partitions of one scan or of each of a batch: true of [[[0], [1]], [[0, 1]]]. */
const isPerSample = (groups: ClassSets | readonly ClassSets[]): groups is readonly ClassSets[] =>
  Array.isArray(groups[0]?.[0]);

/**
 * Groups as a 0/1 matrix (the sets of Eq. 4), to be an argument of a compiled function: row m has ones at the classes
 * of the m-th set. There are K rows whatever the groups, those beyond the last set 0, so the shape is always the same.
 *
 * @param groups one partition, or one for each sample
 * @param classes K, with the background
 * @returns f32 [K, K], or [N, K, K]
 * @example
 * ```ts
 * import { partial } from "voxgrad/models";
 *
 * const present = [[1], [2, 3]]; // annotated classes of two samples
 * const groups = partial.mergeMatrix(present.map((classes) => partial.mergedGroups(classes, 5)), 5); // [2, 5, 5]
 * ```
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

/**
 * The same matrix on the device, from what `TrainingRun.batch` says of its patches. It may be made within a compiled
 * step.
 *
 * @param sets i32 [N, K] as `Patches.sets`: for each class the lowest of those that a label does not tell it from
 * @returns f32 [N, K, K]; row m has ones at the classes of the set that m is the lowest of
 * @throws VoxgradError for another shape
 * @example
 * ```ts
 * import { tensor } from "voxgrad";
 * import { partial } from "voxgrad/models";
 *
 * const sets = tensor([[0, 1, 0]], { dtype: "i32" }); // class 1 is annotated, 2 may be in what is labeled 0
 * await partial.setMatrix(sets).array(); // [[[1, 0, 1], [0, 1, 0], [0, 0, 0]]]
 * ```
 */
export function setMatrix(sets: Tensor): Tensor {
  const right = sets instanceof Tensor && sets.rank === 2 && sets.shape[1] >= 2;
  check(right, "setMatrix", () => `sets are i32 [N, K], K from 2, got ${show(sets)}`);
  return equal(sets.cast("i32").expandDims({ axis: 1 }), column(sets.shape[1])).cast("f32");
}

/** A partition as the engine computes with it: a set is named by its smallest class, so that of the background by 0. */
export interface Sets {
  /** i32 [G, K]: the set that holds each class; G is 1 where all samples share the groups, else N. */
  readonly of: Tensor;
  /** 0, or NaN where a traced matrix is no partition: added to a loss, so that no wrong number is returned. */
  readonly fault: Tensor | null;
}

export function setsOf(name: string, groups: Groups, samples: number, classes: number): Sets {
  if (!(groups instanceof Tensor)) {
    check(
      Array.isArray(groups),
      name,
      () => `groups are lists of class values such as [[0, 2], [1]], or a tensor of mergeMatrix, got ${show(groups)}`,
    );
    const all = isPerSample(groups) ? groups : [groups];
    check(
      !isPerSample(groups) || all.length === samples,
      name,
      () => `groups are one partition or one for each of ${samples} samples, got ${all.length}`,
    );
    const of = Int32Array.from(all.flatMap((sets) => smallestOfSets(name, sets, classes)));
    return { of: tensor(of, { shape: [all.length, classes] }), fault: null };
  }
  const { shape } = groups;
  const fits = (shape.length === 2 || (shape.length === 3 && shape[0] === samples)) && shape.at(-1) === classes;
  check(fits, name, () => `groups as a tensor are [M, ${classes}] or [${samples}, M, ${classes}], got ${groups}`);
  const [G, M] = shape.length === 3 ? [samples, shape[1]] : [1, shape[0]];
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
export const members = ({ of }: Sets): Tensor => equal(of.expandDims({ axis: 1 }), column(of.shape[1]));
/** bool [G, K]: whether there is a set named r. */
export const named = ({ of }: Sets): Tensor => equal(of, arange(of.shape[1]));

/** bool [G]: whether classes of a sample are merged, so that it is partly labeled. */
export const partlyLabeled = ({ of }: Sets): Tensor =>
  greater(max(of.sub(arange(of.shape[1])).abs(), { axes: [1] }), 0);

export function checkLogits(name: string, logits: Tensor): [number, number] {
  const right = logits instanceof Tensor &&
    (logits.dtype === "f32" || logits.dtype === "f16") &&
    logits.rank >= 2 &&
    logits.shape[1] >= 2;
  check(right, name, () => `logits are f32 or f16 [N, K, ...space] of at least 2 classes, got ${show(logits)}`);
  return [logits.shape[0], logits.shape[1]];
}

export function checkLabels(name: string, labels: Tensor, wanted?: readonly number[]): void {
  const right = labels instanceof Tensor && (labels.dtype === "i32" || labels.dtype === "u32");
  check(right, name, () => `labels are i32 or u32 class values, got ${show(labels)}`);
  const fits = wanted ? String(labels.shape) === String(wanted) : labels.rank >= 1;
  check(fits, name, () => `labels are [N, ...space], here [${wanted ?? "N, ...space"}], got ${labels}`);
}

/** Rows [G, K] with an axis of 1 for each of space, to stand beside tensors of that rank. */
export const perVoxel = (rows: Tensor, rank: number): Tensor =>
  rows.reshape({ shape: [...rows.shape, ...Array(rank - 2).fill(1)] });

/**
 * The entry at each label of a table that has K of them for each sample (or for all), [G, K]; any where it has none.
 */
export function lookUp(table: Tensor, labels: Tensor): Tensor {
  const [G, K] = table.shape as [number, number];
  const first = arange(G)
    .mul(K)
    .reshape({ shape: [G, ...Array(labels.rank - 1).fill(1)] });
  return take(table.reshape({ shape: [G * K] }), G === 1 ? labels : labels.add(first));
}

/** Whether labels are classes that count. */
export function isClass(labels: Tensor, classes: number, ignoreIndex: number | undefined): Tensor {
  const known = logicalAnd(greaterEqual(labels, 0), less(labels, classes));
  return ignoreIndex === undefined ? known : logicalAnd(known, labels.notEqual(ignoreIndex));
}

/** The labels' sets, -1 where a label is no class or ignored: [N, 1, ...space]. */
export function setsOfLabels(sets: Sets, labels: Tensor, ignoreIndex: number | undefined): Tensor {
  const value = labels.cast("i32");
  return where(isClass(value, sets.of.shape[1], ignoreIndex), lookUp(sets.of, value), -1).expandDims({ axis: 1 });
}

/** Axes of space of a tensor [N, K, ...space]. */
export const spaceOf = (x: Tensor): number[] => x.shape.map((_, k) => k).slice(2);

export const checked = (loss: Tensor, { fault }: Sets): Tensor => (fault ? loss.add(fault) : loss);
