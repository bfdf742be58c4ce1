/** distanceTransform: the distance of each voxel of a mask to the background. */
import { check, checkOptions, show } from "../../core/errors.ts";
import type { Op } from "../../core/op.ts";
import type { Tensor } from "../../core/tensor.ts";
import { lowerDistanceTransform } from "../../../shaders/mask/distance_transform.wgsl.ts";
import { batchVolumes, checkMask, onVolumes } from "./mask.ts";

type Triple = readonly [number, number, number];

/** Keeps intermediate squared distances within the range of f32. */
const SMALLEST = 1e-18;
const LARGEST = 1e18;

const op: Op<{ spacing: Triple }> = {
  name: "distanceTransform",
  lowering: {
    kind: "kernel",
    lower([mask], _, { spacing }, target) {
      const [batch, ...size] = mask.shape as readonly [number, number, number, number];
      return lowerDistanceTransform({ batch, size, spacing, float: mask.dtype === "f32" }, target);
    },
  },
  vjp: null,
  jvp: null,
  batch: (c) => batchVolumes(op)(c),
};

/**
 * The Euclidean distance of every nonzero voxel to the nearest zero voxel, as scipy.ndimage.distance_transform_edt;
 * zero voxels have distance 0. If a mask has no zero voxel, every distance is infinity. With integer spacing, squared
 * distances below 2^24 are exact; others have a relative error below 1e-6. Not differentiable.
 *
 * @param mask [H, W] or [D, H, W] of bool, i32, u32 or f32
 * @param options.spacing voxel size, one number for all axes or one per axis; default: 1. The result has the same unit
 * @returns f32 of the mask's shape
 * @throws VoxgradError for another rank or dtype, for a spacing that is not a number of at least 1e-18, and for a
 *   spacing so large that an axis would be longer than 1e18
 * @see Felzenszwalb and Huttenlocher, "Distance transforms of sampled functions", 2012
 * @example
 * ```ts
 * import { distanceTransform, tensor } from "voxgrad";
 *
 * const mask = tensor([[0, 1, 1, 1], [0, 1, 1, 1]]);
 * await distanceTransform(mask, { spacing: [1, 0.5] }).array(); // [[0, 0.5, 1, 1.5], [0, 0.5, 1, 1.5]]
 * ```
 */
export function distanceTransform(mask: Tensor, options: { spacing?: number | readonly number[] } = {}): Tensor {
  const name = "distanceTransform";
  checkMask(name, mask);
  checkOptions(name, options, ["spacing"]);
  const { spacing = 1 } = options;
  const list: readonly unknown[] = Array.isArray(spacing) ? spacing : new Array<unknown>(mask.rank).fill(spacing);
  check(
    list.length === mask.rank &&
      list.every((s, k) => typeof s === "number" && s >= SMALLEST && s * mask.shape[k] <= LARGEST),
    name,
    () =>
      `spacing is a number or ${mask.rank} of them, each from ${SMALLEST} up and no axis longer than ${LARGEST}, got ${
        show(spacing)
      }`,
  );
  const triple = [...new Array<number>(3 - mask.rank).fill(1), ...(list as number[])] as unknown as Triple;
  return onVolumes(op, mask, { spacing: triple }, "f32");
}
