/**
 * MedNeXt (Roy et al., "MedNeXt: Transformer-driven scaling of ConvNets for medical image segmentation", 2023): a U-Net
 * of ConvNeXt blocks, with residual blocks for changes of resolution too. Parameter paths are the names of the state
 * dict of MIC-DKFZ's MedNeXt.
 */
import { check, checkOptions, convTranspose2d, convTranspose3d, gelu, pad, type Tensor } from "../../engine/mod.ts";
import { perDecoderStage, perStage } from "../../engine/imaging/mod.ts";
import * as nn from "../../engine/nn/mod.ts";
import { entry } from "../../engine/train/mod.ts";
import { type Model, registerNetwork } from "../known_networks.ts";
import {
  checkNetworkInput,
  countsPerStage,
  resolveTopology,
  type Topology,
  TOPOLOGY_KEYS,
  type TopologyConfig,
} from "../topology.ts";

/** The published exp_r and block_counts are the lists of encoder, bottleneck and decoder in one. */
export interface MedNeXtConfig extends TopologyConfig {
  /** Blocks of every stage of the encoder and of the bottleneck, one number or one per stage. Default 2. */
  readonly blocksPerStage?: number | readonly number[];
  /** Blocks of every decoder stage, coarsest first. Default 2. */
  readonly decoderBlocksPerStage?: number | readonly number[];
  /** Channels within a block over those outside, one number or one per stage. Default 2. */
  readonly expansions?: number | readonly number[];
  /** The same of every decoder stage, coarsest first. Default 2. */
  readonly decoderExpansions?: number | readonly number[];
}

export interface ResolvedMedNeXt extends Topology {
  readonly blocksPerStage: readonly number[];
  readonly decoderBlocksPerStage: readonly number[];
  readonly expansions: readonly number[];
  readonly decoderExpansions: readonly number[];
}

const NAME = "medNeXt";
const OWN = ["blocksPerStage", "decoderBlocksPerStage", "expansions", "decoderExpansions"] as const;

function resolve(config: MedNeXtConfig): ResolvedMedNeXt {
  checkOptions(NAME, config, [...TOPOLOGY_KEYS, ...OWN]);
  const topology = resolveTopology(NAME, config);
  const stages = topology.features.length;
  check(
    topology.strides[0].every((s) => s === 1),
    NAME,
    () => `the first stage has stride 1, got ${topology.strides[0].join(", ")}`,
  );
  const list = (key: typeof OWN[number], count: number): readonly number[] =>
    countsPerStage(NAME, key, config[key] ?? 2, count);
  return {
    ...topology,
    blocksPerStage: list("blocksPerStage", stages),
    decoderBlocksPerStage: list("decoderBlocksPerStage", stages - 1),
    expansions: list("expansions", stages),
    decoderExpansions: list("decoderExpansions", stages - 1),
  };
}

/** A depthwise convolution, a norm, and two convolutions of single voxels. */
type BlockOf<T> = { conv1: nn.Affine<T>; norm: nn.Affine<T>; conv2: nn.Affine<T>; conv3: nn.Affine<T> };
type ResampleOf<T> = BlockOf<T> & { res_conv: nn.Affine<T> };
type PartOf<T> = nn.Affine<T> | BlockOf<T>[] | ResampleOf<T> | { conv_out: nn.Affine<T> } | T;
/** Parts by name: stem, enc_block_0, down_0, ..., bottleneck, up_3, dec_block_3, ..., out_0. */
type MedNeXtOf<T> = Record<string, PartOf<T>>;

/** Parameters by the names of the published state dict. */
export type MedNeXtParams = MedNeXtOf<Tensor>;

/** The initial weights have the variance of PyTorch's. */
const like = { a: Math.sqrt(5) };

function blockParameters(
  inputs: number,
  outputs: number,
  expansion: number,
  kernel: readonly number[],
): BlockOf<nn.Parameter> {
  const one = kernel.map(() => 1);
  return {
    conv1: nn.convParameters(1, inputs, kernel, like),
    norm: nn.normParameters(inputs),
    conv2: nn.convParameters(inputs, expansion * inputs, one, like),
    conv3: nn.convParameters(expansion * inputs, outputs, one, like),
  };
}

function parametersOf(c: ResolvedMedNeXt): MedNeXtOf<nn.Parameter> {
  const { features, kernels, expansions } = c;
  const one = kernels[0].map(() => 1);
  const last = features.length - 1;
  const blocks = (count: number, s: number, expansion: number) =>
    Array.from({ length: count }, () => blockParameters(features[s], features[s], expansion, kernels[s]));
  const parts: MedNeXtOf<nn.Parameter> = {
    stem: nn.convParameters(c.inputChannels, features[0], one, like),
    bottleneck: blocks(c.blocksPerStage[last], last, expansions[last]),
    out_0: { conv_out: nn.convTransposeParameters(features[0], c.classes, one, like) },
    // The published network has it for its checkpoints; nothing uses it.
    dummy_tensor: nn.onesParameter([1]),
  };
  for (let s = 0; s < last; s++) {
    const [fine, coarse] = [features[s], features[s + 1]];
    const expansion = c.decoderExpansions[last - 1 - s];
    parts[`enc_block_${s}`] = blocks(c.blocksPerStage[s], s, expansions[s]);
    parts[`down_${s}`] = {
      ...blockParameters(fine, coarse, expansions[s + 1], kernels[s + 1]),
      res_conv: nn.convParameters(fine, coarse, one, like),
    };
    parts[`up_${s}`] = {
      ...blockParameters(coarse, fine, expansion, kernels[s]),
      res_conv: nn.convTransposeParameters(coarse, fine, one, like),
    };
    parts[`dec_block_${s}`] = blocks(c.decoderBlocksPerStage[last - 1 - s], s, expansion);
  }
  return parts;
}

