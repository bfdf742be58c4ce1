// deno-lint-ignore-file no-explicit-any
/** Weights by a formula, which references in PyTorch use too. */
import { tensor, tree } from "../../../engine/mod.ts";

const count = (shape: readonly number[]): number => shape.reduce((a, b) => a * b, 1);

export const fill = (shape: readonly number[], k: number): number[] =>
  Array.from({ length: count(shape) }, (_, i) => Math.sin(0.37 * i + 1.1 * k + 0.2));

/** Parameters numbered by their sorted names: weights of a deviation of 1 / sqrt(fan in), scales about 1. */
export function filled<P>(params: P): P {
  const tensors = [...tree.flatten(params as any)].sort(([a], [b]) => (a < b ? -1 : 1)).map(([name, p]: any, k) => {
    const values = fill(p.shape, k);
    const scale = Math.sqrt(count(p.shape.slice(1)));
    const own = p.rank > 1
      ? values.map((v) => v / scale)
      : name.endsWith("weight")
      ? values.map((v) => 1 + 0.3 * v)
      : values;
    return [name, tensor(new Float32Array(own), { shape: p.shape })] as const;
  });
  return tree.unflatten(new Map(tensors)) as P;
}
