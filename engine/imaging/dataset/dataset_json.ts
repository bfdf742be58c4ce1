/** Reads dataset.json of MSD or nnU-Net: labels, regions, channels, which labels a case has. */
import { trimSlashes } from "../../core/paths.ts";
import { platform } from "#platform";
import { listed, show } from "../../core/errors.ts";
import { DatasetError } from "./finding.ts";
import { JsonError, parseJson, showJson } from "../../core/json.ts";

export interface DatasetLabel {
  readonly value: number;
  readonly name: string;
}

/** Labels that are learned together and may overlap: the whole tumor, the tumor core, the enhancing tumor. */
export interface DatasetRegion {
  readonly name: string;
  /** The label values that make up the region. */
  readonly values: readonly number[];
  /** What a voxel of the region becomes in a predicted label map, unless a later region claims it. */
  readonly value: number;
}

export interface LabelNames {
  /** By value, 0 (background) first, without gaps; `labels.length` is the number of classes. */
  readonly labels: readonly DatasetLabel[];
  /** Where labels are lists of values: one output of the network each, in the order of regions_class_order. */
  readonly regions?: readonly DatasetRegion[];
  /** Value of voxels excluded from loss and metrics (nnU-Net's "ignore"), if any. */
  readonly ignoreLabel?: number;
}

export type Json = Record<string, unknown>;
export const isObject = (value: unknown): value is Json =>
  typeof value === "object" && value !== null && !Array.isArray(value);

/** The object in a JSON file. */
export async function readJson(file: string, hint: string): Promise<Json> {
  if (!(await platform.exists(file))) throw new DatasetError(file, "there is no such file", hint);
  let json: unknown;
  try {
    json = parseJson(await platform.readFile(file), file);
  } catch (cause) {
    if (!(cause instanceof JsonError)) throw cause;
    throw new DatasetError(file, cause.problem, cause.fix, cause);
  }
  if (!isObject(json)) {
    throw new DatasetError(file, "it holds no object", 'Start it with {"labels": {"background": 0, ...}, ...}');
  }
  return json;
}

const isValue = (value: unknown): value is number => Number.isInteger(value) && (value as number) >= 0;
const EXAMPLE = 'Write them as {"background": 0, "liver": 1} or {"0": "background", "1": "liver"}';

/** `labels` and `regions_class_order`. Labels may also be a list of names, as in a dataset group. */
export function readLabels(json: Json, file: string): LabelNames {
  if (Array.isArray(json.labels)) return listedLabels(json.labels, file);
  if (!isObject(json.labels)) throw new DatasetError(file, "it has no labels", EXAMPLE);
  // MSD uses values as keys, nnU-Net names. {"1": 1} could be either: if the value is a number, it is read as
  // nnU-Net's.
  const entries = Object.entries(json.labels).map(([key, value]): { name: string; values: number[] } => {
    const byValue = typeof value === "string" && value !== "" && /^\d+$/.test(key) && !/^\d+$/.test(value);
    const number = (each: unknown): number =>
      typeof each === "number" ? each : typeof each === "string" && /^\d+$/.test(each) ? Number(each) : NaN;
    const values = byValue ? [Number(key)] : Array.isArray(value) ? value.map(number) : [number(value)];
    if (values.length === 0 || !values.every(isValue)) {
      throw new DatasetError(
        file,
        `label ${showJson(key)}: ${showJson(value)} has no whole value`,
        EXAMPLE,
      );
    }
    if (!byValue && key === "") throw new DatasetError(file, `the label of ${showJson(value)} has no name`, EXAMPLE);
    return { name: byValue ? value : key, values };
  });
  const twice = entries.find(({ name }, k) => entries.findIndex((other) => other.name === name) !== k);
  if (twice) {
    throw new DatasetError(file, `two labels are called ${show(twice.name)}`, "Give each label a name of its own");
  }
  const ignore = entries.find((entry) => entry.name === "ignore");
  const used = entries.filter((entry) => entry !== ignore);
  const names = new Map<number, string>();
  for (const { name, values } of used) {
    if (values.length === 1 && names.has(values[0])) {
      const both = `"${names.get(values[0])}" and "${name}"`;
      throw new DatasetError(file, `${both} both have the value ${values[0]}`, "Give each label a value of its own");
    }
    if (values.length === 1) names.set(values[0], name);
  }
  const all = [...new Set(used.flatMap((entry) => entry.values))].sort((a, b) => a - b);
  if (!all.every((value, index) => value === index)) {
    const fix = "Number the labels 0 (background), 1, 2, ... without gaps, here and in the label files";
    throw new DatasetError(file, `its label values are ${listed(all.map(String), 30)}`, fix);
  }
  if (all.length < 2) throw new DatasetError(file, "it names no label beside the background", EXAMPLE);
  if (all.length > 255) throw new DatasetError(file, `it names ${all.length} labels, at most 255 fit`, "Merge some");
  if (ignore && (ignore.values.length > 1 || ignore.values[0] !== all.length)) {
    throw new DatasetError(file, `"ignore" is ${ignore.values.join(", ")}`, `Give it the highest value, ${all.length}`);
  }
  const labels = all.map((value) => ({
    value,
    name: names.get(value) ?? (value === 0 ? "background" : `label ${value}`),
  }));
  const overlapping = used.some((entry) => entry.values.length > 1);
  return {
    labels,
    ...(overlapping ? { regions: readRegions(json, used, file) } : {}),
    ...(ignore ? { ignoreLabel: ignore.values[0] } : {}),
  };
}

