/** Options of a training with context labels: what they ask for, and what is refused. */
import {
  checkSetsOption,
  checkTrainingOptions,
  choice,
  ConfigError,
  type Entries,
  entry,
  tellBackground,
  type TrainingOptions,
  type TrainingRun,
  unused,
} from "../../engine/train/mod.ts";
import { checkContextLabels } from "./contexts.ts";
import type { ContextKind, ContextSourceOptions } from "./sources.ts";

/** Where context labels come from, beside the arm. */
export interface ContextSettings {
  readonly contextLabels: string;
  readonly bodyThreshold: readonly number[];
  readonly margin: number;
  readonly tau: number;
  readonly unit: "voxels" | "mm";
}

/** Their config entries. */
export const contextEntries: Entries<ContextSettings> = {
  contextLabels: entry("", "for --context labels: folder of CASE.nii.gz with values from 0, the far background"),
  bodyThreshold: entry(
    [],
    "for --context kmeans: body is brighter, as stored; -200 for CT, else found by Otsu's rule",
    { lengths: [0, 1] },
  ),
  margin: entry(0, "distance up to which generated context counts fully; 0: 30 on --data, 4 on phantoms", {
    min: 0,
  }),
  tau: entry(0, "how slowly it fades beyond; 0: 20 on --data, 3 on phantoms", { min: 0 }),
  unit: choice(["voxels", "mm"], "of margin and tau; voxels are those of the plan"),
};

/** How the generator is trained. */
export interface GeneratorSettings {
  readonly period: number;
  readonly generatorWidth: number;
  readonly generatorRate: number;
  readonly generatorStart: "random" | "kmeans";
  readonly entropy: number;
  readonly meta: "exact" | "finite-difference" | "implicit";
  readonly metaPer: "batch" | "sample";
  readonly innerOutputs: "finest" | "all";
  readonly innerStep: "gradient" | "adam";
  readonly recompute: boolean;
  readonly roiLoss: "bce" | "dice";
  readonly roiClass: number;
}

/** Their config entries. */
export const generatorEntries: Entries<GeneratorSettings> = {
  period: entry(10, "steps from one update of the generator to the next", { integer: true, min: 1 }),
  generatorWidth: entry(1, "channels of the generator per channel of the segmenter", { min: 0.05, max: 1 }),
  generatorRate: entry(3e-4, "Adam's learning rate for the generator; 0: it stays as it starts", { min: 0 }),
  generatorStart: choice(
    ["random", "kmeans"],
    "weights that it starts with; kmeans: in the --warmup it learns classes of brightness within the body",
  ),
  entropy: entry(0, "weight of the entropy of the mean context, which keeps labels from collapsing into one", {
    min: 0,
  }),
  meta: choice(["exact", "finite-difference", "implicit"], "how the generator's gradient is taken"),
  metaPer: choice(["batch", "sample"], "an inner step on the batch (paper), or on each sample, averaged"),
  innerOutputs: choice(["finest", "all"], "outputs whose loss the inner step lowers; the finest alone costs less"),
  innerStep: choice(["gradient", "adam"], "inner step along the gradient (paper), or scaled as Adam scales it"),
  recompute: entry(true, "compute the generator twice in its update instead of keeping it"),
  roiLoss: choice(["bce", "dice"], "loss that the generator is to lower"),
  roiClass: entry(-1, "ROI class, from 0, that this loss looks at; -1: all", { integer: true, min: -1 }),
};

/** The segmenter's loss. */
export interface SegmentationSettings {
  readonly dice: "batch" | "sample";
  readonly diceSquared: boolean;
  readonly diceReduction: "mean" | "sum";
  readonly diceContexts: "near" | "all" | "none";
  readonly roiPrior: number;
  readonly warmup: number;
}

/** Their config entries. */
export const segmentationEntries: Entries<SegmentationSettings> = {
  dice: choice(["batch", "sample"], "Dice of the whole batch (train_unet), or the mean of its samples (paper)"),
  diceSquared: entry(false, "squares in Dice's denominator, as V-Net, which the paper cites; else plain sums (code)"),
  diceReduction: choice(["mean", "sum"], "Dice over classes: mean (official code), or sum (paper, Eqs. 2 and 3)"),
  diceContexts: choice(["near", "all", "none"], "contexts with a Dice term: but the far one (code), all (paper), none"),
  roiPrior: entry(0, "probability of the ROI that the outputs start with; 0: none is set", { min: 0, max: 0.99 }),
  warmup: entry(0, "part of the steps, at the start, in which the contexts are one background", { min: 0, max: 1 }),
};

