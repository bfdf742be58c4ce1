/**
 * Training of one network from partially labeled cases: marginal and exclusion losses (Shi et al. 2021) and what they
 * are compared with. What scripts/train_partial.ts runs, for experiments that train several arms.
 */
import { compile, deviceInfo, mean, random, type Tensor, tensor, valueAndGrad } from "../../engine/mod.ts";
import {
  clipGradNorm,
  deepSupervision,
  deepSupervisionWeights,
  diceCrossEntropy,
  plateauRate,
  polySchedule,
} from "../../engine/nn/mod.ts";
import {
  casesOf,
  type Comparison,
  type DatasetCase,
  type Fold,
  Prng,
  sampleBatch,
  writeOrganPhantomDataset,
} from "../../engine/imaging/mod.ts";
import {
  checkSetsOption,
  checkTrainingOptions,
  choice,
  type Config,
  ConfigError,
  duration,
  entry,
  type EpochRecord,
  type FoldSetup,
  openOptimizer,
  openTraining,
  optimizerEntries,
  type Patches,
  print,
  programLine,
  refuseUnused,
  segmenter,
  stepFigures,
  tellBackground,
  train,
  type Training,
  trainingEntries,
  writeModel,
} from "../../engine/train/mod.ts";

import { architectureOf, networkFromPlan } from "../registry.ts";
import * as partial from "./partial.ts";
import { partlyLabeled, setsOf } from "./groups.ts";

/** Entries of the config block, those of every training included. */
export const partialEntries = {
  ...trainingEntries,
  // As the official code, which takes batches of one dataset after the other.
  sets: choice(
    ["turn", "equal", "proportional"],
    "how patches are drawn from the sets of a dataset group: a set a step in turn, each set as likely, or each case as likely",
  ),
  trainSets: entry("", "sets of the dataset group to train on, with commas between; all without it"),
  loss: choice(
    ["exclusion", "marginal", "naive", "full", "pseudo", "prior"],
    "exclusion: marginal and exclusion losses; naive: what is not annotated is background; full: only fully labeled cases; " +
      "pseudo: the network completes the labels; prior: that, and the organs' sizes (PaNN)",
  ),
  terms: choice(["both", "ce", "dice"], "of the loss, marginal or ordinary: cross-entropy, Dice, or their sum"),
  exclusionTerms: choice(["both", "ce", "dice"], "of the exclusion loss; the official code has dice alone"),
  mode: choice(
    ["probability", "logit"],
    "what is summed where labels merge: probabilities (paper) or logits (official code)",
  ),
  marginalWeight: entry(
    1,
    "weight of the marginal losses, which are of partly labeled cases; fully labeled ones keep theirs",
    { min: 0 },
  ),
  exclusionWeight: entry(2, "weight of the exclusion losses, of partly labeled cases too", { min: 0 }),
  priorWeight: entry(0.1, "weight of the prior-aware loss", { min: 0 }),
  warmup: entry(-1, "fraction of the steps on fully labeled cases first; -1: 0.3 where there are such, and others", {
    min: -1,
    max: 1,
  }),
  ...optimizerEntries,
  schedule: choice(
    ["poly", "plateau", "constant"],
    "how the learning rate falls; plateau: by a fifth when the loss falls by less than 1e-3 in 10 epochs (paper)",
  ),
  precision: choice(["f32", "mixed"], "mixed: f16 products and activations, f32 sums and weights; needs shader-f16"),
} as const;

export type PartialOptions = Config<typeof partialEntries>;

const PHANTOMS = {
  shape: [32, 32, 32],
  spacing: [9, 9, 9],
  patch: [32, 32, 32],
  features: [8, 16, 32],
  // A quarter has all organs annotated, as F of the paper; the others one or two each.
  write: (folder: string, options: { seed: number; cases: number }) =>
    writeOrganPhantomDataset(folder, { ...options, partial: true }),
} as const;

