/** How a training with context labels begins: outputs that expect few ROI voxels, and one background. */
import { check, concat, logSumExp, type Params, slice, type Tensor, tensor, tree } from "../../engine/mod.ts";

/**
 * Logits of background and ROI classes whose softmax is that of the network: the background's is the log-sum-exp of the
 * contexts', so what is trained on them alone leaves open how the contexts divide the background.
 *
 * @param logits [N, c + t, ...space], ROI classes first
 * @param roiClasses c
 * @returns [N, 1 + c, ...space], the background first
 * @example
 * ```ts
 * import { random } from "voxgrad";
 * import { colab } from "voxgrad/models";
 *
 * const logits = random.normal(random.key(0), { shape: [1, 3, 8, 8, 8] }); // one ROI class and two contexts
 * const merged = colab.mergedContexts(logits, 1); // [1, 2, 8, 8, 8]
 * ```
 */
export function mergedContexts(logits: Tensor, roiClasses: number): Tensor {
  const background = logSumExp(slice(logits, { start: [0, roiClasses] }), { axes: [1], keepDims: true });
  return concat([background, slice(logits, { end: [logits.shape[0], roiClasses] })], { axis: 1 });
}

/** Biases of the outputs of a U-Net, at every scale. */
const OUTPUT_BIAS = /^decoder\.seg_layers\.\d+\.bias$/;

/**
 * Parameters of a U-Net whose outputs begin at a prior: where the other layers say nothing, the ROI classes together
 * have the given probability, and all other outputs share the rest (Lin et al., "Focal loss for dense object
 * detection", 2017, section 4.1).
 *
 * @param prior probability of the ROI, above 0 and below 1
 * @param outputs rois: how many outputs are ROI classes; first: the number of the first of them
 * @example
 * ```ts
 * import { random } from "voxgrad";
 * import { colab, plainConvUNet } from "voxgrad/models";
 *
 * const model = plainConvUNet({ inputChannels: 1, classes: 3, features: [4, 8] }); // one ROI class and two contexts
 * const params = colab.withRoiPrior(model.init(random.key(1)), 0.01, { rois: 1, first: 0 });
 * ```
 */
export function withRoiPrior<P extends Params>(
  params: P,
  prior: number,
  { rois, first }: { readonly rois: number; readonly first: number },
): P {
  check(prior > 0 && prior < 1, "withRoiPrior", () => `the prior is a probability above 0 and below 1, got ${prior}`);
  let found = 0;
  const started = tree.map(params as Params, (p: Tensor, path: string) => {
    if (!OUTPUT_BIAS.test(path)) return p;
    found++;
    const others = p.size - rois;
    const roi = Math.log((prior / rois) / ((1 - prior) / others));
    return p.add(tensor(Float32Array.from({ length: p.size }, (_, k) => k >= first && k < first + rois ? roi : 0)));
  });
  check(found > 0, "withRoiPrior", () => "the parameters have no decoder.seg_layers.*.bias; they are those of a U-Net");
  return started as P;
}

/**
 * The scales by which Adam multiplies a gradient, as the map P of `metaGradient`: v / (sqrt(s / (1 - beta2^k)) + eps)
 * with s the running mean of squares after this gradient, and k the count of steps with this one. Momentum and the L2
 * penalty are left out.
 *
 * @param state of nn.adam
 * @param gradient of the step, a tree like the parameters
 * @returns a function from a tree like the parameters to its scaled values
 * @example
 * ```ts
 * import { tensor } from "voxgrad";
 * import { colab } from "voxgrad/models";
 * import { adam } from "voxgrad/nn";
 *
 * const gradient = { weight: tensor([3, -4]) };
 * const scale = colab.adamScales(adam().init(gradient), gradient);
 * await scale(gradient).weight.array(); // about [1, -1]
 * ```
 */
export function adamScales<P>(state: Params, gradient: P): (direction: P) => P {
  const { step, square } = state as { readonly step?: Tensor; readonly square?: Params };
  check(
    step !== undefined && square !== undefined,
    "adamScales",
    () => "the state has no step and square; it is that of nn.adam",
  );
  const squares = tree.flatten(square);
  // 1 - 0.999^k, accurate where it is near 0.
  const u = step.add(1).mul(-Math.log(BETA2) / 2).tanh();
  const root = u.mul(2).div(u.add(1)).sqrt();
  const scales = tree.map(
    gradient as Params,
    (g: Tensor, path: string) => squares.get(path)!.mul(BETA2).add(g.square().mul(1 - BETA2)).sqrt().div(root).add(EPS),
  );
  const flat = tree.flatten(scales as Params);
  return (direction) => tree.map(direction as Params, (v: Tensor, path: string) => v.div(flat.get(path)!)) as P;
}

/** Defaults of nn.adam. */
const BETA2 = 0.999;
const EPS = 1e-8;
