// Compares what the paper of marginal and exclusion losses compares (Shi et al. 2021, Tables 3 to 8 and 10) on phantoms.
// Study organs: a few cases F with five organs annotated, and sets P1 to P4 with one organ (P4: both kidneys) and a scanner
// each, measured on patients of every scanner. Study tumor: F with liver and tumor, P1 with the liver drawn with its
// tumors, P2 with tumors alone. Every arm of a seed has the same patients, initialization, batches and steps; the last
// weights are measured on patients with all labels annotated. What is done is kept: the same command goes on after a stop.
// --help lists what can be set.
import { closeDevice, deviceInfo } from "../engine/mod.ts";
import {
  type Comparison,
  fingerprintDataset,
  makePlan,
  measuresOf,
  openDataset,
  ORGAN_PHANTOM_TUMOR,
  type OrganShapes,
  organShapes,
  type Plan,
  planText,
  readVolume,
  type Triple,
  writeOrganPhantomDataset,
} from "../engine/imaging/mod.ts";
import {
  choice,
  chooseArms,
  config,
  duration,
  entry,
  findImages,
  type MeasuredCase,
  openExperiment,
  print,
  refuseUnused,
  runConfig,
  RunFolder,
} from "../engine/train/mod.ts";
import { partialEntries, trainPartial } from "../models/mod.ts";

/** A set of a study: what its files annotate, and what that is in the group where it is not the same. */
interface StudySet {
  readonly name: string;
  readonly scanner: number;
  readonly labels: readonly string[];
  readonly becomes?: Readonly<Record<string, unknown>>;
}

interface Trial {
  readonly name: string;
  readonly title: string;
  readonly about: string;
  readonly words: readonly string[];
  /** A network for each set P, of its organs alone: on F and the set, or on the set. */
  readonly networks?: "F+P" | "P";
  /** Instead of the sets, POOL patients of the scanner of F: this many fully labeled, the others with an organ each. */
  readonly full?: number;
}

interface Study {
  readonly title: string;
  readonly labels: readonly string[];
  /** The first is fully labeled. */
  readonly sets: readonly StudySet[];
  readonly tumors: boolean;
  readonly main: readonly Trial[];
  readonly more: readonly Trial[];
}

