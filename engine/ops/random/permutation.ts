/** Random orders, apart from the other draws: sorting is much to load for who needs only those. */
import { check, checkOptions, ifTraced, show } from "../../core/errors.ts";
import { checkShape, normalizeAxis } from "../../core/shape.ts";
import { checkTensor, type Tensor } from "../../core/tensor.ts";
import { arange } from "../elementwise/creation.ts";
import { scatterAt } from "../index/gather.ts";
import { argsort } from "../index/sort.ts";
import { take } from "../shape/take.ts";
import { bitsOp, draw } from "./draws.ts";

/**
 * A random permutation of 0 to n - 1, as i32: the ranks of n random words, ties in index order. With `of`, its entries
 * along `axis` (default: 0) in random order, as jax.random.permutation.
 *
 * @example
 * ```ts
 * import { random, tensor } from "voxgrad";
 *
 * const order = random.permutation(random.key(1), { n: 3 });
 * const shuffled = tensor([10, 20, 30]).take(order); // [3]
 * const columns = random.permutation(random.key(1), { of: tensor([[1, 2, 3], [4, 5, 6]]), axis: 1 }); // [2, 3]
 * ```
 */
export function permutation(
  key: Tensor,
  options: { n: number } | { of: Tensor; axis?: number },
): Tensor {
  checkOptions("random.permutation", options, ["n", "of", "axis"]);
  const { n, of, axis } = options as { n?: number; of?: Tensor; axis?: number };
  check(
    (n === undefined) !== (of === undefined) && (of !== undefined || axis === undefined),
    "random.permutation",
    () => `options are n, or of and perhaps axis, got ${show(options)}`,
  );
  if (of !== undefined) {
    checkTensor("random.permutation", of, "of");
    const along = normalizeAxis("random.permutation", axis ?? 0, of.rank);
    return take(of, permutation(key, { n: of.shape[along] }), { axis: along });
  }
  check(
    n !== undefined && Number.isInteger(n) && n >= 0,
    "random.permutation",
    () => `n is an integer >= 0, got ${show(n)}${ifTraced(n)}`,
  );
  checkShape("random.permutation", [n]);
  const words = draw(bitsOp, "permutation", key, [n], "u32", {});
  return scatterAt(arange(n), argsort(words), n, { axis: 0, distinct: true });
}
