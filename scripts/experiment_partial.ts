// Compares what the paper of marginal and exclusion losses compares (Shi et al. 2021, Tables 3 to 8) on phantoms: a few
// cases F with five organs annotated, and sets P1 to P4 with one organ (P4: both kidneys) and a scanner each. Every arm of
// a seed has the same patients, initialisation, batches and steps; the last weights are measured on patients of every
// scanner with all organs annotated. What is done is kept: the same command goes on after a stop. --help lists what can
// be set.
import {
  choice, closeDevice, config, ConfigError, deviceInfo, duration, entry, findImages, fingerprintDataset, makePlan,
  measuresOf, openDataset, openExperiment, organShapes, planText, print, readVolume, resumableConfig, RunFolder,
  trainingChanges, writeOrganPhantomDataset,
} from "../engine/mod.ts";
import type { Comparison, MeasuredCase, OrganShapes, Plan, Triple } from "../engine/mod.ts";
import { partialEntries, trainPartial } from "../models/mod.ts";

const SETS = [
  { name: "P1", organs: ["liver"] }, { name: "P2", organs: ["spleen"] }, { name: "P3", organs: ["pancreas"] },
  { name: "P4", organs: ["left kidney", "right kidney"] },
];
const ORGANS = SETS.flatMap(({ organs }) => organs);
/** Sets by the number of their scanner. */
const SCANNERS = ["F", ...SETS.map(({ name }) => name)];

interface Trial {
  readonly name: string;
  readonly title: string;
  readonly about: string;
  readonly words: readonly string[];
  /** A network for each set P, of its organs alone: on F and the set, or on the set. */
  readonly networks?: "F+P" | "P";
}
const joint = (name: string, title: string, about: string, ...words: string[]): Trial => ({ name, title, about, words });
const main: readonly Trial[] = [
  joint("F", "F alone", "Ordinary loss on the fully labelled cases.", "--loss", "full"),
  joint("naive", "Unlabelled is background", "Ordinary loss on all cases, labels as they are: the control.", "--loss", "naive"),
  { name: "F+P", title: "F and one P", about: "Four networks, each of the organs of one P, ordinary loss.", words: ["--loss", "full"], networks: "F+P" },
  joint("mCE", "Marginal cross-entropy", "On all cases.", "--loss", "marginal", "--terms", "ce"),
  joint("mDice", "Marginal Dice", "On all cases.", "--loss", "marginal", "--terms", "dice"),
  joint("marginal", "Marginal losses", "Marginal cross-entropy and Dice on all cases.", "--loss", "marginal"),
  joint("exclusion", "Marginal and exclusion losses", "With twice the exclusion losses: the paper's best.", "--loss", "exclusion"),
  joint("logit", "Marginal losses, logits merged", "As the official code merges.", "--loss", "marginal", "--mode", "logit"),
];
const more: readonly Trial[] = [
  { name: "P", title: "Each P alone", about: "Four networks, each of one P.", words: ["--loss", "full"], networks: "P" },
  joint("F_CE", "F alone, cross-entropy", "Table 3's first row.", "--loss", "full", "--terms", "ce"),
  joint("F_Dice", "F alone, Dice", "Table 3's second row.", "--loss", "full", "--terms", "dice"),
  joint("pseudo", "Labels completed by the network", "Ordinary loss on all cases.", "--loss", "pseudo"),
  joint("prior", "Prior-aware (PaNN)", "Completed labels, and organs' sizes as in F.", "--loss", "prior"),
  ...[[4, 1], [3, 1], [2, 1], [1, 1], [1, 3], [1, 4], [0, 1]].map(([m, e]) =>
    joint(`${m}:${e}`, `Marginal to exclusion ${m}:${e}`, "Table 5.", "--marginalWeight", `${m}`, "--exclusionWeight", `${e}`)),
  ...SETS.map(({ name, organs }) =>
    joint(`without_${name}`, `Without ${name}`, `Marginal and exclusion losses; ${organs.join(" and ")} in F alone.`,
      "--trainSets", SCANNERS.filter((each) => each !== name).join(","))),
];
const TRIALS = [...main, ...more];

