// Trains a 3-D U-Net on a folder of labelled scans (Medical Segmentation Decathlon or nnU-Net layout), or without
// --data on phantoms that it makes first, and segments the held-out cases. --help lists what can be set. The axes
// x, y, z are those of the NIfTI files (x varies fastest); sizes in voxels are z,y,x.
import {
  adam, choice, choosePatch, clipGradNorm, closeDevice, compile, config, counted, deepSupervision,
  deepSupervisionWeights, deviceInfo, diceCrossEntropy, duration, entry, Evaluation, inMemory, JsonLines, loadCase, openDataset,
  openRun, overlaySvg, polySchedule, prepareCase, print, Prng, programLine, random, recordChart, sampleBatch,
  saveModel, segmenter, sgd, splitCases, stepFigures, tensor, trainLoop, tree, valueAndGrad, writeNifti,
  writePhantomDataset,
} from "../engine/mod.ts";
import type { OverlayCase, SampleCase, Tensor } from "../engine/mod.ts";
import { plainConvUNet } from "../models/mod.ts";

const options = config({
  data: entry("", "dataset folder; phantoms without it"),
  heldOut: entry(0.2, "fraction, or from 1 on number, of cases held out", { min: 1e-6 }),
  run: entry("", "folder of the run; the next free one in runs/ without it"),
  overwrite: entry(false, "whether that folder may hold an earlier run"),
  seed: entry(1, "of the split, the weights and the patches", { integer: true, min: 0 }),
  steps: entry(0, "optimiser steps; 0: 120 on phantoms, 800 on --data", { integer: true, min: 0 }),
  batch: entry(2, "patches a step", { integer: true, min: 1 }),
  patch: entry([], "voxels z,y,x of a patch; from the images without it", { integer: true, min: 1, lengths: [0, 3] }),
  foreground: entry(0.33, "fraction of a batch's patches that are centred on foreground", { min: 0, max: 1 }),
  flips: choice(["xyz", "xy", "xz", "yz", "x", "y", "z", "none"], "axes along which patches are mirrored at random"),
  features: entry([8, 16, 32], "channels at each resolution, the finest first", { integer: true, min: 1 }),
  decoderConvs: entry(0, "convolutions a decoder stage; 0: 1 on phantoms, 2 on --data", { integer: true, min: 0 }),
  optimizer: choice(["adam", "sgd"], "sgd has Nesterov momentum 0.99"),
  rate: entry(0, "learning rate at the start; 0: 3e-3 for adam on --data, else 1e-2", { min: 0 }),
  weightDecay: entry(3e-5, "L2 penalty", { min: 0 }),
  precision: choice(["f32", "mixed"], "mixed: f16 products and activations, f32 sums and weights; needs shader-f16"),
  clip: entry(12, "largest norm of the gradients", { min: 1e-6 }),
  phantoms: entry(16, "patients to make without --data", { integer: true, min: 2 }),
});
const { seed, batch } = options;
// Phantoms are small and plain, so that a first look takes minutes on a CPU.
const phantoms = { shape: [28, 32, 24], spacing: [1.3, 1.3, 2], patch: [24, 24, 24] } as const;
const steps = options.steps || (options.data ? 800 : 120);
const rate = options.rate || (options.data && options.optimizer === "adam" ? 3e-3 : 1e-2);
const decoderConvs = options.decoderConvs || (options.data ? 2 : 1);
const flip = [..."zyx"].flatMap((axis, k) => (options.flips.includes(axis) ? [k] : []));
const device = await deviceInfo();
print(`Device: ${device.name} (${device.kind}; ${device.reason})`);

// Data: everything in memory, normalised; a fixed part is held out.
const name = options.data.split("/").filter((part) => part !== "").at(-1) ?? "phantom";
const run = await openRun({ name, folder: options.run, overwrite: options.overwrite });
const folder = options.data || `${run.path}/phantom`;
if (!options.data) await writePhantomDataset(folder, { cases: options.phantoms, seed, ...phantoms });
const dataset = await openDataset(folder);
const labels = dataset.labels.map((label) => label.name);
const split = splitCases(dataset.cases.map((item) => item.id), { seed, heldOut: options.heldOut });
const itemOf = new Map(dataset.cases.map((item) => [item.id, item]));
const training: SampleCase[] = [];
for (const id of split.training) {
  training.push(prepareCase(await loadCase(dataset, itemOf.get(id)!), { classes: labels.length }));
}
const multiple = Array(3).fill(2 ** (options.features.length - 1));
const whole = choosePatch(training.map((item) => item.shape), { multiple });
const patch = options.patch.length > 0 ? options.patch : options.data ? whole : phantoms.patch;
const classes = labels.slice(1);
print(`Data: ${folder}, ${training.length} training cases, ${split.heldOut.length} held out; ${classes.join(", ")}`);

