/** The labels of a cascade's previous stage as channels. */
import { type Plan, preparedSpacing } from "../plan/plan.ts";
import type { PreviousStage } from "./prepared_case.ts";
import { resamplingOrders } from "./resample.ts";
import { resampleLabelArray } from "./resample_labels.ts";
import type { Volume } from "../volume/volume.ts";

/**
 * Labels of a scan as inputs of a cascade's next stage.
 *
 * @example
 * ```ts
 * import { preprocessImage, previousStage, readLabelVolume, readPlan, readVolume } from "voxgrad/imaging";
 *
 * const labels = previousStage(await readLabelVolume("lowres/scan.nii.gz"));
 * const plan = await readPlan("plan.json");
 * const { image, shape } = await preprocessImage(await readVolume("scan.nii.gz"), plan, labels);
 * ```
 */
export const previousStage = (labels: Volume): PreviousStage => ({ labels, join: withPreviousStage });

/**
 * The channels of an image, and behind them the labels of the previous stage at the spacing of the plan: of each but
 * the background a channel of zeros and ones.
 */
async function withPreviousStage(
  image: Float32Array<ArrayBuffer>,
  { previous, geometry }: Parameters<PreviousStage["join"]>[1],
  plan: Plan,
): Promise<Float32Array<ArrayBuffer>> {
  const { cropSize: shape, cropSpacing, preparedShape: size } = geometry;
  const target = preparedSpacing(plan, cropSpacing);
  const order = resamplingOrders(plan.resampling.label, plan.resampling, cropSpacing, target);
  const labels = await resampleLabelArray(previous, { shape, size, order });
  const joined = new Float32Array(image.length + (plan.labels.length - 1) * labels.length);
  joined.set(image);
  labels.forEach((value, i) => value > 0 && (joined[image.length + (value - 1) * labels.length + i] = 1));
  return joined;
}
