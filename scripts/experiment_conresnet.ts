// Compares what the paper of ConResNet compares (Zhang et al. 2021, Tables III to VI, Fig. 8) on phantoms of a tumor
// with three nested parts in thick slices. Every arm of a seed has the same patients, initialization, batches and
// steps; the last weights are measured on patients held out, by region. What is done is kept: the same command resumes
// after a stop. --help lists what can be set.
import { loadParameters, random } from "../engine/mod.ts";
import {
  compareLabels,
  loadCase,
  measuresOf,
  NESTED_PHANTOM_REGIONS,
  openDataset,
  preprocessCase,
  type Triple,
  writeNestedPhantomDataset,
} from "../engine/imaging/mod.ts";
import {
  addArmFigures,
  choice,
  chooseArms,
  config,
  ConfigError,
  counted,
  deviceSize,
  entry,
  type Experiment,
  firstCases,
  loadModel,
  type MeasuredCase,
  predictor,
  runConfig,
  runExperiment,
  runScript,
  type Trial,
  trial,
  trimSlashes,
  writePlanAndSplit,
} from "../engine/train/mod.ts";
import { conresFeatures, conResNet, conResNetArms, type ConResNetConfig } from "../models/mod.ts";
import { conResNetEntries, type ConResNetOptions, trainConResNet } from "./train_conresnet.ts";

interface ConResTrial extends Trial<ConResNetOptions> {
  /** Names of arms whose networks are averaged; nothing is trained. */
  readonly of?: readonly string[];
}
const main: readonly ConResTrial[] = [
  trial("baseline", "Baseline", "One decoder, no residuals.", { arm: "baseline" }),
  trial("mapping", "Residual mapping", "The second decoder learns residuals, without attention.", { arm: "mapping" }),
  trial("full", "ConResNet", "Residual mapping and attention.", { arm: "full" }),
  trial("sagittal", "ConResNet, sagittal", "Residuals of sagittal slices (Table IV).", { axis: "sagittal" }),
  trial("coronal", "ConResNet, coronal", "Residuals of coronal slices (Table IV).", { axis: "coronal" }),
  {
    name: "ensemble",
    title: "Ensemble of three",
    of: ["full", "sagittal", "coronal"],
    about: "Mean of the probabilities of the axial, sagittal and coronal ConResNets.",
  },
];
const more: readonly ConResTrial[] = [
  trial("baseline_classes", "Baseline, classes", "Softmax over labels that exclude each other (Table V).", {
    arm: "baseline",
    activation: "softmax",
  }),
  trial("classes", "ConResNet, classes", "The same with residuals of each label but the background.", {
    activation: "softmax",
  }),
  trial("baseline_boundary", "Baseline and boundary loss", "Table VI.", { arm: "baseline", boundary: true }),
  trial("boundary", "ConResNet and boundary loss", "Table VI.", { boundary: true }),
  trial("lambda_0", "ConResNet, lambda 0", "No deep supervision of the residuals (Fig. 8).", { lambda: 0 }),
  trial("lambda_1", "ConResNet, lambda 1", "Fig. 8.", { lambda: 1 }),
  trial("code", "ConResNet, official residual loss", "The residual loss as the official code computes it.", {
    mode: "code",
    first: "label",
  }),
];
const named = (trials: readonly ConResTrial[]): string => trials.map(({ name }) => name).join(", ");

const entries = {
  size: choice(["auto", "cpu", "gpu"], "cpu: patches of 16 x 32 x 32 and a small network; gpu: whole phantoms"),
  run: entry("runs/experiment_conresnet", "folder of the experiment; resumed if it exists"),
  seeds: entry(3, "repetitions, each with patients and weights of its own", { integer: true, min: 1 }),
  cases: entry(24, "patients to train on", { integer: true, min: 2 }),
  heldOut: entry(12, "patients to measure on", { integer: true, min: 1 }),
  steps: entry(0, "optimizer steps of each arm; 0: 300 of size cpu, 3000 of size gpu", { integer: true, min: 0 }),
  rate: entry(1e-3, "Adam's learning rate at the start", { min: 0 }),
  contrast: entry(1, "how much tumors differ from the tissue around them", { min: 0 }),
  arms: entry("main", `names of arms with commas between; main: ${named(main)}; all: also ${named(more)}`),
} as const;

