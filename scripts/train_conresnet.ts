// deno-lint-ignore-file no-explicit-any
// Trains ConResNet (Zhang et al. 2021), whose second decoder learns where neighboring slices of the segmentation differ,
// or what it is compared with: --arm baseline has no such decoder, --arm mapping no attention from it. Without --data on
// phantoms of a tumor with three nested parts. --help lists what can be set.
import { compile, random, type Tensor, tensor, tree, valueAndGrad } from "../engine/mod.ts";
import {
  type Comparison,
  type Plan,
  type SampleCase,
  withChannels,
  writeNestedPhantomDataset,
} from "../engine/imaging/mod.ts";
import * as nn from "../engine/nn/mod.ts";
import * as train from "../engine/train/mod.ts";
import { conres, conresFigures, conResNet, conResNetArms, patchAxis } from "../models/mod.ts";

/** The config block. */
export const conResNetEntries = {
  ...train.trainingEntries,
  features: train.entry(
    [],
    "channels at each scale, the finest first; 32,64,128,256 without it, a quarter of that on a CPU",
    {
      integer: true,
      min: 1,
    },
  ),
  augment: train.choice(
    ["auto", "nnunet", "scale", "mirror", "none"],
    "auto: mirror on phantoms, on --data scale (paper): sizes by up to a tenth, and mirror",
  ),
  arm: train.choice(["full", "mapping", "baseline"], "with mapping and attention, without attention, without both"),
  activation: train.choice(
    ["auto", "sigmoid", "softmax"],
    "sigmoid: regions (or labels) one by one; softmax: labels that exclude each other; auto: sigmoid where there are regions",
  ),
  axis: train.choice(["axial", "sagittal", "coronal"], "slices of the oriented scan that are compared"),
  mode: train.choice(["paper", "code"], "residual loss: of probabilities (paper), or what the official code computes"),
  first: train.choice(["zero", "label"], "residual of the first slice: none (paper), or all of it (official code)"),
  lambda: train.entry(0.5, "weight of the residual losses at the coarser scales", { min: 0 }),
  boundary: train.entry(
    false,
    "mix in the boundary loss, its share from 0 to 0.99; cases with their distance maps take as much memory again",
  ),
  blocks: train.entry([], "residual blocks at each scale, and in the dilated stage; 1,2,2,... without it", {
    integer: true,
    min: 1,
  }),
  groups: train.entry(8, "groups of the norms, a divisor of all features", { integer: true, min: 1 }),
  dropout: train.entry(0.1, "probability with which a channel before the decoder is dropped", { min: 0, max: 0.99 }),
  rate: train.entry(0, "learning rate of Adam at the start; 0: 1e-4 on --data (paper), 1e-3 on phantoms", { min: 0 }),
  weightDecay: train.entry(5e-4, "L2 penalty", { min: 0 }),
  recompute: train.entry(
    false,
    "compute parts once more for the derivative: at the published widths 41 % less memory for 13 % more multiply-adds",
  ),
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
  readonly params: any;
  readonly optimizer: any;
}

/** The plan with the outputs that are asked for: with regions the network has a sigmoid for each, without softmax. */
function withOutputs(plan: Plan, activation: ConResNetOptions["activation"]): Plan {
  const { regions, ...others } = plan;
  if (activation === "softmax" || (activation === "auto" && !regions)) return others;
  return { ...others, regions: regions ?? plan.labels.slice(1).map((name, k) => ({ name, values: [k + 1] })) };
}

