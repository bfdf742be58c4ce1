/**
 * Training of ConResNet (Zhang et al. 2021) and of what it is compared with. What scripts/train_conresnet.ts runs, for
 * experiments that train several arms.
 */
import { compile, deviceInfo, random, type Tensor, tensor, tree, valueAndGrad } from "../../engine/mod.ts";
import { adam, polySchedule, regionTargets } from "../../engine/nn/mod.ts";
import {
  type Comparison,
  type Plan,
  type SampleCase,
  withChannels,
  writeNestedPhantomDataset,
} from "../../engine/imaging/mod.ts";
import {
  checkSetsOption,
  checkTrainingOptions,
  choice,
  type Config,
  ConfigError,
  duration,
  entry,
  type FoldSetup,
  openTraining,
  type Patches,
  print,
  programLine,
  segmenter,
  stepFigures,
  tellBackground,
  train,
  type Training,
  trainingEntries,
  writeFigure,
  writeModel,
} from "../../engine/train/mod.ts";

import { patchAxis } from "./axis.ts";
import { conresFigures } from "./figures.ts";
import * as conres from "./losses.ts";
import { conResNet } from "./conresnet.ts";
import { conResNetArms } from "./config.ts";

/** Entries of the config block, those of every training included. */
export const conResNetEntries = {
  ...trainingEntries,
  features: entry(
    [],
    "channels at each scale, the finest first; 32,64,128,256 without it, a quarter of that on a CPU",
    {
      integer: true,
      min: 1,
    },
  ),
  augment: choice(
    ["auto", "nnunet", "scale", "mirror", "none"],
    "auto: mirror on phantoms, on --data scale (paper): sizes by up to a tenth, and mirror",
  ),
  arm: choice(["full", "mapping", "baseline"], "with mapping and attention, without attention, without both"),
  activation: choice(
    ["auto", "sigmoid", "softmax"],
    "sigmoid: regions (or labels) one by one; softmax: labels that exclude each other; auto: sigmoid where there are regions",
  ),
  axis: choice(["axial", "sagittal", "coronal"], "slices of the oriented scan that are compared"),
  mode: choice(["paper", "code"], "residual loss: of probabilities (paper), or what the official code computes"),
  first: choice(["zero", "label"], "residual of the first slice: none (paper), or all of it (official code)"),
  lambda: entry(0.5, "weight of the residual losses at the coarser scales", { min: 0 }),
  boundary: entry(
    false,
    "mix in the boundary loss, its share from 0 to 0.99; cases with their distance maps take as much memory again",
  ),
  blocks: entry([], "residual blocks at each scale, and in the dilated stage; 1,2,2,... without it", {
    integer: true,
    min: 1,
  }),
  groups: entry(8, "groups of the norms, a divisor of all features", { integer: true, min: 1 }),
  dropout: entry(0.1, "probability with which a channel before the decoder is dropped", { min: 0, max: 0.99 }),
  rate: entry(0, "learning rate of Adam at the start; 0: 1e-4 on --data (paper), 1e-3 on phantoms", { min: 0 }),
  weightDecay: entry(5e-4, "L2 penalty", { min: 0 }),
  recompute: entry(
    false,
    "compute parts once more for the derivative: at the published widths 41 % less memory for 13 % more multiply-adds",
  ),
} as const;

export type ConResNetOptions = Config<typeof conResNetEntries>;

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

/**
 * Trains on each fold that is asked for, segments its held-out cases, and writes the run's folder. What is measured are
 * the dataset's regions where it has some, whatever the network's outputs.
 *
 * @param options by `resumableConfig(conResNetEntries, { change: trainingChanges })`, or `config(conResNetEntries, words)`
 * @returns measures of the held-out cases
 * @throws ConfigError for options that do not fit the data, VoxgradError for those that do not fit each other, and as
 *   openTraining
 * @example await trainConResNet(config(conResNetEntries, ["Task01_BrainTumour", "--patch", "80,160,160", "--epochs", "800"]));
 */
