/** Distances, components and holes by plain float64 loops, and masks that are hard for union-find. */
import * as assert from "uvu/assert";
import { noise } from "../noise.ts";

export type Size = readonly [number, number, number];

/** Elements of a shape. */
export const count = (shape: readonly number[]): number => shape.reduce((product, n) => product * n, 1);
/** Pads a shape of 2 or 3 axes to 3. */
export const volume = (shape: readonly number[]): Size => [...new Array(3 - shape.length).fill(1), ...shape] as never;

export function assertSame(got: ArrayLike<number>, wanted: ArrayLike<number>, what: string): void {
  assert.is(got.length, wanted.length, what);
  let differing = 0;
  for (let i = 0; i < wanted.length; i++) if (got[i] !== wanted[i]) differing++;
  assert.is(differing, 0, `${what}: ${differing} of ${wanted.length} voxels differ`);
}

/** True with probability `share`, the same on every host. */
export const randomMask = (count: number, share: number, seed: number): Uint8Array =>
  Uint8Array.from(noise(count, seed), (v) => (v < 2 * share - 1 ? 1 : 0));

/** Brute force: every voxel against every zero voxel. */
export function distances(mask: ArrayLike<number>, [, height, width]: Size, spacing: readonly number[]): Float64Array {
  const place = (i: number): number[] => [
    Math.floor(i / (height * width)) * spacing[0],
    (Math.floor(i / width) % height) * spacing[1],
    (i % width) * spacing[2],
  ];
  const zeros: number[][] = [];
  for (let i = 0; i < mask.length; i++) if (!mask[i]) zeros.push(place(i));
  return Float64Array.from({ length: mask.length }, (_, i) => {
    if (!mask[i]) return 0;
    const [z, y, x] = place(i) as [number, number, number];
    let best = Infinity;
    for (const zero of zeros) best = Math.min(best, (z - zero[0]) ** 2 + (y - zero[1]) ** 2 + (x - zero[2]) ** 2);
    return Math.sqrt(best);
  });
}

/** Flood fill from every voxel that has no label yet, in scan order; neighbors differ in at most `steps` axes. */
export function components(mask: ArrayLike<number>, [depth, height, width]: Size, steps: number): Int32Array {
  const labels = new Int32Array(mask.length);
  let count = 0;
  for (let seed = 0; seed < mask.length; seed++) {
    if (!mask[seed] || labels[seed]) continue;
    labels[seed] = ++count;
    const stack = [seed];
    while (stack.length > 0) {
      const i = stack.pop()!;
      const [z, y, x] = [Math.floor(i / (height * width)), Math.floor(i / width) % height, i % width];
      for (let dz = -1; dz <= 1; dz++) {
        for (let dy = -1; dy <= 1; dy++) {
          for (let dx = -1; dx <= 1; dx++) {
            const [a, b, c] = [z + dz, y + dy, x + dx];
            if (Math.abs(dz) + Math.abs(dy) + Math.abs(dx) > steps) continue;
            if (a < 0 || a >= depth || b < 0 || b >= height || c < 0 || c >= width) continue;
            const j = (a * height + b) * width + c;
            if (!mask[j] || labels[j]) continue;
            labels[j] = count;
            stack.push(j);
          }
        }
      }
    }
  }
  return labels;
}

/** 1 for the mask and for components of the rest that have no voxel at an end of the last `axes` axes. */
export function filled(mask: ArrayLike<number>, size: Size, axes: number): Uint8Array {
  const [depth, height, width] = size;
  const labels = components(
    Array.from(mask, (v) => (v ? 0 : 1)),
    size,
    1,
  );
  const open = new Set<number>();
  labels.forEach((label, i) => {
    const [z, y, x] = [Math.floor(i / (height * width)), Math.floor(i / width) % height, i % width];
    const ends = [x === 0 || x === width - 1, y === 0 || y === height - 1, z === 0 || z === depth - 1];
    if (ends.slice(0, axes).some((end) => end)) open.add(label);
  });
  return Uint8Array.from(mask, (v, i) => (v || !open.has(labels[i]) ? 1 : 0));
}

/**
 * A single path, one voxel thick, through all of a cube: along lines of the last axis, back and forth, slice by slice.
 */
export function snake(n: number): Uint8Array {
  const mask = new Uint8Array(n ** 3);
  const set = (z: number, y: number, x: number): void => void (mask[(z * n + y) * n + x] = 1);
  let [row, end] = [0, 0];
  for (let z = 0; z < n; z += 2) {
    const rows = Array.from({ length: Math.ceil(n / 2) }, (_, k) => 2 * k);
    // Every other slice is traversed from its last line to its first.
    if (row > 0) rows.reverse();
    rows.forEach((y, k) => {
      for (let x = 0; x < n; x++) set(z, y, x);
      end = n - 1 - end;
      if (k + 1 < rows.length) set(z, (y + rows[k + 1]) / 2, end);
      row = y;
    });
    if (z + 2 < n) set(z + 1, row, end);
  }
  return mask;
}

/** A spiral path in a square, one pixel thick, with a pixel between its turns. */
export function spiral(n: number): Uint8Array {
  const mask = new Uint8Array(n * n);
  const at = (y: number, x: number): number => (y < 0 || x < 0 || y >= n || x >= n ? 0 : mask[y * n + x]);
  let [y, x, dy, dx] = [0, 0, 0, 1];
  for (let turns = 0; turns < 2;) {
    mask[y * n + x] = 1;
    const inside = y + dy >= 0 && y + dy < n && x + dx >= 0 && x + dx < n;
    if (inside && !at(y + 2 * dy, x + 2 * dx)) {
      [y, x, turns] = [y + dy, x + dx, 0];
    } else {
      [dy, dx, turns] = [dx, -dy, turns + 1];
    }
  }
  return mask;
}
