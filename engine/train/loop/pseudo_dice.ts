/** nnU-Net's pseudo-Dice: Dice of the training patches over recent steps. */
import { check, checkOptions, show } from "../../core/errors.ts";
import type { Tensor } from "../../core/tensor.ts";
import { regionTargets } from "../../nn/losses/dice.ts";
import { concat } from "../../ops/shape/concat.ts";
import { arange } from "../../ops/elementwise/creation.ts";

/**
 * The metrics of a step in one vector, so that they are read back in one copy: the loss, then for each foreground class
 * the intersection of prediction and label in voxels, then for each the sum of their sizes.
 *
 * @param loss f32, one number
 * @param logits f32 [N, K, ...]
 * @param labels i32 [N, ...]; voxels outside 0..K-1 (an ignore label) are excluded
 * @param options regions: label values of each output, if outputs are regions: a logit above 0 is a prediction. ignore:
 *   with regions, the label value that is excluded. sets: without regions, i32 [N, K] as in `Patches.sets`: classes
 *   that a sample's label does not distinguish are not counted
 * @returns f32 [1 + 2 (K - 1)]; with R regions [1 + 2 R]
 * @example
 * ```ts
 * import { tensor } from "voxgrad";
 * import { stepMetrics } from "voxgrad/train";
 *
 * const logits = tensor([[[1, 1, 0, 0], [0, 0, 1, 1]]]); // one sample, two classes, four voxels
 * const labels = tensor([[0, 0, 0, 1]], { dtype: "i32" });
 * await stepMetrics(tensor(0.5), logits, labels).array(); // [0.5, 1, 3]
 * ```
 */
export function stepMetrics(
  loss: Tensor,
  logits: Tensor,
  labels: Tensor,
  options: { regions?: readonly (readonly number[])[]; ignore?: number; sets?: Tensor } = {},
): Tensor {
  checkOptions("stepMetrics", options, ["regions", "ignore", "sets"]);
  const [N, K] = logits.shape;
  const size = labels.size / N;
  check(
    logits.size === N * K * size,
    "stepMetrics",
    () => `labels have the shape of the logits ${show(logits.shape)} without axis 1, got ${show(labels.shape)}`,
  );
  const label = labels.reshape({ shape: [N, size] });
  const column = label.reshape({ shape: [N, 1, size] });
  const scores = logits.reshape({ shape: [N, K, size] });
  let [ours, theirs]: Tensor[] = [];
  if (options.regions) {
    const counted = options.ignore === undefined ? column.greaterEqual(0) : column.notEqual(options.ignore);
    ours = scores.greater(0).logicalAnd(counted);
    theirs = regionTargets(label, options.regions);
  } else {
    const classes = arange(1, K).reshape({ shape: [1, K - 1, 1] });
    const counted = column.greaterEqual(0).logicalAnd(column.less(K));
    ours = scores.argmax({ axis: 1, keepDims: true }).equal(classes).logicalAnd(counted);
    theirs = column.equal(classes);
    if (options.sets) {
      // [N, k, j]: whether class j belongs to the set whose lowest class is k; k counts if it is the only member.
      const members = options.sets.expandDims({ axis: 1 }).equal(arange(K).reshape({ shape: [1, K, 1] }));
      const apart = members.cast("f32").sum({ axes: [2] }).equal(1).slice({ start: [0, 1] }).expandDims({ axis: 2 });
      [ours, theirs] = [ours.logicalAnd(apart), theirs.logicalAnd(apart)];
    }
  }
  const count = (mask: Tensor): Tensor => mask.cast("f32").sum({ axes: [0, 2] });
  return concat([loss.reshape({ shape: [1] }), count(ours.logicalAnd(theirs)), count(ours).add(count(theirs))]);
}

/** Decay per step: about the last 20 steps count. */
const KEEP = 0.95;

/** Dice per class from exponentially decaying counts. */
export class PseudoDice {
  readonly #both: number[];
  readonly #sum: number[];

  /** @param counts those of an earlier one, to continue from */
  constructor(classes: number, counts?: { both: readonly number[]; sum: readonly number[] }) {
    this.#both = [...(counts?.both ?? new Array<number>(classes).fill(0))];
    this.#sum = [...(counts?.sum ?? new Array<number>(classes).fill(0))];
  }

  /** The counts, to continue from later. */
  get counts(): { both: readonly number[]; sum: readonly number[] } {
    return { both: [...this.#both], sum: [...this.#sum] };
  }

  /** Adds a step's counts, as in `stepMetrics` after the loss, and returns Dice per class (NaN: never seen). */
  add(counts: ArrayLike<number>): number[] {
    const classes = this.#both.length;
    return this.#both.map((_, c) => {
      this.#both[c] = KEEP * this.#both[c] + counts[c];
      this.#sum[c] = KEEP * this.#sum[c] + counts[classes + c];
      return (2 * this.#both[c]) / this.#sum[c];
    });
  }
}
