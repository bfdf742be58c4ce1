/** Validates the configuration of a ResNet and fills in defaults. */
import { check, checkOptions, show, Tensor } from "../../engine/mod.ts";
export interface ResNetConfig {
  /** One of torchvision's: 18, 34, 50, 101 or 152, instead of `block` and `layers`. */
  readonly depth?: 18 | 34 | 50 | 101 | 152;
  /** Two 3 x 3 convolutions, or a 3 x 3 between two 1 x 1 with four times the channels after it. */
  readonly block?: "basic" | "bottleneck";
  /** Residual blocks of every stage; one to four stages. */
  readonly layers?: readonly number[];
  /** Default 3. */
  readonly inputChannels?: number;
  /** Channels of the first convolution; stage s has 2^s times as many. Default 64. */
  readonly width?: number;
  /**
   * Whether a stage dilates its convolutions instead of a stride of 2; one entry for each stage but the first. Default
   * false. torchvision supports it only for bottlenecks.
   */
  readonly replaceStrideWithDilation?: readonly boolean[];
  /** Whether batch norms have running statistics for evaluation. Default true. */
  readonly runningStatistics?: boolean;
}

/** The configuration with all defaults filled in. */
export interface ResolvedResNet extends Required<Omit<ResNetConfig, "depth">> {
  /** Channels of the output. */
  readonly outputChannels: number;
  /** Downsampling factor from input to output. */
  readonly outputStride: number;
}

const DEPTHS: Readonly<Record<number, Required<Pick<ResNetConfig, "block" | "layers">>>> = {
  18: { block: "basic", layers: [2, 2, 2, 2] },
  34: { block: "basic", layers: [3, 4, 6, 3] },
  50: { block: "bottleneck", layers: [3, 4, 6, 3] },
  101: { block: "bottleneck", layers: [3, 4, 23, 3] },
  152: { block: "bottleneck", layers: [3, 8, 36, 3] },
};

const KEYS = ["depth", "block", "layers", "inputChannels", "width", "replaceStrideWithDilation", "runningStatistics"];

const isWhole = (n: unknown): boolean => Number.isInteger(n) && (n as number) >= 1;

/** Checks a configuration and fills in its defaults. */
export function resolveResNet(config: ResNetConfig): ResolvedResNet {
  checkOptions("resNet", config, KEYS);
  const { depth, inputChannels = 3, width = 64, runningStatistics = true } = config;
  const stated = [config.block, config.layers].filter((value) => value !== undefined).length;
  check(
    stated === (depth === undefined ? 2 : 0),
    "resNet",
    () => `the configuration has either depth or both block and layers, got ${show(config)}`,
  );
  check(
    depth === undefined || DEPTHS[depth] !== undefined,
    "resNet",
    () => `depth is one of ${Object.keys(DEPTHS).join(", ")}, got ${show(depth)}; other ones take block and layers`,
  );
  const { block, layers } = depth === undefined ? (config as (typeof DEPTHS)[0]) : DEPTHS[depth];
  check(
    block === "basic" || block === "bottleneck",
    "resNet",
    () => `block is "basic" or "bottleneck", got ${show(block)}`,
  );
  check(
    Array.isArray(layers) && layers.length >= 1 && layers.length <= 4 && layers.every(isWhole),
    "resNet",
    () => `layers lists the blocks, 1 or more, of one to four stages, got ${show(layers)}`,
  );
  check(isWhole(inputChannels), "resNet", () => `inputChannels is an integer >= 1, got ${show(inputChannels)}`);
  check(isWhole(width), "resNet", () => `width is an integer >= 1, got ${show(width)}`);
  check(
    typeof runningStatistics === "boolean",
    "resNet",
    () => `runningStatistics is true or false, got ${show(runningStatistics)}`,
  );
  const { replaceStrideWithDilation = layers.slice(1).map(() => false) } = config;
  check(
    Array.isArray(replaceStrideWithDilation) &&
      replaceStrideWithDilation.length === layers.length - 1 &&
      replaceStrideWithDilation.every((value) => typeof value === "boolean"),
    "resNet",
    () =>
      `replaceStrideWithDilation has true or false for each of the ${layers.length - 1} stages after the first, ` +
      `got ${show(replaceStrideWithDilation)}`,
  );
  return {
    block,
    layers: [...layers],
    inputChannels,
    width,
    replaceStrideWithDilation: [...replaceStrideWithDilation],
    runningStatistics,
    outputChannels: width * 2 ** (layers.length - 1) * (block === "bottleneck" ? 4 : 1),
    outputStride: 4 * 2 ** replaceStrideWithDilation.filter((dilated) => !dilated).length,
  };
}

/** Rejects an input of another shape, and in training one too small for batch statistics. */
export function checkResNetInput(c: ResolvedResNet, input: unknown, train: boolean): asserts input is Tensor {
  const shape = input instanceof Tensor ? [...input.shape] : [];
  check(
    input instanceof Tensor && shape.length === 4 && shape[1] === c.inputChannels && input.size > 0,
    "resNet",
    () => `the input is [N, ${c.inputChannels}, height, width], got ${show(input)}`,
  );
  const left = shape.slice(2).reduce((count, n) => count * Math.ceil(n / c.outputStride), shape[0]);
  check(
    !train || left > 1,
    "resNet",
    () =>
      `of the input ${show(shape)} one pixel is left at an output stride of ${c.outputStride}, which has no variance ` +
      `over the batch; use more images, larger ones, or running statistics (train: false)`,
  );
}
