/** Attention composed of other operators, whose memory is lengths x lengths: for derivatives beyond the first. */
import { size } from "../../core/shape.ts";
import type { Tensor } from "../../core/tensor.ts";
import { arange } from "../elementwise/creation.ts";
import { add, exp, greater, lessEqual, logicalAnd, mul, sub, where } from "../elementwise/elementwise.ts";
import { logSumExp } from "../reduce/reduce.ts";
import { expandDims, reshape } from "../shape/reshape.ts";
import { LEFT, PLAIN, product, RIGHT } from "./matmul.ts";

/** The logit of keys that do not count, as in the kernels. */
export const NOTHING = -1e30;

/** Product of [..., ., .]: A B, A' B or A B'. */
export function productOf(a: Tensor, b: Tensor, how: "plain" | "left" | "right"): Tensor {
  const batch = a.shape.slice(0, -2);
  const flat = (x: Tensor): Tensor => reshape(x, { shape: [size(batch), ...x.shape.slice(-2)] });
  const y = product(flat(a), flat(b), { plain: PLAIN, left: LEFT, right: RIGHT }[how]);
  return reshape(y, { shape: [...batch, ...y.shape.slice(1)] });
}

/** Scaled products of queries and keys with the terms; NOTHING where a key does not count. */
export function logitsOf(
  q: Tensor,
  k: Tensor,
  terms: readonly Tensor[],
  { scale, causal }: { scale: number; causal: number | null },
): Tensor {
  let s = mul(productOf(q, k, "right"), scale);
  for (const t of terms) if (t.dtype !== "bool") s = add(s, t);
  let open = greater(s, NOTHING);
  for (const t of terms) if (t.dtype === "bool") open = logicalAnd(open, t);
  if (causal !== null) {
    const [rows, columns] = [arange(q.shape.at(-2)!), arange(k.shape.at(-2)!)];
    open = logicalAnd(open, lessEqual(columns, add(expandDims(rows, { axis: 1 }), causal)));
  }
  return where(open, s, NOTHING);
}

/** Weights of the keys by their logits, and the logarithm of the sum unless it is known. */
export function weightsOf(s: Tensor, known: Tensor | null): { weights: Tensor; log: Tensor } {
  const log = known ?? logSumExp(s, { axes: [-1], keepDims: true });
  return { weights: where(greater(s, NOTHING), exp(sub(s, log)), 0), log };
}
