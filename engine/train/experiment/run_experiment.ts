/** Runs an experiment: seeds, arms, results as they arrive, and the report. */
import { trimSlashes } from "../../core/paths.ts";
import type { Comparison } from "../../imaging/metrics/evaluate.ts";
import { openDataset } from "../../imaging/dataset/dataset.ts";
import type { Dataset } from "../../imaging/dataset/types.ts";
import type { Fold } from "../../imaging/dataset/split.ts";
import type { Plan } from "../../imaging/plan/plan.ts";
import { planText } from "../../imaging/plan/plan_file.ts";
import { fingerprintDataset } from "../../imaging/planner/fingerprint.ts";
import { makePlan, type PlanOptions } from "../../imaging/planner/plan_rules.ts";
import { type Entries, entry } from "../run/config.ts";
import { duration, print } from "../run/logging.ts";
import { RunFolder } from "../run/run_folder.ts";
import { readFigures } from "../plot/figures.ts";
import {
  type Experiment,
  type ExperimentCases,
  type ExperimentOptions,
  openExperiment,
  plainCases,
} from "./experiment.ts";
import type { Arm, MeasuredCase } from "./experiment_summary.ts";

/** An arm of an experiment, with its training options. */
export interface Trial<O extends object> extends Arm {
  readonly options?: Partial<O>;
}

/**
 * An arm of an experiment.
 *
 * @param options the training options that it changes
 * @example
 * ```ts
 * import { trial } from "voxgrad/train";
 *
 * const baseline = trial<{ arm: string }>("baseline", "Baseline", "One decoder, no residuals.", { arm: "baseline" });
 * ```
 */
export const trial = <O extends object>(
  name: string,
  title: string,
  about: string,
  options: Partial<O> = {},
): Trial<O> => ({ name, title, about, options });

/** The next run: an arm with a seed. */
export interface TrialRun<T extends Arm, S> {
  readonly trial: T;
  readonly seed: number;
  /** The folder of the seed; a training of the arm goes into a folder named after it. */
  readonly folder: string;
  /** What `prepare` returned for the seed; with `rates` its `rate` is that of the arm. */
  readonly shared: S;
  /** Adds values to the report beside the measures, such as the size of a network. */
  readonly note: (values: Readonly<Record<string, number | string>>) => void;
}

/** Options of an experiment's command line. */
export interface ExperimentCommand {
  readonly seeds: number;
  readonly firstSeed: number;
  readonly rates: readonly number[];
  readonly reference: string;
}

/** Their config entries. */
export const experimentEntries: Entries<ExperimentCommand> = {
  seeds: entry(3, "repetitions, each with patients and weights of its own", { integer: true, min: 1 }),
  firstSeed: entry(1, "seed of the first repetition; the others follow", { integer: true, min: 1 }),
  rates: entry(
    [],
    "learning rates to try for each arm, on patients of a seed apart; the best by mean Dice is used; none: --rate",
    { min: 0 },
  ),
  reference: entry("", "arm that the others are compared with; a finished experiment, run again, is compared anew"),
};

/** No repetition has this one: they begin at 1. */
const TUNING_SEED = 0;

/** The definition of an experiment. */
export interface ExperimentRun<T extends Arm, S> extends Omit<ExperimentOptions, "arms" | "seeds"> {
  /** Folder of the experiment; resumed if it exists. */
  readonly run: string;
  readonly trials: readonly T[];
  /** Number of repetitions. */
  readonly seeds: number;
  /** Seed of the first; the others follow. Default: 1. */
  readonly firstSeed?: number;
  /**
   * Learning rates to choose from. Each arm that has `options` is first run with each of them on the patients of seed
   * 0, in the folder "tuning", and its measured runs have the one with the best mean Dice. Default: none, and all have
   * that of `shared`.
   */
  readonly rates?: readonly number[];
  /** Writes what all arms of a seed share, such as patients with plan and split, if missing. */
  readonly prepare: (folder: string, seed: number) => Promise<S>;
  /** Trains an arm, or continues, and evaluates its held-out cases, by variant if there are several. */
  readonly measure: (
    run: TrialRun<T, S>,
  ) => Promise<ExperimentCases | Readonly<Record<string, readonly MeasuredCase[]>>>;
  /** Adds figures once all arms are evaluated; `folder` is that of the first seed. */
  readonly figures?: (experiment: Experiment, folder: string) => Promise<void>;
}

