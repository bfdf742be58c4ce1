/**
 * A small 3-D U-Net: 16 and 32 channels on 32 cubed, 4 classes; convolution, group norm of 4 groups without affine,
 * ReLU; one stride-2 level and a transposed convolution; mean cross-entropy; plain SGD of rate 0.1.
 */
import type { Tensor } from "../../engine/mod.ts";
import type { Input, Item, Peer, Vg } from "./item.ts";

const RATE = 0.1;

const shapes = [
  [16, 1, 3, 3, 3],
  [16, 16, 3, 3, 3],
  [32, 16, 3, 3, 3],
  [32, 32, 3, 3, 3],
  [32, 16, 2, 2, 2],
  [16, 32, 3, 3, 3],
  [4, 16, 1, 1, 1],
];

const inputs: readonly Input[] = [
  ...shapes.map((shape): Input => {
    const fan = shape.slice(1).reduce((a, b) => a * b, 1);
    return { shape, values: "uniform", scale: Math.sqrt(6 / fan), layout: "filter" };
  }),
  { shape: [1, 1, 32, 32, 32], layout: "volume" },
  { shape: [1, 32, 32, 32], values: "labels", scale: 4, dtype: "i32" },
];

function loss(
  vg: Vg,
  [w0, w1, w2, w3, w4, w5, w6]: Tensor[],
  x: Tensor,
  labels: Tensor,
  wrap: Vg["checkpoint"] = (f) => f,
): Tensor {
  const block = (h: Tensor, w: Tensor, stride = 1): Tensor =>
    wrap((a: Tensor, b: Tensor) => vg.relu(vg.groupNorm(vg.conv3d(a, b, { padding: 1, stride }), { groups: 4 })))(h, w);
  const e = block(block(x, w0), w1);
  const d = block(block(e, w2, 2), w3);
  const u = vg.convTranspose3d(d, w4, { stride: 2 });
  return vg.crossEntropy(vg.conv3d(block(vg.concat([e, u], { axis: 1 }), w5), w6), labels);
}

function jaxLoss(jax: Peer, [w0, w1, w2, w3, w4, w5, w6]: Peer[], x: Peer, labels: Peer): Peer {
  const { numpy: np, lax, nn } = jax;
  const conv = (h: Peer, w: Peer, stride: number, p: number): Peer =>
    lax.convGeneralDilated(
      h,
      w,
      [stride, stride, stride],
      [
        [p, p],
        [p, p],
        [p, p],
      ],
    );
  const norm = (h: Peer): Peer => {
    const shape = h.shape;
    const rows = h.reshape([shape[0], 4, -1]);
    const centered = rows.ref.sub(np.mean(rows, -1, { keepdims: true }));
    const variance = np.mean(np.square(centered.ref), -1, { keepdims: true });
    return centered.div(np.sqrt(variance.add(1e-5))).reshape(shape);
  };
  const block = (h: Peer, w: Peer, stride = 1): Peer => nn.relu(norm(conv(h, w, stride, 1)));
  const e = block(block(x, w0), w1);
  const d = block(block(e.ref, w2, 2), w3);
  // lax.convTranspose computes the same, but jax-js 0.1.25 gives a wrong gradient by its weights, and einsum needs Node
  // 22.
  const parts = np.matmul(w4.reshape([32, 128]).transpose(), d.reshape([32, 4096]));
  const places = parts.reshape([16, 2, 2, 2, 16, 16, 16]).transpose([0, 4, 1, 5, 2, 6, 3]);
  const u = places.reshape([1, 16, 32, 32, 32]);
  const logits = conv(block(np.concatenate([e, u], 1), w5), w6, 1, 0);
  const target = np.moveaxis(nn.oneHot(labels, 4), -1, 1);
  return np.mean(np.sum(nn.logSoftmax(logits, 1).mul(target), 1)).neg();
}

const noGradient = { cannot: "conv3dTranspose has no gradient" };

/** A training step with gradients of the loss as given. */
const stepOf = (lossOf: (vg: Vg) => typeof loss): Item["ours"] => (vg) => (...all) => {
  const [params, x, labels] = [all.slice(0, -2), all.at(-2)!, all.at(-1)!];
  const [value, grads] = vg.valueAndGrad((p: Tensor[]) => lossOf(vg)(vg, p, x, labels))(params);
  return [value, ...params.map((p, k) => p.sub(grads[k].mul(RATE)))];
};

const step: Item = {
  name: "U-Net training step",
  inputs,
  read: "first",
  carry: true,
  goal: { "jax-js": 2.2 },
  ours: stepOf(() => loss),
  jax: (jax) => (...all) => {
    const [params, x, labels] = [all.slice(0, -2), all.at(-2), all.at(-1)];
    const [value, grads] = jax.valueAndGrad((p: Peer[]) => jaxLoss(jax, p, x, labels))(params.map((p) => p.ref));
    return [value, ...params.map((p, k) => p.sub(grads[k].mul(RATE)))];
  },
  tfjs: noGradient,
  torch: "unet_step",
};

const hvp: Item = {
  name: "U-Net Hessian-vector product",
  inputs,
  read: "all",
  goal: { "jax-js": 2.2 },
  ours: (vg) => (...all) => {
    const [params, x, labels] = [all.slice(0, -2), all.at(-2)!, all.at(-1)!];
    return vg.hvp((p: Tensor[]) => loss(vg, p, x, labels), [params], [params])[0];
  },
  jax: (jax) => (...all) => {
    const [params, x, labels] = [all.slice(0, -2), all.at(-2), all.at(-1)];
    const slope = jax.grad((p: Peer[]) => jaxLoss(jax, p, x.ref, labels.ref));
    const [g, product] = jax.jvp(slope, [params.map((p) => p.ref)], [params]);
    for (const each of [...g, x, labels]) each.dispose();
    return product;
  },
  tfjs: noGradient,
  torch: "unet_hvp",
};

const alone = { cannot: "has none" };

export const networks: readonly Item[] = [
  step,
  hvp,
  {
    ...step,
    name: "U-Net training step, blocks in checkpoint",
    ours: stepOf((vg) => (_, p, x, labels) => loss(vg, p, x, labels, vg.checkpoint)),
    goal: {},
    jax: alone,
    torch: alone,
  },
  { ...step, name: "U-Net training step, mixed precision", precision: "mixed", goal: {}, jax: alone, torch: alone },
  { ...step, name: "U-Net step: graph and schedule, no device", measure: "build", goal: {} },
  { ...step, name: "U-Net step: JavaScript of a call", measure: "script", goal: {} },
  {
    // A software adapter computes it so fast that its threads leave the caches to JavaScript, as a GPU does.
    ...step,
    name: "U-Net step of 8 cubed: JavaScript of a call",
    inputs: inputs.map((each) => ({
      ...each,
      shape: each.shape.map((size) => size === 32 && each.layout !== "filter" ? 8 : size),
    })),
    measure: "script",
    goal: {},
    jax: alone,
    torch: alone,
  },
  { ...step, name: "U-Net first step, new process, empty driver caches", measure: "cold", goal: { "jax-js": 3 } },
  { ...step, name: "U-Net first step, new process, filled driver caches", measure: "warm", goal: {} },
];