/** Options that are looked at here; scripts/train_colab.ts explains the others. */
export interface ContextOptions extends TrainingOptions, ContextSettings, GeneratorSettings, SegmentationSettings {
  readonly context: ContextKind;
  readonly contexts: number;
  readonly optimizer: "adam" | "sgd";
}

/** Refuses what would have no effect, and looks through the folder of context labels, before the data is opened. */
export async function checkColabOptions(options: ContextOptions): Promise<void> {
  const { contexts, context } = options;
  const arm = contexts === 1 ? "--contexts 1" : `--context ${context}`;
  const only = (...arms: readonly string[]) => (contexts === 1 || !arms.includes(context)) && `${arm} does not use it`;
  checkTrainingOptions(options, {
    context: contexts === 1 && context !== "none" && "--contexts 1 is --context none",
    contexts: context === "none"
      ? contexts !== 1 && "--context none has one context, the background"
      : context === "dilated" && contexts > 2 && "--context dilated has two contexts, near and far",
    contextLabels: only("labels"),
    bodyThreshold: options.generatorStart !== "kmeans" && only("kmeans"),
    ...unused(only("colab", "dilated"), "margin", "tau", "unit"),
    ...unused(only("colab"), ...Object.keys(generatorEntries)),
    ...unused((contexts === 1 || context === "none") && `${arm} has one context`, "diceContexts", "warmup"),
    ...frozen(options),
    ...(options.meta === "implicit" && unused("--meta implicit takes no inner step", "innerStep")),
  });
  const { warmup, generatorStart, innerStep, optimizer } = options;
  if (generatorStart === "kmeans" && warmup === 0) {
    throw new ConfigError("--generatorStart kmeans: the generator learns in the --warmup, which is 0; give it a part");
  }
  if (innerStep === "adam" && optimizer !== "adam") {
    throw new ConfigError(`--innerStep adam: the segmenter is trained by ${optimizer}; leave it out`);
  }
  // Outputs beyond the second would be taught by nothing, whoever asks for them.
  if (context === "dilated" && contexts > 2) {
    throw new ConfigError(
      `--contexts ${contexts}: --context dilated has two contexts, near and far; leave it out`,
    );
  }
  if (context !== "labels" || contexts === 1 || options.data === "") return;
  if (options.contextLabels === "") {
    throw new ConfigError("--context labels wants --contextLabels, a folder of label maps named as the cases");
  }
  await checkContextLabels(options);
}

/** A generator that stays as it starts has no update. */
const frozen = ({ context, generatorRate }: ContextOptions) =>
  context === "colab" && generatorRate === 0
    ? unused(
      "--generatorRate 0 never updates the generator",
      ...["period", "entropy", "meta", "metaPer", "innerOutputs", "innerStep", "recompute", "roiLoss", "roiClass"],
    )
    : {};

/** Refuses data that context labels are not for. */
export function checkColabData(options: ContextOptions, { plan, dataset }: TrainingRun): void {
  const { roiClass } = options;
  if (plan.regions || plan.ignoreLabel !== undefined) {
    throw new ConfigError(
      `${dataset.folder}: context labels are for plain labels, without regions and an ignore label`,
    );
  }
  checkSetsOption(options, dataset);
  tellBackground(dataset);
  if (roiClass >= plan.labels.length - 1) {
    const names = plan.labels.slice(1).map((name, k) => `${k} ${name}`).join(", ");
    throw new ConfigError(`--roiClass: got ${roiClass}, wanted one of ${names}, or -1 for all`);
  }
}

/** The arm of a training. With one context there is nothing to divide: the background is the context. */
export const contextArm = (
  { context, contexts }: Pick<ContextOptions, "context" | "contexts">,
): Pick<ContextOptions, "context" | "contexts"> =>
  context === "none" || contexts === 1 ? { context: "none", contexts: 1 } : { context, contexts };

/** Options of `contextSource`; distances of 0 stand for 30 and 20 on data, 4 and 3 on phantoms. */
export const contextSourceOptions = (options: ContextOptions): ContextSourceOptions => ({
  ...contextArm(options),
  margin: options.margin || (options.data === "" ? 4 : 30),
  tau: options.tau || (options.data === "" ? 3 : 20),
  unit: options.unit,
  contextLabels: options.contextLabels,
  bodyThreshold: options.bodyThreshold[0],
  clusters: options.context === "colab" && options.generatorStart === "kmeans",
  seed: options.seed,
  memory: options.memory * 1e9,
});
