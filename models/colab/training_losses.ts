/** The segmenter's losses of a training with context labels, and what is told of its generator. */
import { concat, exp, logSoftmax, type Params, sum, type Tensor, tree } from "../../engine/mod.ts";
import { deepSupervision, deepSupervisionWeights, diceCrossEntropy } from "../../engine/nn/mod.ts";
import type { Plan } from "../../engine/imaging/mod.ts";
import { print, type StepRecord } from "../../engine/train/mod.ts";
import { contextUse, segmentationLoss, type SegmentationLossOptions } from "./losses.ts";
import type { ColabNetworks } from "./networks.ts";
import type { ContextOptions } from "./options.ts";

/** Losses of a training, over the outputs of all scales. */
export interface ColabLosses {
  /** Weights of the outputs, finest first. */
  readonly weights: readonly number[];
  /** Options of the loss with context labels. */
  readonly segmentation: SegmentationLossOptions;
  /** Of background and ROI classes, against labels i32 [N, d, h, w]; that of train_unet unless options say otherwise. */
  readonly plain: (outputs: readonly Tensor[], label: Tensor) => Tensor;
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
  return {
    weights,
    segmentation,
    plain: (outputs, label) =>
      deepSupervision((output, target) => diceCrossEntropy(output, target, dice), outputs, label, { weights }),
    withContexts: (outputs, labels) =>
      deepSupervision((output, target) => segmentationLoss(output, target, segmentation), outputs, labels, { weights }),
  };
}

/** Curves of the generator, by title; `generatorMetrics` gives their values in this order. */
export const generatorCurves = (contexts: number): Readonly<Record<string, readonly string[]>> => ({
  "ROI loss after the inner step": ["ROI loss"],
  "Gradient of the generator": ["norm"],
  "Entropy of contexts (nats)": ["of the mean", "mean of voxels"],
  "Shares of contexts": Array.from({ length: contexts }, (_, k) => `context ${k + 1}`),
});

/**
 * What the log tells of an update of the generator.
 *
 * @param given roiLoss after the inner step; gradient of the generator; its logits [N, t, ...space]; weights: how much
 *   each voxel counts as context, [N, ...space]
 * @returns f32 [4 + t], in the order of generatorCurves
 */
export function generatorMetrics(
  given: { readonly roiLoss: Tensor; readonly gradient: Params; readonly logits: Tensor; readonly weights: Tensor },
): Tensor {
  const { roiLoss, gradient, logits, weights } = given;
  const squares = (tree.leaves(gradient) as Tensor[]).map((g) => sum(g.square())).reduce((a, b) => a.add(b));
  const logQ = logSoftmax(logits.cast("f32"), { axis: 1 });
  const q = exp(logQ);
  const { entropy, shares } = contextUse(q, weights);
  const near = weights.expandDims({ axis: 1 });
  const ofVoxels = sum(q.mul(logQ).mul(near)).div(sum(near).add(1e-12)).mul(-1);
  const numbers = [roiLoss, squares.sqrt(), entropy, ofVoxels].map((each) => each.reshape({ shape: [1] }));
  return concat([...numbers, shares]);
}

/** From this share of one context on, the labels hold nearly nothing. */
const COLLAPSED = 0.97;

/** A function that warns once when nearly all of the background has fallen into one context. */
export function collapseWarning(): (record: StepRecord) => void {
  let told = false;
  return ({ step, extra }) => {
    const shares = Object.entries(extra?.["Shares of contexts"] ?? {});
    const most = shares.find(([, share]) => share > COLLAPSED);
    if (!most || told) return;
    told = true;
    print(
      `step ${step}: ${(100 * most[1]).toFixed(0)} % of the background is ${most[0]}, so context labels say little; ` +
        "--entropy, --generatorStart kmeans, a larger --period or a smaller --generatorRate keep others in use",
    );
  };
}
