/** Stores results of one-shot segmentation as they arrive, so that a stopped evaluation can resume. */
import { deviceInfo, isPlain, listed as namesOf, VERSION } from "../../../engine/mod.ts";
import type { ClassComparison, ComparedClass, Dataset, Plan } from "../../../engine/imaging/mod.ts";
import { ConfigError, fileDigests, JsonLines, type RunFolder } from "../../../engine/train/mod.ts";
import type { OneShotEvaluationOptions } from "./options.ts";
import type { OneShotModel, OneShotOptions } from "../scans.ts";

/** A trained encoder, and the settings of its run. */
export interface Encoder {
  readonly model: OneShotModel;
  readonly params: object;
  readonly plan: Plan;
  /** Settings of the run, unless overridden on the command line. */
  readonly fewShot: OneShotOptions;
  readonly folder: string;
  /** Folder of the run's dataset; "" if only the model file exists. */
  readonly data: string;
  readonly trained: readonly string[];
  readonly heldOut: readonly string[];
  /** SHA-256 of its model file. */
  readonly digest: string;
  readonly description: { readonly network: string; readonly architecture: object };
}

/** The inputs of both modes. */
export interface Evaluation {
  readonly options: OneShotEvaluationOptions;
  readonly encoder: Encoder;
  readonly dataset: Dataset;
  /** Cases to evaluate. */
  readonly ids: readonly string[];
  /** One value each. */
  readonly classes: readonly ComparedClass[];
  readonly output: RunFolder;
}

/** Settings that all results must share. */
const settingsOf = ({ options, encoder, dataset, classes }: Evaluation): Record<string, unknown> => ({
  mode: options.within ? "within" : "over supports",
  data: dataset.folder,
  labels: options.labels,
  encoder: encoder.digest,
  voxgrad: VERSION,
  classes,
  ranges: options.ranges,
  ...encoder.fewShot,
  ...(options.within
    ? { slice: options.slice, preparation: options.preparation, side: options.side, clip: options.clip }
    : {}),
});

/**
 * The results in the output folder, and a writer for new ones, one line each.
 *
 * @throws ConfigError if they were computed with other settings
 */
export async function openResults<R extends { readonly classes: readonly ClassComparison[] }>(
  evaluation: Evaluation,
): Promise<{ lines: JsonLines<R>; results: R[] }> {
  const { options, output, dataset, encoder } = evaluation;
  const settings = settingsOf(evaluation);
  type Results = { readonly settings: Record<string, unknown>; readonly sources?: Record<string, string> };
  const before = options.overwrite ? undefined : await output.readJson("config.json") as Results | undefined;
  if (before !== undefined && !(isPlain(before) && isPlain(before.settings))) {
    throw new ConfigError(`${output.path}: it holds another run; name another --output`);
  }
  for (const [key, value] of Object.entries(settings)) {
    const [was, is] = [before?.settings[key], value].map((each) => JSON.stringify(each));
    if (!before || was === is) continue;
    throw new ConfigError(
      `${output.path}: its results were measured with other settings (${key} ${was}, now ${is}); set it as it ` +
        "was, name another --output, or --overwrite them",
    );
  }
  const sources = await sourcesOf(evaluation);
  const known: Record<string, string> = before?.sources ?? {};
  const changed = Object.keys(sources).filter((id) => known[id] !== undefined && known[id] !== sources[id]);
  if (changed.length > 0) {
    throw new ConfigError(
      `${output.path}: its results were measured on another scan or label of ${
        namesOf(changed)
      }; name another --output, or --overwrite them`,
    );
  }
  await output.writeJson("config.json", {
    options,
    settings,
    sources: { ...known, ...sources },
    dataset: { name: dataset.name, folder: dataset.folder },
    ...encoder.description,
    device: await deviceInfo(),
  });
  const lines = new JsonLines<R>(output, "results.jsonl");
  const kept = await lines.resume(() => !options.overwrite);
  // Undefined values were written as null.
  const results = kept.map((each) => ({ ...each, classes: each.classes.map(defined) }));
  return { lines, results };
}

/** Digests of image and label of each case. */
async function sourcesOf({ dataset, ids }: Evaluation): Promise<Record<string, string>> {
  const found: Record<string, string> = {};
  for (const { id, images, label } of dataset.cases) {
    if (!ids.includes(id)) continue;
    found[id] = Object.values(await fileDigests([...images, ...(label === undefined ? [] : [label])])).join(" ");
  }
  return found;
}

const defined = (compared: ClassComparison): ClassComparison =>
  Object.fromEntries(Object.entries(compared).map(([key, value]) => [key, value ?? NaN])) as unknown as ClassComparison;
