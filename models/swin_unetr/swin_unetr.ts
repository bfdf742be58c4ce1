/**
 * Swin UNETR (Hatamizadeh et al., "Swin UNETR: Swin transformers for semantic segmentation of brain tumors in MRI
 * images", 2022) as in MONAI: a Swin transformer as encoder, whose features at five scales pass residual blocks into a
 * decoder of convolutions. Parameter paths are the names of MONAI's state dict.
 */
import {
  check,
  checkOptions,
  concat,
  gelu,
  instanceNorm,
  layerNorm,
  leakyRelu,
  moveAxis,
  slice,
  type Tensor,
} from "../../engine/mod.ts";
import * as nn from "../../engine/nn/mod.ts";
import { entry } from "../../engine/train/mod.ts";
import { type Model, registerNetwork } from "../known_networks.ts";
import { checkNetworkInput, countsPerStage, isCount } from "../topology.ts";

export interface SwinUNETRConfig {
  readonly inputChannels: number;
  readonly classes: number;
  /** Channels of the first scale, which double at each; every stage's heads divide them. Default 24. */
  readonly featureSize?: number;
  /** Transformer blocks of the four stages, one number or one per stage; every second one is shifted. Default 2. */
  readonly depths?: number | readonly number[];
  /** Attention heads of the four stages. Default 3, 6, 12, 24. */
  readonly heads?: readonly number[];
  /** Side of the windows of attention. Default 7. */
  readonly window?: number;
  /** 2 or 3. Default 3. */
  readonly dimensions?: 2 | 3;
}

export interface ResolvedSwinUNETR extends Required<SwinUNETRConfig> {
  readonly depths: readonly number[];
}

const NAME = "swinUNETR";
const STAGES = 4;

function resolve(config: SwinUNETRConfig): ResolvedSwinUNETR {
  checkOptions(NAME, config, ["inputChannels", "classes", "featureSize", "depths", "heads", "window", "dimensions"]);
  const { featureSize = 24, depths = 2, heads = [3, 6, 12, 24], window = 7, dimensions = 3 } = config;
  const { inputChannels, classes } = config;
  for (const [name, value] of Object.entries({ inputChannels, classes, featureSize, window })) {
    check(isCount(value), NAME, () => `${name} is an integer >= 1, got ${value}`);
  }
  check(dimensions === 2 || dimensions === 3, NAME, () => `dimensions is 2 or 3, got ${dimensions}`);
  const list = countsPerStage(NAME, "heads", heads, STAGES);
  list.forEach((count, s) =>
    check(
      (featureSize * 2 ** s) % count === 0,
      NAME,
      () => `the heads of stage ${s} divide its ${featureSize * 2 ** s} features, got ${count}`,
    )
  );
  const all = countsPerStage(NAME, "depths", depths, STAGES);
  return { inputChannels, classes, featureSize, depths: all, heads: list, window, dimensions };
}

/** MONAI wraps convolutions in a module `conv`. */
type ConvOf<T> = { conv: nn.Affine<T> };
/** A third convolution where the number of channels changes. */
type ResidualOf<T> = { conv1: ConvOf<T>; conv2: ConvOf<T>; conv3?: ConvOf<T> };
type EncoderOf<T> = { layer: ResidualOf<T> };
type DecoderOf<T> = { transp_conv: ConvOf<T>; conv_block: ResidualOf<T> };
type BlockOf<T> = {
  norm1: nn.Affine<T>;
  attn: nn.WindowAttentionParameters<T>;
  norm2: nn.Affine<T>;
  mlp: { linear1: nn.Affine<T>; linear2: nn.Affine<T> };
};
type StageOf<T> = { blocks: BlockOf<T>[]; downsample: { reduction: nn.Affine<T>; norm: nn.Affine<T> } };
type SwinUNETROf<T> = {
  swinViT: {
    patch_embed: { proj: nn.Affine<T> };
    layers1: StageOf<T>[];
    layers2: StageOf<T>[];
    layers3: StageOf<T>[];
    layers4: StageOf<T>[];
  };
  encoder1: EncoderOf<T>;
  encoder2: EncoderOf<T>;
  encoder3: EncoderOf<T>;
  encoder4: EncoderOf<T>;
  encoder10: EncoderOf<T>;
  decoder5: DecoderOf<T>;
  decoder4: DecoderOf<T>;
  decoder3: DecoderOf<T>;
  decoder2: DecoderOf<T>;
  decoder1: DecoderOf<T>;
  out: { conv: ConvOf<T> };
};

