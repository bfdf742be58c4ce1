// Trains a 3-D U-Net on a folder of labelled scans (Medical Segmentation Decathlon or nnU-Net layout), or without
// --data on phantoms that it makes first, and segments the held-out cases. --help lists what can be set. The axes
// x, y, z are those of the oriented scans (x from left to right); sizes in voxels are in the order of the plan.
import {
  adam, casesOf, choice, choosePatch, clipGradNorm, closeDevice, compile, ConfigError, constantSchedule,
  cosineSchedule, counted, deepSupervision, deepSupervisionWeights, deviceInfo, diceBinaryCrossEntropy,
  diceCrossEntropy, duration, entry, Evaluation, inMemory, loadCase, openDataset, openRun, outputChannels, overlaySvg,
  polySchedule, prepareCase, print, Prng, programLine, random, readJson, resumableConfig, resumeRun, sampleBatch,
  saveModel, segmenter, sgd, stepFigures, tensor, train, tree, valueAndGrad, writeNifti, writePhantomDataset,
  writeReport, checkSplits, kFold,
} from "../engine/mod.ts";
import type { Fold, OverlayCase, Plan, RunFolder, SampleCase, Tensor } from "../engine/mod.ts";
import { plainConvUNet } from "../models/mod.ts";

const options = await resumableConfig({
  data: entry("", "dataset folder; phantoms without it"),
  folds: entry(5, "parts of the cross-validation", { integer: true, min: 2 }),
  fold: entry("0", "part that is held out, from 0; each: one training a part; all: nothing is held out"),
  splits: entry("", "JSON file of splits as nnU-Net's splits_final.json, instead of --folds"),
  run: entry("", "folder of the run; the next free one in runs/ without it"),
  resume: entry("", "folder of a run to go on with, after a stop or with more --steps"),
  overwrite: entry(false, "whether that folder may hold an earlier run"),
  seed: entry(1, "of the weights, the patches and the augmentation", { integer: true, min: 0 }),
  steps: entry(0, "optimiser steps; 0: 120 on phantoms, 800 on --data", { integer: true, min: 0 }),
  epochs: entry(0, "instead of --steps: epochs of --epoch steps", { integer: true, min: 0 }),
  epoch: entry(50, "steps an epoch, after which the held-out cases are looked at", { integer: true, min: 1 }),
  validation: entry(5, "batches of held-out patches that are looked at then", { integer: true, min: 0 }),
  batch: entry(2, "patches a step", { integer: true, min: 1 }),
  patch: entry([], "voxels z,y,x of a patch; from the images without it", { integer: true, min: 1, lengths: [0, 3] }),
  foreground: entry(0.33, "fraction of a batch's patches that are centred on foreground", { min: 0, max: 1 }),
  flips: choice(["xyz", "xy", "xz", "yz", "x", "y", "z", "none"], "axes along which patches are mirrored at random"),
  features: entry([8, 16, 32], "channels at each resolution, the finest first", { integer: true, min: 1 }),
  decoderConvs: entry(0, "convolutions a decoder stage; 0: 1 on phantoms, 2 on --data", { integer: true, min: 0 }),
  optimizer: choice(["adam", "sgd"], "sgd has Nesterov momentum 0.99"),
  rate: entry(0, "learning rate at the start; 0: 3e-3 for adam on --data, else 1e-2", { min: 0 }),
  schedule: choice(["poly", "cosine", "constant"], "how the learning rate falls"),
  weightDecay: entry(3e-5, "L2 penalty", { min: 0 }),
  precision: choice(["f32", "mixed"], "mixed: f16 products and activations, f32 sums and weights; needs shader-f16"),
  clip: entry(12, "largest norm of the gradients", { min: 1e-6 }),
  checkpoint: entry(5, "minutes from one checkpoint to the next", { min: 0 }),
  phantoms: entry(16, "patients to make without --data", { integer: true, min: 2 }),
}, { change: ["steps", "epochs", "data", "checkpoint"] });
const { seed, batch } = options;
// Phantoms are small and plain, so that a first look takes minutes on a CPU.
const phantoms = { shape: [28, 32, 24], spacing: [1.3, 1.3, 2], patch: [24, 24, 24] } as const;
const steps = options.epochs * options.epoch || options.steps || (options.data ? 800 : 120);
const rate = options.rate || (options.data && options.optimizer === "adam" ? 3e-3 : 1e-2);
const decoderConvs = options.decoderConvs || (options.data ? 2 : 1);
const flip = [..."zyx"].flatMap((axis, k) => (options.flips.includes(axis) ? [k] : []));
const device = await deviceInfo();
print(`Device: ${device.name} (${device.kind}; ${device.reason})`);

// Data: which cases train and which are held out, and how they are prepared.
const name = options.data.split("/").filter((part) => part !== "").at(-1) ?? "phantom";
const run = options.resume
  ? await resumeRun(options.resume)
  : await openRun({ name, folder: options.run, overwrite: options.overwrite });
