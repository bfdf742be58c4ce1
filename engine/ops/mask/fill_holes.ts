/** fillHoles: fills the cavities of a mask. */
import { checkOptions } from "../../core/errors.ts";
import type { Op } from "../../core/op.ts";
import type { Tensor } from "../../core/tensor.ts";
import { lowerFillHoles } from "../../../shaders/mask/connected_components.wgsl.ts";
import { batchVolumes, checkMask, onVolumes } from "./mask.ts";

const op: Op<{ axes: 2 | 3 }> = {
  name: "fillHoles",
  lowering: {
    kind: "kernel",
    lower([mask], _, { axes }, target) {
      const [batch, ...size] = mask.shape as readonly [number, number, number, number];
      return lowerFillHoles({ batch, size, axes, float: mask.dtype === "f32" }, target);
    },
  },
  vjp: null,
  jvp: null,
  batch: (c) => batchVolumes(op)(c),
};

/**
 * Fills the holes of a mask: zeros that no axis-connected path of zeros links to the border, as
 * scipy.ndimage.binary_fill_holes. Not differentiable.
 *
 * @param mask [H, W] or [D, H, W] of bool, i32, u32 or f32; nonzero values are inside
 * @returns bool of the mask's shape
 * @throws VoxgradError for another rank or dtype
 * @example
 * ```ts
 * import { fillHoles, tensor } from "voxgrad";
 *
 * const mask = tensor([[1, 1, 1], [1, 0, 1], [1, 1, 1]]);
 * await fillHoles(mask).array(); // true everywhere
 * ```
 */
export function fillHoles(mask: Tensor, options: Record<string, never> = {}): Tensor {
  checkMask("fillHoles", mask);
  checkOptions("fillHoles", options, []);
  return onVolumes(op, mask, { axes: mask.rank }, "bool");
}
