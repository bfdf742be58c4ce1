/** Opens a training run: folder, data or phantoms, splits, plan and prepared cases. */
import { check, listed, VoxgradError } from "../../core/errors.ts";
import { deviceInfo } from "../../gpu/mod.ts";
import { openDataset } from "../../imaging/dataset/dataset.ts";
import type { Dataset } from "../../imaging/dataset/types.ts";
import { checkSplits, type Fold, kFold } from "../../imaging/dataset/split.ts";
import { type PhantomOptions, writePhantomDataset } from "../../imaging/phantoms/phantom.ts";
import type { Plan } from "../../imaging/plan/plan.ts";
import { readPlanFor } from "../../imaging/plan/nnunet_plans.ts";
import { checkPlanFits, readPlan } from "../../imaging/plan/plan_file.ts";
import { fingerprintDataset } from "../../imaging/planner/fingerprint.ts";
import { makePlan } from "../../imaging/planner/plan_rules.ts";
import { openCaseStore, storeFolder } from "../../imaging/prepare/case_store.ts";
import type { Triple } from "../../imaging/volume/volume.ts";
import { folderPath, type FolderSource } from "../../platform/files/mounts.ts";
import { ConfigError } from "../run/config.ts";
import { findImages } from "../run/find_images.ts";
import { print } from "../run/logging.ts";
import { openRun, readJson, resumeRun, RunFolder } from "../run/run_folder.ts";
import { checkApart, checkOutput } from "../run/run_identity.ts";
import type { TrainingOptions } from "./training_options.ts";
import { type FoldSetup, TrainingRun } from "./training_run.ts";

/** The phantoms used without --data: small, so that a first run takes minutes on a CPU. */
export interface PhantomSetup extends Omit<PhantomOptions, "seed"> {
  readonly patch: Triple;
  readonly features: readonly number[];
  /** Writes the dataset; default: writePhantomDataset. */
  readonly write?: (folder: string, options: PhantomOptions & { cases: number }) => Promise<void>;
}

/** What a script asks of its data beyond the options of every training. */
export interface DataSetup {
  /** Also opens images without labels: all of them are trained on, and none is held out. */
  readonly unlabeled?: boolean;
  /** A folder of further images without labels, which every fold trains on. */
  readonly further?: string;
  /** Intensities of all channels are cut off at these; see makePlan. */
  readonly clip?: readonly [number, number];
  /**
   * The plan, instead of one that is made or read from a file. If the folder declares no labels, they and the channels
   * are those of the plan.
   */
  readonly plan?: Plan;
  /** Ids of the cases that are held out, instead of those of --folds or --splits. */
  readonly heldOut?: readonly string[];
  /** Whether the held-out cases choose the rule of postprocessing.json; default true. */
  readonly rule?: boolean;
  /** Whether classes may be annotated in no case here: other sites have them. */
  readonly someClasses?: boolean;
  /** Whether this process only helps with a training in the folder `resume`, which is another's. */
  readonly member?: boolean;
  /** Changes the plan that was made, or that a file holds. */
  readonly adjust?: (plan: Plan) => Plan;
}

const PHANTOMS: PhantomSetup = {
  shape: [28, 32, 24],
  spacing: [1.3, 1.3, 2],
  patch: [24, 24, 24],
  features: [8, 16, 32],
};

/**
 * Opens the training run of a script: data (or phantoms), splits, plan, prepared cases.
 *
 * @param given values of `trainingEntries`, from resumableConfig or runConfig. `data` may also be what `mountFiles`
 *   takes: a FileSystemDirectoryHandle or the Files that the visitor of a page chose. `signal`: once it is aborted, the
 *   training stops after the step under way, with a checkpoint, and with the signal's reason
 * @param phantoms the dataset written without --data
 * @param setup what the script asks of its data
 * @throws ConfigError, VoxgradError, DatasetError and their subclasses, each with its fix
 * @example
 * ```ts
 * import { config, openTraining, trainingEntries } from "voxgrad/train";
 *
 * const training = await openTraining(config(trainingEntries, ["data/Task04_Hippocampus", "--folds", "3"]));
 * const patches = await training.batch(training.folds[0].split, 1);
 * ```
 */
export async function openTraining(
  given: Omit<TrainingOptions, "data"> & { readonly data: string | FolderSource; readonly signal?: AbortSignal },
  phantoms: PhantomSetup = PHANTOMS,
  setup: DataSetup = {},
): Promise<TrainingRun> {
  const { signal, ...own } = given;
  const options: TrainingOptions = { ...own, data: folderPath(given.data) };
  const name = options.data.split("/").filter((part) => part !== "").at(-1)?.replace(/\.json$/, "") ?? "phantom";
  if (options.run !== "" && !options.resume) await checkApart(options);
  const run = setup.member
    ? new RunFolder(options.resume, { signal, resumed: true })
    : options.resume
    ? await resumeRun(options.resume, { signal })
    : await openRun({ name, folder: options.run, overwrite: options.overwrite, signal });
  try {
    return await openIn(run, options, phantoms, setup);
  } catch (error) {
    await run.unlock();
    throw error;
  }
}

