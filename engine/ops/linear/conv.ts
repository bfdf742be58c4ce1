/** Convolution and transposed convolution of one, two and three dimensions. */
import { isFloat } from "../../core/dtype.ts";
import { check, checkOptions, fail, show } from "../../core/errors.ts";
import { checkShape, perAxis, type Shape } from "../../core/shape.ts";
import { Tensor } from "../../core/tensor.ts";
import { forward, inputGrad } from "./conv_ops.ts";
import type { ConvAttrs, Triple } from "./conv_split.ts";
import { unifyFloatTypes } from "../promote_f16.ts";
import { pad } from "../shape/pad.ts";
import { reshape } from "../shape/reshape.ts";

export interface ConvOptions {
  bias?: Tensor;
  /** One number for all axes, or one per axis. */
  stride?: number | readonly number[];
  /** On both sides. "same" (of convolutions with stride 1): the output has the size of the input. */
  padding?: number | readonly number[] | "same";
  dilation?: number | readonly number[];
  groups?: number;
}

/** 1D and 2D are 3D with depth 1, 1D with height 1 too. */
const raise = (x: Tensor, dims: number): Tensor =>
  dims === 3 ? x : reshape(x, { shape: [x.shape[0], x.shape[1], ...triple(x.shape.slice(2), 1)] });
const lower = (x: Tensor, dims: number): Tensor =>
  dims === 3 ? x : reshape(x, { shape: [x.shape[0], x.shape[1], ...x.shape.slice(5 - dims)] });
const triple = (list: readonly number[], fill: number): Triple =>
  [...new Array(3 - list.length).fill(fill), ...list] as unknown as Triple;

function checkOperands(name: string, dims: number, x: unknown, w: unknown): void {
  for (
    const [label, t] of [
      ["input", x],
      ["weight", w],
    ] as const
  ) {
    check(
      t instanceof Tensor && t.rank === dims + 2 && isFloat(t.dtype),
      name,
      () => `the ${label} is an f32 tensor of rank ${dims + 2}, got ${t instanceof Tensor ? `${t}` : show(t)}`,
    );
  }
}

function checkBias(name: string, bias: Tensor | undefined, channels: number): Tensor | null {
  check(
    bias === undefined ||
      (bias instanceof Tensor && isFloat(bias.dtype) && bias.rank === 1 && bias.shape[0] === channels),
    name,
    () => `bias has shape [${channels}], got ${bias instanceof Tensor ? show(bias.shape) : show(bias)}`,
  );
  return bias ?? null;
}

function geometry(
  name: string,
  dims: number,
  options: ConvOptions,
): { stride: number[]; padding: number[]; dilation: number[]; groups: number } {
  const groups = options.groups ?? 1;
  check(Number.isInteger(groups) && groups >= 1, name, () => `groups is an integer >= 1, got ${show(groups)}`);
  return {
    stride: perAxis(name, "stride", options.stride ?? 1, dims, 1),
    padding: perAxis(name, "padding", options.padding ?? 0, dims, 0), // refuses "same"
    dilation: perAxis(name, "dilation", options.dilation ?? 1, dims, 1),
    groups,
  };
}

function convolve(name: string, dims: number, x: Tensor, w: Tensor, options: ConvOptions): Tensor {
  checkOptions(name, options, ["bias", "stride", "padding", "dilation", "groups"]);
  checkOperands(name, dims, x, w);
  if (options.padding === "same") return convolveSame(name, dims, x, w, options);
  const { stride, padding, dilation, groups } = geometry(name, dims, options);
  const [channels, filters] = [x.shape[1], w.shape[0]];
  check(
    channels === w.shape[1] * groups && filters % groups === 0,
    name,
    () =>
      `an input of ${channels} channels in ${groups} groups needs weights [K, ${
        channels / groups
      }, ...] with K divisible by ${groups}, got ${show(w.shape)}`,
  );
  const kernel = w.shape.slice(2);
  checkNotEmpty(name, x, w);
  const output = x.shape
    .slice(2)
    .map((n, k) => Math.floor((n + 2 * padding[k] - dilation[k] * (kernel[k] - 1) - 1) / stride[k]) + 1);
  check(
    output.every((n) => n > 0),
    name,
    () =>
      `kernel ${show(kernel)} with dilation ${show(dilation)} does not fit the padded input ${show(x.shape)}, padding ${
        show(padding)
      }`,
  );
  const result: Shape = [x.shape[0], filters, ...output];
  checkShape(name, result);
  const attrs: ConvAttrs = {
    groups,
    input: triple(x.shape.slice(2), 1),
    output: triple(output, 1),
    kernel: triple(kernel, 1),
    stride: triple(stride, 1),
    padding: triple(padding, 0),
    dilation: triple(dilation, 1),
  };
  return lower(forward(raise(x, dims), raise(w, dims), checkBias(name, options.bias, filters), attrs), dims);
}

