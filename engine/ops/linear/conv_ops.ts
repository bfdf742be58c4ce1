/**
 * Convolution and its input gradient. Their derivatives are each other and the weight gradient (conv_weight_grad.ts),
 * which reverse mode loads.
 */

import type { DType } from "../../core/dtype.ts";
import type { Aval, BatchContext, Op } from "../../core/op.ts";

import { size } from "../../core/shape.ts";
import { node, type Tensor } from "../../core/tensor.ts";
import { lowerConvForward, lowerConvInputGrad } from "../../../shaders/conv/variants.ts";
import type { ConvParams } from "../../../shaders/conv/variants.ts";
import { concat } from "../shape/concat.ts";
import { bySample, checkFilters, type ConvAttrs, put, type Slab, slabCount, slabs, widest } from "./conv_split.ts";
import { scalar } from "../elementwise/creation.ts";
import { add } from "../elementwise/elementwise.ts";
import { late } from "../late.ts";
import { range, ranges } from "../split.ts";
import { sum } from "../reduce/reduce.ts";
import { reshape } from "../shape/reshape.ts";
import { moveAxis } from "../shape/transpose.ts";

export const params = (
  a: ConvAttrs,
  dtype: DType,
  batch: number,
  inChannels: number,
  outChannels: number,
  bias: boolean,
): ConvParams => ({
  groups: a.groups,
  input: a.input,
  output: a.output,
  kernel: a.kernel,
  stride: a.stride,
  padding: a.padding,
  dilation: a.dilation,
  batch,
  inChannels,
  outChannels,
  bias,
  storage: dtype === "f16" ? "f16" : "f32",
});

/** Product rule: the sum of the tangents of both factors and of the bias (third input). */
export function bilinear(
  f: (a: Tensor, b: Tensor) => Tensor,
  inputs: readonly Tensor[],
  tangents: readonly (Tensor | null)[],
  channels: number,
): Tensor {
  const terms = [
    tangents[0] ? f(tangents[0], inputs[1]) : null,
    tangents[1] ? f(inputs[0], tangents[1]) : null,
    tangents[2] ? reshape(tangents[2], { shape: [1, channels, 1, 1, 1] }) : null,
  ].filter((t): t is Tensor => t !== null);
  return terms.reduce((a, b) => add(a, b));
}

/** The gradient of a bias: the sum over all axes but channels. */
const biasGrad = (g: Tensor): Tensor => sum(g, { axes: [0, 2, 3, 4] });

/** Each element of a convolution's output (or its cotangent) is a sum over one filter. */
export const multiplyAdds = (outputs: Aval, filters: Aval): number =>
  size(outputs.shape) * size(filters.shape.slice(1));

// y[n,k,o] = sum over c, t of x[n, c, o stride + t dilation - padding] w[k, c, t] + bias[k]
const forwardOp: Op<ConvAttrs> = {
  name: "conv",
  lowering: {
    kind: "kernel",
    fusesPrologue: [0],
    readsRepeatedly: true,
    fusesEpilogue: true,
    lower: ([x, w, b], _, a, target, fusion) =>
      lowerConvForward(params(a, x.dtype, x.shape[0], x.shape[1], w.shape[0], b !== undefined), target, {
        fusion,
      }),
  },
  vjp: ({ inputs: [x, w, b], attrs }, g) => [
    inputGrad(g, w, attrs),
    weightGrad.call(x, g, attrs),
    ...(b ? [biasGrad(g)] : []),
  ],
  jvp: ({ inputs, output, attrs }, t) =>
    withShape(
      bilinear((x, w) => forward(x, w, null, attrs), inputs, t, output.shape[1]),
      output,
    ),
  batch: (c) => batchFiltered(c, (x, w, bias, groups) => forward(x, w, bias, { ...c.attrs, groups })),
  split([x, w, bias], output, a, most) {
    checkFilters("conv", w.shape, most);
    if (x.shape[0] > 1) return bySample("conv", x, output, most, (part) => forward(part, w, bias ?? null, a));
    const parts = slabs("conv", x, output, a, most);
    const part = ({ axis, inputs, outputs: [from, to], attrs }: Slab): Tensor => {
      if (inputs) return forward(range(x, axis + 2, ...inputs), w, bias ?? null, attrs);
      const shape = output.shape.map((n, k) => (k === axis + 2 ? to - from : n));
      const zero = scalar(0, output.dtype, shape);
      return bias ? add(zero, reshape(bias, { shape: [1, bias.size, 1, 1, 1] })) : zero;
    };
    return concat(parts.map(part), { axis: parts[0].axis + 2 });
  },
  multiplyAdds: ([, w], y) => multiplyAdds(y, w),
};

