// Compares what the paper of ConResNet compares (Zhang et al. 2021, Tables III to VI, Fig. 8) on phantoms of a tumor with
// three nested parts in thick slices. Every arm of a seed has the same patients, initialization, batches and steps; the
// last weights are measured on patients held out, by region. What is done is kept: the same command goes on after a stop.
// --help lists what can be set.
import { closeDevice, deviceInfo, loadParameters, random } from "../engine/mod.ts";
import {
  compareLabels,
  fingerprintDataset,
  loadCase,
  makePlan,
  measuresOf,
  NESTED_PHANTOM_REGIONS,
  openDataset,
  planText,
  preprocessCase,
  type Triple,
  writeNestedPhantomDataset,
} from "../engine/imaging/mod.ts";
import {
  choice,
  chooseArms,
  config,
  ConfigError,
  counted,
  duration,
  entry,
  loadModel,
  type MeasuredCase,
  type Member,
  openExperiment,
  predictor,
  print,
  readFigures,
  runConfig,
  RunFolder,
} from "../engine/train/mod.ts";
import { conresFeatures, conResNet, conResNetArms, conResNetEntries, trainConResNet } from "../models/mod.ts";
import type { ConResNetConfig } from "../models/mod.ts";

interface Trial {
  readonly name: string;
  readonly title: string;
  readonly about: string;
  readonly words: readonly string[];
  /** Names of arms whose networks are averaged; nothing is trained. */
  readonly of?: readonly string[];
}
const trial = (name: string, title: string, about: string, ...words: string[]): Trial => ({
  name,
  title,
  about,
  words,
});
const VIEWS = ["full", "sagittal", "coronal"];
const main: readonly Trial[] = [
  trial("baseline", "Baseline", "One decoder, no residuals.", "--arm", "baseline"),
  trial("mapping", "Residual mapping", "The second decoder learns residuals, without attention.", "--arm", "mapping"),
  trial("full", "ConResNet", "Residual mapping and attention.", "--arm", "full"),
  trial("sagittal", "ConResNet, sagittal", "Residuals of sagittal slices (Table IV).", "--axis", "sagittal"),
  trial("coronal", "ConResNet, coronal", "Residuals of coronal slices (Table IV).", "--axis", "coronal"),
  {
    name: "ensemble",
    title: "Ensemble of three",
    words: [],
    of: VIEWS,
    about: "Mean of the probabilities of the axial, sagittal and coronal ConResNets.",
  },
];
const more: readonly Trial[] = [
  trial(
    "baseline_classes",
    "Baseline, classes",
    "Softmax over labels that exclude each other (Table V).",
    "--arm",
    "baseline",
    "--activation",
    "softmax",
  ),
  trial(
    "classes",
    "ConResNet, classes",
    "The same with residuals of each label but the background.",
    "--activation",
    "softmax",
  ),
  trial("baseline_boundary", "Baseline and boundary loss", "Table VI.", "--arm", "baseline", "--boundary"),
  trial("boundary", "ConResNet and boundary loss", "Table VI.", "--boundary"),
  trial("lambda_0", "ConResNet, lambda 0", "No deep supervision of the residuals (Fig. 8).", "--lambda", "0"),
  trial("lambda_1", "ConResNet, lambda 1", "Fig. 8.", "--lambda", "1"),
  trial(
    "code",
    "ConResNet, official residual loss",
    "The residual loss as the official code computes it.",
    "--mode",
    "code",
    "--first",
    "label",
  ),
];
const named = (trials: readonly Trial[]): string => trials.map(({ name }) => name).join(", ");

const options = config({
  size: choice(["auto", "cpu", "gpu"], "cpu: patches of 16 x 32 x 32 and a small network; gpu: whole phantoms"),
  run: entry("runs/experiment_conresnet", "folder of the experiment; one that is there is gone on with"),
  seeds: entry(3, "repetitions, each with patients and weights of its own", { integer: true, min: 1 }),
  cases: entry(24, "patients to train on", { integer: true, min: 2 }),
  heldOut: entry(12, "patients to measure on", { integer: true, min: 1 }),
  steps: entry(0, "optimizer steps of each arm; 0: 300 of size cpu, 3000 of size gpu", { integer: true, min: 0 }),
  rate: entry(1e-3, "Adam's learning rate at the start", { min: 0 }),
  contrast: entry(1, "how much tumors differ from the tissue around them", { min: 0 }),
  arms: entry("main", `names of arms with commas between; main: ${named(main)}; all: also ${named(more)}`),
});
const trials = chooseArms(options.arms, main, more);
const names = trials.map(({ name }) => name);
for (const { name, of } of trials) {
  const absent = of?.filter((each) => !names.includes(each)) ?? [];
  if (absent.length > 0) {
    throw new ConfigError(`--arms: ${name} is made of ${of!.join(", ")}; add ${absent.join(", ")}`);
  }
}
const seeds = Array.from({ length: options.seeds }, (_, k) => k + 1);

const device = await deviceInfo();
print(`Device: ${device.name} (${device.kind}; ${device.reason})`);
const size = options.size !== "auto" ? options.size : device.kind === "software" ? "cpu" : "gpu";
const { patch, features, groups } = size === "cpu"
  ? { patch: [16, 32, 32] as Triple, features: [8, 16, 32], groups: 4 }
  : { patch: [16, 48, 48] as Triple, features: [16, 32, 64, 128], groups: 8 };