/** The network and the steps of a training; nothing runs yet. */
export async function conResNetMethod(options: ConResNetOptions, training: train.TrainingRun) {
  const onPhantoms = options.data === "";
  const small = options.preset === "small" || (options.preset === "auto" && await train.isSoftware());
  const features = onPhantoms ? [8, 16, 32] : small ? [8, 16, 32, 64] : [32, 64, 128, 256];
  const plan = withOutputs(training.plan, options.activation);
  const axis = patchAxis(options.axis, plan.transpose);
  const model = conResNet({
    inputChannels: plan.channels.length,
    classes: plan.regions?.length ?? plan.labels.length,
    multiClass: !plan.regions,
    features: options.features.length > 0 ? options.features : features,
    ...(options.blocks.length > 0 && { blocks: options.blocks }),
    groups: options.groups,
    dropout: options.dropout,
    axis,
    ...conResNetArms[options.arm],
  });
  const regions = plan.regions?.map(({ values }) => values);
  const lossOptions = {
    ...(regions && { regions }),
    axis,
    first: options.first,
    mode: options.mode,
    lambda: options.lambda,
  };
  const optimizer = nn.adam({ weightDecay: options.weightDecay });

  /** Pseudo-Dice is of what is measured: of regions, those that the most likely labels make up. */
  const metricsOf = (value: Tensor, logits: Tensor, label: Tensor): Tensor => {
    const measured = regions ?? training.regions;
    if (!measured) return train.stepMetrics(value, logits, label);
    const scores = regions ? logits : nn.regionTargets(logits.argmax({ axis: 1 }), measured).cast("f32").sub(0.5);
    return train.stepMetrics(value, scores, label, { regions: measured });
  };

  /** A step; the boundary loss has the part 1 - share of the loss. */
  const step = (state: State, sampled: train.Patches, key: Tensor, rate: Tensor | number, share: Tensor) => {
    const [moves, drops] = random.split(key);
    const patches = training.augmented(moves, sampled);
    const lossOf = (params: any, { image, label, extra }: train.Patches): [Tensor, Tensor] => {
      const outputs = model.apply(params, image, { train: true, key: drops, checkpoint: options.recompute });
      const own = conres.loss(outputs, label, lossOptions);
      if (!extra) return [own, outputs[0]];
      const boundary = conres.boundaryLoss(outputs[0], extra, { multiClass: !regions });
      return [own.mul(share).add(boundary.mul(share.mul(-1).add(1))), outputs[0]];
    };
    const [[value, logits], grads] = valueAndGrad(lossOf, { hasAux: true })(state.params, patches);
    const [params, next] = optimizer.update(grads, state.optimizer, state.params, rate);
    return [{ params, optimizer: next }, metricsOf(value, logits, patches.label)] as const;
  };
  return {
    plan,
    model,
    axis,
    rate: options.rate || (onPhantoms ? 1e-3 : 1e-4),
    /** What has a residual and a boundary each. */
    parts: plan.regions ?? plan.labels.slice(1).map((name, k) => ({ name, values: [k + 1] })),
    init: (): State => {
      const params = model.init(random.key(options.seed));
      return { params, optimizer: optimizer.init(params) };
    },
    step,
    trainStep: compile(step, { donate: [0] }),
    /** Without the boundary loss, whose share changes. */
    evalStep: compile((params: any, { image, label }: Pick<train.Patches, "image" | "label">) => {
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
 * Trains on each fold that is asked for, segments its held-out cases, and writes the run's folder. Measures are of the
 * dataset's regions where it has some, whatever the network's outputs.
 *
 * @returns measures of the held-out cases
 * @throws ConfigError for options that do not fit the data, VoxgradError for those that do not fit each other, and as
 *   openTraining
 */
export async function trainConResNet(options: ConResNetOptions): Promise<Comparison> {
  checkOptions(options);
  const training = await openConResNetRun(options);
  const { dataset, store, steps } = training;
  if (training.plan.ignoreLabel !== undefined) {
    throw new train.ConfigError(
      `${dataset.folder}: ConResNet's losses have no ignore label; use train_unet, or remove it`,
    );
  }
  train.checkSetsOption(options, dataset);
  train.tellBackground(dataset);
  const { plan, model, axis, rate, parts, init, trainStep, evalStep } = await conResNetMethod(options, training);
  const parameters = tree.leaves(init().params).reduce((sum: number, p: Tensor) => sum + p.size, 0);
  const { batch, patch } = training.plan;
  train.print(
    `Model: conResNet ${model.config.features.join("-")} (${options.arm}), ${parameters} parameters; ` +
      `batch ${batch} x ${patch.join(" x ")}`,
  );
  const sets = parts.map(({ values }) => values);
  const source = options.boundary
    ? withChannels(store, (item) => distancesOf(item, sets), { memory: options.memory * 1e9 })
    : store;
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

/** Signed distances in mm to the boundaries of a whole case; beyond the volume, where extra channels are 0, no loss. */
async function distancesOf(item: SampleCase, sets: readonly (readonly number[])[]): Promise<Float32Array> {
  const labels = tensor(Int32Array.from(item.label), { shape: [1, ...item.shape] });
  const targets = nn.regionTargets(labels, sets).cast("f32");
  return (await conres.signedDistances(targets, { spacing: item.spacing }).data()) as Float32Array;
}

/** Refuses what would have no effect, before the data is opened. */
function checkOptions(options: ConResNetOptions): void {
  train.checkTrainingOptions(options, {
    // Beside a plan it says how many features there are.
    preset: options.data === ""
      ? "phantoms have sizes of their own"
      : options.plan !== "" && options.features.length > 0 && "--plan and --features have the sizes",
    ...train.unused(options.arm === "baseline" && "--arm baseline has no residuals", "axis", "mode", "first", "lambda"),
  });
}

await train.runScript(
  import.meta.url,
  () => train.resumableConfig(conResNetEntries, { change: train.trainingChanges }),
  trainConResNet,
);
