/** Batch norm with running statistics. */
import { check, checkFlag, checkOptions, show } from "../core/errors.ts";
import { Tensor } from "../core/tensor.ts";
import { add, cast, mul, rsqrt, sub } from "../ops/elementwise/elementwise.ts";
import { batchNorm } from "../ops/reduce/norm.ts";
import { mean, variance } from "../ops/reduce/reduce.ts";
import { reshape, stopGradient } from "../ops/shape/reshape.ts";
import { onesParameter, type Parameter, zerosParameter } from "./init.ts";

/** Running mean and variance of each channel, by PyTorch's names. */
export interface BatchStatistics<T = Tensor> {
  readonly running_mean: T;
  readonly running_var: T;
}

/** Parameters of a batch norm; without running statistics it always takes the batch's. */
export interface BatchNormParameters<T = Tensor> extends Partial<BatchStatistics<T>> {
  readonly weight: T;
  readonly bias: T;
}

/**
 * Parameters of a batch norm: weight 1, bias 0, running mean 0 and variance 1, each [channels].
 *
 * @param options.runningStatistics default: true
 * @example
 * ```ts
 * import { random } from "voxgrad";
 * import { batchNormParameters, initialize } from "voxgrad/nn";
 *
 * const params = initialize(random.key(1), batchNormParameters(8));
 * params.running_var!.shape; // [8]
 * ```
 */
export function batchNormParameters(
  channels: number,
  options: { runningStatistics?: boolean } = {},
): BatchNormParameters<Parameter> {
  checkOptions("batchNormParameters", options, ["runningStatistics"]);
  checkFlag("batchNormParameters", "runningStatistics", options.runningStatistics);
  const affine = { weight: onesParameter([channels]), bias: zerosParameter([channels]) };
  if (options.runningStatistics === false) return affine;
  return { ...affine, running_mean: zerosParameter([channels]), running_var: onesParameter([channels]) };
}

export interface RunningBatchNormOptions {
  /** Normalize by the batch and update the running statistics; default: false, by the running statistics. */
  train?: boolean;
  /** Share of the batch in the new running statistics; default: 0.1. */
  momentum?: number;
  /** Default: 1e-5. */
  eps?: number;
}

/**
 * Batch norm, Ioffe and Szegedy 2015, of x [N, C, ...space] as torch.nn.BatchNorm: in training by mean and variance of
 * the batch, and otherwise by the running ones. Functions change nothing in place, so the new running statistics are
 * returned: a training step puts them into the parameters that it returns, `{ ...params, ...statistics }`, and no
 * gradient flows through them.
 *
 * @returns output, like x; statistics, the new ones in training, else those of the parameters
 * @example
 * ```ts
 * import { random } from "voxgrad";
 * import { batchNormParameters, initialize, runningBatchNorm } from "voxgrad/nn";
 *
 * const params = initialize(random.key(1), batchNormParameters(3));
 * const x = random.normal(random.key(2), { shape: [4, 3, 8, 8] });
 * const { output, statistics } = runningBatchNorm(params, x, { train: true });
 * const next = { ...params, ...statistics };
 * ```
 */
export function runningBatchNorm(
  params: BatchNormParameters,
  x: Tensor,
  options: RunningBatchNormOptions = {},
): { output: Tensor; statistics: Partial<BatchStatistics> } {
  const name = "runningBatchNorm";
  checkOptions(name, options, ["train", "momentum", "eps"]);
  checkFlag(name, "train", options.train);
  const { train = false, momentum = 0.1, eps = 1e-5 } = options;
  check(
    momentum >= 0 && momentum <= 1,
    name,
    () => `momentum is in [0, 1], got ${show(momentum)}`,
  );
  check(
    x instanceof Tensor && x.rank >= 2 && x.shape[1] === params.weight.size,
    name,
    () => `the input is [N, ${params.weight.size}, ...space], got ${show(x)}`,
  );
  const { weight, bias, running_mean, running_var } = params;
  if (running_mean === undefined || running_var === undefined) {
    return { output: batchNorm(x, { weight, bias, eps }), statistics: {} };
  }
  if (!train) {
    const channels = (t: Tensor): Tensor => reshape(t, { shape: x.shape.map((n, k) => (k === 1 ? n : 1)) });
    const scale = mul(channels(weight), rsqrt(add(channels(running_var), eps)));
    const output = add(mul(sub(x, channels(running_mean)), scale), channels(bias));
    return { output, statistics: { running_mean, running_var } };
  }
  const own = stopGradient(cast(x, "f32"));
  const over = { axes: x.shape.map((_, k) => k).filter((k) => k !== 1) };
  const join = (before: Tensor, now: Tensor): Tensor =>
    add(mul(stopGradient(before), 1 - momentum), mul(now, momentum));
  return {
    output: batchNorm(x, { weight, bias, eps }),
    statistics: {
      running_mean: join(running_mean, mean(own, over)),
      // unbiased, as in PyTorch
      running_var: join(running_var, variance(own, over)),
    },
  };
}
