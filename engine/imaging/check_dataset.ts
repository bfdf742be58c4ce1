/** Every fault of a dataset folder, each with its file and its fix; a case at a time is in memory. */
import { platform } from "#platform";
import { axisCodes, cornerDistance, determinant } from "./affine.ts";
import { GroupChecker } from "./check_group.ts";
import { openDataset } from "./dataset.ts";
import type { Dataset, DatasetCase, OnFault, PlainFolders } from "./dataset.ts";
import { isGroupFile, openGroup } from "./dataset_group.ts";
import { DatasetError, readJson } from "./dataset_json.ts";
import { imageStem, readVolume } from "./read_volume.ts";
import type { Volume } from "./volume.ts";

/** Errors keep a training from starting or spoil it; warnings are worth a look. */
export interface Finding {
  readonly severity: "error" | "warning";
  readonly file: string;
  readonly problem: string;
  readonly fix: string;
}

export interface CheckOptions {
  /** How far apart, in voxels, image and label may place the same corner; 0.05 unless given, as loadCase has it. */
  readonly tolerance?: number;
}

export type Note = (severity: Finding["severity"], file: string, problem: string, fix: string) => void;

/** Is shown each case that was found without an error: its image files and its label as stored. */
type Visit = (item: DatasetCase, images: readonly Volume[], label: Volume) => void;

/** What is kept of a volume once its voxels are gone. */
type Grid = Pick<Volume, "shape" | "affine" | "spacing" | "name">;

/**
 * Looks at every file of a dataset and lists what is wrong: missing, extra, unreadable files, ids that are there twice,
 * grids that differ between the files of a case, wrong numbers of channels, NaN, constant images, labels that are no
 * whole numbers, not declared, not declared as present, empty, or used nowhere, left-handed affines.
 *
 * Of a dataset group every set is looked at, and beyond that: labels without a place in the group, channels that
 * differ, voxels of one image that two cases claim differently, paired organs whose sides had to be guessed.
 *
 * @param folder as openDataset takes it
 * @returns the findings in the order of the files; none of severity "error" means that every case loads
 * @throws PlatformError when the folder cannot be listed
 * @example const errors = (await checkDataset("data/mine")).filter((finding) => finding.severity === "error");
 */
export async function checkDataset(folder: string | PlainFolders, options: CheckOptions = {}): Promise<Finding[]> {
  const findings: Finding[] = [];
  const note: Note = (severity, file, problem, fix) => void findings.push({ severity, file, problem, fix });
  const onFault: OnFault = ({ file, problem, fix }) => note("error", file, problem, fix);
  const { tolerance = 0.05 } = options;
  try {
    if (isGroupFile(folder)) {
      // What is wrong within a folder is told when that is looked at.
      const group = await openGroup(folder, (each) => openDataset(each, () => undefined), onFault);
      const checker = new GroupChecker(group, tolerance, note);
      for (const each of new Set(group.sets!.map((set) => set.folder))) {
        const dataset = await openDataset(each, onFault);
        await checkFolder(dataset, tolerance, findings, note, (...found) => checker.add(...found));
        await checkFiles(dataset, findings, note);
      }
      await checker.compareTwins();
    } else {
      const dataset = await openDataset(folder, onFault);
      await checkFolder(dataset, tolerance, findings, note);
      if (typeof folder === "string") await checkFiles(dataset, findings, note);
    }
  } catch (fault) {
    if (!(fault instanceof DatasetError)) throw fault;
    onFault(fault);
  }
  return findings;
}

async function checkFolder(
  dataset: Dataset,
  tolerance: number,
  findings: readonly Finding[],
  note: Note,
  visit?: Visit,
): Promise<void> {
  const checker = new Checker(dataset, tolerance, note);
  const all = [...dataset.cases, ...dataset.testCases];
  const errors = () => findings.filter((finding) => finding.severity === "error").length;
  for (const [index, item] of all.entries()) {
    const before = errors();
    const { images, label } = await checker.check(item);
    if (label && errors() === before) visit?.(item, images, label);
    const [done, total] = [index + 1, all.length];
    platform.progress({ done, total, text: `case ${done}/${total}  ${item.id}  ${errors()} errors` });
  }
  checker.checkUnused();
}

