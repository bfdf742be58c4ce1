/** Checks before a training starts: options that would have no effect, and labels that its loss would misread. */
import type { Dataset } from "../../imaging/dataset/types.ts";
import { refuseUnused } from "../run/config.ts";
import { print } from "../run/logging.ts";
import type { TrainingOptions } from "./training_options.ts";

/** Options common to training scripts; those that a script lacks, or uses differently, are not checked. */
type Common = Partial<TrainingOptions>;

/**
 * Rejects options of `trainingEntries` and of the script that have no effect.
 *
 * @param own as for refuseUnused
 * @throws ConfigError that names each, with the reason
 * @example
 * ```ts
 * import { checkTrainingOptions, choice, config, trainingEntries } from "voxgrad/train";
 *
 * const options = config({ ...trainingEntries, context: choice(["colab", "none"], "contexts"), margin: 30 }, []);
 * checkTrainingOptions(options, { margin: options.context === "none" && "--context none has no distances" });
 * ```
 */
export function checkTrainingOptions(options: Common, own: Readonly<Record<string, string | false>> = {}): void {
  const { splits, fold, plan, data, augment, validation = 0 } = options;
  refuseUnused(options, {
    folds: fold === "all" ? "--fold all holds nothing out" : splits !== "" && "--splits says what is held out",
    splits: fold === "all" && "--fold all holds nothing out",
    validation: fold === "all" && validation > 0 && "--fold all holds nothing out",
    preset: plan !== "" && "--plan has the sizes",
    configuration: plan === "" && "it is of a --plan of nnU-Net, and there is none",
    phantoms: data !== "" && "--data is there",
    flips: augment === "none" && "--augment none mirrors nothing",
    ...own,
  });
}

/**
 * The same reason for several options, for checkTrainingOptions.
 *
 * @example
 * ```ts
 * import { unused } from "voxgrad/train";
 *
 * const arm: string = "init";
 * const reasons = unused(arm === "init" && "--arm init is not trained", "rate", "momentum");
 * ```
 */
export const unused = (reason: string | false, ...keys: readonly string[]): Record<string, string | false> =>
  Object.fromEntries(keys.map((key) => [key, reason]));

/**
 * Rejects --sets if the dataset has none. Call it once the dataset is open.
 *
 * @example
 * ```ts
 * import { openDataset } from "voxgrad/imaging";
 * import { checkSetsOption, config, trainingEntries } from "voxgrad/train";
 *
 * const options = config(trainingEntries, ["data/Task04_Hippocampus"]);
 * checkSetsOption(options, await openDataset(options.data));
 * ```
 */
export const checkSetsOption = (options: Common, dataset: Pick<Dataset, "folder" | "sets">): void =>
  refuseUnused(options, { sets: !dataset.sets && `${dataset.folder} is no dataset group` });

/**
 * Warns, for partially labeled cases, that a loss treats unannotated labels as background.
 *
 * @example
 * ```ts
 * import { openDataset } from "voxgrad/imaging";
 * import { tellBackground } from "voxgrad/train";
 *
 * tellBackground(await openDataset("data/Task04_Hippocampus"));
 * ```
 */
export function tellBackground(dataset: Pick<Dataset, "cases">): void {
  if (dataset.cases.some(({ labelsPresent }) => labelsPresent)) {
    print("The loss takes what a case has not annotated for background; that of train_partial does not");
  }
}
