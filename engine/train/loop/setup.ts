/** What every training script does before and after its own step: options, data, splits, plan, batches, results. */
import { check, listed, VoxgradError } from "../../core/errors.ts";
import type { Tensor } from "../../core/tensor.ts";
import { VERSION } from "../../core/version.ts";
import { deviceInfo } from "../../gpu/mod.ts";
import * as augment from "../../imaging/augment/augment.ts";
import type { AugmentChanges } from "../../imaging/augment/options.ts";
import { CaseFaults } from "../../imaging/dataset/case_faults.ts";
import { type CaseStore, openCaseStore, storeFolder } from "../../imaging/prepare/case_store.ts";
import { compareLabels } from "../../imaging/metrics/compare.ts";
import type { Dataset, DatasetCase } from "../../imaging/dataset/types.ts";
import { openDataset } from "../../imaging/dataset/dataset.ts";
import { Comparison, type EvaluatedCase } from "../../imaging/metrics/evaluate.ts";
import { fingerprintDataset } from "../../imaging/planner/fingerprint.ts";
import { loadCase } from "../../imaging/dataset/load_case.ts";
import { writeNifti } from "../../imaging/nifti/nifti.ts";
import type { PhantomOptions } from "../../imaging/phantoms/phantom.ts";
import { writePhantomDataset } from "../../imaging/phantoms/phantom.ts";
import type { Plan } from "../../imaging/plan/plan.ts";
import { checkPlanFits, planText, readPlan } from "../../imaging/plan/plan_file.ts";
import { makePlan } from "../../imaging/planner/plan_rules.ts";
import { Prng } from "../../core/prng.ts";
import { casesOf, type CaseSource, sampleBatch } from "../../imaging/prepare/sampling.ts";
import { checkSplits, type Fold, kFold } from "../../imaging/dataset/split.ts";
import type { Triple, Volume } from "../../imaging/volume/volume.ts";
import { tensor } from "../../ops/elementwise/creation.ts";
import { choice, type Config, ConfigError, entry } from "../run/config.ts";
import { counted, formatTable, print } from "../run/logging.ts";
import { type OverlayCase, overlaySvg } from "../plot/overlay.ts";
import { PostprocessingChoice } from "../predict/postprocess.ts";
import { writeComparison, writeReport } from "../report/report.ts";
import { openRun, readJson, resumeRun, type RunFolder } from "../run/run_folder.ts";
import { checkApart, checkIdentity, checkOutput, CONFIG, foldIdentity, identityOf } from "../run/run_identity.ts";

/** Entries of the config block of every training script. */
export const trainingEntries = {
  data: entry("", "dataset folder, or file of a dataset group; phantoms without it", { positional: true }),
  plan: entry("", "plan file of `voxgrad plan`; made by its rules without it"),
  folds: entry(5, "parts of the cross-validation", { integer: true, min: 2 }),
  fold: entry("0", "part that is held out, from 0; each: one training a part; all: nothing is held out"),
  splits: entry("", "JSON file of splits as nnU-Net's splits_final.json, instead of --folds"),
  run: entry("", "folder of the run; the next free one in runs/ without it"),
  resume: entry("", "folder of a run to go on with, after a stop or with more --steps"),
  overwrite: entry(false, "whether that folder may hold an earlier run"),
  seed: entry(1, "of the weights, the patches and the augmentation", { integer: true, min: 0 }),
  steps: entry(0, "optimizer steps; 0: 120 on phantoms, 800 on --data", { integer: true, min: 0 }),
  epochs: entry(0, "epochs of --epoch steps; of this and --steps the larger counts", { integer: true, min: 0 }),
  epoch: entry(50, "steps an epoch, after which the held-out cases are looked at", { integer: true, min: 1 }),
  validation: entry(5, "batches of held-out patches that are looked at then", { integer: true, min: 0 }),
  preset: choice(["auto", "nnunet", "small"], "size of a new plan; auto: nnunet on a GPU, small elsewhere"),
  batch: entry(0, "patches a step; 0: as planned", { integer: true, min: 0 }),
  patch: entry([], "voxels of a patch; as planned without it", { integer: true, min: 1, lengths: [0, 3] }),
  features: entry([], "channels at each resolution, the finest first; as planned without it", {
    integer: true,
    min: 1,
  }),
  foreground: entry(0.33, "fraction of a batch's patches that are centered on foreground", { min: 0, max: 1 }),
  sets: choice(
    ["proportional", "equal", "turn"],
    "how patches are drawn from the sets of a dataset group: each case as likely, each set as likely, or a set a step in turn",
  ),
  augment: choice(
    ["auto", "nnunet", "scale", "mirror", "none"],
    "auto: mirror on phantoms, nnU-Net's whole chain on --data; scale: sizes by up to a tenth, and mirror",
  ),
  flips: choice(["xyz", "xy", "xz", "yz", "x", "y", "z", "none"], "axes along which patches are mirrored at random"),
  checkpoint: entry(5, "minutes from one checkpoint to the next", { min: 0 }),
  cache: entry("runs/prepared", "folder of prepared cases, which all runs share"),
  memory: entry(2, "GB of prepared cases that are kept in memory; as much again where a method adds channels to them", {
    min: 0,
  }),
  workers: entry(2, "threads that read scans", { integer: true, min: 0 }),
  phantoms: entry(16, "patients to make without --data", { integer: true, min: 2 }),
} as const;

