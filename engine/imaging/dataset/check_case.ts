/** Finds all problems of one case of a dataset, each with its file and its fix. */
import { listed } from "../../core/errors.ts";
import { axisCodes, cornerDistance } from "../volume/affine.ts";
import { determinant } from "../volume/rotation.ts";
import type { Note } from "./finding.ts";
import type { Dataset, DatasetCase } from "./types.ts";
import { baseName } from "./files.ts";
import { unreadable } from "./plain.ts";
import { brokenLabels, countValues, mappingFix, roundLabels, valuesText } from "./label_values.ts";
import { brokenVoxels } from "./load_case.ts";
import { readVolume } from "../formats/read_volume.ts";
import { turnedOnto } from "../volume/reorient.ts";
import { isSpacing, oddSpacings, spacingProblem } from "./spacing.ts";
import type { Volume } from "../volume/volume.ts";

/** What is kept of a volume after its voxels are released. */
type Grid = Pick<Volume, "shape" | "affine" | "spacing" | "name" | "units">;

export class CaseChecker {
  readonly #dataset: Dataset;
  readonly #tolerance: number;
  readonly #note: Note;
  readonly #used = new Set<number>();
  readonly #spacings: { file: string; sorted: number[] }[] = [];
  #labeled = 0;

  constructor(dataset: Dataset, tolerance: number, note: Note) {
    this.#dataset = dataset;
    this.#tolerance = tolerance;
    this.#note = note;
  }

  async check(item: DatasetCase): Promise<{ images: Volume[]; label?: Volume }> {
    const images: Volume[] = [];
    let grid: Grid | undefined;
    let channels = 0;
    let complete = true;
    for (const path of item.images) {
      const volume = await this.#read(path);
      if (!volume) {
        complete = false;
        continue;
      }
      images.push(volume);
      channels += volume.channels;
      if (item.images.length > 1 && volume.channels !== 1) {
        this.#note("error", path, `it holds ${volume.channels} channels`, "Store one channel per _0000 file");
      }
      if (grid) {
        this.#checkValues(volume);
        this.#checkGrid(grid, volume);
      } else this.checkImage(volume);
      grid ??= { shape: volume.shape, affine: volume.affine, spacing: volume.spacing, name: path, units: volume.units };
    }
    const { channels: names, description } = this.#dataset;
    if (complete && channels !== names.length) {
      const problem = `case ${item.id} has ${channels} channel(s), the dataset ${names.length}: ${listed(names)}`;
      const fix = description
        ? `Correct channel_names (or modality) in ${baseName(description)}, or the file`
        : "Give every case the same channels";
      this.#note("error", item.images[0], problem, fix);
    }
    if (item.label === undefined) return { images };
    const label = await this.#read(item.label);
    if (!label) return { images };
    if (grid) this.#checkGrid(grid, label);
    this.#checkLabels(label, item);
    return { images, label };
  }

  /** Notes what is odd in an image by itself. */
  checkImage(volume: Volume): void {
    this.#checkValues(volume);
    this.#checkHeader(volume);
    const identifying = volume.dicom?.identifying ?? [];
    if (identifying.length === 0) return;
    const fix = "Remove them before you share it; voxgrad writes none of them into logs, reports and NIfTI files";
    this.#note("warning", volume.name, `its DICOM files hold ${listed(identifying, 50)}`, fix);
  }

