// Compares what CoLab's paper compares (Li et al. 2022, Tables I, II, IV, V) on phantoms where only context tells
// lesions from distractors: plain training, contexts by k-means, dilation, CoLab, another network and people. Every arm
// of a seed has the same patients, initialization, batches and steps; the last weights are measured on patients held
// out. What is done is kept: the same command resumes after a stop. --help lists what can be set.
import { loadParameters, random } from "../engine/mod.ts";
import {
  compareLabels,
  type Comparison,
  type DatasetCase,
  keepLargestComponent,
  measuresOf,
  metrics,
  openDataset,
  readVolume,
  type Triple,
  type Volume,
  writeContextPhantomDataset,
  writeNifti,
} from "../engine/imaging/mod.ts";
import {
  addArmFigures,
  choice,
  chooseArms,
  config,
  counted,
  deviceSize,
  entry,
  experimentEntries,
  firstCases,
  loadModel,
  type MeasuredCase,
  refuseUnused,
  runConfig,
  runExperiment,
  RunFolder,
  runScript,
  segmenter,
  type Trial,
  trimSlashes,
  writePlanAndSplit,
} from "../engine/train/mod.ts";
import { networkOf } from "../models/mod.ts";
import { segmentationEntries } from "../models/colab/options.ts";
import { colabEntries, type ColabOptions, trainColab } from "./train_colab.ts";

const entries = {
  size: choice(["auto", "cpu", "gpu"], "cpu: 32 voxels cubed and a small network; gpu: 48"),
  run: entry("runs/experiment_colab", "folder of the experiment; resumed if it exists"),
  ...experimentEntries,
  cases: entry(16, "patients to train on", { integer: true, min: 2 }),
  heldOut: entry(16, "patients to measure on", { integer: true, min: 1 }),
  steps: entry(0, "optimizer steps of each arm; 0: 1000 of size cpu, 4000 of size gpu", { integer: true, min: 0 }),
  arms: entry("main", "names of arms with commas between, main, or all: also entropy, clusters and inner steps"),
  rate: entry(3e-3, "Adam's learning rate at the start", { min: 0 }),
  period: entry(10, "steps from one update of the generator to the next", { integer: true, min: 1 }),
  generatorRate: entry(3e-4, "Adam's learning rate for the generator, as in the official code", { min: 0 }),
  ...segmentationEntries,
} as const;
/** An arm; with `organ` the organ is a class of its own, as in the paper's Tables II and V. */
interface ColabTrial extends Trial<ColabOptions> {
  readonly organ?: boolean;
}
const colabArm = (t: number): ColabTrial => ({
  name: `colab${t}`,
  title: `CoLab, t = ${t}`,
  options: { context: "colab", contexts: t },
  about: `Contexts by a generator trained with meta-gradients, ${t} classes.`,
});
const ARMS: readonly ColabTrial[] = [
  { name: "none", title: "No context labels (t = 1)", options: { context: "none" }, about: "Plain training." },
  {
    name: "kmeans",
    title: "k-means, t = 2",
    options: { context: "kmeans" },
    about: "Clusters of intensities in the body.",
  },
  {
    name: "dilated",
    title: "Dilated masks",
    options: { context: "dilated" },
    about: "The soft dilated mask is the context.",
  },
  colabArm(2),
  colabArm(4),
  colabArm(6),
  {
    name: "frozen",
    title: "Generator as it starts, t = 2",
    options: { context: "colab", contexts: 2, generatorRate: 0 },
    about: "Contexts of a generator that never learns: the control of what meta-learning adds.",
  },
  {
    name: "predicted",
    title: "Predicted organ",
    options: { context: "labels" },
    about: "The organ as another network, trained on other patients, segments it.",
  },
  { name: "labels", title: "Organ by hand", options: { context: "labels" }, about: "The true organ: the control." },
];
/** Remedies against labels that collapse into one context, and inner steps that are closer to those of the training. */
const more: readonly ColabTrial[] = [
  {
    name: "none_organ",
    title: "Organ and lesion, t = 1",
    options: { context: "none" },
    about: "The organ is a class too: people's labels as classes, not as contexts.",
    organ: true,
  },
  {
    name: "colab2_organ",
    title: "Organ and lesion, CoLab, t = 2",
    options: { context: "colab", contexts: 2, roiClass: 1 },
    about: "Contexts beside both classes; the generator looks at the lesion alone.",
    organ: true,
  },
  ...[2, 4].map((t): ColabTrial => ({
    name: `entropy${t}`,
    title: `CoLab, t = ${t}, entropy`,
    options: { context: "colab", contexts: t, entropy: 0.1 },
    about: "The entropy of the mean context is part of the generator's loss.",
  })),
  {
    name: "start4",
    title: "CoLab, t = 4, from clusters",
    options: { context: "colab", contexts: 4, generatorStart: "kmeans", warmup: 0.2 },
    about: "The generator starts from classes of brightness, while contexts are one background.",
  },
  {
    name: "outputs2",
    title: "CoLab, t = 2, all outputs",
    options: { context: "colab", contexts: 2, innerOutputs: "all" },
    about: "The inner step lowers the loss of all scales.",
  },
  {
    name: "adam2",
    title: "CoLab, t = 2, inner step of Adam",
    options: { context: "colab", contexts: 2, innerStep: "adam" },
    about: "The inner step is scaled as Adam scales the step of the training.",
  },
];
const SIZES = {
  cpu: { side: 32, features: [6, 12, 24], convs: 1, margin: 4, tau: 3, steps: 1000 },
  gpu: { side: 48, features: [16, 32, 64], convs: 2, margin: 6, tau: 4, steps: 4000 },
};