/** The paper trains 60 epochs of 200 on fully labeled cases. */
const WARMUP = 0.3;
/** Patches from which the prior-aware loss takes the classes' shares. */
const PRIOR_PATCHES = 64;

/**
 * Trains on each fold that is asked for, segments its held-out cases, and writes the run's folder.
 *
 * @param options by `resumableConfig(partialEntries, { change: trainingChanges })`, or `config(partialEntries, words)`
 * @returns measures of the held-out cases, of the classes that are annotated in each
 * @throws ConfigError for options that do not fit the data, and as openTraining
 * @example await trainPartial(config(partialEntries, ["abdomen.json", "--loss", "marginal", "--steps", "2000"]));
 */
export async function trainPartial(options: PartialOptions): Promise<Comparison> {
  const { training, setup, steps } = await openPartial(options);
  const { plan } = training;
  // Faults of any fold are told before the first is trained.
  const stages = training.folds.map((fold) => stagesOf(setup, fold));
  print(
    `Model: ${plan.network.name} ${plan.network.features.join("-")}; batch ${plan.batch} x ${
      plan.patch.join(" x ")
    }; ` +
      `loss ${options.loss}${options.terms === "both" ? "" : ` (${options.terms})`}`,
  );
  await training.describe({ rate: setup.rate, architecture: setup.architecture, device: await deviceInfo() });
  for (const [k, fold] of training.folds.entries()) {
    if (training.folds.length > 1) print(`\n${fold.name}`);
    await trainFold(setup, steps, { fold, stages: stages[k] });
  }
  return training.finish();
}

/** Data, network and compiled steps of a training; nothing runs yet. */
export async function openPartial(options: PartialOptions) {
  const { loss, exclusionWeight } = options;
  const unless = (...losses: readonly string[]) => !losses.includes(loss) && `--loss ${loss} does not use it`;
  checkTrainingOptions(options, {
    mode: unless("marginal", "exclusion"),
    marginalWeight: unless("marginal", "exclusion"),
    exclusionWeight: unless("exclusion"),
    exclusionTerms: unless("exclusion") || (exclusionWeight === 0 && "--exclusionWeight is 0"),
    priorWeight: unless("prior"),
    warmup: loss === "full" && "--loss full is on fully labeled cases all the time",
  });
  const training = await openTraining(options, PHANTOMS);
  const setup = setUp(options, training);
  return { training, setup, steps: compileSteps(setup) };
}

type Setup = ReturnType<typeof setUp>;

function setUp(options: PartialOptions, training: Training) {
  const { plan, dataset } = training;
  if (plan.regions) {
    throw new ConfigError(`${dataset.folder}: partial labels are for plain labels, without regions; use train_unet`);
  }
  checkSetsOption(options, dataset);
  if (options.loss === "naive") tellBackground(dataset);
  const whole = !dataset.cases.some((item) => item.labelsPresent) &&
    `all cases of ${dataset.folder} are fully labeled`;
  refuseUnused(options, {
    mode: whole,
    marginalWeight: whole,
    exclusionWeight: whole,
    exclusionTerms: whole,
    priorWeight: whole,
    warmup: whole,
  });
  const { exclusionWeight, marginalWeight } = options;
  const weights = options.loss === "exclusion"
    ? marginalWeight + exclusionWeight
    : options.loss === "marginal"
    ? marginalWeight
    : 1;
  if (weights === 0) {
    throw new ConfigError(
      "--marginalWeight is 0, and nothing else is to be lowered on partly labeled cases; give it or " +
        "--exclusionWeight, or leave them out by --loss full",
    );
  }
  return {
    options,
    training,
    items: new Map<string, DatasetCase>(dataset.cases.map((item) => [item.id, item])),
    architecture: architectureOf(plan, { deepSupervision: true }),
    model: networkFromPlan(plan, { deepSupervision: true }),
    ...openOptimizer(options),
  };
}

/** What a fold trains on: `first` up to step `until`, then `second`; `full` are the fully labeled cases. */
interface Stages {
  readonly first: Fold;
  readonly until: number;
  readonly second: Fold;
  readonly full: readonly string[];
}