const folder = options.data || `${run.path}/phantom`;
if (!options.data) await writePhantomDataset(folder, { cases: options.phantoms, seed, ...phantoms });
const dataset = await openDataset(folder);
const ids = dataset.cases.map((item) => item.id);
const itemOf = new Map(dataset.cases.map((item) => [item.id, item]));
const splits = await chooseSplits();
const chosen = options.fold === "each" ? splits.map((_, k) => k) : [options.fold === "all" ? 0 : Number(options.fold)];
if (!chosen.every((index) => splits[index])) {
  throw new ConfigError(`--fold: got "${options.fold}", wanted 0 to ${splits.length - 1}, each or all`);
}
const prepared: SampleCase[] = [];
for (const item of dataset.cases) {
  prepared.push(prepareCase(await loadCase(dataset, item), { classes: dataset.labels.length }));
}
const store = inMemory(prepared);
const multiple = Array(3).fill(2 ** (options.features.length - 1));
const whole = choosePatch(prepared.map((item) => item.shape), { multiple });
const patch = options.patch.length > 0 ? options.patch : options.data ? whole : phantoms.patch;
const triple = (n: number) => [n, n, n] as const;
const plan: Plan = {
  format: "voxgrad plan 1", dataset: dataset.name, configuration: "3d_fullres", orientation: "stored",
  transpose: [0, 1, 2], spacing: prepared[0]!.spacing, patch: patch as any, batch,
  channels: dataset.channels.map((channel) => ({ name: channel, normalisation: "z-score" })),
  labels: dataset.labels.map((label) => label.name),
  ...(dataset.ignoreLabel === undefined ? {} : { ignoreLabel: dataset.ignoreLabel }),
  resampling: { image: 3, label: 1, separateAxis: 0, anisotropy: 3 },
  network: {
    name: "plainConvUNet", features: options.features, kernels: options.features.map(() => triple(3)),
    strides: options.features.map((_, s) => triple(s === 0 ? 1 : 2)), convsPerStage: options.features.map(() => 2),
    decoderConvsPerStage: options.features.slice(1).map(() => decoderConvs),
  },
  fingerprint: {} as any,
};
const regions = plan.regions?.map((region) => region.values);
const classes = plan.regions?.map((region) => region.name) ?? plan.labels.slice(1);
print(`Data: ${folder}, ${ids.length} cases; ${classes.join(", ")}`);

// Model: nnU-Net's plain U-Net, its outputs at every resolution trained.
const { name: network, ...shape } = plan.network;
const architecture = {
  inputChannels: plan.channels.length, classes: outputChannels(plan), deepSupervision: true, ...shape,
};
const model = plainConvUNet(architecture);
const parameters = tree.leaves(model.init(random.key(seed))).reduce((sum: number, p: Tensor) => sum + p.size, 0);
const features = plan.network.features.join("-");
print(`Model: ${network} ${features}, ${parameters} parameters; batch ${batch} x ${patch.join(" x ")}`);
const { cases: _, testCases: __, ...described } = dataset;
await run.writeJson("config.json", {
  options, steps, rate, classes, plan, architecture, parameters, dataset: described, splits, device,
});

// One step: loss, gradients, update, as one program that overwrites weights and optimiser state.
const { weightDecay } = options;
const optimiser = options.optimizer === "adam"
  ? adam({ weightDecay })
  : sgd({ momentum: 0.99, nesterov: true, weightDecay });
const weights = deepSupervisionWeights(shape.features.length - 1, { coarsest: shape.features.length < 4 });
const loss = (output: Tensor, target: Tensor): Tensor =>
  regions
    ? diceBinaryCrossEntropy(output, target, { regions, batch: true, ignoreIndex: plan.ignoreLabel })
    : diceCrossEntropy(output, target, { batch: true, ignoreIndex: plan.ignoreLabel });
const lossOf = (p: any, image: Tensor, label: Tensor) => {
  const outputs = model.apply(p, image, { train: true });
  return [deepSupervision(loss, outputs, label, { weights }), outputs[0]] as [Tensor, Tensor];
};
const figuresOf = (value: Tensor, logits: Tensor, label: Tensor): Tensor =>
  stepFigures(value, logits, label, { regions, ignore: plan.ignoreLabel });
const step = compile((p: any, state: any, image: Tensor, label: Tensor, learningRate: number) => {
  const [[value, logits], grads] = valueAndGrad(lossOf, { hasAux: true })(p, image, label);
  const [clipped] = clipGradNorm(grads, options.clip);
  const [next, nextState] = optimiser.update(clipped, state, p, learningRate);
  return [next, nextState, figuresOf(value, logits, label)];
}, { donate: [0, 1], precision: options.precision });
const check = compile((p: any, image: Tensor, label: Tensor) => figuresOf(...lossOf(p, image, label), label));

