/** Norms with weight and bias, forward and with all three gradients; softmax over channels. */
import type { Input, Item, Layout, Peer, Vg } from "./item.ts";
import type { Tensor } from "../../engine/mod.ts";

interface Norm {
  readonly name: string;
  readonly x: Input;
  /** Length of weight and bias. */
  readonly channels: number;
  readonly ours: (vg: Vg, x: Tensor, weight: Tensor, bias: Tensor) => Tensor;
  /** Shape in which the last axes `axes` are normalized over, and that of weight and bias, channels first. */
  readonly view: readonly number[];
  readonly axes: readonly number[];
  readonly affine: readonly number[];
  /** The same, channels last. */
  readonly lastView: readonly number[];
  readonly lastAffine: readonly number[];
  readonly lastAxes: readonly number[];
  readonly torch: string;
}

/** Group, instance and layer norm: of `channels` channels on `size` cubed, and of `rows` rows. */
export interface NormSizes {
  readonly channels: number;
  readonly size: number;
  readonly rows: readonly [number, number];
}

const volume = (channels: number, size: number): Input => ({
  shape: [1, channels, size, size, size],
  layout: "volume",
  half: true,
});

function kinds({ channels, size, rows: [rows, row] }: NormSizes): Norm[] {
  const shared = { x: volume(channels, size), channels, axes: [2], affine: [1, channels, 1, 1, 1] };
  return [
    {
      ...shared,
      name: `groupNorm(8), ${channels} channels, ${size} cubed`,
      ours: (vg, x, weight, bias) => vg.groupNorm(x, { groups: 8, weight, bias }),
      view: [1, 8, (channels / 8) * size ** 3],
      lastView: [1, size ** 3, 8, channels / 8],
      lastAffine: [8, channels / 8],
      lastAxes: [1, 3],
      torch: "lambda x, w, b: F.group_norm(x, 8, w, b)",
    },
    {
      ...shared,
      name: `instanceNorm, ${channels} channels, ${size} cubed`,
      ours: (vg, x, weight, bias) => vg.instanceNorm(x, { weight, bias }),
      view: [1, channels, size ** 3],
      lastView: [1, size ** 3, channels],
      lastAffine: [channels],
      lastAxes: [1],
      torch: "lambda x, w, b: F.instance_norm(x, weight=w, bias=b)",
    },
    {
      name: `layerNorm of ${rows}x${row}`,
      x: { shape: [rows, row], half: true },
      channels: row,
      ours: (vg, x, weight, bias) => vg.layerNorm(x, { weight, bias }),
      view: [rows, row],
      axes: [1],
      affine: [1, row],
      lastView: [rows, row],
      lastAffine: [row],
      lastAxes: [1],
      torch: `lambda x, w, b: F.layer_norm(x, (${row},), w, b)`,
    },
  ];
}

function jaxNorm({ view, axes, affine }: Norm, jax: Peer, x: Peer, weight: Peer, bias: Peer): Peer {
  const { numpy: np } = jax;
  const shape = x.shape;
  const h = x.reshape([...view]);
  const mean = np.mean(h.ref, [...axes], { keepdims: true });
  const centered = h.sub(mean);
  const variance = np.mean(np.square(centered.ref), [...axes], { keepdims: true });
  const y = centered.div(np.sqrt(variance.add(1e-5))).reshape(shape);
  return y.mul(weight.reshape([...affine])).add(bias.reshape([...affine]));
}

/** Apply weight and bias before restoring the shape: tfjs broadcasts up to 4 axes on WebGPU. */
function tfNorm({ lastView, lastAffine, lastAxes }: Norm, tf: Peer, x: Peer, weight: Peer, bias: Peer): Peer {
  const h = x.reshape(lastView);
  const { mean, variance } = tf.moments(h, lastAxes, true);
  const y = h.sub(mean).div(variance.add(1e-5).sqrt());
  return y.mul(weight.reshape(lastAffine)).add(bias.reshape(lastAffine)).reshape(x.shape);
}

function norm(n: Norm): Item[] {
  const layout: Layout = n.x.layout ?? "plain";
  const vector: Input = { shape: [n.channels] };
  const inputs = [n.x, vector, vector];
  const goal = { "jax-js": 4, tfjs: 5 };
  return [
    {
      name: `${n.name} forward`,
      inputs,
      outputs: [layout],
      goal,
      ours: (vg) => (x, w, b) => n.ours(vg, x, w, b),
      jax: (jax) => (x, w, b) => jaxNorm(n, jax, x, w, b),
      tfjs: (tf) => (x, w, b) => tfNorm(n, tf, x, w, b),
      torch: n.torch,
    },
    {
      name: `${n.name} backward`,
      inputs: [...inputs, n.x],
      outputs: [layout],
      goal,
      ours: (vg) => (x, w, b, g) => vg.vjp((...all: [Tensor, Tensor, Tensor]) => n.ours(vg, ...all), [x, w, b])[1](g),
      jax: (jax) => (x, w, b, g) => {
        const [y, back] = jax.vjp((...all: [Peer, Peer, Peer]) => jaxNorm(n, jax, ...all), [x, w, b]);
        y.dispose();
        const gradients = back(g);
        back.dispose();
        return gradients;
      },
      tfjs: (tf) => (x, w, b, g) => tf.grads((...all: [Peer, Peer, Peer]) => tfNorm(n, tf, ...all))([x, w, b], g),
      torch: `lambda *all: pull(${n.torch}, *all)`,
    },
  ];
}

export const softmaxOf = (channels: number, size: number): Item => ({
  name: `softmax over ${channels} channels, ${size} cubed`,
  inputs: [volume(channels, size)],
  outputs: ["volume"],
  goal: { "jax-js": 3, tfjs: 5 },
  ours: (vg) => (x) => vg.softmax(x, { axis: 1 }),
  jax: (jax) => (x) => jax.nn.softmax(x, 1),
  tfjs: (tf) => (x) => tf.softmax(x),
  torch: "lambda x: F.softmax(x, 1)",
});

/** Each forward, and with all three gradients. */
export const normsOf = (sizes: NormSizes): Item[] => kinds(sizes).flatMap(norm);

export const norms: readonly Item[] = [...normsOf({ channels: 32, size: 32, rows: [4096, 256] }), softmaxOf(32, 32)];
