/** The losses of the arms that a training on partly labeled cases compares. */
import type { Tensor } from "../../engine/mod.ts";
import type { Plan } from "../../engine/imaging/mod.ts";
import { deepSupervision, deepSupervisionWeights, diceCrossEntropy } from "../../engine/nn/mod.ts";
import type { Patches } from "../../engine/train/mod.ts";
import * as partial from "./partial.ts";

type Terms = "both" | "ce" | "dice";

/** The arm and its weights; scripts/train_partial.ts explains them. */
export interface ArmOptions {
  readonly loss: "exclusion" | "marginal" | "naive" | "full" | "pseudo" | "prior";
  readonly terms: Terms;
  readonly exclusionTerms: Terms;
  readonly mode: "probability" | "logit";
  readonly marginalWeight: number;
  readonly exclusionWeight: number;
  readonly priorWeight: number;
  /** Whether the merged background has a Dice term (Eq. 6). */
  readonly includeBackground: boolean;
  /** Dice over classes. */
  readonly diceReduction: "mean" | "sum";
  /** Whether the background excludes the organs that are annotated, as in the official code. */
  readonly exclusionBackground: boolean;
}

/**
 * The loss of an arm: marginal losses, with exclusion losses or without; the ordinary loss, of the labels as they are
 * or as the network completes them; and that with the prior-aware loss.
 *
 * @param plan its labels are the classes
 * @returns the loss of a network's outputs, finest first, all of them supervised; `prior`, f32 [K], the share of each
 *   class, is for the arm "prior" alone
 * @example
 * ```ts
 * import { readPlan } from "voxgrad/imaging";
 * import { armLoss } from "voxgrad/models";
 *
 * const terms = { terms: "both", exclusionTerms: "both", mode: "probability" } as const;
 * const weights = { marginalWeight: 1, exclusionWeight: 2, priorWeight: 0.1 };
 * const dice = { includeBackground: false, diceReduction: "mean", exclusionBackground: false } as const;
 * const lossOf = armLoss({ loss: "exclusion", ...terms, ...weights, ...dice }, await readPlan("plan.json"));
 * ```
 */
export function armLoss(
  options: ArmOptions,
  plan: Plan,
): (outputs: Tensor[], patches: Patches, prior: Tensor) => Tensor {
  const classes = plan.labels.length;
  const coarsest = plan.network.features.length < 4;
  const ignored = plan.ignoreLabel === undefined ? {} : { ignoreIndex: plan.ignoreLabel };
  const on = (term: "ce" | "dice", chosen: Terms): number => Number(chosen === "both" || chosen === term);
  const { terms, exclusionTerms, marginalWeight, mode, includeBackground, diceReduction: reduction } = options;
  const [ce, dice] = [on("ce", terms), on("dice", terms)];
  const ordinary = (output: Tensor, target: Tensor): Tensor =>
    diceCrossEntropy(output, target, {
      batch: true,
      includeBackground,
      reduction,
      ...ignored,
      crossEntropyWeight: ce,
      diceWeight: dice,
    });
  return (outputs, { sets, label }, prior) => {
    const weights = deepSupervisionWeights(outputs.length, { coarsest });
    const supervise = (loss: (output: Tensor, target: Tensor) => Tensor, target: Tensor): Tensor =>
      deepSupervision(loss, outputs, target, { weights });
    const groups = sets ? partial.setMatrix(sets) : partial.mergedGroups(undefined, classes);
    if (options.loss === "naive" || options.loss === "full") return supervise(ordinary, label);
    if (options.loss === "marginal" || options.loss === "exclusion") {
      const exclusion = options.loss === "exclusion" ? options.exclusionWeight : 0;
      const own = {
        groups,
        mode,
        includeBackground,
        reduction,
        sets: partial.exclusionSets(classes, { background: options.exclusionBackground }),
        ...ignored,
        crossEntropy: ce,
        dice,
        partly: marginalWeight,
        exclusionCrossEntropy: exclusion * on("ce", exclusionTerms),
        exclusionDice: exclusion * on("dice", exclusionTerms),
      };
      return supervise((output, target) => partial.loss(output, target, own), label);
    }
    // The finest output completes the labels for all.
    const loss = supervise(ordinary, partial.pseudoLabels(outputs[0], label, { groups }));
    if (options.loss === "pseudo") return loss;
    // As much as the batch is partly labeled: what is annotated says more of a scan than sizes of others do.
    const share = partial.partlyLabeledShare(groups, label.shape[0], classes);
    return loss.add(partial.priorAware(outputs[0], { prior }).mul(share).mul(options.priorWeight));
  };
}