/** An odd number of padding has one more at the end, as in PyTorch. */
function convolveSame(name: string, dims: number, x: Tensor, w: Tensor, options: ConvOptions): Tensor {
  const { stride, dilation } = geometry(name, dims, { ...options, padding: 0 });
  check(
    stride.every((s) => s === 1),
    name,
    () => `padding "same" is for stride 1, got ${show(stride)}; give numbers`,
  );
  const all = w.shape.slice(2).map((n, k) => dilation[k] * (n - 1));
  const odd = all.map((n) => n % 2);
  const padded = odd.some((n) => n > 0) ? pad(x, { after: [0, 0, ...odd] }) : x;
  return convolve(name, dims, padded, w, { ...options, padding: all.map((n) => Math.floor(n / 2)) });
}

/**
 * Cross-correlation of x [N, C, L] with w [K, C / groups, k], as torch.nn.functional.conv1d.
 * @example
 * ```ts
 * import { conv1d, random } from "voxgrad";
 *
 * const x = random.normal(random.key(0), { shape: [1, 3, 100] });
 * const w = random.normal(random.key(1), { shape: [8, 3, 5] });
 * const y = conv1d(x, w, { padding: "same" }); // [1, 8, 100]
 * ```
 */
export const conv1d: (x: Tensor, w: Tensor, options?: ConvOptions) => Tensor = unifyFloatTypes(
  (x, w, options = {}) => convolve("conv1d", 1, x, w, options),
);

/**
 * Cross-correlation of x [N, C, H, W] with w [K, C / groups, kH, kW], as torch.nn.functional.conv2d.
 * @example
 * ```ts
 * import { conv2d, random, zeros } from "voxgrad";
 *
 * const x = random.normal(random.key(0), { shape: [1, 3, 32, 32] });
 * const w = random.normal(random.key(1), { shape: [8, 3, 3, 3] });
 * const y = conv2d(x, w, { bias: zeros([8]), stride: 2, padding: 1 }); // [1, 8, 16, 16]
 * ```
 */
export const conv2d: (x: Tensor, w: Tensor, options?: ConvOptions) => Tensor = unifyFloatTypes(
  (x, w, options = {}) => convolve("conv2d", 2, x, w, options),
);

/**
 * Cross-correlation of x [N, C, D, H, W] with w [K, C / groups, kD, kH, kW], as torch.nn.functional.conv3d.
 * @example
 * ```ts
 * import { conv3d, random, zeros } from "voxgrad";
 *
 * const x = random.normal(random.key(0), { shape: [1, 1, 8, 16, 16] });
 * const w = random.normal(random.key(1), { shape: [4, 1, 1, 3, 3] });
 * const y = conv3d(x, w, { bias: zeros([4]), padding: [0, 1, 1] }); // [1, 4, 8, 16, 16]
 * ```
 */
export const conv3d: (x: Tensor, w: Tensor, options?: ConvOptions) => Tensor = unifyFloatTypes(
  (x, w, options = {}) => convolve("conv3d", 3, x, w, options),
);

export interface ConvTransposeOptions extends Omit<ConvOptions, "padding"> {
  padding?: number | readonly number[];
  /** Added to one side of the output, below max(stride, dilation); default: 0. */
  outputPadding?: number | readonly number[];
}

