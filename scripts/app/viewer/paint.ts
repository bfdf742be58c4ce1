/** Painting labels on slices. Slices lie across an axis of the grid: 0 sagittal, 1 coronal, 2 axial. */
import { acrossOf, type Axis, sliceDistances, slicesOf, stridesOf } from "../slices.ts";
import type { Edits } from "./edits.ts";

export interface Brush {
  /** mm; a voxel is painted if its center lies within it, and always the one under the pointer. */
  readonly radius: number;
  /** 0 erases. */
  readonly value: number;
  /** Distance of voxels along x, y, z in mm. */
  readonly spacing: readonly number[];
}

/**
 * Paints from one place of a slice to another.
 *
 * @param from, to: voxels along x, y, z; the center of the first voxel is [0, 0, 0]
 */
export function stroke(
  edits: Edits,
  axis: Axis,
  from: readonly number[],
  to: readonly number[],
  brush: Brush,
): void {
  const { spacing, radius } = brush;
  const length = Math.hypot(...[0, 1, 2].map((k) => (to[k] - from[k]) * spacing[k]));
  // Dabs overlap by half, and skip no voxel.
  const steps = Math.max(1, Math.ceil(length / Math.max(radius / 2, Math.min(...spacing) / 2)));
  for (let k = 0; k <= steps; k++) dab(edits, axis, from.map((v, i) => v + ((to[i] - v) * k) / steps), brush);
}

function dab(edits: Edits, axis: Axis, at: readonly number[], { radius, value, spacing }: Brush): void {
  const { shape } = edits;
  const strides = stridesOf(shape);
  const [a, b] = acrossOf(axis);
  const center = at.map(Math.round);
  if (center.some((v, k) => v < 0 || v >= shape[k])) return;
  const reach = [a, b].map((k) => Math.ceil(radius / spacing[k]));
  for (let v = Math.max(0, center[b] - reach[1]); v <= Math.min(shape[b] - 1, center[b] + reach[1]); v++) {
    for (let u = Math.max(0, center[a] - reach[0]); u <= Math.min(shape[a] - 1, center[a] + reach[0]); u++) {
      const inside = Math.hypot((u - at[a]) * spacing[a], (v - at[b]) * spacing[b]) <= radius;
      if (!inside && (u !== center[a] || v !== center[b])) continue;
      edits.set(center[axis] * strides[axis] + u * strides[a] + v * strides[b], value);
    }
  }
}

/** Fills the region of one label around a place of a slice, bounded by other labels and the edge. */
export function fill(edits: Edits, axis: Axis, at: readonly number[], value: number): void {
  const { shape, labels } = edits;
  const strides = stridesOf(shape);
  const [a, b] = acrossOf(axis);
  const start = at.map(Math.round);
  if (start.some((v, k) => v < 0 || v >= shape[k])) return;
  const first = start[axis] * strides[axis];
  const old = labels[first + start[a] * strides[a] + start[b] * strides[b]];
  if (old === value) return;
  const open = [[start[a], start[b]]];
  for (let next = open.pop(); next; next = open.pop()) {
    const [u, v] = next;
    if (u < 0 || v < 0 || u >= shape[a] || v >= shape[b]) continue;
    const index = first + u * strides[a] + v * strides[b];
    if (labels[index] !== old) continue;
    edits.set(index, value);
    open.push([u + 1, v], [u - 1, v], [u, v + 1], [u, v - 1]);
  }
}

/**
 * Fills the slices between those that show a class, by shape: where the mean of the signed distances to the outlines of
 * the two neighbors, weighted by nearness, lies inside. Voxels of other classes keep theirs.
 *
 * @returns how many slices were filled
 */
export function interpolate(edits: Edits, axis: Axis, value: number, spacing: readonly number[]): number {
  const { shape, labels } = edits;
  const strides = stridesOf(shape);
  const [a, b] = acrossOf(axis);
  const shown = slicesOf(labels, shape, axis, value);
  const distances = (slice: number): Float32Array => sliceDistances(labels, shape, axis, slice, value, spacing);
  let filled = 0;
  for (let n = 0; n + 1 < shown.length; n++) {
    const [low, high] = [shown[n], shown[n + 1]];
    if (high - low < 2) continue;
    const [before, after] = [distances(low), distances(high)];
    for (let slice = low + 1; slice < high; slice++, filled++) {
      const share = (slice - low) / (high - low);
      for (let v = 0, k = 0; v < shape[b]; v++) {
        for (let u = 0; u < shape[a]; u++, k++) {
          if ((1 - share) * before[k] + share * after[k] > 0) continue;
          const index = slice * strides[axis] + u * strides[a] + v * strides[b];
          if (labels[index] === 0) edits.set(index, value);
        }
      }
    }
  }
  return filled;
}
