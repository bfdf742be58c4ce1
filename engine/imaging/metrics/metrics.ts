/** Overlap metrics of a segmentation and a reference. A measure of 0 / 0 is NaN; summaries count those. */
import { VoxgradError } from "../../core/errors.ts";
export {
  averageSymmetricSurfaceDistance,
  hausdorff,
  hausdorff95,
  surfaceDice,
  surfaceMeasures,
} from "./surface_metrics.ts";
export type { SurfaceMeasures, SurfaceOptions } from "./surface_metrics.ts";

type Labels = ArrayLike<number>;

export interface MetricOptions {
  /** The label to compare; default any voxel other than 0. */
  readonly label?: number;
}

/** Confusion counts of one label, in voxels. */
export interface Overlap {
  readonly truePositive: number;
  readonly falsePositive: number;
  readonly falseNegative: number;
}

function checkSizes(name: string, prediction: Labels, reference: Labels): void {
  if (prediction.length === reference.length) return;
  throw new VoxgradError(
    `${name}: prediction has ${prediction.length} voxels, reference ${reference.length}; wanted the same grid`,
  );
}

function overlap(name: string, prediction: Labels, reference: Labels, options: MetricOptions): Overlap {
  checkSizes(name, prediction, reference);
  const { label } = options;
  let [truePositive, falsePositive, falseNegative] = [0, 0, 0];
  for (let i = 0; i < reference.length; i++) {
    const p = label === undefined ? prediction[i] !== 0 : prediction[i] === label;
    const r = label === undefined ? reference[i] !== 0 : reference[i] === label;
    if (p && r) truePositive++;
    else if (p) falsePositive++;
    else if (r) falseNegative++;
  }
  return { truePositive, falsePositive, falseNegative };
}

const diceOf = (o: Overlap) => (2 * o.truePositive) / (2 * o.truePositive + o.falsePositive + o.falseNegative);
const iouOf = (o: Overlap) => o.truePositive / (o.truePositive + o.falsePositive + o.falseNegative);
const sensitivityOf = (o: Overlap) => o.truePositive / (o.truePositive + o.falseNegative);
const precisionOf = (o: Overlap) => o.truePositive / (o.truePositive + o.falsePositive);

/**
 * Dice coefficient, 2 TP / (2 TP + FP + FN), of one label. NaN when neither has the label.
 *
 * @throws VoxgradError when the sizes differ
 * @example
 * ```ts
 * import { metrics } from "voxgrad";
 *
 * metrics.dice([0, 2, 2, 1], [0, 2, 2, 2], { label: 2 }); // 0.8
 * ```
 */
export const dice = (prediction: Labels, reference: Labels, options: MetricOptions = {}): number =>
  diceOf(overlap("dice", prediction, reference, options));

/**
 * Intersection over union (Jaccard index), TP / (TP + FP + FN), of one label. NaN when neither has the label.
 *
 * @throws VoxgradError when the sizes differ
 * @example
 * ```ts
 * import { metrics } from "voxgrad";
 *
 * metrics.iou([0, 2, 2, 1], [0, 2, 2, 2], { label: 2 }); // 0.667
 * ```
 */
export const iou = (prediction: Labels, reference: Labels, options: MetricOptions = {}): number =>
  iouOf(overlap("iou", prediction, reference, options));

/**
 * Sensitivity (recall), TP / (TP + FN), of one label. NaN when the reference does not have it.
 *
 * @example
 * ```ts
 * import { metrics } from "voxgrad";
 *
 * metrics.sensitivity([0, 2, 2, 1], [0, 2, 2, 2], { label: 2 }); // 0.667
 * ```
 */
export const sensitivity = (prediction: Labels, reference: Labels, options: MetricOptions = {}): number =>
  sensitivityOf(overlap("sensitivity", prediction, reference, options));

/**
 * Precision, TP / (TP + FP), of one label. NaN when the prediction does not have it.
 *
 * @example
 * ```ts
 * import { metrics } from "voxgrad";
 *
 * metrics.precision([0, 2, 2, 1], [0, 2, 2, 2], { label: 2 }); // 1
 * ```
 */
export const precision = (prediction: Labels, reference: Labels, options: MetricOptions = {}): number =>
  precisionOf(overlap("precision", prediction, reference, options));

