/** A tree of tensors as one vector, and back. */
import type { Tensor } from "../../core/tensor.ts";
import * as tree from "../../core/tree.ts";
import { tensor } from "../../ops/mod.ts";

/**
 * The values of all tensors of a tree, one after the other.
 *
 * @param params of f32
 * @example
 * ```ts
 * import { tensor } from "voxgrad";
 * import { ravel } from "voxgrad/train";
 *
 * await ravel({ a: tensor([1, 2]), b: tensor([[3]]) }); // 1, 2, 3
 * ```
 */
export async function ravel(params: object): Promise<Float32Array<ArrayBuffer>> {
  const leaves = tree.leaves(params) as Tensor[];
  const values = new Float32Array(leaves.reduce((sum, { size }) => sum + size, 0));
  let at = 0;
  for (const leaf of leaves) {
    values.set(await leaf.data() as Float32Array, at);
    at += leaf.size;
  }
  return values;
}

/**
 * A tree with the shapes of `template` and the values of a vector: the inverse of `ravel`.
 *
 * @example
 * ```ts
 * import { tensor } from "voxgrad";
 * import { unravel } from "voxgrad/train";
 *
 * unravel({ a: tensor([0, 0]), b: tensor([[0]]) }, new Float32Array([1, 2, 3])).b.shape; // [1, 1]
 * ```
 */
export function unravel<P extends object>(template: P, values: Float32Array): P {
  let at = 0;
  return tree.map(template, (leaf) => {
    const { shape, size } = leaf as Tensor;
    return tensor(values.slice(at, at += size), { shape });
  }) as P;
}
