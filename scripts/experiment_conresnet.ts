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
  experimentEntries,
  firstCases,
  loadModel,
  type MeasuredCase,
  predictor,
  refuseUnused,
  runConfig,
  runExperiment,
  runScript,
  type Trial,
  trial,
  trimSlashes,
  writePlanAndSplit,
} from "../engine/train/mod.ts";
import { conresFeatures, conResNet, conResNetArms, type ConResNetConfig, contextMeasures } from "../models/mod.ts";
import { planParts } from "../models/conresnet/options.ts";
import { conResNetEntries, type ConResNetOptions, trainConResNet } from "./train_conresnet.ts";

interface ConResTrial extends Trial<ConResNetOptions> {
  /** Number of a further network of the same arm, with weights and batches of its own. */
  readonly again?: number;
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
const again = (k: number): ConResTrial => ({
  ...trial(`full_${k}`, `ConResNet, network ${k}`, "Weights, patches and augmentation of another seed."),
  again: k,
});
const more: readonly ConResTrial[] = [
  again(2),
  again(3),
  {
    name: "ensemble_seeds",
    title: "Ensemble of three seeds",
    of: ["full", "full_2", "full_3"],
    about: "Mean of the probabilities of three independent ConResNets (Table I).",
  },
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
  trial("baseline_none", "Baseline, gain none", "Kernels standardized as published, without a gain.", {
    arm: "baseline",
    gain: "none",
  }),
  trial("none", "ConResNet, gain none", "Kernels standardized as published, without a gain.", { gain: "none" }),
  trial("region", "ConResNet, weights by region", "Eq. 8 with voxels counted in each region by itself.", {
    residualWeights: "region",
  }),
  trial("background_1", "ConResNet, background weight 1", "Voxels that do not differ weigh 1 in Eq. 8.", {
    backgroundWeight: "1",
  }),
  trial("region_1", "ConResNet, by region, background 1", "Both.", {
    residualWeights: "region",
    backgroundWeight: "1",
  }),
  trial("mapping_region_1", "Residual mapping, by region, background 1", "The same without attention.", {
    arm: "mapping",
    residualWeights: "region",
    backgroundWeight: "1",
  }),
  trial("learned_gate", "ConResNet, learned gate", "The attention's share of the gate is learned, from 0.", {
    learnedGate: true,
  }),
];
const named = (trials: readonly ConResTrial[]): string => trials.map(({ name }) => name).join(", ");

const entries = {
  size: choice(["auto", "cpu", "gpu"], "cpu: patches of 16 x 32 x 32 and a small network; gpu: whole phantoms"),
  run: entry("runs/experiment_conresnet", "folder of the experiment; resumed if it exists"),
  ...experimentEntries,
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

/** Of networks with mapping: how well they order voxels by where slices of a region differ. */
const RESIDUAL_AREA = { name: "residual_area", heading: "Residual AUC", better: "higher", digits: 4 } as const;

await runScript(import.meta.url, () => config(entries), async (options) => {
  refuseUnused(options, { rate: options.rates.length > 0 && "--rates chooses it for each arm" });
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
    firstSeed: options.firstSeed,
    rates: options.rates,
    title: "Inter-slice context residuals: ConResNet and what it is compared with",
    about:
      "The enhancing tumor (ET) lies in the tumor core (TC), which lies in the whole tumor (WT); in slices of 3 mm, " +
      "whose cross-sections shift and grow from one to the next. All arms are measured by these regions.",
    reference: options.reference || trials[0].name,
    measures: ["Dice", "HD95", "HD", RESIDUAL_AREA],
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
    measure: async ({ trial: { name, of, again = 1, options: own }, seed, folder, shared, note }) => {
      const data = `${folder}/phantom`;
      if (of) return averaged(of.map((each) => `${folder}/${each}/model.safetensors`), data, cases);
      // Networks of their own have seeds that no repetition has.
      const options = { ...shared, seed: seed + 10_000 * (again - 1), ...own };
      const { cases: measured } = await trainConResNet(
        await runConfig(`${folder}/${name}`, conResNetEntries, options),
      );
      const context = await contextOf(`${folder}/${name}/model.safetensors`, data, measured.map(({ id }) => id));
      if (context && !Number.isNaN(context.saturated)) note({ "saturated attention": context.saturated });
      return measured.map(({ id, classes }): MeasuredCase => ({
        id,
        classes: Object.fromEntries(classes.map((each) => [each.name, {
          ...measuresOf(each),
          [RESIDUAL_AREA.name]: context?.cases.find((one) => one.id === id)?.areas[each.name] ?? null,
        }])),
      }));
    },
    figures: async (experiment, folder) => {
      await addArmFigures(experiment, folder, trials);
      await addFeatures(experiment, folder, trials, cases);
    },
  });
});

/** What a network knows of residuals in cases of a dataset; nothing of one without mapping. */
async function contextOf(file: string, data: string, ids: readonly string[]) {
  const { plan, model, params } = await modelOf(file);
  if (!model.config.mapping) return undefined;
  const dataset = await openDataset(data);
  const items = dataset.cases.filter(({ id }) => ids.includes(id));
  const cases = await Promise.all(items.map(async (item) => preprocessCase(await loadCase(dataset, item), plan)));
  return contextMeasures({ model, params }, { plan, regions: planParts(plan), cases });
}

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
    measured.push({
      id,
      classes: Object.fromEntries(
        classes.map((each) => [each.name, { ...measuresOf(each), [RESIDUAL_AREA.name]: null }]),
      ),
    });
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
