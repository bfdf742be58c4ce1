/** The generator of a training with context labels: its gradients, and what is told of it. */
import {
  concat,
  crossEntropy,
  exp,
  grad,
  logSoftmax,
  type Params,
  softmax,
  sum,
  type Tensor,
  tree,
} from "../../engine/mod.ts";
import { type Patches, print, type StepRecord } from "../../engine/train/mod.ts";
import { contextUse } from "./losses.ts";
import { valueAndMetaGradient } from "./meta_gradient.ts";
import type { ColabNetworks } from "./networks.ts";
import type { ContextOptions } from "./options.ts";
import { roiChannels } from "./sources.ts";
import { adamScales } from "./start.ts";
import type { ColabLosses } from "./training_losses.ts";

/** A training's state, as far as the generator's gradient depends on it. */
interface GeneratorState {
  readonly params: Params;
  readonly optimizer: Params;
  readonly omega: Params;
}

/** Gradients of the generator's parameters omega. */
export interface GeneratorGradients {
  /**
   * How the ROI loss after one step of the segmenter, at the rate alpha, depends on the context labels that the
   * generator gave for it, and less `entropy` times the entropy of the mean context; `told` is for the log.
   */
  readonly meta: (state: GeneratorState, patches: Patches, alpha: Tensor) => { gradient: Params; told: Tensor };
  /** Of the cross-entropy with contexts by k-means, the second further channel of the patches. */
  readonly clusters: (omega: Params, patches: Patches) => Params;
}

/** The gradients that the options ask for. */
export function generatorGradients(
  options: ContextOptions,
  { rois, model, generator, contextsOf }: ColabNetworks,
  { weights, segmentation }: ColabLosses,
): GeneratorGradients {
  const roiOptions = { loss: options.roiLoss, ...(options.roiClass >= 0 && { only: options.roiClass }) };
  return {
    meta: ({ params: theta, optimizer, omega }, { image, label, extra }, alpha) => {
      const imageOf = (n?: number) => n === undefined ? image : image.slice({ start: [n], end: [n + 1] });
      const roi = roiChannels(label, rois);
      const { mask } = contextsOf(omega, image, extra!);
      const [roiLoss, own] = valueAndMetaGradient<Params, Params>({
        segment: (p, n) => {
          const outputs = model.apply(p, imageOf(n), { train: true });
          return options.innerOutputs === "all" ? outputs : outputs[0];
        },
        generate: (o, n) => generator.apply(o, imageOf(n)),
        weights,
        theta,
        omega,
        roi,
        mask,
        alpha,
        ...(options.innerStep === "adam" && { precondition: (g) => adamScales(optimizer, g) }),
        method: options.meta,
        per: options.metaPer,
        recompute: options.recompute,
        segmentation,
        roiOptions,
      });
      // Where contexts are taught: near the ROI, and not in it.
      const near = mask.mul(roi.max({ axes: [1] }).mul(-1).add(1));
      const entropyOf = (o: Params) => contextUse(softmax(generator.apply(o, image), { axis: 1 }), near).entropy;
      const spread = options.entropy === 0 ? undefined : tree.flatten(grad(entropyOf)(omega));
      const gradient = spread ? tree.map(own, (g: Tensor, path) => g.sub(spread.get(path)!.mul(options.entropy))) : own;
      const told = generatorMetrics({ roiLoss, gradient: own, logits: generator.apply(omega, image), weights: near });
      return { gradient, told };
    },
    clusters: (omega, { image, extra }) => {
      const clusters = extra!.slice({ start: [0, 1] }).squeeze({ axes: [1] }).cast("i32");
      return grad((o: Params) => crossEntropy(generator.apply(o, image), clusters, { axis: 1 }))(omega);
    },
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
