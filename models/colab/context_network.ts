/** Networks whose outputs are ROI classes and contexts (CoLab), used as ones of background and ROI classes. */
import { check, concat, max, slice, Tensor } from "../../engine/mod.ts";

import { type Model, registerNetwork } from "../known_networks.ts";
import { plainConvUNet, residualEncoderUNet } from "../unet/unet.ts";
import type { ResolvedUNet, UNetConfig } from "../unet/config.ts";

/**
 * Logits of background and ROI classes, of one patch: the background's is the largest of the contexts', so the most
 * likely class is the same. No mean of such logits is that of the contexts', nor is their softmax a probability; what
 * is to be averaged goes through `contextsFirst`.
 *
 * @param logits [N, c + t, ...space], ROI classes first
 * @param roiClasses c
 * @returns [N, 1 + c, ...space]
 */
export function withoutContexts(logits: Tensor, roiClasses: number): Tensor {
  const background = max(slice(logits, { start: [0, roiClasses] }), { axes: [1], keepDims: true });
  return concat([background, slice(logits, { end: [logits.shape[0], roiClasses] })], { axis: 1 });
}

type ApplyOptions = { train?: boolean; key?: Tensor };

/**
 * A network whose outputs are ROI classes and contexts as `predictor` takes one whose background has several outputs:
 * contexts first, each averaged over patches and mirror images before they become the background.
 *
 * @param network outputs [N, c + t, ...space], or a list of them
 * @param options roiClasses: c; contexts: t
 */
export function contextsFirst<P>(
  network: { apply(params: P, input: Tensor, options?: ApplyOptions): Tensor | readonly Tensor[] },
  { roiClasses, contexts }: { roiClasses: number; contexts: number },
): { apply(params: P, input: Tensor, options?: ApplyOptions): Tensor; readonly backgrounds: number } {
  return {
    backgrounds: contexts,
    apply(params, input, options) {
      const out = network.apply(params, input, options);
      const logits = out instanceof Tensor ? out : out[0];
      const rois = slice(logits, { end: [logits.shape[0], roiClasses] });
      return concat([slice(logits, { start: [0, roiClasses] }), rois], { axis: 1 });
    },
  };
}

/** A U-Net with ROI classes and contexts as outputs. */
export interface ContextUNetConfig extends UNetConfig {
  /** How many of the classes, the first ones, are ROI; the others are contexts. */
  readonly roiClasses: number;
}

/**
 * PlainConvUNet or ResidualEncoderUNet trained with context labels, to be used as one of background and ROI classes
 * (`contextsFirst`); its parameters are those of the network within.
 *
 * @param config as for that network, blocksPerStage tells the residual one; and roiClasses
 * @returns a network with logits [N, t + c, ...space], the t contexts first
 * @example
 * ```ts
 * import { random } from "voxgrad";
 * import { colab } from "voxgrad/models";
 *
 * const sizes = { inputChannels: 1, features: [4, 8], kernels: 3, strides: [1, 2], convsPerStage: 1 };
 * const model = colab.contextUNet({ ...sizes, classes: 3, roiClasses: 1 });
 * const x = random.normal(random.key(0), { shape: [1, 1, 8, 8, 8] });
 * const logits = model.apply(model.init(random.key(1)), x); // [1, 3, 8, 8, 8]
 * ```
 */
export function contextUNet(config: ContextUNetConfig): Model<Tensor> & { readonly backgrounds: number } {
  const { roiClasses, ...own } = config;
  const within: Model<Tensor | Tensor[], ResolvedUNet> = own.blocksPerStage === undefined
    ? plainConvUNet(own)
    : residualEncoderUNet(own);
  const contexts = within.config.classes - roiClasses;
  check(
    Number.isInteger(roiClasses) && roiClasses >= 1 && contexts >= 1,
    "contextUNet",
    () => `roiClasses is an integer from 1 to ${within.config.classes - 1}, got ${roiClasses}`,
  );
  return { init: (key) => within.init(key), config: within.config, ...contextsFirst(within, { roiClasses, contexts }) };
}

registerNetwork("contextUNet", { build: contextUNet });
