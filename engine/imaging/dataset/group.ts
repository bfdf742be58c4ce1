/**
 * Dataset groups: several dataset folders, each with its own labels, combined into one dataset with one list of labels,
 * to train one network on sets that annotate different organs.
 *
 * A group is a JSON file:
 *
 *     {
 *       "format": "voxgrad group 1",
 *       "name": "Abdomen",
 *       "labels": ["background", "liver", "spleen", "left kidney", "right kidney"],
 *       "sets": [
 *         { "data": "BTCV" },
 *         { "data": "Task03_Liver", "labels": { "cancer": "liver" } },
 *         { "data": "KiTS", "labels": { "kidney": ["left kidney", "right kidney"], "cyst": null } },
 *         { "data": "BTCV", "name": "spleens", "cases": ["case_07", "case_08"], "present": ["spleen"] }
 *       ]
 *     }
 *
 * - `labels`: the background first; "ignore" may come last, for voxels excluded from loss and metrics.
 * - `channels`, optional: names of the channels, if the sets use different names for the same thing.
 * - `data` of a set: its folder, relative to the file. `name` defaults to that of the folder. `cases` selects cases;
 *   default all.
 * - `labels` of a set: maps its own labels to those of the group. A label of the same name in both needs no entry.
 *   Several may map to one. A pair is an organ that is split into the patient's left and right; see `splitSides`. {
 *   "any": [...] } is for a label that may be any of several, such as a kidney drawn with its tumor (`merged`). null
 *   drops a label: its voxels become 0.
 * - `present` of a set: labels of the group that count as annotated; default all that its labels map to. Others are 0
 *   in its cases, whatever the files contain. Listing a label that no label of the set maps to declares that it does
 *   not occur in the set.
 *
 * In a case's label, 0 means background or any label that is not annotated in it (`labelsPresent`). A label that
 * several labels of a set map to is annotated in a case only if all of them are; members of an "any" list are not
 * annotated.
 */
import { trimSlashes } from "../../core/paths.ts";
import { showJson } from "../../core/json.ts";
import type { Dataset, DatasetCase, DatasetSet, OnFault } from "./types.ts";
import { DatasetError } from "./finding.ts";
import { isObject, readJson, readLabels } from "./dataset_json.ts";
import type { DatasetLabel, Json, LabelNames } from "./dataset_json.ts";
import type { LabelMap } from "./label_map.ts";

/**
 * What a label of a set maps to in the group: a value, the values of its left and right half, or any of several, lowest
 * first.
 */
type Target = number | readonly [left: number, right: number] | { readonly any: readonly number[] };

const isAny = (to: Target): to is { readonly any: readonly number[] } => typeof to === "object" && "any" in to;

const FORMAT = "voxgrad group 1";
const KEYS = ["format", "name", "labels", "channels", "sets"];
const SET_KEYS = ["data", "name", "labels", "present", "cases"];

/** Whether a path names a dataset group: a JSON file, whereas datasets are folders. */
export const isGroupFile = (path: unknown): path is `${string}.json` =>
  typeof path === "string" && path.endsWith(".json");

interface SetEntry {
  readonly data: string;
  readonly name: string;
  /** Prefix of messages. */
  readonly place: string;
  readonly labels: Json;
  readonly present?: readonly string[];
  readonly cases?: readonly string[];
}

/**
 * Opens a dataset group as one dataset. Its cases are SET__CASE; each has the name of its `set`, its `labelMap`, which
 * loadCase applies, and the `labelsPresent` of the group's values where not all are annotated.
 *
 * @param open opens the folder of a set
 * @param onFault called with the error of a set, which is then skipped; default: throws
 * @throws DatasetError naming the file, the set and the fix
 */
export async function openGroup(
  file: string,
  open: (folder: string) => Promise<Dataset>,
  onFault: OnFault,
): Promise<Dataset> {
  const json = await readJson(file, "Name a dataset folder or the file of a dataset group");
  if (json.format !== FORMAT) {
    const problem = `it is no dataset group: its format is ${showJson(json.format)}`;
    throw new DatasetError(file, problem, `Write "format": "${FORMAT}", or name a dataset folder`);
  }
  checkKeys(json, KEYS, file, "it");
  const names = readLabels(json, file);
  const given = texts(json.channels, file, 'its "channels"');
  const entries = readSets(json.sets, file);
  const sets: (DatasetSet & { readonly dataset: Dataset; readonly cases: readonly DatasetCase[] })[] = [];
  for (const entry of entries) {
    try {
      const dataset = await open(entry.data);
      checkChannels(dataset, { entry, given, first: sets[0], file });
      sets.push({ dataset, ...mappedSet(dataset, entry, names, file) });
    } catch (fault) {
      if (!(fault instanceof DatasetError)) throw fault;
      onFault(fault);
    }
  }
  const [first] = sets;
  if (!first) throw new DatasetError(file, "none of its sets can be used", "Correct them, and check again");
  // If a set was skipped, do not also report the labels that only it annotates.
  if (sets.length === entries.length) checkAnnotated(sets, { names, file, onFault });
  const stem = file.split("/").pop()!.replace(/\.json$/, "");
  return {
    folder: file,
    name: typeof json.name === "string" && json.name !== "" ? json.name : stem,
    channels: given ?? first.dataset.channels,
    ...names,
    cases: sets.flatMap(({ cases }) => cases),
    testCases: sets.flatMap(({ name, dataset }) =>
      dataset.testCases.map((item) => ({ ...item, id: idIn(name, item.id), set: name }))
    ),
    sets: sets.map(({ dataset: _, cases: __, ...set }) => set),
  };
}