export async function trainConResNet(options: ConResNetOptions): Promise<Comparison> {
  const { training, setup, steps } = await openConResNet(options);
  const { model, rate, parameters } = setup;
  const { batch, patch } = training.plan;
  print(
    `Model: conResNet ${model.config.features.join("-")} (${options.arm}), ${parameters} parameters; ` +
      `batch ${batch} x ${patch.join(" x ")}`,
  );
  await training.describe({
    options,
    rate,
    network: "conResNet",
    architecture: model.config,
    parameters,
    device: await deviceInfo(),
  });
  if (options.boundary) {
    training.source = withChannels(
      training.store,
      (item) => distancesOf(setup, item),
      { memory: options.memory * 1e9 },
    );
  }
  for (const fold of training.folds) {
    if (training.folds.length > 1) print(`\n${fold.name}`);
    await trainFold(setup, steps, fold);
  }
  return training.finish();
}

/** Data, network and compiled steps of a training; nothing runs yet. */
export async function openConResNet(options: ConResNetOptions) {
  const plain = options.arm === "baseline" && "--arm baseline has no residuals";
  checkTrainingOptions(options, {
    // Beside a plan it says how many features there are.
    preset: options.data === ""
      ? "phantoms have sizes of their own"
      : options.plan !== "" && options.features.length > 0 && "--plan and --features have the sizes",
    axis: plain,
    mode: plain,
    first: plain,
    lambda: plain,
  });
  const onPhantoms = options.data === "";
  const augment = options.augment === "auto" && !onPhantoms ? "scale" : options.augment;
  const training = await openTraining({ ...options, augment, features: [] }, PHANTOMS);
  const setup = setUp(options, training, (await deviceInfo()).kind === "software");
  return { training, setup, steps: compileSteps(setup) };
}

/** The plan with the outputs that are asked for: with regions the network has a sigmoid for each, without softmax. */
function withOutputs(plan: Plan, activation: ConResNetOptions["activation"]): Plan {
  const { regions, ...others } = plan;
  if (activation === "softmax" || (activation === "auto" && !regions)) return others;
  return { ...others, regions: regions ?? plan.labels.slice(1).map((name, k) => ({ name, values: [k + 1] })) };
}

type Setup = ReturnType<typeof setUp>;

function setUp(options: ConResNetOptions, training: Training, software: boolean) {
  const { dataset } = training;
  if (training.plan.ignoreLabel !== undefined) {
    throw new ConfigError(`${dataset.folder}: ConResNet's losses have no ignore label; use train_unet, or remove it`);
  }
  checkSetsOption(options, dataset);
  tellBackground(dataset);
  const onPhantoms = options.data === "";
  const small = options.preset === "small" || (options.preset === "auto" && software);
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
  /** What has a residual and a boundary each. */
  const parts = plan.regions ?? plan.labels.slice(1).map((name, k) => ({ name, values: [k + 1] }));
  return {
    options,
    training,
    plan,
    model,
    regions,
    parts,
    sets: parts.map(({ values }) => values),
    loss: { ...(regions && { regions }), axis, first: options.first, mode: options.mode, lambda: options.lambda },
    rate: options.rate || (onPhantoms ? 1e-3 : 1e-4),
    parameters: tree.leaves(model.init(random.key(0))).reduce((sum: number, p: Tensor) => sum + p.size, 0),
    optimizer: adam({ weightDecay: options.weightDecay }),
  };
}

/** Signed distances in mm to the boundaries of a whole case; beyond the volume, where extra channels are 0, no loss. */
async function distancesOf({ sets }: Setup, item: SampleCase): Promise<Float32Array> {
  const labels = tensor(Int32Array.from(item.label), { shape: [1, ...item.shape] });
  const targets = regionTargets(labels, sets).cast("f32");
  return (await conres.signedDistances(targets, { spacing: item.spacing }).data()) as Float32Array;
}

type Steps = ReturnType<typeof compileSteps>;

