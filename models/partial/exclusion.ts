/** Exclusion losses (Eqs. 9 to 11 of Shi et al. 2021): where one organ is annotated, no other can be. */
import {
  arange,
  check,
  checkOptions,
  equal,
  exp,
  log,
  log1p,
  logSoftmax,
  mean,
  show,
  slice,
  sum,
  Tensor,
  tensor,
  where,
} from "../../engine/mod.ts";
import {
  checkClasses,
  checked,
  checkLabels,
  checkLogits,
  type ClassSets,
  type Groups,
  isClass,
  lookUp,
  setsOf,
  spaceOf,
} from "./groups.ts";
import { checkReduction } from "./marginal.ts";

/**
 * The classes that exclude each class (E_n of Section 3.3): all other foreground classes, none for the background.
 *
 * @param options.background whether the background excludes organs too, as in the official code
 * @example
 * ```ts
 * import { partial } from "voxgrad/models";
 *
 * partial.exclusionSets(4); // [[], [2, 3], [1, 3], [1, 2]]
 * ```
 */
export function exclusionSets(classes: number, options: { background?: boolean } = {}): number[][] {
  checkOptions("exclusionSets", options, ["background"]);
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
  /** Voxels with this label exclude nothing. */
  readonly ignoreIndex?: number;
}

/**
 * Exclusion labels (Eq. 9): 1 where a class cannot be, since every class that the label may stand for excludes it. With
 * liver alone annotated the liver's voxels exclude all other organs, and the merged background excludes none.
 *
 * @param labels class values [N, ...space]
 * @returns f32 [N, K, ...space] for exclusionDice and exclusionCrossEntropy
 * @example
 * ```ts
 * import { zeros } from "voxgrad";
 * import { partial } from "voxgrad/models";
 *
 * const labels = zeros([1, 4, 8, 8], { dtype: "i32" });
 * const e = partial.exclusionLabels(labels, { groups: partial.mergedGroups([1], 5), classes: 5 }); // [1, 5, 4, 8, 8]
 * ```
 */
export function exclusionLabels(labels: Tensor, options: ExclusionLabelOptions): Tensor {
  checkOptions("exclusionLabels", options, ["groups", "classes", "sets", "ignoreIndex"]);
  const { groups, classes } = options;
  checkClasses("exclusionLabels", classes);
  checkLabels("exclusionLabels", labels);
  const excluding = options.sets ?? exclusionSets(classes);
  const right = Array.isArray(excluding) &&
    excluding.length === classes &&
    excluding.every(
      (set, n) => Array.isArray(set) && set.every((k) => Number.isInteger(k) && k >= 0 && k < classes && k !== n),
    );
  check(
    right,
    "exclusionLabels",
    () => `sets has for each of ${classes} classes the others that exclude it, got ${show(excluding)}`,
  );
  const sets = setsOf("exclusionLabels", groups, labels.shape[0], classes);
  const G = sets.of.shape[0];
  // [G, n, l]: whether no class that label l may stand for leaves room for class n.
  const together = equal(sets.of.expandDims({ axis: 2 }), sets.of.expandDims({ axis: 1 }));
  const open = tensor(
    excluding.map((set) => Array.from({ length: classes }, (_, k) => !set.includes(k))),
    { dtype: "f32" },
  );
  const chances = sum(where(together.expandDims({ axis: 1 }), open.expandDims({ axis: 1 }), 0), { axes: [3] });
  const table = equal(chances, 0)
    .cast("f32")
    .reshape({ shape: [G, classes * classes] });
  const value = labels.cast("i32").expandDims({ axis: 1 });
  const row = arange(classes)
    .mul(classes)
    .reshape({ shape: [1, classes, ...Array(labels.rank - 1).fill(1)] });
  const e = where(isClass(value, classes, options.ignoreIndex), lookUp(table, value.add(row)), 0);
  return checked(e, sets);
}

interface ExcludedOptions {
  /** Whether class 0 counts; default false. */
  readonly includeBackground?: boolean;
  /** [N], 0 for samples that have no part; [1] for all alike. Default: all count. */
  readonly samples?: Tensor;
}

