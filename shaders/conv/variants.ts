/** Kernel selection for convolution and its input gradient (also transposed convolution). */
import { convForwardGeneric } from "./forward.wgsl.ts";
import { convInputGradGeneric } from "./input_grad.wgsl.ts";
import { gemmVariants } from "./gemm.wgsl.ts";
import { tileVariants } from "./tile.wgsl.ts";
import { type ConvParams, volume } from "./common.wgsl.ts";
import type { KernelSpec, Lowered, Target, Variant } from "../types.ts";
import { bucket, type SelectOptions, selectVariant } from "../variants.ts";

export type { ConvParams } from "./common.wgsl.ts";

/** Reads x, w and, with `params.bias`, bias [outChannels]; writes y. */
export const convForwardVariants: readonly Variant<ConvParams>[] = [
  ...gemmVariants(false),
  ...tileVariants(false),
  convForwardGeneric,
];

/**
 * Reads g [batch, outChannels, ...output], w and, with `params.bias`, bias [inChannels], used by transposed
 * convolution; writes dx [batch, inChannels, ...input].
 */
export const convInputGradVariants: readonly Variant<ConvParams>[] = [
  ...gemmVariants(true),
  ...tileVariants(true),
  convInputGradGeneric,
];

/** Elements of the operands. */
export const elements = (p: ConvParams): Readonly<Record<"x" | "y" | "w", number>> => ({
  x: p.batch * p.inChannels * volume(p.input),
  y: p.batch * p.outChannels * volume(p.output),
  w: (p.outChannels * p.inChannels * volume(p.kernel)) / p.groups,
});

/** What a choice of kernels is for. Padding is not part of the key: it barely affects speed. */
export function specOf(family: string, p: ConvParams, inputs: readonly number[], output: number): KernelSpec {
  const shape = (): string => {
    const { batch, groups, inChannels, outChannels, input, kernel, stride, dilation, bias } = p;
    const sizes = [batch, inChannels, outChannels, ...input].map(bucket);
    const text = `${sizes.join(" ")} groups ${bucket(groups)} kernel ${kernel} stride ${stride} dilation ${dilation}`;
    return bias ? `${text} bias` : text;
  };
  return { family, shape, dtype: p.storage, inputs, output };
}

/** Lowers a convolution. Default variant: the tuned one or the first whose guard holds. */
export function lowerConvForward(p: ConvParams, target: Target, how: SelectOptions = {}): Lowered {
  const { x, y, w } = elements(p);
  const inputs = p.bias ? [x, w, p.outChannels] : [x, w];
  return selectVariant(specOf("convolution", p, inputs, y), convForwardVariants, p, target, how);
}

/** Lowers the input gradient. Default variant: as for the convolution. */
export function lowerConvInputGrad(p: ConvParams, target: Target, how: SelectOptions = {}): Lowered {
  const { x, y, w } = elements(p);
  const inputs = p.bias ? [y, w, p.inChannels] : [y, w];
  return selectVariant(specOf("convolution input gradient", p, inputs, x), convInputGradVariants, p, target, how);
}
