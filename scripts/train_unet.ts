// Trains a 3-D U-Net on a folder of labelled scans (Medical Segmentation Decathlon or nnU-Net layout), or without
// --data on phantoms that it makes first, and segments the held-out cases. --help lists what can be set. The axes
// x, y, z are those of the oriented scans (x from left to right); sizes in voxels are in the order of the plan.
import {
  adam, augment, casesOf, checkSplits, choice, clipGradNorm, closeDevice, compareLabels, Comparison, compile,
  ConfigError, constantSchedule,
  cosineSchedule, counted, deepSupervision, deepSupervisionWeights, deviceInfo, diceBinaryCrossEntropy,
  diceCrossEntropy, duration, entry, fingerprintDataset, formatTable, kFold, loadCase, loadParameters, makePlan, openCaseStore,
  openDataset, openRun, overlaySvg, planText, polySchedule, PostprocessingChoice, print, Prng, programLine, random, readJson, readPlan, readSafetensors,
  resumableConfig, resumeRun, sampleBatch, saveModel, segmenter, sgd, stepFigures, storeFolder, tensor, train, tree, valueAndGrad,
  writeNifti, writeComparison, writePhantomDataset, writeReport,
} from "../engine/mod.ts";
import type { EvaluatedCase, Fold, OverlayCase, Plan, RunFolder, Tensor, Triple } from "../engine/mod.ts";
import { unetConfigOf, unetFromPlan } from "../models/mod.ts";

const options = await resumableConfig({
  data: entry("", "dataset folder; phantoms without it", { positional: true }),
  plan: entry("", "plan file of `voxgrad plan`; made by its rules without it"),
  folds: entry(5, "parts of the cross-validation", { integer: true, min: 2 }),
  fold: entry("0", "part that is held out, from 0; each: one training a part; all: nothing is held out"),
  splits: entry("", "JSON file of splits as nnU-Net's splits_final.json, instead of --folds"),
  run: entry("", "folder of the run; the next free one in runs/ without it"),
  resume: entry("", "folder of a run to go on with, after a stop or with more --steps"),
  overwrite: entry(false, "whether that folder may hold an earlier run"),
  weights: entry("", "safetensors file of weights to start from, such as a PyTorch checkpoint of the same network"),
  seed: entry(1, "of the weights, the patches and the augmentation", { integer: true, min: 0 }),
  steps: entry(0, "optimiser steps; 0: 120 on phantoms, 800 on --data", { integer: true, min: 0 }),
  epochs: entry(0, "epochs of --epoch steps; of this and --steps the larger counts", { integer: true, min: 0 }),
  epoch: entry(50, "steps an epoch, after which the held-out cases are looked at", { integer: true, min: 1 }),
  validation: entry(5, "batches of held-out patches that are looked at then", { integer: true, min: 0 }),
  preset: choice(["auto", "nnunet", "small"], "size of a new plan; auto: nnunet on a GPU, small elsewhere"),
  batch: entry(0, "patches a step; 0: as planned", { integer: true, min: 0 }),
  patch: entry([], "voxels of a patch; as planned without it", { integer: true, min: 1, lengths: [0, 3] }),
  features: entry([], "channels at each resolution, the finest first; as planned without it", { integer: true, min: 1 }),
  foreground: entry(0.33, "fraction of a batch's patches that are centred on foreground", { min: 0, max: 1 }),
  augment: choice(["auto", "nnunet", "mirror", "none"], "auto: mirror on phantoms, nnU-Net's whole chain on --data"),
  flips: choice(["xyz", "xy", "xz", "yz", "x", "y", "z", "none"], "axes along which patches are mirrored at random"),
  optimizer: choice(["adam", "sgd"], "sgd has Nesterov momentum 0.99"),
  rate: entry(0, "learning rate at the start; 0: 3e-3 for adam on --data, else 1e-2", { min: 0 }),
  schedule: choice(["poly", "cosine", "constant"], "how the learning rate falls"),
  weightDecay: entry(3e-5, "L2 penalty", { min: 0 }),
  precision: choice(["f32", "mixed"], "mixed: f16 products and activations, f32 sums and weights; needs shader-f16"),
  clip: entry(12, "largest norm of the gradients", { min: 1e-6 }),
  checkpoint: entry(5, "minutes from one checkpoint to the next", { min: 0 }),
  cache: entry("runs/prepared", "folder of prepared cases, which all runs share"),
  memory: entry(2, "GB of prepared cases that are kept in memory", { min: 0 }),
  workers: entry(2, "threads that read scans", { integer: true, min: 0 }),
  phantoms: entry(16, "patients to make without --data", { integer: true, min: 2 }),
}, { change: ["steps", "epochs", "data", "checkpoint", "cache", "memory", "workers"] });
const { seed } = options;
const onPhantoms = options.data === "";
const steps = Math.max(options.epochs * options.epoch, options.steps) || (onPhantoms ? 120 : 800);
const rate = options.rate || (!onPhantoms && options.optimizer === "adam" ? 3e-3 : 1e-2);
const device = await deviceInfo();
print(`Device: ${device.name} (${device.kind}; ${device.reason})`);

