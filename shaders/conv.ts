/** Convolution, its input gradient (also transposed convolution) and its weight gradient: choice of a kernel. */
import { convForwardGeneric } from "./conv_forward.wgsl.ts";
import { convInputGradGeneric } from "./conv_input_grad.wgsl.ts";
import { weightGemmVariants } from "./conv_weight_gemm.wgsl.ts";
import { weightTileVariants } from "./conv_weight_tile.wgsl.ts";
import { convWeightGradGeneric } from "./conv_weight_grad.wgsl.ts";
import { gemmVariants } from "./conv_gemm.wgsl.ts";
import { tileVariants } from "./conv_tile.wgsl.ts";
import type { ConvParams } from "./conv_common.wgsl.ts";
import type { Lowered, Target, Variant } from "./types.ts";

export type { ConvParams } from "./conv_common.wgsl.ts";

/** Reads x, w and, where `params.bias`, bias [outChannels]; writes y. */
export const convForwardVariants: readonly Variant<ConvParams>[] = [
  ...gemmVariants(false), ...tileVariants(false), convForwardGeneric,
];

/**
 * Reads g [batch, outChannels, ...output], w and, where `params.bias`, bias [inChannels], which serves transposed
 * convolution; writes dx [batch, inChannels, ...input].
 */
export const convInputGradVariants: readonly Variant<ConvParams>[] = [
  ...gemmVariants(true), ...tileVariants(true), convInputGradGeneric,
];

/** Reads x and g; writes dw. */
export const convWeightGradVariants: readonly Variant<ConvParams>[] = [
  ...weightGemmVariants, ...weightTileVariants, convWeightGradGeneric,
];

function choose(
  family: string, variants: readonly Variant<ConvParams>[], p: ConvParams, target: Target, name: string | undefined,
): Lowered {
  const variant = variants.find((v) => (name === undefined || v.name === name) && v.guard(p, target));
  if (!variant) {
    const fitting = variants.filter((v) => v.guard(p, target)).map((v) => v.name).join(", ");
    throw new Error(`${family}: variant ${name ?? "(any)"} does not take these sizes; these do: ${fitting}`);
  }
  return variant.lower(p, target);
}

/** Lowers a convolution with the named variant, by default the first whose guard holds. */
export const lowerConvForward = (p: ConvParams, target: Target, variant?: string): Lowered =>
  choose("convolution", convForwardVariants, p, target, variant);

/** Lowers the gradient with respect to the input with the named variant, by default the first whose guard holds. */
export const lowerConvInputGrad = (p: ConvParams, target: Target, variant?: string): Lowered =>
  choose("convolution input gradient", convInputGradVariants, p, target, variant);

/** Lowers the gradient with respect to the weights with the named variant, by default the first whose guard holds. */
export const lowerConvWeightGrad = (p: ConvParams, target: Target, variant?: string): Lowered =>
  choose("convolution weight gradient", convWeightGradVariants, p, target, variant);
