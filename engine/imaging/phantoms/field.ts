/** Smooth random fields for the phantom, by cubic B-splines: sums and products only, the same on every host. */
import type { Prng } from "../../core/prng.ts";
import type { Triple } from "../volume/volume.ts";

/** 0 below 0, 1 above 1, smooth between. */
export const smoothstep = (t: number): number => {
  const u = Math.min(1, Math.max(0, t));
  return u * u * (3 - 2 * u);
};

/** A random field over a grid, x fastest, with about `cells` independent cells a side; mean 0, values near +-0.3. */
export function smoothField(prng: Prng, shape: Triple, cells: number): Float64Array {
  const sizes: [number, number, number] = [cells + 3, cells + 3, cells + 3];
  let field: Float64Array = Float64Array.from({ length: sizes[0] * sizes[1] * sizes[2] }, () => prng.normal());
  for (const axis of [0, 1, 2] as const) {
    field = stretch(field, sizes, axis, shape[axis], cells);
    sizes[axis] = shape[axis];
  }
  return field;
}

/** Replaces one axis of `cells + 3` B-spline coefficients by `length` samples of the spline. */
function stretch(field: Float64Array, sizes: Triple, axis: 0 | 1 | 2, length: number, cells: number): Float64Array {
  const inner = sizes.slice(0, axis).reduce((a, b) => a * b, 1);
  const outer = sizes.slice(axis + 1).reduce((a, b) => a * b, 1);
  const out = new Float64Array(inner * length * outer);
  for (let i = 0; i < length; i++) {
    const at = length > 1 ? (i / (length - 1)) * cells : 0;
    const cell = Math.min(cells - 1, Math.floor(at));
    const t = at - cell;
    const s = 1 - t;
    const weights = [s * s * s, 3 * t * t * t - 6 * t * t + 4, 3 * s * s * s - 6 * s * s + 4, t * t * t];
    for (let o = 0; o < outer; o++) {
      const from = (o * (cells + 3) + cell) * inner;
      const to = (o * length + i) * inner;
      for (let n = 0; n < inner; n++) {
        let sum = 0;
        for (let k = 0; k < 4; k++) sum += weights[k] * field[from + k * inner + n];
        out[to + n] = sum / 6;
      }
    }
  }
  return out;
}