/**
 * Runs an experiment: every arm with every seed, each on the patients of its seed. Results are stored as they arrive,
 * so calling it again resumes after a stop; tables and the report are written after each.
 *
 * @example
 * ```ts
 * import { type MeasuredCase, runExperiment, type Trial } from "voxgrad/train";
 *
 * interface Options {
 *   readonly seed: number;
 *   readonly context: "none" | "colab";
 * }
 * declare const writePatients: (folder: string, seed: number) => Promise<void>;
 * declare const trainInto: (folder: string, options: Partial<Options>) => Promise<MeasuredCase[]>;
 * const trials: readonly Trial<Options>[] = [
 *   { name: "plain", title: "Plain", options: { context: "none" } },
 *   { name: "colab", title: "CoLab", options: { context: "colab" } },
 * ];
 * await runExperiment({
 *   run: "runs/contexts",
 *   title: "Contexts",
 *   trials,
 *   seeds: 3,
 *   prepare: async (folder, seed) => {
 *     await writePatients(folder, seed);
 *     return { seed };
 *   },
 *   measure: ({ trial, folder, shared }) => trainInto(`${folder}/${trial.name}`, { ...shared, ...trial.options }),
 * });
 * ```
 */
export async function runExperiment<T extends Arm, S extends object>(options: ExperimentRun<T, S>): Promise<void> {
  const { run: path, trials, prepare, measure, figures, firstSeed = 1, rates: tried = [], ...about } = options;
  const run = new RunFolder(trimSlashes(path));
  const seeds = Array.from({ length: options.seeds }, (_, k) => firstSeed + k);
  const arms = trials.map(({ name, title, about }): Arm => ({ name, title, ...(about !== undefined && { about }) }));
  const settings = { ...about.settings, ...(tried.length > 0 && { rate: `best of ${tried.join(", ")}` }) };
  const experiment = await openExperiment(run, { ...about, arms, seeds, settings });
  const rates = tried.length > 0 ? await tunedRates(options, tried) : new Map<string, number>();
  const started = performance.now();
  for (const seed of seeds) {
    const left = trials.filter(({ name }) => !experiment.done(name, seed));
    if (left.length === 0) continue;
    const folder = `${run.path}/seed_${seed}`;
    const shared = await prepare(folder, seed);
    for (const trial of left) {
      print(`\nSeed ${seed}: ${trial.title}`);
      const from = performance.now();
      const rate = rates.get(trial.name);
      const noted: Record<string, number | string> = { ...(rate !== undefined && { rate }) };
      const measured = await measure({
        trial,
        seed,
        folder,
        shared: rate === undefined ? shared : { ...shared, rate },
        note: (values) => void Object.assign(noted, values),
      });
      const seconds = Math.round((performance.now() - from) / 1000);
      await experiment.add(trial.name, seed, ofSeed(measured, seed), { seconds, ...noted });
      await experiment.finish();
    }
  }
  await figures?.(experiment, `${run.path}/seed_${seeds[0]}`);
  print(`\n${await experiment.finish()}`);
  print(`${duration((performance.now() - started) / 1000)}; written:\n${run.listing()}`);
}

/**
 * The learning rate of each arm with the best mean Dice on patients that are not measured later. What is done is kept
 * in the folder "tuning", an experiment of its own: its arms are those with each rate.
 */
async function tunedRates<T extends Arm, S extends object>(
  { run, trials, prepare, measure, title, settings, measures }: ExperimentRun<T, S>,
  rates: readonly number[],
): Promise<Map<string, number>> {
  const folder = `${trimSlashes(run)}/tuning`;
  // Without options nothing is trained.
  const trained = trials.filter((trial) => "options" in trial);
  const nameOf = (trial: T, rate: number): string => `${trial.name}_${rate}`;
  const arms = trained.flatMap((trial) =>
    rates.map((rate): Arm => ({ name: nameOf(trial, rate), title: `${trial.title}, rate ${rate}` }))
  );
  const tuning = await openExperiment(new RunFolder(folder), {
    title: `${title}: learning rates`,
    arms,
    seeds: [TUNING_SEED],
    measures,
    settings: { ...settings, rate: "tuned" },
  });
  for (const rate of rates) {
    const left = trained.filter((trial) => !tuning.done(nameOf(trial, rate), TUNING_SEED));
    if (left.length === 0) continue;
    const own = `${folder}/rate_${rate}`;
    const shared = { ...await prepare(own, TUNING_SEED), rate };
    for (const trial of left) {
      print(`\nLearning rate ${rate}: ${trial.title}`);
      const measured = await measure({ trial, seed: TUNING_SEED, folder: own, shared, note: () => {} });
      await tuning.add(nameOf(trial, rate), TUNING_SEED, ofSeed(measured, TUNING_SEED));
    }
  }
  await tuning.finish();
  const dice = tuning.means("Dice");
  return new Map(trained.map((trial) => {
    // An arm that finds nothing has no Dice to choose by, and the first rate is as good as the others.
    const score = (rate: number): number => dice.get(nameOf(trial, rate)) || 0;
    const best = rates.reduce((a, b) => (score(b) > score(a) ? b : a));
    print(`Learning rate of ${trial.title}: ${rates.map((rate) => `${rate} ${score(rate).toFixed(4)}`).join(", ")}`);
    return [trial.name, best];
  }));
}