/** The id of a case in a group; also used as file name. */
const idIn = (set: string, id: string): string => `${set.replace(/[^\p{L}\p{N}._-]+/gu, "_")}__${id}`;

function checkKeys(json: Json, known: readonly string[], file: string, place: string): void {
  const unknown = Object.keys(json).find((key) => !known.includes(key));
  if (unknown === undefined) return;
  throw new DatasetError(file, `${place} has an entry "${unknown}"`, `Write one of ${known.join(", ")}, or drop it`);
}

/** A non-empty list of strings, or undefined. */
function texts(stored: unknown, file: string, place: string): string[] | undefined {
  if (stored === undefined) return undefined;
  if (Array.isArray(stored) && stored.length > 0 && stored.every((each) => typeof each === "string")) return stored;
  throw new DatasetError(file, `${place} is ${showJson(stored)}`, 'Write a list of names such as ["a", "b"]');
}

function readSets(stored: unknown, file: string): SetEntry[] {
  const example = 'Write "sets": [{ "data": "FOLDER", "labels": { "ITS LABEL": "LABEL OF THE GROUP" } }, ...]';
  if (!Array.isArray(stored) || stored.length === 0) throw new DatasetError(file, "it has no sets", example);
  const parent = file.includes("/") ? file.slice(0, file.lastIndexOf("/") + 1) : "";
  const seen = new Set<string>();
  return stored.map((entry: unknown, index): SetEntry => {
    if (!isObject(entry) || typeof entry.data !== "string" || entry.data === "" || isGroupFile(entry.data)) {
      throw new DatasetError(file, `sets[${index}] names no folder as "data"`, example);
    }
    const data = trimSlashes(entry.data).replace(/^(\.\/)+/, "");
    const absolute = data.startsWith("/") || /^[a-z][a-z0-9+.-]*:/i.test(data);
    const name = entry.name ?? data.split("/").pop()!;
    if (typeof name !== "string" || name === "") {
      throw new DatasetError(file, `the name of sets[${index}] is ${showJson(name)}`, "Write a text");
    }
    const place = `set "${name}"`;
    checkKeys(entry, SET_KEYS, file, place);
    if (seen.has(idIn(name, ""))) {
      throw new DatasetError(file, `two sets are called "${name}"`, 'Give each a "name" of its own');
    }
    seen.add(idIn(name, ""));
    const { labels = {} } = entry;
    if (!isObject(labels)) {
      throw new DatasetError(
        file,
        `the labels of ${place} are no object`,
        'Write { "ITS LABEL": "LABEL OF THE GROUP" }',
      );
    }
    const present = texts(entry.present, file, `"present" of ${place}`);
    const cases = texts(entry.cases, file, `"cases" of ${place}`);
    const path = absolute ? data : `${parent}${data}`;
    return { data: path, name, place, labels, ...(present && { present }), ...(cases && { cases }) };
  });
}

/** Checks that the sets have the same number of channels and, unless the group names them, the same names. */
function checkChannels(
  dataset: Dataset,
  context: { entry: SetEntry; given?: readonly string[]; first?: { name: string; dataset: Dataset }; file: string },
): void {
  const { entry, given, first, file } = context;
  const wanted = given ?? first?.dataset.channels;
  if (!wanted) return;
  const other = given ? 'its "channels" are' : `those of set "${first!.name}" are`;
  const text = (names: readonly string[]): string => `${names.length} (${names.join(", ")})`;
  const problem = `the channels of ${entry.place} are ${text(dataset.channels)}, ${other} ${text(wanted)}`;
  if (dataset.channels.length !== wanted.length) {
    throw new DatasetError(file, problem, "Leave the set out, or give all sets the same channels");
  }
  const same = wanted.every((name, k) => name.toLowerCase() === dataset.channels[k].toLowerCase());
  if (same || given) return;
  const fix = `If they mean the same, write "channels": ${
    JSON.stringify(wanted)
  } in the group file; else leave the set out`;
  throw new DatasetError(file, problem, fix);
}

