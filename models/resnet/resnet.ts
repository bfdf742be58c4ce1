/**
 * Residual networks (He et al., "Deep residual learning for image recognition", 2016) as encoders of 2-D images.
 * Parameter paths are the names of torchvision's state dicts, whose weights they take.
 */
import { batchNorm, conv2d, maxPool2d, random, relu, type Tensor, type Tree, tree } from "../../engine/mod.ts";
import * as nn from "../../engine/nn/mod.ts";
import { checkResNetInput, type ResNetConfig, type ResolvedResNet, resolveResNet } from "./config.ts";
import { backboneOf } from "./load.ts";
import type { Model } from "../known_networks.ts";

export type { ResNetConfig, ResolvedResNet } from "./config.ts";

/** Running statistics by state-dict name. */
export type Statistics = Record<string, Tensor>;

/** A model whose batch norms keep running statistics. */
export interface StatisticsModel<Config, P> extends Model<Tensor, Config, P> {
  /**
   * `apply` in training mode, which also returns the updated running statistics: `1 - momentum` of the old ones plus
   * `momentum` (default 0.1) of the batch's, with unbiased running variance as in PyTorch. No gradient flows through
   * them.
   *
   * @example
   * ```ts
   * import { random, valueAndGrad } from "voxgrad";
   * import { resNet, withStatistics } from "voxgrad/models";
   * import { sgd } from "voxgrad/nn";
   *
   * const model = resNet({ block: "basic", layers: [1, 1], width: 8, inputChannels: 1 });
   * const x = random.normal(random.key(0), { shape: [2, 1, 32, 32] });
   * let params = model.init(random.key(1));
   * const [[loss, statistics], grads] = valueAndGrad((p: typeof params) => {
   *   const { output, statistics } = model.applyTraining(p, x);
   *   return [output.square().mean(), statistics];
   * }, { hasAux: true })(params);
   * params = withStatistics(sgd().update(grads, sgd().init(params), params, 0.1)[0], statistics);
   * ```
   */
  applyTraining(
    params: P,
    input: Tensor,
    options?: { momentum?: number },
  ): { output: Tensor; statistics: Statistics };
  /**
   * Parameters from a state dict of torchvision, or of a larger model that contains such a network, such as DeepLabV3
   * ("backbone."); heads are ignored. An encoder with one input channel sums the first kernels of a three-channel file,
   * which is equivalent to repeating the image.
   *
   * @throws VoxgradError if the file contains no such network; SafetensorsError that lists missing, unexpected and
   *   misshapen tensors by name
   * @example
   * ```ts
   * import { readSafetensors } from "voxgrad";
   * import { resNet } from "voxgrad/models";
   *
   * const model = resNet({ depth: 101, replaceStrideWithDilation: [false, true, true] });
   * const params = model.load((await readSafetensors("deeplabv3_resnet101.safetensors")).tensors);
   * ```
   */
  load(tensors: ReadonlyMap<string, Tensor>): P;
}

type Conv<T> = { readonly weight: T };
type BatchNorm<T> = nn.BatchNormParameters<T>;
type BlockOf<T> = {
  readonly [conv: `conv${number}`]: Conv<T>;
  readonly [norm: `bn${number}`]: BatchNorm<T>;
  readonly downsample?: readonly [Conv<T>, BatchNorm<T>];
};
type ResNetOf<T> = {
  readonly conv1: Conv<T>;
  readonly bn1: BatchNorm<T>;
  readonly [stage: `layer${number}`]: readonly BlockOf<T>[];
};

/** Parameters by the names of torchvision's state dicts. */
export type ResNetParams = ResNetOf<Tensor>;

export type ResNet = StatisticsModel<ResolvedResNet, ResNetParams>;

/** He initialization (fan out), as in torchvision. */
const convParameters = (inputs: number, outputs: number, kernel: number): Conv<nn.Parameter> => ({
  weight: new nn.Parameter(
    [outputs, inputs, kernel, kernel],
    (key, shape) => random.normal(key, { shape, std: Math.sqrt(2 / (outputs * kernel * kernel)) }),
  ),
});

const normParameters = ({ runningStatistics }: ResolvedResNet, channels: number): BatchNorm<nn.Parameter> =>
  nn.batchNormParameters(channels, { runningStatistics });

/** One residual block: its name, and the settings of its 3 x 3 convolutions. */
interface Block {
  readonly name: string;
  readonly inputs: number;
  /** Channels of the 3 x 3 convolutions. */
  readonly planes: number;
  readonly outputs: number;
  readonly stride: number;
  readonly dilation: number;
}

/**
 * Blocks of every stage. A dilated stage's first block still has the dilation of the stage before, as in torchvision.
 */
function stagesOf(c: ResolvedResNet): Block[][] {
  const expansion = c.block === "bottleneck" ? 4 : 1;
  let [inputs, dilation] = [c.width, 1];
  return c.layers.map((count, s) => {
    const planes = c.width * 2 ** s;
    const before = dilation;
    const dilated = s > 0 && c.replaceStrideWithDilation[s - 1];
    if (dilated) dilation *= 2;
    return Array.from({ length: count }, (_, k) => {
      const first = k === 0;
      const block = {
        name: `layer${s + 1}.${k}`,
        inputs,
        planes,
        outputs: planes * expansion,
        stride: first && s > 0 && !dilated ? 2 : 1,
        dilation: first ? before : dilation,
      };
      inputs = block.outputs;
      return block;
    });
  });
}

const projects = ({ inputs, outputs, stride }: Block): boolean => stride !== 1 || inputs !== outputs;

