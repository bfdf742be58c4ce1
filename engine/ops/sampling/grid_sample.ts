/** gridSample: samples images at the points of a grid. */
import { check, checkOptions, show } from "../../core/errors.ts";
import { checkShape, size } from "../../core/shape.ts";
import { Tensor } from "../../core/tensor.ts";
import { concat } from "../shape/concat.ts";
import { arange, scalar } from "../elementwise/creation.ts";
import { abs, add, cast, equal, floor, less, mul, sub, where } from "../elementwise/elementwise.ts";
import { computeInF32 } from "../promote_f16.ts";
import { type Mode, type Padding, placeOf } from "./grid_place.ts";
import { gather, type Taps } from "./grid_taps.ts";
import { pad } from "../shape/pad.ts";
import { reshape, stopGradient } from "../shape/reshape.ts";
import { slice } from "../shape/slice.ts";

type Triple = readonly [number, number, number];

/** Padding at the ends of an axis, so that every tap of every position is inside the padded image. */
function margins(mode: Mode, padding: Padding): { before: number; after: number } {
  if (padding === "zeros") return mode === "cubic" ? { before: 4, after: 3 } : { before: 2, after: 1 };
  return { nearest: { before: 0, after: 0 }, linear: { before: 0, after: 1 }, cubic: { before: 2, after: 3 } }[mode];
}

/** The source voxel of padding index i, outside of an axis with n voxels. */
function outside(i: number, n: number, padding: Padding, alignCorners: boolean): number {
  if (padding === "border") return Math.min(n - 1, Math.max(0, i));
  const period = alignCorners ? Math.max(1, 2 * n - 2) : 2 * n;
  const k = ((i % period) + period) % period;
  return k < n ? k : alignCorners ? period - k : period - 1 - k;
}

/** Pads x by the margins of its mode: with zeros, or for cubic taps by the padding mode. */
function padded(x: Tensor, mode: Mode, padding: Padding, alignCorners: boolean): Tensor {
  const { before, after } = margins(mode, padding);
  if (mode !== "cubic" || padding === "zeros") {
    const space = (n: number): number[] => x.shape.map((_, k) => (k < 2 ? 0 : n));
    return pad(x, { before: space(before), after: space(after) });
  }
  return x.shape.slice(2).reduce((y, n, k) => {
    const axis = k + 2;
    const voxel = (i: number): Tensor => {
      const from = outside(i, n, padding, alignCorners);
      return slice(y, {
        start: y.shape.map((_, a) => (a === axis ? from : 0)),
        end: y.shape.map((m, a) => (a === axis ? from + 1 : m)),
      });
    };
    const ends = (first: number, count: number): Tensor[] => Array.from({ length: count }, (_, i) => voxel(first + i));
    return concat([...ends(-before, before), y, ...ends(n, after)], { axis });
  }, x);
}

/**
 * Weights [N, taps, P] along an axis, given the fraction t in [0, 1) between a position and the voxel below it, [N,
 * P].
 */
function weights(mode: "linear" | "cubic", fraction: Tensor): Tensor {
  const [n, points] = fraction.shape as [number, number];
  const t = reshape(fraction, { shape: [n, 1, points] });
  const tap = (count: number): Tensor => reshape(arange(count), { shape: [1, count, 1] });
  if (mode === "linear") return where(equal(tap(2), 0), sub(1, t), t);
  // Keys' kernel with a = -0.75 of the distance d from the tap: two taps within 1, two from 1 to 2.
  const k = cast(tap(4), "f32");
  const d = abs(sub(add(t, 1), k));
  const near = add(mul(mul(sub(mul(d, 1.25), 2.25), d), d), 1);
  const far = mul(mul(sub(d, 1), -0.75), mul(sub(d, 2), sub(d, 2)));
  return where(less(abs(sub(k, 1.5)), 1), near, far);
}

export interface GridSampleOptions {
  /** "linear" (default; bi- or trilinear), "nearest", or for 2D images "cubic" (Keys' kernel, a = -0.75). */
  mode?: "linear" | "nearest" | "cubic";
  /** Values outside the image: "zeros" (default), its border voxels, or its reflection. */
  padding?: "zeros" | "border" | "reflection";
  /** Whether -1 and 1 are the centers of the end voxels; default: false, the edges of the image. */
  alignCorners?: boolean;
}

