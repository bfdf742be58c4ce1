/**
 * Training with context labels: CoLab (Li et al. 2022) and what it is compared with. What scripts/train_colab.ts runs,
 * for experiments that train several arms.
 */
import {
  compile,
  concat,
  deviceInfo,
  distanceTransform,
  oneHot,
  ones,
  random,
  saveSealed,
  softmax,
  stopGradient,
  type Tensor,
  tensor,
  valueAndGrad,
} from "../../engine/mod.ts";
import {
  adam,
  clipGradNorm,
  deepSupervision,
  deepSupervisionWeights,
  diceCrossEntropy,
  polySchedule,
} from "../../engine/nn/mod.ts";
import {
  type CaseSource,
  checkGrid,
  type Comparison,
  readLabelVolume,
  type SampleCase,
  withChannels,
  writeContextPhantomDataset,
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
  openOptimizer,
  openTraining,
  optimizerEntries,
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

import * as colab from "./colab.ts";
import { checkContextLabels, checkContextValues, clusteredContexts, contextFile, preparedLabels } from "./contexts.ts";
import { colabFigures } from "./figures.ts";
import { architectureOf } from "../registry.ts";
import { plainConvUNet, type UNetConfig } from "../unet/unet.ts";

/** Entries of the config block, those of every training included. */
export const colabEntries = {
  ...trainingEntries,
  foreground: entry(0.5, "fraction of a batch's patches that are centered on foreground", { min: 0, max: 1 }),
  context: choice(["colab", "none", "dilated", "kmeans", "labels"], "where context labels come from"),
  contexts: entry(2, "context classes, t of the paper; 1 is --context none", { integer: true, min: 1 }),
  contextLabels: entry("", "for --context labels: folder of CASE.nii.gz with values from 0, the far background"),
  bodyThreshold: entry(
    [],
    "for --context kmeans: body is brighter, as stored; -200 for CT, else found by Otsu's rule",
    { lengths: [0, 1] },
  ),
  margin: entry(0, "distance up to which generated context counts fully; 0: 30 on --data, 4 on phantoms", { min: 0 }),
  tau: entry(0, "how slowly it fades beyond; 0: 20 on --data, 3 on phantoms", { min: 0 }),
  unit: choice(["voxels", "mm"], "of margin and tau; voxels are those of the plan"),
  period: entry(10, "steps from one update of the generator to the next", { integer: true, min: 1 }),
  generatorWidth: entry(
    1,
    "channels of the generator as a fraction of the segmenter's, 1 in the paper; less costs less",
    { min: 0.05, max: 1 },
  ),
  meta: choice(["exact", "finite-difference", "implicit"], "how the generator's gradient is taken"),
  metaPer: choice(
    ["batch", "sample"],
    "an inner step on the whole batch (paper), or on each sample, gradients averaged",
  ),
  generatorRate: entry(3e-4, "Adam's learning rate for the generator", { min: 0 }),
  roiLoss: choice(["bce", "dice"], "loss that the generator is to lower"),
  roiClass: entry(-1, "ROI class, from 0, that this loss looks at; -1: all", { integer: true, min: -1 }),
  ...optimizerEntries,
  dice: choice(
    ["batch", "sample"],
    "Dice over a whole batch, as train_unet, or the mean of its samples', as the paper",
  ),
} as const;

export type ColabOptions = Config<typeof colabEntries>;

/** Phantoms whose lesions only the organ around them tells from other blobs. */
const PHANTOMS = {
  shape: [32, 32, 32],
  spacing: [1, 1, 1],
  patch: [32, 32, 32],
  features: [6, 12, 24],
  write: writeContextPhantomDataset,
} as const;

/**
 * Trains on each fold that is asked for, segments its held-out cases, and writes the run's folder.
 *
 * @param options by `resumableConfig(colabEntries, { change: trainingChanges })`, or `config(colabEntries, words)`
 * @returns measures of the held-out cases
 * @throws ConfigError for options that do not fit the data, and as openTraining
 * @example await trainColab(config(colabEntries, ["Task04_Hippocampus", "--context", "dilated", "--steps", "300"]));
 */
export async function trainColab(options: ColabOptions): Promise<Comparison> {
  const { training, setup, steps } = await openColab(options);
  const { context, contexts, rois, rate, network, architecture } = setup;
  const { plan } = training;
  print(
    `Model: ${plan.network.features.join("-")}, ${rois} ROI class(es) and ${contexts} context(s), ${context}; ` +
      `batch ${plan.batch} x ${plan.patch.join(" x ")}`,
  );
  await training.describe({ rate, network, architecture, device: await deviceInfo() });
  for (const fold of training.folds) {
    if (training.folds.length > 1) print(`\n${fold.name}`);
    training.source = setup.source(fold.split.train);
    await trainFold(setup, steps, fold);
  }
  return training.finish();
}

/** Data, networks and compiled steps of a training; nothing runs yet. */
export async function openColab(options: ColabOptions) {
  checkOptions(options);
  if (options.context === "labels" && options.contexts > 1 && options.data !== "") await checkContextLabels(options);
  const training = await openTraining(options, PHANTOMS);
  const networks = setUp(options, training);
  const setup = { ...networks, source: (ids: readonly string[]) => sourceOf(networks, ids) };
  return { training, setup, steps: compileSteps(networks) };
}

/** Refuses what would have no effect, before the data is opened. */
function checkOptions(options: ColabOptions): void {
  const { contexts, context } = options;
  const arm = contexts === 1 ? "--contexts 1" : `--context ${context}`;
  const only = (...arms: readonly string[]) => (contexts === 1 || !arms.includes(context)) && `${arm} does not use it`;
  const [distances, generator] = [only("colab", "dilated"), only("colab")];
  checkTrainingOptions(options, {
    context: contexts === 1 && context !== "none" && "--contexts 1 is --context none",
    contexts: context === "none"
      ? contexts !== 1 && "--context none has one context, the background"
      : context === "dilated" && contexts > 2 && "--context dilated has two contexts, near and far",
    contextLabels: only("labels"),
    bodyThreshold: only("kmeans"),
    margin: distances,
    tau: distances,
    unit: distances,
    period: generator,
    generatorWidth: generator,
    meta: generator,
    metaPer: generator,
    generatorRate: generator,
    roiLoss: generator,
    roiClass: generator,
  });
  // Outputs beyond the second would be taught by nothing, whoever asks for them.
  if (context === "dilated" && contexts > 2) {
    throw new ConfigError(`--contexts ${contexts}: --context dilated has two contexts, near and far; leave it out`);
  }
  if (context === "labels" && contexts > 1 && options.contextLabels === "" && options.data !== "") {
    throw new ConfigError("--context labels wants --contextLabels, a folder of label maps named as the cases");
  }
}

/** What the options come to on the data. */
type Setup = ReturnType<typeof setUp>;

function setUp(options: ColabOptions, training: Training) {
  const { plan, dataset } = training;
  if (plan.regions || plan.ignoreLabel !== undefined) {
    throw new ConfigError(
      `${dataset.folder}: context labels are for plain labels, without regions and an ignore label`,
    );
  }
  checkSetsOption(options, dataset);
  tellBackground(dataset);
  const onPhantoms = options.data === "";
  // With one context there is nothing to divide: the background is the context, and this is train_unet.
  const context = options.contexts === 1 ? "none" as const : options.context;
  const contexts = context === "none" ? 1 : options.contexts;
  const rois = plan.labels.length - 1;
  if (options.roiClass >= rois) {
    const names = plan.labels.slice(1).map((name, k) => `${k} ${name}`).join(", ");
    throw new ConfigError(`--roiClass: got ${options.roiClass}, wanted one of ${names}, or -1 for all`);
  }
  const shape = architectureOf(plan, { deepSupervision: true }) as UNetConfig;
  return {
    options,
    training,
    context,
    contexts,
    rois,
    margin: options.margin || (onPhantoms ? 4 : 30),
    tau: options.tau || (onPhantoms ? 3 : 20),
    network: context === "none" ? plan.network.name : "contextUNet",
    architecture: { ...shape, classes: rois + contexts, ...(context !== "none" && { roiClasses: rois }) },
    // The segmenter has an output for each ROI class and context, the generator one for each context.
    model: plainConvUNet({ ...shape, classes: rois + contexts }),
    generator: plainConvUNet({
      ...shape,
      classes: contexts,
      deepSupervision: false,
      features: shape.features.map((n) => Math.max(1, Math.round(n * options.generatorWidth))),
    }),
    ...openOptimizer(options),
    generatorOptimizer: adam(),
  };
}

/** The cases, and beside the image what the arm knows of the background: the soft dilated mask, or context labels. */
function sourceOf(setup: Setup, trainingCases: readonly string[]): CaseSource {
  const { options, training, context, contexts } = setup;
  if (context === "none") return training.store;
  const [threshold] = options.bodyThreshold;
  const make = context === "labels"
    ? (item: SampleCase) => givenContexts(setup, item)
    : context === "kmeans"
    ? clusteredContexts(training, trainingCases, {
      contexts,
      seed: options.seed,
      ...(threshold !== undefined && { threshold }),
    })
    : (item: SampleCase) => maskOf(setup, item);
  return withChannels(training.store, make, { memory: options.memory * 1e9 });
}

/** Soft dilated mask of a whole case; beyond the volume, where extra channels are 0, all is far background. */
async function maskOf({ options, margin, tau }: Setup, item: SampleCase): Promise<Float32Array> {
  if (item.label.every((value) => value === 0)) return new Float32Array(item.label.length);
  const outside = tensor(Int32Array.from(item.label, (value) => Number(value === 0)), { shape: item.shape });
  const spacing = options.unit === "mm" ? item.spacing : [1, 1, 1];
  return (await colab.softDilatedMask(distanceTransform(outside, { spacing }), { margin, tau }).data()) as Float32Array;
}

/** Context labels of a case out of the folder, prepared as its own label is. */
async function givenContexts({ options, training, contexts }: Setup, item: SampleCase): Promise<Float32Array> {
  const file = contextFile(options.contextLabels || `${training.dataset.folder}/organsTr`, item.id);
  const prepared = await preparedLabels(training, item.id, async (image) => {
    const label = await readLabelVolume(file);
    checkGrid(image, label, 0.05);
    checkContextValues(label, contexts);
    return { ...label, data: Uint8Array.from(label.data) };
  });
  return Float32Array.from(prepared);
}

/** What the arm says of the background: context probabilities and the mask, of an image and what lies beside it. */
function contextsOf(setup: Setup, omega: any, image: Tensor, extra: Tensor): { q: Tensor; mask: Tensor } {
  const { context, contexts, generator } = setup;
  const only = extra.squeeze({ axes: [1] });
  if (context === "colab") {
    const q = stopGradient(softmax(generator.apply(omega, image) as unknown as Tensor, { axis: 1 }));
    return { q, mask: only };
  }
  const all = ones(only.shape);
  if (context === "dilated") return { q: concat([extra.mul(-1).add(1), extra], { axis: 1 }), mask: all };
  return { q: oneHot(only.cast("i32"), { classes: contexts }).transpose({ axes: [0, 4, 1, 2, 3] }), mask: all };
}

/** The batch's ROI as channels, and what is said about the rest. */
function partsOf(setup: Setup, { image, label, extra }: Patches, omega: any): { roi: Tensor; q: Tensor; mask: Tensor } {
  const roi = oneHot(label, { classes: setup.rois + 1 }).transpose({ axes: [0, 4, 1, 2, 3] }).slice({ start: [0, 1] });
  return { roi, ...contextsOf(setup, omega, image, extra!) };
}

type Steps = ReturnType<typeof compileSteps>;

function compileSteps(setup: Setup) {
  const { options, training, context, rois, model, generator, optimizer, generatorOptimizer } = setup;
  const stages = training.plan.network.features.length;
  const weights = deepSupervisionWeights(stages - 1, { coarsest: stages < 4 });
  const batch = options.dice === "batch";
  const segmentation = { without: rois, batch };
  /** Loss and logits. Without contexts it is that of train_unet, operator for operator. */
  const lossOf = (p: any, patches: Patches, omega: any): [Tensor, Tensor] => {
    const outputs = model.apply(p, patches.image, { train: true }) as Tensor[];
    if (context === "none") {
      const loss = (output: Tensor, target: Tensor): Tensor => diceCrossEntropy(output, target, { batch });
      return [deepSupervision(loss, outputs, patches.label, { weights }), outputs[0]];
    }
    const labels = colab.pyramidLabels(outputs, partsOf(setup, patches, omega));
    const loss = (output: Tensor, target: Tensor): Tensor => colab.segmentationLoss(output, target, segmentation);
    return [deepSupervision(loss, outputs, labels, { weights }), colab.withoutContexts(outputs[0], rois)];
  };
  const stepOf = (p: any, state: any, omega: any, patches: Patches, rate: Tensor) => {
    const loss = (q: any, patch: Patches) => lossOf(q, patch, omega);
    const [[value, logits], grads] = valueAndGrad(loss, { hasAux: true })(p, patches);
    const [clipped] = clipGradNorm(grads, options.clip);
    const [next, nextState] = optimizer.update(clipped, state, p, rate);
    return [next, nextState, stepFigures(value, logits, patches.label)] as const;
  };
  /** The generator looks at the output at full resolution. */
  const metaStepOf = (p: any, omega: any, state: any, patches: Patches, alpha: Tensor, rate: Tensor) => {
    const { roi, mask } = partsOf(setup, patches, omega);
    const imageOf = (
      n?: number,
    ) => (n === undefined ? patches.image : patches.image.slice({ start: [n], end: [n + 1] }));
    const gradient = colab.metaGradient({
      segment: (q, n) => (model.apply(q, imageOf(n), { train: true }) as Tensor[])[0],
      generate: (o, n) => generator.apply(o, imageOf(n)) as unknown as Tensor,
      theta: p,
      omega,
      roi,
      mask,
      alpha: alpha as unknown as Tensor,
      method: options.meta,
      per: options.metaPer,
      segmentation,
      roiOptions: { loss: options.roiLoss, ...(options.roiClass >= 0 && { only: options.roiClass }) },
    });
    return generatorOptimizer.update(gradient, state, omega, rate);
  };
  return {
    segmenter: compile(
      (p: any, state: any, omega: any, sampled: Patches, key: Tensor, rate: Tensor) =>
        stepOf(p, state, omega, training.augmented(key, sampled), rate),
      { donate: [0, 1] },
    ),
    /** A step of the generator, then one of the segmenter on the same batch: they share augmentation and forward pass. */
    both: compile(
      (
        p: any,
        state: any,
        omega: any,
        omegaState: any,
        sampled: Patches,
        key: Tensor,
        rate: Tensor,
        generatorRate: Tensor,
      ) => {
        const patches = training.augmented(key, sampled);
        const [next, nextState] = metaStepOf(p, omega, omegaState, patches, rate, generatorRate);
        return [...stepOf(p, state, next, patches, rate), next, nextState] as const;
      },
      { donate: [0, 1, 2, 3] },
    ),
    look: compile((p: any, omega: any, patches: Patches) => {
      const [value, logits] = lossOf(p, patches, omega);
      return stepFigures(value, logits, patches.label);
    }),
  };
}

/** Trains on one split into a folder, segments its held-out cases, and draws the figures. */
async function trainFold(setup: Setup, compiled: Steps, fold: FoldSetup): Promise<void> {
  const { options, training, context, contexts, rois, rate, model, generator, optimizer, generatorOptimizer } = setup;
  const { plan, steps } = training;
  const { split, run } = fold;
  const poly = polySchedule(1, { steps });
  let params = model.init(random.key(options.seed));
  let state = optimizer.init(params);
  // The generator has weights of its own in every arm's checkpoint, so that all resume alike.
  let omega = generator.init(random.key(options.seed + 1));
  let omegaState = generatorOptimizer.init(omega);
  const described = { network: setup.network, architecture: setup.architecture, plan };
  const started = performance.now();
  let first = true;
  const { seconds } = await train<Patches>({
    run,
    title: `${training.dataset.name}, ${context}`,
    classes: training.classes,
    steps,
    epochSteps: options.epoch,
    checkpointMinutes: options.checkpoint,
    rate: (k) => rate * poly(k - 1),
    batch: (k) => training.batch(split, k),
    step: async (patches, learningRate, k) => {
      const key = training.key(k);
      let figures: Tensor;
      const both = context === "colab" && k % options.period === 0;
      // The larger program is told of, and made, at the start too, not in the middle of the training.
      if (first && context === "colab" && !both && Math.floor(steps / options.period) * options.period > k) {
        const info = await compiled.both.plan(
          params,
          state,
          omega,
          omegaState,
          patches,
          key,
          learningRate,
          options.generatorRate * poly(k - 1),
        );
        print(programLine(info, performance.now() - started, `Every ${options.period} steps, with the generator's`));
      }
      if (both) {
        const generatorRate = options.generatorRate * poly(k - 1);
        [params, state, figures, omega, omegaState] = await compiled.both(
          params,
          state,
          omega,
          omegaState,
          patches,
          key,
          learningRate,
          generatorRate,
        );
      } else {
        [params, state, figures] = await compiled.segmenter(params, state, omega, patches, key, learningRate);
      }
      if (first) {
        print(programLine((both ? compiled.both : compiled.segmenter).programs()[0], performance.now() - started));
      }
      first = false;
      return figures;
    },
    state: {
      read: () => ({ params, optimizer: state, omega, generator: omegaState }),
      write: (copy) => ({ params, optimizer: state, omega, generator: omegaState } = copy),
    },
    validate: training.validation(split, (patches) => compiled.look(params, omega, patches)),
    best: () => writeModel(run, "model_best.safetensors", params, described),
  });
  print(`Trained ${steps} steps in ${duration(seconds)}`);
  await writeModel(run, "model.safetensors", params, described);
  if (context === "colab") await run.write("generator.safetensors", await saveSealed(omega));
  const whole = context === "none" ? model : colab.contextsFirst(model, { roiClasses: rois, contexts });
  await training.test(fold, segmenter(whole, params, { plan }));
  await writeFigures(setup, fold, params, omega);
}

/** The paper's figures of a few cases. */
async function writeFigures(setup: Setup, { split, run }: FoldSetup, params: any, omega: any): Promise<void> {
  const { options, training, context, contexts, model } = setup;
  const get = (ids: readonly string[]) => Promise.all(ids.map((id) => training.source.get(id)));
  const heldOut = split.val.slice(0, 3);
  const figures = await colabFigures({
    plan: training.plan,
    contexts,
    network: model,
    params,
    omega,
    seed: options.seed,
    heldOut: await get(heldOut),
    training: await get(split.train.slice(0, heldOut.length === 0 ? 3 : 4 - heldOut.length)),
    ...(context === "none"
      ? { backgroundFirst: true }
      : { contextsOf: (o: any, image: Tensor, extra: Tensor) => contextsOf(setup, o, image, extra) }),
  });
  for (const figure of figures) await writeFigure(run, figure);
}