const options = config({
  size: choice(["auto", "cpu", "gpu"], "cpu: 32 voxels cubed and a small network; gpu: 64"),
  run: entry("runs/experiment_partial", "folder of the experiment; one that is there is gone on with"),
  seeds: entry(3, "repetitions, each with patients and weights of its own", { integer: true, min: 1 }),
  full: entry(4, "patients of F", { integer: true, min: 1 }),
  partial: entry(9, "patients of each P", { integer: true, min: 1 }),
  heldOut: entry(3, "patients to measure on, of each scanner", { integer: true, min: 1 }),
  steps: entry(0, "optimiser steps of each network; 0: 500 of size cpu, 3000 of size gpu", { integer: true, min: 0 }),
  arms: entry("main", `names of arms with commas between; main: ${main.map(({ name }) => name).join(", ")}; all: also ${more.map(({ name }) => name).join(", ")}`),
  shapes: entry("", "label map, or folder of them, whose organs are bent for each patient; ellipsoids without it"),
  shapeValues: entry([6, 1, 10, 3, 2], "its values of liver, spleen, pancreas, left and right kidney; as AMOS has them", { integer: true, min: 1 }),
});
const names = options.arms === "main" ? main.map(({ name }) => name) : options.arms === "all" ? TRIALS.map(({ name }) => name) : options.arms.split(",");
const strange = names.find((name) => !TRIALS.some((trial) => trial.name === name));
if (strange !== undefined) throw new ConfigError(`--arms: there is no ${strange}; there are ${TRIALS.map(({ name }) => name).join(", ")}`);
const trials = TRIALS.filter(({ name }) => names.includes(name));
const seeds = Array.from({ length: options.seeds }, (_, k) => k + 1);

const device = await deviceInfo();
print(`Device: ${device.name} (${device.kind}; ${device.reason})`);
const size = options.size !== "auto" ? options.size : device.kind === "software" ? "cpu" : "gpu";
const { side, spacing, features, convs, augment } = size === "cpu"
  ? { side: 32, spacing: 9, features: [6, 12, 24], convs: 1, augment: "none" }
  : { side: 64, spacing: 4.5, features: [16, 32, 64, 128], convs: 2, augment: "nnunet" };
const steps = options.steps || (size === "cpu" ? 500 : 3000);
const shape: Triple = [side, side, side];
const shapes: OrganShapes[] = [];
for (const { images } of options.shapes === "" ? [] : await findImages(options.shapes, 1)) {
  shapes.push(organShapes(await readVolume(images[0]!), options.shapeValues));
}
const run = new RunFolder(options.run.replace(/(?<=.)\/+$/, ""));
const experiment = await openExperiment(run, {
  title: "Partly labelled datasets: marginal and exclusion losses, and what they are compared with",
  about: `F has ${options.full} patients with five organs annotated, P1 to P4 have ${options.partial} each with liver, spleen, ` +
    "pancreas and both kidneys; each set has a scanner of its own. Measured on other patients of every scanner, with all organs.",
  arms: trials.map(({ name, title, about }) => ({ name, title, about })),
  seeds, reference: (trials.find(({ name }) => name === "marginal") ?? trials[0]!).name,
  measures: ["Dice", "sensitivity", "precision", "HD95"],
  settings: {
    size, shape, spacing, features, convs, augment, steps, full: options.full, partial: options.partial,
    heldOut: options.heldOut, shapes: options.shapes, shapeValues: options.shapeValues, batch: 2, optimizer: "adam", rate: 3e-3,
  },
});
const started = performance.now();

/** A seed's sets, as folders named F, P1 to P4 and test_F, test_P1 to test_P4. */
async function writeSets(folder: string, seed: number): Promise<void> {
  const own = { shape, spacing: [spacing, spacing, spacing] as Triple, shapes };
  for (const [scanner, name] of SCANNERS.entries()) {
    const organs = SETS.find((set) => set.name === name)?.organs ?? ORGANS;
    const cases = name === "F" ? options.full : options.partial;
    await writeOrganPhantomDataset(`${folder}/${name}`, { ...own, scanner, organs, cases, seed: 100 * seed + scanner });
    const test = { ...own, scanner, cases: options.heldOut, seed: 100 * seed + 50 + scanner };
    await writeOrganPhantomDataset(`${folder}/test_${name}`, test);
  }
}

/**
 * Makes a dataset group of some sets and all test sets, with its plan and split, and gives the words that are its own.
 *
 * @param organs labels of the group; the sets' others become background, which they are to a network of these alone
 */
