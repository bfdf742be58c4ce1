// Compares what the paper of marginal and exclusion losses compares (Shi et al. 2021, Tables 3 to 8 and 10) on
// phantoms. Study organs: a few cases F with five organs annotated, and sets P1 to P4 with one organ (P4: both kidneys)
// and a scanner each, measured on patients of every scanner. Study tumor: F with liver and tumor, P1 with the liver
// drawn with its tumors, P2 with tumors alone. Every arm of a seed has the same patients, initialization, batches and
// steps; the last weights are measured on patients with all labels annotated. What is done is kept: the same command
// resumes after a stop. --help lists what can be set.
import {
  measuresOf,
  openDataset,
  type OrganShapes,
  organShapes,
  readVolume,
  type Triple,
  writeOrganPhantomDataset,
} from "../engine/imaging/mod.ts";
import {
  choice,
  chooseArms,
  type Config,
  config,
  deviceSize,
  entry,
  experimentEntries,
  findImages,
  type MeasuredCase,
  refuseUnused,
  runConfig,
  runExperiment,
  RunFolder,
  runScript,
  trimSlashes,
  writePlanAndSplit,
} from "../engine/train/mod.ts";
import { partialStudies, type PartialTrial, STUDY_POOL } from "../models/mod.ts";
import { partialEntries, type PartialOptions, trainPartial } from "./train_partial.ts";

const { organs, tumor } = partialStudies;
const namesOf = (trials: readonly PartialTrial[]): string => trials.map(({ name }) => name).join(", ");

const entries = {
  study: choice(["organs", "tumor"], "organs of five datasets, or an organ and its tumors"),
  size: choice(["auto", "cpu", "gpu"], "cpu: 32 voxels cubed and a small network; gpu: 64"),
  run: entry("runs/experiment_partial", "folder of the experiment; resumed if it exists"),
  ...experimentEntries,
  full: entry(4, "patients of F", { integer: true, min: 1 }),
  partial: entry(9, "patients of each P", { integer: true, min: 1 }),
  heldOut: entry(0, "patients to measure on, of each scanner; 0: 3, of study tumor 15", { integer: true, min: 0 }),
  steps: entry(
    0,
    "optimizer steps of each arm, which networks of one arm share; 0: 2000 of size cpu, 12000 of size gpu",
    { integer: true, min: 0 },
  ),
  rate: entry(1e-2, "Adam's learning rate at the start", { min: 0 }),
  arms: entry(
    "main",
    `names of arms with commas between; main: ${namesOf(organs.main)} (tumor: ${namesOf(tumor.main)}); all: also ` +
      namesOf(organs.more),
  ),
  shapes: entry("", "label map, or folder of them, whose organs are bent for each patient; ellipsoids without it"),
  shapeValues: entry(
    [6, 1, 10, 3, 2],
    "its values of liver, spleen, pancreas, left and right kidney; as AMOS has them",
    { integer: true, min: 1 },
  ),
} as const;

const SIZES = {
  cpu: { side: 32, spacing: 9, features: [6, 12, 24], convs: 1, augment: "none", steps: 2000 },
  gpu: { side: 64, spacing: 4.5, features: [16, 32, 64, 128], convs: 2, augment: "nnunet", steps: 12000 },
} as const;

await runScript(import.meta.url, () => config(entries), experimentPartial);

