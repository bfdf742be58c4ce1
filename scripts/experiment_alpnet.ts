// Compares what the paper of SSL-ALPNet compares (Ouyang et al. 2020, Tables 1, 2 and 4) on phantoms: organs that training
// has not seen, segmented in other patients from one labeled one. Two groups of organs are kept from training in turn:
// slices that show one of a group are left out (setting 2), and the group is measured. Every arm of a seed has the same
// patients, initialization and number of episodes; the last weights are measured on patients held out. What is done is
// kept: the same command goes on after a stop. --help lists what can be set.
import { closeDevice, deviceInfo } from "../engine/mod.ts";
import {
  type Comparison,
  fingerprintDataset,
  makePlan,
  measuresOf,
  openDataset,
  planText,
  type Triple,
  writeOrganPhantomDataset,
} from "../engine/imaging/mod.ts";
import {
  choice,
  chooseArms,
  config,
  duration,
  entry,
  type MeasuredCase,
  openExperiment,
  print,
  runConfig,
  RunFolder,
} from "../engine/train/mod.ts";
import { alpnetEntries, trainAlpnet } from "../models/mod.ts";

interface Trial {
  readonly name: string;
  readonly title: string;
  readonly about: string;
  readonly words: readonly string[];
}
const trial = (name: string, title: string, about: string, ...words: string[]): Trial => ({
  name,
  title,
  about,
  words,
});
const main: readonly Trial[] = [
  trial("init", "Not trained", "ALPNet on features of a random encoder.", "--arm", "init"),
  trial("panet", "PANet, annotated", "One prototype a class, trained on the other organs' labels.", "--arm", "panet"),
  trial("alpnet", "ALPNet, annotated", "Local prototypes, trained on the other organs' labels.", "--arm", "alpnet"),
  trial("ssl-panet", "SSL-PANet", "One prototype a class, trained on superpixels.", "--arm", "ssl-panet"),
  trial("ssl-alpnet", "SSL-ALPNet", "Local prototypes, trained on superpixels: the paper's method."),
  trial("none", "SSL-ALPNet, no transform", "Support and query are the same slice.", "--transform", "none"),
  trial("intensity", "SSL-ALPNet, intensity", "Gamma alone.", "--transform", "intensity"),
  trial("geometry", "SSL-ALPNet, geometry", "Affine and elastic transforms alone.", "--transform", "geometry"),
];
/** Ablations of the superpixels' size, by that of the main arms, and of what the code and the paper do differently. */
const more: readonly Trial[] = [
  ...[0.25, 2, 4].map((times) =>
    trial(
      `size_${times}`,
      `SSL-ALPNet, superpixels x ${times}`,
      "Pixels of the smallest superpixel.",
      "size",
      `${times}`,
    )
  ),
  trial(
    "query",
    "SSL-ALPNet, query alone",
    "The query alone is transformed, as the paper says.",
    "--transformed",
    "query",
  ),
  trial("paper_rule", "SSL-ALPNet, Eq. 2", "All windows that are not the class's are background's.", "--rule", "paper"),
  trial("volume", "SSL-ALPNet, supervoxels", "Superpixels of the volume.", "--superpixels", "volume"),
];
const GROUPS = [["liver", "spleen"], ["left kidney", "right kidney"]];
/** Patients differ in the gamma of their scans, as the paper's do in the distribution of intensities. */
const GAMMAS = [0.5, 1.5] as const;

const options = config({
  size: choice(["auto", "cpu", "gpu"], "cpu: slices of 64 x 64 and a small encoder; gpu: 128 x 128 and resnet18"),
  run: entry("runs/experiment_alpnet", "folder of the experiment; one that is there is gone on with"),
  seeds: entry(3, "repetitions, each with patients and weights of its own", { integer: true, min: 1 }),
  cases: entry(8, "patients to train on; the first is the support", { integer: true, min: 1 }),
  heldOut: entry(6, "patients to measure on", { integer: true, min: 1 }),
  steps: entry(0, "episodes of each training; 0: 600 of size cpu, 10000 of size gpu", { integer: true, min: 0 }),
  arms: entry(
    "main",
    `names of arms with commas between; main: ${main.map(({ name }) => name).join(", ")}; all: also ${
      more.map(({ name }) => name).join(", ")
    }`,
  ),
});
const trials = chooseArms(options.arms, main, more);
const seeds = Array.from({ length: options.seeds }, (_, k) => k + 1);

