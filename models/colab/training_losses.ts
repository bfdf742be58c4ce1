/** The segmenter's losses of a training with context labels. */
import type { Tensor } from "../../engine/mod.ts";
import { deepSupervision, deepSupervisionWeights, diceCrossEntropy } from "../../engine/nn/mod.ts";
import type { Plan } from "../../engine/imaging/mod.ts";
import { segmentationLoss, type SegmentationLossOptions } from "./losses.ts";
import type { ColabNetworks } from "./networks.ts";
import type { ContextOptions } from "./options.ts";
import { mergedContexts } from "./start.ts";

/** Losses of a training, over the outputs of all scales. */
export interface ColabLosses {
  /** Weights of the outputs, finest first. */
  readonly weights: readonly number[];
  /** Options of the loss with context labels. */
  readonly segmentation: SegmentationLossOptions;
  /** Of background and ROI classes, against labels i32 [N, d, h, w]; as in train_unet unless options say otherwise. */
  readonly plain: (outputs: readonly Tensor[], label: Tensor) => Tensor;
  /** The same of outputs whose contexts are still one background, and the logits of that background and the ROI. */
  readonly start: (outputs: readonly Tensor[], label: Tensor) => [loss: Tensor, logits: Tensor];
  /** Of ROI classes and contexts, against the soft labels of each output. */
  readonly withContexts: (outputs: readonly Tensor[], labels: readonly Tensor[]) => Tensor;
}

/** The losses that the options ask for. */
export function colabLosses(
  plan: Plan,
  options: Pick<ContextOptions, "dice" | "diceSquared" | "diceReduction" | "diceContexts">,
  { rois, contexts }: Pick<ColabNetworks, "rois" | "contexts">,
): ColabLosses {
  const scales = plan.network.features.length;
  const weights = deepSupervisionWeights(scales - 1, { coarsest: scales < 4 });
  const dice = { batch: options.dice === "batch", squared: options.diceSquared, reduction: options.diceReduction };
  const counted = { near: 1, all: 0, none: contexts }[options.diceContexts];
  const segmentation = { ...dice, without: Array.from({ length: counted }, (_, k) => rois + k) };
  const plain = (outputs: readonly Tensor[], label: Tensor): Tensor =>
    deepSupervision((output, target) => diceCrossEntropy(output, target, dice), outputs, label, { weights });
  return {
    weights,
    segmentation,
    plain,
    start: (outputs, label) => {
      const merged = outputs.map((logits) => mergedContexts(logits, rois));
      return [plain(merged, label), merged[0]];
    },
    withContexts: (outputs, labels) =>
      deepSupervision((output, target) => segmentationLoss(output, target, segmentation), outputs, labels, { weights }),
  };
}