/** The cases of a set, mapped to the labels of the group. */
function mappedSet(
  dataset: Dataset,
  entry: SetEntry,
  names: LabelNames,
  file: string,
): DatasetSet & { cases: DatasetCase[] } {
  const targets = targetsOf(dataset, entry, names, file);
  const { place, present, cases: listed } = entry;
  const byName = new Map(names.labels.map(({ name, value }) => [name, value]));
  const unknown = present?.find((name) => !byName.get(name));
  if (unknown !== undefined) {
    const known = names.labels.slice(1).map(({ name }) => name);
    throw new DatasetError(
      file,
      `"present" of ${place} has "${unknown}"`,
      `Write labels of the group: ${known.join(", ")}`,
    );
  }
  const missing = listed?.find((id) => !dataset.cases.some((item) => item.id === id));
  if (missing !== undefined) {
    const problem = `"cases" of ${place} has "${missing}", which is no case of ${dataset.folder}`;
    throw new DatasetError(
      file,
      problem,
      `Write cases such as ${dataset.cases.slice(0, 3).map(({ id }) => id).join(", ")}`,
    );
  }
  const wanted = present?.map((name) => byName.get(name)!);
  const all = names.labels.slice(1).map(({ value }) => value);
  const merges = mergesOf(targets, { place, file, names, ...(wanted && { wanted }) });
  const annotated = (item: DatasetCase | undefined, becomes: (to: Target) => boolean): boolean =>
    targets.every((to, own) => !becomes(to) || (item?.labelsPresent?.includes(own) ?? true));
  const presentIn = (item?: DatasetCase): number[] =>
    all.filter((value) => {
      const becomes = (to: Target): boolean => to === value || (Array.isArray(to) && to.includes(value));
      if (merges.some((list) => list.includes(value))) return false;
      return annotated(item, becomes) && (wanted ? wanted.includes(value) : targets.some(becomes));
    });
  const mergedIn = (item?: DatasetCase): (readonly number[])[] =>
    merges.filter((list) => annotated(item, (to) => isAny(to) && to.any[0] === list[0]));
  const partly = (values: readonly number[], merged: readonly (readonly number[])[]) => ({
    ...(values.length < all.length && { labelsPresent: values }),
    ...(merged.length > 0 && { merged }),
  });
  const cases = dataset.cases.filter(({ id }) => listed?.includes(id) ?? true).map((item): DatasetCase => {
    const known = presentIn(item);
    const merged = mergedIn(item);
    const kept = (value: number): number => (value === names.ignoreLabel || known.includes(value) ? value : 0);
    const valueOf = (to: Target): LabelMap["values"][number] => {
      if (typeof to === "number") return kept(to);
      if (isAny(to)) return merged.some((list) => list[0] === to.any[0]) ? to.any[0] : 0;
      return [kept(to[0]), kept(to[1])];
    };
    const labelMap: LabelMap = {
      labels: dataset.labels,
      ...(dataset.ignoreLabel !== undefined && { ignoreLabel: dataset.ignoreLabel }),
      ...(item.labelsPresent && { labelsPresent: item.labelsPresent }),
      values: targets.map(valueOf),
    };
    const { labelsPresent: _, ...rest } = item;
    return { ...rest, id: idIn(entry.name, item.id), set: entry.name, labelMap, ...partly(known, merged) };
  });
  return { name: entry.name, folder: dataset.folder, cases, ...partly(presentIn(), mergedIn()) };
}

/** The lists of values that a set does not distinguish. */
function mergesOf(
  targets: readonly Target[],
  set: { place: string; file: string; names: LabelNames; wanted?: readonly number[] },
): (readonly number[])[] {
  const { place, file, names, wanted } = set;
  const merges = new Map(targets.filter(isAny).map(({ any }) => [any.join(), any]));
  const alone = targets.flatMap((to) => (isAny(to) ? [] : [to].flat()));
  const textOf = (values: readonly number[]): string =>
    values.map((value) => `"${names.labels[value].name}"`).join(", ");
  const lists = [...merges.values()];
  for (const [k, list] of lists.entries()) {
    const others = lists.filter((_, other) => other !== k).flat();
    const twice = list.find((value) => alone.includes(value) || others.includes(value));
    if (twice !== undefined) {
      const problem = `${place} has a label that may be any of ${textOf(list)}, and another for ${textOf([twice])}`;
      throw new DatasetError(file, problem, "Let a label of the group be in one list, or become of labels by itself");
    }
    const some = wanted?.filter((value) => list.includes(value)) ?? [];
    if (some.length > 0 && some.length < list.length) {
      const problem = `"present" of ${place} has ${textOf(some)}, which it does not tell from the rest of ${
        textOf(list)
      }`;
      throw new DatasetError(file, problem, 'Write all of them into "present", or none');
    }
  }
  return lists.filter((list) => wanted?.includes(list[0]) ?? true);
}

