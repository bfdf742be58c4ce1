/** What a training on partly labeled cases trains on, and when. */
import { casesOf, type Fold, Prng, sampleBatch } from "../../engine/imaging/mod.ts";
import { plateauRate, polySchedule } from "../../engine/nn/mod.ts";
import { ConfigError, type EpochRecord, type FoldSetup, splitList, type TrainingRun } from "../../engine/train/mod.ts";

/** The paper trains 60 epochs of 200 on fully labeled cases. */
const WARMUP = 0.3;
/** Patches from which the prior-aware loss takes the classes' shares. */
const PRIOR_PATCHES = 64;

/** What a fold trains on: `first` up to step `until`, then `second`; `full` are the fully labeled cases. */
export interface Stages {
  readonly first: Fold;
  readonly until: number;
  readonly second: Fold;
  readonly full: readonly string[];
}

/**
 * The stages of a fold's training.
 *
 * @param options loss of the arm; trainSets: names of sets with commas between, all without it; warmup: fraction of the
 *   steps on fully labeled cases first, -1: 0.3 where there are such, and others
 * @throws ConfigError for sets that do not exist, or that lack what the loss needs
 */
export function stagesOf(
  options: { loss: string; trainSets: string; warmup: number },
  training: TrainingRun,
  { name, split }: FoldSetup,
): Stages {
  const { dataset, steps } = training;
  const items = new Map(dataset.cases.map((item) => [item.id, item]));
  const known = dataset.sets?.map((set) => set.name) ?? [];
  const chosen = options.trainSets === "" ? undefined : splitList(options.trainSets);
  const unknown = chosen?.find((each) => !known.includes(each));
  if (unknown !== undefined) {
    const there = known.length > 0
      ? `sets of ${dataset.folder} are ${known.join(", ")}`
      : `${dataset.folder} is no dataset group`;
    throw new ConfigError(`--trainSets: there is no set "${unknown}"; ${there}`);
  }
  const asked = split.train.filter((id) => chosen?.includes(items.get(id)!.set!) ?? true);
  const full = asked.filter((id) => !items.get(id)!.labelsPresent);
  const cases = options.loss === "full" ? full : asked;
  const { loss } = options;
  if (full.length === 0 && (loss === "full" || loss === "prior" || options.warmup > 0)) {
    const word = loss === "full" || loss === "prior" ? `--loss ${loss}` : "--warmup";
    throw new ConfigError(
      `${word} wants fully labeled cases, and ${name} trains on none; name other sets or another loss`,
    );
  }
  const absent = dataset.labels.filter(
    ({ value }) => value > 0 && !cases.some((id) => items.get(id)!.labelsPresent?.includes(value) ?? true),
  );
  if (absent.length > 0) {
    const names = absent.map((label) => label.name).join(", ");
    throw new ConfigError(
      `${name}: no case that it trains on has ${names} annotated; name more --trainSets, or write a ` +
        "dataset group whose labels are those of these sets",
    );
  }
  const wanted = options.warmup >= 0 ? options.warmup : full.length > 0 && full.length < cases.length ? WARMUP : 0;
  return {
    first: { ...split, train: full },
    until: Math.round(wanted * steps),
    second: { ...split, train: cases },
    full,
  };
}

/** The share of each class in patches of fully labeled cases, drawn as the training draws them. */
export async function classShares(
  options: { seed: number; foreground: number },
  training: TrainingRun,
  full: readonly string[],
): Promise<number[]> {
  const { patch, labels } = training.plan;
  const { label } = await sampleBatch(new Prng(options.seed).fork("prior"), casesOf(training.store, full), {
    batch: PRIOR_PATCHES,
    patch,
    foreground: options.foreground,
  });
  const counts = Array<number>(labels.length).fill(0);
  for (const value of label) if (value >= 0 && value < counts.length) counts[value]++;
  const all = counts.reduce((a, b) => a + b);
  return counts.map((count) => count / all);
}

/**
 * Learning rate of a step. The plateau is looked for in the epochs of each stage by themselves: with other cases comes
 * another loss.
 */
export function stageRate(
  schedule: "poly" | "plateau" | "constant",
  { rate, steps, until }: { rate: number; steps: number; until: number },
): (step: number, epochs: readonly EpochRecord[]) => number {
  const poly = polySchedule(rate, { steps });
  const reduce = (from: number, epochs: readonly EpochRecord[]): number =>
    plateauRate(from, epochs.map(({ loss }) => loss), { factor: 0.8, patience: 9, threshold: 1e-3 });
  return (step, epochs) => {
    if (schedule === "constant") return rate;
    if (schedule === "poly") return poly(step - 1);
    const first = epochs.filter((epoch) => epoch.step <= until);
    return reduce(reduce(rate, first), epochs.slice(first.length));
  };
}
