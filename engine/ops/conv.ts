/** Convolution in two and three dimensions, closed under differentiation, and transposed convolution. */
import { check, checkOptions, fail, show } from "../core/errors.ts";
import type { Op } from "../core/op.ts";
import { checkShape, perAxis, type Shape } from "../core/shape.ts";
import { node, Tensor } from "../core/tensor.ts";
import { lowerConvForward, lowerConvInputGrad, lowerConvWeightGrad } from "../../shaders/conv.ts";
import type { ConvParams } from "../../shaders/conv.ts";
import { scalar } from "./creation.ts";
import { add } from "./elementwise.ts";
import { sum } from "./reduce.ts";
import { reshape } from "./reshape.ts";

type Triple = readonly [number, number, number];

/** Sizes of the convolution x [N, C, ...input] with w [K, C / groups, ...kernel] to y [N, K, ...output]. */
interface ConvAttrs {
  readonly groups: number;
  readonly input: Triple;
  readonly output: Triple;
  readonly kernel: Triple;
  readonly stride: Triple;
  readonly padding: Triple;
  readonly dilation: Triple;
}

const params = (a: ConvAttrs, batch: number, inChannels: number, outChannels: number, bias: boolean): ConvParams => ({
  ...a,
  batch,
  inChannels,
  outChannels,
  bias,
});

/** Bilinear rule: tangents of both factors, added; a bias (third input) adds its own. */
function bilinear(
  f: (a: Tensor, b: Tensor) => Tensor,
  inputs: readonly Tensor[],
  tangents: readonly (Tensor | null)[],
  channels: number,
): Tensor {
  const terms = [
    tangents[0] ? f(tangents[0], inputs[1]!) : null,
    tangents[1] ? f(inputs[0]!, tangents[1]) : null,
    tangents[2] ? reshape(tangents[2], { shape: [1, channels, 1, 1, 1] }) : null,
  ].filter((t): t is Tensor => t !== null);
  return terms.reduce((a, b) => add(a, b));
}

/** The gradient of a bias: the sum over all but channels. */
const biasGrad = (g: Tensor): Tensor => sum(g, { axes: [0, 2, 3, 4] });

// y[n,k,o] = sum over c, t of x[n, c, o stride + t dilation - padding] w[k, c, t] + bias[k]
const forwardOp: Op<ConvAttrs> = {
  name: "conv",
  lowering: {
    kind: "kernel",
    lower: ([x, w, b], _, a, target) =>
      lowerConvForward(params(a, x!.shape[0]!, x!.shape[1]!, w!.shape[0]!, b !== undefined), target),
  },
  vjp: ({ inputs: [x, w, b], attrs }, g) => [
    inputGrad(g, w!, attrs),
    weightGrad(x!, g, attrs),
    ...(b ? [biasGrad(g)] : []),
  ],
  jvp: ({ inputs, output, attrs }, t) =>
    withShape(
      bilinear((x, w) => forward(x, w, null, attrs), inputs, t, output.shape[1]!),
      output,
    ),
};

// The adjoint of the convolution in x: dx[n, c, i] = sum over k, o, t with i = o stride + t dilation - padding
const inputGradOp: Op<ConvAttrs> = {
  name: "convInputGrad",
  lowering: {
    kind: "kernel",
    lower: ([g, w, b], _, a, target) =>
      lowerConvInputGrad(params(a, g!.shape[0]!, w!.shape[1]! * a.groups, w!.shape[0]!, b !== undefined), target),
  },
  vjp: ({ inputs: [g, w, b], attrs }, t) => [
    forward(t, w!, null, attrs),
    weightGrad(t, g!, attrs),
    ...(b ? [biasGrad(t)] : []),
  ],
  jvp: ({ inputs, output, attrs }, t) =>
    withShape(
      bilinear((g, w) => inputGrad(g, w, attrs), inputs, t, output.shape[1]!),
      output,
    ),
};

