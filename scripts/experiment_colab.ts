// Compares what CoLab's paper compares (Li et al. 2022, Tables I, II, IV, V) on phantoms where only context tells lesions
// from distractors: plain training, contexts by k-means, dilation, CoLab, another network and people. Every arm of a seed
// has the same patients, initialization, batches and steps; the last weights are measured on patients held out. What is
// done is kept: the same command goes on after a stop. --help lists what can be set.
import { closeDevice, deviceInfo, loadParameters, random } from "../engine/mod.ts";
import {
  compareLabels,
  type Comparison,
  fingerprintDataset,
  keepLargestComponent,
  loadCase,
  makePlan,
  measuresOf,
  openDataset,
  type Plan,
  planText,
  readVolume,
  type Triple,
  type Volume,
  writeContextPhantomDataset,
  writeNifti,
} from "../engine/imaging/mod.ts";
import {
  choice,
  chooseArms,
  config,
  counted,
  duration,
  entry,
  loadModel,
  type MeasuredCase,
  openExperiment,
  print,
  readFigures,
  refuseUnused,
  runConfig,
  RunFolder,
  segmenter,
} from "../engine/train/mod.ts";
import { colabEntries, plainConvUNet, trainColab } from "../models/mod.ts";

const options = config({
  size: choice(["auto", "cpu", "gpu"], "cpu: 32 voxels cubed and a small network; gpu: 48"),
  run: entry("runs/experiment_colab", "folder of the experiment; one that is there is gone on with"),
  seeds: entry(3, "repetitions, each with patients and weights of its own", { integer: true, min: 1 }),
  cases: entry(16, "patients to train on", { integer: true, min: 2 }),
  heldOut: entry(16, "patients to measure on", { integer: true, min: 1 }),
  steps: entry(0, "optimizer steps of each arm; 0: 1000 of size cpu, 4000 of size gpu", { integer: true, min: 0 }),
  arms: entry("all", "names of arms with commas between"),
  rate: entry(3e-3, "Adam's learning rate at the start", { min: 0 }),
  period: entry(10, "steps from one update of the generator to the next", { integer: true, min: 1 }),
  generatorRate: entry(3e-4, "Adam's learning rate for the generator, as in the official code", { min: 0 }),
});
const colabArm = (t: number) => ({
  name: `colab${t}`,
  title: `CoLab, t = ${t}`,
  words: ["--context", "colab", "--contexts", `${t}`],
  about: `Contexts by a generator trained with meta-gradients, ${t} classes.`,
});
const ARMS = [
  { name: "none", title: "No context labels (t = 1)", words: ["--context", "none"], about: "Plain training." },
  {
    name: "kmeans",
    title: "k-means, t = 2",
    words: ["--context", "kmeans"],
    about: "Clusters of intensities in the body.",
  },
  {
    name: "dilated",
    title: "Dilated masks",
    words: ["--context", "dilated"],
    about: "The soft dilated mask is the context.",
  },
  colabArm(2),
  colabArm(4),
  colabArm(6),
  {
    name: "predicted",
    title: "Predicted organ",
    words: ["--context", "labels"],
    about: "The organ as another network, trained on other patients, segments it.",
  },
  { name: "labels", title: "Organ by hand", words: ["--context", "labels"], about: "The true organ: the control." },
];
const arms = chooseArms(options.arms, ARMS);
const generated = !arms.some(({ words }) => words.includes("colab")) && "none of the --arms has a generator";
refuseUnused(options, { period: generated, generatorRate: generated });
const seeds = Array.from({ length: options.seeds }, (_, k) => k + 1);

const device = await deviceInfo();
print(`Device: ${device.name} (${device.kind}; ${device.reason})`);
const size = options.size !== "auto" ? options.size : device.kind === "software" ? "cpu" : "gpu";
const { side, features, convs, margin, tau } = size === "cpu"
  ? { side: 32, features: [6, 12, 24], convs: 1, margin: 4, tau: 3 }
  : { side: 48, features: [16, 32, 64], convs: 2, margin: 6, tau: 4 };
const steps = options.steps || (size === "cpu" ? 1000 : 4000);
const patch: Triple = [side, side, side];
const run = new RunFolder(options.run.replace(/(?<=.)\/+$/, ""));
const experiment = await openExperiment(run, {
  title: "Context labels: CoLab and what it is compared with",
  about:
    "Lesions lie in one organ; a second organ and nodes hold blobs of the same sizes and intensities, in tissue of the " +
    "same intensity and texture. What a network finds outside the organ is a distractor taken for a lesion.",
  arms: arms.map(({ name, title, about }) => ({ name, title, about })),
  seeds,
  reference: arms[0].name,
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
    cases: options.cases,
    heldOut: options.heldOut,
    period: options.period,
    margin,
    tau,
    batch: 2,
    optimizer: "adam",
    rate: options.rate,
    generatorRate: options.generatorRate,
  },
});
const started = performance.now();

