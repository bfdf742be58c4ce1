/**
 * Layers as functions of their parameters: `layer(params, x, options)`, with PyTorch's names in the parameter trees.
 */
import { check, checkFlag, checkOptions, refuseOptions, show } from "../core/errors.ts";
import { Tensor } from "../core/tensor.ts";
import { conv2d, conv3d, convTranspose2d, convTranspose3d } from "../ops/linear/conv.ts";
import type { ConvOptions, ConvTransposeOptions } from "../ops/linear/conv.ts";
import { div, mul, sub, where } from "../ops/elementwise/elementwise.ts";
import { groupNorm, instanceNorm } from "../ops/reduce/norm.ts";
import * as random from "../ops/random/draws.ts";
import { mean } from "../ops/reduce/reduce.ts";
import { reshape } from "../ops/shape/reshape.ts";
import { slice } from "../ops/shape/slice.ts";
import { heParameter, onesParameter, type Parameter, zerosParameter } from "./init.ts";

/** Parameters of a convolution or an affine norm. */
export type Affine<T = Tensor> = { readonly weight: T; readonly bias?: T };

export interface ConvParameterOptions {
  /** Default: true. */
  bias?: boolean;
  /** Slope of the leaky ReLU that follows, for He initialization; default: 0.01, as nnU-Net. */
  a?: number;
}

/**
 * Parameters of a convolution: weight [outputs, inputs, ...kernel] with He normal initialization, bias 0.
 *
 * @example
 * ```ts
 * import { random } from "voxgrad";
 * import { convParameters, initialize } from "voxgrad/nn";
 *
 * const params = initialize(random.key(1), convParameters(1, 8, [3, 3, 3]));
 * params.weight.shape; // [8, 1, 3, 3, 3]
 * ```
 */
export function convParameters(
  inputs: number,
  outputs: number,
  kernel: readonly number[],
  options: ConvParameterOptions = {},
): Affine<Parameter> {
  checkOptions("convParameters", options, ["bias", "a"]);
  const weight = heParameter([outputs, inputs, ...kernel], options.a ?? 0.01);
  return options.bias === false ? { weight } : { weight, bias: zerosParameter([outputs]) };
}

/**
 * Parameters of a transposed convolution: weight [inputs, outputs, ...kernel] with He normal initialization, bias 0.
 *
 * @example
 * ```ts
 * import { random } from "voxgrad";
 * import { convTransposeParameters, initialize } from "voxgrad/nn";
 *
 * const params = initialize(random.key(1), convTransposeParameters(8, 4, [2, 2, 2]));
 * params.weight.shape; // [8, 4, 2, 2, 2]
 * ```
 */
export function convTransposeParameters(
  inputs: number,
  outputs: number,
  kernel: readonly number[],
  options: ConvParameterOptions = {},
): Affine<Parameter> {
  checkOptions("convTransposeParameters", options, ["bias", "a"]);
  const weight = heParameter([inputs, outputs, ...kernel], options.a ?? 0.01);
  return options.bias === false ? { weight } : { weight, bias: zerosParameter([outputs]) };
}

/**
 * Parameters of an affine norm: weight 1 (or 0, so that a residual branch starts as zero), bias 0.
 *
 * @example
 * ```ts
 * import { random } from "voxgrad";
 * import { initialize, normParameters } from "voxgrad/nn";
 *
 * const params = initialize(random.key(1), normParameters(2));
 * await params.weight.array(); // [1, 1]
 * ```
 */
export function normParameters(channels: number, options: { zero?: boolean } = {}): Required<Affine<Parameter>> {
  checkOptions("normParameters", options, ["zero"]);
  checkFlag("normParameters", "zero", options.zero);
  return {
    weight: options.zero ? zerosParameter([channels]) : onesParameter([channels]),
    bias: zerosParameter([channels]),
  };
}

/**
 * 2D or 3D convolution of x [N, C, ...space].
 *
 * @example
 * ```ts
 * import { random } from "voxgrad";
 * import { conv, convParameters, initialize } from "voxgrad/nn";
 *
 * const params = initialize(random.key(1), convParameters(1, 8, [3, 3, 3]));
 * const x = random.normal(random.key(2), { shape: [1, 1, 4, 16, 16] });
 * const y = conv(params, x, { stride: [1, 2, 2], padding: 1 }); // [1, 8, 4, 8, 8]
 * ```
 */
export function conv(params: Affine, x: Tensor, options: Omit<ConvOptions, "bias"> = {}): Tensor {
  const dims = spaceOf("conv", x);
  // `bias` is no option here because it comes from the parameters.
  checkOptions("conv", options, ["stride", "padding", "dilation", "groups"]);
  return (dims === 2 ? conv2d : conv3d)(x, params.weight, params.bias ? { ...options, bias: params.bias } : options);
}

/**
 * 2D or 3D transposed convolution of x [N, C, ...space].
 *
 * @example
 * ```ts
 * import { random } from "voxgrad";
 * import { convTranspose, convTransposeParameters, initialize } from "voxgrad/nn";
 *
 * const params = initialize(random.key(1), convTransposeParameters(8, 4, [2, 2, 2]));
 * const x = random.normal(random.key(2), { shape: [1, 8, 4, 8, 8] });
 * const y = convTranspose(params, x, { stride: 2 }); // [1, 4, 8, 16, 16]
 * ```
 */