// Data: which cases train and which are held out, and how they are prepared.
const name = options.data.split("/").filter((part) => part !== "").at(-1) ?? "phantom";
const run = options.resume
  ? await resumeRun(options.resume)
  : await openRun({ name, folder: options.run, overwrite: options.overwrite });
const folder = options.data || `${run.path}/phantom`;
// Phantoms are small and plain, so that a first look takes minutes on a CPU.
const phantoms = { cases: options.phantoms, seed, shape: [28, 32, 24], spacing: [1.3, 1.3, 2] } as const;
if (onPhantoms) await writePhantomDataset(folder, phantoms);
const dataset = await openDataset(folder);
const ids = dataset.cases.map((item) => item.id);
const itemOf = new Map(dataset.cases.map((item) => [item.id, item]));
const splits = await chooseSplits();
const chosen = options.fold === "each" ? splits.map((_, k) => k) : [options.fold === "all" ? 0 : Number(options.fold)];
if (!chosen.every((index) => splits[index])) {
  throw new ConfigError(`--fold: got "${options.fold}", wanted 0 to ${splits.length - 1}, each or all`);
}
const plan = await choosePlan();
const { batch, ignoreLabel } = plan;
const regions = plan.regions?.map((region) => region.values);
const classes = plan.regions?.map((region) => region.name) ?? plan.labels.slice(1);
print(`Data: ${folder}, ${ids.length} cases; ${classes.join(", ")}`);
const partial = dataset.cases.filter((item) => item.labelsPresent).length;
if (partial > 0) print(`${partial} cases have some labels annotated; what is not annotated counts as background here`);
const store = await openCaseStore(dataset, plan, {
  folder: storeFolder(options.cache, dataset, plan), workers: options.workers, memory: options.memory * 1e9,
  ids: [...new Set(chosen.flatMap((index) => [...splits[index]!.train, ...splits[index]!.val]))].sort(),
});

// Model: nnU-Net's U-Net, its outputs at every resolution trained.
const model = unetFromPlan(plan, { deepSupervision: true });
const network = plan.network.name;
const architecture = unetConfigOf(plan, { deepSupervision: true });
const parameters = tree.leaves(model.init(random.key(seed))).reduce((sum: number, p: Tensor) => sum + p.size, 0);
const size = `${batch} x ${plan.patch.join(" x ")}`;
print(`Model: ${network} ${plan.network.features.join("-")}, ${parameters} parameters; batch ${size}`);
const { cases: _, testCases: __, ...described } = dataset;
await run.writeJson("config.json", {
  options, steps, rate, classes, plan, architecture, parameters, dataset: described, splits, device,
});