/** Labels as a list of names: the index is the value. */
function listedLabels(list: readonly unknown[], file: string): LabelNames {
  const fix =
    'Write them as ["background", "liver", ...]: names that differ, the background first, "ignore" last if at all';
  const labels = list.map((name, value): DatasetLabel => {
    if (typeof name === "string" && name !== "") return { value, name };
    throw new DatasetError(file, `entry ${value} of its labels is ${showJson(name)}`, fix);
  });
  const names = labels.map((each) => each.name);
  const twice = names.find((name, k) => names.indexOf(name) !== k);
  if (twice !== undefined) throw new DatasetError(file, `its labels name ${showJson(twice)} twice`, fix);
  if (names[0] !== "background") throw new DatasetError(file, `its labels begin with ${showJson(names[0])}`, fix);
  const ignore = names.indexOf("ignore");
  if (ignore >= 0 && ignore !== names.length - 1) throw new DatasetError(file, '"ignore" is not the last label', fix);
  const used = ignore < 0 ? labels : labels.slice(0, -1);
  if (used.length < 2) throw new DatasetError(file, "it names no label beside the background", fix);
  if (labels.length > 255) {
    throw new DatasetError(file, `it names ${labels.length} labels, at most 255 fit`, "Merge some");
  }
  return { labels: used, ...(ignore < 0 ? {} : { ignoreLabel: ignore }) };
}

function readRegions(
  json: Json,
  entries: readonly { name: string; values: number[] }[],
  file: string,
): DatasetRegion[] {
  const regions = entries.filter((entry) => entry.values.some((value) => value !== 0));
  const order = json.regions_class_order;
  const fix =
    `Add "regions_class_order": one value for each of ${regions.map((r) => r.name).join(", ")}, in this order; ` +
    "a later region is painted over an earlier one";
  if (!Array.isArray(order)) {
    throw new DatasetError(file, "its labels are regions, and it has no regions_class_order", fix);
  }
  if (order.length !== regions.length || !order.every((value) => isValue(value) && value > 0)) {
    throw new DatasetError(file, `its regions_class_order is ${showJson(order)}`, fix);
  }
  return regions.map(({ name, values }, index) => {
    if (values.includes(order[index])) return { name, values, value: order[index] };
    const problem = `regions_class_order paints "${name}" with ${order[index]}, which is none of ${values.join(", ")}`;
    throw new DatasetError(file, problem, "Give each region one of its own values, the outermost first");
  });
}

/** `channel_names` or `modality`. */
export function readChannels(json: Json, file: string): string[] {
  const stored = json.channel_names ?? json.modality;
  if (typeof stored !== "object" || stored === null) {
    throw new DatasetError(file, "it has neither channel_names nor modality", 'Add "channel_names": {"0": "CT"}');
  }
  const entries = Object.entries(stored).map(([key, name]) => {
    if (typeof name === "string" && name !== "") return { index: /^\d+$/.test(key) ? Number(key) : NaN, name };
    throw new DatasetError(
      file,
      `channel ${show(key)} is called ${showJson(name)}`,
      'Write names: "channel_names": {"0": "CT"}',
    );
  });
  entries.sort((a, b) => a.index - b.index);
  if (entries.length === 0 || entries.some((entry, index) => entry.index !== index)) {
    throw new DatasetError(file, `its channels are ${listed(Object.keys(stored))}`, "Number them 0, 1, 2, ...");
  }
  return entries.map((entry) => entry.name);
}

/**
 * The foreground values of a list of names or values, lowest first; a region contributes all of its values.
 *
 * @param place where the list is, for the message
 */
export function readLabelsPresent(stored: unknown, names: LabelNames, place: string, file: string): number[] {
  const known = new Map<string, readonly number[]>();
  for (const { value, name } of names.labels) known.set(String(value), [value]).set(name, [value]);
  for (const { name, values } of names.regions ?? []) known.set(name, values);
  const list = Array.isArray(stored) ? stored : [undefined];
  const values = list.map((entry) => {
    const found = typeof entry === "string" || typeof entry === "number" ? known.get(String(entry)) : undefined;
    if (found) return found;
    const problem = entry === undefined
      ? `labels_present of ${place} is no list`
      : `labels_present of ${place} has ${showJson(entry)}, which is no label`;
    throw new DatasetError(file, problem, `Write names or values of labels: ${listed(known.keys(), 30)}`);
  });
  return [...new Set(values.flat())].filter((value) => value !== 0).sort((a, b) => a - b);
}

/**
 * The labels, regions and ignore label of a dataset.json or a dataset group.
 *
 * @param path the file, or the folder that dataset.json lies in
 * @throws DatasetError if the file is missing or has no labels
 * @example
 * ```ts
 * import { openLabelNames } from "voxgrad/imaging";
 *
 * const { labels, regions } = await openLabelNames("data/Task04_Hippocampus");
 * ```
 */
export async function openLabelNames(path: string): Promise<LabelNames> {
  const file = path.endsWith(".json") ? path : `${trimSlashes(path)}/dataset.json`;
  return readLabels(await readJson(file, "Name a dataset.json or its folder"), file);
}