/** Makes a seed's patients, if they are not there, and gives the words that all its arms share. */
async function prepare(
  folder: string,
  seed: number,
  patients: { cases: number; heldOut: number; organ?: boolean },
): Promise<string[]> {
  const { cases, heldOut, organ = false } = patients;
  const here = new RunFolder(folder);
  await writeContextPhantomDataset(folder, { cases: cases + heldOut, seed, shape: patch, spacing: [1, 1, 1] });
  if (organ) {
    const description = await here.readJson("dataset.json");
    for (const item of description.training) item.label = item.label.replace("labelsTr", "organsTr");
    await here.writeJson("dataset.json", { ...description, name: "Organ", labels: { 0: "background", 1: "organ" } });
  }
  const dataset = await openDataset(folder);
  const ids = dataset.cases.map(({ id }) => id);
  const plan = makePlan(dataset, await fingerprintDataset(dataset), { preset: "small", patch, features, batch: 2 });
  const each = plan.network.features.map(() => convs);
  const network: Plan["network"] = {
    ...plan.network,
    convsPerStage: each,
    decoderConvsPerStage: each.slice(1),
  } as Plan["network"];
  await here.write("plan.json", planText({ ...plan, network }));
  await here.writeJson("splits.json", [{ train: ids.slice(0, cases), val: ids.slice(cases) }]);
  // Mirrored along x too, the organ lies on no certain side: it is known by its size alone.
  return [
    folder,
    "--plan",
    `${folder}/plan.json`,
    "--splits",
    `${folder}/splits.json`,
    "--cache",
    `${run.path}/prepared`,
    "--seed",
    `${seed}`,
    "--augment",
    "mirror",
    "--flips",
    "xyz",
    "--rate",
    `${options.rate}`,
  ];
}

/** Trains into a folder, or goes on with what is there. */
const trained = async (folder: string, words: readonly string[]): Promise<Comparison> =>
  trainColab(await runConfig(folder, colabEntries, words));

/** Segments all patients of a dataset with a network of a run: context labels for the arm "predicted". */
async function predictOrgans(model: string, data: string, output: RunFolder): Promise<void> {
  const { description, tensors } = await loadModel(model);
  const network = plainConvUNet(description.architecture as any);
  const segment = segmenter(network, loadParameters(network.init(random.key(0)), tensors), { plan: description.plan });
  const dataset = await openDataset(data);
  for (const item of counted(dataset.cases, "case")) {
    if (await output.has(`${item.id}.nii.gz`)) continue;
    const { image } = await loadCase(dataset, item);
    await output.write(`${item.id}.nii.gz`, writeNifti(await segment(image), { dtype: "uint8", gzip: true }));
  }
}

/** The cases' measures, and how much of what was found lies outside the organ: as predicted, and its largest component. */
async function measured(
  seed: number,
  folder: string,
  data: string,
  comparison: Comparison,
): Promise<Record<string, MeasuredCase[]>> {
  const variants: Record<string, MeasuredCase[]> = { "as predicted": [], "largest component": [] };
  for (const { id } of comparison.cases) {
    const [prediction, label, organ] = await Promise.all([
      readVolume(`${folder}/predictions/${id}.nii.gz`),
      readVolume(`${data}/labelsTr/${id}.nii.gz`),
      readVolume(`${data}/organsTr/${id}.nii.gz`),
    ]);
    const largest = Uint8Array.from(prediction.data);
    keepLargestComponent(largest, { shape: prediction.shape, values: [1] });
    for (
      const [variant, volume] of [["as predicted", prediction], ["largest component", {
        ...prediction,
        data: largest,
      }]] as const
    ) {
      // Patients of a seed are its own.
      variants[variant].push({
        id: `seed ${seed}, ${id}`,
        classes: { lesion: { ...measuresOf(compared(volume, label)), outside_organ: outside(volume, organ) } },
      });
    }
  }
  return variants;
}

const compared = (prediction: Volume, label: Volume) =>
  compareLabels(prediction, label, { classes: [{ name: "lesion", values: [1] }] })[0];

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

for (const seed of seeds) {
  const folder = `${run.path}/seed_${seed}`;
  const data = `${folder}/phantom`;
  if (arms.every(({ name }) => experiment.done(name, seed))) continue;
  const common = await prepare(data, seed, { cases: options.cases, heldOut: options.heldOut });
  for (const { name, title, words } of arms) {
    if (experiment.done(name, seed)) continue;
    print(`\nSeed ${seed}: ${title}`);
    const from = performance.now();
    const own = [
      "--steps",
      `${steps}`,
      "--margin",
      `${margin}`,
      "--tau",
      `${tau}`,
      "--period",
      `${options.period}`,
      "--generatorRate",
      `${options.generatorRate}`,
    ];
    if (name === "predicted") {
      // The other network has half as many patients of its own, and half of the steps.
      const others = await prepare(`${folder}/organs/phantom`, seed + 1000, {
        cases: Math.ceil(options.cases / 2),
        heldOut: 2,
        organ: true,
      });
      await trained(`${folder}/organs/run`, [...others, "--context", "none", "--steps", `${Math.ceil(steps / 2)}`]);
      await predictOrgans(`${folder}/organs/run/model.safetensors`, data, new RunFolder(`${folder}/organs/predicted`));
      own.push("--contextLabels", `${folder}/organs/predicted`);
    }
    if (name === "labels") own.push("--contextLabels", `${data}/organsTr`);
    const comparison = await trained(`${folder}/${name}`, [...common, ...own, ...words]);
    const seconds = Math.round((performance.now() - from) / 1000);
    await experiment.add(name, seed, await measured(seed, `${folder}/${name}`, data, comparison), { seconds });
    await experiment.finish();
  }
}
// What the arms of the first seed drew.
for (const { name } of arms) {
  for (const { name: figure, title, caption, svg } of await readFigures(`${run.path}/seed_${seeds[0]}/${name}`)) {
    await experiment.figure(`${name}_${figure}.svg`, svg, `${title}. ${caption}`, { arm: name });
  }
}
print(`\n${await experiment.finish()}`);
print(`${duration((performance.now() - started) / 1000)}; written:\n${run.listing()}`);
await closeDevice();
