/**
 * Surface distance metrics of two segmentations. A surface is a mask minus its erosion by direct neighbors, with the
 * border of the grid as outside; each voxel of one surface has a distance to the nearest voxel of the other. They are
 * NaN if a mask is empty.
 */
import { check, show } from "../../core/errors.ts";
import { directedDistances, surfaces } from "./surface_distance.ts";
import type { MaskPair } from "./surface_distance.ts";

type Labels = ArrayLike<number>;

export interface SurfaceOptions {
  /** Sizes of the axes, one to three, the last running fastest: [z, y, x] of a tensor. */
  readonly shape: readonly number[];
  /** Distance between voxel centers along each axis of `shape`, in mm; default 1. */
  readonly spacing?: readonly number[];
  /** The label to compare; default any voxel other than 0. */
  readonly label?: number;
}

/** Distances of both surfaces, each sorted, and the derived measures. */
export interface SurfaceMeasures {
  readonly hausdorff: number;
  /** 95th percentile of both surfaces' distances in one list. */
  readonly hausdorff95: number;
  /** The larger of each surface's own 95th percentile. */
  readonly hausdorff95MaxOfDirected: number;
  readonly averageSymmetricSurfaceDistance: number;
  readonly surfaceDice: number;
}

/** Lowest and highest index along three axes. */
export interface Box {
  readonly low: readonly number[];
  readonly high: readonly number[];
}

/** Two label maps as bits in a box; undefined without a box. Ignored voxels of the reference are in neither. */
export function cropPair(
  prediction: Labels,
  reference: Labels,
  options: { shape: readonly number[]; member: (value: number) => boolean; box: Box | undefined; ignore?: number },
): MaskPair | undefined {
  const { shape, member, box, ignore } = options;
  if (!box) return undefined;
  const [, h, w] = [1, 1, 1, ...shape].slice(-3);
  const size = box.low.map((start, axis) => box.high[axis] - start + 1);
  const bits = new Uint8Array(size[0] * size[1] * size[2]);
  for (let z = 0, to = 0; z < size[0]; z++) {
    for (let y = 0; y < size[1]; y++) {
      let at = ((z + box.low[0]) * h + y + box.low[1]) * w + box.low[2];
      for (let x = 0; x < size[2]; x++, at++, to++) {
        if (reference[at] === ignore) continue;
        bits[to] = (member(prediction[at]) ? 1 : 0) | (member(reference[at]) ? 2 : 0);
      }
    }
  }
  return { bits, shape: size.slice(3 - shape.length) };
}

/** Bounding box of one label, or of all non-zero labels, in two label maps. */
function boxAround(
  labels: readonly Labels[],
  shape: readonly number[],
  member: (value: number) => boolean,
): Box | undefined {
  const [d, h, w] = [1, 1, 1, ...shape].slice(-3);
  const [low, high] = [
    [d, h, w],
    [-1, -1, -1],
  ];
  for (const map of labels) {
    for (let z = 0, at = 0; z < d; z++) {
      for (let y = 0; y < h; y++) {
        for (let x = 0; x < w; x++, at++) {
          if (!member(map[at])) continue;
          if (z < low[0]) low[0] = z;
          if (z > high[0]) high[0] = z;
          if (y < low[1]) low[1] = y;
          if (y > high[1]) high[1] = y;
          if (x < low[2]) low[2] = x;
          if (x > high[2]) high[2] = x;
        }
      }
    }
  }
  return high[0] < 0 ? undefined : { low, high };
}

/**
 * All measures of two masks at once.
 *
 * @param options tolerance: of surfaceDice, in the units of spacing; default 1
 */
export function measureSurfaces(
  pair: MaskPair | undefined,
  options: { spacing: readonly number[]; tolerance?: number },
): SurfaceMeasures {
  const { spacing, tolerance = 1 } = options;
  const edges = pair && surfaces(pair);
  const directed = (from: 1 | 2, to: 1 | 2) =>
    edges ? directedDistances(edges, { from, to, spacing }) : new Float64Array(0);
  const [a, b] = [directed(1, 2), directed(2, 1)];
  if (a.length === 0 || b.length === 0) {
    // With one mask empty every surface voxel of the other is beyond any tolerance.
    const [hausdorff, surfaceDice] = [NaN, pair ? 0 : NaN];
    return {
      hausdorff,
      hausdorff95: NaN,
      hausdorff95MaxOfDirected: NaN,
      averageSymmetricSurfaceDistance: NaN,
      surfaceDice,
    };
  }
  const both = new Float64Array(a.length + b.length);
  both.set(a);
  both.set(b, a.length);
  both.sort();
  return {
    hausdorff: both[both.length - 1],
    hausdorff95: percentile(both, 0.95),
    hausdorff95MaxOfDirected: Math.max(percentile(a, 0.95), percentile(b, 0.95)),
    averageSymmetricSurfaceDistance: mean(both),
    surfaceDice: (within(a, tolerance) + within(b, tolerance)) / both.length,
  };
}

/** Linear between ranks, as numpy.percentile. */
function percentile(sorted: Float64Array, share: number): number {
  const rank = share * (sorted.length - 1);
  const low = Math.floor(rank);
  const high = Math.min(low + 1, sorted.length - 1);
  return sorted[low] + (rank - low) * (sorted[high] - sorted[low]);
}

const mean = (values: Float64Array): number => values.reduce((sum, value) => sum + value, 0) / values.length;

