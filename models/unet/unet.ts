/**
 * The U-Nets of nnU-Net v2 (Isensee et al. 2021, 2024): PlainConvUNet and ResidualEncoderUNet, of any depth, in 2-D or
 * 3-D. Parameter paths are the names of the published PyTorch state dicts.
 */
import { add, concat, entry, leakyRelu, perDecoderStage, perStage, type Tensor } from "../../engine/segmenting.ts";
import * as nn from "../../engine/segmenting.ts";
import { type Model, type NetworkShape, registerNetwork } from "../known_networks.ts";
import { checkInput, resolve, type ResolvedUNet, type UNetConfig } from "./config.ts";

export type { ResolvedUNet, UNetConfig } from "./config.ts";

const range = (n: number): number[] => Array.from({ length: n }, (_, k) => k);
const SLOPE = 0.01;

/** Parameters as initialized, T Tensor, or before, T nn.Parameter. */
type BlockOf<T> = { conv: nn.Affine<T>; norm: Required<nn.Affine<T>> };
type StackedOf<T> = { convs: BlockOf<T>[] };
type ResidualOf<T> = {
  conv1: BlockOf<T>;
  conv2: BlockOf<T>;
  // In the published names the pooling has index 0.
  skip?: readonly [BlockOf<T>] | { 1: BlockOf<T> };
};
type PlainEncoderOf<T> = { stages: StackedOf<T>[][] };
type ResidualEncoderOf<T> = { stem: StackedOf<T>; stages: { blocks: ResidualOf<T>[] }[] };
type DecoderOf<T> = { stages: StackedOf<T>[]; transpconvs: nn.Affine<T>[]; seg_layers: nn.Affine<T>[] };

/** Parameters of a U-Net by the names of nnU-Net's state dicts, `E` those of its encoder. */
export type UNetParams<E> = { encoder: E; decoder: DecoderOf<Tensor> };
export type PlainConvUNetParams = UNetParams<PlainEncoderOf<Tensor>>;
export type ResidualEncoderUNetParams = UNetParams<ResidualEncoderOf<Tensor>>;

/** Parameters of convolution, instance norm, leaky ReLU; `zero`: the norm's scale starts at 0. */
const blockParameters = (
  inputs: number,
  outputs: number,
  kernel: readonly number[],
  options: { bias?: boolean; zero?: boolean } = {},
): BlockOf<nn.Parameter> => ({
  conv: nn.convParameters(inputs, outputs, kernel, { bias: options.bias ?? true, a: SLOPE }),
  norm: nn.normParameters(outputs, { zero: options.zero ?? false }),
});

type Block = BlockOf<Tensor>;

const normalized = (p: Block, x: Tensor, kernel: readonly number[], stride: readonly number[]): Tensor =>
  nn.norm(p.norm, nn.conv(p.conv, x, { stride, padding: kernel.map((k) => (k - 1) / 2) }));

const block = (p: Block, x: Tensor, kernel: readonly number[], stride: readonly number[]): Tensor =>
  leakyRelu(normalized(p, x, kernel, stride), { slope: SLOPE });

/** Blocks in a row, the first with the stride. */
const stackedParameters = (
  count: number,
  inputs: number,
  outputs: number,
  kernel: readonly number[],
): StackedOf<nn.Parameter> => ({
  convs: range(count).map((k) => blockParameters(k === 0 ? inputs : outputs, outputs, kernel)),
});
const stacked = (p: StackedOf<Tensor>, x: Tensor, kernel: readonly number[], stride: readonly number[]): Tensor =>
  p.convs.reduce((y, child, k) => block(child, y, kernel, k === 0 ? stride : stride.map(() => 1)), x);

const strided = (stride: readonly number[]): boolean => stride.some((s) => s !== 1);

/** A residual block: two convolutions; with a stride the skip is pooled, and it is projected if the channels differ. */
function residualParameters(
  inputs: number,
  outputs: number,
  kernel: readonly number[],
  stride: readonly number[],
): ResidualOf<nn.Parameter> {
  const p = {
    conv1: blockParameters(inputs, outputs, kernel),
    conv2: blockParameters(outputs, outputs, kernel, { zero: true }),
  };
  if (inputs === outputs) return p;
  const projection = blockParameters(
    inputs,
    outputs,
    kernel.map(() => 1),
    { bias: false },
  );
  return { ...p, skip: strided(stride) ? { 1: projection } : [projection] };
}

