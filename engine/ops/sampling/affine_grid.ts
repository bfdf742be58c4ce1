/** affineGrid: sampling positions of an affine map. */
import { check, checkOptions, show } from "../../core/errors.ts";
import { checkShape, size } from "../../core/shape.ts";
import { Tensor } from "../../core/tensor.ts";
import { arange, scalar } from "../elementwise/creation.ts";
import { add, cast, mul, sub } from "../elementwise/elementwise.ts";
import { computeInF32 } from "../promote_f16.ts";
import { reshape } from "../shape/reshape.ts";
import { slice } from "../shape/slice.ts";

/**
 * The grid of an affine map, as torch.nn.functional.affine_grid: theta times (x, y[, z], 1) for every output voxel.
 *
 * @param theta f32 [N, 2, 3] or [N, 3, 4]
 * @param options.size [N, C, ...space] of gridSample's output
 * @param options.alignCorners whether -1 and 1 are the centers of the end voxels; default: false, the edges of the
 *   image
 * @returns [N, ...space, 2 or 3], differentiable in theta
 * @throws VoxgradError for other shapes and options
 * @example
 * ```ts
 * import { affineGrid, tensor } from "voxgrad";
 *
 * const identity = tensor([[[1, 0, 0], [0, 1, 0]]]);
 * const grid = affineGrid(identity, { size: [1, 1, 8, 8] }); // [1, 8, 8, 2]
 * ```
 */
export const affineGrid: (theta: Tensor, options: { size: readonly number[]; alignCorners?: boolean }) => Tensor =
  computeInF32(
    (theta, options) => {
      const name = "affineGrid";
      check(
        theta instanceof Tensor &&
          theta.dtype === "f32" &&
          theta.rank === 3 &&
          (theta.shape[1] === 2 || theta.shape[1] === 3) &&
          theta.shape[2] === theta.shape[1] + 1,
        name,
        () =>
          `theta is an f32 tensor [N, 2, 3] or [N, 3, 4], got ${theta instanceof Tensor ? `${theta}` : show(theta)}`,
      );
      checkOptions(name, options, ["size", "alignCorners"]);
      const [samples, dims] = theta.shape as [number, number];
      const { alignCorners = false } = options;
      check(typeof alignCorners === "boolean", name, () => `alignCorners is true or false, got ${show(alignCorners)}`);
      checkShape(name, options.size);
      check(
        options.size.length === dims + 2 && options.size[0] === samples && size(options.size) > 0,
        name,
        () => `size is [${samples}, C, ${dims === 3 ? "D, " : ""}H, W], none of them 0, got ${show(options.size)}`,
      );
      const space = options.size.slice(2);
      checkShape(name, [samples, ...space, dims]);
      /** Column j of theta, broadcast over space. */
      const column = (j: number): Tensor =>
        reshape(slice(theta, { start: [0, 0, j], end: [samples, dims, j + 1] }), {
          shape: [samples, ...space.map(() => 1), dims],
        });
      return space.reduce(
        (grid, n, axis) => {
          // Voxel i of n is at (2 i - (n - 1)) / (n - 1), or / n without alignCorners; a single voxel is at 0.
          const last = alignCorners ? n - 1 : n;
          const twice = sub(mul(arange(n), 2), n - 1);
          const place = mul(cast(twice, "f32"), last === 0 ? 0 : 1 / last);
          const shape = [1, ...space.map((_, k) => (k === axis ? n : 1)), 1];
          return add(grid, mul(column(dims - 1 - axis), reshape(place, { shape })));
        },
        add(column(dims), scalar(0, "f32", [samples, ...space, dims])),
      );
    },
  );