/** Parameters by the names of MONAI's state dict. */
export type SwinUNETRParams = SwinUNETROf<Tensor>;

/** The initial weights have the variance of PyTorch's. */
const like = { a: Math.sqrt(5), bias: false };

function parametersOf(c: ResolvedSwinUNETR): SwinUNETROf<nn.Parameter> {
  const f = c.featureSize;
  const cube = (n: number): number[] => new Array<number>(c.dimensions).fill(n);
  const conv = (inputs: number, outputs: number, n: number): ConvOf<nn.Parameter> => ({
    conv: nn.convParameters(inputs, outputs, cube(n), like),
  });
  const residual = (inputs: number, outputs: number): ResidualOf<nn.Parameter> => ({
    conv1: conv(inputs, outputs, 3),
    conv2: conv(outputs, outputs, 3),
    ...(inputs !== outputs && { conv3: conv(inputs, outputs, 1) }),
  });
  const encoder = (inputs: number, outputs = inputs) => ({ layer: residual(inputs, outputs) });
  const decoder = (inputs: number, outputs: number): DecoderOf<nn.Parameter> => ({
    transp_conv: { conv: nn.convTransposeParameters(inputs, outputs, cube(2), like) },
    conv_block: residual(2 * outputs, outputs),
  });
  const stage = (s: number): StageOf<nn.Parameter>[] => {
    const n = f * 2 ** s;
    const blocks = Array.from({ length: c.depths[s] }, (): BlockOf<nn.Parameter> => ({
      norm1: nn.normParameters(n),
      attn: nn.windowAttentionParameters(n, { heads: c.heads[s], window: cube(c.window) }),
      norm2: nn.normParameters(n),
      mlp: { linear1: nn.linearParameters(n, 4 * n, { a: 1 }), linear2: nn.linearParameters(4 * n, n, { a: 1 }) },
    }));
    const merged = n * 2 ** c.dimensions;
    const reduction = nn.linearParameters(merged, 2 * n, { bias: false, a: 1 });
    return [{ blocks, downsample: { reduction, norm: nn.normParameters(merged) } }];
  };
  return {
    swinViT: {
      patch_embed: { proj: nn.convParameters(c.inputChannels, f, cube(2), { a: like.a }) },
      layers1: stage(0),
      layers2: stage(1),
      layers3: stage(2),
      layers4: stage(3),
    },
    encoder1: encoder(c.inputChannels, f),
    encoder2: encoder(f),
    encoder3: encoder(2 * f),
    encoder4: encoder(4 * f),
    encoder10: encoder(16 * f),
    decoder5: decoder(16 * f, 8 * f),
    decoder4: decoder(8 * f, 4 * f),
    decoder3: decoder(4 * f, 2 * f),
    decoder2: decoder(2 * f, f),
    decoder1: decoder(f, f),
    out: { conv: { conv: nn.convParameters(f, c.classes, cube(1), { a: like.a }) } },
  };
}

const toLast = (x: Tensor): Tensor => moveAxis(x, { source: 1, destination: -1 });
const toFirst = (x: Tensor): Tensor => moveAxis(x, { source: -1, destination: 1 });
const norm = (p: nn.Affine, x: Tensor): Tensor => layerNorm(x, { weight: p.weight, bias: p.bias! });

/**
 * Corners of the blocks of 2 x 2 x 2 that are merged. MONAI's network repeats [0, 1, 0] and [0, 0, 1] in the place of
 * [1, 1, 0] and [0, 1, 1], and the published weights depend on it.
 */
const CORNERS = {
  2: [[0, 0], [1, 0], [0, 1], [1, 1]],
  3: [[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 0, 1], [0, 1, 0], [0, 0, 1], [1, 1, 1]],
} as const;