function excludedShare(
  name: string,
  logits: Tensor,
  exclusion: Tensor,
  { includeBackground = false, samples }: ExcludedOptions,
): { p: Tensor; e: Tensor } {
  const [N, K] = checkLogits(name, logits);
  const fits = samples === undefined ||
    (samples instanceof Tensor && samples.rank === 1 && [1, N].includes(samples.size));
  check(fits, name, () => `samples is a tensor [${N}] or [1], got ${show(samples)}`);
  const right = exclusion instanceof Tensor && String(exclusion.shape) === String(logits.shape);
  check(right, name, () => `exclusion labels have the logits' shape [${logits.shape}], got ${show(exclusion)}`);
  const count = samples?.reshape({ shape: [samples.size, ...logits.shape.slice(1).map(() => 1)] }).notEqual(0);
  const foreground = (x: Tensor): Tensor => {
    const own = includeBackground ? x : slice(x, { start: [0, 1], end: [N, K] });
    return count ? where(count, own, 0) : own;
  };
  return { p: foreground(exp(logSoftmax(logits.cast("f32"), { axis: 1 }))), e: foreground(exclusion.cast("f32")) };
}

export interface ExclusionCrossEntropyOptions extends ExcludedOptions {
  /** Added to probabilities within the logarithm; default 1 (paper), which makes the loss 0 at its best. */
  readonly epsilon?: number;
}

/**
 * Exclusion cross-entropy (Eq. 11), to be minimized: the sum over foreground classes of e log(p + epsilon), the mean
 * over voxels, those of samples without a part included.
 *
 * @param logits [N, K, ...space]
 * @param exclusion of the same shape, from exclusionLabels
 * @example
 * ```ts
 * import { random, zeros } from "voxgrad";
 * import { partial } from "voxgrad/models";
 *
 * const logits = random.normal(random.key(0), { shape: [1, 5, 4, 8, 8] });
 * const labels = zeros([1, 4, 8, 8], { dtype: "i32" });
 * const options = { groups: partial.mergedGroups([1], 5), classes: 5 };
 * const loss = partial.exclusionCrossEntropy(logits, partial.exclusionLabels(labels, options));
 * ```
 */
export function exclusionCrossEntropy(
  logits: Tensor,
  exclusion: Tensor,
  options: ExclusionCrossEntropyOptions = {},
): Tensor {
  checkOptions("exclusionCrossEntropy", options, ["includeBackground", "samples", "epsilon"]);
  const { epsilon = 1 } = options;
  check(epsilon > 0, "exclusionCrossEntropy", () => `epsilon is a number > 0, got ${show(epsilon)}`);
  const { p, e } = excludedShare("exclusionCrossEntropy", logits, exclusion, options);
  return sum(e.mul(epsilon === 1 ? log1p(p) : log(p.add(epsilon)))).mul(logits.shape[1] / logits.size);
}

export interface ExclusionDiceOptions extends ExcludedOptions {
  /** Added to the denominator alone, so that the loss is 0 where no probability is excluded; default 1e-5. */
  readonly smooth?: number;
  /** Whether a class is scored once over the batch (unless given, as the official code), not once in each sample. */
  readonly batch?: boolean;
  /** Over classes: the mean (default, as the official code), or the sum (Eq. 10). */
  readonly reduction?: "mean" | "sum";
}

/**
 * Exclusion Dice (Eq. 10), to be minimized: 2 sum(e p) / (sum(e) + sum(p) + smooth), mean or sum over foreground
 * classes.
 *
 * @param logits [N, K, ...space]
 * @param exclusion of the same shape, from exclusionLabels
 * @example
 * ```ts
 * import { random, zeros } from "voxgrad";
 * import { partial } from "voxgrad/models";
 *
 * const logits = random.normal(random.key(0), { shape: [1, 5, 4, 8, 8] });
 * const labels = zeros([1, 4, 8, 8], { dtype: "i32" });
 * const options = { groups: partial.mergedGroups([1], 5), classes: 5 };
 * const loss = partial.exclusionDice(logits, partial.exclusionLabels(labels, options));
 * ```
 */
export function exclusionDice(logits: Tensor, exclusion: Tensor, options: ExclusionDiceOptions = {}): Tensor {
  checkOptions("exclusionDice", options, ["includeBackground", "samples", "smooth", "batch", "reduction"]);
  const { smooth = 1e-5, batch = true, reduction = "mean" } = options;
  checkReduction("exclusionDice", reduction);
  check(smooth > 0, "exclusionDice", () => `smooth is a number > 0, got ${show(smooth)}`);
  const { p, e } = excludedShare("exclusionDice", logits, exclusion, options);
  const axes = [...(batch ? [0] : []), ...spaceOf(p)];
  const share = mean(
    sum(e.mul(p), { axes })
      .mul(2)
      .div(sum(e.add(p), { axes }).add(smooth)),
  );
  return reduction === "sum" ? share.mul(p.shape[1]) : share;
}
