/**
 * SegResNet (Myronenko, "3D MRI brain tumor segmentation using autoencoder regularization", 2018) as in MONAI, without
 * the autoencoder: an encoder of residual blocks, and a small decoder that adds the encoder's features. Parameter paths
 * are the names of MONAI's state dict.
 */
import { check, checkOptions, relu, resize, type Tensor } from "../../engine/mod.ts";
import { perDecoderStage, perStage } from "../../engine/imaging/mod.ts";
import * as nn from "../../engine/nn/mod.ts";
import { entry } from "../../engine/train/mod.ts";
import { type Model, registerNetwork } from "../known_networks.ts";
import {
  checkNetworkInput,
  countsPerStage,
  isCount,
  resolveTopology,
  type Topology,
  TOPOLOGY_KEYS,
  type TopologyConfig,
} from "../topology.ts";

/**
 * MONAI's init_filters, blocks_down and blocks_up are features (which double), blocksPerStage, decoderBlocksPerStage.
 */
export interface SegResNetConfig extends TopologyConfig {
  /** Residual blocks of every encoder stage, one number or one per stage. Default 1, 2, 2, ..., 4. */
  readonly blocksPerStage?: number | readonly number[];
  /** Residual blocks of every decoder stage, coarsest first. Default 1. */
  readonly decoderBlocksPerStage?: number | readonly number[];
  /** Number of groups of the group norms; divides all features. Default 8. */
  readonly groups?: number;
}

export interface ResolvedSegResNet extends Topology {
  readonly blocksPerStage: readonly number[];
  readonly decoderBlocksPerStage: readonly number[];
  readonly groups: number;
}

const NAME = "segResNet";
const defaultBlocks = (stages: number): number[] =>
  Array.from({ length: stages }, (_, s) => (s === 0 ? 1 : s === stages - 1 ? 4 : 2));

function resolve(config: SegResNetConfig): ResolvedSegResNet {
  checkOptions(NAME, config, [...TOPOLOGY_KEYS, "blocksPerStage", "decoderBlocksPerStage", "groups"]);
  const topology = resolveTopology(NAME, config);
  const { features } = topology;
  const { blocksPerStage = defaultBlocks(features.length), decoderBlocksPerStage = 1, groups = 8 } = config;
  check(
    isCount(groups) && features.every((n) => n % groups === 0),
    NAME,
    () => `groups divides all features, ${features.join(", ")}, got ${groups}; give another number of groups`,
  );
  return {
    ...topology,
    groups,
    blocksPerStage: countsPerStage(NAME, "blocksPerStage", blocksPerStage, features.length),
    decoderBlocksPerStage: countsPerStage(
      NAME,
      "decoderBlocksPerStage",
      decoderBlocksPerStage,
      features.length - 1,
    ),
  };
}

/** MONAI wraps layers in a module `conv`. */
type ConvOf<T> = { conv: nn.Affine<T> };
type BlockOf<T> = { norm1: nn.Affine<T>; norm2: nn.Affine<T>; conv1: ConvOf<T>; conv2: ConvOf<T> };
/** The strided convolution of a stage has index 0; the first stage has none. */
type StageOf<T> = { [place: number]: ConvOf<T> | BlockOf<T> };
type SegResNetOf<T> = {
  convInit: ConvOf<T>;
  down_layers: StageOf<T>[];
  up_layers: BlockOf<T>[][];
  up_samples: ConvOf<T>[][];
  conv_final: { 0: nn.Affine<T>; 2: ConvOf<T> };
};

/** Parameters by the names of MONAI's state dict. */
export type SegResNetParams = SegResNetOf<Tensor>;

/** The initial weights have the variance of PyTorch's. */
const convParameters = (
  inputs: number,
  outputs: number,
  kernel: readonly number[],
  bias = false,
): ConvOf<nn.Parameter> => ({
  conv: nn.convParameters(inputs, outputs, kernel, { bias, a: Math.sqrt(5) }),
});

const blockParameters = (channels: number, kernel: readonly number[]): BlockOf<nn.Parameter> => ({
  norm1: nn.normParameters(channels),
  norm2: nn.normParameters(channels),
  conv1: convParameters(channels, channels, kernel),
  conv2: convParameters(channels, channels, kernel),
});

