/** Reads label values as integers, tolerating float rounding errors. */
import { DatasetError } from "./finding.ts";
import { readVolume } from "../formats/read_volume.ts";
import type { FileSource } from "../../platform/sources.ts";
import type { Volume } from "../volume/volume.ts";

/**
 * How far from an integer a stored label may lie: above the rounding error of a float32 scale, far below the effect of
 * interpolation.
 */
const TOLERANCE = 1e-4;
/** A file of noise has as many values as voxels; report at most this many. */
const MOST_VALUES = 1000;

/** Values, lowest first, with the number of their voxels. */
export type ValueCounts = readonly (readonly [value: number, voxels: number])[];

/**
 * A label volume with values that lie within 1e-4 of an integer rounded to it: a header's scale (scl_slope), as nibabel
 * writes it for float arrays, leaves 0.9999999998 or 1.00000012 for 1.
 *
 * @returns volume: the input itself if nothing had to be rounded; rounded: number of rounded voxels; broken: other
 *   values, which are left unchanged
 */
export function roundLabels(stored: Volume): { volume: Volume; rounded: number; broken: ValueCounts } {
  const { data } = stored;
  const broken = new Map<number, number>();
  let rounded = 0;
  for (let i = 0; i < data.length; i++) {
    const value = data[i];
    const whole = Math.round(value);
    if (whole === value) continue;
    if (Math.abs(whole - value) <= TOLERANCE) rounded++;
    else if (broken.size < MOST_VALUES || broken.has(value)) broken.set(value, (broken.get(value) ?? 0) + 1);
  }
  const sorted = [...broken].sort((a, b) => a[0] - b[0]);
  if (rounded === 0) return { volume: stored, rounded, broken: sorted };
  const near = (
    value: number,
  ): number => (Math.abs(Math.round(value) - value) <= TOLERANCE ? Math.round(value) : value);
  return { volume: { ...stored, data: Float64Array.from(data, near) }, rounded, broken: sorted };
}

/** Counts each value of a label volume, lowest first; stops at a thousand values. */
export function countValues({ data }: Volume): ValueCounts {
  const counts = new Map<number, number>();
  for (let i = 0; i < data.length;) {
    const [value, start] = [data[i], i];
    while (i < data.length && Object.is(data[i], value)) i++;
    if (counts.size < MOST_VALUES || counts.has(value)) counts.set(value, (counts.get(value) ?? 0) + i - start);
  }
  return [...counts].sort((a, b) => a[0] - b[0]);
}

/** The first few values for a message: 2 (17 voxels), 9 (1 voxel). */
export const valuesText = (counts: ValueCounts): string =>
  counts.slice(0, 5).map(([value, n]) => `${value} (${n} voxels)`).join(", ") +
  (counts.length > 5 ? ", ..." : "");

/** The fix for a mask with one foreground value in a dataset with one label. */
export function mappingFix(
  unknownValues: ValueCounts,
  labels: readonly { value: number; name: string }[],
): string | undefined {
  if (unknownValues.length !== 1 || labels.length !== 2) return undefined;
  return `If ${unknownValues[0][0]} means ${
    labels[1].name
  }, write 1 for it in the label files; else declare it as a label`;
}

/** Problem and fix for values that are not integers. */
export function brokenLabels({ source }: Volume, broken: ValueCounts): [problem: string, fix: string] {
  const { slope = 0, intercept = 0 } = source ?? {};
  const scaled = Number.isFinite(slope) && slope !== 0 && !(slope === 1 && !intercept);
  const by = scaled ? `; its header scales what is stored by scl_slope ${slope} and scl_inter ${intercept}` : "";
  const fix = scaled
    ? "Store labels as integers without a scale"
    : "Store labels as integers; resample them by nearest neighbor";
  return [`it holds ${valuesText(broken)}, which are not integers${by}`, fix];
}

/**
 * A label volume with integers: see `roundLabels`.
 *
 * @throws DatasetError when it has several channels, or values further than 1e-4 from integers
 * @example
 * ```ts
 * import { makeVolume, scaling, wholeLabels } from "voxgrad/imaging";
 *
 * const stored = makeVolume(new Float32Array([0, 1, 2, 1.00001]), { shape: [4, 1, 1], affine: scaling([1, 1, 1]) });
 * wholeLabels(stored).data; // Uint8Array [0, 1, 2, 1]
 * ```
 */
export function wholeLabels(stored: Volume): Volume {
  if (stored.channels !== 1) {
    const fix = "Store labels as one 3-D volume of integers";
    throw new DatasetError(stored.name, `it has ${stored.channels} channels`, fix);
  }
  const { volume, broken } = roundLabels(stored);
  if (broken.length > 0) throw new DatasetError(stored.name, ...brokenLabels(stored, broken));
  return volume;
}

/**
 * Reads a label volume, wherever its file is: integers, see `wholeLabels`.
 *
 * @throws DatasetError when it has several channels or values that are not integers
 * @throws NiftiError, PlatformError when it cannot be read
 * @example
 * ```ts
 * import { readLabelVolume } from "voxgrad/imaging";
 *
 * const label = await readLabelVolume("labelsTr/case_01.nii.gz");
 * ```
 */
export const readLabelVolume = async (source: FileSource): Promise<Volume> => wholeLabels(await readVolume(source));