/** Those that a resumed run may change. */
export const trainingChanges = ["steps", "epochs", "data", "checkpoint", "cache", "memory", "workers"] as const;

export type TrainingOptions = Config<typeof trainingEntries>;

/** A batch on its way to the device: image f32 [N, C, d, h, w], label i32 [N, d, h, w]. */
export interface Patches {
  readonly image: Tensor;
  readonly label: Tensor;
  /** Further channels of the source, f32 [N, E, d, h, w]; they move with the image, each voxel taken from the nearest. */
  readonly extra?: Tensor;
  /**
   * Where some cases have not all labels annotated: i32 [N, K], for each class the lowest of those that the label of the
   * patch's case does not tell it from. A class that is not annotated has that of the background, 0.
   */
  readonly sets?: Tensor;
}

/** Phantoms of a script: small and plain, so that a first look takes minutes on a CPU. */
export interface PhantomSetup extends Omit<PhantomOptions, "seed"> {
  readonly patch: Triple;
  readonly features: readonly number[];
  /** Writes the dataset; that of writePhantomDataset unless given. */
  readonly write?: (folder: string, options: PhantomOptions & { cases: number }) => Promise<void>;
}

const PHANTOMS: PhantomSetup = {
  shape: [28, 32, 24],
  spacing: [1.3, 1.3, 2],
  patch: [24, 24, 24],
  features: [8, 16, 32],
};

/** Nothing but what mirrors. */
const NO_CHAIN = {
  rotation: false,
  scaling: false,
  noise: false,
  blur: false,
  brightness: false,
  contrast: false,
  lowResolution: false,
  invertedGamma: false,
  gamma: false,
} as const;

/** Cases of a fold in overlay.svg. */
const SHOWN = 4;

/** One training of the run: what it trains on, and where its files go. */
export interface FoldSetup {
  readonly name: string;
  readonly split: Fold;
  readonly run: RunFolder;
}

/** Data and plan of a training, its batches, and what becomes of its results. */
export class Training {
  readonly options: TrainingOptions;
  readonly run: RunFolder;
  readonly dataset: Dataset;
  readonly plan: Plan;
  readonly splits: readonly Fold[];
  readonly folds: readonly FoldSetup[];
  readonly store: CaseStore;
  /** Where batches come from: the store, unless a script puts another source in its place, as one with more channels. */
  source: CaseSource;
  /** Number of the last step. */
  readonly steps: number;
  /** Names of the foreground classes, or of the regions. */
  readonly classes: readonly string[];
  /** Values of each region, where the plan has them. */
  readonly regions: readonly (readonly number[])[] | undefined;
  /** Voxels of the patches before augmentation, which crops them to the plan's. */
  readonly sampled: readonly number[];
  readonly #changes: Omit<AugmentChanges, "patch">;
  readonly #draws: Record<"batches" | "augmentation" | "validation", Prng>;
  readonly #rule: PostprocessingChoice;
  readonly #cases: EvaluatedCase[] = [];
  readonly #faults = new CaseFaults();
  readonly #items: ReadonlyMap<string, DatasetCase>;
  readonly #partial: boolean;

