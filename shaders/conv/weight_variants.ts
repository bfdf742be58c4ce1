/** Kernel selection for the weight gradient of a convolution: apart, since pages that only segment need none of it. */
import type { ConvParams } from "./common.wgsl.ts";
import { elements, specOf } from "./variants.ts";
import { weightGemmVariants } from "./weight_gemm.wgsl.ts";
import { convWeightGradGeneric } from "./weight_grad.wgsl.ts";
import { weightTileVariants } from "./weight_tile.wgsl.ts";
import type { Lowered, Target, Variant } from "../types.ts";
import { type SelectOptions, selectVariant } from "../variants.ts";

/** Reads x and g; writes dw. */
export const convWeightGradVariants: readonly Variant<ConvParams>[] = [
  ...weightGemmVariants,
  ...weightTileVariants,
  convWeightGradGeneric,
];

/** Lowers the weight gradient. Default variant: as for the convolution. */
export function lowerConvWeightGrad(p: ConvParams, target: Target, how: SelectOptions = {}): Lowered {
  const { x, y, w } = elements(p);
  return selectVariant(specOf("convolution weight gradient", p, [x, y], w), convWeightGradVariants, p, target, how);
}
