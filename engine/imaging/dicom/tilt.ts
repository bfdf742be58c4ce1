/** Series of a tilted gantry: slices that are shifted against each other. */
import { composeAffines, scaling } from "../volume/affine.ts";
import type { Volume } from "../volume/volume.ts";

/**
 * The volume with its slices one above the other: each is shifted back, linearly between pixels, onto a grid that
 * covers all. What no slice covers has the smallest value of the volume, which is air in CT.
 *
 * @param volume whose affine has the slices one above the other already
 * @param shift by how many pixels each slice lies further to the right and down than the one before
 */
export function straightened(volume: Volume, shift: readonly [number, number]): Volume {
  const { data, shape: [columns, rows, count] } = volume;
  // The grid begins at the outermost slice, on a whole pixel of the first.
  const ends = shift.map((each) => each * (count - 1));
  const start = ends.map((end) => Math.floor(Math.min(0, end)));
  const [width, height] = [columns, rows].map((size, axis) => size + Math.ceil(Math.max(0, ends[axis])) - start[axis]);
  let lowest = Infinity;
  for (const value of data) lowest = Math.min(lowest, value);
  const out = new Float32Array(width * height * count).fill(lowest);
  for (let z = 0; z < count; z++) {
    const across = taps(width, columns, start[0] - z * shift[0]);
    const down = taps(height, rows, start[1] - z * shift[1]);
    for (const [y, low, high, weight] of down) {
      const [a, b] = [(z * rows + low) * columns, (z * rows + high) * columns];
      for (const [x, left, right, part] of across) {
        const above = data[a + left] * (1 - part) + data[a + right] * part;
        const below = data[b + left] * (1 - part) + data[b + right] * part;
        out[(z * height + y) * width + x] = above * (1 - weight) + below * weight;
      }
    }
  }
  const affine = composeAffines(volume.affine, scaling([1, 1, 1], [start[0], start[1], 0]));
  return { ...volume, data: out, shape: [width, height, count], affine };
}

/** For each output pixel that the input covers: its number, both neighbors, and the weight of the second. */
function taps(size: number, input: number, from: number): [number, number, number, number][] {
  const found: [number, number, number, number][] = [];
  for (let k = 0; k < size; k++) {
    const at = k + from;
    if (at < -0.5 || at > input - 0.5) continue;
    const inside = Math.min(Math.max(at, 0), input - 1);
    const low = Math.min(Math.floor(inside), Math.max(0, input - 2));
    found.push([k, low, Math.min(low + 1, input - 1), inside - low]);
  }
  return found;
}
