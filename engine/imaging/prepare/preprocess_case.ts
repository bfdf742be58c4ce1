/** Preprocessing for training: what a scan needs for prediction, its label, and where the foreground is. */
import { VoxgradError } from "../../core/errors.ts";
import { Prng } from "../../core/prng.ts";
import type { LoadedCase } from "../dataset/load_case.ts";
import { type Plan, preparedSpacing } from "../plan/plan.ts";
import type { PreparedCase } from "./prepared_case.ts";
import { cropCase, type CroppedCase, resampledImage } from "./preprocess.ts";
import { resamplingOrders } from "./resample.ts";
import { resampleLabelArray } from "./resample_labels.ts";

/** nnU-Net's class_locations: this many voxels of each class, or 1 % if that is more. */
const LOCATIONS = 10_000;
const LEAST_SHARE = 0.01;
const LOCATION_SEED = 1234;

/**
 * Preprocesses a case for training: image, label and the locations of foreground voxels.
 *
 * @throws VoxgradError if it has no label, or its channels differ from the plan's
 * @example
 * ```ts
 * import { loadCase, openDataset, preprocessCase, readPlan } from "voxgrad/imaging";
 *
 * const dataset = await openDataset("data/Task04_Hippocampus");
 * const ready = await preprocessCase(await loadCase(dataset, dataset.cases[0]), await readPlan("plan.json"));
 * ```
 */
export async function preprocessCase(loaded: LoadedCase, plan: Plan): Promise<PreparedCase> {
  return resampleCase(cropCase(loaded, plan), plan);
}

/** The second half of preprocessCase, on the device. */
export async function resampleCase(cropped: CroppedCase, plan: Plan): Promise<PreparedCase> {
  const { id, label: source, geometry, labelsPresent } = cropped;
  if (!source) throw new VoxgradError(`preprocessCase: case ${id} has no label; training needs one`);
  const { cropSize, cropSpacing, preparedShape } = geometry;
  const spacing = preparedSpacing(plan, cropSpacing);
  const order = resamplingOrders(plan.resampling.label, plan.resampling, cropSpacing, spacing);
  const label = await resampleLabelArray(source, { shape: cropSize, size: preparedShape, order });
  return {
    id,
    image: await resampledImage(cropped, plan),
    label,
    channels: plan.channels.length,
    shape: [preparedShape[0], preparedShape[1], preparedShape[2]],
    spacing: [spacing[0], spacing[1], spacing[2]],
    foreground: foregroundOf(label, plan.labels.length),
    geometry,
    ...(labelsPresent && { labelsPresent }),
  };
}

/**
 * Locations of each foreground class that occurs, all or a random sample of 10,000, or 1 % if that is more, in
 * ascending order. The same label gives the same sample.
 */
export function foregroundOf(label: Uint8Array, classes: number): { value: number; voxels: Uint32Array }[] {
  const counts = new Uint32Array(256);
  for (let i = 0; i < label.length; i++) counts[label[i]]++;
  const prng = new Prng(LOCATION_SEED);
  const lists = Array.from({ length: classes }, (_, value) => {
    const count = value === 0 ? 0 : counts[value];
    const wanted = Math.min(count, Math.max(LOCATIONS, Math.ceil(LEAST_SHARE * count)));
    const ranks = wanted < count ? sampleRanks(prng.fork(value), count, wanted) : undefined;
    return { voxels: new Uint32Array(wanted), ranks, taken: 0, seen: 0 };
  });
  for (let i = 0; i < label.length; i++) {
    const value = label[i];
    if (value === 0 || value >= classes) continue;
    const list = lists[value];
    if (!list.ranks || list.ranks[list.taken] === list.seen) list.voxels[list.taken++] = i;
    list.seen++;
  }
  return lists.flatMap(({ voxels }, value) => (voxels.length > 0 ? [{ value, voxels }] : []));
}

/** `wanted` of the numbers below `count`, ascending; every subset is equally likely (Floyd's algorithm). */
function sampleRanks(prng: Prng, count: number, wanted: number): Uint32Array {
  const chosen = new Set<number>();
  for (let j = count - wanted; j < count; j++) {
    const rank = prng.integer(j + 1);
    chosen.add(chosen.has(rank) ? j : rank);
  }
  return Uint32Array.from(chosen).sort();
}