/**
 * Volume of one label (default any voxel other than 0), in mm^3 or ml.
 *
 * @param options spacing: the sides of a voxel in mm
 * @example
 * ```ts
 * import { metrics } from "voxgrad";
 *
 * metrics.volume([0, 1, 1, 2], { label: 1, spacing: [2.5, 0.8, 0.8], unit: "ml" }); // 0.0032
 * ```
 */
export function volume(
  labels: Labels,
  options: MetricOptions & { spacing: readonly number[]; unit?: "mm3" | "ml" },
): number {
  const { label, spacing, unit = "mm3" } = options;
  let voxels = 0;
  for (let i = 0; i < labels.length; i++) if (label === undefined ? labels[i] !== 0 : labels[i] === label) voxels++;
  return (voxels * spacing.reduce((a, b) => a * b, 1)) / (unit === "ml" ? 1000 : 1);
}

export interface ClassMetrics extends Overlap {
  readonly label: number;
  readonly dice: number;
  readonly sensitivity: number;
  readonly precision: number;
}

/**
 * Overlap measures of every foreground class, in one pass.
 *
 * @param options classes: number of classes with the background; ignore: reference voxels of this value are left out
 * @returns one entry per label from 1 to classes - 1
 * @throws VoxgradError when the sizes differ or a value is not a class
 * @example
 * ```ts
 * import { metrics } from "voxgrad";
 *
 * metrics.overlapMetrics([0, 1, 2, 2], [0, 1, 1, 2], { classes: 3 }).map((m) => m.dice); // [0.667, 0.667]
 * ```
 */
export function overlapMetrics(
  prediction: Labels,
  reference: Labels,
  options: { classes: number; ignore?: number },
): ClassMetrics[] {
  checkSizes("overlapMetrics", prediction, reference);
  const { classes, ignore } = options;
  const confusion = new Float64Array(classes * classes);
  for (let i = 0; i < reference.length; i++) {
    const [p, r] = [prediction[i], reference[i]];
    if (r === ignore) continue;
    if (!(p >= 0 && p < classes && r >= 0 && r < classes)) {
      throw new VoxgradError(`overlapMetrics: voxel ${i} is ${p} against ${r}; wanted labels from 0 to ${classes - 1}`);
    }
    confusion[r * classes + p]++;
  }
  return Array.from({ length: classes - 1 }, (_, index) => {
    const label = index + 1;
    const truePositive = confusion[label * classes + label];
    let [falsePositive, falseNegative] = [-truePositive, -truePositive];
    for (let other = 0; other < classes; other++) {
      falsePositive += confusion[other * classes + label];
      falseNegative += confusion[label * classes + other];
    }
    const counts = { truePositive, falsePositive, falseNegative };
    return {
      label,
      ...counts,
      dice: diceOf(counts),
      sensitivity: sensitivityOf(counts),
      precision: precisionOf(counts),
    };
  });
}

export interface Summary {
  /** Mean of the defined values; NaN without any. */
  readonly mean: number;
  /** Sample standard deviation of the defined values; NaN with fewer than two. */
  readonly deviation: number;
  readonly min: number;
  readonly max: number;
  /** Number of defined values, and of NaN values. */
  readonly defined: number;
  readonly undefined: number;
}

/**
 * Mean and spread of a measure over cases. Undefined (NaN) values are left out of the mean and counted.
 *
 * @example
 * ```ts
 * import { metrics } from "voxgrad";
 *
 * metrics.summarize([0.9, NaN, 0.8]); // { mean: 0.85, ..., defined: 2, undefined: 1 }
 * ```
 */
export function summarize(values: readonly number[]): Summary {
  const defined = values.filter((v) => !Number.isNaN(v));
  const n = defined.length;
  const mean = n === 0 ? NaN : defined.reduce((a, b) => a + b, 0) / n;
  const squares = defined.reduce((a, b) => a + (b - mean) * (b - mean), 0);
  return {
    mean,
    deviation: n < 2 ? NaN : Math.sqrt(squares / (n - 1)),
    min: n === 0 ? NaN : defined.reduce((a, b) => Math.min(a, b)),
    max: n === 0 ? NaN : defined.reduce((a, b) => Math.max(a, b)),
    defined: n,
    undefined: values.length - n,
  };
}