/** Number of sorted values up to a limit, with tolerance for the rounding of a square root. */
function within(sorted: Float64Array, limit: number): number {
  let [low, high] = [0, sorted.length];
  const most = limit * (1 + 1e-12);
  while (low < high) {
    const middle = (low + high) >> 1;
    if (sorted[middle] <= most) low = middle + 1;
    else high = middle;
  }
  return low;
}

/**
 * The measures of `hausdorff`, `hausdorff95`, `averageSymmetricSurfaceDistance` and `surfaceDice` in one pass.
 *
 * @throws VoxgradError when shape, spacing and sizes do not fit
 * @example
 * ```ts
 * import { metrics } from "voxgrad";
 *
 * const options = { shape: [1, 1, 4], spacing: [1, 1, 2], label: 1 };
 * metrics.surfaceMeasures([0, 1, 1, 0], [0, 1, 1, 1], options);
 * ```
 */
export function surfaceMeasures(
  prediction: Labels,
  reference: Labels,
  options: SurfaceOptions & { tolerance?: number },
  name = "surfaceMeasures",
): SurfaceMeasures {
  const { shape, label, spacing = shape?.map(() => 1), tolerance } = options;
  const sized = Array.isArray(shape) && shape.length >= 1 && shape.length <= 3 &&
    shape.every((n) => n > 0 && n < 65535);
  check(sized, name, () => `shape is a list of one to three sizes below 65535, got ${show(shape)}`);
  const count = shape.reduce((a, b) => a * b, 1);
  check(prediction.length === count && reference.length === count, name, () => {
    return `shape ${
      show(shape)
    } has ${count} voxels, prediction ${prediction.length} and reference ${reference.length}`;
  });
  const spaced = spacing.length === shape.length && spacing.every((step) => step > 0 && step < Infinity);
  check(spaced, name, () => `spacing is one number above 0 for each axis of ${show(shape)}, got ${show(spacing)}`);
  const member = label === undefined ? (value: number) => value !== 0 : (value: number) => value === label;
  const box = boxAround([prediction, reference], shape, member);
  return measureSurfaces(cropPair(prediction, reference, { shape, member, box }), { spacing, tolerance });
}

/**
 * Hausdorff distance: the largest distance from a surface voxel of either to the other's surface. NaN when a mask is
 * empty.
 *
 * @param prediction labels, the last axis of `shape` running fastest
 * @throws VoxgradError when shape, spacing and sizes do not fit
 * @example
 * ```ts
 * import { metrics } from "voxgrad";
 *
 * metrics.hausdorff([0, 1, 1, 0], [0, 1, 1, 1], { shape: [1, 1, 4], spacing: [1, 1, 2], label: 1 }); // 2; in mm
 * ```
 */
export const hausdorff = (prediction: Labels, reference: Labels, options: SurfaceOptions): number =>
  surfaceMeasures(prediction, reference, options, "hausdorff").hausdorff;

/**
 * 95th percentile (linear between ranks) of the surface distances, by either of two common definitions: "concatenated"
 * uses both surfaces' distances in one list, as medpy does; "max of directed" is the larger of the two surfaces'
 * percentiles, as in MONAI. NaN when a mask is empty.
 *
 * @throws VoxgradError when shape, spacing and sizes do not fit
 * @example
 * ```ts
 * import { metrics } from "voxgrad";
 *
 * const options = { shape: [1, 1, 4], spacing: [1, 1, 2], definition: "max of directed" } as const;
 * metrics.hausdorff95([0, 1, 1, 0], [0, 1, 1, 1], options);
 * ```
 */
export function hausdorff95(
  prediction: Labels,
  reference: Labels,
  options: SurfaceOptions & { definition?: "concatenated" | "max of directed" },
): number {
  const { definition = "concatenated", ...rest } = options;
  const known = definition === "concatenated" || definition === "max of directed";
  check(known, "hausdorff95", () => `definition is "concatenated" or "max of directed", got ${show(definition)}`);
  const all = surfaceMeasures(prediction, reference, rest, "hausdorff95");
  return definition === "concatenated" ? all.hausdorff95 : all.hausdorff95MaxOfDirected;
}

/**
 * Average symmetric surface distance (ASSD): the mean over the voxels of both surfaces, in one list, of the distance to
 * the other surface. NaN when a mask is empty.
 *
 * @throws VoxgradError when shape, spacing and sizes do not fit
 */
export const averageSymmetricSurfaceDistance = (
  prediction: Labels,
  reference: Labels,
  options: SurfaceOptions,
): number =>
  surfaceMeasures(prediction, reference, options, "averageSymmetricSurfaceDistance").averageSymmetricSurfaceDistance;

/**
 * Surface Dice at a tolerance (Nikolov et al. 2021, by surface voxels as MONAI counts them): the share of both
 * surfaces' voxels that lie within the tolerance of the other surface. NaN when both masks are empty, 0 when one is.
 *
 * @param options tolerance: in the units of spacing; default 1
 * @throws VoxgradError when shape, spacing and sizes do not fit
 * @example
 * ```ts
 * import { metrics } from "voxgrad";
 *
 * metrics.surfaceDice([0, 1, 1, 0], [0, 1, 1, 1], { shape: [1, 1, 4], spacing: [1, 1, 2], tolerance: 2 }); // 1
 * ```
 */
export const surfaceDice = (
  prediction: Labels,
  reference: Labels,
  options: SurfaceOptions & { tolerance?: number },
): number => surfaceMeasures(prediction, reference, options, "surfaceDice").surfaceDice;