/** instance norm, without parameters. */
const normed = (p: ConvOf<Tensor>, x: Tensor): Tensor => instanceNorm(nn.conv(p.conv, x, { padding: "same" }));

/** A residual block of two convolutions. */
function residual(p: ResidualOf<Tensor>, x: Tensor): Tensor {
  const y = normed(p.conv2, leakyRelu(normed(p.conv1, x)));
  return leakyRelu(y.add(p.conv3 ? normed(p.conv3, x) : x));
}

const decode = (p: DecoderOf<Tensor>, x: Tensor, skip: Tensor): Tensor =>
  residual(p.conv_block, concat([nn.convTranspose(p.transp_conv.conv, x, { stride: 2 }), skip], { axis: 1 }));

/**
 * MONAI's SwinUNETR: blocks of attention within windows, every second one shifted by half a window, on patches of 2
 * voxels an axis; merging of patches between four stages; and a decoder of transposed convolutions and residual blocks
 * with instance norm. It has no dropout.
 *
 * @returns a model with logits [N, classes, ...space] of inputs [N, inputChannels, ...space], space divisible by 32
 * @throws VoxgradError naming the invalid entry
 * @example
 * ```ts
 * import { random } from "voxgrad";
 * import { swinUNETR } from "voxgrad/models";
 *
 * const model = swinUNETR({ inputChannels: 1, classes: 2, featureSize: 6, dimensions: 2 });
 * const x = random.normal(random.key(0), { shape: [1, 1, 64, 64] });
 * const logits = model.apply(model.init(random.key(1)), x); // [1, 2, 64, 64]
 * ```
 */
export function swinUNETR(config: SwinUNETRConfig): Model<Tensor, ResolvedSwinUNETR, SwinUNETRParams> {
  const c = resolve(config);
  const strides = Array.from({ length: STAGES + 1 }, () => new Array<number>(c.dimensions).fill(2));
  const shift = Math.floor(c.window / 2);

  function stage(p: StageOf<Tensor>, given: Tensor, s: number): Tensor {
    const x = p.blocks.reduce((x, block, k) => {
      const options = { heads: c.heads[s], window: c.window, shift: k % 2 === 1 ? shift : 0 };
      const seen = x.add(nn.windowAttention(block.attn, norm(block.norm1, x), options));
      return seen.add(nn.linear(block.mlp.linear2, gelu(nn.linear(block.mlp.linear1, norm(block.norm2, seen)))));
    }, given);
    const step = [1, ...strides[0], 1];
    const parts = CORNERS[c.dimensions].map((corner) => slice(x, { start: [0, ...corner, 0], step }));
    return nn.linear(p.downsample.reduction, norm(p.downsample.norm, concat(parts, { axis: -1 })));
  }

  return {
    config: c,
    init: (key) => nn.initialize(key, parametersOf(c)),
    apply(params, input) {
      checkNetworkInput(NAME, { ...c, features: [], kernels: [], strides }, input);
      const { swinViT } = params;
      const { layers1, layers2, layers3, layers4 } = swinViT;
      let x = toLast(nn.conv(swinViT.patch_embed.proj, input, { stride: 2 }));
      const scales = [x, ...[layers1, layers2, layers3, layers4].map(([layer], s) => (x = stage(layer, x, s)))];
      const [first, second, third, fourth, fifth] = scales.map((y) => toFirst(layerNorm(y)));
      const below = residual(params.encoder10.layer, fifth);
      let y = decode(params.decoder5, below, fourth);
      y = decode(params.decoder4, y, residual(params.encoder4.layer, third));
      y = decode(params.decoder3, y, residual(params.encoder3.layer, second));
      y = decode(params.decoder2, y, residual(params.encoder2.layer, first));
      y = decode(params.decoder1, y, residual(params.encoder1.layer, input));
      return nn.conv(params.out.conv.conv, y);
    },
  };
}

registerNetwork(NAME, {
  build: swinUNETR,
  summary: {
    options: { window: entry(7, "side of the windows of attention", { integer: true, min: 1 }) },
    architecture: ({ features = [24], ...shape }, { window }) => ({ ...shape, featureSize: features[0], window }),
  },
});