// The adjoint in w: dw[k, c, t] = sum over n, o of x[n, c, o stride + t dilation - padding] g[n, k, o]
const weightGradOp: Op<ConvAttrs> = {
  name: "convWeightGrad",
  lowering: {
    kind: "kernel",
    lower: ([x, g], _, a, target) =>
      lowerConvWeightGrad(params(a, x!.shape[0]!, x!.shape[1]!, g!.shape[1]!, false), target),
  },
  vjp: ({ inputs: [x, g], attrs }, t) => [inputGrad(g!, t, attrs), forward(x!, t, null, attrs)],
  jvp: ({ inputs, attrs }, t) => bilinear((x, g) => weightGrad(x, g, attrs), inputs, t, 0),
};

const withShape = (x: Tensor, output: Tensor): Tensor =>
  x.rank === output.rank && x.size === output.size ? x : add(x, scalar(0, "f32", output.shape));

const forward = (x: Tensor, w: Tensor, bias: Tensor | null, a: ConvAttrs): Tensor =>
  node(forwardOp, bias ? [x, w, bias] : [x, w], a, [x.shape[0]!, w.shape[0]!, ...a.output], "f32");
const inputGrad = (g: Tensor, w: Tensor, a: ConvAttrs, bias: Tensor | null = null): Tensor =>
  node(inputGradOp, bias ? [g, w, bias] : [g, w], a, [g.shape[0]!, w.shape[1]! * a.groups, ...a.input], "f32");
const weightGrad = (x: Tensor, g: Tensor, a: ConvAttrs): Tensor =>
  node(weightGradOp, [x, g], a, [g.shape[1]!, x.shape[1]! / a.groups, ...a.kernel], "f32");

export interface ConvOptions {
  bias?: Tensor;
  /** One number for all axes, or one an axis. */
  stride?: number | readonly number[];
  padding?: number | readonly number[];
  dilation?: number | readonly number[];
  groups?: number;
}

/** Two dimensions are three with a depth of 1. */
const raise = (x: Tensor, dims: number): Tensor =>
  dims === 3 ? x : reshape(x, { shape: [x.shape[0]!, x.shape[1]!, 1, ...x.shape.slice(2)] });
const lower = (x: Tensor, dims: number): Tensor =>
  dims === 3 ? x : reshape(x, { shape: [x.shape[0]!, x.shape[1]!, ...x.shape.slice(3)] });
const triple = (list: readonly number[], fill: number): Triple =>
  (list.length === 3 ? list : [fill, ...list]) as unknown as Triple;

function checkOperands(name: string, dims: number, x: unknown, w: unknown): void {
  for (const [label, t] of [
    ["input", x],
    ["weight", w],
  ] as const) {
    check(
      t instanceof Tensor && t.rank === dims + 2 && t.dtype === "f32",
      name,
      () => `the ${label} is an f32 tensor of rank ${dims + 2}, got ${t instanceof Tensor ? `${t}` : show(t)}`,
    );
  }
}

