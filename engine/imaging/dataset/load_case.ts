/** Reads one case of a dataset, with checks that catch silent mistakes before training. */
import { axisCodes, cornerDistance } from "../volume/affine.ts";
import { DatasetError } from "./finding.ts";
import type { Dataset, DatasetCase } from "./types.ts";
import { mapLabels } from "./label_map.ts";
import { listed } from "../../core/errors.ts";
import { countValues, mappingFix, readLabelVolume, valuesText } from "./label_values.ts";
import { checkMemory } from "../volume/memory.ts";
import { readVolume, type VolumeSource } from "../formats/read_volume.ts";
import { turnedOnto } from "../volume/reorient.ts";
import { isVolume, voxelCount } from "../volume/volume.ts";
import type { Volume } from "../volume/volume.ts";

export interface LoadedCase {
  readonly id: string;
  /** All channels of the image in one volume. */
  readonly image: Volume;
  /** Integers among the dataset's labels (and its ignore label), as Uint8Array. */
  readonly label?: Volume;
  /** Foreground values that were annotated; absent if all were. */
  readonly labelsPresent?: readonly number[];
}

/**
 * Reads a case: its image with all channels, and its label, if any. A case of a dataset group gets the labels of the
 * group: renamed, merged and split by its `labelMap`, 0 where nothing is annotated.
 *
 * @param dataset from openDataset
 * @param options tolerance: largest distance, in voxels, between the corners of image and label; default 0.05
 * @throws DatasetError when files disagree in grid, a spacing is 0, an image holds NaN or infinity, or a label value is
 *   not declared
 * @throws NiftiError, PlatformError when a file cannot be read
 * @example
 * ```ts
 * import { loadCase, openDataset } from "voxgrad/imaging";
 *
 * const dataset = await openDataset("data/Task04_Hippocampus");
 * const { image, label } = await loadCase(dataset, dataset.cases[0]);
 * ```
 */
export async function loadCase(
  dataset: Pick<Dataset, "channels" | "labels" | "ignoreLabel">,
  item: DatasetCase,
  options: { tolerance?: number } = {},
): Promise<LoadedCase> {
  const { tolerance = 0.05 } = options;
  const { series } = item;
  const image = await loadImage(item.images, dataset.channels, { tolerance, ...(series !== undefined && { series }) });
  if (item.label === undefined) return { id: item.id, image };
  const stored = await readLabelVolume(item.label);
  checkGrid(image, stored, tolerance);
  const { labelsPresent, labelMap } = item;
  const own = checkLabels(stored, labelMap ?? dataset);
  if (labelMap) checkPresent(own, { id: item.id, labelsPresent: labelMap.labelsPresent }, labelMap);
  else checkPresent(own, item, dataset);
  const label = labelMap ? mapLabels(own, labelMap, image).label : own;
  return { id: item.id, image, label, ...(labelsPresent && { labelsPresent }) };
}

/**
 * The image of a case in one volume, from a file with all channels or a file for each.
 *
 * @param images files or DICOM series, or volumes that are read already
 * @param channels their names
 * @param options tolerance: as of loadCase; series: as of readVolume
 * @throws as loadCase
 * @example
 * ```ts
 * import { loadImage } from "voxgrad/imaging";
 *
 * const image = await loadImage(["t1.nii.gz", "flair.nii.gz"], ["T1", "FLAIR"]);
 * image.channels; // 2
 * ```
 */
export async function loadImage(
  images: readonly (VolumeSource | Volume)[],
  channels: readonly string[],
  options: { tolerance?: number; series?: string } = {},
): Promise<Volume> {
  const { tolerance = 0.05, series } = options;
  const files: Volume[] = [];
  for (const image of images) {
    const file = isVolume(image) ? image : await readVolume(image, series === undefined ? {} : { series });
    checkVoxels(file);
    files.push(file);
    if (files.length === 1 && images.length > 1) {
      const { byteLength, length } = file.data;
      const fits = "crop or resample the images, or train on fewer channels";
      checkMemory(images.length * (byteLength + 4 * length), `${file.name} and its other channels`, fits);
    }
  }
  for (const other of files.slice(1)) checkGrid(files[0], other, tolerance);
  const image = files.length === 1 ? files[0] : joinChannels(files);
  if (image.channels === channels.length) return image;
  throw new DatasetError(
    image.name,
    `it has ${image.channels} channel(s), wanted ${channels.length}: ${channels.join(", ")}`,
    "Use a file with these channels, or correct what is said of the dataset's channels",
  );
}

function joinChannels(files: readonly Volume[]): Volume {
  const count = voxelCount(files[0].shape);
  const data = new Float32Array(count * files.length);
  for (const [channel, file] of files.entries()) {
    if (file.channels !== 1) {
      throw new DatasetError(file.name, `it holds ${file.channels} channels`, "Store one channel per file");
    }
    data.set(file.data, channel * count);
  }
  return { ...files[0], data, channels: files.length };
}

/**
 * Throws unless two volumes have the same shape and their corners lie within `tolerance` voxels of each other.
 *
 * @example
 * ```ts
 * import { checkGrid, phantomCase } from "voxgrad/imaging";
 *
 * const { image, label } = phantomCase({ seed: 1 });
 * checkGrid(image, label, 0.05); // on one grid, so nothing is thrown
 * ```
 */
