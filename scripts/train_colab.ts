// Trains a 3-D U-Net for regions of interest with context labels: CoLab (Li et al. 2022) and what it is compared with.
// --context none is the plain training of train_unet; dilated takes the soft dilated mask as the only context; labels
// takes context labels out of a folder, drawn by people or predicted by another network; colab learns them. --help lists
// what can be set.
import {
  adam, choice, clipGradNorm, closeDevice, compile, concat, ConfigError, deepSupervision, deepSupervisionWeights, deviceInfo,
  diceCrossEntropy, distanceTransform, duration, entry, checkGrid, loadCase, oneHot, ones, openTraining, polySchedule,
  preprocessCase, print, programLine, random, readVolume, resumableConfig, saveModel, saveSafetensors, segmenter, sgd,
  softmax, stepFigures, stopGradient, tensor, train, trainingChanges, trainingEntries, valueAndGrad, withChannels,
  writeContextPhantomDataset,
} from "../engine/mod.ts";
import type { FoldSetup, Patches, SampleCase, Tensor } from "../engine/mod.ts";
import { colab, plainConvUNet, unetConfigOf } from "../models/mod.ts";

const options = await resumableConfig({
  ...trainingEntries,
  foreground: entry(0.5, "fraction of a batch's patches that are centred on foreground", { min: 0, max: 1 }),
  context: choice(["colab", "none", "dilated", "labels"], "where context labels come from"),
  contexts: entry(2, "context classes, t of the paper; 1 is --context none", { integer: true, min: 1 }),
  contextLabels: entry("", "for --context labels: folder of CASE.nii.gz with values from 0, the far background"),
  margin: entry(0, "distance up to which generated context counts fully; 0: 30 on --data, 4 on phantoms", { min: 0 }),
  tau: entry(0, "how slowly it fades beyond; 0: 20 on --data, 3 on phantoms", { min: 0 }),
  unit: choice(["voxels", "mm"], "of margin and tau; voxels are those of the plan"),
  period: entry(10, "steps from one update of the generator to the next", { integer: true, min: 1 }),
  meta: choice(["exact", "finite-difference", "implicit"], "how the generator's gradient is taken"),
  generatorRate: entry(3e-4, "Adam's learning rate for the generator", { min: 0 }),
  roiLoss: choice(["bce", "dice"], "loss that the generator is to lower"),
  roiClass: entry(-1, "ROI class, from 0, that this loss looks at; -1: all", { integer: true, min: -1 }),
  optimizer: choice(["adam", "sgd"], "sgd has Nesterov momentum 0.99"),
  rate: entry(0, "learning rate at the start; 0: 3e-3 for adam on --data, else 1e-2", { min: 0 }),
  weightDecay: entry(3e-5, "L2 penalty", { min: 0 }),
  clip: entry(12, "largest norm of the gradients", { min: 1e-6 }),
}, { change: trainingChanges });
const onPhantoms = options.data === "";
const margin = options.margin || (onPhantoms ? 4 : 30);
const tau = options.tau || (onPhantoms ? 3 : 20);
if (options.context === "labels" && options.contextLabels === "" && !onPhantoms) {
  throw new ConfigError("--context labels wants --contextLabels, a folder of label maps named as the cases");
}
const device = await deviceInfo();
print(`Device: ${device.name} (${device.kind}; ${device.reason})`);
// Phantoms whose lesions only the organ around them tells from other blobs.
const training = await openTraining(options, {
  shape: [32, 32, 32], spacing: [1, 1, 1], patch: [32, 32, 32], features: [6, 12, 24], write: writeContextPhantomDataset,
});
const { plan, steps, dataset } = training;
if (plan.regions || plan.ignoreLabel !== undefined) {
  throw new ConfigError(`${dataset.folder}: context labels are for plain labels, without regions and an ignore label`);
}
const rate = options.rate || (!onPhantoms && options.optimizer === "adam" ? 3e-3 : 1e-2);
// With one context there is nothing to divide: the background is the context, and this is train_unet.
const context = options.contexts === 1 ? "none" : options.context;
const contexts = context === "none" ? 1 : options.contexts;
const rois = plan.labels.length - 1;

