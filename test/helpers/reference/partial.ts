/** A batch of partially labeled samples and its marginal losses in float64, voxel by voxel. */
import { compile, Tensor, tensor, valueAndGrad } from "../../../engine/mod.ts";
import { partial } from "../../../models/mod.ts";
import { noise } from "../noise.ts";

export type Loss = (logits: Tensor) => Tensor;

/** Value and gradient, compiled. */
export async function both(loss: Loss, logits: Tensor): Promise<[number, Float32Array]> {
  const [value, slope] = await compile((x: Tensor) => valueAndGrad(loss)(x) as [Tensor, Tensor])(logits);
  return [await value.item(), (await slope.data()) as Float32Array];
}

/** A batch in float64: logits [N][K][V], labels [N][V], and a partition for each sample. */
export interface Batch {
  readonly logits: number[][][];
  readonly labels: number[][];
  readonly groups: number[][][];
}
export interface Settings {
  readonly mode?: "probability" | "logit";
  readonly batch?: boolean;
  readonly includeBackground?: boolean;
  readonly smooth?: number;
  readonly alpha?: number;
  readonly beta?: number;
  readonly gamma?: number;
  readonly ignoreIndex?: number;
  /** Weight of partially labeled samples, which are then scored separately. */
  readonly partly?: number;
}

export const total = (list: readonly number[]): number => list.reduce((a, b) => a + b, 0);
export const softmaxOf = (a: readonly number[]): number[] => {
  const top = Math.max(...a);
  const e = a.map((v) => Math.exp(v - top));
  return e.map((v) => v / total(e));
};

/** Eqs. 4 to 6 voxel by voxel, and the focal and Tversky losses with their q. */
export function reference(
  b: Batch,
  s: Settings = {},
): { crossEntropy: number; focal: number; tversky: number; dice: number } {
  const { batch = true, includeBackground = false, smooth = 1e-5, alpha = 0.3, beta = 0.7, gamma = 2, partly = 1 } = s;
  let [entropy, focal, voxels] = [0, 0, 0];
  const scores = new Map<string, { q: number; z: number; both: number; weight: number }>();
  const weights = b.groups.map((sets) => (sets.some((set) => set.length > 1) ? partly : 1));
  const nameOf = (set: readonly number[], n: number): string => `${batch ? "" : n}:${weights[n]}:${[...set].sort()}`;
  b.groups.forEach((sets, n) =>
    sets.forEach((set) => {
      if (includeBackground || !set.includes(0)) {
        scores.set(nameOf(set, n), { q: 0, z: 0, both: 0, weight: weights[n] });
      }
    })
  );
  b.labels.forEach((row, n) =>
    row.forEach((label, v) => {
      if (label === s.ignoreIndex) return;
      voxels += 1;
      const a = b.logits[n].map((channel) => channel[v]);
      const p = softmaxOf(a);
      const sets = b.groups[n];
      const q = s.mode === "logit"
        ? softmaxOf(sets.map((set) => total(set.map((k) => a[k]))))
        : sets.map((set) => total(set.map((k) => p[k])));
      sets.forEach((set, m) => {
        const z = Number(set.includes(label));
        if (z) entropy -= weights[n] * Math.log(q[m]);
        if (z) focal -= weights[n] * (1 - q[m]) ** gamma * Math.log(q[m]);
        const score = scores.get(nameOf(set, n));
        if (!score) return;
        score.q += q[m];
        score.z += z;
        score.both += z * q[m];
      });
    })
  );
  const over = (f: (x: { q: number; z: number; both: number }) => number): number =>
    scores.size === 0 ? 0 : total([...scores.values()].map((x) => x.weight * f(x))) / scores.size;
  return {
    crossEntropy: entropy / voxels,
    focal: focal / voxels,
    dice: over(({ q, z, both }) => 1 - (2 * both + smooth) / (q + z + smooth)),
    tversky: over(({ q, z, both }) => 1 - (both + smooth) / (both + alpha * (q - both) + beta * (z - both) + smooth)),
  };
}

export const space = [3, 5, 7];
export const V = 105;
/** Three samples of six classes, each with different classes annotated; one has two of them merged. */
export function unlike(scale = 2): Batch {
  const a = noise(3 * 6 * V, 11);
  const marks = noise(3 * V, 12);
  const logits = [0, 1, 2].map((n) =>
    [0, 1, 2, 3, 4, 5].map((k) => Array.from({ length: V }, (_, v) => scale * a[(n * 6 + k) * V + v]))
  );
  const labels = [0, 1, 2].map((n) => Array.from({ length: V }, (_, v) => Math.floor((marks[n * V + v] + 1) * 3)));
  return {
    logits,
    labels,
    groups: [
      [[0, 3, 4, 5], [1], [2]],
      [[0], [4], [1, 2], [5, 3]],
      [[0, 1, 3, 5], [2], [4]],
    ],
  };
}
export const logitsOf = (b: Batch): Tensor =>
  tensor(Float32Array.from(b.logits.flat(2)), { shape: [b.labels.length, b.logits[0].length, ...space] });
export const labelsOf = (b: Batch): Tensor =>
  tensor(Int32Array.from(b.labels.flat()), { shape: [b.labels.length, ...space] });

/** The four losses by name in the reference. */
export const losses = {
  crossEntropy: partial.marginalCrossEntropy,
  focal: partial.marginalFocal,
  dice: partial.marginalDice,
  tversky: partial.marginalTversky,
} as const;
export const names = Object.keys(losses) as (keyof typeof losses)[];

/** f(x + h v) and so on in float64. */
export const moved = (b: Batch, v: Float32Array, h: number): Batch => ({
  ...b,
  logits: b.logits.map((sample, n) =>
    sample.map((row, k) => row.map((x, i) => x + h * v[(n * sample.length + k) * row.length + i]))
  ),
});
export const inner = (a: ArrayLike<number>, b: ArrayLike<number>): number =>
  Array.from(a).reduce((sum, x, k) => sum + x * b[k], 0);
