/** Painting labels on slices. Slices lie across an axis of the grid: 0 sagittal, 1 coronal, 2 axial. */
import type { Edits } from "./edits.ts";

export type Axis = 0 | 1 | 2;

/** The two axes of a slice. */
export const acrossOf = (axis: Axis): readonly [Axis, Axis] => ([[1, 2], [0, 2], [0, 1]] as const)[axis];

const stridesOf = ([X, Y]: readonly number[]): readonly number[] => [1, X, X * Y];

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

/** The slices across an axis that show a class. */
export function slicesWith({ labels, shape }: Edits, axis: Axis, value: number): number[] {
  const [stride] = [stridesOf(shape)[axis]];
  const shown = new Uint8Array(shape[axis]);
  for (let i = 0; i < labels.length; i++) if (labels[i] === value) shown[Math.floor(i / stride) % shape[axis]] = 1;
  return [...shown.keys()].filter((k) => shown[k] === 1);
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
  const shown = slicesWith(edits, axis, value);
  const distances = (slice: number): Float32Array => {
    const mask = new Uint8Array(shape[a] * shape[b]);
    for (let v = 0, k = 0; v < shape[b]; v++) {
      for (let u = 0; u < shape[a]; u++, k++) {
        mask[k] = Number(labels[slice * strides[axis] + u * strides[a] + v * strides[b]] === value);
      }
    }
    return signedDistances(mask, [shape[a], shape[b]], [spacing[a], spacing[b]]);
  };
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

/** Distances in mm to the nearest pixel of the other kind, negative inside of the mask: exact, by parabolas. */
function signedDistances(
  mask: Uint8Array,
  shape: readonly [number, number],
  spacing: readonly [number, number],
): Float32Array {
  const [outside, inside] = [1, 0].map((kind) => squaredDistances(mask, kind, shape, spacing));
  return Float32Array.from(mask, (on, i) => (on ? -Math.sqrt(inside[i]) : Math.sqrt(outside[i])));
}

/** Squared distances to the nearest pixel of a kind (Felzenszwalb and Huttenlocher 2012). */
function squaredDistances(
  mask: Uint8Array,
  kind: number,
  [width, height]: readonly [number, number],
  spacing: readonly [number, number],
): Float64Array {
  const far = (width * spacing[0]) ** 2 + (height * spacing[1]) ** 2;
  const values = Float64Array.from(mask, (on) => (on === kind ? 0 : far));
  for (let v = 0; v < height; v++) lowerEnvelope(values, v * width, 1, width, spacing[0]);
  for (let u = 0; u < width; u++) lowerEnvelope(values, u, width, height, spacing[1]);
  return values;
}

function lowerEnvelope(values: Float64Array, start: number, stride: number, count: number, step: number): void {
  const f = Float64Array.from({ length: count }, (_, k) => values[start + k * stride]);
  const centers = new Int32Array(count);
  const bounds = new Float64Array(count + 1).fill(Infinity);
  bounds[0] = -Infinity;
  let last = 0;
  const meet = (p: number, q: number): number =>
    (f[q] - f[p] + (q * step) ** 2 - (p * step) ** 2) / (2 * step * step * (q - p));
  for (let q = 1; q < count; q++) {
    let at = meet(centers[last], q);
    while (at <= bounds[last]) at = meet(centers[--last], q);
    centers[++last] = q;
    bounds[last] = at;
    bounds[last + 1] = Infinity;
  }
  for (let q = 0, k = 0; q < count; q++) {
    while (bounds[k + 1] < q) k++;
    values[start + q * stride] = ((q - centers[k]) * step) ** 2 + f[centers[k]];
  }
}