function residual(p: ResidualOf<Tensor>, x: Tensor, kernel: readonly number[], stride: readonly number[]): Tensor {
  const one = stride.map(() => 1);
  const y = normalized(p.conv2, block(p.conv1, x, kernel, stride), kernel, one);
  const pooled = nn.averagePool(x, stride);
  const projection = p.skip && (1 in p.skip ? p.skip[1] : p.skip[0]);
  const skip = projection ? normalized(projection, pooled, one, one) : pooled;
  return leakyRelu(add(y, skip), { slope: SLOPE });
}

interface Encoder<S> {
  /** A tree of nn.Parameters. */
  readonly parameters: S;
  /** The features of every stage, finest first. */
  apply(p: nn.Initialized<S>, x: Tensor): Tensor[];
}

const encoder = <S>(
  parameters: S,
  apply: (p: nn.Initialized<S>, x: Tensor) => Tensor[],
): Encoder<S> => ({ parameters, apply });

function plainEncoder(c: ResolvedUNet): Encoder<PlainEncoderOf<nn.Parameter>> {
  const inputs = (s: number): number => (s === 0 ? c.inputChannels : c.features[s - 1]);
  const parameters = {
    stages: range(c.features.length).map((s) => [
      stackedParameters(c.perStage[s], inputs(s), c.features[s], c.kernels[s]),
    ]),
  };
  return encoder(
    parameters,
    (p, x) => p.stages.map(([stage], s) => (x = stacked(stage, x, c.kernels[s], c.strides[s]))),
  );
}

function residualEncoder(c: ResolvedUNet): Encoder<ResidualEncoderOf<nn.Parameter>> {
  const one = c.strides[0].map(() => 1);
  const inputs = (s: number): number => c.features[Math.max(0, s - 1)];
  const parameters = {
    stem: stackedParameters(1, c.inputChannels, c.features[0], c.kernels[0]),
    stages: range(c.features.length).map((s) => ({
      blocks: range(c.perStage[s]).map((b) =>
        b === 0
          ? residualParameters(inputs(s), c.features[s], c.kernels[s], c.strides[s])
          : residualParameters(c.features[s], c.features[s], c.kernels[s], one)
      ),
    })),
  };
  return encoder(parameters, (p, input) => {
    let x = stacked(p.stem, input, c.kernels[0], one);
    return p.stages.map(({ blocks }, s) => {
      blocks.forEach((child, b) => (x = residual(child, x, c.kernels[s], b === 0 ? c.strides[s] : one)));
      return x;
    });
  });
}

/**
 * Decoder stage d works at the resolution of encoder stage `at(d)`; heads exist at all of them, as in the published
 * model.
 */
function decoderParameters(c: ResolvedUNet): DecoderOf<nn.Parameter> {
  const stages = range(c.features.length - 1);
  const at = (d: number): number => c.features.length - 2 - d;
  const one = c.strides[0].map(() => 1);
  return {
    stages: stages.map((d) =>
      stackedParameters(c.decoderConvsPerStage[d], 2 * c.features[at(d)], c.features[at(d)], c.kernels[at(d)])
    ),
    transpconvs: stages.map((d) =>
      nn.convTransposeParameters(c.features[at(d) + 1], c.features[at(d)], c.strides[at(d) + 1], { a: SLOPE })
    ),
    seg_layers: stages.map((d) => nn.convParameters(c.features[at(d)], c.classes, one, { a: SLOPE })),
  };
}

function decode(p: DecoderOf<Tensor>, skips: readonly Tensor[], c: ResolvedUNet): Tensor[] {
  const outputs: Tensor[] = [];
  let x = skips.at(-1)!;
  p.stages.forEach((stage, d) => {
    const s = skips.length - 2 - d;
    const up = nn.convTranspose(p.transpconvs[d], x, { stride: c.strides[s + 1] });
    x = stacked(
      stage,
      concat([up, skips[s]], { axis: 1 }),
      c.kernels[s],
      up.shape.slice(2).map(() => 1),
    );
    if (c.deepSupervision || s === 0) outputs.unshift(nn.conv(p.seg_layers[d], x));
  });
  return outputs;
}

function build<C extends UNetConfig, S>(
  name: string,
  config: C,
  stages: "convsPerStage" | "blocksPerStage",
  encoderOf: (c: ResolvedUNet) => Encoder<S>,
): Model<Output<C>, ResolvedUNet, UNetParams<nn.Initialized<S>>> {
  const resolved = resolve(name, config, stages);
  const { parameters, apply: encode } = encoderOf(resolved);
  return {
    config: resolved,
    init: (key) => nn.initialize(key, { encoder: parameters, decoder: decoderParameters(resolved) }),
    apply(params, input) {
      checkInput(name, resolved, input);
      const outputs = decode(params.decoder, encode(params.encoder, input), resolved);
      return (resolved.deepSupervision ? outputs : outputs[0]) as Output<C>;
    },
  };
}