// One step: augmentation, loss, gradients, update, as one program that overwrites weights and optimiser state.
const mirror = { axes: plan.transpose.flatMap((axis, k) => (options.flips.includes("zyx"[axis]!) ? [k] : [])) };
const chain = options.augment === "auto" ? (onPhantoms ? "mirror" : "nnunet") : options.augment;
const off = { rotation: false, scaling: false, noise: false, blur: false, brightness: false, contrast: false,
  lowResolution: false, invertedGamma: false, gamma: false } as const;
const changes = { ...(chain === "nnunet" ? {} : off), mirror: chain === "none" ? false : mirror } as const;
const sampled = augment.initialPatch(plan.patch, changes);
const weightDecay = { weightDecay: options.weightDecay };
const optimiser = options.optimizer === "adam"
  ? adam(weightDecay)
  : sgd({ momentum: 0.99, nesterov: true, ...weightDecay });
const stages = plan.network.features.length;
const weights = deepSupervisionWeights(stages - 1, { coarsest: stages < 4 });
const loss = (output: Tensor, target: Tensor): Tensor =>
  regions
    ? diceBinaryCrossEntropy(output, target, { regions, batch: true, ignoreIndex: ignoreLabel })
    : diceCrossEntropy(output, target, { batch: true, ignoreIndex: ignoreLabel });
const lossOf = (p: any, image: Tensor, label: Tensor) => {
  const outputs = model.apply(p, image, { train: true }) as Tensor[];
  return [deepSupervision(loss, outputs, label, { weights }), outputs[0]] as [Tensor, Tensor];
};
const figuresOf = (value: Tensor, logits: Tensor, label: Tensor): Tensor =>
  stepFigures(value, logits, label, { regions, ignore: ignoreLabel });
const step = compile((p: any, state: any, patches: Patches, key: Tensor, learningRate: number) => {
  const { image, label } = augment.nnunet(key, patches, { patch: plan.patch, ...changes });
  const [[value, logits], grads] = valueAndGrad(lossOf, { hasAux: true })(p, image, label);
  const [clipped] = clipGradNorm(grads, options.clip);
  const [next, nextState] = optimiser.update(clipped, state, p, learningRate);
  return [next, nextState, figuresOf(value, logits, label)];
}, { donate: [0, 1], precision: options.precision });
const check = compile((p: any, { image, label }: Patches) => figuresOf(...lossOf(p, image, label), label));

const schedule = options.schedule === "poly" ? polySchedule(rate, { steps })
  : options.schedule === "cosine" ? cosineSchedule(rate, { steps })
  : constantSchedule(rate);

type Patches = { image: Tensor; label: Tensor };
type Batch = Awaited<ReturnType<typeof sampleBatch>>;
const tensors = ({ image, label }: Batch, space: readonly number[]): Patches => ({
  image: tensor(image, { shape: [batch, plan.channels.length, ...space] }),
  label: tensor(label, { shape: [batch, ...space] }),
});