  /** @param made what openTraining found */
  constructor(
    options: TrainingOptions,
    made: {
      run: RunFolder;
      dataset: Dataset;
      plan: Plan;
      splits: readonly Fold[];
      folds: readonly FoldSetup[];
      store: CaseStore;
    },
  ) {
    this.options = options;
    ({
      run: this.run,
      dataset: this.dataset,
      plan: this.plan,
      splits: this.splits,
      folds: this.folds,
      store: this.store,
    } = made);
    const { plan } = made;
    this.source = made.store;
    const onPhantoms = options.data === "";
    this.steps = Math.max(options.epochs * options.epoch, options.steps) || (onPhantoms ? 120 : 800);
    this.regions = plan.regions?.map((region) => region.values);
    this.classes = plan.regions?.map((region) => region.name) ?? plan.labels.slice(1);
    const axes = plan.transpose.flatMap((axis, k) => (options.flips.includes("zyx"[axis]) ? [k] : []));
    const chain = options.augment === "auto" ? (onPhantoms ? "mirror" : "nnunet") : options.augment;
    const scaling = chain === "scale" ? { scaling: { p: 1, factor: [0.9, 1.1] as const } } : {};
    this.#changes = {
      ...(chain === "nnunet" ? {} : NO_CHAIN),
      ...scaling,
      mirror: chain === "none" ? false : { axes },
    };
    this.sampled = augment.initialPatch(plan.patch, this.#changes);
    const prng = new Prng(options.seed);
    this.#draws = {
      batches: prng.fork("batches"),
      augmentation: prng.fork("augmentation"),
      validation: prng.fork("validation"),
    };
    this.#rule = new PostprocessingChoice(plan);
    this.#items = new Map(made.dataset.cases.map((item) => [item.id, item]));
    this.#partial = made.dataset.cases.some((item) => item.labelsPresent);
  }

  async #patches(
    prng: Prng,
    sets: readonly (readonly string[])[],
    options: { patch: readonly number[]; foreground: number },
  ): Promise<Patches> {
    const { batch, channels } = this.plan;
    const { patch } = options;
    const source = casesOf(this.source, sets.flat());
    const { image, label, ids } = await sampleBatch(prng, source, { batch, sets, ...options });
    const C = channels.length;
    const all = image.length / label.length;
    // Channels [from, to) of every sample.
    const part = (from: number, to: number): Tensor => {
      const size = label.length / batch;
      const values = new Float32Array(batch * (to - from) * size);
      for (let n = 0; n < batch; n++) {
        values.set(image.subarray((n * all + from) * size, (n * all + to) * size), n * (to - from) * size);
      }
      return tensor(values, { shape: [batch, to - from, ...patch] });
    };
    return {
      image: all === C ? tensor(image, { shape: [batch, C, ...patch] }) : part(0, C),
      label: tensor(label, { shape: [batch, ...patch] }),
      ...(all > C && { extra: part(C, all) }),
      ...(this.#partial && { sets: this.#labelSets(ids) }),
    };
  }

  #labelSets(ids: readonly string[]): Tensor {
    const classes = this.plan.labels.length;
    const values = ids.flatMap((id) => {
      const { labelsPresent, merged = [] } = this.#items.get(id)!;
      return Array.from(
        { length: classes },
        (_, k) => merged.find((list) => list.includes(k))?.[0] ?? (labelsPresent?.includes(k) ?? true ? k : 0),
      );
    });
    return tensor(new Int32Array(values), { shape: [ids.length, classes] });
  }

  /** The cases that a step draws from; each list is as likely. */
  #setsOf(ids: readonly string[], step: number): readonly (readonly string[])[] {
    const { sets: rule } = this.options;
    const { sets } = this.dataset;
    if (!sets || rule === "proportional") return [ids];
    // Sets that the split leaves without a case have no turn.
    const own = sets
      .map(({ name }) => ids.filter((id) => this.#items.get(id)!.set === name))
      .filter((list) => list.length > 0);
    return rule === "equal" || own.length === 0 ? own : [own[(step - 1) % own.length]];
  }

  /** The batch of a step (from 1), to be augmented. It depends on seed, split, step and --sets alone. */
  batch(split: Fold, step: number): Promise<Patches> {
    const options = { patch: this.sampled, foreground: this.options.foreground };
    return this.#patches(this.#draws.batches.fork(step), this.#setsOf(split.train, step), options);
  }

  /** The key of a step's augmentation. */
  key(step: number): Tensor {
    const own = this.#draws.augmentation.fork(step);
    return tensor(new Uint32Array([own.uint32(), own.uint32()]));
  }

  /** A batch as the network is to see it: augmented, of the plan's patch. Belongs into the compiled step. */
  augmented(key: Tensor, patches: Patches): Patches {
    const { sets, ...moved } = patches;
    const entries = patches.extra ? { entries: { extra: { mode: "nearest" as const } } } : {};
    const augmented = augment.nnunet(key, moved, { patch: this.plan.patch, ...this.#changes, ...entries });
    return { ...augmented, ...(sets && { sets }) };
  }

  /**
   * For `train`: looks at patches of the held-out cases, the same each time.
   *
   * @param figures gives `stepFigures` of a batch
   * @returns undefined where nothing is held out
   */
  validation(split: Fold, figures: (patches: Patches) => Promise<Tensor>) {
    const { validation: count } = this.options;
    if (split.val.length === 0 || count === 0) return undefined;
    return async (): Promise<{ loss: number; dice: number[] }> => {
      let sum = new Float64Array(1 + 2 * this.classes.length);
      for (let k = 0; k < count; k++) {
        const drawn = { patch: this.plan.patch, foreground: 0.33 };
        const patches = await this.#patches(this.#draws.validation.fork(k), [split.val], drawn);
        using found = await figures(patches);
        const values = await found.data();
        sum = sum.map((value, at) => value + values[at]);
      }
      const dice = this.classes.map((_, c) => (2 * sum[1 + c]) / sum[1 + this.classes.length + c]);
      return { loss: sum[0] / count, dice };
    };
  }

  /**
   * Begins the run's folder: removes what an earlier run left there, unless that is gone on with, and writes plan.json,
   * splits.json and config.json: the options, so that the run can be resumed, what was made of them, and the digests of all
   * that the run is made from.
   *
   * @throws VoxgradError where a run that is gone on with was made from something else
   */
  async describe(more: object): Promise<void> {
    const { options, steps, classes, plan, splits, run, store } = this;
    const known = run.resumed ? await run.readJson(CONFIG) : undefined;
    const used = (more as { options?: object }).options ?? options;
    const made = await identityOf({ options: used, plan, splits, contents: store.contents });
    if (run.resumed) checkIdentity(known, made, run.path);
    else await run.clear();
    for (const fold of this.folds) fold.run.identity = await foldIdentity(made, fold.split);
    await run.write("plan.json", `${planText(plan)}\n`);
    await run.writeJson("splits.json", splits);
    const { cases: _, testCases: __, ...dataset } = this.dataset;
    await run.writeJson(CONFIG, {
      voxgrad: VERSION,
      identity: made,
      options,
      steps,
      classes,
      plan,
      dataset,
      splits,
      ...more,
    });
  }

  /**
   * Segments and measures the held-out cases of a fold: predictions/, summary.json, metrics.csv, overlay.svg; of a
   * dataset group also references/, its labels in the values of the group. What a case has not annotated is not measured.
   *
   * @param segment labels an image, given the case's id too
   */
  async test(fold: FoldSetup, segment: (image: Volume, id: string) => Promise<Volume>): Promise<void> {
    const { plan, dataset } = this;
    // What lies there was measured with other weights.
    for (const folder of new Set([fold.run, this.run])) await folder.clearMeasured();
    const classes = plan.regions ?? plan.labels.slice(1).map((label, k) => ({ name: label, values: [k + 1] }));
    const shown: OverlayCase[] = [];
    const cases: EvaluatedCase[] = [];
    const one = async (id: string): Promise<void> => {
      const item = this.#items.get(id)!;
      const { image, label, labelsPresent } = await loadCase(dataset, item);
      const prediction = await segment(image, id);
      const file = await fold.run.write(
        `predictions/${id}.nii.gz`,
        writeNifti(prediction, { dtype: "uint8", gzip: true }),
      );
      this.#rule.add(prediction, label!, labelsPresent);
      const measured = compareLabels(prediction, label!, { classes, ignore: plan.ignoreLabel, labelsPresent });
      // The label file of a group's case has other values than the prediction.
      const reference = item.labelMap
        ? await fold.run.write(`references/${id}.nii.gz`, writeNifti(label!, { dtype: "uint8", gzip: true }))
        : item.label!;
      cases.push({ id, prediction: file, reference, classes: measured });
      if (shown.length < SHOWN) shown.push({ name: id, image, reference: label!.data, prediction: prediction.data });
    };
    for (const id of counted(fold.split.val, "case")) await this.#faults.try(id, () => one(id));
    if (cases.length === 0) return;
    await writeComparison(fold.run, new Comparison(cases));
    await fold.run.write(
      "overlay.svg",
      overlaySvg(
        shown.map((item, k) => ({ ...item, measured: cases[k].classes })),
        { labels: plan.labels, regions: plan.regions },
      ),
    );
    this.#cases.push(...cases);
  }

  /** The end of a run: measures over all folds, the largest-component rule, the report, and what was written. */
  async finish(): Promise<Comparison> {
    const comparison = new Comparison(this.#cases);
    if (this.folds.length > 1) await writeComparison(this.run, comparison);
    if (this.#cases.length > 0) await this.run.writeJson("postprocessing.json", this.#rule.decide());
    await writeReport(this.run);
    if (this.#cases.length > 0) {
      const { headings, rows } = comparison.tableRows();
      print(`\nDice on ${this.#cases.length} held-out cases, distances in mm\n${formatTable(headings, rows)}`);
    }
    print(`\nWritten:\n${this.run.listing()}`);
    await this.run.unlock();
    if (this.#faults.count > 0) print(`\nNot segmented, and in no mean:\n${this.#faults.text()}`);
    this.#faults.end(
      this.dataset.folder,
      this.folds.reduce((sum, fold) => sum + fold.split.val.length, 0),
      "held-out cases were segmented",
    );
    return comparison;
  }
}

/**
 * Opens the run of a training script: data (or phantoms), splits, plan, prepared cases.
 *
 * @param options values of `trainingEntries`, from resumableConfig
 * @param phantoms what is made without --data
 * @throws ConfigError, VoxgradError, DatasetError and their kin, each with its fix
 * @example
 * const options = await resumableConfig({ ...trainingEntries, rate: 1e-2 }, { change: trainingChanges });
 * const training = await openTraining(options);
 */
export async function openTraining(options: TrainingOptions, phantoms: PhantomSetup = PHANTOMS): Promise<Training> {
  const name = options.data.split("/").filter((part) => part !== "").at(-1)?.replace(/\.json$/, "") ?? "phantom";
  if (options.run !== "" && !options.resume) await checkApart(options);
  const run = options.resume
    ? await resumeRun(options.resume)
    : await openRun({ name, folder: options.run, overwrite: options.overwrite });
  try {
    return await openIn(run, options, phantoms);
  } catch (error) {
    await run.unlock();
    throw error;
  }
}

async function openIn(run: RunFolder, options: TrainingOptions, phantoms: PhantomSetup): Promise<Training> {
  const onPhantoms = options.data === "";
  const folder = options.data || `${run.path}/phantom`;
  if (onPhantoms) {
    const { patch: _, features: __, write = writePhantomDataset, ...made } = phantoms;
    await write(folder, { ...made, cases: options.phantoms, seed: options.seed });
  }
  const dataset = await openDataset(folder);
  await checkOutput(run, dataset);
  const splits = await chooseSplits(options, run, dataset);
  const chosen = options.fold === "each" ? [...splits.keys()] : [options.fold === "all" ? 0 : Number(options.fold)];
  if (!chosen.every((index) => splits[index])) {
    throw new ConfigError(`--fold: got "${options.fold}", wanted 0 to ${splits.length - 1}, each or all`);
  }
  for (const index of chosen) checkAnnotated(dataset, splits[index], `${run.path}/splits.json, fold ${index}`);
  const plan = await choosePlan(options, run, dataset, onPhantoms ? phantoms : undefined);
  const classes = plan.regions?.map((region) => region.name) ?? plan.labels.slice(1);
  print(`Data: ${folder}, ${dataset.cases.length} cases; ${classes.join(", ")}`);
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
    ids: [...new Set(chosen.flatMap((index) => [...splits[index].train, ...splits[index].val]))].sort(),
  });
  const folds = chosen.map((index): FoldSetup => ({
    name: `fold ${index}`,
    split: splits[index],
    run: chosen.length > 1 ? run.folder(`fold_${index}`) : run,
  }));
  return new Training(options, { run, dataset, plan, splits, folds, store });
}

/** The splits of a resumed run, of a file, or by kFold; one without held-out cases for --fold all. */
async function chooseSplits(options: TrainingOptions, run: RunFolder, dataset: Dataset): Promise<readonly Fold[]> {
  const ids = dataset.cases.map((item) => item.id);
  const setOf = new Map(dataset.cases.map((item) => [item.id, item.set]));
  const before = options.resume ? await readJson(`${run.path}/splits.json`) : undefined;
  if (before === undefined && ids.length < 2 && options.fold !== "all" && !options.splits) {
    throw new VoxgradError(
      `${dataset.folder}: it has ${ids.length} case; nothing can be held out of it, so use --fold all`,
    );
  }
  const made = before !== undefined
    ? checkSplits(before, ids, `${run.path}/splits.json`)
    : options.fold === "all"
    ? [{ train: ids, val: [] }]
    : options.splits
    ? checkSplits(await readJson(options.splits), ids, options.splits)
    : kFold(ids, { folds: Math.min(options.folds, ids.length), setOf: (id) => setOf.get(id) ?? "" });
  const listedIds = new Set(made.flatMap(({ train, val }) => [...train, ...val]));
  const left = ids.filter((id) => !listedIds.has(id));
  if (left.length > 0) {
    const file = before ? `${run.path}/splits.json` : options.splits;
    print(`${left.length} of ${ids.length} cases are in no fold of ${file} and take no part: ${listed(left)}`);
  }
  return made;
}

/** A class that no case of a training has annotated would be learned from nothing. */
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

/** The plan of a resumed run, of a file, or by the rules; it is kept with the run. */
async function choosePlan(
  options: TrainingOptions,
  run: RunFolder,
  dataset: Dataset,
  phantoms: PhantomSetup | undefined,
): Promise<Plan> {
  let plan: Plan;
  if (options.resume) {
    plan = await readPlan(`${run.path}/plan.json`);
    checkPlanFits(plan, dataset, `${run.path}/plan.json`);
  } else if (options.plan) {
    const both = options.patch.length + options.features.length > 0;
    check(!both, options.plan, () => "the plan says patch and features; leave out --patch and --features, or edit it");
    plan = await readPlan(options.plan);
    checkPlanFits(plan, dataset, options.plan);
    if (options.batch > 0) plan = { ...plan, batch: options.batch };
  } else {
    const software = (await deviceInfo()).kind === "software";
    const patch = options.patch.length > 0 ? options.patch : phantoms?.patch;
    const features = options.features.length > 0 ? options.features : phantoms?.features;
    plan = makePlan(dataset, await fingerprintDataset(dataset, { workers: options.workers }), {
      preset: options.preset !== "auto" ? options.preset : software ? "small" : "nnunet",
      ...(patch && { patch: patch as Triple }),
      ...(features && { features }),
      ...(options.batch > 0 && { batch: options.batch }),
    });
  }
  return plan;
}