  async #read(path: string): Promise<Volume | undefined> {
    try {
      return await readVolume(path);
    } catch (fault) {
      const { problem, fix } = unreadable(path, fault);
      this.#note("error", path, problem, fix);
      return undefined;
    }
  }

  #checkHeader({ affine, spacing, name, units }: Grid): void {
    if (!isSpacing(spacing)) {
      const problem = `its voxel spacing is ${spacing.join(" x ")} mm`;
      this.#note("error", name, problem, "Correct pixdim and the sform or qform");
      return;
    }
    this.#spacings.push({ file: name, sorted: [...spacing].sort((a, b) => a - b) });
    const odd = spacingProblem({ spacing, units });
    if (odd) this.#note("warning", name, ...odd);
    if (determinant(affine) < 0) {
      const problem = `its affine is left-handed (axes ${axisCodes(affine)})`;
      this.#note(
        "warning",
        name,
        problem,
        "This is right for many scanners' files; check that left is left in a viewer",
      );
    }
  }

  #checkGrid(first: Grid, other: Volume): void {
    const turned = turnedOnto(other, first, this.#tolerance);
    if (turned === other) return;
    if (turned) {
      const [own, wanted] = [axisCodes(other.affine), axisCodes(first.affine)];
      const problem = `its direction is ${own} and not the ${wanted} of ${first.name}, in the same place`;
      const fix =
        `Turn it to ${wanted}, voxels and header together; with the header alone it would be mirrored or turned`;
      this.#note("error", other.name, problem, fix);
      return;
    }
    const sized = first.shape.every((n, axis) => n === other.shape[axis]);
    const fix = `Resample it onto the grid of ${first.name}${
      sized ? "; if only the header is wrong, copy that of the image" : ""
    }`;
    for (const problem of gridDifferences(first, other, this.#tolerance)) {
      this.#note("error", other.name, `${problem} of ${first.name}`, fix);
    }
  }

  #checkValues(volume: Volume): void {
    const { data, channels, name } = volume;
    const size = data.length / channels;
    for (let channel = 0; channel < channels; channel++) {
      const first = data[channel * size];
      let at = channel * size;
      while (at < (channel + 1) * size && data[at] === first) at++;
      if (at < (channel + 1) * size || !Number.isFinite(first)) continue;
      const where = channels > 1 ? `channel ${channel} is ${first} everywhere` : `it is ${first} everywhere`;
      this.#note("warning", name, where, "Look for a failed export; a network learns nothing from it");
    }
    for (const [problem, fix] of brokenVoxels(volume)) this.#note("error", name, problem, fix);
  }

  #checkLabels(stored: Volume, item: DatasetCase): void {
    const { labels, ignoreLabel, description } = this.#dataset;
    const { name, channels } = stored;
    if (channels !== 1) {
      const fix = "Store labels as one 3-D volume of integers";
      this.#note("error", name, `it has ${channels} channels`, fix);
      return;
    }
    const { volume, rounded, broken } = roundLabels(stored);
    if (rounded > 0) {
      const problem =
        `${rounded} voxels are integers but for less than 1e-4 (scl_slope ${stored.source?.slope}); they are rounded`;
      this.#note(
        "warning",
        name,
        problem,
        "Nothing needs to be done; stored as integers without a scale they would be exact",
      );
    }
    const present = countValues(volume);
    if (broken.length > 0) this.#note("error", name, ...brokenLabels(stored, broken));
    const known = (value: number) => value === ignoreLabel || labels.some((each) => each.value === value);
    const unknown = present.filter(([value]) => Number.isInteger(value) && !known(value));
    // Without a description the labels are those in the files, and their problems are already reported.
    if (unknown.length > 0 && description !== undefined) {
      const declared = listed(labels.map((each) => `${each.value} ${each.name}`));
      const fix = mappingFix(unknown, labels) ?? `Add the label to ${baseName(description)} or correct the file`;
      this.#note(
        "error",
        name,
        `it holds ${valuesText(unknown)}, which ${baseName(description)} does not declare (${declared})`,
        fix,
      );
    }
    const { labelsPresent } = item;
    const foreground = present.filter(([value]) => value !== 0 && value !== ignoreLabel && known(value));
    const undeclared = labelsPresent ? foreground.filter(([value]) => !labelsPresent.includes(value)) : [];
    if (undeclared.length > 0) {
      const problem = `it holds ${valuesText(undeclared)}, which labels_present of ${item.id} leaves out`;
      this.#note("error", name, problem, "Add the label to labels_present, or erase it from the file");
    }
    if (foreground.length === 0 && broken.length === 0 && unknown.length === 0) {
      const fix = "Leave the case out unless there is truly nothing to find in it";
      this.#note("warning", name, "it holds no label but the background", fix);
    }
    for (const [value] of foreground) this.#used.add(value);
    this.#labeled++;
  }

  /** Problems that only show over all cases: declared labels that never occur, outlying spacings. */
  finish(): void {
    for (const [file, problem, fix] of oddSpacings(this.#spacings)) this.#note("warning", file, problem, fix);
    const { labels, description, folder } = this.#dataset;
    if (this.#labeled === 0 || description === undefined) return;
    for (const { value, name } of labels) {
      if (value === 0 || this.#used.has(value)) continue;
      const problem = `no case holds label ${value} ${name}`;
      this.#note("warning", description ?? folder, problem, "Drop the label, or look for lost annotations");
    }
  }
}

/** Differences between two grids, one string each: shape, spacing, origin, direction. */
function gridDifferences(first: Grid, other: Grid, tolerance: number): string[] {
  const sizes = (values: readonly number[]) => values.map((value) => +value.toFixed(4)).join(" x ");
  if (first.shape.some((n, axis) => n !== other.shape[axis])) {
    return [`its shape is ${sizes(other.shape)} and not the ${sizes(first.shape)}`];
  }
  const most = tolerance * Math.min(...first.spacing);
  const apart = cornerDistance(first.affine, other.affine, first.shape);
  if (apart <= most) return [];
  const found: string[] = [];
  // How far each difference by itself moves a corner.
  const steps = first.spacing.map((step, axis) => Math.abs(other.spacing[axis] - step) * (first.shape[axis] - 1));
  if (Math.max(...steps) > most) {
    found.push(`its spacing is ${sizes(other.spacing)} mm and not the ${sizes(first.spacing)}`);
  }
  const turned = [0, 1, 2].map((axis) => {
    const column = (grid: Grid) => [0, 4, 8].map((row) => grid.affine[row + axis] / grid.spacing[axis]);
    const [a, b] = [column(first), column(other)];
    return Math.hypot(...a.map((v, row) => v - b[row])) * first.spacing[axis] * Math.max(1, first.shape[axis] - 1);
  });
  if (Math.max(...turned) > most) {
    const directions = (grid: Grid) =>
      [0, 1, 2].map((axis) =>
        [0, 4, 8].map((row) => +(grid.affine[row + axis] / grid.spacing[axis]).toFixed(3)).join(" ")
      );
    const text = (grid: Grid) => `${axisCodes(grid.affine)} (${directions(grid).join(", ")})`;
    found.push(`its direction is ${text(other)} and not the ${text(first)}`);
  }
  const origin = (grid: Grid) => [3, 7, 11].map((at) => grid.affine[at]);
  const shifted = Math.hypot(...origin(first).map((v, axis) => v - origin(other)[axis]));
  const place = (grid: Grid) =>
    origin(grid)
      .map((v) => +v.toFixed(3))
      .join(", ");
  if (shifted > most) found.push(`its origin is ${place(other)} mm and not the ${place(first)}`);
  return found.length > 0 ? found : [`it lies up to ${apart.toPrecision(3)} mm away from the place`];
}