// Model: nnU-Net's plain U-Net, its outputs at every resolution trained.
const architecture = {
  inputChannels: dataset.channels.length,
  classes: labels.length,
  features: options.features,
  strides: options.features.map((_, stage) => (stage === 0 ? 1 : 2)),
  decoderConvsPerStage: decoderConvs,
  deepSupervision: true,
} as const;
const model = plainConvUNet(architecture);
let params = model.init(random.key(seed));
const count = tree.leaves(params).reduce((sum: number, p: Tensor) => sum + p.size, 0);
print(`Model: PlainConvUNet ${options.features.join("-")}, ${count} parameters; batch ${batch} x ${patch.join(" x ")}`);
const { cases: _, testCases: __, ...described } = dataset;
await run.writeJson("config.json", { ...options, steps, rate, patch, architecture, dataset: described, split, device });

// One step: loss, gradients, update, as one program that overwrites weights and optimiser state.
const { weightDecay } = options;
const optimiser = options.optimizer === "adam"
  ? adam({ weightDecay })
  : sgd({ momentum: 0.99, nesterov: true, weightDecay });
const weights = deepSupervisionWeights(options.features.length - 1, { coarsest: options.features.length < 4 });
const lossOf = (p: any, image: Tensor, label: Tensor) => {
  const outputs = model.apply(p, image, { train: true });
  const loss = (output: Tensor, target: Tensor) =>
    diceCrossEntropy(output, target, { batch: true, ignoreIndex: dataset.ignoreLabel });
  return [deepSupervision(loss, outputs, label, { weights }), outputs[0]];
};
const step = compile((p: any, state: any, image: Tensor, label: Tensor, learningRate: number) => {
  const [[loss, logits], grads] = valueAndGrad(lossOf, { hasAux: true })(p, image, label);
  const [clipped] = clipGradNorm(grads, options.clip);
  const [next, nextState] = optimiser.update(clipped, state, p, learningRate);
  return [next, nextState, stepFigures(loss, logits, label)];
}, { donate: [0, 1], precision: options.precision });

// Loop.
let state = optimiser.init(params);
const poly = polySchedule(rate, { steps });
const lines = new JsonLines(run, "log.jsonl");
const prng = new Prng(seed).fork("batches");
const source = inMemory(training);
const started = performance.now();
const records = await trainLoop({
  steps,
  classes,
  rate: (k) => poly(k - 1),
  batch: (k) => sampleBatch(prng.fork(k), source, { batch, patch, foreground: options.foreground, flip }),
  step: async ({ image, label }, learningRate, k) => {
    const x = tensor(image, { shape: [batch, dataset.channels.length, ...patch] });
    const y = tensor(label, { shape: [batch, ...patch] });
    let figures: Tensor;
    [params, state, figures] = await step(params, state, x, y, learningRate);
    if (k === 1) print(programLine(step.programs()[0], performance.now() - started));
    return figures;
  },
  record: (record) => lines.add(record),
  state: { every: 50, read: () => [params, state], write: (copy) => ([params, state] = copy) },
});
await lines.flush();
const seconds = (performance.now() - started) / 1000;
print(`Trained ${steps} steps in ${duration(seconds)}`);

// Results: weights, curves, and the held-out cases as the network sees them.
const description = {
  network: "plainConvUNet",
  architecture,
  channels: dataset.channels.length,
  channelNames: dataset.channels,
  labels,
  patch,
  normalisation: "z-score per channel",
} as const;
await run.write("model.safetensors", await saveModel(params, description));
await run.write("progress.svg", recordChart(records, classes, { title: dataset.name }));
const segment = segmenter(model, params, description);
const shown: OverlayCase[] = [];
const evaluation = new Evaluation(labels, { ignore: dataset.ignoreLabel });
for (const id of counted(split.heldOut, "case")) {
  const { image, label } = await loadCase(dataset, itemOf.get(id)!);
  const prediction = await segment(image);
  evaluation.add(id, prediction, label!);
  if (shown.length < 4) shown.push({ name: id, image, reference: label!.data, prediction: prediction.data });
  await run.write(`predictions/${id}.nii.gz`, writeNifti(prediction, { dtype: "uint8", gzip: true }));
}
const trained = { steps, seconds, loss: records.at(-1)!.loss };
await run.writeJson("metrics.json", { ...evaluation.toJson(), training: trained });
await run.write("overlay.svg", overlaySvg(shown, { labels }));
print(`\nDice on ${split.heldOut.length} held-out cases\n${evaluation.table()}\n\nWritten:\n${run.listing()}`);
await closeDevice();