class Checker {
  readonly #dataset: Dataset;
  readonly #tolerance: number;
  readonly #note: Note;
  readonly #used = new Set<number>();
  #labelled = 0;

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
      this.#checkValues(volume);
      if (grid) this.#checkGrid(grid, volume);
      else this.#checkHeader(volume);
      grid ??= { shape: volume.shape, affine: volume.affine, spacing: volume.spacing, name: path };
    }
    const names = this.#dataset.channels;
    if (complete && channels !== names.length) {
      const problem = `case ${item.id} has ${channels} channel(s), the dataset ${names.length}: ${names.join(", ")}`;
      this.#note("error", item.images[0], problem, "Correct channel_names (or modality) in dataset.json, or the file");
    }
    if (item.label === undefined) return { images };
    const label = await this.#read(item.label);
    if (!label) return { images };
    if (grid) this.#checkGrid(grid, label);
    this.#checkLabels(label, item);
    return { images, label };
  }

  async #read(path: string): Promise<Volume | undefined> {
    try {
      return await readVolume(path);
    } catch (fault) {
      const text = (fault as Error).message;
      const problem = text.startsWith(`${path}: `) ? text.slice(path.length + 2) : text;
      this.#note("error", path, `it cannot be read: ${problem}`, "Export it again, or leave the case out");
      return undefined;
    }
  }

  #checkHeader({ affine, spacing, name }: Grid): void {
    if (!(Math.min(...spacing) > 0)) {
      const problem = `its voxel spacing is ${spacing.join(" x ")} mm`;
      this.#note("error", name, problem, "Correct pixdim and the sform or qform");
    } else if (determinant(affine) < 0) {
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
    const sized = first.shape.every((n, axis) => n === other.shape[axis]);
    const fix = `Resample it onto the grid of ${first.name}${sized ? "; if only the header is wrong, copy that of the image" : ""}`;
    for (const problem of gridDifferences(first, other, this.#tolerance)) {
      this.#note("error", other.name, `${problem} of ${first.name}`, fix);
    }
  }

  #checkValues({ data, channels, name }: Volume): void {
    const size = data.length / channels;
    let bad = 0;
    for (let channel = 0; channel < channels; channel++) {
      const first = data[channel * size];
      let constant = true;
      for (let i = channel * size; i < (channel + 1) * size; i++) {
        const value = data[i];
        if (value - value !== 0) bad++;
        if (value !== first) constant = false;
      }
      if (!constant || !Number.isFinite(first)) continue;
      const where = channels > 1 ? `channel ${channel} is ${first} everywhere` : `it is ${first} everywhere`;
      this.#note("warning", name, where, "Look for a failed export; a network learns nothing from it");
    }
    if (bad === 0) return;
    const fix = "Replace them, for example by the background value";
    this.#note("error", name, `${bad} voxels are NaN or infinite`, fix);
  }

  #checkLabels(label: Volume, item: DatasetCase): void {
    const { labels, ignoreLabel } = this.#dataset;
    const { data, name, channels } = label;
    if (channels !== 1) {
      const fix = "Store labels as one 3-D volume of whole numbers";
      this.#note("error", name, `it has ${channels} channels`, fix);
      return;
    }
    const counts = new Map<number, number>();
    for (let i = 0; i < data.length;) {
      const [value, start] = [data[i], i];
      while (i < data.length && Object.is(data[i], value)) i++;
      // A file of noise has as many values as voxels; a few of them are enough to be told.
      if (counts.size < 1000 || counts.has(value)) counts.set(value, (counts.get(value) ?? 0) + i - start);
    }
    const present = [...counts].sort((a, b) => a[0] - b[0]);
    const text = (list: [number, number][]) =>
      list
        .slice(0, 5)
        .map(([value, n]) => `${value} (${n} voxels)`)
        .join(", ") + (list.length > 5 ? ", ..." : "");
    const broken = present.filter(([value]) => !Number.isInteger(value));
    if (broken.length > 0) {
      const fix = "Store labels as whole numbers; resample them by nearest neighbour";
      this.#note("error", name, `it holds ${text(broken)}, which are no whole numbers`, fix);
    }
    const known = (value: number) => value === ignoreLabel || labels.some((each) => each.value === value);
    const strange = present.filter(([value]) => Number.isInteger(value) && !known(value));
    if (strange.length > 0) {
      const declared = labels.map((each) => `${each.value} ${each.name}`).join(", ");
      const fix = "Add the label to dataset.json or correct the file";
      this.#note("error", name, `it holds ${text(strange)}, which dataset.json does not declare (${declared})`, fix);
    }
    const { labelsPresent } = item;
    const foreground = present.filter(([value]) => value !== 0 && value !== ignoreLabel && known(value));
    const undeclared = labelsPresent ? foreground.filter(([value]) => !labelsPresent.includes(value)) : [];
    if (undeclared.length > 0) {
      const problem = `it holds ${text(undeclared)}, which labels_present of ${item.id} leaves out`;
      this.#note("error", name, problem, "Add the label to labels_present, or erase it from the file");
    }
    if (foreground.length === 0 && broken.length === 0 && strange.length === 0) {
      const fix = "Leave the case out unless there is truly nothing to find in it";
      this.#note("warning", name, "it holds no label but the background", fix);
    }
    for (const [value] of foreground) this.#used.add(value);
    this.#labelled++;
  }

  /** Labels that dataset.json names and no case has. */
  checkUnused(): void {
    if (this.#labelled === 0) return;
    for (const { value, name } of this.#dataset.labels) {
      if (value === 0 || this.#used.has(value)) continue;
      const problem = `no case holds label ${value} ${name}`;
      this.#note(
        "warning",
        `${this.#dataset.folder}/dataset.json`,
        problem,
        "Drop the label, or look for lost annotations",
      );
    }
  }
}