const KIDNEYS = ["left kidney", "right kidney"];
const ORGANS = ["liver", "spleen", "pancreas", ...KIDNEYS];
const ORGAN_SETS: readonly StudySet[] = [ORGANS, ["liver"], ["spleen"], ["pancreas"], KIDNEYS].map((
  labels,
  scanner,
) => ({ name: scanner === 0 ? "F" : `P${scanner}`, scanner, labels }));
/** Patients of F in Table 6. */
const POOL = 24;
const joint = (name: string, title: string, about: string, ...words: string[]): Trial => ({
  name,
  title,
  about,
  words,
});
const base: readonly Trial[] = [
  joint("F", "F alone", "Ordinary loss on the fully labeled cases.", "--loss", "full"),
  joint(
    "naive",
    "Unlabeled is background",
    "Ordinary loss on all cases, labels as they are: the control.",
    "--loss",
    "naive",
  ),
  joint("marginal", "Marginal losses", "Marginal cross-entropy and Dice on all cases.", "--loss", "marginal"),
  joint(
    "exclusion",
    "Marginal and exclusion losses",
    "With twice the exclusion losses: the paper's best.",
    "--loss",
    "exclusion",
  ),
];
const main: readonly Trial[] = [
  ...base.slice(0, 2),
  {
    name: "F+P",
    title: "F and one P",
    about: "Four networks, each of the organs of one P, ordinary loss.",
    words: ["--loss", "full"],
    networks: "F+P",
  },
  joint("mCE", "Marginal cross-entropy", "On all cases.", "--loss", "marginal", "--terms", "ce"),
  joint("mDice", "Marginal Dice", "On all cases.", "--loss", "marginal", "--terms", "dice"),
  ...base.slice(2),
  joint(
    "logit",
    "Marginal losses, logits merged",
    "As the official code merges.",
    "--loss",
    "marginal",
    "--mode",
    "logit",
  ),
];
const more: readonly Trial[] = [
  {
    name: "P",
    title: "Each P alone",
    about: "Four networks, each of one P.",
    words: ["--loss", "full"],
    networks: "P",
  },
  joint("F_CE", "F alone, cross-entropy", "Table 3's first row.", "--loss", "full", "--terms", "ce"),
  joint("F_Dice", "F alone, Dice", "Table 3's second row.", "--loss", "full", "--terms", "dice"),
  joint("pseudo", "Labels completed by the network", "Ordinary loss on all cases.", "--loss", "pseudo"),
  joint("prior", "Prior-aware (PaNN)", "Completed labels, and organs' sizes as in F.", "--loss", "prior"),
  ...[[4, 1], [3, 1], [2, 1], [1, 1], [1, 3], [1, 4], [0, 1]].map(([m, e]) =>
    joint(
      `${m}:${e}`,
      `Marginal to exclusion ${m}:${e}`,
      "Table 5.",
      "--marginalWeight",
      `${m}`,
      "--exclusionWeight",
      `${e}`,
    )
  ),
  ...ORGAN_SETS.slice(1).map(({ name, labels }) =>
    joint(
      `without_${name}`,
      `Without ${name}`,
      `Marginal and exclusion losses; ${labels.join(" and ")} in F alone. Table 8.`,
      "--trainSets",
      ORGAN_SETS.map((set) => set.name).filter((each) => each !== name).join(","),
    )
  ),
  ...[24, 19, 14, 9, 4].map((full): Trial => ({
    ...joint(
      `full_${full}`,
      `${full} of ${POOL} fully labeled`,
      `The others have one of the five organs each. Table 6.`,
    ),
    full,
  })),
];
const STUDIES: Readonly<Record<"organs" | "tumor", Study>> = {
  organs: {
    title: "Partly labeled datasets: marginal and exclusion losses, and what they are compared with",
    labels: ORGANS,
    sets: ORGAN_SETS,
    tumors: false,
    main,
    more,
  },
  // Table 10: one scanner, as the paper divides one dataset.
  tumor: {
    title: "Organ and tumor, in part annotated together: marginal and exclusion losses",
    labels: ["liver", ORGAN_PHANTOM_TUMOR],
    tumors: true,
    main: base,
    more: [],
    sets: [
      { name: "F", scanner: 0, labels: ["liver", ORGAN_PHANTOM_TUMOR] },
      { name: "P1", scanner: 0, labels: ["liver"], becomes: { liver: { any: ["liver", ORGAN_PHANTOM_TUMOR] } } },
      { name: "P2", scanner: 0, labels: [ORGAN_PHANTOM_TUMOR] },
    ],
  },
};

const options = config({
  study: choice(["organs", "tumor"], "organs of five datasets, or an organ and its tumors"),
  size: choice(["auto", "cpu", "gpu"], "cpu: 32 voxels cubed and a small network; gpu: 64"),
  run: entry("runs/experiment_partial", "folder of the experiment; one that is there is gone on with"),
  seeds: entry(3, "repetitions, each with patients and weights of its own", { integer: true, min: 1 }),
  full: entry(4, "patients of F", { integer: true, min: 1 }),
  partial: entry(9, "patients of each P", { integer: true, min: 1 }),
  heldOut: entry(0, "patients to measure on, of each scanner; 0: 3, of study tumor 15", { integer: true, min: 0 }),
  steps: entry(0, "optimizer steps of each network; 0: 500 of size cpu, 3000 of size gpu", { integer: true, min: 0 }),
  rate: entry(1e-2, "Adam's learning rate at the start", { min: 0 }),
  arms: entry(
    "main",
    `names of arms with commas between; main: ${main.map(({ name }) => name).join(", ")} (tumor: ` +
      `${base.map(({ name }) => name).join(", ")}); all: also ${more.map(({ name }) => name).join(", ")}`,
  ),
  shapes: entry("", "label map, or folder of them, whose organs are bent for each patient; ellipsoids without it"),
  shapeValues: entry(
    [6, 1, 10, 3, 2],
    "its values of liver, spleen, pancreas, left and right kidney; as AMOS has them",
    { integer: true, min: 1 },
  ),
});
refuseUnused(options, { shapeValues: options.shapes === "" && "it tells the values of --shapes" });
const study = STUDIES[options.study];
const heldOut = options.heldOut || (study.tumors ? 15 : 3);
const trials = chooseArms(options.arms, study.main, study.more);
/** Scanners of the study, by number, each with the name of the set that brings it. */
const scanners = [...new Map([...study.sets].reverse().map(({ name, scanner }) => [scanner, name]))].sort(([a], [b]) =>
  a - b
);
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
  shapes.push(organShapes(await readVolume(images[0]), options.shapeValues));
}
const run = new RunFolder(options.run.replace(/(?<=.)\/+$/, ""));
const experiment = await openExperiment(run, {
  title: study.title,
  about: study.sets.map(({ name, labels, becomes }, k) =>
    `${name}: ${k === 0 ? options.full : options.partial} patients with ${labels.join(", ")}${
      becomes ? ", not told from each other" : ""
    }`
  ).join("; ") +
    `. Measured on ${heldOut} other patients of each scanner, with all labels.`,
  arms: trials.map(({ name, title, about }) => ({ name, title, about })),
  seeds,
  reference: (trials.find(({ name }) =>
    name === "marginal"
  ) ?? trials[0]).name,
  measures: ["Dice", "sensitivity", "precision", "HD95"],
  settings: {
    study: options.study,
    size,
    shape,
    spacing,
    features,
    convs,
    augment,
    steps,
    full: options.full,
    partial: options.partial,
    heldOut,
    shapes: options.shapes,
    shapeValues: options.shapeValues,
    batch: 2,
    optimizer: "adam",
    rate: options.rate,
  },
});
const started = performance.now();

