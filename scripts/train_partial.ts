// Trains one 3-D U-Net from cases in which not all labels are annotated, such as several datasets with an organ each:
// marginal and exclusion losses (Shi et al. 2021) and what they are compared with. --data is a dataset group (README)
// or a folder whose dataset.json has labels_present. --help lists what can be set.
import { compile, type Params, random, type Tensor, tensor, valueAndGrad } from "../engine/mod.ts";
import { type Comparison, writeOrganPhantomDataset } from "../engine/imaging/mod.ts";
import * as nn from "../engine/nn/mod.ts";
import * as train from "../engine/train/mod.ts";
import { architectureOf, armLoss, networkFromPlan } from "../models/mod.ts";
import { checkPartialData, checkPartialOptions, termEntries } from "../models/partial/options.ts";
import { classShares, stageRate, stagesOf } from "../models/partial/stages.ts";

/** The config block. */
export const partialEntries = {
  ...train.trainingEntries,
  // The official code takes batches of one dataset after the other.
  sets: train.choice(["turn", "equal", "proportional"], "draw from sets in turn, each equally, or each case equally"),
  trainSets: train.entry("", "sets of the dataset group to train on, comma-separated; default: all"),
  loss: train.choice(
    ["exclusion", "marginal", "naive", "full", "pseudo", "prior"],
    "exclusion: marginal and exclusion losses; naive: what is not annotated is background; full: only fully " +
      "labeled cases; pseudo: the network completes the labels; prior: that, and the organs' sizes (PaNN)",
  ),
  ...termEntries,
  warmup: train.entry(
    -1,
    "fraction of the steps on fully labeled cases first; -1: 0.3 where there are such, and others",
    { min: -1, max: 1 },
  ),
  ...train.optimizerEntries,
  schedule: train.choice(
    ["poly", "plateau", "constant"],
    "how the learning rate falls; plateau: by a fifth when the loss falls by less than 1e-3 in 10 epochs (paper)",
  ),
  precision: train.choice(["f32", "mixed"], "mixed: f16 products and activations; needs shader-f16"),
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
  readonly params: Params;
  readonly optimizer: nn.OptimizerState;
}

/** The network and the compiled steps of a training; nothing runs yet. */
export function partialMethod(options: PartialOptions, training: train.TrainingRun) {
  const { plan } = training;
  const { optimizer, rate } = train.openOptimizer(options);
  const model = networkFromPlan(plan, { deepSupervision: true });
  const lossOf = armLoss(options, plan);

  /** Loss and logits; `prior`, the share of each class, is for the arm of that name alone. */
  const lossAndLogits = (params: Params, patches: train.Patches, prior: Tensor): [Tensor, Tensor] => {
    // A network without deep supervision gives one output.
    const outputs = [model.apply(params, patches.image, { train: true })].flat();
    return [lossOf(outputs, patches, prior), outputs[0]];
  };
  const metricsOf = (value: Tensor, logits: Tensor, { label, sets }: train.Patches): Tensor =>
    train.stepMetrics(value, logits, label, sets ? { sets } : {});

  return {
    model,
    rate,
    init: (): State => {
      const params = model.init(random.key(options.seed));
      return { params, optimizer: optimizer.init(params) };
    },
    trainStep: compile(
      (state: State, sampled: train.Patches, prior: Tensor, key: Tensor, rate: Tensor) => {
        const patches = training.augmented(key, sampled);
        const loss = (params: Params, patch: train.Patches) => lossAndLogits(params, patch, prior);
        const [[value, logits], grads] = valueAndGrad(loss, { hasAux: true })(state.params, patches);
        const [clipped] = nn.clipGradNorm(grads, options.clip);
        const [params, next] = optimizer.update(clipped, state.optimizer, state.params, rate);
        return [{ params, optimizer: next }, metricsOf(value, logits, patches)] as const;
      },
      { donate: [0], precision: options.precision },
    ),
    evalStep: compile((params: Params, patches: train.Patches, prior: Tensor) =>
      metricsOf(...lossAndLogits(params, patches, prior), patches)
    ),
  };
}

/** Trains on each fold that is asked for, writes the run's folder, and gives the measures of the held-out cases. */
export async function trainPartial(options: PartialOptions): Promise<Comparison> {
  checkPartialOptions(options);
  const training = await train.openTraining(options, PARTIAL_PHANTOMS);
  checkPartialData(options, training);
  const { plan, steps, folds } = training;
  const { model, rate, init, trainStep, evalStep } = partialMethod(options, training);
  // Faults of any fold are reported before the first is trained.
  const stages = new Map(folds.map((fold) => [fold.name, stagesOf(options, training, fold)]));
  const loss = `loss ${options.loss}${options.terms === "both" ? "" : ` (${options.terms})`}`;
  const size = `batch ${plan.batch} x ${plan.patch.join(" x ")}`;
  train.print(`Model: ${plan.network.name} ${plan.network.features.join("-")}; ${size}; ${loss}`);
  const architecture = architectureOf(plan, { deepSupervision: true });
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

await train.runTraining(import.meta.url, partialEntries, trainPartial);
