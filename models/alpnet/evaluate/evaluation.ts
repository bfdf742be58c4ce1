/**
 * Evaluation of one-shot segmentation on labeled scans: over choices of the support, or within each scan from one of
 * its slices. Used by scripts/evaluate_one_shot.ts.
 */
import {
  type ComparedClass,
  type Dataset,
  type DatasetLabel,
  openDataset,
  readLabelVolume,
} from "../../../engine/imaging/mod.ts";
import {
  ConfigError,
  contentDigest,
  findImages,
  findModels,
  loadModel,
  print,
  refuseUnused,
  RunFolder,
  splitList,
  trimSlashes,
  unused,
} from "../../../engine/train/mod.ts";
import { evaluateSupports } from "./over_supports.ts";
import { evaluateWithin } from "./within_scans.ts";
import type { Encoder, Evaluation } from "./results.ts";
import { checkedAsked, fewShotOptions } from "../settings.ts";
import { encoderOf } from "../support.ts";
import type { OneShotEvaluationOptions } from "./options.ts";

const isImage = (path: string): boolean => /\.(nii|hdr)(\.gz)?$/.test(path);

/**
 * Evaluates one-shot segmentation, and writes metrics.json, metrics.csv, predictions, tables, figures and a report.
 *
 * Over supports: the drawn cases are the support in turn, and each segments all other cases; reports means over cases,
 * and their spread over the supports. Only cases that show all classes can be a support. `within`: each scan is
 * segmented from one of its own labeled slices, and the other slices are evaluated.
 *
 * Results are stored as they arrive, one line per scan, so that calling it again resumes after a stop; with more
 * supports or other cases, it adds the missing ones.
 *
 * @param options by `config(oneShotEntries)`
 * @returns the content of metrics.json
 * @throws ConfigError for options that do not match the data or existing results; DatasetError, VoxgradError
 * @example
 * ```ts
 * import { evaluateOneShot, oneShotEntries } from "voxgrad/models";
 * import { config } from "voxgrad/train";
 *
 * await evaluateOneShot(config(oneShotEntries, ["runs/encoder", "--supports", "10", "--ranges", "known"]));
 * ```
 */
export async function evaluateOneShot(options: OneShotEvaluationOptions): Promise<object> {
  const over = options.within && "--within segments each scan from a slice of its own";
  const within = !options.within && "it is for --within";
  const own = within || (options.preparation !== "own" && "it is for --preparation own");
  refuseUnused(options, {
    // Limits of what may be used (--cache, --memory, --workers) hold where nothing is used too.
    supports: over,
    seed: over,
    ...unused(over, "chunks", "slices", "nearest"),
    slice: within,
    preparation: within,
    side: own,
    clip: own,
    cases: isImage(options.data) && "--data is one image",
  });
  const encoder = await openEncoder(options);
  const { dataset, labels } = await openData(options, encoder);
  const evaluation: Evaluation = {
    options,
    encoder,
    dataset,
    ids: chosenCases(options, encoder, dataset),
    classes: chosenClasses(options.classes, labels),
    output: new RunFolder(trimSlashes(options.output) || `${encoder.folder}/${options.within ? "within" : "one_shot"}`),
  };
  print(
    `Data: ${dataset.folder}, ${evaluation.ids.length} case${evaluation.ids.length === 1 ? "" : "s"}; ${
      evaluation.classes.map(({ name }) => name).join(", ")
    }`,
  );
  const found = await (options.within ? evaluateWithin : evaluateSupports)(evaluation);
  print(`\nWritten:\n${evaluation.output.listing()}`);
  return found;
}

async function openEncoder(options: OneShotEvaluationOptions): Promise<Encoder> {
  if (options.run === "") throw new ConfigError("--run is missing: voxgrad evaluate_one_shot RUN DATA");
  const path = trimSlashes(options.run);
  /** The relevant parts of a training's config.json. */
  type RunConfig = {
    readonly options?: Readonly<Record<string, unknown>>;
    readonly splits?: readonly { readonly train: string[]; readonly val: string[] }[];
    readonly dataset?: { readonly folder?: string };
  };
  const folder = path.endsWith(".safetensors") ? path.replace(/(^|\/)[^/]*$/, "") || "." : path;
  const { model, params, plan, settings, description } = await encoderOf(await loadModel(path));
  const used = checkedAsked(settings, options);
  // Config and splits of a cross-validation are next to its folds.
  const fold = /^(.*)\/fold_(\d+)$/.exec(folder);
  const run = await new RunFolder(fold ? fold[1] : folder).readJson("config.json") as RunConfig | undefined;
  const asked = run?.options ?? {};
  const split = run?.splits?.[fold ? Number(fold[2]) : asked.fold === "all" ? 0 : Number(asked.fold)];
  return {
    model,
    params,
    plan,
    fewShot: fewShotOptions(used),
    folder,
    data: run?.dataset?.folder ?? "",
    trained: split?.train ?? [],
    heldOut: split?.val ?? [],
    digest: await contentDigest((await findModels(options.run)).files[0]),
    description,
  };
}