async function prepare(data: string, group: string, of: { sets: readonly string[]; organs: readonly string[] }): Promise<string[]> {
  const here = new RunFolder(data);
  const file = `${data}/${group}.json`;
  const dropped = (name: string) =>
    Object.fromEntries((SETS.find((set) => set.name === name)?.organs ?? ORGANS).filter((each) => !of.organs.includes(each)).map((each) => [each, null]));
  const tests = SCANNERS.map((name) => `test_${name}`);
  await here.writeJson(`${group}.json`, {
    format: "voxgrad group 1", name: group, labels: ["background", ...of.organs],
    sets: [...of.sets, ...tests].map((name) => ({ data: name, labels: dropped(name) })),
  });
  const dataset = await openDataset(file);
  const ids = (sets: readonly string[]) => dataset.cases.filter(({ set }) => sets.includes(set!)).map(({ id }) => id);
  const trained = { ...dataset, cases: dataset.cases.filter(({ set }) => of.sets.includes(set!)) };
  const plan = makePlan(dataset, await fingerprintDataset(trained), { preset: "small", patch: shape, features, batch: 2 });
  const each = plan.network.features.map(() => convs);
  const network: Plan["network"] = { ...plan.network, convsPerStage: each, decoderConvsPerStage: each.slice(1) } as Plan["network"];
  await here.write(`${group}_plan.json`, planText({ ...plan, network }));
  await here.writeJson(`${group}_splits.json`, [{ train: ids(of.sets), val: ids(tests) }]);
  return [file, "--plan", `${data}/${group}_plan.json`, "--splits", `${data}/${group}_splits.json`];
}

/** Trains into a folder, or goes on with what is there. */
async function trained(folder: string, words: readonly string[]): Promise<Comparison> {
  const begun = await new RunFolder(folder).has("config.json");
  const line = begun ? ["--resume", folder] : [...words, "--run", folder];
  return trainPartial(await resumableConfig(partialEntries, { change: trainingChanges }, line));
}

/** The networks of an arm: measures of the test patients, of all organs together. */
async function compared(trial: Trial, folder: string, data: string, common: readonly string[]): Promise<MeasuredCase[]> {
  const { name, words, networks } = trial;
  const found = new Map<string, Record<string, Record<string, number>>>();
  const take = ({ cases }: Comparison): void => {
    for (const { id, classes } of cases) {
      found.set(id, { ...found.get(id), ...Object.fromEntries(classes.map((each) => [each.name, measuresOf(each)])) });
    }
  };
  if (!networks) {
    const own = await prepare(data, "all", { sets: SCANNERS, organs: ORGANS });
    take(await trained(`${folder}/${name}`, [...own, ...common, ...words]));
  } else {
    for (const set of SETS) {
      const sets = networks === "P" ? [set.name] : ["F", set.name];
      const own = await prepare(data, sets.join("_"), { sets, organs: set.organs });
      take(await trained(`${folder}/${name.replace("+", "_")}_${set.name}`, [...own, ...common, ...words]));
    }
  }
  return [...found].map(([id, classes]) => ({ id, classes: Object.fromEntries(ORGANS.map((organ) => [organ, classes[organ]!])) }));
}

for (const seed of seeds) {
  const folder = `${run.path}/seed_${seed}`;
  const data = `${folder}/phantom`;
  if (trials.every(({ name }) => experiment.done(name, seed))) continue;
  await writeSets(data, seed);
  const common = [
    "--cache", `${run.path}/prepared`, "--seed", `${seed}`, "--augment", augment, "--flips", "none", "--rate", "3e-3",
    "--steps", `${steps}`, "--validation", "0",
  ];
  for (const trial of trials) {
    if (experiment.done(trial.name, seed)) continue;
    print(`\nSeed ${seed}: ${trial.title}`);
    const from = performance.now();
    const cases = await compared(trial, folder, data, common);
    // Patients of a seed are its own.
    const variants = Object.fromEntries(
      [["all scanners", ""], ...SCANNERS.map((name) => [`scanner of ${name}`, `test_${name}__`])].map(([variant, start]) =>
        [variant, cases.filter(({ id }) => id.startsWith(start!)).map((each) => ({ ...each, id: `seed ${seed}, ${each.id}` }))]),
    );
    const seconds = Math.round((performance.now() - from) / 1000);
    await experiment.add(trial.name, seed, variants, { seconds });
    await experiment.finish();
  }
}
print(`\n${await experiment.finish()}`);
print(`${duration((performance.now() - started) / 1000)}; written:\n${run.listing()}`);
await closeDevice();