function blockParameters(c: ResolvedResNet, block: Block): BlockOf<nn.Parameter> {
  const { inputs, planes, outputs } = block;
  const kernels = c.block === "bottleneck" ? [1, 3, 1] : [3, 3];
  const layers = kernels.map((kernel, k) => {
    const [from, to] = [k === 0 ? inputs : planes, k === kernels.length - 1 ? outputs : planes];
    return { [`conv${k + 1}`]: convParameters(from, to, kernel), [`bn${k + 1}`]: normParameters(c, to) };
  });
  const downsample = projects(block)
    ? { downsample: [convParameters(inputs, outputs, 1), normParameters(c, outputs)] }
    : {};
  return Object.assign({}, ...layers, downsample);
}

/** Batch norm with the parameters at a path of the tree. */
type Norm = (p: BatchNorm<Tensor>, x: Tensor, name: string) => Tensor;

const byBatch: Norm = ({ weight, bias }, x) => batchNorm(x, { weight, bias });

const byRunning: Norm = (p, x) => nn.runningBatchNorm(p, x).output;

/** Batch norm that stores the updated running statistics in `statistics`. */
const recording = (statistics: Statistics, momentum: number): Norm => (p, x, name) => {
  const { output, statistics: own } = nn.runningBatchNorm(p, x, { train: true, momentum });
  for (const [key, value] of Object.entries(own)) statistics[`${name}.${key}`] = value;
  return output;
};

function residual(c: ResolvedResNet, block: Block, p: BlockOf<Tensor>, x: Tensor, norm: Norm): Tensor {
  const { name, stride, dilation } = block;
  const conv = (k: number, y: Tensor): Tensor => {
    const { weight } = p[`conv${k}`];
    const wide = weight.shape[2] > 1;
    // The stride is on the first 3 x 3 convolution.
    const strided = k === (c.block === "bottleneck" ? 2 : 1) ? stride : 1;
    const y1 = conv2d(y, weight, { stride: strided, ...(wide ? { padding: dilation, dilation } : {}) });
    return norm(p[`bn${k}`], y1, `${name}.bn${k}`);
  };
  const last = c.block === "bottleneck" ? 3 : 2;
  let y = x;
  for (let k = 1; k <= last; k++) y = k < last ? relu(conv(k, y)) : conv(k, y);
  const projected = p.downsample && conv2d(x, p.downsample[0].weight, { stride });
  const skip = projected ? norm(p.downsample[1], projected, `${name}.downsample.1`) : x;
  return relu(y.add(skip));
}

/**
 * Parameters with other running statistics.
 *
 * @param statistics from `applyTraining`
 * @example
 * ```ts
 * import { random } from "voxgrad";
 * import { resNet, withStatistics } from "voxgrad/models";
 *
 * const model = resNet({ block: "basic", layers: [1, 1], width: 8, inputChannels: 1 });
 * const params = model.init(random.key(1));
 * const x = random.normal(random.key(0), { shape: [2, 1, 32, 32] });
 * const updated = withStatistics(params, model.applyTraining(params, x).statistics);
 * ```
 */
export const withStatistics = <P>(params: P, statistics: Statistics): P =>
  tree.map(params as Tree, (leaf, path) => statistics[path] ?? leaf) as P;

/**
 * torchvision's ResNet without its classifier: a 7 x 7 convolution with stride 2, max pooling with stride 2, and stages
 * of residual blocks. `replaceStrideWithDilation: [false, true, true]` gives an output stride of 8, as in DeepLabV3.
 * With `train` batch norms use batch statistics, else the running ones; with `runningStatistics: false` always batch
 * statistics.
 *
 * @throws VoxgradError for an invalid configuration or input
 * @example
 * ```ts
 * import { random } from "voxgrad";
 * import { resNet } from "voxgrad/models";
 *
 * const published = resNet({ depth: 101, replaceStrideWithDilation: [false, true, true] });
 * const small = resNet({ block: "basic", layers: [1, 1, 1], width: 8, inputChannels: 1 });
 * const x = random.normal(random.key(0), { shape: [1, 1, 64, 64] });
 * const features = small.apply(small.init(random.key(1)), x); // [1, 32, 4, 4]
 * ```
 */
export function resNet(config: ResNetConfig): ResNet {
  const c = resolveResNet(config);
  const stages = stagesOf(c);
  const parameters = {
    conv1: convParameters(c.inputChannels, c.width, 7),
    bn1: normParameters(c, c.width),
    ...Object.fromEntries(
      stages.map((blocks, s) => [`layer${s + 1}`, blocks.map((block) => blockParameters(c, block))]),
    ),
  };

  function run(params: ResNetParams, input: Tensor, norm: Norm, train: boolean): Tensor {
    checkResNetInput(c, input, train);
    const stem = relu(norm(params.bn1, conv2d(input, params.conv1.weight, { stride: 2, padding: 3 }), "bn1"));
    const pooled = maxPool2d(stem, { kernel: 3, stride: 2, padding: 1 });
    return stages.reduce(
      (x, blocks, s) => blocks.reduce((y, block, k) => residual(c, block, params[`layer${s + 1}`][k], y, norm), x),
      pooled,
    );
  }

  const model: ResNet = {
    config: c,
    init: (key) => nn.initialize(key, parameters),
    apply(params, input, { train = false } = {}) {
      const byBatches = train || !c.runningStatistics;
      return run(params, input, byBatches ? byBatch : byRunning, byBatches);
    },
    applyTraining(params, input, { momentum = 0.1 } = {}) {
      if (!c.runningStatistics) return { output: run(params, input, byBatch, true), statistics: {} };
      const statistics: Statistics = {};
      const output = run(params, input, recording(statistics, momentum), true);
      return { output, statistics };
    },
    load: (tensors) => backboneOf(model.init(random.key(0)), tensors),
  };
  return model;
}
