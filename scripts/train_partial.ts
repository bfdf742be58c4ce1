// deno-lint-ignore-file no-explicit-any
// Trains one 3-D U-Net from cases in which not all labels are annotated, such as several datasets with an organ each:
// marginal and exclusion losses (Shi et al. 2021) and what they are compared with. --data is a dataset group (README) or a
// folder whose dataset.json has labels_present. --help lists what can be set.
import { compile, random, type Tensor, tensor, valueAndGrad } from "../engine/mod.ts";
import { type Comparison, writeOrganPhantomDataset } from "../engine/imaging/mod.ts";
import * as nn from "../engine/nn/mod.ts";
import * as train from "../engine/train/mod.ts";
import { architectureOf, classShares, networkFromPlan, partial, stageRate, stagesOf } from "../models/mod.ts";

/** The config block. */
export const partialEntries = {
  ...train.trainingEntries,
  // As the official code, which takes batches of one dataset after the other.
  sets: train.choice(
    ["turn", "equal", "proportional"],
    "how patches are drawn from the sets of a dataset group: a set a step in turn, each set as likely, or each case as likely",
  ),
  trainSets: train.entry("", "sets of the dataset group to train on, with commas between; all without it"),
  loss: train.choice(
    ["exclusion", "marginal", "naive", "full", "pseudo", "prior"],
    "exclusion: marginal and exclusion losses; naive: what is not annotated is background; full: only fully labeled cases; " +
      "pseudo: the network completes the labels; prior: that, and the organs' sizes (PaNN)",
  ),
  terms: train.choice(["both", "ce", "dice"], "of the loss, marginal or ordinary: cross-entropy, Dice, or their sum"),
  exclusionTerms: train.choice(["both", "ce", "dice"], "of the exclusion loss; the official code has dice alone"),
  mode: train.choice(
    ["probability", "logit"],
    "what is summed where labels merge: probabilities (paper) or logits (official code)",
  ),
  marginalWeight: train.entry(
    1,
    "weight of the marginal losses, which are of partly labeled cases; fully labeled ones keep theirs",
    { min: 0 },
  ),
  exclusionWeight: train.entry(2, "weight of the exclusion losses, of partly labeled cases too", { min: 0 }),
  priorWeight: train.entry(0.1, "weight of the prior-aware loss", { min: 0 }),
  warmup: train.entry(
    -1,
    "fraction of the steps on fully labeled cases first; -1: 0.3 where there are such, and others",
    {
      min: -1,
      max: 1,
    },
  ),
  ...train.optimizerEntries,
  schedule: train.choice(
    ["poly", "plateau", "constant"],
    "how the learning rate falls; plateau: by a fifth when the loss falls by less than 1e-3 in 10 epochs (paper)",
  ),
  precision: train.choice(
    ["f32", "mixed"],
    "mixed: f16 products and activations, f32 sums and weights; needs shader-f16",
  ),
} as const;

export type PartialOptions = train.Config<typeof partialEntries>;

export const PARTIAL_PHANTOMS = {
  shape: [32, 32, 32],
  spacing: [9, 9, 9],
  patch: [32, 32, 32],
  features: [8, 16, 32],
  // A quarter has all organs annotated, as F of the paper; the others one or two each.
  write: (folder: string, options: { seed: number; cases: number }) =>
    writeOrganPhantomDataset(folder, { ...options, partial: true }),
} as const;

interface State {
  readonly params: any;
  readonly optimizer: any;
}

/** The network and the compiled steps of a training; nothing runs yet. */
export function partialMethod(options: PartialOptions, training: train.TrainingRun) {
  const { plan } = training;
  const classes = plan.labels.length;
  const { optimizer, rate } = train.openOptimizer(options);
  const model = networkFromPlan(plan, { deepSupervision: true });
  const architecture = architectureOf(plan, { deepSupervision: true });
  const stages = plan.network.features.length;
  const ignored = plan.ignoreLabel === undefined ? {} : { ignoreIndex: plan.ignoreLabel };
  const on = (term: "ce" | "dice", chosen: string): number => Number(chosen === "both" || chosen === term);
  const { terms, exclusionTerms, marginalWeight, mode } = options;
  const [ce, dice] = [on("ce", terms), on("dice", terms)];
  const ordinary = (output: Tensor, target: Tensor): Tensor =>
    nn.diceCrossEntropy(output, target, { batch: true, ...ignored, crossEntropyWeight: ce, diceWeight: dice });

  /** The loss of an arm, of all outputs; `prior` is for that arm alone. */
  const lossOf = (outputs: Tensor[], { sets, label }: train.Patches, prior: Tensor): Tensor => {
    const weights = nn.deepSupervisionWeights(outputs.length, { coarsest: stages < 4 });
    const supervise = (loss: (output: Tensor, target: Tensor) => Tensor, target: Tensor): Tensor =>
      nn.deepSupervision(loss, outputs, target, { weights });
    const groups = sets ? partial.setMatrix(sets) : partial.mergedGroups(undefined, classes);
    if (options.loss === "naive" || options.loss === "full") return supervise(ordinary, label);
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
      return supervise((output, target) => partial.loss(output, target, own), label);
    }
    // The finest output completes the labels for all.
    const loss = supervise(ordinary, partial.pseudoLabels(outputs[0], label, { groups }));
    if (options.loss === "pseudo") return loss;
    // As much as the batch is partly labeled: what is annotated says more of a scan than sizes of others do.
    const share = partial.partlyLabeledShare(groups, label.shape[0], classes);
    return loss.add(partial.priorAware(outputs[0], { prior }).mul(share).mul(options.priorWeight));
  };
  const lossAndLogits = (params: any, patches: train.Patches, prior: Tensor): [Tensor, Tensor] => {
    // A network without deep supervision gives one output.
    const outputs: Tensor[] = [model.apply(params, patches.image, { train: true })].flat();
    return [lossOf(outputs, patches, prior), outputs[0]];
  };
  const metricsOf = (value: Tensor, logits: Tensor, { label, sets }: train.Patches): Tensor =>
    train.stepMetrics(value, logits, label, sets ? { sets } : {});

  return {
    model,
    rate,
    architecture,
    init: (): State => {
      const params = model.init(random.key(options.seed));
      return { params, optimizer: optimizer.init(params) };
    },
    trainStep: compile(
      (state: State, sampled: train.Patches, prior: Tensor, key: Tensor, rate: Tensor) => {
        const patches = training.augmented(key, sampled);
        const loss = (params: any, patch: train.Patches) => lossAndLogits(params, patch, prior);
        const [[value, logits], grads] = valueAndGrad(loss, { hasAux: true })(state.params, patches);
        const [clipped] = nn.clipGradNorm(grads, options.clip);
        const [params, next] = optimizer.update(clipped, state.optimizer, state.params, rate);
        return [{ params, optimizer: next }, metricsOf(value, logits, patches)] as const;
      },
      { donate: [0], precision: options.precision },
    ),
    evalStep: compile((params: any, patches: train.Patches, prior: Tensor) =>
      metricsOf(...lossAndLogits(params, patches, prior), patches)
    ),
  };
}

