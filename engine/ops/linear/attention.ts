/** Scaled dot product attention. */
import { check, checkFlag, checkOptions, show } from "../../core/errors.ts";
import { broadcastShapes, checkShape, sameShape, type Shape, size } from "../../core/shape.ts";
import { Tensor } from "../../core/tensor.ts";
import { scalar } from "../elementwise/creation.ts";
import { computeInF32 } from "../promote_f16.ts";
import { broadcastTo } from "../shape/broadcast_to.ts";
import { reshape } from "../shape/reshape.ts";
import { range } from "../split.ts";
import { attention, NAME } from "./attention_ops.ts";

export interface AttentionOptions {
  /** Broadcasts to [..., queries, keys]: bool, true where a key takes part, or f32, added to the logits. */
  mask?: Tensor;
  /** f32, broadcasts to [..., queries, keys], added to the logits: a second one beside a mask. */
  bias?: Tensor;
  /** Query i attends to keys 0 to i only; default: false. */
  causal?: boolean;
  /** Factor of the products of queries and keys; default: 1 / sqrt(features). */
  scale?: number;
}

/** A mask or a bias as a tensor of the rank of the logits. */
function term(name: string, t: Tensor, logits: readonly number[], dtypes: readonly string[]): Tensor {
  check(
    t instanceof Tensor && dtypes.includes(t.dtype) && t.rank <= logits.length &&
      t.shape.every((n, k) => n === 1 || n === logits[logits.length - t.rank + k]),
    NAME,
    () => `the ${name} is a ${dtypes.join(" or ")} tensor that broadcasts to ${show(logits)}, got ${show(t)}`,
  );
  return reshape(t, { shape: [...logits.slice(t.rank).map(() => 1), ...t.shape] });
}

/**
 * softmax(query key' scale + bias) value, as torch.nn.functional.scaled_dot_product_attention, in one kernel with an
 * online softmax (Milakov and Gimelshein 2018; Dao et al., "FlashAttention", 2022): memory grows with the lengths, not
 * with their product. Gradients compute the weights again, in the same memory, unless there are at most 2^20 of them;
 * forward mode and second derivatives keep lengths x lengths numbers. A query without keys gives 0.
 *
 * @param query f32 [..., queries, features]; the axes before the last two broadcast
 * @param key f32 [..., keys, features]
 * @param value f32 [..., keys, values]
 * @returns f32 [..., queries, values]
 * @throws VoxgradError for shapes that do not match, and a mask or bias that does not broadcast to the logits
 * @example
 * ```ts
 * import { random, scaledDotProductAttention, tril, ones } from "voxgrad";
 *
 * const [q, k, v] = [0, 1, 2].map((seed) => random.normal(random.key(seed), { shape: [2, 4, 100, 16] }));
 * const y = scaledDotProductAttention(q, k, v); // [2, 4, 100, 16]
 * const causal = scaledDotProductAttention(q, k, v, { causal: true }); // [2, 4, 100, 16]
 * const mask = tril(ones([100, 100])).cast("bool"); // the same as a mask
 * const masked = scaledDotProductAttention(q, k, v, { mask }); // [2, 4, 100, 16]
 * ```
 */
export const scaledDotProductAttention: (
  query: Tensor,
  key: Tensor,
  value: Tensor,
  options?: AttentionOptions,
) => Tensor = computeInF32((query, key, value, options = {}) => {
  checkOptions(NAME, options, ["mask", "bias", "causal", "scale"]);
  const { mask, bias, causal = false } = options;
  for (const [name, x] of Object.entries({ query, key, value })) {
    check(
      x instanceof Tensor && x.dtype === "f32" && x.rank >= 2,
      NAME,
      () => `the ${name} is an f32 tensor [..., length, features], got ${show(x)}`,
    );
  }
  const [queries, features] = query.shape.slice(-2) as [number, number];
  const [keys, values] = value.shape.slice(-2) as [number, number];
  check(
    features > 0 && sameShape(key.shape.slice(-2), [keys, features]),
    NAME,
    () =>
      `query [..., queries, features], key [..., keys, features] and value [..., keys, values] match, got ${
        [query, key, value].map((x) => show(x.shape)).join(", ")
      }`,
  );
  const { scale = 1 / Math.sqrt(features) } = options;
  check(Number.isFinite(scale), NAME, () => `scale is a finite number, got ${show(scale)}`);
  checkFlag(NAME, "causal", options.causal);
  const outside = (x: Tensor): Shape => x.shape.slice(0, -2);
  const batch = broadcastShapes(NAME, broadcastShapes(NAME, outside(query), outside(key)), outside(value));
  checkShape(NAME, [...batch, queries, values]);
  const logits = [...batch, queries, keys];
  const terms = [
    ...(mask == null ? [] : [term("mask", mask, logits, ["bool", "f32"])]),
    ...(bias == null ? [] : [term("bias", bias, logits, ["f32"])]),
  ];
  if (keys === 0 || size(batch) * queries * values === 0) return scalar(0, "f32", [...batch, queries, values]);
  const inputs = [query, key, value].map((x) => broadcastTo(x, { shape: [...batch, ...x.shape.slice(-2)] }));
  const y = attention([...inputs, ...terms], { scale, causal: causal ? 0 : null });
  return range(y, y.rank - 1, 0, values);
});
