/** Shared by the tests of augmentation: test tensors, indices, and the draws of a transform. */
import * as assert from "uvu/assert";
import { random, type Tensor, tensor } from "../../engine/mod.ts";
import { noise } from "./noise.ts";
import { thrown } from "./refuse.ts";

export const count = (shape: readonly number[]): number => shape.reduce((a, b) => a * b, 1);
export const made = (shape: readonly number[], seed = 1): Tensor => tensor(noise(count(shape), seed), { shape });
export const labels = (shape: readonly number[], classes: number): Tensor =>
  tensor(
    Int32Array.from(noise(count(shape), 7), (v) => Math.floor(((v + 1) / 2) * classes)),
    { shape },
  );
/** The uniform numbers that a transform draws. */
export const drawn = async (key: Tensor, shape: number[]): Promise<number[][]> => {
  const [n, ...rest] = shape;
  const all = [...(await random.uniform(key, { shape }).data())];
  return Array.from({ length: n }, (_, k) => all.slice(k * count(rest), (k + 1) * count(rest)));
};
/** Every index of a shape. */
export function* places(shape: readonly number[]): Generator<number[]> {
  for (let i = 0; i < count(shape); i++) {
    let rest = i;
    yield shape.reduceRight<number[]>((place, n) => {
      place.unshift(rest % n);
      rest = Math.floor(rest / n);
      return place;
    }, []);
  }
}
export const at = (shape: readonly number[], place: readonly number[]): number =>
  place.reduce((sum, i, k) => sum * shape[k] + i, 0);
export const replaced = (place: readonly number[], axis: number, value: number): number[] =>
  place.map((v, k) => (k === axis ? value : v));
export const same = async (a: Tensor, b: Tensor, what: string): Promise<void> => {
  assert.equal([...a.shape], [...b.shape], what);
  assert.equal([...(await a.data())], [...(await b.data())], what);
};
export const message = (f: () => unknown): string => thrown(f).message;