/** Trains on one split into a folder, and segments its held-out cases. */
async function trainFold(split: Fold, into: RunFolder): Promise<EvaluatedCase[]> {
  let params = await firstWeights();
  let state = optimiser.init(params);
  const training = casesOf(store, split.train);
  const heldOut = casesOf(store, split.val);
  const [draws, keys, looks] = ["batches", "augmentation", "validation"].map((use) => new Prng(seed).fork(use));
  const save = (file: string) => saveModel(params, { network, architecture, plan }).then((bytes) => into.write(file, bytes));
  const started = performance.now();
  let first = true;
  const { seconds } = await train<Batch>({
    run: into, title: dataset.name, classes, steps, epochSteps: options.epoch, checkpointMinutes: options.checkpoint,
    rate: (k) => schedule(k - 1),
    batch: (k) => sampleBatch(draws!.fork(k), training, { batch, patch: sampled, foreground: options.foreground }),
    step: async (patches, learningRate, k) => {
      const own = keys!.fork(k);
      const key = tensor(new Uint32Array([own.uint32(), own.uint32()]));
      let figures: Tensor;
      [params, state, figures] = await step(params, state, tensors(patches, sampled), key, learningRate);
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
        const patches = await sampleBatch(looks!.fork(k), heldOut, { batch, patch: plan.patch });
        const figures = await (await check(params, tensors(patches, plan.patch))).data();
        sum = sum.map((value, at) => value + figures[at]!);
      }
      const dice = classes.map((_, c) => (2 * sum[1 + c]!) / sum[1 + classes.length + c]!);
      return { loss: sum[0]! / options.validation, dice };
    },
    best: () => save("model_best.safetensors"),
  });
  print(`Trained ${steps} steps in ${duration(seconds)}`);
  await save("model.safetensors");

  const segment = segmenter(model, params, { plan });
  const shown: OverlayCase[] = [];
  const cases: EvaluatedCase[] = [];
  for (const id of counted(split.val, "case")) {
    const item = itemOf.get(id)!;
    const { image, label } = await loadCase(dataset, item);
    const prediction = await segment(image);
    const file = await into.write(`predictions/${id}.nii.gz`, writeNifti(prediction, { dtype: "uint8", gzip: true }));
    rule.add(prediction, label!);
    cases.push({ id, prediction: file, reference: item.label!, classes: compareLabels(prediction, label!, compared) });
    if (shown.length < 4) shown.push({ name: id, image, reference: label!.data, prediction: prediction.data });
  }
  await writeComparison(into, new Comparison(cases));
  await into.write("overlay.svg", overlaySvg(shown, { labels: plan.labels }));
  return cases;
}

const compared = {
  classes: plan.regions ?? plan.labels.slice(1).map((label, k) => ({ name: label, values: [k + 1] })),
  ignore: ignoreLabel,
};
const rule = new PostprocessingChoice(plan);
const cases: EvaluatedCase[] = [];
for (const index of chosen) {
  if (chosen.length > 1) print(`\nFold ${index}`);
  const into = chosen.length > 1 ? run.folder(`fold_${index}`) : run;
  cases.push(...(await trainFold(splits[index]!, into)));
}
const comparison = new Comparison(cases);
if (chosen.length > 1) await writeComparison(run, comparison);
if (cases.length > 0) await run.writeJson("postprocessing.json", rule.decide());
await writeReport(run);
if (cases.length > 0) {
  const { headings, rows } = comparison.tableRows();
  print(`\nDice on ${cases.length} held-out cases, distances in mm\n${formatTable(headings, rows)}`);
}
print(`\nWritten:\n${run.listing()}`);
await closeDevice();

/** Weights of the seed, or of a file; nnU-Net's checkpoints hold every weight up to three times. */
async function firstWeights(): Promise<any> {
  const made = model.init(random.key(seed));
  if (options.weights === "") return made;
  const { tensors } = await readSafetensors(options.weights);
  return loadParameters(made, tensors, { ignore: /(^|\.)all_modules\.|^decoder\.encoder\./ });
}

/** The plan of a resumed run, of a file, or by the rules; it is kept with the run. */
async function choosePlan(): Promise<Plan> {
  const file = options.resume ? `${run.path}/plan.json` : options.plan;
  let chosen: Plan;
  if (file) {
    chosen = await readPlan(file);
    if (!options.resume && options.batch > 0) chosen = { ...chosen, batch: options.batch };
  } else {
    const preset = options.preset !== "auto" ? options.preset : device.kind === "software" ? "small" : "nnunet";
    const patch = options.patch.length > 0 ? options.patch : onPhantoms ? [24, 24, 24] : undefined;
    const features = options.features.length > 0 ? options.features : onPhantoms ? [8, 16, 32] : undefined;
    chosen = makePlan(dataset, await fingerprintDataset(dataset, { workers: options.workers }), {
      preset,
      ...(patch && { patch: patch as unknown as Triple }),
      ...(features && { features }),
      ...(options.batch > 0 && { batch: options.batch }),
    });
  }
  await run.write("plan.json", `${planText(chosen)}\n`);
  return chosen;
}

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