const steps = options.steps || (size === "cpu" ? 300 : 3000);
const { cases, heldOut, rate, contrast } = options;
const run = new RunFolder(options.run.replace(/(?<=.)\/+$/, ""));
const experiment = await openExperiment(run, {
  title: "Inter-slice context residuals: ConResNet and what it is compared with",
  about:
    "The enhancing tumor (ET) lies in the tumor core (TC), which lies in the whole tumor (WT); in slices of 3 mm, " +
    "whose cross-sections shift and grow from one to the next. All arms are measured by these regions.",
  arms: trials.map(({ name, title, about }) => ({ name, title, about })),
  seeds,
  reference: trials[0].name,
  measures: ["Dice", "HD95", "HD"],
  settings: { size, patch, features, groups, steps, cases, heldOut, contrast, batch: 2, rate, weightDecay: 5e-4 },
});
const started = performance.now();

/** Makes a seed's patients with their plan and split, and gives the words that all its arms share. */
async function prepare(folder: string, seed: number): Promise<string[]> {
  const here = new RunFolder(folder);
  await writeNestedPhantomDataset(folder, { cases: cases + heldOut, seed, contrast });
  const dataset = await openDataset(folder);
  const ids = dataset.cases.map(({ id }) => id);
  // Features of a U-Net that is not used.
  const plan = makePlan(dataset, await fingerprintDataset(dataset), {
    preset: "small",
    patch,
    features: [8, 16],
    batch: 2,
  });
  await here.write("plan.json", planText(plan));
  await here.writeJson("splits.json", [{ train: ids.slice(0, cases), val: ids.slice(cases) }]);
  return [
    folder,
    "--plan",
    `${folder}/plan.json`,
    "--splits",
    `${folder}/splits.json`,
    "--cache",
    `${run.path}/prepared`,
    "--features",
    features.join(","),
    "--groups",
    `${groups}`,
    "--seed",
    `${seed}`,
    "--steps",
    `${steps}`,
    "--rate",
    `${rate}`,
    "--augment",
    "mirror",
    "--validation",
    "0",
  ];
}

/** Trains into a folder, or goes on with what is there; measures of the held-out cases by region. */
async function trained(folder: string, words: readonly string[]): Promise<MeasuredCase[]> {
  const comparison = await trainConResNet(await runConfig(folder, conResNetEntries, words));
  return comparison.cases.map(({ id, classes }) => ({
    id,
    classes: Object.fromEntries(classes.map((each) => [each.name, measuresOf(each)])),
  }));
}

/** A network of this experiment as it was trained. */
async function modelOf(file: string) {
  const { description: { plan, architecture }, tensors } = await loadModel(file);
  const model = conResNet(architecture as ConResNetConfig);
  return { plan, model, params: loadParameters(model.init(random.key(0)), tensors) };
}

/** The same of the mean of networks that are trained already. */
async function averaged(models: readonly string[], data: string): Promise<MeasuredCase[]> {
  const members: Member[] = [];
  for (const file of models) {
    const { plan, model, params } = await modelOf(file);
    members.push({ network: model, params: [params], plan });
  }
  const { predict } = predictor(members);
  const dataset = await openDataset(data);
  const measured: MeasuredCase[] = [];
  for (const item of counted(dataset.cases.slice(cases), "case")) {
    const { id, image, label } = await loadCase(dataset, item);
    const { labels } = await predict(image);
    const classes = compareLabels(labels, label!, { classes: NESTED_PHANTOM_REGIONS });
    measured.push({ id, classes: Object.fromEntries(classes.map((each) => [each.name, measuresOf(each)])) });
  }
  return measured;
}

for (const seed of seeds) {
  const folder = `${run.path}/seed_${seed}`;
  const data = `${folder}/phantom`;
  if (trials.every(({ name }) => experiment.done(name, seed))) continue;
  const common = await prepare(data, seed);
  for (const { name, title, words, of } of trials) {
    if (experiment.done(name, seed)) continue;
    print(`\nSeed ${seed}: ${title}`);
    const from = performance.now();
    const measured = of
      ? await averaged(of.map((each) => `${folder}/${each}/model.safetensors`), data)
      : await trained(`${folder}/${name}`, [...common, ...words]);
    const seconds = Math.round((performance.now() - from) / 1000);
    // Patients of a seed are its own.
    await experiment.add(name, seed, measured.map((each) => ({ ...each, id: `seed ${seed}, ${each.id}` })), {
      seconds,
    });
    await experiment.finish();
  }
}

// What the arms of the first seed drew, and the features of the paper's three on the same patients (Fig. 7).
const first = `${run.path}/seed_${seeds[0]}`;
for (const { name } of trials) {
  for (const { name: figure, title, caption, svg } of await readFigures(`${first}/${name}`)) {
    await experiment.figure(`${name}_${figure}.svg`, svg, `${title}. ${caption}`, { arm: name });
  }
}
const compared = trials.filter(({ name }) => Object.hasOwn(conResNetArms, name));
if (compared.length > 1) {
  const own = await Promise.all(
    compared.map(async ({ name, title }) => ({ title, ...(await modelOf(`${first}/${name}/model.safetensors`)) })),
  );
  const [{ plan, model }] = own as [(typeof own)[number]];
  const dataset = await openDataset(`${first}/phantom`);
  const patients = await Promise.all(
    dataset.cases.slice(cases, cases + 2).map(async (item) => preprocessCase(await loadCase(dataset, item), plan)),
  );
  const { svg, caption } = await conresFeatures(own, {
    plan,
    axis: model.config.axis,
    regions: plan.regions!,
    cases: patients,
  });
  await experiment.figure("features.svg", svg, caption);
}
print(`\n${await experiment.finish()}`);
print(`${duration((performance.now() - started) / 1000)}; written:\n${run.listing()}`);
await closeDevice();