const schedule = options.schedule === "poly" ? polySchedule(rate, { steps })
  : options.schedule === "cosine" ? cosineSchedule(rate, { steps })
  : constantSchedule(rate);
type Batch = Awaited<ReturnType<typeof sampleBatch>>;
const tensors = ({ image, label }: Batch): [Tensor, Tensor] => [
  tensor(image, { shape: [batch, plan.channels.length, ...plan.patch] }),
  tensor(label, { shape: [batch, ...plan.patch] }),
];

/** Trains on one split into a folder, and segments its held-out cases. */
async function trainFold(split: Fold, into: RunFolder): Promise<Evaluation> {
  let params = model.init(random.key(seed));
  let state = optimiser.init(params);
  const training = casesOf(store, split.train);
  const heldOut = casesOf(store, split.val);
  const draws = new Prng(seed).fork("batches");
  const looks = new Prng(seed).fork("validation");
  const save = (file: string) => saveModel(params, { network, architecture, plan }).then((bytes) => into.write(file, bytes));
  const started = performance.now();
  let first = true;
  const { records, seconds } = await train<Batch>({
    run: into, title: dataset.name, classes, steps, epochSteps: options.epoch, checkpointMinutes: options.checkpoint,
    rate: (k) => schedule(k - 1),
    batch: (k) => sampleBatch(draws.fork(k), training, { batch, patch: plan.patch, foreground: options.foreground, flip }),
    step: async (patches, learningRate) => {
      let figures: Tensor;
      [params, state, figures] = await step(params, state, ...tensors(patches), learningRate);
      if (first) print(programLine(step.programs()[0], performance.now() - started));
      first = false;
      return figures;
    },
    state: {
      read: () => ({ params, optimiser: state, lossScale: step.lossScaleState() }),
      write: (copy) => {
        ({ params, optimiser: state } = copy);
        step.restoreLossScale(copy.lossScale);
      },
    },
    validate: split.val.length === 0 || options.validation === 0 ? undefined : async () => {
      let sum = new Float64Array(1 + 2 * classes.length);
      for (let k = 0; k < options.validation; k++) {
        const patches = await sampleBatch(looks.fork(k), heldOut, { batch, patch: plan.patch, foreground: 0.33 });
        const figures = await (await check(params, ...tensors(patches))).data();
        sum = sum.map((value, at) => value + figures[at]!);
      }
      const dice = classes.map((_, c) => (2 * sum[1 + c]!) / sum[1 + classes.length + c]!);
      return { loss: sum[0]! / options.validation, dice };
    },
    best: () => save("model_best.safetensors"),
  });
  print(`Trained ${steps} steps in ${duration(seconds)}`);
  await save("model.safetensors");

  const segment = segmenter(model, params, { channels: plan.channels.length, labels: plan.labels, patch: plan.patch });
  const shown: OverlayCase[] = [];
  const evaluation = new Evaluation(plan.labels, { ignore: plan.ignoreLabel });
  for (const id of counted(split.val, "case")) {
    const { image, label } = await loadCase(dataset, itemOf.get(id)!);
    const prediction = await segment(image);
    evaluation.add(id, prediction, label!);
    if (shown.length < 4) shown.push({ name: id, image, reference: label!.data, prediction: prediction.data });
    await into.write(`predictions/${id}.nii.gz`, writeNifti(prediction, { dtype: "uint8", gzip: true }));
  }
  const trained = { steps, seconds, loss: records.at(-1)!.loss };
  await into.writeJson("metrics.json", { ...evaluation.toJson(), training: trained });
  await into.write("overlay.svg", overlaySvg(shown, { labels: plan.labels }));
  return evaluation;
}

const evaluation = new Evaluation(plan.labels, { ignore: plan.ignoreLabel });
for (const index of chosen) {
  if (chosen.length > 1) print(`\nFold ${index}`);
  const split = splits[index]!;
  const into = chosen.length > 1 ? run.folder(`fold_${index}`) : run;
  evaluation.cases.push(...(await trainFold(split, into)).cases);
}
if (chosen.length > 1) await run.writeJson("metrics.json", evaluation.toJson());
await writeReport(run);
if (evaluation.cases.length > 0) print(`\nDice on ${evaluation.cases.length} held-out cases\n${evaluation.table()}`);
print(`\nWritten:\n${run.listing()}`);
await closeDevice();

/** The splits of a resumed run, of a file, or made by the seed; one without held-out cases for --fold all. */
async function chooseSplits(): Promise<readonly Fold[]> {
  const before = options.resume ? await run.readJson("splits.json") : undefined;
  const made = before ? checkSplits(before, ids, `${run.path}/splits.json`)
    : options.fold === "all" ? [{ train: ids, val: [] }]
    : options.splits ? checkSplits(await readJson(options.splits), ids, options.splits)
    : kFold(ids, { folds: Math.min(options.folds, ids.length) });
  await run.writeJson("splits.json", made);
  return made;
}
