/** Inputs for the table of operators: seeded numbers with the properties that a check needs. */
import type { DType } from "../../engine/mod.ts";
import { noise } from "./noise.ts";

/** An input tensor of an operator. */
export interface Input {
  readonly shape: readonly number[];
  readonly dtype: DType;
  /** Values in row-major order, by seed. */
  readonly values: (count: number, seed: number) => ArrayLike<number>;
  /** Not differentiated, although it is f32. */
  readonly fixed?: true;
}

type Values = Input["values"];
export const input = (values: Values, dtype: DType = "f32") => (...shape: number[]): Input => ({
  shape,
  dtype,
  values,
});
const from = (f: (x: number) => number): Values => (count, seed) => noise(count, seed).map(f);

/** In (-1, 1). */
export const any = input(noise);
export const positive = input(from((x) => 1.25 + 0.75 * x));
export const unit = input(from((x) => 0.5 + 0.4 * x));
/** In (-1.5, 1.5), no nearer than 0.1 to a kink, which central differences must not cross. */
export const apart = (...kinks: number[]) =>
  input(
    from((x) => {
      const v = 1.5 * x;
      const near = kinks.find((k) => Math.abs(v - k) < 0.1);
      return near === undefined ? v : near + (v < near ? -0.1 : 0.1);
    }),
  );
/**
 * In (-1, 1) in random order, equally far from each other, so that no two swap order; shifted by `by` of the spacing.
 */
export const distinct = (by = 0): (...shape: number[]) => Input =>
  input((count, seed) => {
    const key = noise(count, seed);
    const order = Array.from(key.keys()).sort((a, b) => key[a] - key[b]);
    const values = new Float32Array(count);
    order.forEach((place, rank) => (values[place] = (2 * (rank + 0.5 + by)) / count - 1));
    return values;
  });
/** Matrices of n rows, far from singular and from equal eigenvalues. */
export const matrices = (n: number): (...batch: number[]) => Input => (...batch) =>
  input((count, seed) =>
    noise(count, seed).map((x, k) => {
      const place = k % (n * n);
      return 0.5 * x + (place % (n + 1) === 0 ? 2 + place / (n + 1) : 0);
    })
  )(...batch, n, n);
/** Ascending in each row. */
export const ascending = input((count) => Float32Array.from({ length: count }, (_, i) => (2 * i + 1) / count - 1));
export const whole = (least: number, above: number): Values =>
  from((x) => Math.min(above - 1, Math.floor(least + ((x + 1) / 2) * (above - least))));
export const labels = (classes: number, least = 0) => input(whole(least, classes), "i32");
export const truth = input(whole(0, 2), "bool");
export const mask = input(
  from((x) => Number(x > -0.3)),
  "bool",
);
export const key = input(whole(0, 1000), "u32")(2);
/** Points of a grid inside the cells of an image of n voxels an axis, where interpolation has no kink. */
export const points = (n: number, ...shape: number[]): Input =>
  input((count, seed) => {
    const v = noise(2 * count, seed);
    // Voxel k + t with t in [0.2, 0.8], corners not aligned.
    return Float32Array.from({ length: count }, (_, i) => {
      const cell = Math.min(n - 2, Math.floor(((v[2 * i] + 1) / 2) * (n - 1)));
      return (2 * (cell + 0.5 + 0.3 * v[2 * i + 1]) + 1) / n - 1;
    });
  })(...shape);
export const fixed = (x: Input): Input => ({ ...x, fixed: true });
