/**
 * Preprocessing from stored scan to network input: orient, crop, transpose, normalize, resample; records the geometry.
 */
import { VoxgradError } from "../../core/errors.ts";
import { nonZeroBox, nonZeroMask } from "../volume/crop.ts";
import type { Box } from "../volume/crop.ts";
import type { LoadedCase } from "../dataset/load_case.ts";
import { preparedSpacing } from "../plan/plan.ts";
import type { ChannelPlan, Plan } from "../plan/plan.ts";
import type { CaseGeometry, PreviousStage } from "./prepared_case.ts";
import { checkMemory } from "../volume/memory.ts";
import { reorient } from "../volume/reorient.ts";
import { resampleArray, resampledShape, resamplingOrders } from "./resample.ts";
import { voxelCount } from "../volume/volume.ts";
import type { Triple, Volume, VoxelData } from "../volume/volume.ts";

/** A case before resampling; sizes in prepared order. */
export interface CroppedCase {
  readonly id: string;
  /** Normalized, [C, ...geometry.cropSize]. */
  readonly image: Float32Array<ArrayBuffer>;
  readonly label?: Uint8Array<ArrayBuffer>;
  /** Labels of a cascade's previous stage. */
  readonly previous?: Uint8Array<ArrayBuffer>;
  readonly geometry: CaseGeometry;
  readonly labelsPresent?: readonly number[];
}

/** Copies a box of a volume's channels with its axes [z, y, x] transposed. */
function transposedBox<T extends VoxelData>(volume: Volume, box: Box, transpose: Triple, out: T): T {
  const [X, Y, Z] = volume.shape;
  const strides = [X * Y, X, 1];
  const start = [box.start[2], box.start[1], box.start[0]];
  const sizes = [box.size[2], box.size[1], box.size[0]];
  const [a, b, c] = transpose;
  const first = start.reduce((sum, n, k) => sum + n * strides[k], 0);
  const { data } = volume;
  let to = 0;
  for (let channel = 0; channel < volume.channels; channel++) {
    for (let i = 0; i < sizes[a]; i++) {
      for (let j = 0; j < sizes[b]; j++) {
        let at = channel * X * Y * Z + first + i * strides[a] + j * strides[b];
        for (let k = 0; k < sizes[c]; k++, at += strides[c]) out[to++] = data[at];
      }
    }
  }
  return out;
}

function rangeOf(data: Float32Array): [number, number] {
  let [low, high] = [Infinity, -Infinity];
  for (const value of data) {
    if (value < low) low = value;
    if (value > high) high = value;
  }
  return [low, high];
}

/** Quantiles between neighbors in order, as numpy.quantile computes them. */
function quantilesOf(data: Float32Array, at: readonly [number, number]): [number, number] {
  const sorted = data.slice().sort();
  const [low, high] = at.map((q) => {
    const place = q * (sorted.length - 1);
    const k = Math.floor(place);
    const next = sorted[Math.min(k + 1, sorted.length - 1)];
    return sorted[k] + (place - k) * (next - sorted[k]);
  });
  return [low, high];
}

/** Normalizes one channel in place, by the rules of ChannelPlan; sums in float64. */
function normalize(data: Float32Array, plan: ChannelPlan, mask: Uint8Array | undefined, image: string): void {
  if (plan.normalization === "none") return;
  if (plan.normalization === "rgb") {
    const odd = data.find((value) => !(value >= 0 && value <= 255));
    if (odd !== undefined) {
      throw new VoxgradError(`${image}: channel ${plan.name} is a color of 0 to 255 in the plan, and it holds ${odd}`);
    }
    for (let i = 0; i < data.length; i++) data[i] /= 255;
    return;
  }
  if (plan.normalization === "ct") {
    const { mean, deviation, low, high } = plan;
    const scale = 1 / Math.max(deviation, 1e-8);
    for (let i = 0; i < data.length; i++) data[i] = (Math.min(high, Math.max(low, data[i])) - mean) * scale;
    return;
  }
  if (plan.normalization === "rescale") {
    const [low, high] = plan.quantiles ? quantilesOf(data, plan.quantiles) : rangeOf(data);
    const scale = 1 / Math.max(high - low, 1e-8);
    for (let i = 0; i < data.length; i++) data[i] = (data[i] - low) * scale;
    return;
  }
  const inside = plan.normalization === "z-score in mask" ? mask : undefined;
  let [count, sum] = [0, 0];
  for (let i = 0; i < data.length; i++) {
    if (inside && inside[i] === 0) continue;
    sum += data[i];
    count++;
  }
  const mean = sum / Math.max(1, count);
  let squares = 0;
  for (let i = 0; i < data.length; i++) {
    if (inside && inside[i] === 0) continue;
    squares += (data[i] - mean) ** 2;
  }
  const scale = 1 / Math.max(Math.sqrt(squares / Math.max(1, count)), 1e-8);
  // Outside the mask all channels are already zero.
  for (let i = 0; i < data.length; i++) if (!inside || inside[i] !== 0) data[i] = (data[i] - mean) * scale;
}

/** The scan with its axes as the plan requires. */
export const oriented = (volume: Volume, orientation: Plan["orientation"]): Volume =>
  orientation === "RAS" ? reorient(volume, "RAS") : volume;

/**
 * The host part of preprocessing: orients, crops to non-zero, transposes and normalizes a loaded case.
 *
 * @param loaded previous: labels of a cascade's previous stage, on the grid of the image
 * @throws VoxgradError when the number of channels is not the plan's
 */