function checkBias(name: string, bias: Tensor | undefined, channels: number): Tensor | null {
  check(
    bias === undefined ||
      (bias instanceof Tensor && bias.dtype === "f32" && bias.rank === 1 && bias.shape[0] === channels),
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
  check(Number.isInteger(groups) && groups >= 1, name, () => `groups is a whole number >= 1, got ${show(groups)}`);
  return {
    stride: perAxis(name, "stride", options.stride ?? 1, dims, 1),
    padding: perAxis(name, "padding", options.padding ?? 0, dims, 0),
    dilation: perAxis(name, "dilation", options.dilation ?? 1, dims, 1),
    groups,
  };
}

function convolve(name: string, dims: number, x: Tensor, w: Tensor, options: ConvOptions): Tensor {
  checkOptions(name, options, ["bias", "stride", "padding", "dilation", "groups"]);
  checkOperands(name, dims, x, w);
  const { stride, padding, dilation, groups } = geometry(name, dims, options);
  const [channels, filters] = [x.shape[1]!, w.shape[0]!];
  check(
    channels === w.shape[1]! * groups && filters % groups === 0,
    name,
    () =>
      `an input of ${channels} channels in ${groups} groups needs weights [K, ${channels / groups}, ...] with K divisible by ${groups}, got ${show(w.shape)}`,
  );
  const kernel = w.shape.slice(2);
  const output = x.shape
    .slice(2)
    .map((n, k) => Math.floor((n + 2 * padding[k]! - dilation[k]! * (kernel[k]! - 1) - 1) / stride[k]!) + 1);
  check(
    output.every((n) => n > 0) && w.size > 0 && x.size > 0,
    name,
    () =>
      `kernel ${show(kernel)} with dilation ${show(dilation)} does not fit the padded input ${show(x.shape)}, padding ${show(padding)}`,
  );
  const result: Shape = [x.shape[0]!, filters, ...output];
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

/**
 * Cross-correlation of x [N, C, H, W] with w [K, C / groups, kH, kW], as torch.nn.functional.conv2d.
 * @example conv2d(x, w, { bias, stride: 2, padding: 1 })
 */
export const conv2d = (x: Tensor, w: Tensor, options: ConvOptions = {}): Tensor => convolve("conv2d", 2, x, w, options);

/**
 * Cross-correlation of x [N, C, D, H, W] with w [K, C / groups, kD, kH, kW], as torch.nn.functional.conv3d.
 * @example conv3d(x, w, { bias, padding: [0, 1, 1] })
 */
export const conv3d = (x: Tensor, w: Tensor, options: ConvOptions = {}): Tensor => convolve("conv3d", 3, x, w, options);

export interface ConvTransposeOptions extends ConvOptions {
  /** Added to one side of the output, below max(stride, dilation); default 0. */
  outputPadding?: number | readonly number[];
}

function convolveTransposed(name: string, dims: number, x: Tensor, w: Tensor, options: ConvTransposeOptions): Tensor {
  checkOptions(name, options, ["bias", "stride", "padding", "outputPadding", "dilation", "groups"]);
  checkOperands(name, dims, x, w);
  const { stride, padding, dilation, groups } = geometry(name, dims, options);
  const extra = perAxis(name, "outputPadding", options.outputPadding ?? 0, dims, 0);
  extra.forEach((n, k) => {
    if (n >= Math.max(stride[k]!, dilation[k]!))
      fail(
        name,
        `outputPadding ${n} of axis ${k} is not below max(stride, dilation) = ${Math.max(stride[k]!, dilation[k]!)}`,
      );
  });
  check(
    x.shape[1] === w.shape[0] && w.shape[0]! % groups === 0,
    name,
    () =>
      `an input of ${x.shape[1]} channels needs weights [${x.shape[1]}, K / groups, ...], got ${show(w.shape)} with ${groups} groups`,
  );
  const kernel = w.shape.slice(2);
  const grown = x.shape
    .slice(2)
    .map((n, k) => (n - 1) * stride[k]! - 2 * padding[k]! + dilation[k]! * (kernel[k]! - 1) + extra[k]! + 1);
  check(
    grown.every((n) => n > 0) && w.size > 0 && x.size > 0,
    name,
    () => `input ${show(x.shape)} with kernel ${show(kernel)} and padding ${show(padding)} leaves no output`,
  );
  const channels = w.shape[1]! * groups;
  checkShape(name, [x.shape[0]!, channels, ...grown]);
  // Transposed convolution is the input gradient of the convolution that would map its output to its input.
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

/** Transposed convolution of x [N, C, H, W] with w [C, K / groups, kH, kW], as torch.nn.functional.conv_transpose2d. */
export const convTranspose2d = (x: Tensor, w: Tensor, options: ConvTransposeOptions = {}): Tensor =>
  convolveTransposed("convTranspose2d", 2, x, w, options);

/**
 * Transposed convolution of x [N, C, D, H, W] with w [C, K / groups, kD, kH, kW], as torch.nn.functional.conv_transpose3d.
 * @example convTranspose3d(x, w, { stride: 2 }) // doubles D, H and W for a kernel of 2
 */
export const convTranspose3d = (x: Tensor, w: Tensor, options: ConvTransposeOptions = {}): Tensor =>
  convolveTransposed("convTranspose3d", 3, x, w, options);
