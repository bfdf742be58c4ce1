// Trains ConResNet (Zhang et al. 2021), whose second decoder learns where neighboring slices of the segmentation
// differ, or what it is compared with: --arm baseline has no such decoder, --arm mapping no attention from it. Without
// --data on phantoms of a tumor with three nested parts. --help lists what can be set.
import { compile, random, type Tensor, tensor, tree, valueAndGrad } from "../engine/mod.ts";
import { type Comparison, writeNestedPhantomDataset } from "../engine/imaging/mod.ts";
import * as nn from "../engine/nn/mod.ts";
import * as train from "../engine/train/mod.ts";
import { conres, conresFigures, type ConResNetParams, withDistances } from "../models/mod.ts";
import { conResNetMetrics } from "../models/conresnet/measures.ts";
import { checkConResNetData, checkConResNetOptions, networkEntries } from "../models/conresnet/options.ts";
import { planConResNet, residualEntries, scalesEntry } from "../models/conresnet/options.ts";

/** The config block. */
export const conResNetEntries = {
  ...train.trainingEntries,
  features: scalesEntry("channels at each scale; default: 32,64,128,256, a quarter on a CPU"),
  augment: train.choice(
    ["auto", "nnunet", "scale", "mirror", "none"],
    "auto: mirror on phantoms, on --data scale (paper): sizes by up to a tenth, and mirror",
  ),
  arm: train.choice(["full", "mapping", "baseline"], "with mapping and attention, without attention, without both"),
  activation: train.choice(["auto", "sigmoid", "softmax"], "auto: sigmoid where there are regions, softmax elsewhere"),
  axis: train.choice(["axial", "sagittal", "coronal"], "slices of the oriented scan that are compared"),
  ...residualEntries,
  ...networkEntries,
  rate: train.entry(0, "learning rate of Adam at the start; 0: 1e-4 on --data (paper), 1e-3 on phantoms", { min: 0 }),
  weightDecay: train.entry(5e-4, "L2 penalty", { min: 0 }),
  recompute: train.entry(false, "compute parts twice: 41 % less memory, 13 % more multiply-adds at published widths"),
} as const;

export type ConResNetOptions = train.Config<typeof conResNetEntries>;

/** Cases in the figures of a fold. */
const SHOWN = 3;

/** The features are those of the plan's U-Net, which is not used. */
const PHANTOMS = {
  shape: [48, 48, 16],
  spacing: [1, 1, 3],
  patch: [16, 48, 48],
  features: [8, 16],
  write: writeNestedPhantomDataset,
} as const;

interface State {
  readonly params: ConResNetParams;
  readonly optimizer: nn.OptimizerState;
}

/** The network and the steps of a training; nothing runs yet. */
export async function conResNetMethod(options: ConResNetOptions, training: train.TrainingRun) {
  const planned = await planConResNet(options, training);
  const { model, lossOptions } = planned;
  const optimizer = nn.adam({ weightDecay: options.weightDecay });
  const metricsOf = conResNetMetrics(planned.regions, training.regions);

  /** A step; the boundary loss has the part 1 - share of the loss. */
  const step = (state: State, sampled: train.Patches, key: Tensor, rate: Tensor | number, share: Tensor) => {
    const [moves, drops] = random.split(key);
    const patches = training.augmented(moves, sampled);
    const lossOf = (params: ConResNetParams, { image, label, extra }: train.Patches): [Tensor, Tensor] => {
      const outputs = model.apply(params, image, { train: true, key: drops, checkpoint: options.recompute });
      const own = conres.loss(outputs, label, lossOptions);
      if (!extra) return [own, outputs[0]];
      const boundary = conres.boundaryLoss(outputs[0], extra, { multiClass: !planned.regions });
      return [own.mul(share).add(boundary.mul(share.mul(-1).add(1))), outputs[0]];
    };
    const [[value, logits], grads] = valueAndGrad(lossOf, { hasAux: true })(state.params, patches);
    const [params, next] = optimizer.update(grads, state.optimizer, state.params, rate);
    return [{ params, optimizer: next }, metricsOf(value, logits, patches.label)] as const;
  };
  return {
    ...planned,
    rate: options.rate || (options.data === "" ? 1e-3 : 1e-4),
    init: (): State => {
      const params = model.init(random.key(options.seed));
      return { params, optimizer: optimizer.init(params) };
    },
    step,
    trainStep: compile(step, { donate: [0] }),
    /** Without the boundary loss, whose share changes. */
    evalStep: compile((params: ConResNetParams, { image, label }: Pick<train.Patches, "image" | "label">) => {
      const outputs = model.apply(params, image);
      return metricsOf(conres.loss(outputs, label, lossOptions), outputs[0], label);
    }),
  };
}

/** Opens the run of a training; ConResNet's features are not those of the plan. */
export function openConResNetRun(options: ConResNetOptions): Promise<train.TrainingRun> {
  const augment = options.augment === "auto" && options.data !== "" ? "scale" : options.augment;
  return train.openTraining({ ...options, augment, features: [] }, PHANTOMS);
}

/**
 * Trains on each fold that is asked for, writes the run's folder, and gives the measures of the held-out cases: of the
 * dataset's regions where it has some, whatever the network's outputs.
 */
export async function trainConResNet(options: ConResNetOptions): Promise<Comparison> {
  checkConResNetOptions(options);
  const training = await openConResNetRun(options);
  checkConResNetData(options, training);
  const { dataset, store, steps } = training;
  const { plan, model, axis, rate, parts, init, trainStep, evalStep } = await conResNetMethod(options, training);
  const parameters = tree.leaves(init().params).reduce((sum: number, p: Tensor) => sum + p.size, 0);
  const size = `batch ${plan.batch} x ${plan.patch.join(" x ")}`;
  train.print(
    `Model: conResNet ${model.config.features.join("-")} (${options.arm}), ${parameters} parameters; ${size}`,
  );
  const source = options.boundary ? withDistances(store, parts, { memory: options.memory * 1e9 }) : store;
  const poly = nn.polySchedule(rate, { steps });
  const share = conres.boundarySchedule({ steps });
  const about = {
    title: `${dataset.name}, ${options.arm}`,
    model: { network: "conResNet", architecture: model.config, plan },
    config: { options, rate, network: "conResNet", architecture: model.config, parameters },
  };
  return train.runFolds<State>(training, about, ({ split, run }) => ({
    state: init(),
    training: {
      source,
      rate: (k) => poly(k - 1),
      step: (state, patches, learningRate, k) =>
        trainStep(state, patches, training.key(k), learningRate, tensor(share(k - 1))),
      program: () => trainStep,
      evaluate: ({ params }, { image, label }) => evalStep(params, { image, label }),
    },
    segment: ({ params }) => train.segmenter(model, params, { plan }),
    figures: async ({ params }) => {
      const shown = (split.val.length > 0 ? split.val : split.train).slice(0, SHOWN);
      const cases = await Promise.all(shown.map((id) => store.get(id)));
      for (const figure of await conresFigures({ model, params }, { plan, axis, regions: parts, cases })) {
        await train.writeFigure(run, figure);
      }
    },
  }));
}

await train.runTraining(import.meta.url, conResNetEntries, trainConResNet);