const half = (weight: Tensor): number[] => weight.shape.slice(2).map((k) => (k - 1) / 2);

const transposed = (p: nn.Affine, x: Tensor, stride: readonly number[], groups = 1): Tensor =>
  (x.rank === 4 ? convTranspose2d : convTranspose3d)(x, p.weight, {
    stride,
    padding: half(p.weight),
    groups,
    ...(p.bias && { bias: p.bias }),
  });

/** Norm over space, expansion and compression of what a depthwise convolution gave. */
const inner = (p: BlockOf<Tensor>, x: Tensor): Tensor => nn.conv(p.conv3, gelu(nn.conv(p.conv2, nn.norm(p.norm, x))));
const depthwise = (p: nn.Affine, x: Tensor, stride: readonly number[] | number = 1): Tensor =>
  nn.conv(p, x, { padding: half(p.weight), stride, groups: x.shape[1] });

const block = (x: Tensor, p: BlockOf<Tensor>): Tensor => inner(p, depthwise(p.conv1, x)).add(x);
const down = (x: Tensor, p: ResampleOf<Tensor>, stride: readonly number[]): Tensor =>
  inner(p, depthwise(p.conv1, x, stride)).add(nn.conv(p.res_conv, x, { stride }));
/** Zeros before each axis complete a result to `stride` times the size. */
const up = (x: Tensor, p: ResampleOf<Tensor>, stride: readonly number[]): Tensor =>
  pad(inner(p, transposed(p.conv1, x, stride, x.shape[1])).add(transposed(p.res_conv, x, stride)), {
    before: [0, 0, ...stride.map((s) => s - 1)],
  });

/**
 * MedNeXt: blocks of a depthwise convolution, instance norm, and an expansion with GELU, added to their input; strided
 * blocks downwards, transposed ones upwards, whose results are added to the encoder's. The published sizes, with
 * features [32, 64, 128, 256, 512] and blocks and expansions of encoder and bottleneck (the decoder has those of the
 * encoder, coarsest first): S 2 and 2; B 2 and [2, 3, 4, 4, 4]; M [3, 4, 4, 4, 4] and [2, 3, 4, 4, 4];
 * L [3, 4, 8, 8, 8] and [3, 4, 8, 8, 8]; kernels 3 or 5.
 *
 * @returns a model with logits [N, classes, ...space] of inputs [N, inputChannels, ...space], space divisible by the
 *   product of the strides
 * @throws VoxgradError naming the invalid entry
 * @example
 * ```ts
 * import { random } from "voxgrad";
 * import { medNeXt } from "voxgrad/models";
 *
 * const model = medNeXt({ inputChannels: 1, features: [4, 8, 16], classes: 2, blocksPerStage: [1, 1, 2] });
 * const x = random.normal(random.key(0), { shape: [1, 1, 8, 8, 8] });
 * const logits = model.apply(model.init(random.key(1)), x); // [1, 2, 8, 8, 8]
 * ```
 */
export function medNeXt(config: MedNeXtConfig): Model<Tensor, ResolvedMedNeXt, MedNeXtParams> {
  const c = resolve(config);
  const last = c.features.length - 1;
  return {
    config: c,
    init: (key) => nn.initialize(key, parametersOf(c)) as MedNeXtParams,
    apply(params, input) {
      checkNetworkInput(NAME, c, input);
      const blocks = (name: string, x: Tensor): Tensor => (params[name] as BlockOf<Tensor>[]).reduce(block, x);
      let x = nn.conv(params.stem as nn.Affine, input);
      const skips = c.features.slice(0, last).map((_, s) => {
        const skip = blocks(`enc_block_${s}`, x);
        x = down(skip, params[`down_${s}`] as ResampleOf<Tensor>, c.strides[s + 1]);
        return skip;
      });
      x = blocks("bottleneck", x);
      for (let s = last - 1; s >= 0; s--) {
        const above = up(x, params[`up_${s}`] as ResampleOf<Tensor>, c.strides[s + 1]);
        x = blocks(`dec_block_${s}`, skips[s].add(above));
      }
      return nn.convTranspose((params.out_0 as { conv_out: nn.Affine }).conv_out, x);
    },
  };
}

registerNetwork(NAME, {
  build: medNeXt,
  plan: {
    deepSupervision: false,
    entries: {
      blocksPerStage: perStage,
      decoderBlocksPerStage: perDecoderStage,
      expansions: perStage,
      decoderExpansions: perDecoderStage,
    },
    plan: (stages) => ({
      blocksPerStage: new Array<number>(stages).fill(2),
      decoderBlocksPerStage: new Array<number>(stages - 1).fill(2),
      expansions: new Array<number>(stages).fill(2),
      decoderExpansions: new Array<number>(stages - 1).fill(2),
    }),
  },
  summary: {
    options: { blocks: entry([], "blocks of each scale", { integer: true, min: 1 }) },
    architecture: ({ features = [32, 64, 128, 256, 512], ...shape }, { blocks }) => ({
      ...shape,
      features,
      ...((blocks as readonly number[]).length > 0 && { blocksPerStage: blocks }),
    }),
  },
});
