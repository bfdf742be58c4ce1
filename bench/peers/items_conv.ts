/** Convolutions: forward, gradient by the input, gradient by the weights, each separately. */
import type { Input, Item, Peer } from "./item.ts";

export interface Kind {
  readonly name: string;
  readonly channels: readonly [number, number];
  /** Of the input; a number is that of a cube. Default: 32. */
  readonly size?: number | readonly [number, number, number];
  readonly kernel?: number;
  readonly stride?: number;
  readonly dilation?: number;
}

const kinds: readonly Kind[] = [
  { name: "conv3d 32>32", channels: [32, 32] },
  { name: "conv3d 32>32 stride 2", channels: [32, 32], stride: 2 },
  { name: "conv3d 32>32 dilation 2", channels: [32, 32], dilation: 2 },
  { name: "conv3d 32>32 1x1x1", channels: [32, 32], kernel: 1 },
  { name: "conv3d 1>32", channels: [1, 32] },
  { name: "conv3d 64>64", channels: [64, 64] },
];

const cube = (n: number): number[] => [n, n, n];

/** The pullback of jax-js's [y, pullback]; jit removes the unused y. */
function pullback(jax: Peer, f: (x: Peer) => Peer, x: Peer, g: Peer): Peer {
  const [y, back] = jax.vjp(f, [x]);
  y.dispose();
  const [gradient] = back(g);
  back.dispose();
  return gradient;
}

/** Forward, input gradient and weight gradient. */
export function convolution({
  name,
  channels: [inner, outer],
  size = 32,
  kernel = 3,
  stride = 1,
  dilation = 1,
}: Kind): Item[] {
  const padding = (dilation * (kernel - 1)) / 2;
  const extent = typeof size === "number" ? cube(size) : size;
  const to = extent.map((n) => Math.floor((n - 1) / stride) + 1);
  const x: Input = { shape: [1, inner, ...extent], layout: "volume", half: true };
  const g: Input = { shape: [1, outer, ...to], layout: "volume", half: true };
  const w: Input = { shape: [outer, inner, ...cube(kernel)], scale: (inner * kernel ** 3) ** -0.5, layout: "filter" };
  const options = { stride, padding, dilation };

  const jaxConv = (jax: Peer, a: Peer, b: Peer): Peer =>
    jax.lax.convGeneralDilated(
      a,
      b,
      cube(stride),
      cube(padding).map((p) => [p, p]),
      { rhsDilation: cube(dilation) },
    );

  // With a stride their "same" pads only one side, so pad explicitly first.
  const apart = stride > 1 && padding > 0;
  const strides = cube(stride);
  const pad = apart ? "valid" : "same";
  // tfjs pads up to 4 axes on WebGPU.
  const around = [...cube(padding).map((p) => [p, p]), [0, 0]];
  const padded = (tf: Peer, a: Peer): Peer => (apart ? tf.pad(a.squeeze([0]), around).expandDims(0) : a);
  const space = extent.map((n) => n + (apart ? 2 * padding : 0));
  const dilated = { cannot: "no gradient of a dilated conv3d" };
  const python = `stride=${stride}, padding=${padding}, dilation=${dilation}`;

  return [
    {
      name: `${name} forward`,
      inputs: [x, w],
      outputs: ["volume"],
      goal: { "jax-js": 1.4, tfjs: 5 },
      ours: (vg) => (a, b) => vg.conv3d(a, b, options),
      jax: (jax) => (a, b) => jaxConv(jax, a, b),
      tfjs: (tf) => (a, b) => tf.conv3d(padded(tf, a), b, strides, pad, "NDHWC", cube(dilation)),
      torch: `lambda a, b: F.conv3d(a, b, ${python})`,
    },
    {
      name: `${name} input gradient`,
      inputs: [x, w, g],
      outputs: ["volume"],
      goal: { "jax-js": 1.4, tfjs: 5 },
      ours: (vg) => (a, b, h) => vg.vjp((v) => vg.conv3d(v, b, options), [a])[1](h)[0],
      jax: (jax) => (a, b, h) => pullback(jax, (v) => jaxConv(jax, v, b), a, h),
      // The gradient's kernel by itself: tf.grad would run the forward convolution too.
      tfjs: dilation > 1 ? dilated : (tf) => (_, filter, dy) => {
        const attributes = { strides, pad, inputShape: [1, ...space, inner] };
        const dx = tf.engine().runKernel("Conv3DBackpropInputV2", { dy, filter }, attributes);
        return apart ? tf.slice(dx, [0, ...cube(padding), 0], [1, ...extent, inner]) : dx;
      },
      torch: `lambda a, b, h: convolution(a, b, h, ${stride}, ${padding}, ${dilation}, "input")`,
    },
    {
      name: `${name} weight gradient`,
      inputs: [x, w, g],
      outputs: ["filter"],
      goal: { "jax-js": 1.6, tfjs: 5 },
      ours: (vg) => (a, b, h) => vg.vjp((v) => vg.conv3d(a, v, options), [b])[1](h)[0],
      jax: (jax) => (a, b, h) => pullback(jax, (v) => jaxConv(jax, a, v), b, h),
      tfjs: dilation > 1 ? dilated : (tf) => (a, _, dy) => {
        const attributes = { strides, pad, filterShape: [...cube(kernel), inner, outer] };
        return tf.engine().runKernel("Conv3DBackpropFilterV2", { x: padded(tf, a), dy }, attributes);
      },
      torch: `lambda a, b, h: convolution(a, b, h, ${stride}, ${padding}, ${dilation}, "weight")`,
    },
  ];
}

