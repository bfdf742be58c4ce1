/** Inputs shared by all engines, and differences of results. */
import type { Input } from "./item.ts";

/** Mulberry32: uniform numbers in [0, 1), the same on every host. */
function uniform(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

const count = (shape: readonly number[]): number => shape.reduce((a, b) => a * b, 1);

/** Longer inputs of random numbers repeat after so many, a prime; longer outputs are compared at as many places. */
const PERIOD = 4_194_301;

/** The values of an input, or those that it repeats: i32 for labels and masks, else f32. */
export function makeInput(input: Input, seed: number): Float32Array | Int32Array {
  const { shape, values = "normal", scale = 1 } = input;
  const next = uniform(seed);
  const length = Math.min(count(shape), ["spheres", "grid"].includes(values) ? Infinity : PERIOD);
  switch (values) {
    case "normal":
      return Float32Array.from(
        { length },
        () => scale * Math.sqrt(-2 * Math.log(1 - next())) * Math.cos(2 * Math.PI * next()),
      );
    case "uniform":
      return Float32Array.from({ length }, () => scale * (2 * next() - 1));
    case "ones":
      return new Float32Array(length).fill(1);
    case "zeros":
      return new Float32Array(length);
    case "labels":
      return Int32Array.from({ length }, () => Math.floor(scale * next()));
    case "spheres":
      return spheres(shape as [number, number, number], next);
    case "grid":
      return grid(shape, next);
  }
}

/** Balls of radius 6 to 26 at random places. */
function spheres([depth, height, width]: [number, number, number], next: () => number): Int32Array {
  const balls = Array.from({ length: 24 }, () => [next() * depth, next() * height, next() * width, 6 + 20 * next()]);
  const mask = new Int32Array(depth * height * width);
  let k = 0;
  for (let z = 0; z < depth; z++) {
    for (let y = 0; y < height; y++) {
      for (let x = 0; x < width; x++, k++) {
        if (balls.some(([a, b, c, r]) => (z - a) ** 2 + (y - b) ** 2 + (x - c) ** 2 < r ** 2)) mask[k] = 1;
      }
    }
  }
  return mask;
}

/** [1, D, H, W, 3]: the voxels' own positions, each moved by up to 0.1. */
function grid(shape: readonly number[], next: () => number): Float32Array {
  const [, depth, height, width] = shape as [number, number, number, number];
  const out = new Float32Array(count(shape));
  const place = (k: number, n: number): number => (2 * k + 1) / n - 1 + 0.2 * (next() - 0.5);
  let k = 0;
  for (let z = 0; z < depth; z++) {
    for (let y = 0; y < height; y++) {
      for (let x = 0; x < width; x++) {
        out[k++] = place(x, width);
        out[k++] = place(y, height);
        out[k++] = place(z, depth);
      }
    }
  }
  return out;
}

/** The first `length` values of a periodic list. */
export function repeated<T extends Float32Array | Int32Array>(values: T, length: number): T {
  if (values.length === length) return values;
  const all = new (values.constructor as { new (length: number): T })(length);
  all.set(values);
  for (let done = values.length; done < length; done *= 2) all.copyWithin(done, 0, Math.min(done, length - done));
  return all;
}

/** Every how many values of an output are compared: an odd number, so that all columns of even rows take part. */
export const strideOf = (length: number): number => (length <= PERIOD ? 1 : Math.ceil(length / PERIOD) | 1);

/** The values of an output that are compared. */
export function sampled(values: Float32Array): Float32Array {
  const stride = strideOf(values.length);
  if (stride === 1) return values;
  return Float32Array.from({ length: Math.ceil(values.length / stride) }, (_, k) => values[k * stride]);
}

/**
 * For each output the largest difference of two results, relative to the largest value of that output, or to the
 * fraction `floor` of the largest of all if that is more; Infinity if sizes differ or a value is not finite.
 */
export function distances(a: readonly Float32Array[], b: readonly Float32Array[], floor = 0): number[] {
  if (a.length !== b.length) return [Infinity];
  const all = a.map((x, k) => {
    const y = b[k];
    if (x.length !== y.length) return { most: Infinity, scale: 1 };
    let [most, scale] = [0, 1e-30];
    for (let i = 0; i < x.length; i++) {
      const d = Math.abs(x[i] - y[i]);
      if (!(d <= most)) most = Number.isNaN(d) ? Infinity : d;
      scale = Math.max(scale, Math.abs(y[i]));
    }
    return { most, scale };
  });
  const least = floor * Math.max(...all.map(({ scale }) => scale));
  return all.map(({ most, scale }) => most / Math.max(scale, least));
}
