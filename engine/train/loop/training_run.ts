/** A training run: data, plan, folds, batches, and the metrics of its held-out cases. */
import type { Tensor } from "../../core/tensor.ts";
import { VERSION } from "../../core/version.ts";
import { CaseFaults } from "../../imaging/dataset/case_faults.ts";
import type { Dataset, DatasetCase } from "../../imaging/dataset/types.ts";
import { loadCase } from "../../imaging/dataset/load_case.ts";
import type { Fold } from "../../imaging/dataset/split.ts";
import { compareLabels } from "../../imaging/metrics/compare.ts";
import { Comparison, type EvaluatedCase } from "../../imaging/metrics/evaluate.ts";
import { writeNifti } from "../../imaging/nifti/write.ts";
import type { Plan } from "../../imaging/plan/plan.ts";
import { planText } from "../../imaging/plan/plan_file.ts";
import type { CaseStore } from "../../imaging/prepare/case_store.ts";
import type { CaseSource } from "../../imaging/prepare/sampling.ts";
import type { Volume } from "../../imaging/volume/volume.ts";
import { type OverlayCase, overlaySvg } from "../plot/overlay.ts";
import { PostprocessingChoice } from "../predict/postprocess.ts";
import { writeComparison, writeReport } from "../report/report.ts";
import { counted, formatTable, print } from "../run/logging.ts";
import { scriptName } from "../run/script.ts";
import { writeTable } from "../run/tables.ts";
import type { RunFolder } from "../run/run_folder.ts";
import { checkIdentity, CONFIG, foldIdentity, identityOf } from "../run/run_identity.ts";
import { Batches, type Patches } from "./batches.ts";
import { setTable } from "./set_table.ts";
import type { TrainingOptions } from "./training_options.ts";

/** Cases of a fold in overlay.svg. */
const SHOWN = 4;

/** One fold: its cases, and where its files go. */
export interface FoldSetup {
  readonly name: string;
  readonly split: Fold;
  readonly run: RunFolder;
}

/** The parts of a training run, assembled by `openTraining`. */
export interface TrainingParts {
  readonly run: RunFolder;
  readonly dataset: Dataset;
  readonly plan: Plan;
  readonly splits: readonly Fold[];
  readonly folds: readonly FoldSetup[];
  readonly store: CaseStore;
  /** Whether its held-out cases choose the rule of postprocessing.json; default true. */
  readonly rule?: boolean | undefined;
}

/** Data, plan, folds, batches and results of a training; created by `openTraining`. */
export class TrainingRun {
  readonly options: TrainingOptions;
  readonly run: RunFolder;
  readonly dataset: Dataset;
  readonly plan: Plan;
  readonly splits: readonly Fold[];
  /** The folds that this run trains. */
  readonly folds: readonly FoldSetup[];
  /** The prepared cases. */
  readonly store: CaseStore;
  readonly #batches: Batches;
  readonly #rule: PostprocessingChoice | undefined;
  readonly #cases: EvaluatedCase[] = [];
  readonly #faults = new CaseFaults();
  readonly #items: ReadonlyMap<string, DatasetCase>;

  constructor(options: TrainingOptions, parts: TrainingParts) {
    this.options = options;
    this.run = parts.run;
    this.dataset = parts.dataset;
    this.plan = parts.plan;
    this.splits = parts.splits;
    this.folds = parts.folds;
    this.store = parts.store;
    this.#batches = new Batches(options, parts);
    this.#rule = parts.rule === false ? undefined : new PostprocessingChoice(parts.plan);
    this.#items = new Map(parts.dataset.cases.map((item) => [item.id, item]));
  }

  /** Number of the last step. */
  get steps(): number {
    const { epochs, epoch, steps, data } = this.options;
    return Math.max(epochs * epoch, steps) || (data === "" ? 120 : 800);
  }

  /** Names of the foreground classes, or of the regions. */
  get classes(): readonly string[] {
    return this.plan.regions?.map((region) => region.name) ?? this.plan.labels.slice(1);
  }

  /** Label values of each region, if the plan has regions. */
  get regions(): readonly (readonly number[])[] | undefined {
    return this.plan.regions?.map((region) => region.values);
  }

  /** Patch size before augmentation, which crops to that of the plan. */
  get sampled(): readonly number[] {
    return this.#batches.sampled;
  }

  /**
   * The batch of a step (from 1), before augmentation. It depends only on seed, split, step and --sets.
   *
   * @param source source of the cases; default: the store
   */
  batch(split: Fold, step: number, source: CaseSource = this.store): Promise<Patches> {
    return this.#batches.training(source, split, step);
  }

  /** The random key of a step's augmentation, or of that of a micro-batch, from 0. */
  key(step: number, micro?: number): Tensor {
    return this.#batches.key(step, micro);
  }

