/**
 * ConResNet (Zhang et al., "Inter-slice context residual learning for 3D medical image segmentation", 2021): an encoder
 * of residual blocks with two decoders. The second predicts where neighboring slices of the segmentation differ, from
 * differences of the first decoder's features, and gates the first with what it finds.
 *
 * Parameter paths are the names of the published PyTorch state dict (parameters.ts).
 */
import { check, checkpoint, mul, relu, resize, sigmoid, type Tensor, weightStandardize } from "../../engine/mod.ts";
import * as nn from "../../engine/nn/mod.ts";
import { sliceResidual, spaceAxis } from "./axis.ts";
import {
  checkConResNetInput,
  conResNetArms,
  type ConResNetConfig,
  resolveConResNet,
  type ResolvedConResNet,
} from "./config.ts";
import {
  type BlockOf,
  type ConResNetParams,
  type DownOf,
  entering,
  type FusionOf,
  type ModuleOf,
  moduleOf,
  parametersOf,
  residualHead,
  type Scale,
  scalesOf,
  unusedNames,
} from "./parameters.ts";
import { choice, entry } from "../../engine/train/mod.ts";
import { type Model, registerNetwork } from "../known_networks.ts";

export type { ConResNetConfig, ResolvedConResNet } from "./config.ts";
export type { ConResNetParams } from "./parameters.ts";

/** What one context residual module computes. */
export interface ContextMaps {
  /** F, the segmentation decoder's features before the gate (Eq. 3). */
  readonly features: Tensor;
  /** O_seg, after it (Eq. 6); F itself without attention. */
  readonly gated: Tensor;
  /** sigmoid(O_res), the attention (Eq. 6); null without mapping. */
  readonly attention: Tensor | null;
}

export interface ConResNetApplyOptions {
  /** Drop channels before the decoder; needs a key unless the configuration's dropout is 0. */
  readonly train?: boolean;
  readonly key?: Tensor;
  /**
   * Keep less for the derivative and compute the encoder's stages, and the decoders' norms and activations, once more.
   */
  readonly checkpoint?: boolean;
}

export interface ConResNet extends Model<Tensor[], ResolvedConResNet, ConResNetParams> {
  /**
   * @param input [N, inputChannels, D, H, W] of any size
   * @returns logits at full size: the segmentation [N, classes, D, H, W], then with mapping the residuals of the
   *   scales, finest first, [N, classes (less one with multiClass), D, H, W]
   */
  apply(params: ConResNetParams, input: Tensor, options?: ConResNetApplyOptions): Tensor[];
  /** What the modules of the decoder compute, finest first: for figures such as the paper's 6 and 7. */
  contextMaps(params: ConResNetParams, input: Tensor): ContextMaps[];
  /** Names of the published parameters that take no part, to be given to loadParameters as `ignore`. */
  readonly unused: RegExp;
}

/** What both decoders have at one scale; residuals with mapping alone. */
interface Decoded {
  readonly features: Tensor;
  readonly gated: Tensor;
  readonly residuals?: Tensor;
}

interface DecoderInputs {
  /**
   * What comes out of the next coarser scale: features, and residuals (of the image at the coarsest) with mapping
   * alone.
   */
  readonly below: Tensor;
  readonly before: Tensor | undefined;
  /** The encoder's features at this scale. */
  readonly skip: Tensor;
}

// In checkpoints, so that each is one pass forward: to compute a sigmoid again costs less than to keep it.
/** G = |difference of neighboring slices of sigmoid(F)| along an axis of the tensor, the first slice 0 (Eq. 4). */
export const featureResidual = (features: Tensor, axis: number): Tensor =>
  checkpoint((f: Tensor) => sliceResidual(sigmoid(f), axis))(features);