/** The dataset, and its labels or those of a label file. */
async function openData(
  options: OneShotEvaluationOptions,
  encoder: Encoder,
): Promise<{ dataset: Dataset; labels: readonly DatasetLabel[] }> {
  const data = options.data || encoder.data;
  if (data === "") {
    throw new ConfigError(`--data is missing, and ${encoder.folder} does not tell what the encoder was trained on`);
  }
  if (!isImage(data)) {
    if (options.labels !== "") {
      throw new ConfigError("--labels is for a --data that is one image file; a dataset has its own labels");
    }
    const dataset = await openDataset(data);
    if (dataset.regions || dataset.ignoreLabel !== undefined) {
      throw new ConfigError(
        `${dataset.folder}: few-shot classes are plain labels, without regions and an ignore label`,
      );
    }
    return { dataset, labels: dataset.labels.slice(1) };
  }
  if (!options.within) {
    throw new ConfigError(`${data}: it is one image; add --within, or name a dataset of several labeled cases`);
  }
  if (options.labels === "") throw new ConfigError(`--labels is missing: the label map of ${data}`);
  const values = [...new Set((await readLabelVolume(options.labels)).data)].sort((a, b) => a - b);
  const strange = values.find((value) => !(Number.isInteger(value) && value >= 0 && value < 256));
  if (strange !== undefined) {
    throw new ConfigError(`${options.labels}: it holds ${strange}; labels are integers from 0 to 255`);
  }
  const channels = encoder.plan.channels.map(({ name }) => name);
  const [item] = await findImages(data, channels);
  const labels = Array.from(
    { length: values.at(-1)! + 1 },
    (_, value) => ({ name: value === 0 ? "background" : `${value}`, value }),
  );
  const cases = [{ ...item, label: options.labels }];
  return {
    dataset: { folder: data, name: item.id, channels, labels, cases, testCases: [] },
    labels: labels.filter(({ value }) => value > 0 && values.includes(value)),
  };
}

function chosenClasses(text: string, labels: readonly DatasetLabel[]): ComparedClass[] {
  if (text === "") return labels.map(({ name, value }) => ({ name, values: [value] }));
  const classes = splitList(text).map((part) => {
    const [, title, wanted] = /^(?:(.*)=)?(.*)$/.exec(part)!;
    const found = labels.find(({ name, value }) => name === wanted || `${value}` === wanted);
    if (!found) {
      throw new ConfigError(`--classes: there is no ${wanted}; there are ${labels.map(({ name }) => name).join(", ")}`);
    }
    return { name: title || found.name, values: [found.value] };
  });
  for (const key of ["name", "values"] as const) {
    if (new Set(classes.map((each) => String(each[key]))).size < classes.length) {
      throw new ConfigError(`--classes: "${text}" names one twice`);
    }
  }
  return classes;
}

function chosenCases({ cases, data }: OneShotEvaluationOptions, encoder: Encoder, dataset: Dataset): string[] {
  const labeled = dataset.cases.filter(({ label }) => label !== undefined).map(({ id }) => id);
  if (cases === "all" || isImage(data)) return labeled;
  if (cases !== "") {
    const names = [...new Set(splitList(cases))];
    const strange = names.find((id) => !labeled.includes(id));
    if (strange !== undefined) throw new ConfigError(`--cases: ${dataset.folder} has no labeled case ${strange}`);
    return names;
  }
  const { heldOut, trained } = encoder;
  if (heldOut.length > 0 && heldOut.every((id) => labeled.includes(id))) return [...heldOut];
  if (data === "" || [...heldOut, ...trained].some((id) => labeled.includes(id))) {
    throw new ConfigError(
      `${encoder.folder}: it held out no cases of ${dataset.folder}; name --cases, such as those that it was not ` +
        "trained on",
    );
  }
  return labeled;
}
