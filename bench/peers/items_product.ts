// deno-lint-ignore-file no-explicit-any
/** Matrix products, and similarities computed by one. */
import type { Input, Item } from "./item.ts";
import type { Tensor } from "../../engine/mod.ts";

function product(m: number, k: number, n: number): Item {
  return {
    name: `matmul ${m}x${k}x${n}`,
    inputs: [{ shape: [m, k] }, { shape: [k, n] }],
    goal: { "jax-js": 2, tfjs: 5 },
    ours: (vg) => (a, b) => vg.matmul(a, b),
    jax: (jax) => (a, b) => jax.numpy.matmul(a, b),
    tfjs: (tf) => (a, b) => tf.matMul(a, b),
    torch: "lambda a, b: a @ b",
  };
}

/** Features [1, C, H, W] against K prototypes [K, C, 1, 1]. */
const similarity: Item = {
  name: "cosine similarity, 256 prototypes, 256 channels, 32x32",
  inputs: [{ shape: [1, 256, 32, 32] }, { shape: [256, 256, 1, 1] }],
  goal: { tfjs: 5 },
  ours: (vg) => (x, p) => vg.cosineSimilarity(x, p, { axis: 1 }),
  // A product of unit vectors, as written without such an operator.
  jax: (jax) => (x, p) => {
    const { numpy: np } = jax;
    const unit = (v: any, axis: number): any =>
      v.ref.div(np.sqrt(np.maximum(np.sum(np.square(v), axis, { keepdims: true }), 1e-16)));
    return np.matmul(unit(p.reshape([256, 256]), 1), unit(x.reshape([256, 1024]), 0)).reshape([256, 32, 32]);
  },
  tfjs: (tf) => (x, p) => {
    const unit = (v: any, axis: number): any => v.div(tf.sqrt(tf.maximum(v.square().sum(axis, true), 1e-16)));
    return tf.matMul(unit(p.reshape([256, 256]), 1), unit(x.reshape([256, 1024]), 0)).reshape([256, 32, 32]);
  },
  torch: "lambda x, p: F.cosine_similarity(x, p, 1)",
};

export const products: readonly Item[] = [product(512, 512, 512), product(2048, 64, 4096), similarity];

/** Scaled dot product attention of heads x length x features, and its gradients by query, key and value. */
export function attentionOf([heads, length, features]: readonly [number, number, number]): Item[] {
  const x: Input = { shape: [heads, length, features], half: true };
  const name = `attention ${heads}x${length}x${features}`;
  const none = { cannot: "measured beside PyTorch alone" };
  return [
    {
      name: `${name} forward`,
      inputs: [x, x, x],
      ours: (vg) => (q, k, v) => vg.scaledDotProductAttention(q, k, v),
      jax: none,
      tfjs: none,
      torch: "attention",
    },
    {
      name: `${name} gradients`,
      inputs: [x, x, x, x],
      ours: (vg) => (q, k, v, g) =>
        vg.vjp((...all: [Tensor, Tensor, Tensor]) => vg.scaledDotProductAttention(...all), [q, k, v])[1](g),
      jax: none,
      tfjs: none,
      torch: "lambda *all: pull(attention, *all)",
    },
  ];
}