await runScript(import.meta.url, () => config(entries), async (options) => {
  const trials = chooseArms(options.arms, ARMS, more);
  const generated = !trials.some((trial) => trial.options?.context === "colab") && "none of the --arms has a generator";
  refuseUnused(options, {
    period: generated,
    generatorRate: generated,
    rate: options.rates.length > 0 && "--rates chooses it for each arm",
  });
  const size = await deviceSize(options.size);
  const { side, features, convs, margin, tau } = SIZES[size];
  const steps = options.steps || SIZES[size].steps;
  const { cases, heldOut, period, rate, generatorRate } = options;
  const { dice, diceSquared, diceReduction, diceContexts, roiPrior, warmup } = options;
  /** The segmenter's loss and start, the same for all arms that have contexts. */
  const loss = { dice, diceSquared, diceReduction, roiPrior };
  const contextLoss = { diceContexts, warmup };
  const patch: Triple = [side, side, side];

  /**
   * Makes patients, if they are not there, and gives the options of a training on them.
   *
   * @param labels what they are labeled with: lesions, the organ, or both
   */
  const patients = async (
    data: string,
    seed: number,
    count: number,
    heldOut: number,
    labels: "lesion" | "organ" | "both" = "lesion",
  ) => {
    const here = new RunFolder(data);
    await writeContextPhantomDataset(data, { cases: count + heldOut, seed, shape: patch, spacing: [1, 1, 1] });
    if (labels !== "lesion") {
      const description = await here.readJson("dataset.json") as { training: { label: string }[] };
      for (const item of description.training) item.label = item.label.replace("labelsTr", "organsTr");
      const names = labels === "organ" ? ["organ"] : ["organ", "lesion"];
      if (labels === "both") await addLesions(here, description.training.map(({ label }) => label));
      await here.writeJson("dataset.json", { ...description, name: "Organ", labels: { ...["background", ...names] } });
    }
    const files = await writePlanAndSplit(data, {
      files: `${data}/`,
      split: firstCases(count),
      plan: { preset: "small", patch, features, batch: 2 },
      convs,
    });
    // Mirrored along x too, the organ lies on no certain side: it is known by its size alone.
    const mirrored = { augment: "mirror", flips: "xyz" } as const;
    return { ...files, cache: `${trimSlashes(options.run)}/prepared`, seed, ...mirrored, rate };
  };

  /** Trains into a folder, or continues. */
  const train = async (folder: string, own: Partial<ColabOptions>): Promise<Comparison> =>
    trainColab(await runConfig(folder, colabEntries, own));

  await runExperiment({
    run: options.run,
    trials,
    seeds: options.seeds,
    firstSeed: options.firstSeed,
    rates: options.rates,
    title: "Context labels: CoLab and what it is compared with",
    about:
      "Lesions lie in one organ; a second organ and nodes hold blobs of the same sizes and intensities, in tissue " +
      "of the " +
      "same intensity and texture. What a network finds outside the organ is a distractor taken for a lesion.",
    reference: options.reference || trials[0].name,
    measures: [
      "Dice",
      "sensitivity",
      "precision",
      "HD95",
      { name: "outside_organ", heading: "Outside the organ", better: "lower", digits: 4 },
    ],
    settings: {
      size,
      patch,
      features,
      convs,
      steps,
      cases,
      heldOut,
      period,
      margin,
      tau,
      batch: 2,
      optimizer: "adam",
      rate,
      generatorRate,
      ...loss,
      ...contextLoss,
    },
    prepare: (folder, seed) => patients(`${folder}/phantom`, seed, cases, heldOut),
    measure: async ({ trial: { name, options: own, organ }, seed, folder, shared, note }) => {
      const data = `${folder}/phantom`;
      const labeled = organ ? await patients(`${folder}/phantom_organ`, seed, cases, heldOut, "both") : {};
      let contextLabels = name === "labels" ? `${data}/organsTr` : "";
      if (name === "predicted") {
        // The other network has half as many patients of its own, and half of the steps.
        const others = await patients(`${folder}/organs/phantom`, seed + 1000, Math.ceil(cases / 2), 2, "organ");
        const organs = await train(`${folder}/organs/run`, {
          ...others,
          context: "none",
          steps: Math.ceil(steps / 2),
          ...loss,
        });
        note({ "Dice of the organ": metrics.summarize(organs.cases.map(({ classes: [organ] }) => organ.dice)).mean });
        contextLabels = `${folder}/organs/predicted`;
        const { cases: all } = await openDataset(data);
        await segmentCases(`${folder}/organs/run/model.safetensors`, all, new RunFolder(contextLabels));
      }
      await train(`${folder}/${name}`, {
        ...shared,
        ...labeled,
        rate: shared.rate,
        steps,
        margin,
        tau,
        period,
        generatorRate,
        contextLabels,
        ...loss,
        ...(own?.context !== "none" && contextLoss),
        ...own,
      });
      const { cases: all } = await openDataset(data);
      const seen = `${folder}/${name}/training_predictions`;
      await segmentCases(`${folder}/${name}/model.safetensors`, all.slice(0, cases), new RunFolder(seen));
      const lesion = organ ? 2 : 1;
      return {
        ...await measured(`${folder}/${name}/predictions`, data, all.slice(cases), lesion),
        "training patients": (await measured(seen, data, all.slice(0, cases), lesion))["as predicted"],
      };
    },
    // What the arms of the first seed drew.
    figures: (experiment, folder) => addArmFigures(experiment, folder, trials),
  });
});