/** O_seg = F (1 + sigmoid(O_res)) (Eq. 6), with `gate` F (1 + gate sigmoid(O_res)). */
export const contextGate = (features: Tensor, residuals: Tensor, gate?: Tensor): Tensor =>
  gate
    ? checkpoint((f: Tensor, r: Tensor, g: Tensor) => mul(f, sigmoid(r).mul(g).add(1)))(features, residuals, gate)
    : checkpoint((f: Tensor, r: Tensor) => mul(f, sigmoid(r).add(1)))(features, residuals);

/**
 * The published ConResNet at any width, depth and number of channels; its baseline, and each of its two parts removed.
 * Normalization is group norm before each convolution, kernels are standardized as they are used (Qiao et al. 2019),
 * upsampling is trilinear between the corners, skips are added.
 *
 * @example
 * ```ts
 * import { random } from "voxgrad";
 * import { conResNet } from "voxgrad/models";
 *
 * const model = conResNet({ inputChannels: 4, classes: 3 }); // the published one: 19,018,732 parameters
 * const baseline = conResNet({ inputChannels: 4, classes: 3, mapping: false });
 * const params = model.init(random.key(1));
 * const x = random.normal(random.key(2), { shape: [1, 4, 80, 160, 160] });
 * const [segmentation, ...residuals] = model.apply(params, x, { train: true, key: random.key(3) });
 * ```
 */