/**
 * Samples x at the points of a grid, as torch.nn.functional.grid_sample; differentiable in both, to any order.
 *
 * Non-finite coordinates give 0 with padding "zeros". With "border", NaN maps to the first voxel and infinities to the
 * nearest end; with "reflection", all map to the first voxel. Their gradient is 0.
 *
 * @param x f32 [N, C, H, W] or [N, C, D, H, W]
 * @param grid f32 [N, outH, outW, 2] of (x, y) or [N, outD, outH, outW, 3] of (x, y, z), -1 to 1 across the image
 * @returns [N, C, ...out]
 * @throws VoxgradError for other shapes and options
 * @example
 * ```ts
 * import { affineGrid, gridSample, random, tensor } from "voxgrad";
 *
 * const image = random.normal(random.key(0), { shape: [1, 3, 16, 16] });
 * const shifted = affineGrid(tensor([[[1, 0, 0.25], [0, 1, 0]]]), { size: image.shape });
 * const y = gridSample(image, shifted, { padding: "border" }); // [1, 3, 16, 16]
 * ```
 */
export const gridSample: (x: Tensor, grid: Tensor, options?: GridSampleOptions) => Tensor = computeInF32(
  (x, grid, options = {}) => {
    const name = "gridSample";
    checkOptions(name, options, ["mode", "padding", "alignCorners"]);
    const { mode = "linear", padding = "zeros", alignCorners = false } = options;
    const describe = (t: unknown): string => (t instanceof Tensor ? `${t}` : show(t));
    check(
      x instanceof Tensor && (x.rank === 4 || x.rank === 5) && x.dtype === "f32" && x.size > 0,
      name,
      () => `the image is a non-empty f32 tensor [N, C, H, W] or [N, C, D, H, W], got ${describe(x)}`,
    );
    const dims = x.rank - 2;
    check(
      grid instanceof Tensor && grid.rank === x.rank && grid.dtype === "f32" && grid.size > 0,
      name,
      () => `the grid is a non-empty f32 tensor of rank ${x.rank} for ${x}, got ${describe(grid)}`,
    );
    check(
      grid.shape[0] === x.shape[0] && grid.shape[dims + 1] === dims,
      name,
      () => `the grid for ${x} is [${x.shape[0]}, ...out, ${dims}], got ${grid}`,
    );
    check(
      ["linear", "nearest", "cubic"].includes(mode),
      name,
      () => `mode is "linear", "nearest" or "cubic", got ${show(mode)}`,
    );
    check(
      mode !== "cubic" || dims === 2,
      name,
      () => `mode "cubic" is for images [N, C, H, W], got ${x}; use "linear" in three dimensions`,
    );
    check(
      ["zeros", "border", "reflection"].includes(padding),
      name,
      () => `padding is "zeros", "border" or "reflection", got ${show(padding)}`,
    );
    check(typeof alignCorners === "boolean", name, () => `alignCorners is true or false, got ${show(alignCorners)}`);
    const samples = x.shape[0];
    const out = grid.shape.slice(1, -1);
    const points = size(out);
    const shape = [...x.shape.slice(0, 2), ...out];
    checkShape(name, shape);

    const image = padded(x, mode, padding, alignCorners);
    const space = image.shape.slice(2);
    checkShape(name, [...image.shape.slice(0, 1), ...space]);
    const taps = { nearest: 1, linear: 2, cubic: 4 }[mode];
    const shift = margins(mode, padding).before - (mode === "cubic" ? 1 : 0);
    let cell: Tensor = scalar(0, "i32", [samples, points]);
    let weight: Tensor = scalar(1, "f32", [samples, ...space.map(() => 1), points]);
    for (let axis = 0; axis < dims; axis++) {
      // The last coordinate of a point belongs to the first axis.
      const at = dims - 1 - axis;
      const coordinate = reshape(slice(grid, { start: [...out.map(() => 0), 0, at], end: [samples, ...out, at + 1] }), {
        shape: [samples, points],
      });
      const place = placeOf(coordinate, { size: x.shape[axis + 2], mode, padding, alignCorners });
      const whole = floor(stopGradient(place));
      cell = add(mul(cell, space[axis]), add(cast(whole, "i32"), shift));
      if (mode === "nearest") continue;
      const along = space.map((_, k) => (k === axis ? taps : 1));
      weight = mul(weight, reshape(weights(mode, sub(place, whole)), { shape: [samples, ...along, points] }));
    }
    const triple = (list: readonly number[]): Triple => (dims === 3 ? list : [1, ...list]) as unknown as Triple;
    const attrs: Taps = { space: triple(space), taps: triple(space.map(() => taps)) };
    const flat = reshape(image, { shape: [samples, x.shape[1], size(space)] });
    const perTap = reshape(weight, { shape: [samples, taps ** dims, points] });
    return reshape(gather(flat, stopGradient(cell), perTap, attrs), { shape });
  },
);
