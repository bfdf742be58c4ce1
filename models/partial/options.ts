/** Options of a training on partly labeled cases, and what it refuses: those without effect, and other data. */
import {
  checkSetsOption,
  checkTrainingOptions,
  choice,
  ConfigError,
  type Entries,
  entry,
  refuseUnused,
  tellBackground,
  type TrainingOptions,
  type TrainingRun,
  unused,
} from "../../engine/train/mod.ts";
import type { ArmOptions } from "./arms.ts";

/** Config entries of the terms of an arm's loss. */
export const termEntries: Entries<Omit<ArmOptions, "loss">> = {
  terms: choice(["both", "ce", "dice"], "of the loss, marginal or ordinary: cross-entropy, Dice, or their sum"),
  exclusionTerms: choice(["both", "ce", "dice"], "of the exclusion loss; the official code has dice alone"),
  includeBackground: entry(false, "the merged background has a Dice term too (paper, Eq. 6); else as the code"),
  diceReduction: choice(
    ["mean", "sum"],
    "Dice over classes: mean (official code), or sum (paper, Eqs. 3, 6, 10)",
  ),
  exclusionBackground: entry(false, "background excludes the annotated organs too, as in the official code"),
  mode: choice(["probability", "logit"], "sum probabilities (paper) or logits (official code) of merged labels"),
  marginalWeight: entry(1, "weight of the marginal losses of partly labeled cases", { min: 0 }),
  exclusionWeight: entry(2, "weight of the exclusion losses of partly labeled cases", { min: 0 }),
  priorWeight: entry(0.1, "weight of the prior-aware loss", { min: 0 }),
};

/** Refuses what would have no effect, before the data is opened. */
export function checkPartialOptions(options: TrainingOptions & ArmOptions): void {
  const { loss, terms, exclusionTerms, exclusionWeight } = options;
  const unless = (...losses: readonly string[]) => !losses.includes(loss) && `--loss ${loss} does not use it`;
  checkTrainingOptions(options, {
    ...unused(unless("marginal", "exclusion"), "mode", "marginalWeight"),
    exclusionWeight: unless("exclusion"),
    ...unused(
      unless("exclusion") || (exclusionWeight === 0 && "--exclusionWeight is 0"),
      "exclusionTerms",
      "exclusionBackground",
    ),
    ...unused(
      terms === "ce" && (loss !== "exclusion" || exclusionTerms === "ce" || exclusionWeight === 0) &&
        "there is no Dice term",
      "diceReduction",
    ),
    includeBackground: terms === "ce" && "--terms ce has no Dice term",
    priorWeight: unless("prior"),
    warmup: loss === "full" && "--loss full is on fully labeled cases all the time",
  });
}

/** Refuses data that these losses are not for, and options without effect on it. */
export function checkPartialData(options: TrainingOptions & ArmOptions, { plan, dataset }: TrainingRun): void {
  if (plan.regions) {
    throw new ConfigError(
      `${dataset.folder}: partial labels are for plain labels, without regions; use train_unet`,
    );
  }
  checkSetsOption(options, dataset);
  if (options.loss === "naive") tellBackground(dataset);
  const whole = !dataset.cases.some((item) => item.labelsPresent) &&
    `all cases of ${dataset.folder} are fully labeled`;
  refuseUnused(
    options,
    unused(
      whole,
      "mode",
      "marginalWeight",
      "exclusionWeight",
      "exclusionTerms",
      "exclusionBackground",
      "priorWeight",
      "warmup",
    ),
  );
  const { loss, exclusionWeight, marginalWeight } = options;
  const weights = marginalWeight + (loss === "exclusion" ? exclusionWeight : 0);
  if ((loss === "marginal" || loss === "exclusion") && weights === 0) {
    throw new ConfigError(
      "--marginalWeight is 0, and nothing else is to be lowered on partly labeled cases; give it or " +
        "--exclusionWeight, or leave them out by --loss full",
    );
  }
}