const device = await deviceInfo();
print(`Device: ${device.name} (${device.kind}; ${device.reason})`);
const size = options.size !== "auto" ? options.size : device.kind === "software" ? "cpu" : "gpu";
// Windows and superpixels are as large beside the organs as the paper's are in slices of 256 x 256.
const { side, slices, backbone, rate, minSize } = size === "cpu"
  ? {
    side: 64,
    slices: 16,
    backbone: ["--backbone", "small", "--stride", "4", "--window", "2", "--testWindow", "1"],
    rate: 1e-2,
    minSize: 25,
  }
  : {
    side: 128,
    slices: 24,
    backbone: ["--backbone", "resnet18", "--stride", "8", "--window", "2", "--testWindow", "1"],
    rate: 1e-3,
    minSize: 100,
  };
const steps = options.steps || (size === "cpu" ? 600 : 10000);
const shape: Triple = [side, side, slices];
const spacing: Triple = [384 / side, 384 / side, 288 / slices];
const run = new RunFolder(options.run.replace(/(?<=.)\/+$/, ""));
const experiment = await openExperiment(run, {
  title: "Few-shot segmentation: superpixels and local prototypes, and what they are compared with",
  about: `Organs that training does not see, ${
    GROUPS.map((group) => group.join(" and ")).join("; ")
  }, are segmented in ` +
    `${options.heldOut} patients from one labeled patient, in the slices that show them.`,
  arms: trials.map(({ name, title, about }) => ({ name, title, about })),
  seeds,
  reference: (trials.find(({ name }) => name === "ssl-alpnet") ?? trials[0]).name,
  measures: ["Dice", "sensitivity", "precision", "HD95"],
  settings: {
    size,
    shape,
    spacing,
    gammas: GAMMAS,
    steps,
    cases: options.cases,
    heldOut: options.heldOut,
    backbone,
    rate,
    minSize,
  },
});
const started = performance.now();

/** Makes a seed's patients, if they are not there, and gives the words that all its arms share. */
async function prepare(folder: string, seed: number): Promise<string[]> {
  const here = new RunFolder(folder);
  await writeOrganPhantomDataset(folder, {
    cases: options.cases + options.heldOut,
    seed,
    shape,
    spacing,
    distinct: true,
    gammas: GAMMAS,
  });
  const dataset = await openDataset(folder);
  const ids = dataset.cases.map(({ id }) => id);
  const plan = makePlan(dataset, await fingerprintDataset(dataset), {
    preset: "small",
    patch: [slices, side, side],
    batch: 1,
  });
  await here.write("plan.json", planText(plan));
  await here.writeJson("splits.json", [{ train: ids.slice(0, options.cases), val: ids.slice(options.cases) }]);
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
    "--steps",
    `${steps}`,
    "--rate",
    `${rate}`,
    ...backbone,
  ];
}

/** Trains into a folder, or goes on with what is there. */
const trained = async (folder: string, words: readonly string[]): Promise<Comparison> =>
  trainAlpnet(await runConfig(folder, alpnetEntries, words));

for (const seed of seeds) {
  const folder = `${run.path}/seed_${seed}`;
  if (trials.every(({ name }) => experiment.done(name, seed))) continue;
  const shared = await prepare(`${folder}/phantom`, seed);
  for (const { name, title, words } of trials) {
    if (experiment.done(name, seed)) continue;
    print(`\nSeed ${seed}: ${title}`);
    const from = performance.now();
    const [, times] = words[0] === "size" ? words : [];
    const own = times === undefined
      ? [...words, "--minSize", `${minSize}`]
      : ["--minSize", `${Math.round(minSize * Number(times))}`];
    const found = new Map<string, Record<string, Record<string, number>>>();
    for (const [k, group] of GROUPS.entries()) {
      const { cases } = await trained(`${folder}/${name}_${k + 1}`, [...shared, ...own, "--exclude", group.join(",")]);
      for (const { id, classes } of cases) {
        const measured = classes.filter((each) => group.includes(each.name)).map((
          each,
        ) => [each.name, measuresOf(each)]);
        found.set(id, { ...found.get(id), ...Object.fromEntries(measured) });
      }
    }
    // Patients of a seed are its own.
    const cases = [...found].map(([id, classes]): MeasuredCase => ({ id: `seed ${seed}, ${id}`, classes }));
    await experiment.add(name, seed, cases, { seconds: Math.round((performance.now() - from) / 1000) });
    await experiment.finish();
  }
}
print(`\n${await experiment.finish()}`);
print(`${duration((performance.now() - started) / 1000)}; written:\n${run.listing()}`);
await closeDevice();