export function cropCase(
  loaded: Pick<LoadedCase, "image"> & Partial<LoadedCase> & { readonly previous?: Volume },
  plan: Plan,
): CroppedCase {
  const { data: _, ...source } = loaded.image;
  const image = oriented(loaded.image, plan.orientation);
  if (image.channels !== plan.channels.length) {
    throw new VoxgradError(
      `${image.name}: it has ${image.channels} channel(s), the plan ${plan.channels.length}: ` +
        `${plan.channels.map((c) => c.name).join(", ")}; use the plan of this dataset`,
    );
  }
  const box = nonZeroBox(image);
  const { transpose } = plan;
  const prepared = (xyz: Triple): Triple => [xyz[2 - transpose[0]], xyz[2 - transpose[1]], xyz[2 - transpose[2]]];
  const cropSize = prepared(box.size);
  const cropSpacing = prepared(image.spacing);
  const geometry: CaseGeometry = {
    source,
    orientation: plan.orientation,
    orientedShape: [image.shape[2], image.shape[1], image.shape[0]],
    transpose,
    cropStart: prepared(box.start),
    cropSize,
    cropSpacing,
    preparedShape: resampledShape(cropSize, cropSpacing, preparedSpacing(plan, cropSpacing)),
  };
  const count = voxelCount(cropSize);
  checkPrepared(image, geometry, plan);
  const voxels = transposedBox(image, box, transpose, new Float32Array(image.channels * count));
  const masked = plan.channels.some((c) => c.normalization === "z-score in mask");
  const mask = masked ? nonZeroMask(voxels, { channels: image.channels, shape: cropSize }) : undefined;
  const aligned = (labels: Volume | undefined): Uint8Array<ArrayBuffer> | undefined =>
    labels && transposedBox(oriented(labels, plan.orientation), box, transpose, new Uint8Array(count));
  const [label, previous] = [aligned(loaded.label), aligned(loaded.previous)];
  // nnU-Net counts what the previous stage found as inside, also where the image is zero.
  if (mask) previous?.forEach((value, i) => value > 0 && (mask[i] = 1));
  plan.channels.forEach((channel, c) =>
    normalize(voxels.subarray(c * count, (c + 1) * count), channel, mask, image.name)
  );
  return {
    id: loaded.id ?? source.name,
    image: voxels,
    ...(label && { label }),
    ...(previous && { previous }),
    geometry,
    ...(loaded.labelsPresent && { labelsPresent: loaded.labelsPresent }),
  };
}

/** Throws if the prepared case would not fit into memory, most often because its header has the wrong unit. */
function checkPrepared(image: Volume, { cropSize, preparedShape }: CaseGeometry, plan: Plan): void {
  const [before, after] = [voxelCount(cropSize), voxelCount(preparedShape)];
  // Image and label before and after resampling.
  const bytes = (4 * image.channels + 1) * (before + (before === after ? 0 : after));
  const by = (values: readonly number[], join: string): string => values.map((n) => +n.toPrecision(4)).join(join);
  const what = `${image.name}: of ${by(image.spacing, " x ")} mm, at the plan's ${by(plan.spacing, " x ")} mm it has ${
    preparedShape.join(" x ")
  } voxels`;
  const fits = "see whether its spacing is right (units of the header), else crop it or use a plan of coarser spacing";
  checkMemory(bytes, what, fits, image.channels * after);
}

/** The image at the spacing of the plan. */
export async function resampledImage(cropped: CroppedCase, plan: Plan): Promise<Float32Array<ArrayBuffer>> {
  const { cropSize: shape, cropSpacing, preparedShape: size } = cropped.geometry;
  const target = preparedSpacing(plan, cropSpacing);
  const order = resamplingOrders(plan.resampling.image, plan.resampling, cropSpacing, target);
  return resampleArray(cropped.image, { channels: plan.channels.length, shape, size, order });
}

/**
 * Preprocesses a scan for prediction.
 *
 * @param previous of a plan with a previous stage, its labels of the scan; see previousStage
 * @returns image [C, ...shape] normalized at the plan's spacing, the channels of the previous stage behind; geometry,
 *   to map results back
 * @throws VoxgradError when the number of channels is not the plan's
 * @example
 * ```ts
 * import { preprocessImage, readPlan, readVolume } from "voxgrad/imaging";
 *
 * const plan = await readPlan("plan.json");
 * const { image, shape, geometry } = await preprocessImage(await readVolume("scan.nii.gz"), plan);
 * ```
 */
export async function preprocessImage(
  image: Volume,
  plan: Plan,
  previous?: PreviousStage,
): Promise<{ image: Float32Array<ArrayBuffer>; shape: Triple; geometry: CaseGeometry }> {
  if ((plan.previousStage !== undefined) !== (previous !== undefined)) {
    throw new VoxgradError(
      `preprocessImage: ${image.name}: ` +
        (previous ? "the plan has no previous stage" : `the plan's network takes the labels of ${plan.previousStage}`),
    );
  }
  const cropped = cropCase({ image, ...(previous && { previous: previous.labels }) }, plan);
  const own = await resampledImage(cropped, plan);
  return {
    image: previous ? await previous.join(own, { ...cropped, previous: cropped.previous! }, plan) : own,
    shape: cropped.geometry.preparedShape,
    geometry: cropped.geometry,
  };
}