// Networks: the segmenter has an output for each ROI class and context, the generator one for each context.
const shape = unetConfigOf(plan, { deepSupervision: true });
const architecture = { ...shape, classes: rois + contexts, ...(context !== "none" && { roiClasses: rois }) };
const network = context === "none" ? plan.network.name : "contextUNet";
const model = plainConvUNet({ ...shape, classes: rois + contexts });
const generator = plainConvUNet({ ...shape, classes: contexts, deepSupervision: false });
print(`Model: ${plan.network.features.join("-")}, ${rois} ROI class(es) and ${contexts} context(s), ${context}; ` +
  `batch ${plan.batch} x ${plan.patch.join(" x ")}`);
await training.describe({ rate, architecture, device });

// Beside the image goes what the arm knows of the background: the soft dilated mask, or the context labels.
if (context === "labels") training.source = withChannels(training.store, contextOf);
else if (context !== "none") training.source = withChannels(training.store, maskOf);

/** Soft dilated mask of a whole case; beyond the volume, where extra channels are 0, all is far background. */
async function maskOf(item: SampleCase): Promise<Float32Array> {
  if (item.label.every((value) => value === 0)) return new Float32Array(item.label.length);
  const outside = tensor(Int32Array.from(item.label, (value) => Number(value === 0)), { shape: item.shape });
  const spacing = options.unit === "mm" ? item.spacing : [1, 1, 1];
  return (await colab.softDilatedMask(distanceTransform(outside, { spacing }), { margin, tau }).data()) as Float32Array;
}

/** Context labels of a case, prepared as its own label is. */
async function contextOf(item: SampleCase): Promise<Float32Array> {
  const { image } = await loadCase(dataset, dataset.cases.find((each) => each.id === item.id)!);
  const folder = options.contextLabels.replace(/(?<=.)\/+$/, "") || `${dataset.folder}/organsTr`;
  const label = await readVolume(`${folder}/${item.id}.nii.gz`);
  checkGrid(image, label, 0.05);
  const prepared = await preprocessCase({ id: item.id, image, label: { ...label, data: Uint8Array.from(label.data) } }, plan);
  const strange = prepared.label.find((value) => value >= contexts);
  if (strange !== undefined) throw new ConfigError(`${label.name}: it holds ${strange}; --contexts ${contexts} allows 0 to ${contexts - 1}`);
  return Float32Array.from(prepared.label);
}

/** The batch's ROI as channels, and what is said about the rest. */
function partsOf({ image, label, extra }: Patches, omega: any): { roi: Tensor; q: Tensor; mask: Tensor } {
  const roi = oneHot(label, { classes: rois + 1 }).transpose({ axes: [0, 4, 1, 2, 3] }).slice({ start: [0, 1] });
  const all = ones(label.shape);
  if (context === "colab") {
    const q = stopGradient(softmax(generator.apply(omega, image) as unknown as Tensor, { axis: 1 }));
    return { roi, q, mask: extra!.squeeze({ axes: [1] }) };
  }
  if (context === "dilated") {
    const near = extra!;
    const q = near.mul(-1).add(1);
    // Contexts beyond the second have no share.
    const parts = [q, near, ...Array.from({ length: contexts - 2 }, () => near.mul(0))];
    return { roi, q: concat(parts, { axis: 1 }), mask: all };
  }
  const q = oneHot(extra!.squeeze({ axes: [1] }).cast("i32"), { classes: contexts }).transpose({ axes: [0, 4, 1, 2, 3] });
  return { roi, q, mask: all };
}

// One step of the segmenter. Without contexts it is that of train_unet, operator for operator.
const { weightDecay } = options;
const optimiser = options.optimizer === "adam"
  ? adam({ weightDecay })
  : sgd({ momentum: 0.99, nesterov: true, weightDecay });