  /** Augments a batch and crops it to the plan's patch. For use in a compiled step. */
  augmented(key: Tensor, patches: Patches): Patches {
    return this.#batches.augmented(key, patches);
  }

  /**
   * For `train`: loss and pseudo-Dice on patches of the held-out cases, the same patches each time.
   *
   * @param evaluate returns `stepMetrics` of a batch
   * @param source source of the cases; default: the store
   * @returns undefined if nothing is held out
   */
  validation(
    split: Fold,
    evaluate: (patches: Patches) => Promise<Tensor>,
    source: CaseSource = this.store,
  ): (() => Promise<{ loss: number; dice: number[] }>) | undefined {
    const { validation: count } = this.options;
    const classes = this.classes.length;
    if (split.val.length === 0 || count === 0) return undefined;
    return async () => {
      let sum = new Float64Array(1 + 2 * classes);
      for (let k = 0; k < count; k++) {
        using metrics = await evaluate(await this.#batches.validation(source, split, k));
        const values = await metrics.data();
        sum = sum.map((value, at) => value + values[at]);
      }
      const dice = Array.from({ length: classes }, (_, c) => (2 * sum[1 + c]) / sum[1 + classes + c]);
      return { loss: sum[0] / count, dice };
    };
  }

  /**
   * Starts the run's folder: removes the files of an earlier run, unless resuming, and writes plan.json, splits.json
   * and config.json: the options, for resuming, derived values, and the digests of all inputs of the run.
   *
   * @param more further entries of config.json; `options` replaces those of the run
   * @throws VoxgradError if the inputs of a resumed run have changed
   */
  async describe(more: { readonly options?: object; readonly [key: string]: unknown }): Promise<void> {
    const { options, steps, classes, plan, splits, run, store } = this;
    const known = run.resumed ? await run.readJson(CONFIG) : undefined;
    const used = more.options ?? options;
    const made = await identityOf({ options: used, plan, splits, contents: store.contents });
    if (run.resumed) checkIdentity(known, made, run.path);
    else await run.clear();
    for (const fold of this.folds) fold.run.identity = await foldIdentity(made, fold.split);
    await run.write("plan.json", `${planText(plan)}\n`);
    await run.writeJson("splits.json", splits);
    const { cases: _, testCases: __, ...dataset } = this.dataset;
    await run.writeJson(CONFIG, {
      voxgrad: VERSION,
      ...(scriptName() !== undefined && { script: scriptName() }),
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
   * Segments and evaluates the held-out cases of a fold: predictions/, summary.json, metrics.csv, overlay.svg; for a
   * dataset group also references/, its labels in the values of the group. Labels that are not annotated in a case are
   * not evaluated.
   *
   * @param segment labels an image; also receives the case's id
   */
  async test(fold: FoldSetup, segment: (image: Volume, id: string) => Promise<Volume>): Promise<void> {
    const { plan, dataset } = this;
    // Earlier metrics belong to other weights.
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
      this.#rule?.add(prediction, label!, labelsPresent);
      const measured = compareLabels(prediction, label!, { classes, ignore: plan.ignoreLabel, labelsPresent });
      // The label file of a group's case uses other values than the prediction.
      const reference = item.labelMap
        ? await fold.run.write(`references/${id}.nii.gz`, writeNifti(label!, { dtype: "uint8", gzip: true }))
        : item.label!;
      cases.push({ id, prediction: file, reference, classes: measured });
      if (shown.length < SHOWN) shown.push({ name: id, image, reference: label!.data, prediction: prediction.data });
    };
    for (const id of counted(fold.split.val, "case")) {
      this.run.signal?.throwIfAborted();
      await this.#faults.try(id, () => one(id));
    }
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

  /**
   * Finishes the run: writes the metrics over all folds, the largest-component rule and the report, and lists the
   * files.
   */
  async finish(): Promise<Comparison> {
    const comparison = new Comparison(this.#cases);
    if (this.folds.length > 1) await writeComparison(this.run, comparison);
    if (this.#rule && this.#cases.length > 0) await this.run.writeJson("postprocessing.json", this.#rule.decide());
    const sets = setTable(comparison, this.dataset);
    if (sets) await writeTable(this.run, sets);
    await writeReport(this.run);
    if (sets) print(`\n${sets.title}\n${formatTable(sets.headings, sets.rows as (string | number)[][])}`);
    if (this.#cases.length > 0) {
      const { headings, rows } = comparison.tableRows();
      print(`\nDice on ${this.#cases.length} held-out cases, distances in mm\n${formatTable(headings, rows)}`);
    }
    print(`\nWritten:\n${this.run.listing()}`);
    if (this.#faults.count > 0) print(`\nNot segmented, and in no mean:\n${this.#faults.text()}`);
    this.#faults.end(
      this.dataset.folder,
      this.folds.reduce((sum, fold) => sum + fold.split.val.length, 0),
      "held-out cases were segmented",
    );
    return comparison;
  }
}