function stagesOf({ options, training, items }: Setup, { name, split }: FoldSetup): Stages {
  const { dataset, steps } = training;
  const known = dataset.sets?.map((set) => set.name) ?? [];
  const chosen = options.trainSets === "" ? undefined : options.trainSets.split(",").map((each) => each.trim());
  const strange = chosen?.find((each) => !known.includes(each));
  if (strange !== undefined) {
    const there = known.length > 0
      ? `sets of ${dataset.folder} are ${known.join(", ")}`
      : `${dataset.folder} is no dataset group`;
    throw new ConfigError(`--trainSets: there is no set "${strange}"; ${there}`);
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

/** The loss of an arm, of all outputs; `prior` is for that arm alone. */
function lossOf({ options, training: { plan } }: Setup, outputs: Tensor[], patches: Patches, prior: Tensor): Tensor {
  const classes = plan.labels.length;
  const stages = plan.network.features.length;
  const weights = deepSupervisionWeights(stages - 1, { coarsest: stages < 4 });
  const { sets, label } = patches;
  const groups = sets ? partial.setMatrix(sets) : partial.mergedGroups(undefined, classes);
  const ignored = plan.ignoreLabel === undefined ? {} : { ignoreIndex: plan.ignoreLabel };
  const on = (term: "ce" | "dice", chosen: string): number => Number(chosen === "both" || chosen === term);
  const { terms, exclusionTerms, marginalWeight, mode } = options;
  const [ce, dice] = [on("ce", terms), on("dice", terms)];
  const ordinary = (output: Tensor, target: Tensor): Tensor =>
    diceCrossEntropy(output, target, { batch: true, ...ignored, crossEntropyWeight: ce, diceWeight: dice });
  if (options.loss === "naive" || options.loss === "full") {
    return deepSupervision(ordinary, outputs, label, { weights });
  }
  if (options.loss === "marginal" || options.loss === "exclusion") {
    const exclusion = options.loss === "exclusion" ? options.exclusionWeight : 0;
    const own = {
      groups,
      mode,
      ...ignored,
      crossEntropy: ce,
      dice,
      partly: marginalWeight,
      exclusionCrossEntropy: exclusion * on("ce", exclusionTerms),
      exclusionDice: exclusion * on("dice", exclusionTerms),
    };
    return deepSupervision((output, target) => partial.loss(output, target, own), outputs, label, { weights });
  }
  // The finest output completes the labels for all.
  const completed = partial.pseudoLabels(outputs[0], label, { groups });
  const loss = deepSupervision(ordinary, outputs, completed, { weights });
  if (options.loss === "pseudo") return loss;
  // As much as the batch is partly labeled: what is annotated says more of a scan than sizes of others do.
  const share = mean(partlyLabeled(setsOf("trainPartial", groups, label.shape[0], classes)).cast("f32"));
  return loss.add(partial.priorAware(outputs[0], { prior }).mul(share).mul(options.priorWeight));
}

type Steps = ReturnType<typeof compileSteps>;

function compileSteps(setup: Setup) {
  const { options, training, model, optimizer } = setup;
  const both = (p: any, patches: Patches, prior: Tensor): [Tensor, Tensor] => {
    const outputs = model.apply(p, patches.image, { train: true }) as Tensor[];
    return [lossOf(setup, outputs, patches, prior), outputs[0]];
  };
  const figuresOf = (value: Tensor, logits: Tensor, { label, sets }: Patches): Tensor =>
    stepFigures(value, logits, label, sets ? { sets } : {});
  return {
    step: compile((p: any, state: any, sampled: Patches, prior: Tensor, key: Tensor, rate: Tensor) => {
      const patches = training.augmented(key, sampled);
      const loss = (q: any, patch: Patches) => both(q, patch, prior);
      const [[value, logits], grads] = valueAndGrad(loss, { hasAux: true })(p, patches);
      const [clipped] = clipGradNorm(grads, options.clip);
      const [next, nextState] = optimizer.update(clipped, state, p, rate);
      return [next, nextState, figuresOf(value, logits, patches)] as const;
    }, { donate: [0, 1], precision: options.precision }),
    look: compile((p: any, patches: Patches, prior: Tensor) => figuresOf(...both(p, patches, prior), patches)),
  };
}

/**
 * Learning rate of a step. The plateau is looked for in the epochs of each stage by themselves: with other cases comes
 * another loss.
 */
function rateOf({ options, training, rate }: Setup, { until }: Stages) {
  const poly = polySchedule(rate, { steps: training.steps });
  const reduce = (from: number, epochs: readonly EpochRecord[]): number =>
    plateauRate(from, epochs.map(({ loss }) => loss), { factor: 0.8, patience: 9, threshold: 1e-3 });
  return (step: number, epochs: readonly EpochRecord[]): number => {
    if (options.schedule === "constant") return rate;
    if (options.schedule === "poly") return poly(step - 1);
    const first = epochs.filter((epoch) => epoch.step <= until);
    return reduce(reduce(rate, first), epochs.slice(first.length));
  };
}

/** Shares of the classes in patches of fully labeled cases, drawn as the training draws them. */
async function priorOf({ options, training }: Setup, { full }: Stages): Promise<number[]> {
  const { patch, labels } = training.plan;
  const { label } = await sampleBatch(new Prng(options.seed).fork("prior"), casesOf(training.source, full), {
    batch: PRIOR_PATCHES,
    patch,
    foreground: options.foreground,
  });
  const counts = Array<number>(labels.length).fill(0);
  for (const value of label) if (value >= 0 && value < counts.length) counts[value]++;
  const all = counts.reduce((a, b) => a + b);
  return counts.map((count) => count / all);
}

/** Trains on one split into a folder, and segments its held-out cases. */
async function trainFold(
  setup: Setup,
  compiled: Steps,
  { fold, stages }: { fold: FoldSetup; stages: Stages },
): Promise<void> {
  const { options, training, model, optimizer } = setup;
  const { plan, steps } = training;
  const { split, run } = fold;
  const { first, until, second, full } = stages;
  const uses = `${second.train.length} cases, ${full.length} of them fully labeled`;
  print(`Training on ${uses}${until > 0 ? `; the first ${until} steps on those alone` : ""}`);
  const shares = options.loss === "prior" ? await priorOf(setup, stages) : [];
  const prior = tensor(Float32Array.from(plan.labels, (_, k) => shares[k] ?? 0));
  let params = model.init(random.key(options.seed));
  let state = optimizer.init(params);
  const described = { network: plan.network.name, architecture: setup.architecture, plan };
  const started = performance.now();
  let isFirst = true;
  const { seconds } = await train<Patches>({
    run,
    title: `${training.dataset.name}, ${options.loss}`,
    classes: training.classes,
    steps,
    epochSteps: options.epoch,
    checkpointMinutes: options.checkpoint,
    rate: rateOf(setup, stages),
    batch: (k) => training.batch(k <= until ? first : second, k),
    step: async (patches, learningRate, k) => {
      let figures: Tensor;
      [params, state, figures] = await compiled.step(params, state, patches, prior, training.key(k), learningRate);
      if (isFirst) print(programLine(compiled.step.programs()[0], performance.now() - started));
      isFirst = false;
      return figures;
    },
    state: {
      read: () => ({ params, optimizer: state, lossScale: compiled.step.lossScaleState() }),
      write: (copy) => {
        ({ params, optimizer: state } = copy);
        compiled.step.restoreLossScale(copy.lossScale);
      },
    },
    validate: training.validation(split, (patches) => compiled.look(params, patches, prior)),
    best: () => writeModel(run, "model_best.safetensors", params, described),
  });
  print(`Trained ${steps} steps in ${duration(seconds)}`);
  await writeModel(run, "model.safetensors", params, described);
  await training.test(fold, segmenter(model, params, { plan }));
}
