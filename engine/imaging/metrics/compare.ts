/** All measures of a predicted label map against its reference, class by class. */
import { check } from "../../core/errors.ts";
import { cropPair, measureSurfaces } from "./surface_metrics.ts";
import type { Box, SurfaceMeasures } from "./surface_metrics.ts";
import { wholeLabels } from "../dataset/label_values.ts";
import { checkPlaces } from "../dataset/load_case.ts";
import { turnedOnto } from "../volume/reorient.ts";
import { tensorShape, tensorSpacing, voxelCount } from "../volume/volume.ts";
import type { Volume } from "../volume/volume.ts";

/** A label, or a region of several labels. */
export interface ComparedClass {
  readonly name: string;
  readonly values: readonly number[];
}

/** Measures of one class in one case; NaN if a mask that a measure needs is empty. */
export interface ClassComparison extends SurfaceMeasures {
  readonly name: string;
  readonly values: readonly number[];
  readonly truePositive: number;
  readonly falsePositive: number;
  readonly falseNegative: number;
  readonly trueNegative: number;
  readonly dice: number;
  readonly iou: number;
  readonly sensitivity: number;
  readonly precision: number;
  /** In ml. */
  readonly predictedVolume: number;
  readonly referenceVolume: number;
}

/**
 * Compares two label maps on one grid; if their axes are stored in different order or direction, one is reoriented
 * first. Each class is measured within its bounding box, so that large volumes with small structures take only seconds.
 *
 * @param options classes: labels or regions; default all foreground values found. ignore: reference voxels of this
 *   value are excluded. tolerance: of surface Dice, in mm; default 1. gridTolerance: in voxels, as in loadCase.
 *   labelsPresent: values that were annotated in the reference; default all; measures of a class with other values are
 *   NaN
 * @throws DatasetError when the grids differ or a value is not an integer; VoxgradError for values outside 0 to 65535
 * @example
 * ```ts
 * import { compareLabels, phantomCase, volumeLike } from "voxgrad/imaging";
 *
 * const { label } = phantomCase({ seed: 1 });
 * const prediction = volumeLike(label, label.data.map((value) => (value === 2 ? 1 : value)));
 * const [organ] = compareLabels(prediction, label, { classes: [{ name: "organ", values: [1] }] });
 * organ.dice; // between 0.9 and 1
 * ```
 */
export function compareLabels(
  predicted: Volume,
  expected: Volume,
  options: {
    classes?: readonly ComparedClass[];
    ignore?: number;
    tolerance?: number;
    gridTolerance?: number;
    labelsPresent?: readonly number[];
  } = {},
): ClassComparison[] {
  const { ignore, tolerance, gridTolerance = 0.05, labelsPresent } = options;
  const [reference, stored] = [wholeLabels(expected), wholeLabels(predicted)];
  const prediction = turnedOnto(stored, reference, gridTolerance) ?? stored;
  checkPlaces(reference, prediction, gridTolerance);
  const shape = tensorShape(reference).slice(1);
  const spacing = tensorSpacing(reference);
  const boxes = new Map<number, MutableBox>();
  addBoxes(boxes, prediction, shape);
  addBoxes(boxes, reference, shape);
  const total = voxelCount(shape) - (ignore === undefined ? 0 : countOf(reference, ignore));
  const found = [...boxes.keys()].filter((value) => value !== ignore).sort((a, b) => a - b);
  const classes = options.classes ?? found.map((value) => ({ name: `label ${value}`, values: [value] }));
  const milliliters = voxelCount(spacing) / 1000;
  return classes.map(({ name, values }) => {
    if (!isAnnotated(values, labelsPresent)) return notMeasured({ name, values });
    const box = joined(values.map((value) => boxes.get(value)).filter((each) => each !== undefined));
    const wanted = new Uint8Array(65536);
    for (const value of values) wanted[value] = 1;
    const member = (value: number) => wanted[value] === 1;
    const pair = cropPair(prediction.data, reference.data, {
      shape,
      member,
      box,
      ...(ignore === undefined ? {} : { ignore }),
    });
    const counts = [0, 0, 0, 0];
    for (const bits of pair?.bits ?? []) counts[bits]++;
    const [, falsePositive, falseNegative, truePositive] = counts;
    const either = truePositive + falsePositive + falseNegative;
    // Ignored voxels in the box are in neither mask.
    const measured = measureSurfaces(either > 0 ? pair : undefined, { spacing, tolerance });
    return {
      name,
      values,
      truePositive,
      falsePositive,
      falseNegative,
      trueNegative: total - either,
      dice: (2 * truePositive) / (either + truePositive),
      iou: truePositive / either,
      sensitivity: truePositive / (truePositive + falseNegative),
      precision: truePositive / (truePositive + falsePositive),
      ...measured,
      predictedVolume: (truePositive + falsePositive) * milliliters,
      referenceVolume: (truePositive + falseNegative) * milliliters,
    };
  });
}

/** Whether all values of a class were annotated, given `labelsPresent`. */
export const isAnnotated = (values: readonly number[], labelsPresent?: readonly number[]): boolean =>
  values.every((value) => labelsPresent?.includes(value) ?? true);

/** Measures of a class that was not annotated: all NaN. */
export function notMeasured({ name, values }: ComparedClass): ClassComparison {
  return {
    name,
    values,
    truePositive: NaN,
    falsePositive: NaN,
    falseNegative: NaN,
    trueNegative: NaN,
    dice: NaN,
    iou: NaN,
    sensitivity: NaN,
    precision: NaN,
    hausdorff: NaN,
    hausdorff95: NaN,
    hausdorff95MaxOfDirected: NaN,
    averageSymmetricSurfaceDistance: NaN,
    surfaceDice: NaN,
    predictedVolume: NaN,
    referenceVolume: NaN,
  };
}

interface MutableBox extends Box {
  readonly low: number[];
  readonly high: number[];
}

/** Bounding box of each non-zero value, by runs of equal values. */
function addBoxes(boxes: Map<number, MutableBox>, labels: Volume, shape: readonly number[]): void {
  const [d, h, w] = shape;
  const { data } = labels;
  for (let z = 0, at = 0; z < d; z++) {
    for (let y = 0; y < h; y++) {
      for (let x = 0; x < w;) {
        const value = data[at];
        const start = x;
        while (x < w && data[at] === value) {
          x++;
          at++;
        }
        if (value === 0) continue;
        let box = boxes.get(value);
        if (!box) {
          const whole = Number.isInteger(value) && value > 0 && value < 65536;
          check(whole, labels.name, () => `labels are integers from 0 to 65535; it holds ${value}`);
          boxes.set(value, box = { low: [z, y, start], high: [z, y, x - 1] });
        }
        include(box, [z, y, start], [z, y, x - 1]);
      }
    }
  }
}

function include(box: MutableBox, low: readonly number[], high: readonly number[]): void {
  for (let axis = 0; axis < 3; axis++) {
    if (low[axis] < box.low[axis]) box.low[axis] = low[axis];
    if (high[axis] > box.high[axis]) box.high[axis] = high[axis];
  }
}

function joined(boxes: readonly MutableBox[]): Box | undefined {
  if (boxes.length === 0) return undefined;
  const all = { low: [...boxes[0].low], high: [...boxes[0].high] };
  for (const box of boxes) include(all, box.low, box.high);
  return all;
}

function countOf(labels: Volume, value: number): number {
  let count = 0;
  for (const each of labels.data) if (each === value) count++;
  return count;
}