export function checkGrid(a: Volume, b: Volume, tolerance: number): void {
  const turned = turnedOnto(b, a, tolerance);
  if (turned === b) return;
  if (!turned) return checkPlaces(a, b, tolerance);
  const [own, wanted] = [axisCodes(b.affine), axisCodes(a.affine)];
  throw new DatasetError(
    b.name,
    `it lies where ${a.name} does, but up to ${
      cornerDistance(a.affine, b.affine, a.shape).toPrecision(3)
    } mm from it voxel by voxel ` +
      `(${placeOf(b)} against ${placeOf(a)})`,
    `Turn it from ${own} to ${wanted}, voxels and header together; with the header alone it would be mirrored or ` +
      "turned",
  );
}

const placeOf = (v: Volume): string =>
  `${v.shape.join(" x ")} voxels, spacing ${v.spacing.map((s) => +s.toFixed(4)).join(" x ")} mm, axes ${
    axisCodes(v.affine)
  }`;

/** Throws unless two volumes have the same voxel positions; the message says how they differ. */
export function checkPlaces(a: Volume, b: Volume, tolerance: number): void {
  const fix = `Resample it onto the grid of ${a.name}`;
  if (a.shape.some((n, axis) => n !== b.shape[axis])) {
    throw new DatasetError(
      b.name,
      `its shape is ${b.shape.join(" x ")} and that of ${a.name} ${a.shape.join(" x ")}`,
      fix,
    );
  }
  const apart = cornerDistance(a.affine, b.affine, a.shape);
  if (apart <= tolerance * Math.min(...a.spacing)) return;
  const problem = `it lies up to ${apart.toPrecision(3)} mm from ${a.name} (${placeOf(b)} against ${placeOf(a)})`;
  throw new DatasetError(b.name, problem, `${fix}, or correct the header of the one that is wrong`);
}

/** Problem and fix for an image with voxels that are not finite, or not finite in float32. */
export function brokenVoxels({ data, source }: Volume): [problem: string, fix: string][] {
  let [bad, far, farthest] = [0, 0, 0];
  if (!(data instanceof Float32Array || data instanceof Float64Array)) return [];
  for (let i = 0; i < data.length; i++) {
    const value = data[i];
    const single = Math.fround(value);
    if (single - single === 0) continue;
    if (value - value !== 0) {
      bad++;
    } else {
      far++;
      if (Math.abs(value) > Math.abs(farthest)) farthest = value;
    }
  }
  const slope = source?.slope ?? 0;
  const scaled = Number.isFinite(slope) && slope !== 0 && slope !== 1 ? ` (scl_slope is ${slope})` : "";
  const found: [string, string][] = [];
  if (bad > 0) {
    found.push([`${bad} voxels are NaN or infinite${scaled}`, "Replace them, for example by the background value"]);
  }
  if (far > 0) {
    const problem = `${far} voxels are beyond float32, up to ${farthest}${scaled}`;
    found.push([
      problem,
      "Replace them, for example by the background value, or scale the image to values below 3.4e38",
    ]);
  }
  return found;
}

function checkVoxels(image: Volume): void {
  const { spacing } = image;
  if (!(Math.min(...spacing) > 0 && Math.max(...spacing) < Infinity)) {
    throw new DatasetError(
      image.name,
      `its voxel spacing is ${spacing.join(" x ")} mm`,
      "Correct pixdim and the sform or qform",
    );
  }
  const [broken] = brokenVoxels(image);
  if (broken) throw new DatasetError(image.name, ...broken);
}

function checkPresent(
  label: Volume,
  item: Pick<DatasetCase, "id" | "labelsPresent">,
  dataset: Pick<Dataset, "labels">,
): void {
  const { labelsPresent } = item;
  if (!labelsPresent) return;
  const counts = new Float64Array(256);
  for (const value of label.data) counts[value]++;
  for (const { value, name } of dataset.labels) {
    if (value === 0 || counts[value] === 0 || labelsPresent.includes(value)) continue;
    throw new DatasetError(
      label.name,
      `it holds ${value} ${name} (${counts[value]} voxels), which labels_present of ${item.id} leaves out`,
      "Add the label to labels_present, or erase it from the file",
    );
  }
}

function checkLabels(stored: Volume, dataset: Pick<Dataset, "labels" | "ignoreLabel">): Volume {
  const highest = dataset.ignoreLabel ?? dataset.labels.length - 1;
  const data = Uint8Array.from(stored.data);
  const fits = (value: number, k: number): boolean => data[k] === value && value <= highest;
  if (stored.data.every(fits)) return { ...stored, data };
  const unknown = countValues(stored).filter(([value]) => !(value >= 0 && value <= highest));
  const declared = listed(dataset.labels.map((label) => `${label.value} ${label.name}`));
  throw new DatasetError(
    stored.name,
    `it holds ${valuesText(unknown)}, which are none of the labels (${declared})`,
    mappingFix(unknown, dataset.labels) ?? "Declare them as labels of the dataset, or correct the file",
  );
}