type Output<C extends UNetConfig> = C extends { deepSupervision: true } ? Tensor[]
  : C extends { deepSupervision?: false } ? Tensor
  : Tensor | Tensor[];

/**
 * nnU-Net's PlainConvUNet: stages of convolution, instance norm, leaky ReLU; stride in the first convolution of a
 * stage; transposed convolutions and concatenated skips upwards. Weights use He initialization (slope 0.01), biases
 * start at 0.
 *
 * @example
 * ```ts
 * import { random } from "voxgrad";
 * import { plainConvUNet } from "voxgrad/models";
 *
 * const sizes = { inputChannels: 1, features: [4, 8, 16], kernels: 3, strides: [1, 2, 2], convsPerStage: 1 };
 * const model = plainConvUNet({ ...sizes, classes: 3, deepSupervision: true });
 * const params = model.init(random.key(1));
 * const x = random.normal(random.key(0), { shape: [1, 1, 8, 16, 16] }); // sizes divisible by 4
 * const [finest, coarser] = model.apply(params, x);
 * ```
 */
export const plainConvUNet = <const C extends UNetConfig>(
  config: C,
): Model<Output<C>, ResolvedUNet, PlainConvUNetParams> => build("plainConvUNet", config, "convsPerStage", plainEncoder);

/**
 * nnU-Net's ResidualEncoderUNet (the "ResEnc" presets): a stem, then stages of residual blocks (He et al. 2016, with
 * pooled and projected skips), and the decoder of the plain network. The last norm of every residual block starts at 0.
 *
 * @example
 * ```ts
 * import { random } from "voxgrad";
 * import { residualEncoderUNet } from "voxgrad/models";
 *
 * const sizes = { inputChannels: 1, features: [4, 8, 16], kernels: 3, strides: [1, 2, 2], blocksPerStage: [1, 3, 4] };
 * const model = residualEncoderUNet({ ...sizes, classes: 2, decoderConvsPerStage: 1 });
 * const params = model.init(random.key(1));
 * ```
 */
export const residualEncoderUNet = <const C extends UNetConfig>(
  config: C,
): Model<Output<C>, ResolvedUNet, ResidualEncoderUNetParams> =>
  build("residualEncoderUNet", config, "blocksPerStage", residualEncoder);

const count = (n: number, value: number): number[] => new Array<number>(n).fill(value);
/** Residual blocks of each stage in nnU-Net's ResEnc presets. */
const resEncBlocks = (stages: number): number[] => range(stages).map((s) => [1, 3, 4][s] ?? 6);
const supervision = { deepSupervision: entry(false, "U-Nets: outputs at all scales") };
const shapeOf = ({ features = [32, 64, 128, 256, 320, 320], ...shape }: NetworkShape) => ({ ...shape, features });

registerNetwork("plainConvUNet", {
  build: plainConvUNet,
  plan: {
    deepSupervision: true,
    entries: { convsPerStage: perStage, decoderConvsPerStage: perDecoderStage },
    plan: (stages, convs) => ({
      convsPerStage: count(stages, convs),
      decoderConvsPerStage: count(stages - 1, convs),
    }),
    nnunet: {
      network: "PlainConvUNet",
      entries: { convsPerStage: "n_conv_per_stage", decoderConvsPerStage: "n_conv_per_stage_decoder" },
    },
  },
  summary: {
    options: supervision,
    architecture: (shape, { deepSupervision }) => ({ ...shapeOf(shape), deepSupervision }),
  },
});

registerNetwork("residualEncoderUNet", {
  build: residualEncoderUNet,
  plan: {
    deepSupervision: true,
    entries: { blocksPerStage: perStage, decoderConvsPerStage: perDecoderStage },
    plan: (stages) => ({ blocksPerStage: resEncBlocks(stages), decoderConvsPerStage: count(stages - 1, 1) }),
    nnunet: {
      network: "ResidualEncoderUNet",
      entries: { blocksPerStage: "n_blocks_per_stage", decoderConvsPerStage: "n_conv_per_stage_decoder" },
    },
  },
  summary: {
    options: {
      ...supervision,
      blocks: entry([], "residual blocks of each scale, where a network has them; default by the network", {
        integer: true,
        min: 1,
      }),
    },
    architecture(shape, { deepSupervision, blocks }) {
      const all = shapeOf(shape);
      const given = blocks as readonly number[];
      const blocksPerStage = given.length > 0 ? given : resEncBlocks(all.features.length);
      return { ...all, deepSupervision, blocksPerStage };
    },
  },
});