/** Each seed has its own patients, so their ids include it. */
function ofSeed(
  measured: ExperimentCases | Readonly<Record<string, readonly MeasuredCase[]>>,
  seed: number,
): ExperimentCases | Record<string, MeasuredCase[]> {
  const named = (cases: readonly MeasuredCase[]): MeasuredCase[] =>
    cases.map((each) => ({ ...each, id: `seed ${seed}, ${each.id}` }));
  if (Array.isArray(measured)) return named(measured);
  if ("cases" in measured) return named(plainCases("experiment", measured as Comparison));
  const variants = measured as Readonly<Record<string, readonly MeasuredCase[]>>;
  return Object.fromEntries(Object.entries(variants).map(([variant, cases]) => [variant, named(cases)]));
}

/**
 * Adds the figures that each arm drew in its folder.
 *
 * @example
 * ```ts
 * import { addArmFigures, openExperiment, RunFolder } from "voxgrad/train";
 *
 * const arms = [{ name: "plain", title: "U-Net" }, { name: "colab", title: "CoLab" }];
 * const options = { title: "CoLab", arms, seeds: [1], settings: {} };
 * const experiment = await openExperiment(new RunFolder("runs/colab"), options);
 * await addArmFigures(experiment, "runs/colab/seed_1", arms);
 * ```
 */
export async function addArmFigures(experiment: Experiment, folder: string, arms: readonly Arm[]): Promise<void> {
  for (const { name: arm } of arms) {
    for (const { name, title, caption, svg } of await readFigures(`${folder}/${arm}`)) {
      await experiment.figure(`${arm}_${name}.svg`, svg, `${title}. ${caption}`, { arm });
    }
  }
}

/**
 * Writes a plan and one split for a dataset.
 *
 * @param data the dataset, a folder or the file of a group
 * @param options files: prefix of the two files, followed by "plan.json" and "splits.json"; split: of the dataset's
 *   cases; plan: as for makePlan; convs: convolutions of each stage, overriding the plan; from: cases that the plan is
 *   made from, default: all
 * @returns the training options that refer to them
 * @example
 * ```ts
 * import { firstCases, writePlanAndSplit } from "voxgrad/train";
 *
 * const options = { files: "runs/study/", split: firstCases(16), plan: { preset: "small" } } as const;
 * const { plan, splits } = await writePlanAndSplit("data/Task04_Hippocampus", options);
 * ```
 */
export async function writePlanAndSplit(
  data: string,
  options: {
    readonly files: string;
    readonly split: (dataset: Dataset) => Fold;
    readonly plan: PlanOptions;
    readonly convs?: number;
    readonly from?: "all" | "training";
  },
): Promise<{ data: string; plan: string; splits: string }> {
  const { files, convs, from = "all" } = options;
  const dataset = await openDataset(data);
  const split = options.split(dataset);
  const seen = from === "all"
    ? dataset
    : { ...dataset, cases: dataset.cases.filter(({ id }) => split.train.includes(id)) };
  let plan = makePlan(dataset, await fingerprintDataset(seen), options.plan);
  if (convs !== undefined) {
    const each = plan.network.features.map(() => convs);
    const network = { ...plan.network, convsPerStage: each, decoderConvsPerStage: each.slice(1) } as Plan["network"];
    plan = { ...plan, network };
  }
  const [planFile, splitsFile] = [`${files}plan.json`, `${files}splits.json`];
  const cut = files.lastIndexOf("/");
  const folder = new RunFolder(files.slice(0, cut));
  await folder.write(planFile.slice(cut + 1), planText(plan));
  await folder.writeJson(splitsFile.slice(cut + 1), [split]);
  return { data, plan: planFile, splits: splitsFile };
}

/**
 * A split by number: the first cases train, the others are held out.
 *
 * @example
 * ```ts
 * import { openDataset } from "voxgrad/imaging";
 * import { firstCases } from "voxgrad/train";
 *
 * const { train, val } = firstCases(16)(await openDataset("data/Task04_Hippocampus"));
 * ```
 */
export const firstCases = (count: number) => ({ cases }: Pick<Dataset, "cases">): Fold => {
  const ids = cases.map(({ id }) => id);
  return { train: ids.slice(0, count), val: ids.slice(count) };
};