function parametersOf(c: ResolvedSegResNet): SegResNetOf<nn.Parameter> {
  const { features, kernels } = c;
  const one = kernels[0].map(() => 1);
  const blocks = (count: number, s: number) =>
    Array.from({ length: count }, () => blockParameters(features[s], kernels[s]));
  const down = features.map((n, s): StageOf<nn.Parameter> => {
    const own = blocks(c.blocksPerStage[s], s).map((block, k) => [k + 1, block]);
    return Object.fromEntries(s > 0 ? [[0, convParameters(features[s - 1], n, kernels[s])], ...own] : own);
  });
  const decoder = c.decoderBlocksPerStage.map((count, d) => ({ count, s: features.length - 2 - d }));
  return {
    convInit: convParameters(c.inputChannels, features[0], kernels[0]),
    down_layers: down,
    up_layers: decoder.map(({ count, s }) => blocks(count, s)),
    up_samples: decoder.map(({ s }) => [convParameters(features[s + 1], features[s], one)]),
    conv_final: { 0: nn.normParameters(features[0]), 2: convParameters(features[0], c.classes, one, true) },
  };
}

/**
 * MONAI's SegResNet: group norm and ReLU before every convolution, strided convolutions downwards, 1 x 1 convolutions
 * and linear interpolation upwards, where the encoder's features are added.
 *
 * @returns a model with logits [N, classes, ...space] of inputs [N, inputChannels, ...space], space divisible by the
 *   product of the strides
 * @throws VoxgradError naming the invalid entry
 * @example
 * ```ts
 * import { random } from "voxgrad";
 * import { segResNet } from "voxgrad/models";
 *
 * const model = segResNet({ inputChannels: 1, features: [8, 16, 32, 64], classes: 2 }); // MONAI's defaults
 * const x = random.normal(random.key(0), { shape: [1, 1, 16, 16, 16] });
 * const logits = model.apply(model.init(random.key(1)), x); // [1, 2, 16, 16, 16]
 * ```
 */
export function segResNet(config: SegResNetConfig): Model<Tensor, ResolvedSegResNet, SegResNetParams> {
  const c = resolve(config);
  const conv = (p: ConvOf<Tensor>, x: Tensor, stride?: readonly number[]): Tensor => {
    const padding = p.conv.weight.shape.slice(2).map((k) => (k - 1) / 2);
    return nn.conv(p.conv, x, { padding, ...(stride && { stride }) });
  };
  const active = (p: nn.Affine, x: Tensor): Tensor => relu(nn.norm(p, x, { groups: c.groups }));
  const block = (x: Tensor, p: BlockOf<Tensor>): Tensor =>
    conv(p.conv2, active(p.norm2, conv(p.conv1, active(p.norm1, x)))).add(x);
  return {
    config: c,
    init: (key) => nn.initialize(key, parametersOf(c)),
    apply(params, input) {
      checkNetworkInput(NAME, c, input);
      let x = conv(params.convInit, input);
      const skips = c.blocksPerStage.map((count, s) => {
        const stage = params.down_layers[s];
        if (s > 0) x = conv(stage[0] as ConvOf<Tensor>, x, c.strides[s]);
        for (let k = 1; k <= count; k++) x = block(x, stage[k] as BlockOf<Tensor>);
        return x;
      });
      params.up_layers.forEach((stage, d) => {
        const skip = skips[skips.length - 2 - d];
        const below = conv(params.up_samples[d][0], x);
        x = resize(below, { size: skip.shape.slice(2), mode: "linear", alignCorners: false }).add(skip);
        x = stage.reduce(block, x);
      });
      return conv(params.conv_final[2], active(params.conv_final[0], x));
    },
  };
}

registerNetwork(NAME, {
  build: segResNet,
  plan: {
    deepSupervision: false,
    entries: {
      blocksPerStage: perStage,
      decoderBlocksPerStage: perDecoderStage,
      groups: (value) => (isCount(value) ? undefined : "an integer >= 1"),
    },
    plan: (stages) => ({
      blocksPerStage: defaultBlocks(stages),
      decoderBlocksPerStage: new Array<number>(stages - 1).fill(1),
      groups: 8,
    }),
  },
  summary: {
    options: { blocks: entry([], "residual blocks of each scale", { integer: true, min: 1 }) },
    architecture: ({ features = [8, 16, 32, 64], ...shape }, { blocks }) => ({
      ...shape,
      features,
      ...((blocks as readonly number[]).length > 0 && { blocksPerStage: blocks }),
    }),
  },
});
