/** Reading one case of a dataset, with the checks that keep silent mistakes out of a training. */
import { axisCodes, cornerDistance } from "./affine.ts";
import { DatasetError } from "./dataset.ts";
import type { Dataset, DatasetCase } from "./dataset.ts";
import { mapLabels } from "./label_map.ts";
import { readVolume } from "./read_volume.ts";
import { voxelCount } from "./volume.ts";
import type { Volume } from "./volume.ts";

export interface LoadedCase {
  readonly id: string;
  /** All channels of the image in one volume. */
  readonly image: Volume;
  /** Whole numbers among the dataset's labels (and its ignore label), as Uint8Array. */
  readonly label?: Volume;
  /** Foreground values that were annotated, where not all were. */
  readonly labelsPresent?: readonly number[];
}

/**
 * Reads a case: its image with all channels, and its label where it has one. A case of a dataset group comes with the
 * labels of the group: renamed, merged and split by its `labelMap`, 0 where nothing is that counts as annotated.
 *
 * @param dataset from openDataset
 * @param options tolerance: how far apart, in voxels, image and label may place the same corner; 0.05 unless given
 * @throws DatasetError when files disagree in grid, a spacing is 0, an image holds NaN or infinity, or a label value is
 *   not declared
 * @throws NiftiError, PlatformError when a file cannot be read
 * @example const { image, label } = await loadCase(dataset, dataset.cases[0]);
 */
export async function loadCase(
  dataset: Pick<Dataset, "channels" | "labels" | "ignoreLabel">,
  item: DatasetCase,
  options: { tolerance?: number } = {},
): Promise<LoadedCase> {
  const { tolerance = 0.05 } = options;
  const files: Volume[] = [];
  for (const path of item.images) files.push(await readVolume(path));
  for (const other of files.slice(1)) checkGrid(files[0], other, tolerance);
  const image = files.length === 1 ? files[0] : joinChannels(files);
  if (image.channels !== dataset.channels.length) {
    throw new DatasetError(
      item.images[0],
      `it has ${image.channels} channel(s), wanted ${dataset.channels.length}: ${dataset.channels.join(", ")}`,
      "Use a file with these channels, or correct channel_names (or modality) in dataset.json",
    );
  }
  checkVoxels(image);
  if (item.label === undefined) return { id: item.id, image };
  const stored = await readVolume(item.label);
  checkGrid(image, stored, tolerance);
  const { labelsPresent, labelMap } = item;
  const own = checkLabels(stored, labelMap ?? dataset);
  if (labelMap) checkPresent(own, { id: item.id, labelsPresent: labelMap.labelsPresent }, labelMap);
  else checkPresent(own, item, dataset);
  const label = labelMap ? mapLabels(own, labelMap, image).label : own;
  return { id: item.id, image, label, ...(labelsPresent && { labelsPresent }) };
}

function joinChannels(files: readonly Volume[]): Volume {
  const count = voxelCount(files[0].shape);
  const data = new Float32Array(count * files.length);
  for (const [channel, file] of files.entries()) {
    if (file.channels !== 1) {
      throw new DatasetError(file.name, `it holds ${file.channels} channels`, "Store one channel per _0000 file");
    }
    data.set(file.data, channel * count);
  }
  return { ...files[0], data, channels: files.length };
}

/** Throws unless two volumes have the same shape and place their corners within `tolerance` voxels of each other. */
export function checkGrid(a: Volume, b: Volume, tolerance: number): void {
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
  const place = (v: Volume) =>
    `spacing ${v.spacing.map((s) => +s.toFixed(4)).join(" x ")} mm, axes ${axisCodes(v.affine)}`;
  throw new DatasetError(
    b.name,
    `it lies up to ${apart.toPrecision(3)} mm from ${a.name} (${place(b)} against ${place(a)})`,
    `${fix}; if only the header is wrong, copy that of the image`,
  );
}

function checkVoxels(image: Volume): void {
  if (!(Math.min(...image.spacing) > 0)) {
    const spacing = image.spacing.join(" x ");
    throw new DatasetError(image.name, `its voxel spacing is ${spacing} mm`, "Correct pixdim and the sform or qform");
  }
  let bad = 0;
  for (const value of image.data) if (!Number.isFinite(value)) bad++;
  if (bad === 0) return;
  throw new DatasetError(
    image.name,
    `${bad} voxels are NaN or infinite`,
    "Replace them, for example by the background value",
  );
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
  if (stored.channels !== 1) {
    throw new DatasetError(
      stored.name,
      `it has ${stored.channels} channels`,
      "Store labels as one 3-D volume of whole numbers",
    );
  }
  const highest = dataset.ignoreLabel ?? dataset.labels.length - 1;
  const data = new Uint8Array(stored.data.length);
  const strange = new Map<number, number>();
  for (let i = 0; i < data.length; i++) {
    const value = stored.data[i];
    data[i] = value;
    if (data[i] !== value || value > highest) strange.set(value, (strange.get(value) ?? 0) + 1);
  }
  if (strange.size === 0) return { ...stored, data };
  const list = [...strange]
    .sort((a, b) => b[1] - a[1])
    .slice(0, 5)
    .map(([value, n]) => `${value} (${n} voxels)`);
  const declared = dataset.labels.map((label) => `${label.value} ${label.name}`).join(", ");
  throw new DatasetError(
    stored.name,
    `it holds ${list.join(", ")}, which dataset.json does not declare (${declared})`,
    "Add the label to dataset.json or correct the file",
  );
}
