// Compares what the paper of SSL-ALPNet compares (Ouyang et al. 2020, Tables 1, 2 and 4) on phantoms: organs that
// training has not seen, segmented in other patients from one labeled one. Two groups of organs are kept from training
// in turn: slices that show one of a group are left out (setting 2), and the group is measured. Every arm of a seed has
// the same patients, initialization and number of episodes; the last weights are measured on patients held out. What is
// done is kept: the same command resumes after a stop. --help lists what can be set.
import { measuresOf, type Triple, writeOrganPhantomDataset } from "../engine/imaging/mod.ts";
import {
  choice,
  chooseArms,
  config,
  deviceSize,
  entry,
  experimentEntries,
  firstCases,
  type MeasuredCase,
  runConfig,
  runExperiment,
  runScript,
  type Trial,
  trial,
  trimSlashes,
  writePlanAndSplit,
} from "../engine/train/mod.ts";
import { alpnetEntries, type AlpnetOptions, trainAlpnet } from "./train_alpnet.ts";

/** An arm; `minSize` is the size of its superpixels by that of the other arms. */
interface AlpnetTrial extends Trial<AlpnetOptions> {
  readonly times?: number;
}
const main: readonly AlpnetTrial[] = [
  trial("copied", "Copied mask", "The support's mask, moved to the other scans without a look at them.", {
    arm: "copied",
    exclude: "",
  }),
  trial("init", "Not trained", "ALPNet on features of a random encoder, with batch norms' statistics of the slices.", {
    arm: "init",
  }),
  trial("panet", "PANet, annotated", "One prototype a class, trained on the other organs' labels.", { arm: "panet" }),
  trial("alpnet", "ALPNet, annotated", "Local prototypes, trained on the other organs' labels.", { arm: "alpnet" }),
  trial("ssl-panet", "SSL-PANet", "One prototype a class, trained on superpixels.", { arm: "ssl-panet" }),
  trial("ssl-alpnet", "SSL-ALPNet", "Local prototypes, trained on superpixels: the paper's method."),
  trial("none", "SSL-ALPNet, no transform", "Support and query are the same slice.", { transform: "none" }),
  trial("intensity", "SSL-ALPNet, intensity", "Gamma alone.", { transform: "intensity" }),
  trial("geometry", "SSL-ALPNet, geometry", "Affine and elastic transforms alone.", { transform: "geometry" }),
];
/** Ablations of the superpixels' size, by that of the main arms, and of what the code and the paper do differently. */
const more: readonly AlpnetTrial[] = [
  ...[0.25, 2, 4].map((times) => ({
    ...trial(`size_${times}`, `SSL-ALPNet, superpixels x ${times}`, "Pixels of the smallest superpixel."),
    times,
  })),
  trial("query", "SSL-ALPNet, query alone", "The query alone is transformed, as the paper says.", {
    transformed: "query",
  }),
  trial("paper_rule", "SSL-ALPNet, Eq. 2", "All windows that are not the class's are background's.", { rule: "paper" }),
  trial("volume", "SSL-ALPNet, supervoxels", "Superpixels of the volume.", { superpixels: "volume" }),
  trial("setting_1", "SSL-ALPNet, setting 1", "Slices with the measured organs are trained on, without labels.", {
    exclude: "",
  }),
  ...[2, 3, 4, 5].map((shots) =>
    trial<AlpnetOptions>(`shots_${shots}`, `SSL-ALPNet, ${shots} supports`, "Labeled patients.", { shots })
  ),
  trial("nearest", "SSL-ALPNet, nearest slice", "The labeled slice nearest in height is the support.", {
    slices: "nearest",
  }),
  trial("foreground", "SSL-ALPNet, local foreground", "The background has one prototype.", { local: "foreground" }),
  trial("background", "SSL-ALPNet, local background", "A class has one prototype.", { local: "background" }),
  trial("probe_4", "SSL-ALPNet, probe of 4", "A class has local prototypes if 4 x 4 features lie in it (code).", {
    probe: 4,
  }),
];
const GROUPS = [["liver", "spleen"], ["left kidney", "right kidney"]];
/** Patients differ in the gamma of their scans, as the paper's do in the distribution of intensities. */
const GAMMAS = [0.5, 1.5] as const;

