/** Reads the files of a run for a report; the folder is not trusted, so each file is validated. */
import { isPlain, VoxgradError } from "../../core/errors.ts";
import { showJson } from "../../core/json.ts";
import { type EpochRecord, isEpoch, isStep, readJsonLines, type StepRecord } from "../run/logging.ts";
import { readJson, type RunFolder } from "../run/run_folder.ts";

/** summary.json, as written by Comparison. */
export interface Summary {
  readonly metric_per_case: readonly { readonly metrics: ByClass; readonly prediction_file: string }[];
  readonly mean: ByClass;
  readonly foreground_mean: ByClass[string];
  readonly undefined: ByClass;
  readonly class_names: Readonly<Record<string, string>>;
}
/** config.json of trainings and experiments: the parts shown in a report, all optional. */
export interface RunConfig {
  readonly options?: Readonly<Record<string, unknown>>;
  readonly classes?: readonly string[];
  readonly curves?: readonly string[];
  readonly dataset?: { readonly name?: string };
  readonly device?: { readonly name: string; readonly kind: string };
  readonly architecture?: { readonly features?: Cells | string | number };
  readonly network?: unknown;
  readonly parameters?: unknown;
  readonly voxgrad?: unknown;
  readonly identity?: Readonly<Record<string, unknown>>;
  readonly supports?: Readonly<Record<string, string>>;
  readonly splits?: readonly { readonly train: readonly unknown[]; readonly val: readonly unknown[] }[];
  readonly plan?: {
    readonly network: { readonly name?: string; readonly features?: Cells };
    readonly patch: readonly number[];
    readonly spacing: readonly number[];
    readonly channels: readonly Readonly<Record<string, unknown>>[];
    readonly labels: readonly string[];
    readonly dataset?: unknown;
    readonly batch?: unknown;
  };
}
type Cells = readonly (string | number)[];
/** Measures by class and name; null if undefined. */
type ByClass = Readonly<Record<string, Readonly<Record<string, number | null>>>>;

type Form = (value: unknown) => boolean;

const isText: Form = (value) => typeof value === "string";
const isNumber: Form = (value) => typeof value === "number";
/** A table cell; strings are escaped later. */
const isCell: Form = (value) => isNumber(value) || isText(value);
const listOf = (of: Form): Form => (value) => Array.isArray(value) && value.every(of);
const mapOf = (of: Form): Form => (value) => isPlain(value) && Object.values(value).every(of);
/** An object with these optional entries; others are not checked. */
const having = (entries: Readonly<Record<string, Form>>): Form => (value) =>
  isPlain(value) && Object.entries(entries).every(([key, of]) => value[key] === undefined || of(value[key]));
/** The same, with all entries required. */
const whole = (entries: Readonly<Record<string, Form>>): Form => (value) =>
  having(entries)(value) && Object.keys(entries).every((key) => (value as object)[key as keyof object] !== undefined);

const CONFIG: Readonly<Record<string, Form>> = {
  options: isPlain,
  classes: listOf(isText),
  curves: listOf(isText),
  dataset: having({ name: isText }),
  device: whole({ name: isText, kind: isText }),
  architecture: having({ features: (value) => isCell(value) || listOf(isCell)(value) }),
  identity: isPlain,
  supports: mapOf(isText),
  splits: listOf(whole({ train: Array.isArray, val: Array.isArray })),
  plan: whole({
    network: having({ name: isText, features: listOf(isCell) }),
    patch: listOf(isNumber),
    spacing: listOf(isNumber),
    channels: listOf(isPlain),
    labels: listOf(isText),
  }),
};

const measures = mapOf((value) => value === null || isNumber(value));
const SUMMARY: Readonly<Record<string, Form>> = {
  metric_per_case: listOf(whole({ metrics: mapOf(measures), prediction_file: isText })),
  mean: mapOf(measures),
  foreground_mean: measures,
  undefined: mapOf(measures),
  class_names: mapOf(isText),
};

function check(json: unknown, file: string, form: Readonly<Record<string, Form>>, isWhole: boolean): void {
  const fix = "put back what the training wrote";
  if (!isPlain(json)) throw new VoxgradError(`${file}: it is ${showJson(json)}, wanted an object; ${fix}`);
  for (const [key, of] of Object.entries(form)) {
    if (json[key] === undefined ? !isWhole : of(json[key])) continue;
    throw new VoxgradError(`${file}: its ${key} is ${showJson(json[key])}, which no training writes; ${fix}`);
  }
}

/** config.json of a run. */
export async function readConfig(run: RunFolder): Promise<RunConfig> {
  if (!(await run.has("config.json"))) throw new VoxgradError(`${run.path}: it holds no run (there is no config.json)`);
  const file = `${run.path}/config.json`;
  const json = await readJson(file);
  check(json, file, CONFIG, false);
  return json as RunConfig;
}

/** summary.json of a run, if it has one. */
export async function readSummary(run: RunFolder): Promise<Summary | undefined> {
  if (!(await run.has("summary.json"))) return undefined;
  const file = `${run.path}/summary.json`;
  const json = (await readJson(file)) as Summary;
  check(json, file, SUMMARY, true);
  const named = Object.keys(json.class_names);
  for (const part of [json.mean, json.undefined, ...json.metric_per_case.map(({ metrics }) => metrics)]) {
    const unknown = Object.keys(part).find((key) => !named.includes(key));
    if (unknown !== undefined) {
      throw new VoxgradError(`${file}: its class_names lack ${showJson(unknown)}; put back what was written`);
    }
  }
  const lacking = Object.keys(json.mean).find((key) => !Object.hasOwn(json.undefined, key));
  if (lacking !== undefined) {
    throw new VoxgradError(`${file}: its undefined lacks ${showJson(lacking)}; put back what was written`);
  }
  return json;
}

/** The logs of a training. */
export async function readLogs(folder: string): Promise<{ records: StepRecord[]; epochs: EpochRecord[] }> {
  const lines = async <R>(name: string, is: Form): Promise<R[]> => {
    const file = `${folder}/${name}`;
    const records = await readJsonLines<R>(file);
    const odd = records.findIndex((record) => !is(record));
    if (odd >= 0) {
      throw new VoxgradError(
        `${file}: line ${odd + 1} is no record of this log; correct it, or remove it: what it recorded is lost then`,
      );
    }
    return records;
  };
  return {
    records: await lines<StepRecord>("log.jsonl", isStep),
    epochs: await lines<EpochRecord>("epochs.jsonl", isEpoch),
  };
}