async function experimentPartial(options: Config<typeof entries>): Promise<void> {
  refuseUnused(options, {
    shapeValues: options.shapes === "" && "it tells the values of --shapes",
    rate: options.rates.length > 0 && "--rates chooses it for each arm",
  });
  const study = partialStudies[options.study];
  const { sets, labels, tumors } = study;
  const heldOut = options.heldOut || (tumors ? 15 : 3);
  const trials = chooseArms(options.arms, study.main, study.more);
  /** Scanners of the study, by number, each with the name of the set that brings it. */
  const scanners = [...new Map([...sets].reverse().map(({ name, scanner }) => [scanner, name]))]
    .sort(([a], [b]) => a - b);
  const size = await deviceSize(options.size);
  const { side, spacing, features, convs, augment } = SIZES[size];
  const steps = options.steps || SIZES[size].steps;
  const { rate, full, partial, shapeValues } = options;
  const shape: Triple = [side, side, side];
  const shapes: OrganShapes[] = [];
  for (const { images } of options.shapes === "" ? [] : await findImages(options.shapes, 1)) {
    shapes.push(organShapes(await readVolume(images[0]), shapeValues));
  }
  const common = { shape, spacing: [spacing, spacing, spacing] as Triple, shapes, tumors };
  const consists = sets.map(({ name, labels, becomes }, k) => {
    const patients = k === 0 ? full : partial;
    return `${name}: ${patients} patients with ${labels.join(", ")}${becomes ? ", not told from each other" : ""}`;
  });

  /** Writes a seed's sets, as folders of their names, and test_NAME for each scanner. */
  const writeSets = async (data: string, seed: number): Promise<void> => {
    const write = (name: string, own: { scanner?: number; organs: readonly string[]; cases: number; seed: number }) =>
      writeOrganPhantomDataset(`${data}/${name}`, { ...common, ...own });
    for (const [k, { name, scanner, labels: organs }] of sets.entries()) {
      await write(name, { scanner, organs, cases: k === 0 ? full : partial, seed: 100 * seed + k });
    }
    for (const [scanner, name] of scanners) {
      await write(`test_${name}`, { scanner, organs: labels, cases: heldOut, seed: 100 * seed + 50 + scanner });
    }
    if (trials.some((trial) => trial.full !== undefined)) {
      await write("pool", { organs: labels, cases: STUDY_POOL, seed: 100 * seed + 90 });
    }
  };

  /** Makes a dataset group of sets and all test sets, with its plan and split, and gives the options that name them. */
  const prepareGroup = async (data: string, name: string, trained: readonly GroupSet[], labels: readonly string[]) => {
    const tests = scanners.map(([, scanner]) => groupSet(`test_${scanner}`, study.labels, labels));
    await new RunFolder(data).writeJson(`${name}.json`, {
      format: "voxgrad group 1",
      name,
      labels: ["background", ...labels],
      sets: [...trained, ...tests],
    });
    return writePlanAndSplit(`${data}/${name}.json`, {
      files: `${data}/${name}_`,
      split: ({ cases }) => {
        const idsOf = (chosen: readonly GroupSet[]) => {
          const names = chosen.map(({ data: folder, name = folder }) => name);
          return cases.filter(({ set }) => names.includes(set!)).map(({ id }) => id);
        };
        return { train: idsOf(trained), val: idsOf(tests) };
      },
      plan: { preset: "small", patch: shape, features, batch: 2 },
      convs,
      from: "training",
    });
  };

  /** The trainings of an arm: sets and labels of each, and the folder that it runs in. */
  const trainingsOf = async ({ name, networks, full }: PartialTrial, data: string): Promise<Training[]> => {
    const [first, ...others] = sets;
    if (full !== undefined) return [{ group: name, run: name, labels, sets: await poolSets(data, full, labels) }];
    if (!networks) {
      const all = sets.map((set) => groupSet(set.name, set.labels, labels, set.becomes));
      return [{ group: "all", run: name, labels, sets: all }];
    }
    return others.map(({ name: set, labels }) => {
      const own = groupSet(set, labels, labels);
      const chosen = networks === "P" ? [own] : [groupSet(first.name, first.labels, labels), own];
      const group = chosen.map((each) => each.data).join("_");
      return { group, run: `${name.replace("+", "_")}_${set}`, labels, sets: chosen };
    });
  };

  await runExperiment<PartialTrial, Partial<PartialOptions>>({
    run: options.run,
    trials,
    seeds: options.seeds,
    firstSeed: options.firstSeed,
    rates: options.rates,
    title: study.title,
    about:
      `${consists.join("; ")}. Measured on ${heldOut} other patients of each scanner, with all labels. Every arm ` +
      "takes the same number of steps in all. In another organ: the share of what was found that lies in another " +
      "organ, which exclusion is to prevent.",
    reference: options.reference || (trials.find(({ name }) => name === "marginal") ?? trials[0]).name,
    measures: [
      "Dice",
      "sensitivity",
      "precision",
      "HD95",
      { name: "other_organ", heading: "In another organ", better: "lower", digits: 4 },
    ],
    settings: {
      study: options.study,
      size,
      shape,
      spacing,
      features,
      convs,
      augment,
      steps,
      full,
      partial,
      heldOut,
      shapes: options.shapes,
      shapeValues,
      batch: 2,
      optimizer: "adam",
      rate,
    },
    prepare: async (folder, seed) => {
      await writeSets(`${folder}/phantom`, seed);
      return {
        cache: `${trimSlashes(options.run)}/prepared`,
        seed,
        augment,
        flips: "none",
        rate,
        validation: 0,
      };
    },
    // The networks of an arm together measure all labels of the test patients.
    measure: async ({ trial, folder, shared }) => {
      const data = `${folder}/phantom`;
      const found = new Map<string, MeasuredCase["classes"]>();
      const truth = await testLabels(data, scanners.map(([, name]) => `test_${name}`));
      const trainings = await trainingsOf(trial, data);
      for (const { group, run, sets, labels } of trainings) {
        const files = await prepareGroup(data, group, sets, labels);
        const own = { ...files, ...shared, ...trial.options, steps: Math.round(steps / trainings.length) };
        const { cases } = await trainPartial(await runConfig(`${folder}/${run}`, partialEntries, own));
        for (const { id, classes, prediction } of cases) {
          const astray = await inOtherOrgans(prediction, truth.get(id)!, labels);
          const byName = Object.fromEntries(
            classes.map((each) => [each.name, { ...measuresOf(each), other_organ: astray.get(each.name) ?? null }]),
          );
          found.set(id, { ...found.get(id), ...byName });
        }
      }
      const cases = [...found].map(([id, classes]): MeasuredCase => ({
        id,
        classes: Object.fromEntries(labels.map((label) => [label, classes[label]])),
      }));
      const variants = [["all scanners", ""]];
      if (scanners.length > 1) {
        variants.push(...scanners.map(([, name]) => [`scanner of ${name}`, `test_${name}__`]));
      }
      return Object.fromEntries(
        variants.map(([variant, start]) => [variant, cases.filter(({ id }) => id.startsWith(start))]),
      );
    },
    // What the networks of the first seed found.
    figures: async (experiment, folder) => {
      for (const trial of trials) {
        for (const { run, group } of await trainingsOf(trial, `${folder}/phantom`)) {
          const svg = await new RunFolder(`${folder}/${run}`).readText("overlay.svg");
          await experiment.figure(`${run}_overlay.svg`, svg, `Held-out patients, trained on ${group}.`, {
            arm: trial.name,
          });
        }
      }
    },
  });
}