function convolveTransposed(name: string, dims: number, x: Tensor, w: Tensor, options: ConvTransposeOptions): Tensor {
  checkOptions(name, options, ["bias", "stride", "padding", "outputPadding", "dilation", "groups"]);
  checkOperands(name, dims, x, w);
  const { stride, padding, dilation, groups } = geometry(name, dims, options);
  const extra = perAxis(name, "outputPadding", options.outputPadding ?? 0, dims, 0);
  extra.forEach((n, k) => {
    if (n >= Math.max(stride[k], dilation[k])) {
      fail(
        name,
        `outputPadding ${n} of axis ${k} is not below max(stride, dilation) = ${Math.max(stride[k], dilation[k])}`,
      );
    }
  });
  check(
    x.shape[1] === w.shape[0] && w.shape[0] % groups === 0,
    name,
    () =>
      `an input of ${x.shape[1]} channels needs weights [${x.shape[1]}, K / groups, ...], got ${
        show(w.shape)
      } with ${groups} groups`,
  );
  const kernel = w.shape.slice(2);
  checkNotEmpty(name, x, w);
  const grown = x.shape
    .slice(2)
    .map((n, k) => (n - 1) * stride[k] - 2 * padding[k] + dilation[k] * (kernel[k] - 1) + extra[k] + 1);
  check(
    grown.every((n) => n > 0),
    name,
    () => `input ${show(x.shape)} with kernel ${show(kernel)} and padding ${show(padding)} leaves no output`,
  );
  const channels = w.shape[1] * groups;
  checkShape(name, [x.shape[0], channels, ...grown]);
  // Transposed convolution is the input gradient of the convolution that maps its output to its input.
  const attrs: ConvAttrs = {
    groups,
    input: triple(grown, 1),
    output: triple(x.shape.slice(2), 1),
    kernel: triple(kernel, 1),
    stride: triple(stride, 1),
    padding: triple(padding, 0),
    dilation: triple(dilation, 1),
  };
  return lower(inputGrad(raise(x, dims), raise(w, dims), attrs, checkBias(name, options.bias, channels)), dims);
}

/**
 * Transposed convolution of x [N, C, L] with w [C, K / groups, k], as torch.nn.functional.conv_transpose1d.
 *
 * @example
 * ```ts
 * import { convTranspose1d, random } from "voxgrad";
 *
 * const x = random.normal(random.key(0), { shape: [1, 8, 16] });
 * const w = random.normal(random.key(1), { shape: [8, 4, 2] });
 * const y = convTranspose1d(x, w, { stride: 2 }); // [1, 4, 32]
 * ```
 */
export const convTranspose1d: (x: Tensor, w: Tensor, options?: ConvTransposeOptions) => Tensor = unifyFloatTypes(
  (x, w, options = {}) => convolveTransposed("convTranspose1d", 1, x, w, options),
);

/**
 * Transposed convolution of x [N, C, H, W] with w [C, K / groups, kH, kW], as torch.nn.functional.conv_transpose2d.
 *
 * @example
 * ```ts
 * import { convTranspose2d, random } from "voxgrad";
 *
 * const x = random.normal(random.key(0), { shape: [1, 8, 16, 16] });
 * const w = random.normal(random.key(1), { shape: [8, 4, 2, 2] });
 * const y = convTranspose2d(x, w, { stride: 2 }); // [1, 4, 32, 32]
 * ```
 */
export const convTranspose2d: (x: Tensor, w: Tensor, options?: ConvTransposeOptions) => Tensor = unifyFloatTypes(
  (x, w, options = {}) => convolveTransposed("convTranspose2d", 2, x, w, options),
);

/**
 * Transposed convolution of x [N, C, D, H, W] with w [C, K / groups, kD, kH, kW], as
 * torch.nn.functional.conv_transpose3d.
 * @example
 * ```ts
 * import { convTranspose3d, random } from "voxgrad";
 *
 * const x = random.normal(random.key(0), { shape: [1, 8, 4, 8, 8] });
 * const w = random.normal(random.key(1), { shape: [8, 4, 2, 2, 2] });
 * const y = convTranspose3d(x, w, { stride: 2 }); // [1, 4, 8, 16, 16]
 * ```
 */
export const convTranspose3d: (x: Tensor, w: Tensor, options?: ConvTransposeOptions) => Tensor = unifyFloatTypes(
  (x, w, options = {}) => convolveTransposed("convTranspose3d", 3, x, w, options),
);

function checkNotEmpty(name: string, x: Tensor, w: Tensor): void {
  check(x.size > 0, name, () => `the input ${show(x.shape)} is empty`);
  check(w.size > 0, name, () => `the weight ${show(w.shape)} is empty`);
}