async function openIn(
  run: RunFolder,
  options: TrainingOptions,
  phantoms: PhantomSetup,
  setup: DataSetup,
): Promise<TrainingRun> {
  const onPhantoms = options.data === "";
  const folder = options.data || `${run.path}/phantom`;
  if (onPhantoms && !setup.member) {
    const { patch: _, features: __, write = writePhantomDataset, ...made } = phantoms;
    await write(folder, { ...made, cases: options.phantoms, seed: options.seed });
  }
  const opened = await openDataset(folder, undefined, { labels: setup.unlabeled ? "optional" : "required" });
  const dataset = await withFurther(setup.plan ? declaredBy(setup.plan, opened) : opened, setup.further);
  await checkOutput(run, dataset);
  const splits = await chooseSplits(options, run, dataset, setup.heldOut);
  const chosen = options.fold === "each" ? [...splits.keys()] : [options.fold === "all" ? 0 : Number(options.fold)];
  if (!chosen.every((index) => splits[index])) {
    throw new ConfigError(`--fold: got "${options.fold}", wanted 0 to ${splits.length - 1}, each or all`);
  }
  if (!setup.someClasses) {
    for (const index of chosen) checkAnnotated(dataset, splits[index], `${run.path}/splits.json, fold ${index}`);
  }
  const chosenPlan = await choosePlan(options, run, dataset, setup, onPhantoms ? phantoms : undefined);
  const plan = setup.adjust?.(chosenPlan) ?? chosenPlan;
  const classes = plan.regions?.map((region) => region.name) ?? plan.labels.slice(1);
  const bare = dataset.cases.filter(({ label }) => label === undefined).length;
  const without = bare === 0 ? "" : `, ${bare === dataset.cases.length ? "all" : bare} without labels`;
  print(
    `Data: ${folder}, ${dataset.cases.length} cases${without}${classes.length > 0 ? `; ${classes.join(", ")}` : ""}`,
  );
  for (const set of dataset.sets ?? []) {
    const count = dataset.cases.filter((item) => item.set === set.name).length;
    const annotated = dataset.labels.filter(({ value }) => value > 0 && (set.labelsPresent?.includes(value) ?? true));
    const together = (set.merged ?? []).map((list) => list.map((value) => dataset.labels[value].name).join(" or "));
    print(`  set ${set.name}: ${count} cases; ${[...annotated.map((label) => label.name), ...together].join(", ")}`);
  }
  const partial = dataset.cases.filter((item) => item.labelsPresent).length;
  if (partial > 0) print(`${partial} of ${dataset.cases.length} cases have not all labels annotated`);
  const store = await openCaseStore(dataset, plan, {
    folder: storeFolder(options.cache, dataset, plan),
    workers: options.workers,
    memory: options.memory * 1e9,
    signal: run.signal,
    unlabeled: bare > 0,
    ids: [...new Set(chosen.flatMap((index) => [...splits[index].train, ...splits[index].val]))].sort(),
  });
  const folds = chosen.map((index): FoldSetup => ({
    name: `fold ${index}`,
    split: splits[index],
    run: chosen.length > 1 ? run.folder(`fold_${index}`) : run,
  }));
  return new TrainingRun(options, { run, dataset, plan, splits, folds, store, rule: setup.rule });
}

/** A dataset, whose labels and channels are those of a plan if its folder declares none. */
function declaredBy(plan: Plan, dataset: Dataset): Dataset {
  if (dataset.description !== undefined || dataset.labels.length > plan.labels.length) return dataset;
  const { regions: _, ignoreLabel: __, ...rest } = dataset;
  return {
    ...rest,
    channels: plan.channels.length === dataset.channels.length
      ? plan.channels.map(({ name }) => name)
      : dataset.channels,
    labels: plan.labels.map((name, value) => ({ name, value })),
    ...(plan.regions && { regions: plan.regions.map((each) => ({ value: Math.max(...each.values), ...each })) }),
    ...(plan.ignoreLabel !== undefined && { ignoreLabel: plan.ignoreLabel }),
  };
}

/** A dataset with the images of a folder as further cases, without labels. */
async function withFurther(dataset: Dataset, folder = ""): Promise<Dataset> {
  if (folder === "") return dataset;
  const found = await findImages(folder, dataset.channels);
  const known = new Set(dataset.cases.map(({ id }) => id));
  const twice = found.find(({ id }) => known.has(id));
  if (twice) {
    throw new ConfigError(`${folder}: ${twice.id} is a case of ${dataset.folder} too; name a folder of other scans`);
  }
  return { ...dataset, cases: [...dataset.cases, ...found] };
}

/**
 * The splits of a resumed run, of the cases that are held out, from a file, or by kFold; a single one without held-out
 * cases for --fold all.
 */
