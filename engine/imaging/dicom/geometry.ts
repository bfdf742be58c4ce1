/** Where the slices of a series lie together: their order, the affine, and what is missing or there twice. */
import type { LpsVector } from "../volume/volume.ts";
import type { Affine } from "../volume/affine.ts";
import { DicomError } from "./dicom_error.ts";
import { cross, dot, minus, type Slice } from "./slice.ts";

export interface SeriesGrid {
  /** In the direction of the cross product of rows and columns, so that axes are right-handed. */
  readonly slices: readonly Slice[];
  /** From column, row, slice to RAS in mm, with slices one above the other. */
  readonly affine: Affine;
  /** By how many pixels the next slice is shifted to the right and down: a tilted gantry; absent if it is not. */
  readonly shift?: readonly [right: number, down: number];
}

/** Largest distance of a slice from its place on an even grid, as a fraction of the distance between slices. */
const TOLERANCE = 0.05;
/** Drift in pixels over all slices that positions may have by rounding: the affine keeps it. */
const ROUNDING = 0.5;

/**
 * Orders the slices of a series.
 *
 * @throws DicomError naming slices that are missing, there twice, or out of line
 */
export function seriesGrid(unordered: readonly Slice[], name: string): SeriesGrid {
  const [{ right, down, pixel, step: stated }] = unordered;
  const normal = cross(right, down);
  const placed = unordered.map((slice) => ({ slice, height: dot(slice.position, normal) }))
    .sort((a, b) => a.height - b.height);
  const slices = placed.map(({ slice }) => slice);
  const count = slices.length;
  const first = slices[0].position;
  if (count === 1) {
    if (stated === undefined) {
      throw new DicomError(name, "one slice without a thickness (0018,0050)", "a series, or a slice with it");
    }
    return { slices, affine: affineOf(right, down, normal, [...pixel, stated], first) };
  }
  const gaps = placed.slice(1).map(({ height }, k) => height - placed[k].height);
  checkTwice(slices, gaps, name);
  const step = median(gaps);
  checkGaps(slices, gaps, step, name);
  const whole = minus(slices[count - 1].position, first);
  for (const [k, slice] of slices.entries()) {
    const apart = minus(slice.position, first).map((v, axis) => v - whole[axis] * k / (count - 1));
    const distance = Math.hypot(...apart);
    if (distance > TOLERANCE * step + 1e-3) {
      throw new DicomError(
        placeOf(slice),
        `a slice ${distance.toPrecision(3)} mm away from the line of the others`,
        "slices at even distances in one direction; resample the series, or leave it out",
      );
    }
  }
  const height = dot(whole, normal) / (count - 1);
  const shift = [dot(whole, right) / pixel[0], dot(whole, down) / pixel[1]].map((all) => all / (count - 1));
  const tilted = Math.max(...shift.map(Math.abs)) * (count - 1) > ROUNDING;
  if (!tilted) {
    const [x, y, z] = whole.map((mm) => mm / (count - 1));
    return { slices, affine: affineOf(right, down, [x, y, z], [...pixel, 1], first) };
  }
  const affine = affineOf(right, down, normal, [...pixel, height], first);
  return { slices, affine, shift: [shift[0], shift[1]] };
}

/** A slice in words. */
const placeOf = ({ file, frame, position }: Slice): string =>
  `${file}${frame > 0 ? `, frame ${frame + 1}` : ""} (at ${position.map((mm) => +mm.toFixed(2)).join(", ")} mm)`;

const median = (values: readonly number[]): number => {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[sorted.length >> 1];
};

function checkTwice(slices: readonly Slice[], gaps: readonly number[], name: string): void {
  const apart = gaps.filter((gap) => gap > 1e-3);
  const same = apart.length === 0 ? Infinity : Math.max(1e-3, TOLERANCE * median(apart));
  const twice = gaps.flatMap((gap, k) => (gap <= same ? [k] : []));
  if (twice.length === 0) return;
  const places = slices.length - twice.length;
  const times = slices.length / places;
  const pair = twice.slice(0, 3).map((k) => `${placeOf(slices[k])} and ${placeOf(slices[k + 1])}`);
  const got = `${slices.length} slices at ${places} places: ${pair.join("; ")}${twice.length > 3 ? " and others" : ""}`;
  throw new DicomError(
    name,
    got,
    Number.isInteger(times) && twice.length > 1
      ? `one volume: each place has ${times} slices, such as time points, echoes or copies; keep those of one`
      : "each slice once: remove the copies",
  );
}

function checkGaps(slices: readonly Slice[], gaps: readonly number[], step: number, name: string): void {
  for (const [k, gap] of gaps.entries()) {
    if (Math.abs(gap - step) <= 2 * TOLERANCE * step + 1e-3) continue;
    const missing = Math.round(gap / step) - 1;
    const between = `between ${placeOf(slices[k])} and ${placeOf(slices[k + 1])}`;
    if (missing >= 1 && Math.abs(gap / step - missing - 1) < 0.2) {
      throw new DicomError(name, `${missing} slice(s) missing ${between}`, "the whole series: add the files");
    }
    const got = `${gap.toPrecision(4)} mm ${between}, where most slices are ${step.toPrecision(4)} mm apart`;
    throw new DicomError(name, got, "even distances; resample the series, or leave slices out");
  }
}

/** RAS has left and back reversed. */
function affineOf(
  right: LpsVector,
  down: LpsVector,
  normal: LpsVector,
  steps: readonly number[],
  origin: LpsVector,
): Affine {
  const row = (axis: number): number[] => {
    const sign = axis < 2 ? -1 : 1;
    return [right[axis] * steps[0], down[axis] * steps[1], normal[axis] * steps[2], origin[axis]].map((v) =>
      sign * v + 0
    );
  };
  return [...row(0), ...row(1), ...row(2), 0, 0, 0, 1];
}
