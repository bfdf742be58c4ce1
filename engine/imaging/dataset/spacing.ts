/**
 * Plausibility of voxel spacings: a header with the wrong unit makes voxels a thousand times too large or too small.
 */
import { VoxgradError } from "../../core/errors.ts";
import type { SpatialUnit, Triple, Volume } from "../volume/volume.ts";

/** Plausible range of spacings in mm. */
const [LEAST, MOST] = [0.01, 50];
/** Largest ratio of a spacing to the median, either way. */
const FACTOR = 10;

/** Whether all three are numbers above 0. */
export const isSpacing = (spacing: readonly number[]): boolean => spacing.every((mm) => mm > 0 && mm < Infinity);

const text = (spacing: readonly number[]): string => spacing.map((mm) => +mm.toPrecision(4)).join(" x ");
const unitText = (units: SpatialUnit): string =>
  units === "m" || units === "um"
    ? `, for its header counts in ${units === "m" ? "meters" : "micrometers"} (xyzt_units)`
    : "";
const FIX = "If the header is wrong, correct its unit (xyzt_units) or its pixdim, sform and qform";

/** Problem and fix for an implausible spacing; undefined if it is plausible. */
export function spacingProblem(
  of: { spacing: readonly number[]; units: SpatialUnit },
): [problem: string, fix: string] | undefined {
  const { spacing, units } = of;
  if (spacing.every((mm) => mm >= LEAST && mm <= MOST)) return undefined;
  return [
    `its voxel spacing is ${text(spacing)} mm${unitText(units)}; scans of people have ${LEAST} to ${MOST} mm`,
    FIX,
  ];
}

/** Files whose sorted spacings differ from the overall median by a factor of ten or more. */
export function oddSpacings(
  all: readonly { file: string; sorted: readonly number[] }[],
): [file: string, problem: string, fix: string][] {
  if (all.length < 3) return [];
  const median = [0, 1, 2].map((k) =>
    all.map(({ sorted }) => sorted[k]).sort((a, b) => a - b)[Math.floor(all.length / 2)]
  );
  const odd = all.filter(({ sorted }) => sorted.every((mm) => mm >= LEAST && mm <= MOST) && differs(sorted, median));
  return odd.map((
    { file, sorted },
  ) => [file, `its voxel spacing is ${text(sorted)} mm, sorted; that of the dataset ${text(median)} (median)`, FIX]);
}

const differs = (spacing: readonly number[], usual: readonly number[]): boolean =>
  spacing.some((mm, k) => mm > FACTOR * usual[k] || mm < usual[k] / FACTOR);

/**
 * Throws if a scan's spacing is implausible for a plan: outside 0.01 to 50 mm, or ten times larger or smaller than the
 * median of the cases that the plan was made from. Spacings are compared from the finest to the coarsest axis, because
 * scans may be sliced along any.
 *
 * @param image the scan as stored
 * @param option the option that overrides the check, for the message
 * @throws VoxgradError naming the scan, both spacings and the fix
 * @example
 * ```ts
 * import { checkSpacing, readPlan, readVolume } from "voxgrad/imaging";
 *
 * checkSpacing(await readVolume("scan.nii.gz"), await readPlan("plan.json"), "--anySpacing");
 * ```
 */
export function checkSpacing(
  image: Pick<Volume, "name" | "spacing" | "units">,
  plan: { readonly fingerprint: { readonly medianSpacing: Triple } },
  option = "",
): void {
  const anyway = option === "" ? "" : `; if it is right, ${option} goes on`;
  const problem = spacingProblem(image);
  if (problem) throw new VoxgradError(`${image.name}: ${problem[0]}. ${problem[1]}${anyway}`);
  const sorted = (spacing: Triple): number[] => [...spacing].sort((a, b) => a - b);
  const [own, usual] = [image.spacing, plan.fingerprint.medianSpacing].map(sorted) as [number[], number[]];
  if (!differs(own, usual)) return;
  throw new VoxgradError(
    `${image.name}: its voxel spacing is ${text(own)} mm${
      unitText(image.units)
    }, where the network was trained on scans ` +
      `of ${text(usual)} mm. ${FIX}${anyway}`,
  );
}