const twice = { stride: 2 };
const noGradient = { cannot: "conv3dTranspose has no gradient" };
const jaxTransposed = (jax: Peer, x: Peer, w: Peer): Peer =>
  jax.lax.convTranspose(
    x,
    w,
    cube(2),
    cube(3).map(() => [0, 0]),
    { transposeKernel: true },
  );

/** A transposed convolution of kernel and stride 2 and its gradients; `size` is that of the input, a cube. */
export function transposed(
  { channels: [inner, outer], size, name }: Pick<Kind, "name" | "channels"> & { readonly size: number },
): Item[] {
  const small: Input = { shape: [1, inner, ...cube(size)], layout: "volume", half: true };
  const large: Input = { shape: [1, outer, ...cube(2 * size)], layout: "volume", half: true };
  const weights: Input = { shape: [inner, outer, 2, 2, 2], scale: inner ** -0.5, layout: "filter" };
  return [
    {
      name: `${name} forward`,
      inputs: [small, weights],
      outputs: ["volume"],
      goal: { "jax-js": 2, tfjs: 5 },
      ours: (vg) => (x, w) => vg.convTranspose3d(x, w, twice),
      jax: (jax) => (x, w) => jaxTransposed(jax, x, w),
      tfjs: (tf) => (x, w) => tf.conv3dTranspose(x, w, [1, ...cube(2 * size), outer], 2, "same"),
      torch: "lambda x, w: F.conv_transpose3d(x, w, stride=2)",
    },
    {
      name: `${name} input gradient`,
      inputs: [small, weights, large],
      goal: { "jax-js": 2 },
      ours: (vg) => (x, w, g) => vg.vjp((v) => vg.convTranspose3d(v, w, twice), [x])[1](g)[0],
      jax: (jax) => (x, w, g) => pullback(jax, (v) => jaxTransposed(jax, v, w), x, g),
      tfjs: noGradient,
      torch: `lambda x, w, g: convolution(x, w, g, 2, 0, 1, "input", True)`,
    },
    {
      name: `${name} weight gradient`,
      inputs: [small, weights, large],
      goal: { "jax-js": 2 },
      ours: (vg) => (x, w, g) => vg.vjp((v) => vg.convTranspose3d(x, v, twice), [w])[1](g)[0],
      jax: (jax) => (x, w, g) => pullback(jax, (v) => jaxTransposed(jax, x, v), w, g),
      tfjs: noGradient,
      torch: `lambda x, w, g: convolution(x, w, g, 2, 0, 1, "weight", True)`,
    },
  ];
}

export const convolutions: readonly Item[] = [
  ...kinds.flatMap(convolution),
  ...transposed({ name: "convTranspose3d 2x2x2 32>16", channels: [32, 16], size: 16 }),
];