export function convTranspose(params: Affine, x: Tensor, options: Omit<ConvTransposeOptions, "bias"> = {}): Tensor {
  const dims = spaceOf("convTranspose", x);
  checkOptions("convTranspose", options, ["stride", "padding", "outputPadding", "dilation"]);
  return (dims === 2 ? convTranspose2d : convTranspose3d)(
    x,
    params.weight,
    params.bias ? { ...options, bias: params.bias } : options,
  );
}

/**
 * Normalizes x [N, C, ...space] over space (instance norm), or over groups of channels with `groups`; then applies
 * weight and bias.
 *
 * @example
 * ```ts
 * import { ones, random, zeros } from "voxgrad";
 * import { norm } from "voxgrad/nn";
 *
 * const x = random.normal(random.key(0), { shape: [1, 8, 4, 8, 8] });
 * const y = norm({ weight: ones([8]), bias: zeros([8]) }, x, { groups: 4 });
 * ```
 */
export function norm(params: Affine, x: Tensor, options: { groups?: number; eps?: number } = {}): Tensor {
  checkOptions("norm", options, ["groups", "eps"]);
  const { groups, eps = 1e-5 } = options;
  const affine = params.bias ? { weight: params.weight, bias: params.bias, eps } : { weight: params.weight, eps };
  return groups === undefined ? instanceNorm(x, affine) : groupNorm(x, { ...affine, groups });
}

/**
 * Mean over non-overlapping blocks of `kernel` voxels: torch.nn.AvgPool with stride = kernel. A remainder at the end
 * of an axis is dropped.
 *
 * @param kernel one number per spatial axis
 * @example
 * ```ts
 * import { random } from "voxgrad";
 * import { averagePool } from "voxgrad/nn";
 *
 * const x = random.normal(random.key(0), { shape: [1, 8, 4, 16, 16] });
 * const y = averagePool(x, [1, 2, 2]); // [1, 8, 4, 8, 8]
 * ```
 */
export function averagePool(x: Tensor, kernel: readonly number[], ...rest: never[]): Tensor {
  refuseOptions("averagePool", rest);
  const dims = spaceOf("averagePool", x);
  const space = x.shape.slice(2);
  check(
    Array.isArray(kernel) &&
      kernel.length === dims &&
      kernel.every((k, j) => Number.isInteger(k) && k >= 1 && k <= space[j]),
    "averagePool",
    () => `the kernel has ${dims} integers from 1 to the size of their axis in ${show(x.shape)}, got ${show(kernel)}`,
  );
  if (kernel.every((k) => k === 1)) return x;
  const lead = x.shape.slice(0, 2);
  const blocks = space.map((n, j) => Math.floor(n / kernel[j]));
  const whole = slice(x, { end: [...lead, ...blocks.map((n, j) => n * kernel[j])] });
  const split = reshape(whole, { shape: [...lead, ...blocks.flatMap((n, j) => [n, kernel[j]])] });
  return mean(split, { axes: blocks.map((_, j) => 3 + 2 * j) });
}

/**
 * Zeroes elements with probability p and scales the rest by 1 / (1 - p), which preserves the mean. Without a key,
 * returns x itself, as needed for evaluation.
 *
 * @param options.channels drop whole channels of [N, C, ...], as torch.nn.Dropout2d and Dropout3d
 * @example
 * ```ts
 * import { ones, random } from "voxgrad";
 * import { dropout } from "voxgrad/nn";
 *
 * const y = dropout(ones([4, 4]), { p: 0.5, key: random.key(1) }); // [4, 4]: of 0 and 2
 * const same = dropout(ones([4, 4]), { p: 0.5 }); // [4, 4]: of 1
 * ```
 */
export function dropout(
  x: Tensor,
  options: { p: number | Tensor; key?: Tensor | undefined; channels?: boolean },
): Tensor {
  checkOptions("dropout", options, ["p", "key", "channels"]);
  const { p, key, channels = false } = options;
  check(
    p instanceof Tensor ? p.size === 1 : typeof p === "number" && p >= 0 && p < 1,
    "dropout",
    () => `p is in [0, 1) or a scalar tensor, got ${show(p)}`,
  );
  checkFlag("dropout", "channels", options.channels);
  if (key === undefined || p === 0) return x;
  const shape = channels ? x.shape.map((n, k) => (k < 2 ? n : 1)) : x.shape;
  const keep = p instanceof Tensor ? sub(1, reshape(p, { shape: [] })) : 1 - p;
  return where(random.bernoulli(key, { shape, p: keep }), mul(x, keep instanceof Tensor ? div(1, keep) : 1 / keep), 0);
}

function spaceOf(name: string, x: Tensor): 2 | 3 {
  check(x.rank === 4 || x.rank === 5, name, () => `the input is [N, C, H, W] or [N, C, D, H, W], got ${show(x.shape)}`);
  return (x.rank - 2) as 2 | 3;
}