const stages = plan.network.features.length;
const weights = deepSupervisionWeights(stages - 1, { coarsest: stages < 4 });
const lossOf = (p: any, patches: Patches, omega: any): [Tensor, Tensor] => {
  const outputs = model.apply(p, patches.image, { train: true }) as Tensor[];
  if (context === "none") {
    const loss = (output: Tensor, target: Tensor): Tensor => diceCrossEntropy(output, target, { batch: true });
    return [deepSupervision(loss, outputs, patches.label, { weights }), outputs[0]!];
  }
  const labels = colab.pyramidLabels(outputs, partsOf(patches, omega));
  const loss = (output: Tensor, target: Tensor): Tensor => colab.segmentationLoss(output, target, { without: rois });
  const asOne = colab.withoutContexts({ apply: () => outputs }, rois);
  return [deepSupervision(loss, outputs, labels, { weights }), asOne.apply(p, patches.image)];
};
const step = compile((p: any, state: any, omega: any, sampled: Patches, key: Tensor, learningRate: number) => {
  const patches = training.augmented(key, sampled);
  const loss = (q: any, batch: Patches) => lossOf(q, batch, omega);
  const [[value, logits], grads] = valueAndGrad(loss, { hasAux: true })(p, patches);
  const [clipped] = clipGradNorm(grads, options.clip);
  const [next, nextState] = optimiser.update(clipped, state, p, learningRate);
  return [next, nextState, stepFigures(value, logits, patches.label)];
}, { donate: [0, 1] });
const look = compile((p: any, omega: any, patches: Patches) => {
  const [value, logits] = lossOf(p, patches, omega);
  return stepFigures(value, logits, patches.label);
});

// One step of the generator, on the same batch: it looks at the output at full resolution.
const generatorOptimiser = adam();
const metaStep = compile((p: any, omega: any, state: any, sampled: Patches, key: Tensor, alpha: number, learningRate: number) => {
  const patches = training.augmented(key, sampled);
  const { roi, mask } = partsOf(patches, omega);
  const gradient = colab.metaGradient({
    segment: (q) => (model.apply(q, patches.image, { train: true }) as Tensor[])[0]!,
    generate: (o) => generator.apply(o, patches.image) as unknown as Tensor,
    theta: p, omega, roi, mask, alpha: alpha as unknown as Tensor,
    method: options.meta,
    segmentation: { without: rois },
    roiOptions: { loss: options.roiLoss, ...(options.roiClass >= 0 && { only: options.roiClass }) },
  });
  return generatorOptimiser.update(gradient, state, omega, learningRate);
}, { donate: [1, 2] });

const poly = polySchedule(1, { steps });

/** Trains on one split into a folder, and segments its held-out cases. */
async function trainFold(fold: FoldSetup): Promise<void> {
  const { split, run } = fold;
  let params = model.init(random.key(options.seed));
  let state = optimiser.init(params);
  // The generator has weights of its own in every arm's checkpoint, so that all resume alike.
  let omega = generator.init(random.key(options.seed + 1));
  let omegaState = generatorOptimiser.init(omega);
  const save = (file: string) => saveModel(params, { network, architecture, plan }).then((bytes) => run.write(file, bytes));
  const started = performance.now();
  let first = true;
  const { seconds } = await train<Patches>({
    run, title: `${dataset.name}, ${context}`, classes: training.classes, steps,
    epochSteps: options.epoch, checkpointMinutes: options.checkpoint,
    rate: (k) => rate * poly(k - 1),
    batch: (k) => training.batch(split, k),
    step: async (patches, learningRate, k) => {
      const key = training.key(k);
      if (context === "colab" && k % options.period === 0) {
        const generatorRate = options.generatorRate * poly(k - 1);
        [omega, omegaState] = await metaStep(params, omega, omegaState, patches, key, learningRate, generatorRate);
      }
      let figures: Tensor;
      [params, state, figures] = await step(params, state, omega, patches, key, learningRate);
      if (first) print(programLine(step.programs()[0], performance.now() - started));
      first = false;
      return figures;
    },
    state: {
      read: () => ({ params, optimiser: state, omega, generator: omegaState }),
      write: (copy) => ({ params, optimiser: state, omega, generator: omegaState } = copy),
    },
    validate: training.validation(split, (patches) => look(params, omega, patches)),
    best: () => save("model_best.safetensors"),
  });
  print(`Trained ${steps} steps in ${duration(seconds)}`);
  await save("model.safetensors");
  if (context === "colab") await run.write("generator.safetensors", await saveSafetensors(omega));
  const whole = context === "none" ? model : colab.withoutContexts(model, rois);
  await training.test(fold, segmenter(whole, params, { plan }));
}

for (const fold of training.folds) {
  if (training.folds.length > 1) print(`\n${fold.name}`);
  await trainFold(fold);
}
await training.finish();
await closeDevice();