const SIZES = {
  cpu: { patch: [16, 32, 32] as Triple, features: [8, 16, 32], groups: 4, steps: 300 },
  gpu: { patch: [16, 48, 48] as Triple, features: [16, 32, 64, 128], groups: 8, steps: 3000 },
};

await runScript(import.meta.url, () => config(entries), async (options) => {
  const trials = chooseArms(options.arms, main, more);
  const names = trials.map(({ name }) => name);
  for (const { name, of } of trials) {
    const absent = of?.filter((each) => !names.includes(each)) ?? [];
    if (absent.length > 0) {
      throw new ConfigError(`--arms: ${name} is made of ${of!.join(", ")}; add ${absent.join(", ")}`);
    }
  }
  const size = await deviceSize(options.size);
  const { patch, features, groups } = SIZES[size];
  const steps = options.steps || SIZES[size].steps;
  const { cases, heldOut, rate, contrast } = options;

  await runExperiment<ConResTrial, Partial<ConResNetOptions>>({
    run: options.run,
    trials,
    seeds: options.seeds,
    title: "Inter-slice context residuals: ConResNet and what it is compared with",
    about:
      "The enhancing tumor (ET) lies in the tumor core (TC), which lies in the whole tumor (WT); in slices of 3 mm, " +
      "whose cross-sections shift and grow from one to the next. All arms are measured by these regions.",
    reference: trials[0].name,
    measures: ["Dice", "HD95", "HD"],
    settings: { size, patch, features, groups, steps, cases, heldOut, contrast, batch: 2, rate, weightDecay: 5e-4 },
    prepare: async (folder, seed) => {
      const data = `${folder}/phantom`;
      await writeNestedPhantomDataset(data, { cases: cases + heldOut, seed, contrast });
      const files = await writePlanAndSplit(data, {
        files: `${data}/`,
        split: firstCases(cases),
        // Features of a U-Net that is not used.
        plan: { preset: "small", patch, features: [8, 16], batch: 2 },
      });
      const cache = `${trimSlashes(options.run)}/prepared`;
      return { ...files, cache, features, groups, seed, steps, rate, augment: "mirror", validation: 0 };
    },
    measure: async ({ trial: { name, of, options: own }, folder, shared }) =>
      of
        ? averaged(of.map((each) => `${folder}/${each}/model.safetensors`), `${folder}/phantom`, cases)
        : trainConResNet(await runConfig(`${folder}/${name}`, conResNetEntries, { ...shared, ...own })),
    figures: async (experiment, folder) => {
      await addArmFigures(experiment, folder, trials);
      await addFeatures(experiment, folder, trials, cases);
    },
  });
});

/** A network of this experiment as it was trained. */
async function modelOf(file: string) {
  const { description: { plan, architecture }, tensors } = await loadModel(file);
  const model = conResNet(architecture as ConResNetConfig);
  return { plan, model, params: loadParameters(model.init(random.key(0)), tensors) };
}

/** Measures of the mean of networks that are trained already, on the cases after the first. */
async function averaged(models: readonly string[], data: string, cases: number): Promise<MeasuredCase[]> {
  const members = await Promise.all(models.map(async (file) => {
    const { plan, model, params } = await modelOf(file);
    return { network: model, params: [params], plan };
  }));
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

/** The features of the paper's three networks on the same patients (Fig. 7). */
async function addFeatures(
  experiment: Experiment,
  folder: string,
  trials: readonly ConResTrial[],
  cases: number,
): Promise<void> {
  const compared = trials.filter(({ name }) => Object.hasOwn(conResNetArms, name));
  if (compared.length < 2) return;
  const own = await Promise.all(
    compared.map(async ({ name, title }) => ({ title, ...(await modelOf(`${folder}/${name}/model.safetensors`)) })),
  );
  const [{ plan, model }] = own;
  const dataset = await openDataset(`${folder}/phantom`);
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