/** What each value of a set's files maps to in the group. */
function targetsOf(dataset: Dataset, entry: SetEntry, names: LabelNames, file: string): Target[] {
  const { place } = entry;
  if (dataset.regions) {
    const fix = "Give its dataset.json a value for each label, without lists of values";
    throw new DatasetError(file, `the labels of ${place} are regions, which overlap`, fix);
  }
  const ignore = ({ ignoreLabel: value }: LabelNames): DatasetLabel[] =>
    value === undefined ? [] : [{ value, name: "ignore" }];
  const group = new Map([...names.labels, ...ignore(names)].map(({ name, value }) => [name, value]));
  const own = [...dataset.labels, ...ignore(dataset)];
  const list = (of: Iterable<string>): string => [...of].map((name) => `"${name}"`).join(", ");
  const unknown = Object.keys(entry.labels).filter((name) => !own.some((each) => each.name === name));
  if (unknown.length > 0) {
    const problem = `the labels of ${place} have ${list(unknown)}, which ${dataset.folder} does not`;
    throw new DatasetError(file, problem, `Write its labels: ${list(own.map(({ name }) => name))}`);
  }
  const valueOf = (name: unknown, label: string): number => {
    const found = typeof name === "string" ? group.get(name) : undefined;
    if (found !== undefined) return found;
    const problem = `${place} makes "${label}" ${showJson(name)}, which is no label of the group`;
    throw new DatasetError(
      file,
      problem,
      `Write one of ${list(group.keys())}, a pair of them, { "any": [...] }, or null, or add it to "labels"`,
    );
  };
  const unmapped: string[] = [];
  const foreground = (each?: number): boolean => each !== undefined && each > 0 && each !== names.ignoreLabel;
  const targets = own.map(({ value, name }): Target => {
    if (value === 0) {
      if (entry.labels[name] === undefined || valueOf(entry.labels[name], name) === 0) return 0;
      throw new DatasetError(
        file,
        `${place} makes "${name}" a label`,
        "Its background is that of the group; drop the entry",
      );
    }
    const to = Object.hasOwn(entry.labels, name) ? entry.labels[name] : group.has(name) ? name : undefined;
    if (to === null) return 0;
    if (to === undefined) return unmapped.push(name), 0;
    if (isObject(to)) {
      const values = Array.isArray(to.any)
        ? [...new Set(to.any.map((each) => valueOf(each, name)))].sort((a, b) => a - b)
        : [];
      if (Object.keys(to).length === 1 && values.length >= 2 && values.every(foreground)) return { any: values };
      const problem = `${place} makes "${name}" ${showJson(to)}`;
      throw new DatasetError(file, problem, 'Write two or more labels of the group: { "any": ["X", "tumor of X"] }');
    }
    if (!Array.isArray(to)) return valueOf(to, name);
    const [left, right] = to.map((each) => valueOf(each, name));
    if (to.length === 2 && foreground(left) && foreground(right) && left !== right) return [left, right];
    const problem = `${place} makes "${name}" ${showJson(to)}`;
    throw new DatasetError(file, problem, 'Write one label of the group, or two that differ: ["left X", "right X"]');
  });
  if (unmapped.length === 0) return targets;
  const problem = `${place} has ${list(unmapped)}, and the group does not say what becomes of ${
    unmapped.length > 1 ? "them" : "it"
  }`;
  const fix = `Write ${list(unmapped)} into "labels" of the set, with a label of the group (${
    list(group.keys())
  }), a pair, { "any": [...] }, or null`;
  throw new DatasetError(file, problem, fix);
}

function checkAnnotated(
  sets: readonly { cases: readonly DatasetCase[] }[],
  context: { names: LabelNames; file: string; onFault: OnFault },
): void {
  const { names, file, onFault } = context;
  const cases = sets.flatMap((set) => set.cases).filter((item) => item.label !== undefined);
  const absent = names.labels.filter(({ value }) =>
    value > 0 &&
    !cases.some(({ labelsPresent, labelMap }) =>
      (labelsPresent?.includes(value) ?? true) && labelMap!.values.some((to) => [to].flat().includes(value))
    )
  );
  if (absent.length === 0) return;
  const problem = `no set annotates ${absent.map(({ name }) => `"${name}"`).join(", ")}`;
  onFault(new DatasetError(file, problem, 'Drop the label, or say in "labels" of a set what becomes it'));
}