async function chooseSplits(
  options: TrainingOptions,
  run: RunFolder,
  dataset: Dataset,
  heldOut: readonly string[] | undefined,
): Promise<readonly Fold[]> {
  const ids = dataset.cases.map((item) => item.id);
  const labeled = dataset.cases.flatMap(({ id, label }) => (label === undefined ? [] : [id]));
  const further = ids.filter((id) => !labeled.includes(id));
  if (labeled.length === 0 && options.fold === "each") {
    throw new ConfigError(`--fold each: ${dataset.folder} has no label, and nothing can be held out; leave it out`);
  }
  const setOf = new Map(dataset.cases.map((item) => [item.id, item.set]));
  const before = options.resume ? await readJson(`${run.path}/splits.json`) : undefined;
  const chosen = heldOut || options.splits;
  if (before === undefined && labeled.length === 1 && options.fold !== "all" && !chosen) {
    throw new VoxgradError(
      `${dataset.folder}: it has ${ids.length} case; nothing can be held out of it, so use --fold all`,
    );
  }
  /** With the cases without labels that it does not name. */
  const withRest = ({ train, val }: Fold): Fold => ({
    train: [...train, ...further.filter((id) => !train.includes(id) && !val.includes(id))],
    val,
  });
  const made = before !== undefined
    ? checkSplits(before, ids, `${run.path}/splits.json`)
    : heldOut
    ? checkSplits([{ train: ids.filter((id) => !heldOut.includes(id)), val: heldOut }], ids, "the held-out cases")
    : options.fold === "all" || labeled.length === 0
    ? [{ train: ids, val: [] }]
    : options.splits
    ? checkSplits(await readJson(options.splits), ids, options.splits).map(withRest)
    : kFold(labeled, { folds: Math.min(options.folds, labeled.length), setOf: (id) => setOf.get(id) ?? "" })
      .map(withRest);
  const listedIds = new Set(made.flatMap(({ train, val }) => [...train, ...val]));
  const left = ids.filter((id) => !listedIds.has(id));
  if (left.length > 0) {
    const file = before ? `${run.path}/splits.json` : options.splits;
    print(`${left.length} of ${ids.length} cases are in no fold of ${file} and take no part: ${listed(left)}`);
  }
  return made;
}

/** Throws if no training case has a class annotated. */
function checkAnnotated(dataset: Dataset, { train }: Fold, place: string): void {
  const ids = new Set(train);
  const cases = dataset.cases.filter(({ id }) => ids.has(id));
  const absent = dataset.labels.filter(
    ({ value }) => value > 0 && !cases.some(({ labelsPresent }) => labelsPresent?.includes(value) ?? true),
  );
  if (absent.length === 0) return;
  const names = absent.map((label) => label.name).join(", ");
  throw new VoxgradError(
    `${place}: no training case has ${names} annotated; name other --folds or --splits, or --fold all`,
  );
}

/** The plan of a resumed run, from a file, or by the rules; it is stored with the run. */
async function choosePlan(
  options: TrainingOptions,
  run: RunFolder,
  dataset: Dataset,
  { clip, plan: given }: DataSetup,
  phantoms: PhantomSetup | undefined,
): Promise<Plan> {
  let plan: Plan;
  if (options.resume) {
    plan = await readPlan(`${run.path}/plan.json`);
    checkPlanFits(plan, dataset, `${run.path}/plan.json`);
  } else if (given) {
    const fix = "Give the scans the labels and channels of the model, in its dataset.json or by leaving that out";
    checkPlanFits(given, dataset, "the model", fix);
    plan = options.batch > 0 ? { ...given, batch: options.batch } : given;
  } else if (options.plan) {
    const both = options.patch.length + options.features.length > 0;
    check(!both, options.plan, () => "the plan says patch and features; leave out --patch and --features, or edit it");
    const configuration = options.configuration || undefined;
    plan = await readPlanFor(options.plan, { ...dataset, cases: dataset.cases.length }, { configuration });
    checkPlanFits(plan, dataset, options.plan);
    const { previousStage: stage } = plan;
    const fix = "name --configuration 3d_fullres; predict and openModel take cascades that nnU-Net trained";
    check(stage === undefined, options.plan, () => `it takes labels of ${stage}, and cascades are not trained; ${fix}`);
    if (options.batch > 0) plan = { ...plan, batch: options.batch };
  } else {
    const software = (await deviceInfo()).kind === "software";
    const patch = options.patch.length > 0 ? options.patch : phantoms?.patch;
    const features = options.features.length > 0 ? options.features : phantoms?.features;
    const read = { workers: options.workers, signal: run.signal, ...(clip && { clip }) };
    const unlabeled = dataset.cases.every(({ label }) => label === undefined);
    plan = makePlan(dataset, await fingerprintDataset(dataset, { ...read, unlabeled }), {
      ...(clip && { clip }),
      preset: options.preset !== "auto" ? options.preset : software ? "small" : "nnunet",
      ...(patch && { patch: patch as Triple }),
      ...(features && { features }),
      ...(options.batch > 0 && { batch: options.batch }),
    });
  }
  return plan;
}