const { tumors } = study;
const common = { shape, spacing: [spacing, spacing, spacing] as Triple, shapes, tumors };

/** A seed's sets, as folders of their names, and test_NAME for each scanner. */
async function writeSets(folder: string, seed: number): Promise<void> {
  for (const [k, { name, scanner, labels }] of study.sets.entries()) {
    const cases = k === 0 ? options.full : options.partial;
    await writeOrganPhantomDataset(`${folder}/${name}`, {
      ...common,
      scanner,
      organs: labels,
      cases,
      seed: 100 * seed + k,
    });
  }
  for (const [scanner, name] of scanners) {
    const test = { ...common, scanner, organs: study.labels, cases: heldOut, seed: 100 * seed + 50 + scanner };
    await writeOrganPhantomDataset(`${folder}/test_${name}`, test);
  }
  if (trials.some(({ full }) => full !== undefined)) {
    await writeOrganPhantomDataset(`${folder}/pool`, {
      ...common,
      organs: study.labels,
      cases: POOL,
      seed: 100 * seed + 90,
    });
  }
}

/** An entry of the "sets" of a group file. */
interface GroupSet {
  readonly data: string;
  readonly name?: string;
  readonly labels?: Readonly<Record<string, unknown>>;
  readonly present?: readonly string[];
  readonly cases?: readonly string[];
}

/** A set in a group of some labels; its others become background, which they are to a network of these alone. */
const groupSet = (data: string, own: readonly string[], labels: readonly string[], becomes: object = {}): GroupSet => ({
  data,
  labels: {
    ...Object.fromEntries(own.filter((each) => !labels.includes(each)).map((each) => [each, null])),
    ...becomes,
  },
});

/** Table 6: the first `full` patients of the pool with all organs, of the others the same number with each organ. */
async function poolSets(data: string, full: number): Promise<GroupSet[]> {
  const ids = (await openDataset(`${data}/pool`)).cases.map(({ id }) => id);
  const each = Math.floor((POOL - full) / study.labels.length);
  const parts = study.labels.map((label, k): GroupSet => ({
    data: "pool",
    name: label,
    present: [label],
    cases: ids.slice(full + k * each, full + (k + 1) * each),
  }));
  return [{ data: "pool", name: "full", cases: ids.slice(0, full) }, ...(each > 0 ? parts : [])];
}

