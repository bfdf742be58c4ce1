/** Options of a training with context labels: what they ask for, and what is refused. */
import {
  checkSetsOption,
  checkTrainingOptions,
  choice,
  type Config,
  ConfigError,
  entry,
  tellBackground,
  type TrainingOptions,
  type TrainingRun,
  unused,
} from "../../engine/train/mod.ts";
import { checkContextLabels } from "./contexts.ts";
import type { ContextKind, ContextSourceOptions } from "./sources.ts";

/** Entries of the config block that say where context labels come from, beside the arm. */
export const contextEntries = {
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
} as const;

/** Options that are looked at here; scripts/train_colab.ts explains the others. */
export interface ContextOptions extends TrainingOptions, Config<typeof contextEntries> {
  readonly context: ContextKind;
  readonly contexts: number;
  readonly roiClass: number;
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
    bodyThreshold: only("kmeans"),
    ...unused(only("colab", "dilated"), "margin", "tau", "unit"),
    ...unused(
      only("colab"),
      "period",
      "generatorWidth",
      "meta",
      "metaPer",
      "generatorRate",
      "roiLoss",
      "roiClass",
    ),
  });
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
  seed: options.seed,
  memory: options.memory * 1e9,
});
