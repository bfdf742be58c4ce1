/** How likely classes are in a scan, by similarity and by the slices of it that are painted; and labels from that. */
import { type Axis, sliceDistances, slicesOf, stridesOf } from "../slices.ts";

/** How likely a class is against the background, from 0 to 1, on the grid that the page shows. */
export interface LikelyClass {
  readonly value: number;
  readonly likely: Float32Array<ArrayBuffer>;
}

interface Painted {
  readonly labels: Uint8Array;
  readonly shape: readonly [number, number, number];
  /** mm along x, y, z. */
  readonly spacing: readonly number[];
  /** Across which its slices are painted. */
  readonly axis: Axis;
}

/** Distance in mm over which a place becomes e times less likely, as measured on the spleen (bench/RESULTS.md). */
const REACH = 8;
const EDGE = 1e-4;

/**
 * Combines similarity with the place, for a scan that is painted itself: near and between painted slices a class lies
 * where their outlines are, interpolated by their signed distances; beyond the first and the last slice it narrows.
 */
export function withPlace({ value, likely }: LikelyClass, painted: Painted): LikelyClass {
  const { labels, shape, spacing, axis } = painted;
  const shown = slicesOf(labels, shape, axis, value);
  if (shown.length === 0) return { value, likely };
  const out = new Float32Array(likely.length);
  const strides = stridesOf(shape);
  const [a, b] = [0, 1, 2].filter((k) => k !== axis);
  const known = new Map<number, Float32Array>();
  const distances = (slice: number): Float32Array => {
    const made = known.get(slice) ?? sliceDistances(labels, shape, axis, slice, value, spacing);
    known.set(slice, made);
    return made;
  };
  for (let slice = 0; slice < shape[axis]; slice++) {
    const above = shown.find((k) => k >= slice) ?? shown.at(-1)!;
    const below = shown.filter((k) => k <= slice).at(-1) ?? shown[0];
    const [low, high] = [distances(below), distances(above)];
    const share = above === below ? 0 : (slice - below) / (above - below);
    // Beyond the painted slices. One alone does not say that a class ends near it.
    const away = shown.length > 1 ? Math.max(0, slice - shown.at(-1)!, shown[0] - slice) * spacing[axis] : 0;
    for (let v = 0, k = 0; v < shape[b]; v++) {
      for (let u = 0; u < shape[a]; u++, k++) {
        const at = slice * strides[axis] + u * strides[a] + v * strides[b];
        const distance = (1 - share) * low[k] + share * high[k] + away;
        const p = Math.min(1 - EDGE, Math.max(EDGE, likely[at]));
        const odds = Math.log(p / (1 - p)) - distance / REACH;
        out[at] = 1 / (1 + Math.exp(-odds));
      }
    }
  }
  return { value, likely: out };
}

/**
 * The most likely class of each voxel above a threshold; within the slices from the first to the last.
 *
 * @param threshold from 0 to 1; 0.5 is where a class is as likely as the background
 * @param range first and last slice across the axis, from 0
 */
export function labelsFrom(
  classes: readonly LikelyClass[],
  { shape, axis, threshold, range }: {
    shape: readonly number[];
    axis: Axis;
    threshold: number;
    range: readonly [number, number];
  },
): Uint8Array<ArrayBuffer> {
  const labels = new Uint8Array(shape[0] * shape[1] * shape[2]);
  const best = new Float32Array(labels.length).fill(threshold);
  const stride = stridesOf(shape)[axis];
  for (const { value, likely } of classes) {
    for (let i = 0; i < labels.length; i++) {
      if (likely[i] <= best[i]) continue;
      const slice = Math.floor(i / stride) % shape[axis];
      if (slice < range[0] || slice > range[1]) continue;
      best[i] = likely[i];
      labels[i] = value;
    }
  }
  return labels;
}

/**
 * Puts painted slices back, in place: a class that a slice shows is there as it was painted; what was corrected stays
 * as it is in whole.
 *
 * @param corrected slices across the axis
 */
export function keepSlices(
  found: Uint8Array,
  { labels, shape, axis }: Omit<Painted, "spacing">,
  corrected: readonly number[],
): void {
  const stride = stridesOf(shape)[axis];
  const sliceOf = (i: number): number => Math.floor(i / stride) % shape[axis];
  const shown = Array.from({ length: shape[axis] }, () => new Set<number>());
  for (let i = 0; i < labels.length; i++) if (labels[i] > 0) shown[sliceOf(i)].add(labels[i]);
  const whole = new Set(corrected);
  for (let i = 0; i < labels.length; i++) {
    const slice = sliceOf(i);
    if (labels[i] > 0 || whole.has(slice) || shown[slice].has(found[i])) found[i] = labels[i];
  }
}