/** Makes a dataset group of sets and all test sets, with its plan and split, and gives the words that are its own. */
async function prepare(
  data: string,
  group: string,
  of: { sets: readonly GroupSet[]; labels: readonly string[] },
): Promise<string[]> {
  const here = new RunFolder(data);
  const file = `${data}/${group}.json`;
  const tests = scanners.map(([, name]) => groupSet(`test_${name}`, study.labels, of.labels));
  await here.writeJson(`${group}.json`, {
    format: "voxgrad group 1",
    name: group,
    labels: ["background", ...of.labels],
    sets: [...of.sets, ...tests],
  });
  const dataset = await openDataset(file);
  const idsOf = (sets: readonly GroupSet[]) => {
    const named = sets.map(({ data: folder, name = folder }) => name);
    return dataset.cases.filter(({ set }) => named.includes(set!)).map(({ id }) => id);
  };
  const [train, val] = [idsOf(of.sets), idsOf(tests)];
  const trained = { ...dataset, cases: dataset.cases.filter(({ id }) => train.includes(id)) };
  const plan = makePlan(dataset, await fingerprintDataset(trained), {
    preset: "small",
    patch: shape,
    features,
    batch: 2,
  });
  const each = plan.network.features.map(() => convs);
  const network: Plan["network"] = {
    ...plan.network,
    convsPerStage: each,
    decoderConvsPerStage: each.slice(1),
  } as Plan["network"];
  await here.write(`${group}_plan.json`, planText({ ...plan, network }));
  await here.writeJson(`${group}_splits.json`, [{ train, val }]);
  return [file, "--plan", `${data}/${group}_plan.json`, "--splits", `${data}/${group}_splits.json`];
}

/** Trains into a folder, or goes on with what is there. */
const trained = async (folder: string, words: readonly string[]): Promise<Comparison> =>
  trainPartial(await runConfig(folder, partialEntries, words));

/** The networks of an arm: measures of the test patients, of all labels together. */
async function compared(trial: Trial, folder: string, data: string, words: readonly string[]): Promise<MeasuredCase[]> {
  const { name, networks, full } = trial;
  const found = new Map<string, Record<string, Record<string, number>>>();
  const trainOn = async (
    sets: readonly GroupSet[],
    group: string,
    labels: readonly string[],
    run: string,
  ): Promise<void> => {
    const own = await prepare(data, group, { sets, labels });
    for (const { id, classes } of (await trained(`${folder}/${run}`, [...own, ...words, ...trial.words])).cases) {
      found.set(id, { ...found.get(id), ...Object.fromEntries(classes.map((each) => [each.name, measuresOf(each)])) });
    }
  };
  const [first, ...others] = study.sets;
  if (full !== undefined) {
    await trainOn(await poolSets(data, full), name, study.labels, name);
  } else if (!networks) {
    const sets = study.sets.map((set) => groupSet(set.name, set.labels, study.labels, set.becomes));
    await trainOn(sets, "all", study.labels, name);
  } else {
    for (const { name: set, labels } of others) {
      const own = groupSet(set, labels, labels);
      const sets = networks === "P" ? [own] : [groupSet(first.name, first.labels, labels), own];
      await trainOn(sets, sets.map((each) => each.data).join("_"), labels, `${name.replace("+", "_")}_${set}`);
    }
  }
  return [...found].map(([id, classes]) => ({
    id,
    classes: Object.fromEntries(study.labels.map((label) => [label, classes[label]])),
  }));
}

for (const seed of seeds) {
  const folder = `${run.path}/seed_${seed}`;
  const data = `${folder}/phantom`;
  if (trials.every(({ name }) => experiment.done(name, seed))) continue;
  await writeSets(data, seed);
  const words = [
    "--cache",
    `${run.path}/prepared`,
    "--seed",
    `${seed}`,
    "--augment",
    augment,
    "--flips",
    "none",
    "--rate",
    `${options.rate}`,
    "--steps",
    `${steps}`,
    "--validation",
    "0",
  ];
  for (const trial of trials) {
    if (experiment.done(trial.name, seed)) continue;
    print(`\nSeed ${seed}: ${trial.title}`);
    const from = performance.now();
    const cases = await compared(trial, folder, data, words);
    // Patients of a seed are its own.
    const variants = Object.fromEntries(
      [
        ["all scanners", ""],
        ...(scanners.length > 1 ? scanners : []).map(([, name]) => [`scanner of ${name}`, `test_${name}__`]),
      ].map((
        [variant, start],
      ) => [
        variant,
        cases.filter(({ id }) => id.startsWith(start)).map((each) => ({ ...each, id: `seed ${seed}, ${each.id}` })),
      ]),
    );
    const seconds = Math.round((performance.now() - from) / 1000);
    await experiment.add(trial.name, seed, variants, { seconds });
    await experiment.finish();
  }
}
print(`\n${await experiment.finish()}`);
print(`${duration((performance.now() - started) / 1000)}; written:\n${run.listing()}`);
await closeDevice();