const entries = {
  size: choice(["auto", "cpu", "gpu"], "cpu: slices of 64 x 64 and a small encoder; gpu: 128 x 128 and resnet18"),
  run: entry("runs/experiment_alpnet", "folder of the experiment; resumed if it exists"),
  ...experimentEntries,
  cases: entry(8, "patients to train on; the first is the support", { integer: true, min: 1 }),
  heldOut: entry(6, "patients to measure on", { integer: true, min: 1 }),
  steps: entry(0, "episodes of each training; 0: 600 of size cpu, 10000 of size gpu", { integer: true, min: 0 }),
  arms: entry(
    "main",
    `names of arms with commas between; main: ${main.map(({ name }) => name).join(", ")}; all: also ${
      more.map(({ name }) => name).join(", ")
    }`,
  ),
} as const;

/** Windows and superpixels are as large beside the organs as the paper's are in slices of 256 x 256. */
const SIZES = {
  cpu: { side: 64, slices: 16, backbone: "small", stride: "4", rate: 1e-2, minSize: 25, steps: 600 },
  gpu: { side: 128, slices: 24, backbone: "resnet18", stride: "8", rate: 1e-3, minSize: 100, steps: 10000 },
} as const;

await runScript(import.meta.url, () => config(entries), async (options) => {
  const trials = chooseArms(options.arms, main, more);
  const size = await deviceSize(options.size);
  const { side, slices, backbone, stride, rate, minSize } = SIZES[size];
  const steps = options.steps || SIZES[size].steps;
  const { run, cases, heldOut } = options;
  const shape: Triple = [side, side, slices];
  const spacing: Triple = [384 / side, 384 / side, 288 / slices];
  const encoder = { backbone, stride, window: 2, testWindow: 1 } as const;
  const groups = GROUPS.map((group) => group.join(" and ")).join("; ");

  await runExperiment<AlpnetTrial, Partial<AlpnetOptions>>({
    run,
    trials,
    seeds: options.seeds,
    firstSeed: options.firstSeed,
    rates: options.rates,
    title: "Few-shot segmentation: superpixels and local prototypes, and what they are compared with",
    about: `Organs that training does not see, ${groups}, are segmented in ` +
      `${heldOut} patients from one labeled patient, in the slices that show them.`,
    reference: options.reference || (trials.find(({ name }) => name === "ssl-alpnet") ?? trials[0]).name,
    measures: ["Dice", "sensitivity", "precision", "HD95"],
    settings: { size, shape, spacing, gammas: GAMMAS, steps, cases, heldOut, encoder, rate, minSize },

    prepare: async (folder, seed) => {
      const data = `${folder}/phantom`;
      const patients = { cases: cases + heldOut, seed, shape, spacing, distinct: true, gammas: GAMMAS };
      await writeOrganPhantomDataset(data, patients);
      const files = await writePlanAndSplit(data, {
        files: `${data}/`,
        split: firstCases(cases),
        plan: { preset: "small", patch: [slices, side, side], batch: 1 },
      });
      return { ...files, cache: `${trimSlashes(run)}/prepared`, seed, steps, rate, ...encoder };
    },

    // Each group is measured by a training that does not see it, or all by one that may.
    measure: async ({ trial: { name, times = 1, options: own }, folder, shared }) => {
      const found = new Map<string, MeasuredCase["classes"]>();
      const kept = own?.exclude;
      for (const [k, group] of (kept === undefined ? GROUPS : [GROUPS.flat()]).entries()) {
        const exclude = kept ?? group.join(",");
        const options = { ...shared, minSize: Math.round(minSize * times), ...own, exclude };
        const comparison = await trainAlpnet(await runConfig(`${folder}/${name}_${k + 1}`, alpnetEntries, options));
        for (const { id, classes } of comparison.cases) {
          const measured = classes.filter((each) => group.includes(each.name));
          const byName = Object.fromEntries(measured.map((each) => [each.name, measuresOf(each)]));
          found.set(id, { ...found.get(id), ...byName });
        }
      }
      return [...found].map(([id, classes]): MeasuredCase => ({ id, classes }));
    },
  });
});