/** Marks the lesions in label maps of the organ, ./organsTr/FILE, as a second label. */
async function addLesions(data: RunFolder, organs: readonly string[]): Promise<void> {
  for (const file of organs) {
    const [organ, lesions] = await Promise.all(
      [file, file.replace("organsTr", "labelsTr")].map((each) => readVolume(`${data.path}/${each.slice(2)}`)),
    );
    const both = Uint8Array.from(organ.data, (value, i) => lesions.data[i] > 0 ? 2 : value > 0 ? 1 : 0);
    await data.write(file.slice(2), writeNifti({ ...organ, data: both }, { dtype: "uint8", gzip: true }));
  }
}

/** Segments patients with a network of a run, unless that is done. */
async function segmentCases(file: string, items: readonly DatasetCase[], output: RunFolder): Promise<void> {
  const { description, tensors } = await loadModel(file);
  const { plan } = description;
  const network = networkOf(description, file);
  const segment = segmenter(network, loadParameters(network.init(random.key(0)), tensors), { plan });
  for (const { id, images } of counted(items, "case")) {
    if (await output.has(`${id}.nii.gz`)) continue;
    const labels = await segment(await readVolume(images[0]));
    await output.write(`${id}.nii.gz`, writeNifti(labels, { dtype: "uint8", gzip: true }));
  }
}

/**
 * Measures of segmented patients, and how much of what was found lies outside the organ: as predicted, and of the
 * largest component alone.
 *
 * @param lesion its value in the predictions
 */
async function measured(
  predictions: string,
  data: string,
  items: readonly DatasetCase[],
  lesion: number,
): Promise<Record<"as predicted" | "largest component", MeasuredCase[]>> {
  const variants = { "as predicted": [] as MeasuredCase[], "largest component": [] as MeasuredCase[] };
  for (const { id } of items) {
    const [found, label, organ] = await Promise.all([
      readVolume(`${predictions}/${id}.nii.gz`),
      readVolume(`${data}/labelsTr/${id}.nii.gz`),
      readVolume(`${data}/organsTr/${id}.nii.gz`),
    ]);
    const prediction = { ...found, data: Uint8Array.from(found.data, (value) => Number(value === lesion)) };
    const largest = { ...prediction, data: Uint8Array.from(prediction.data) };
    keepLargestComponent(largest.data, { shape: prediction.shape, values: [1] });
    for (const [variant, volume] of [["as predicted", prediction], ["largest component", largest]] as const) {
      variants[variant].push({
        id,
        classes: { lesion: { ...measuresOf(compared(volume, label)), outside_organ: outside(volume, organ) } },
      });
    }
  }
  return variants;
}

function compared(prediction: Volume, label: Volume) {
  return compareLabels(prediction, label, { classes: [{ name: "lesion", values: [1] }] })[0];
}

/** Share of the voxels found that lie outside the organ; not defined where nothing was found. */
function outside(prediction: Volume, organ: Volume): number | null {
  let [found, astray] = [0, 0];
  for (const [i, value] of prediction.data.entries()) {
    if (value === 0) continue;
    found++;
    if (organ.data[i] === 0) astray++;
  }
  return found === 0 ? null : astray / found;
}