/** A test patient's label map, and the names of its values. */
interface TestLabel {
  readonly file: string;
  readonly names: ReadonlyMap<number, string>;
}

/** Label maps of test sets, by the id of their patients in groups. */
async function testLabels(data: string, sets: readonly string[]): Promise<Map<string, TestLabel>> {
  const all = await Promise.all(sets.map(async (set) => {
    const { cases, labels } = await openDataset(`${data}/${set}`);
    const names = new Map(labels.map(({ value, name }) => [value, name]));
    return cases.map(({ id, label }): [string, TestLabel] => [`${set}__${id}`, { file: label!, names }]);
  }));
  return new Map(all.flat());
}

/** Of what was found of each label, the share that lies in another organ; no entry where nothing was found. */
async function inOtherOrgans(
  prediction: string,
  { file, names }: TestLabel,
  labels: readonly string[],
): Promise<Map<string, number>> {
  const [found, reference] = [await readVolume(prediction), await readVolume(file)];
  const counts = new Map<string, { voxels: number; astray: number }>();
  for (const [i, value] of found.data.entries()) {
    if (value === 0) continue;
    const label = labels[value - 1];
    const count = counts.get(label) ?? { voxels: 0, astray: 0 };
    count.voxels++;
    if (reference.data[i] > 0 && names.get(reference.data[i]) !== label) count.astray++;
    counts.set(label, count);
  }
  return new Map([...counts].map(([label, { voxels, astray }]) => [label, astray / voxels]));
}

/** A training of an arm. */
interface Training {
  /** Name of its dataset group. */
  readonly group: string;
  readonly run: string;
  readonly labels: readonly string[];
  readonly sets: readonly GroupSet[];
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
function groupSet(data: string, own: readonly string[], labels: readonly string[], becomes: object = {}): GroupSet {
  const others = own.filter((each) => !labels.includes(each)).map((each) => [each, null]);
  return { data, labels: { ...Object.fromEntries(others), ...becomes } };
}

/** Table 6: the first `full` patients of the pool with all organs, of the others the same number with each organ. */
async function poolSets(data: string, full: number, labels: readonly string[]): Promise<GroupSet[]> {
  const ids = (await openDataset(`${data}/pool`)).cases.map(({ id }) => id);
  const each = Math.floor((STUDY_POOL - full) / labels.length);
  const parts = labels.map((label, k): GroupSet => ({
    data: "pool",
    name: label,
    present: [label],
    cases: ids.slice(full + k * each, full + (k + 1) * each),
  }));
  return [{ data: "pool", name: "full", cases: ids.slice(0, full) }, ...(each > 0 ? parts : [])];
}