/**
 * Trains on each fold that is asked for, segments its held-out cases, and writes the run's folder.
 *
 * @returns measures of the held-out cases, of the classes that are annotated in each
 * @throws ConfigError for options that do not fit the data, and as openTraining
 */
export async function trainPartial(options: PartialOptions): Promise<Comparison> {
  checkOptions(options);
  const training = await train.openTraining(options, PARTIAL_PHANTOMS);
  checkData(options, training);
  const { plan, steps, folds } = training;
  const { model, rate, architecture, init, trainStep, evalStep } = partialMethod(options, training);
  // Faults of any fold are reported before the first is trained.
  const stages = new Map(folds.map((fold) => [fold.name, stagesOf(options, training, fold)]));
  train.print(
    `Model: ${plan.network.name} ${plan.network.features.join("-")}; batch ${plan.batch} x ${
      plan.patch.join(" x ")
    }; ` +
      `loss ${options.loss}${options.terms === "both" ? "" : ` (${options.terms})`}`,
  );
  const about = {
    title: `${training.dataset.name}, ${options.loss}`,
    model: { network: plan.network.name, architecture, plan },
    config: { rate, architecture },
  };
  return train.runFolds<State>(training, about, async ({ name }) => {
    const { first, until, second, full } = stages.get(name)!;
    const uses = `${second.train.length} cases, ${full.length} of them fully labeled`;
    train.print(`Training on ${uses}${until > 0 ? `; the first ${until} steps on those alone` : ""}`);
    const shares = options.loss === "prior" ? await classShares(options, training, full) : [];
    const prior = tensor(Float32Array.from(plan.labels, (_, k) => shares[k] ?? 0));
    return {
      state: init(),
      training: {
        rate: stageRate(options.schedule, { rate, steps, until }),
        batch: (k) => training.batch(k <= until ? first : second, k),
        step: (state, patches, learningRate, k) => trainStep(state, patches, prior, training.key(k), learningRate),
        program: () => trainStep,
        evaluate: ({ params }, patches) => evalStep(params, patches, prior),
        lossScale: trainStep,
      },
      segment: ({ params }) => train.segmenter(model, params, { plan }),
    };
  });
}

/** Refuses what would have no effect, before the data is opened. */
function checkOptions(options: PartialOptions): void {
  const { loss, exclusionWeight } = options;
  const unless = (...losses: readonly string[]) => !losses.includes(loss) && `--loss ${loss} does not use it`;
  train.checkTrainingOptions(options, {
    ...train.unused(unless("marginal", "exclusion"), "mode", "marginalWeight"),
    exclusionWeight: unless("exclusion"),
    exclusionTerms: unless("exclusion") || (exclusionWeight === 0 && "--exclusionWeight is 0"),
    priorWeight: unless("prior"),
    warmup: loss === "full" && "--loss full is on fully labeled cases all the time",
  });
}

/** Refuses data that these losses are not for, and options without effect on it. */
function checkData(options: PartialOptions, { plan, dataset }: train.TrainingRun): void {
  if (plan.regions) {
    throw new train.ConfigError(
      `${dataset.folder}: partial labels are for plain labels, without regions; use train_unet`,
    );
  }
  train.checkSetsOption(options, dataset);
  if (options.loss === "naive") train.tellBackground(dataset);
  const whole = !dataset.cases.some((item) => item.labelsPresent) &&
    `all cases of ${dataset.folder} are fully labeled`;
  train.refuseUnused(
    options,
    train.unused(whole, "mode", "marginalWeight", "exclusionWeight", "exclusionTerms", "priorWeight", "warmup"),
  );
  const { loss, exclusionWeight, marginalWeight } = options;
  const weights = marginalWeight + (loss === "exclusion" ? exclusionWeight : 0);
  if ((loss === "marginal" || loss === "exclusion") && weights === 0) {
    throw new train.ConfigError(
      "--marginalWeight is 0, and nothing else is to be lowered on partly labeled cases; give it or " +
        "--exclusionWeight, or leave them out by --loss full",
    );
  }
}

await train.runScript(
  import.meta.url,
  () => train.resumableConfig(partialEntries, { change: train.trainingChanges }),
  trainPartial,
);