/** In what the grid of a volume differs, one text each: shape, spacing, origin, direction. */
function gridDifferences(first: Grid, other: Grid, tolerance: number): string[] {
  const sizes = (values: readonly number[]) => values.map((value) => +value.toFixed(4)).join(" x ");
  if (first.shape.some((n, axis) => n !== other.shape[axis])) {
    return [`its shape is ${sizes(other.shape)} and not the ${sizes(first.shape)}`];
  }
  const most = tolerance * Math.min(...first.spacing);
  const apart = cornerDistance(first.affine, other.affine, first.shape);
  if (apart <= most) return [];
  const found: string[] = [];
  // How far each alone moves a corner.
  const steps = first.spacing.map((step, axis) => Math.abs(other.spacing[axis] - step) * (first.shape[axis] - 1));
  if (Math.max(...steps) > most)
    found.push(`its spacing is ${sizes(other.spacing)} mm and not the ${sizes(first.spacing)}`);
  const turned = [0, 1, 2].map((axis) => {
    const column = (grid: Grid) => [0, 4, 8].map((row) => grid.affine[row + axis] / grid.spacing[axis]);
    const [a, b] = [column(first), column(other)];
    return Math.hypot(...a.map((v, row) => v - b[row])) * first.spacing[axis] * Math.max(1, first.shape[axis] - 1);
  });
  if (Math.max(...turned) > most) {
    const directions = (grid: Grid) =>
      [0, 1, 2].map((axis) =>
        [0, 4, 8].map((row) => +(grid.affine[row + axis] / grid.spacing[axis]).toFixed(3)).join(" "),
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

/** Files that no case uses, and what dataset.json says about their number. */
async function checkFiles(dataset: Dataset, findings: readonly Finding[], note: Note): Promise<void> {
  const root = dataset.folder;
  const description = `${root}/dataset.json`;
  if (!(await platform.exists(description))) return;
  const all = [...dataset.cases, ...dataset.testCases];
  const used = new Set(all.flatMap((item) => [...item.images, ...(item.label ? [item.label] : [])]).map(withoutEnding));
  // What belongs to a case with a fault of its own has been told.
  const caseOf = (path: string) => withoutEnding(path.split("/").pop()!).replace(/_\d{4}$/, "");
  const told = new Set(findings.map(({ file }) => caseOf(file)));
  for (const name of ["imagesTr", "labelsTr", "imagesTs"]) {
    const folder = `${root}/${name}`;
    for (const file of (await platform.exists(folder)) ? await platform.listFiles(folder) : []) {
      const path = `${folder}/${file}`;
      if (file.startsWith(".") || used.has(withoutEnding(path)) || told.has(caseOf(path))) continue;
      const image = imageStem(file) !== undefined || /\.img(\.gz)?$/.test(file);
      if (!image) note("warning", path, "it is no NIfTI file and is not used", "Remove it");
      else note("error", path, "no case uses it", "Remove it, add what belongs to it, or list it in dataset.json");
    }
  }
  const { numTraining, training } = await readJson(description, "");
  const count = Array.isArray(training) && training.length > 0 ? training.length : dataset.cases.length;
  if (typeof numTraining !== "number" || numTraining === count) return;
  const problem = `its numTraining is ${numTraining}, and there are ${count} training cases`;
  note("warning", description, problem, `Write "numTraining": ${count}, or look for lost files`);
}

const withoutEnding = (path: string): string => path.replace(/\.(nii|hdr|img)(\.gz)?$/, "");
