/** Channels for space and space for channels: pixelShuffle, its inverse, and windows as columns. */
import { check, checkOptions, show } from "../../core/errors.ts";
import { checkShape, perAxis, size } from "../../core/shape.ts";
import { checkTensor, type Tensor } from "../../core/tensor.ts";
import { stack } from "./concat.ts";
import { pad } from "./pad.ts";
import { reshape } from "./reshape.ts";
import { slice } from "./slice.ts";
import { transpose } from "./transpose.ts";

function checkFactor(name: string, x: Tensor, options: { factor: number }): number {
  checkTensor(name, x);
  checkOptions(name, options, ["factor"]);
  check(x.rank >= 3, name, () => `the input is [N, C, ...space], got ${show(x.shape)}`);
  const { factor } = options;
  check(Number.isInteger(factor) && factor >= 1, name, () => `factor is an integer >= 1, got ${show(factor)}`);
  return factor;
}

/**
 * Rearranges x [N, C r^d, ...space] to [N, C, ...r space] for d axes of space, as torch.nn.PixelShuffle with two: what
 * a convolution computes for each voxel becomes a block of r^d voxels, Shi et al. 2016.
 *
 * @param options.factor r
 * @example
 * ```ts
 * import { pixelShuffle, random } from "voxgrad";
 *
 * const x = random.normal(random.key(0), { shape: [1, 8, 4, 4] });
 * const y = pixelShuffle(x, { factor: 2 }); // [1, 2, 8, 8]
 * ```
 */
export function pixelShuffle(x: Tensor, options: { factor: number }): Tensor {
  const factor = checkFactor("pixelShuffle", x, options);
  const [n, channels, ...space] = x.shape as [number, number, ...number[]];
  const each = factor ** space.length;
  check(
    channels % each === 0,
    "pixelShuffle",
    () => `the channels are a multiple of ${factor}^${space.length} = ${each}, got ${show(x.shape)}`,
  );
  const apart = reshape(x, { shape: [n, channels / each, ...space.map(() => factor), ...space] });
  const d = space.length;
  const woven = transpose(apart, { axes: [0, 1, ...space.flatMap((_, k) => [2 + d + k, 2 + k])] });
  return reshape(woven, { shape: [n, channels / each, ...space.map((m) => m * factor)] });
}

/**
 * The inverse of pixelShuffle: x [N, C, ...r space] to [N, C r^d, ...space], as torch.nn.PixelUnshuffle with two axes
 * of space.
 *
 * @param options.factor r
 * @example
 * ```ts
 * import { pixelUnshuffle, random } from "voxgrad";
 *
 * const x = random.normal(random.key(0), { shape: [1, 2, 8, 8] });
 * const y = pixelUnshuffle(x, { factor: 2 }); // [1, 8, 4, 4]
 * ```
 */
export function pixelUnshuffle(x: Tensor, options: { factor: number }): Tensor {
  const factor = checkFactor("pixelUnshuffle", x, options);
  const [n, channels, ...space] = x.shape as [number, number, ...number[]];
  check(
    space.every((m) => m % factor === 0),
    "pixelUnshuffle",
    () => `space is a multiple of the factor ${factor}, got ${show(x.shape)}`,
  );
  const d = space.length;
  const apart = reshape(x, { shape: [n, channels, ...space.flatMap((m) => [m / factor, factor])] });
  const sorted = transpose(apart, {
    axes: [0, 1, ...space.map((_, k) => 3 + 2 * k), ...space.map((_, k) => 2 + 2 * k)],
  });
  return reshape(sorted, { shape: [n, channels * factor ** d, ...space.map((m) => m / factor)] });
}

export interface UnfoldOptions {
  /** Window size: one number for all axes of space, or one per axis. */
  kernel: number | readonly number[];
  /** Distance between windows; default: 1. */
  stride?: number | readonly number[];
  /** Zeros on both sides; default: 0. */
  padding?: number | readonly number[];
  /** Distance between the voxels of a window; default: 1. */
  dilation?: number | readonly number[];
}

/**
 * The windows of x [N, C, ...space] as columns [N, C K, L] for K voxels of a window and L windows, as
 * torch.nn.functional.unfold: a convolution is a product with them.
 *
 * @example
 * ```ts
 * import { random, unfold } from "voxgrad";
 *
 * const x = random.normal(random.key(0), { shape: [1, 3, 8, 8] });
 * const columns = unfold(x, { kernel: 3, padding: 1 }); // [1, 27, 64]
 * ```
 */
export function unfold(x: Tensor, options: UnfoldOptions): Tensor {
  checkTensor("unfold", x);
  checkOptions("unfold", options, ["kernel", "stride", "padding", "dilation"]);
  check(x.rank >= 3 && x.size > 0, "unfold", () => `the input is [N, C, ...space] and not empty, got ${show(x.shape)}`);
  const dims = x.rank - 2;
  const kernel = perAxis("unfold", "kernel", options.kernel, dims, 1);
  const stride = perAxis("unfold", "stride", options.stride ?? 1, dims, 1);
  const padding = perAxis("unfold", "padding", options.padding ?? 0, dims, 0);
  const dilation = perAxis("unfold", "dilation", options.dilation ?? 1, dims, 1);
  const around = [0, 0, ...padding];
  const padded = padding.some((n) => n > 0) ? pad(x, { before: around, after: around }) : x;
  const output = padded.shape.slice(2).map((n, k) =>
    Math.floor((n - dilation[k] * (kernel[k] - 1) - 1) / stride[k]) + 1
  );
  check(
    output.every((n) => n > 0),
    "unfold",
    () => `kernel ${show(kernel)} with dilation ${show(dilation)} does not fit the padded input ${show(padded.shape)}`,
  );
  const shape = [x.shape[0], x.shape[1] * size(kernel), size(output)];
  checkShape("unfold", shape);
  const offsets = kernel.reduce<number[][]>(
    (list, n) => list.flatMap((offset) => Array.from({ length: n }, (_, k) => [...offset, k])),
    [[]],
  );
  const parts = offsets.map((offset) => {
    const start = offset.map((k, axis) => k * dilation[axis]);
    return slice(padded, {
      start: [0, 0, ...start],
      end: [...x.shape.slice(0, 2), ...start.map((s, axis) => s + (output[axis] - 1) * stride[axis] + 1)],
      step: [1, 1, ...stride],
    });
  });
  return reshape(stack(parts, { axis: 2 }), { shape });
}