function compileSteps({ options, training, model, regions, loss, optimizer }: Setup) {
  /** Pseudo-Dice is of what is measured: of regions, those that the most likely labels make up. */
  const figuresOf = (value: Tensor, logits: Tensor, label: Tensor): Tensor => {
    const measured = regions ?? training.regions;
    if (!measured) return stepFigures(value, logits, label);
    const scores = regions ? logits : regionTargets(logits.argmax({ axis: 1 }), measured).cast("f32").sub(0.5);
    return stepFigures(value, scores, label, { regions: measured });
  };
  const take = (p: any, state: any, sampled: Patches, key: Tensor, rate: Tensor | number, share: Tensor) => {
    const [moves, drops] = random.split(key);
    const patches = training.augmented(moves, sampled);
    const lossOf = (q: any, { image, label, extra }: Patches): [Tensor, Tensor] => {
      const outputs = model.apply(q, image, { train: true, key: drops, checkpoint: options.recompute });
      const own = conres.loss(outputs, label, loss);
      if (!extra) return [own, outputs[0]];
      const boundary = conres.boundaryLoss(outputs[0], extra, { multiClass: !regions });
      return [own.mul(share).add(boundary.mul(share.mul(-1).add(1))), outputs[0]];
    };
    const [[value, logits], grads] = valueAndGrad(lossOf, { hasAux: true })(p, patches);
    const [next, nextState] = optimizer.update(grads, state, p, rate);
    return [next, nextState, figuresOf(value, logits, patches.label)] as const;
  };
  return {
    /** A step as a function of tensors, for counts. */
    take,
    step: compile(take, { donate: [0, 1] }),
    /** Without the boundary loss, whose share changes. */
    look: compile((p: any, { image, label }: Patches) => {
      const outputs = model.apply(p, image);
      return figuresOf(conres.loss(outputs, label, loss), outputs[0], label);
    }),
  };
}

/** Trains on one split into a folder, segments its held-out cases, and draws the figures. */
async function trainFold(setup: Setup, compiled: Steps, fold: FoldSetup): Promise<void> {
  const { options, training, model, plan, optimizer } = setup;
  const { steps } = training;
  const { split, run } = fold;
  const poly = polySchedule(setup.rate, { steps });
  const share = conres.boundarySchedule({ steps });
  let params = model.init(random.key(options.seed));
  let state = optimizer.init(params);
  const described = { network: "conResNet", architecture: model.config, plan };
  const started = performance.now();
  let isFirst = true;
  const { seconds } = await train<Patches>({
    run,
    title: `${training.dataset.name}, ${options.arm}`,
    classes: training.classes,
    steps,
    epochSteps: options.epoch,
    checkpointMinutes: options.checkpoint,
    rate: (k) => poly(k - 1),
    batch: (k) => training.batch(split, k),
    step: async (patches, learningRate, k) => {
      let figures: Tensor;
      const alpha = tensor(share(k - 1));
      [params, state, figures] = await compiled.step(params, state, patches, training.key(k), learningRate, alpha);
      if (isFirst) print(programLine(compiled.step.programs()[0], performance.now() - started));
      isFirst = false;
      return figures;
    },
    state: {
      read: () => ({ params, optimizer: state }),
      write: (copy) => ({ params, optimizer: state } = copy),
    },
    validate: training.validation(split, ({ image, label }) => compiled.look(params, { image, label })),
    best: () => writeModel(run, "model_best.safetensors", params, described),
  });
  print(`Trained ${steps} steps in ${duration(seconds)}`);
  await writeModel(run, "model.safetensors", params, described);
  await training.test(fold, segmenter(model, params, { plan }));
  const shown = (split.val.length > 0 ? split.val : split.train).slice(0, SHOWN);
  const cases = await Promise.all(shown.map((id) => training.store.get(id)));
  const drawn = await conresFigures({ model, params }, { plan, axis: setup.loss.axis, regions: setup.parts, cases });
  for (const figure of drawn) await writeFigure(run, figure);
}
