// Trains a 3-D U-Net on a folder of labeled scans (Medical Segmentation Decathlon or nnU-Net layout), or without
// --data on phantoms that it makes first, and segments the held-out cases. --help lists what can be set. The axes
// x, y, z are those of the oriented scans (x from left to right); sizes in voxels are in the order of the plan.
import {
  closeDevice,
  compile,
  deviceInfo,
  loadPretrained,
  random,
  readWeights,
  type Tensor,
  tree,
  valueAndGrad,
} from "../engine/mod.ts";
import {
  clipGradNorm,
  constantSchedule,
  cosineSchedule,
  deepSupervision,
  deepSupervisionWeights,
  diceBinaryCrossEntropy,
  diceCrossEntropy,
  polySchedule,
} from "../engine/nn/mod.ts";
import type { Plan } from "../engine/imaging/mod.ts";
import {
  checkSetsOption,
  checkTrainingOptions,
  choice,
  duration,
  entry,
  type FoldSetup,
  openOptimizer,
  openTraining,
  optimizerEntries,
  type Patches,
  planOf,
  print,
  programLine,
  resumableConfig,
  segmenter,
  stepFigures,
  tellBackground,
  train,
  trainingChanges,
  trainingEntries,
  writeModel,
} from "../engine/train/mod.ts";
import { architectureOf, networkFromPlan } from "../models/mod.ts";

const options = await resumableConfig({
  ...trainingEntries,
  weights: entry("", "safetensors file of weights to start from, such as a PyTorch checkpoint of the same network"),
  ...optimizerEntries,
  schedule: choice(["poly", "cosine", "constant"], "how the learning rate falls"),
  precision: choice(["f32", "mixed"], "mixed: f16 products and activations, f32 sums and weights; needs shader-f16"),
}, { change: trainingChanges });
checkTrainingOptions(options);
const device = await deviceInfo();
print(`Device: ${device.name} (${device.kind}; ${device.reason})`);

// Data: which cases train and which are held out, how they are prepared, and the network that follows from it.
const training = await openTraining(options);
checkSetsOption(options, training.dataset);
tellBackground(training.dataset);
const { plan, regions, steps } = training;
const { optimizer, rate } = openOptimizer(options);
const model = networkFromPlan(plan, { deepSupervision: true });
const network = plan.network.name;
const architecture = architectureOf(plan, { deepSupervision: true });
const parameters = tree.leaves(model.init(random.key(0))).reduce((sum: number, p: Tensor) => sum + p.size, 0);
const size = `batch ${plan.batch} x ${plan.patch.join(" x ")}`;
print(`Model: ${network} ${plan.network.features.join("-")}, ${parameters} parameters; ${size}`);
await training.describe({ rate, architecture, parameters, device });

// One step: augmentation, loss, gradients, update, as one program that overwrites weights and optimizer state.
const stages = plan.network.features.length;
const loss = (output: Tensor, target: Tensor): Tensor =>
  regions
    ? diceBinaryCrossEntropy(output, target, { regions, batch: true, ignoreIndex: plan.ignoreLabel })
    : diceCrossEntropy(output, target, { batch: true, ignoreIndex: plan.ignoreLabel });
const lossOf = (p: any, { image, label }: Patches) => {
  // A network without deep supervision gives one output.
  const outputs: Tensor[] = [model.apply(p, image, { train: true })].flat();
  const weights = deepSupervisionWeights(outputs.length, { coarsest: stages < 4 });
  return [deepSupervision(loss, outputs, label, { weights }), outputs[0]] as [Tensor, Tensor];
};
const figuresOf = (value: Tensor, logits: Tensor, { label }: Patches): Tensor =>
  stepFigures(value, logits, label, { regions, ignore: plan.ignoreLabel });
const step = compile((p: any, state: any, sampled: Patches, key: Tensor, learningRate: Tensor) => {
  const patches = training.augmented(key, sampled);
  const [[value, logits], grads] = valueAndGrad(lossOf, { hasAux: true })(p, patches);
  const [clipped] = clipGradNorm(grads, options.clip);
  const [next, nextState] = optimizer.update(clipped, state, p, learningRate);
  return [next, nextState, figuresOf(value, logits, patches)];
}, { donate: [0, 1], precision: options.precision });
const look = compile((p: any, patches: Patches) => figuresOf(...lossOf(p, patches), patches));
const schedule = options.schedule === "poly"
  ? polySchedule(rate, { steps })
  : options.schedule === "cosine"
  ? cosineSchedule(rate, { steps })
  : constantSchedule(rate);

/** Trains on one split into a folder, and segments its held-out cases. */
async function trainFold(fold: FoldSetup): Promise<void> {
  const { split, run } = fold;
  let params = await firstWeights();
  let state = optimizer.init(params);
  const started = performance.now();
  let first = true;
  const { seconds } = await train<Patches>({
    run,
    title: training.dataset.name,
    classes: training.classes,
    steps,
    epochSteps: options.epoch,
    checkpointMinutes: options.checkpoint,
    rate: (k) => schedule(k - 1),
    batch: (k) => training.batch(split, k),
    step: async (patches, learningRate, k) => {
      let figures: Tensor;
      [params, state, figures] = await step(params, state, patches, training.key(k), learningRate);
      if (first) print(programLine(step.programs()[0], performance.now() - started));
      first = false;
      return figures;
    },
    state: {
      read: () => ({ params, optimizer: state, lossScale: step.lossScaleState() }),
      write: (copy) => {
        ({ params, optimizer: state } = copy);
        step.restoreLossScale(copy.lossScale);
      },
    },
    validate: training.validation(split, (patches) => look(params, patches)),
    best: () => writeModel(run, "model_best.safetensors", params, { network, architecture, plan }),
  });
  print(`Trained ${steps} steps in ${duration(seconds)}`);
  await writeModel(run, "model.safetensors", params, { network, architecture, plan });
  await training.test(fold, segmenter(model, params, { plan }));
}

/** Weights of the seed, or of a file; nnU-Net's checkpoints hold every weight up to three times. */
async function firstWeights(): Promise<any> {
  const made = model.init(random.key(options.seed));
  if (options.weights === "") return made;
  const { tensors, metadata } = await readWeights(options.weights);
  // The same number of outputs may mean other classes.
  const own = planOf(metadata, options.weights);
  const classes = (of: Plan): string => JSON.stringify([of.labels, of.regions?.map(({ name }) => name)]);
  const { params, kept } = loadPretrained(made, tensors, {
    ignore: /(^|\.)all_modules\.|^decoder\.encoder\./,
    head: /(^|\.)seg_layers\./,
    anew: own && classes(own) !== classes(plan),
  });
  if (kept.length > 0) print(`${options.weights} is of a network for other classes: ${kept.join(", ")} begin anew`);
  return params;
}

for (const fold of training.folds) {
  if (training.folds.length > 1) print(`\n${fold.name}`);
  await trainFold(fold);
}
await training.finish();
await closeDevice();
