/** connectedComponents: labels the connected parts of a mask. */
import { check, checkOptions, show } from "../../core/errors.ts";
import type { Op } from "../../core/op.ts";
import type { Tensor } from "../../core/tensor.ts";
import { lowerComponents } from "../../../shaders/mask/connected_components.wgsl.ts";
import { batchVolumes, checkMask, onVolumes } from "./mask.ts";

const op: Op<{ connectivity: 6 | 18 | 26 }> = {
  name: "connectedComponents",
  lowering: {
    kind: "kernel",
    lower([mask], _, { connectivity }, target) {
      const [batch, ...size] = mask.shape as readonly [number, number, number, number];
      return lowerComponents({ batch, size, connectivity, float: mask.dtype === "f32" }, target);
    },
  },
  vjp: null,
  jvp: null,
  batch: (c) => batchVolumes(op)(c),
};

/** Allowed neighborhoods by rank; in a volume of depth 1, 6 and 26 neighbors act as 4 and 8. */
const allowed: Record<number, Record<number, 6 | 18 | 26>> = { 2: { 4: 6, 8: 26 }, 3: { 6: 6, 18: 18, 26: 26 } };

/**
 * Labels the connected components of nonzero values: 0 for background, then 1, 2, ... in order of their first voxels,
 * as scipy.ndimage.label. The largest label is the number of components. Not differentiable.
 *
 * @param mask [H, W] or [D, H, W] of bool, i32, u32 or f32
 * @param options.connectivity number of neighbors of a voxel: 4 (by edges) or 8 in a plane; 6 (by faces), 18 (edges
 *   too) or 26 (corners too) in a volume. Default: 4 or 6, as in SciPy; scikit-image's default is 8 or 26
 * @returns i32 of the mask's shape
 * @throws VoxgradError for another rank, dtype or connectivity
 * @see Playne and Hawick, "A new algorithm for parallel connected-component labeling on GPUs", 2018
 * @example
 * ```ts
 * import { connectedComponents, tensor } from "voxgrad";
 *
 * const labels = connectedComponents(tensor([[1, 0, 1], [0, 1, 1]]));
 * await labels.array(); // [[1, 0, 2], [0, 2, 2]]
 * await labels.max().item(); // 2
 * ```
 */
export function connectedComponents(mask: Tensor, options: { connectivity?: 4 | 8 | 6 | 18 | 26 } = {}): Tensor {
  const name = "connectedComponents";
  checkMask(name, mask);
  checkOptions(name, options, ["connectivity"]);
  const { connectivity = mask.rank === 2 ? 4 : 6 } = options;
  const known = allowed[mask.rank];
  check(
    typeof connectivity === "number" && Object.hasOwn(known, connectivity),
    name,
    () =>
      `connectivity of a mask of rank ${mask.rank} is ${Object.keys(known).join(" or ")}, got ${show(connectivity)}`,
  );
  return onVolumes(op, mask, { connectivity: known[connectivity] }, "i32");
}
