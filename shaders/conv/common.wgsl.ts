/** Code shared by the convolution kernels: parameters, index arithmetic, operation count. */
import { type Operands, operands } from "../operands.ts";
import { ceilDiv } from "../grid.ts";
import type { Fusion, Kernel } from "../types.ts";

/** Sizes along depth, height, width. */
export type Size3 = readonly [number, number, number];

/**
 * A convolution x [batch, inChannels, ...input] with w [outChannels, inChannels / groups, ...kernel] to y [batch,
 * outChannels, ...output]. `padding` is the leading padding; values outside the input are zero, so the trailing
 * padding follows from `output`. Input and weight gradient take the parameters of the forward convolution.
 */
export interface ConvParams {
  readonly batch: number;
  readonly inChannels: number;
  readonly outChannels: number;
  readonly groups: number;
  readonly input: Size3;
  readonly output: Size3;
  readonly kernel: Size3;
  readonly stride: Size3;
  readonly padding: Size3;
  readonly dilation: Size3;
  readonly bias: boolean;
  /** Storage type of all tensors; sums are always f32. */
  readonly storage: "f32" | "f16";
}

export const volume = (size: Size3): number => size[0] * size[1] * size[2];

/** The operands of a convolution or an input gradient, named in the order of the operator's inputs. */
export function convOperands(
  p: ConvParams,
  names: readonly [string, string, string],
  result: string,
  fusion: Fusion | null,
): Operands {
  const inputs = names.slice(0, p.bias ? 3 : 2).map((name, k) => ({ name, type: p.storage, slot: { input: k } }));
  return operands(inputs, { name: result, type: p.storage, slot: { output: 0 } }, fusion);
}

/** The operands of a weight gradient, with elements of `g` in fours or alone; it writes partial sums. */
export const weightOperands = (
  p: ConvParams,
  x: string,
  g: string,
  fusion: Fusion | null,
  loadsFour = false,
): Operands =>
  operands(
    [
      { name: x, type: p.storage, slot: { input: 0 } },
      { name: g, type: loadsFour ? `vec4<${p.storage}>` : p.storage, slot: { input: 1 } },
    ],
    { name: "partial", type: "f32", slot: { temp: 0 } },
    fusion,
  );

/** One side of the convolution: channels per group, and the stride between the weights of two of them. */
export interface Side {
  readonly channels: number;
  readonly size: Size3;
  readonly weightStride: number;
}

/** Forward and backward in one view: the side that is read, and the side that is written. */
export function sides(p: ConvParams, backward: boolean): { from: Side; to: Side } {
  const perTap = volume(p.kernel),
    inChannels = p.inChannels / p.groups;
  const x: Side = { channels: inChannels, size: p.input, weightStride: perTap };
  const y: Side = { channels: p.outChannels / p.groups, size: p.output, weightStride: inChannels * perTap };
  return backward ? { from: y, to: x } : { from: x, to: y };
}

/** The operations of a convolution, counting padding as values. */
export const convWork = (p: ConvParams): Pick<Kernel, "flops" | "matrix"> => ({
  flops: 2 * p.batch * p.outChannels * volume(p.output) * (p.inChannels / p.groups) * volume(p.kernel),
  matrix: p.storage === "f16",
});

/** How a block of neighboring results along a row accesses its inputs: all offsets are known statically. */
export interface RowPlan {
  /** Result `position` of the block multiplies kernel element `k` with the input at `offset` from the block's base. */
  readonly taps: readonly { readonly position: number; readonly k: number; readonly offset: number }[];
  /** The distinct offsets, ascending. */
  readonly offsets: readonly number[];
  /** Whether the input at this offset is out of bounds for some block. */
  readonly mayMiss: (offset: number) => boolean;
}

/** The number of taps of a plan. */
export const tapsOf = (p: ConvParams, backward: boolean, block: number): number =>
  (block * p.kernel[2]) / (backward ? p.stride[2] : 1);

/**
 * The plan of the last axis. Forward, the base of the block that starts at result r is r * stride - padding. Backward
 * (input gradient) it is r / stride, and `block` must be a multiple of the stride.
 */
export function rowPlan(p: ConvParams, backward: boolean, block: number): RowPlan {
  const kernel = p.kernel[2],
    stride = p.stride[2],
    padding = p.padding[2],
    dilation = p.dilation[2];
  const size = backward ? p.output[2] : p.input[2];
  const blocks = ceilDiv(backward ? p.input[2] : p.output[2], block);
  const taps: { position: number; k: number; offset: number }[] = [];
  for (let position = 0; position < block; position++) {
    for (let k = 0; k < kernel; k++) {
      const reach = position + padding - k * dilation;
      if (!backward) taps.push({ position, k, offset: position * stride + k * dilation });
      else if (reach % stride === 0) taps.push({ position, k, offset: reach / stride });
    }
  }
  const offsets = [...new Set(taps.map((t) => t.offset))].sort((a, b) => a - b);
  const firstBase = backward ? 0 : -padding;
  const lastBase = backward ? ((blocks - 1) * block) / stride : (blocks - 1) * block * stride - padding;
  return { taps, offsets, mayMiss: (o) => firstBase + o < 0 || lastBase + o >= size };
}