export function conResNet(config: ConResNetConfig): ConResNet {
  const c = resolveConResNet(config);
  const scales = scalesOf(c);
  const axis = 2 + spaceAxis("conResNet", c.axis);

  const kernelOf = (w: Tensor): Tensor => {
    if (!c.weightStandardization) return w;
    const standard = weightStandardize(w);
    return c.gain === "fan" ? standard.mul(Math.sqrt(2 * w.shape[0] / w.size)) : standard;
  };
  const conv = (p: nn.Affine, x: Tensor, options: { stride?: number; dilation?: number } = {}): Tensor => {
    const weight = kernelOf(p.weight);
    const { dilation = 1 } = options;
    return nn.conv({ weight }, x, { ...options, padding: (weight.shape[2] === 1 ? 0 : 1) * dilation });
  };
  const active = (p: nn.Affine, x: Tensor): Tensor => relu(nn.norm(p, x, { groups: c.groups }));
  const upTo = (x: Tensor, like: Tensor): Tensor =>
    resize(x, { size: like.shape.slice(2), mode: "linear", alignCorners: true });

  const block = (p: BlockOf<Tensor>, x: Tensor, dilation: number): Tensor =>
    conv(p.conv2, active(p.gn2, conv(p.conv1, active(p.gn1, x), { dilation })), { dilation }).add(x);

  /**
   * Both decoders at one scale: the features of the first, and by the context residual module (Eqs. 3 to 6) what
   * differs between slices and the gate. `stage` may be checkpoint: each ends in a convolution, so that recomputing one
   * computes no more than norms, activations and residuals.
   */
  function decode(p: ModuleOf<Tensor>, scale: Scale, stage: typeof checkpoint, inputs: DecoderInputs): Decoded {
    const { below, skip, before } = inputs;
    const mapped = (gn: nn.Affine, kernel: nn.Affine, x: Tensor): Tensor => conv(kernel, active(gn, x));
    const joined = stage((gn: nn.Affine, kernel: nn.Affine, x: Tensor, y: Tensor) =>
      mapped(gn, kernel, upTo(x, y).add(y))
    );
    const features = joined(p.gn_seg, p.conv_seg, below, skip);
    if (!before) return { features, gated: features };
    const others = scale.first
      ? conv(p.conv_mp_first!, upTo(before, skip))
      : scale.maps
      ? stage((gn: nn.Affine, kernel: nn.Affine, x: Tensor) => mapped(gn, kernel, upTo(x, skip)))(
        p.gn_mp!,
        p.conv_mp!,
        before,
      )
      : upTo(before, skip);
    const differences = stage((kernel: nn.Affine, x: Tensor) => conv(kernel, featureResidual(x, axis)))(
      p.conv_res!,
      features,
    );
    const residuals = stage(mapped)(p.gn_res1!, p.conv_res1!, others.add(differences));
    return { features, gated: c.attention ? contextGate(features, residuals, p.gate) : features, residuals };
  }

  /** What the decoders compute at every scale, coarsest first. */
  function run(params: ConResNetParams, input: Tensor, options: ConResNetApplyOptions): Decoded[] {
    checkConResNetInput(c, input);
    const { train = false, key } = options;
    check(
      !train || c.dropout === 0 || key !== undefined,
      "conResNet",
      () => "training drops channels and needs a key: apply(params, x, { train: true, key }), or dropout: 0",
    );
    const stage: typeof checkpoint = options.checkpoint ? checkpoint : (f) => f;
    const deepest = c.features.length - 1;
    // Recomputed block by block, the first of a scale with the convolution that leads to it.
    const stem = stage((p: nn.Affine, first: BlockOf<Tensor>, y: Tensor) => block(first, conv(p, y), 1));
    const down = stage((p: DownOf<Tensor>, first: BlockOf<Tensor>, y: Tensor) =>
      block(first, conv(p[2], active(p[0], y), { stride: 2 }), 1)
    );
    const blocks = (list: readonly BlockOf<Tensor>[], x: Tensor, dilation = 1): Tensor =>
      list.reduce((y, p) => stage((q: BlockOf<Tensor>, z: Tensor) => block(q, z, dilation))(p, y), x);

    let x = blocks(params.layer0.slice(1), stem(params.conv_4_32[0], params.layer0[0], input));
    const skips = [x];
    for (let s = 1; s <= deepest; s++) {
      const [first, ...rest] = params[`layer${s}`];
      skips.push(x = blocks(rest, down(params[entering(s)] as DownOf<Tensor>, first, x)));
    }
    x = blocks(params[`layer${deepest + 1}`], x, c.dilation);
    const dropped = { p: c.dropout, key: train ? key : undefined, channels: true };
    x = stage((p: FusionOf<Tensor>, y: Tensor) => conv(p[3], nn.dropout(active(p[0], y), dropped)))(
      params.fusionConv,
      x,
    );

    const decoded: Decoded[] = [];
    let before = c.mapping ? sliceResidual(input, axis) : undefined;
    scales.forEach((scale, k) => {
      const inputs = { below: x, skip: skips[deepest - 1 - k], before };
      const result = decode(params[moduleOf(scale)][0], scale, stage, inputs);
      decoded.push(result);
      x = result.gated;
      before = result.residuals;
    });
    return decoded;
  }

  return {
    config: c,
    unused: unusedNames(c, scales),
    init: (key) => nn.initialize(key, parametersOf(c, scales)),
    apply(params, input, options = {}) {
      const decoded = run(params, input, options);
      const heads = decoded.flatMap(({ residuals }, k) =>
        residuals ? [upTo(nn.conv(params[residualHead(scales[k].factor)][0], residuals), input)] : []
      );
      return [nn.conv(params.seg_cls[0], decoded.at(-1)!.gated), ...heads.reverse()];
    },
    contextMaps: (params, input) =>
      run(params, input, {})
        .map(({ features, gated, residuals }) => ({
          features,
          gated,
          attention: residuals ? sigmoid(residuals) : null,
        }))
        .reverse(),
  };
}

registerNetwork("conResNet", {
  build: conResNet,
  summary: {
    options: {
      arm: choice(
        ["full", "mapping", "baseline"],
        "conResNet: with mapping and attention, without attention, without both",
      ),
      multiClass: entry(false, "conResNet: classes exclude each other, and the background has no residual"),
      unusedLayers: entry(false, "conResNet: also the layers that the published code makes and never uses"),
    },
    architecture({ dimensions: _, ...shape }, { arm, ...options }) {
      return { ...shape, ...conResNetArms[arm as keyof typeof conResNetArms], ...options };
    },
  },
});
