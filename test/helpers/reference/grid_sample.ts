/** gridSample as loops in float64, written from the definition of torch.nn.functional.grid_sample. */
import type { GridSampleOptions } from "../../../engine/mod.ts";

type Options = Required<GridSampleOptions>;
type Tap = [voxel: number, weight: number];

/** Extends an axis of n voxels beyond its ends by reflection; null: outside. */
function voxelOf(i: number, n: number, { padding, alignCorners }: Options): number | null {
  if (padding === "border") return Math.min(n - 1, Math.max(0, i));
  if (padding === "zeros") return i >= 0 && i < n ? i : null;
  if (n === 1) return 0;
  while (i < 0 || i >= n) i = i < 0 ? -i - (alignCorners ? 0 : 1) : 2 * n - 1 - i - (alignCorners ? 1 : 0);
  return i;
}

const keys = (d: number): number =>
  d < 1 ? (1.25 * d - 2.25) * d * d + 1 : d < 2 ? -0.75 * d ** 3 + 3.75 * d * d - 6 * d + 3 : 0;

/**
 * Taps of one coordinate: voxels of the infinitely extended axis by their distance, clipped positions for linear ones.
 */
function tapsOf(coordinate: number, n: number, o: Options): Tap[] {
  let at = o.alignCorners ? ((coordinate + 1) / 2) * (n - 1) : ((coordinate + 1) * n - 1) / 2;
  if (o.mode !== "cubic" && o.padding !== "zeros") {
    if (o.padding === "reflection") {
      const [low, high] = o.alignCorners ? [0, n - 1] : [-0.5, n - 0.5];
      while (n > 1 && (at < low || at > high)) at = at < low ? 2 * low - at : 2 * high - at;
    }
    at = Math.min(n - 1, Math.max(0, at));
  }
  const first = o.mode === "nearest" ? Math.round(at) : Math.floor(at) - (o.mode === "cubic" ? 1 : 0);
  const count = { nearest: 1, linear: 2, cubic: 4 }[o.mode];
  return Array.from({ length: count }, (_, k): [number | null, number] => {
    const d = Math.abs(at - first - k);
    return [voxelOf(first + k, n, o), o.mode === "nearest" ? 1 : o.mode === "linear" ? 1 - d : keys(d)];
  }).filter((tap): tap is Tap => tap[0] !== null);
}

export interface Problem {
  /** [N, C, ...space] and [N, ...out, dims]. */
  image: number[];
  grid: number[];
  o: Options;
}
export const size = (shape: readonly number[]): number => shape.reduce((a, b) => a * b, 1);
export const outShape = ({ image, grid }: Problem): number[] => [...image.slice(0, 2), ...grid.slice(1, -1)];

/** Visits every (output, voxel, weight). */
function eachTap(
  p: Problem,
  grid: ArrayLike<number>,
  visit: (out: number, voxel: number, weight: number) => void,
): void {
  const space = p.image.slice(2);
  const [samples, channels] = p.image as [number, number];
  const points = size(p.grid.slice(1, -1));
  for (let n = 0; n < samples; n++) {
    for (let q = 0; q < points; q++) {
      const axes = space.map((m, k) => tapsOf(grid[(n * points + q + 1) * space.length - 1 - k], m, p.o));
      const joined = axes.reduce(
        (list, taps, k) => list.flatMap(([v, a]) => taps.map(([i, b]): Tap => [v * space[k] + i, a * b])),
        [[0, 1]] as Tap[],
      );
      for (let c = 0; c < channels; c++) {
        for (const [v, weight] of joined) {
          visit((n * channels + c) * points + q, (n * channels + c) * size(space) + v, weight);
        }
      }
    }
  }
}

/** Values at the points. */
export function sampled(p: Problem, x: ArrayLike<number>, grid: ArrayLike<number>): Float64Array {
  const y = new Float64Array(size(outShape(p)));
  eachTap(p, grid, (out, voxel, weight) => (y[out] += weight * x[voxel]));
  return y;
}

/** The adjoint with respect to the image. */
export function imageGradient(p: Problem, g: ArrayLike<number>, grid: ArrayLike<number>): Float64Array {
  const dx = new Float64Array(size(p.image));
  eachTap(p, grid, (out, voxel, weight) => (dx[voxel] += weight * g[out]));
  return dx;
}

export const dotOf = (a: ArrayLike<number>, b: ArrayLike<number>): number =>
  Array.from(a).reduce((total, v, k) => total + v * b[k], 0);
/** a + s b */
export const plus = (a: ArrayLike<number>, b: ArrayLike<number>, s: number): Float64Array =>
  Float64Array.from(a, (v, k) => v + s * b[k]);
