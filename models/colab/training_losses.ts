/** The segmenter's losses of a training with context labels. */
import type { Params, Tensor } from "../../engine/mod.ts";
import { deepSupervision, deepSupervisionWeights, diceCrossEntropy } from "../../engine/nn/mod.ts";
import type { Plan } from "../../engine/imaging/mod.ts";
import type { Patches } from "../../engine/train/mod.ts";
import { withoutContexts } from "./context_network.ts";
import { pyramidLabels, segmentationLoss, type SegmentationLossOptions } from "./losses.ts";
import type { ColabNetworks } from "./networks.ts";
import type { ContextOptions } from "./options.ts";
import { roiChannels } from "./sources.ts";
import { mergedContexts } from "./start.ts";

/** The loss of the segmenter, over the outputs of all scales, and the logits of background and ROI classes. */
export type SegmenterLoss = (params: Params, patches: Patches) => [loss: Tensor, logits: Tensor];

/** Losses of a training. */
export interface ColabLosses {
  /** Weights of the outputs, finest first. */
  readonly weights: readonly number[];
  /** Options of the loss with context labels. */
  readonly segmentation: SegmentationLossOptions;
  /**
   * Of ROI classes and contexts, with labels by the generator's parameters omega or by what lies beside the image;
   * without contexts of background and ROI classes, operator for operator as in train_unet.
   */
  readonly given: (omega: Params) => SegmenterLoss;
  /** Of ROI classes and one background, that of all contexts. */
  readonly start: SegmenterLoss;
}

/** The losses that the options ask for. */
export function colabLosses(
  plan: Plan,
  options: Pick<ContextOptions, "dice" | "diceSquared" | "diceReduction" | "diceContexts">,
  { context, rois, contexts, model, contextsOf }: ColabNetworks,
): ColabLosses {
  const scales = plan.network.features.length;
  const weights = deepSupervisionWeights(scales - 1, { coarsest: scales < 4 });
  const dice = { batch: options.dice === "batch", squared: options.diceSquared, reduction: options.diceReduction };
  const counted = { near: 1, all: 0, none: contexts }[options.diceContexts];
  const segmentation = { ...dice, without: Array.from({ length: counted }, (_, k) => rois + k) };
  const plain = (outputs: readonly Tensor[], label: Tensor): Tensor =>
    deepSupervision((output, target) => diceCrossEntropy(output, target, dice), outputs, label, { weights });
  const outputsOf = (params: Params, image: Tensor) => model.apply(params, image, { train: true });
  return {
    weights,
    segmentation,
    given: (omega) => (params, { image, label, extra }) => {
      const outputs = outputsOf(params, image);
      if (context === "none") return [plain(outputs, label), outputs[0]];
      const labels = pyramidLabels(outputs, { roi: roiChannels(label, rois), ...contextsOf(omega, image, extra!) });
      const lossOfOutput = (output: Tensor, target: Tensor) => segmentationLoss(output, target, segmentation);
      return [deepSupervision(lossOfOutput, outputs, labels, { weights }), withoutContexts(outputs[0], rois)];
    },
    start: (params, { image, label }) => {
      const merged = outputsOf(params, image).map((logits) => mergedContexts(logits, rois));
      return [plain(merged, label), merged[0]];
    },
  };
}