// The adjoint of the convolution in x: dx[n, c, i] = sum over k, o, t with i = o stride + t dilation - padding
const inputGradOp: Op<ConvAttrs> = {
  name: "convInputGrad",
  lowering: {
    kind: "kernel",
    fusesPrologue: [0],
    readsRepeatedly: true,
    fusesEpilogue: true,
    lower: ([g, w, b], _, a, target, fusion) =>
      lowerConvInputGrad(
        params(a, g.dtype, g.shape[0], w.shape[1] * a.groups, w.shape[0], b !== undefined),
        target,
        { fusion },
      ),
  },
  vjp: ({ inputs: [g, w, b], attrs }, t) => [
    forward(t, w, null, attrs),
    weightGrad.call(t, g, attrs),
    ...(b ? [biasGrad(t)] : []),
  ],
  jvp: ({ inputs, output, attrs }, t) =>
    withShape(
      bilinear((g, w) => inputGrad(g, w, attrs), inputs, t, output.shape[1]),
      output,
    ),
  batch: (c) => batchFiltered(c, (g, w, bias, groups) => inputGrad(g, w, { ...c.attrs, groups }, bias)),
  split([g, w, bias], output, a, most) {
    checkFilters("convInputGrad", w.shape, most);
    if (g.shape[0] > 1) {
      return bySample("convInputGrad", g, output, most, (part) => inputGrad(part, w, a, bias ?? null));
    }
    const axis = widest(a.input);
    const parts = ranges(a.input[axis], slabCount("convInputGrad", g, output, a.input[axis], most));
    const joined = parts.map(([from, to]) => {
      // i = o stride + t dilation - padding: the first o that reaches the slab, the last one that begins in it
      const [stride, padding] = [a.stride[axis], a.padding[axis]];
      const reach = (a.kernel[axis] - 1) * a.dilation[axis];
      const last = Math.min(a.output[axis] - 1, Math.floor((to - 1 + padding) / stride));
      const reaching = Math.ceil((from + padding - reach) / stride);
      const first = Math.max(0, Math.min(last, reaching, Math.floor((from + padding) / stride)));
      const own = {
        ...a,
        input: put(a.input, axis, to - from),
        output: put(a.output, axis, last - first + 1),
        padding: put(a.padding, axis, padding + from - first * stride),
      };
      return inputGrad(range(g, axis + 2, first, last + 1), w, own, bias ?? null);
    });
    return concat(joined, { axis: axis + 2 });
  },
  multiplyAdds: ([g, w]) => multiplyAdds(g, w),
};

/**
 * Moves examples [B, N, C, ...] into channels [N, B C, ...]; grouped convolution then applies each example's own
 * filters.
 */
export function besideChannels(x: Tensor): Tensor {
  const [batch, n, c, ...space] = x.shape as [number, number, number, ...number[]];
  return reshape(moveAxis(x, { source: 0, destination: 1 }), { shape: [n, batch * c, ...space] });
}

/**
 * vmap of y = f(x, w, bias): examples with shared filters become samples, those with filters of their own become
 * groups.
 */
function batchFiltered(
  { inputs: [x, w, bias], batched, size: batch, output, attrs, full }: BatchContext<ConvAttrs>,
  f: (x: Tensor, w: Tensor, bias: Tensor | null, groups: number) => Tensor,
): Tensor {
  const [n, channels, ...space] = output.shape as [number, number, ...number[]];
  if (!batched[1] && !batched[2]) {
    const samples = reshape(x, { shape: [batch * n, ...x.shape.slice(2)] });
    return reshape(f(samples, w, bias ?? null, attrs.groups), { shape: [batch, ...output.shape] });
  }
  const filters = full(1);
  const joined = reshape(filters, { shape: [batch * filters.shape[1], ...filters.shape.slice(2)] });
  const own = bias ? reshape(full(2), { shape: [batch * channels] }) : null;
  const y = f(besideChannels(full(0)), joined, own, attrs.groups * batch);
  return moveAxis(reshape(y, { shape: [n, batch, channels, ...space] }), { source: 1, destination: 0 });
}

const withShape = (x: Tensor, output: Tensor): Tensor =>
  x.rank === output.rank && x.size === output.size ? x : add(x, scalar(0, output.dtype, output.shape));

/** Convolution of x and w, with a bias or null. */
export const forward = (x: Tensor, w: Tensor, bias: Tensor | null, a: ConvAttrs): Tensor =>
  node(forwardOp, bias ? [x, w, bias] : [x, w], a, [x.shape[0], w.shape[0], ...a.output], x.dtype);
/** The gradient with respect to x, given cotangent g; with a bias, transposed convolution. */
export const inputGrad = (g: Tensor, w: Tensor, a: ConvAttrs, bias: Tensor | null = null): Tensor =>
  node(inputGradOp, bias ? [g, w, bias] : [g, w], a, [g.shape[0], w.shape[1] * a.groups, ...a.input], g.dtype);
/** The gradient with respect to w, given cotangent g. */
export const weightGrad = late<(x: Tensor, g: Tensor, a: ConvAttrs) => Tensor>(
  "the weight gradient of a convolution",
  "import engine/autodiff/reverse.ts",
);
