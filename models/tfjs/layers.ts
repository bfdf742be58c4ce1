/** Layers of TensorFlow.js as nodes of ONNX, opset 17. Values are channels first, whatever the file says of theirs. */
import type { WrittenAttribute } from "../onnx/file/write_model.ts";
import { axisHere, type GraphBuilder, type Layer, type LayerValue, permuted } from "./graph.ts";
import type { LayerWeight } from "./weights.ts";

type Convert = (layer: Layer, inputs: readonly LayerValue[], g: GraphBuilder) => LayerValue;

/** A weight as an initializer, once for all calls of its layer. */
function initializer(g: GraphBuilder, layer: Layer, name: string, { shape, data }: LayerWeight): string {
  const made = layer.made.get(name) ?? g.floats(`${layer.name}.${name}`, data, shape);
  layer.made.set(name, made);
  return made;
}

const scalar = (g: GraphBuilder, layer: Layer, value: number): string =>
  g.constant(layer.name, Float32Array.of(value), []);

function activation(layer: Layer, name: string, x: LayerValue, g: GraphBuilder): string {
  const node = (type: string, inputs: readonly string[], attributes = {}): string =>
    g.node(layer.name, type, inputs, attributes);
  const number = (value: number): string => scalar(g, layer, value);
  switch (name) {
    case "linear":
      return x.name;
    case "relu":
      return node("Relu", [x.name]);
    case "relu6":
      return node("Clip", [x.name, number(0), number(6)]);
    case "elu":
      return node("Elu", [x.name], { alpha: { float: 1 } });
    case "selu":
      return node("Selu", [x.name]);
    case "sigmoid":
      return node("Sigmoid", [x.name]);
    case "hard_sigmoid":
    case "hardSigmoid":
      return node("HardSigmoid", [x.name]);
    case "softmax":
      return node("Softmax", [x.name], { axis: 1 });
    case "softplus":
      return node("Softplus", [x.name]);
    case "softsign":
      return node("Softsign", [x.name]);
    case "tanh":
      return node("Tanh", [x.name]);
    case "swish":
    case "silu":
      return node("Mul", [x.name, node("Sigmoid", [x.name])]);
    case "mish":
      return node("Mul", [x.name, node("Tanh", [node("Softplus", [x.name])])]);
    case "gelu": {
      const erf = node("Erf", [node("Mul", [x.name, number(Math.SQRT1_2)])]);
      return node("Mul", [node("Mul", [x.name, number(0.5)]), node("Add", [erf, number(1)])]);
    }
    case "gelu_new": {
      const cube = node("Mul", [node("Mul", [x.name, x.name]), x.name]);
      const inner = node("Add", [x.name, node("Mul", [cube, number(0.044715)])]);
      const tanh = node("Tanh", [node("Mul", [inner, number(Math.sqrt(2 / Math.PI))])]);
      return node("Mul", [node("Mul", [x.name, number(0.5)]), node("Add", [tanh, number(1)])]);
    }
    default:
      return layer.lacks(`the activation ${JSON.stringify(name)}`);
  }
}
/** With the activation that the layer names, if any. */
const activated = (layer: Layer, x: LayerValue, g: GraphBuilder): LayerValue => ({
  ...x,
  name: activation(layer, layer.entry("activation", "linear"), x, g),
});

const one = (layer: Layer, inputs: readonly LayerValue[], rank?: number): LayerValue => {
  const [x, ...others] = inputs;
  if (x === undefined || others.length > 0) layer.fail(`it takes one input, got ${inputs.length}`);
  if (rank !== undefined && x.rank !== rank) layer.fail(`it takes values of ${rank} axes, got ${x.rank}`);
  return x;
};

function checkLayout(layer: Layer): void {
  const format = layer.entry("data_format", "channels_last");
  if (format !== "channels_last") layer.lacks(`data_format ${JSON.stringify(format)}`);
}
const isSame = (layer: Layer): boolean => {
  const padding = layer.entry("padding", "valid");
  if (padding !== "same" && padding !== "valid") layer.lacks(`padding ${JSON.stringify(padding)}`);
  return padding === "same";
};
/** Half of each, rounded down. */
const halves = (totals: readonly number[]): number[] => totals.map((n) => Math.floor(n / 2));
const rests = (totals: readonly number[]): number[] => totals.map((n) => Math.ceil(n / 2));

/** The kernel, outputs first and then inputs (of a transposed convolution the other way round), and the bias. */
function kernelAndBias(layer: Layer, dims: number, outputsAxis: 0 | 1, g: GraphBuilder) {
  const rank = dims + 2;
  const own = permuted(layer.weight("kernel", rank), [rank - 1, rank - 2, ...Array(dims).keys()]);
  const kernel = own.shape.slice(2);
  const names = [initializer(g, layer, "kernel", own)];
  const outputs = own.shape[outputsAxis];
  if (layer.entry("use_bias", true)) names.push(initializer(g, layer, "bias", layer.weight("bias", [outputs])));
  return { names, kernel, inputs: own.shape[1 - outputsAxis], outputs };
}

const conv = (dims: number): Convert => (layer, inputs, g) => {
  const x = one(layer, inputs, dims + 2);
  checkLayout(layer);
  const same = isSame(layer);
  const [strides, dilations] = [layer.sizes("strides", dims), layer.sizes("dilation_rate", dims)];
  const { names, kernel, inputs: own, outputs } = kernelAndBias(layer, dims, 0, g);
  const group = layer.entry("groups", 1);
  if (x.channels !== undefined && x.channels !== own * group) {
    layer.fail(`its kernel takes ${own * group} channels, and it gets ${x.channels}`);
  }
  const totals = kernel.map((k, i) => dilations[i] * (k - 1));
  // With strides the padding depends on the size of the input.
  const padding: Record<string, WrittenAttribute> = !same
    ? {}
    : strides.every((s) => s === 1)
    ? { pads: [...halves(totals), ...rests(totals)] }
    : { auto_pad: "SAME_UPPER" };
  const attributes = { kernel_shape: kernel, strides, dilations, group, ...padding };
  const name = g.node(layer.name, "Conv", [x.name, ...names], attributes);
  return activated(layer, { name, rank: x.rank, channels: outputs }, g);
};

const convTranspose = (dims: number): Convert => (layer, inputs, g) => {
  const x = one(layer, inputs, dims + 2);
  checkLayout(layer);
  const same = isSame(layer);
  const strides = layer.sizes("strides", dims);
  if (layer.sizes("dilation_rate", dims).some((n) => n > 1)) layer.lacks("dilation of a transposed convolution");
  if (layer.config.output_padding != null) layer.lacks("output_padding");
  const { names, kernel, inputs: own, outputs } = kernelAndBias(layer, dims, 1, g);
  if (x.channels !== undefined && x.channels !== own) {
    layer.fail(`its kernel takes ${own} channels, and it gets ${x.channels}`);
  }
  // n voxels give n x stride, or without padding as many more as the kernel is wider than the stride.
  const totals = kernel.map((k, i) => (same ? Math.max(0, k - strides[i]) : 0));
  const name = g.node(layer.name, "ConvTranspose", [x.name, ...names], {
    kernel_shape: kernel,
    strides,
    pads: [...halves(totals), ...rests(totals)],
    output_padding: kernel.map((k, i) => Math.max(0, strides[i] - k)),
  });
  return activated(layer, { name, rank: x.rank, channels: outputs }, g);
};

const pool = (type: string, dims: number): Convert => (layer, inputs, g) => {
  const x = one(layer, inputs, dims + 2);
  checkLayout(layer);
  const kernel = layer.sizes("pool_size", dims, 2);
  const strides = layer.sizes("strides", dims, kernel);
  const auto = isSame(layer) ? "SAME_UPPER" : "VALID";
  return { ...x, name: g.node(layer.name, type, [x.name], { kernel_shape: kernel, strides, auto_pad: auto }) };
};

const globalPool = (type: string, dims: number): Convert => (layer, inputs, g) => {
  const x = one(layer, inputs, dims + 2);
  checkLayout(layer);
  const name = g.node(layer.name, type, [x.name]);
  if (layer.entry("keepdims", false)) return { ...x, name };
  return { ...x, name: g.node(layer.name, "Flatten", [name], { axis: 1 }), rank: 2 };
};

const batchNorm: Convert = (layer, inputs, g) => {
  const x = one(layer, inputs);
  const axis = Array.isArray(layer.config.axis) ? layer.config.axis[0] as unknown : layer.config.axis ?? -1;
  if (axis !== -1 && axis !== x.rank - 1) layer.lacks(`batch normalization along axis ${JSON.stringify(axis)}`);
  const mean = layer.weight("moving_mean", 1);
  const n = mean.shape[0];
  if (x.channels !== undefined && x.channels !== n) layer.fail(`it has ${n} channels, and it gets ${x.channels}`);
  const own = (key: string, weight: string, otherwise: number): string =>
    layer.entry(key, true)
      ? initializer(g, layer, weight, layer.weight(weight, [n]))
      : g.constant(layer.name, new Float32Array(n).fill(otherwise), [n]);
  const name = g.node(layer.name, "BatchNormalization", [
    x.name,
    own("scale", "gamma", 1),
    own("center", "beta", 0),
    initializer(g, layer, "moving_mean", mean),
    initializer(g, layer, "moving_variance", layer.weight("moving_variance", [n])),
  ], { epsilon: { float: layer.entry("epsilon", 1e-3) } });
  return { ...x, name, channels: n };
};

const dense: Convert = (layer, inputs, g) => {
  const x = one(layer, inputs);
  const kernel = layer.weight("kernel", 2);
  const [n, m] = kernel.shape;
  if (x.channels !== undefined && x.channels !== n) layer.fail(`it takes ${n} values, and it gets ${x.channels}`);
  const bias = layer.entry("use_bias", true) ? [initializer(g, layer, "bias", layer.weight("bias", [m]))] : [];
  if (x.rank === 2) {
    const names = [x.name, initializer(g, layer, "kernel", kernel), ...bias];
    return activated(layer, { name: g.node(layer.name, "Gemm", names), rank: 2, channels: m }, g);
  }
  const turned = permuted(kernel, [1, 0]);
  const ones = new Array<number>(x.rank - 2).fill(1);
  const names = [x.name, initializer(g, layer, "kernel", { ...turned, shape: [m, n, ...ones] }), ...bias];
  const name = g.node(layer.name, "Conv", names, { kernel_shape: ones });
  return activated(layer, { name, rank: x.rank, channels: m }, g);
};

/** Of values of the same shape; axes of size 1 stretch. */
const merge = (type: string): Convert => (layer, inputs, g) => {
  const [x, ...others] = inputs;
  if (others.length === 0 || others.some(({ rank }) => rank !== x.rank)) {
    layer.fail(`it takes several values with as many axes, got ${inputs.map(({ rank }) => rank).join(", ")}`);
  }
  const channels = Math.max(...inputs.map((each) => each.channels ?? NaN));
  const name = type === "Mul"
    ? others.reduce((product, { name }) => g.node(layer.name, "Mul", [product, name]), x.name)
    : g.node(layer.name, type, inputs.map(({ name }) => name));
  return { ...x, name, channels: Number.isNaN(channels) ? undefined : channels };
};

const concatenate: Convert = (layer, inputs, g) => {
  const [x, ...others] = inputs;
  if (x === undefined || others.some(({ rank }) => rank !== x.rank)) layer.fail("its inputs differ in their axes");
  const axis = axisHere(layer.entry("axis", -1), x.rank);
  const sum = inputs.reduce((n, each) => n + (each.channels ?? NaN), 0);
  const name = g.node(layer.name, "Concat", inputs.map((each) => each.name), { axis });
  return { ...x, name, channels: axis !== 1 ? x.channels : Number.isNaN(sum) ? undefined : sum };
};

const upsample = (dims: number): Convert => (layer, inputs, g) => {
  const x = one(layer, inputs, dims + 2);
  checkLayout(layer);
  const how = layer.entry("interpolation", "nearest");
  if (how !== "nearest") layer.lacks(`${how} upsampling`);
  const scales = Float32Array.from([1, 1, ...layer.sizes("size", dims, 2)]);
  const name = g.node(layer.name, "Resize", [x.name, "", g.constant(layer.name, scales, [dims + 2])], {
    mode: "nearest",
    coordinate_transformation_mode: "asymmetric",
    nearest_mode: "floor",
  });
  return { ...x, name };
};

/** Numbers before and after along each axis of space: of one number, one for each axis, or a pair for each. */
function sides(layer: Layer, key: string, dims: number): [number, number][] {
  const value = layer.config[key] ?? 1;
  const list: unknown[] = Array.isArray(value) ? value as unknown[] : new Array<unknown>(dims).fill(value);
  const pairs = list.map((each) => (Array.isArray(each) ? each as unknown[] : [each, each]));
  const isCount = (n: unknown): boolean => Number.isSafeInteger(n) && (n as number) >= 0;
  if (pairs.length !== dims || !pairs.every((pair) => pair.length === 2 && pair.every(isCount))) {
    layer.fail(`${key} is ${JSON.stringify(value)}; wanted ${dims} integers >= 0, or pairs of them`);
  }
  return pairs as [number, number][];
}

const zeroPad = (dims: number): Convert => (layer, inputs, g) => {
  const x = one(layer, inputs, dims + 2);
  checkLayout(layer);
  const pairs = sides(layer, "padding", dims);
  const pads = [0, 0, ...pairs.map(([before]) => before), 0, 0, ...pairs.map(([, after]) => after)];
  return { ...x, name: g.node(layer.name, "Pad", [x.name, g.integers(`${layer.name}.pads`, pads)]) };
};

const crop = (dims: number): Convert => (layer, inputs, g) => {
  const x = one(layer, inputs, dims + 2);
  checkLayout(layer);
  const pairs = sides(layer, "cropping", dims);
  const list = (name: string, values: number[]): string => g.integers(`${layer.name}.${name}`, values);
  const starts = list("starts", pairs.map(([before]) => before));
  const ends = list("ends", pairs.map(([, after]) => (after === 0 ? 2 ** 31 - 1 : -after)));
  const axes = list("axes", pairs.map((_, k) => k + 2));
  return { ...x, name: g.node(layer.name, "Slice", [x.name, starts, ends, axes]) };
};

const flatten: Convert = (layer, inputs, g) => {
  const x = one(layer, inputs);
  checkLayout(layer);
  // In the order of the file, channels last.
  const perm = [0, ...Array.from({ length: x.rank - 2 }, (_, k) => k + 2), 1];
  const turned = x.rank > 2 ? g.node(layer.name, "Transpose", [x.name], { perm }) : x.name;
  const name = g.node(layer.name, "Flatten", [turned], { axis: 1 });
  return { name, rank: 2, channels: x.rank === 2 ? x.channels : undefined };
};

const relu: Convert = (layer, inputs, g) => {
  const x = one(layer, inputs);
  const max = layer.config.max_value == null ? undefined : layer.entry("max_value", 0);
  if (layer.entry("threshold", 0) !== 0) layer.lacks("a threshold");
  const slope = layer.entry("negative_slope", 0);
  const name = slope === 0
    ? g.node(layer.name, "Relu", [x.name])
    : g.node(layer.name, "LeakyRelu", [x.name], { alpha: { float: slope } });
  return { ...x, name: max === undefined ? name : g.node(layer.name, "Min", [name, scalar(g, layer, max)]) };
};

const prelu: Convert = (layer, inputs, g) => {
  const x = one(layer, inputs);
  const alpha = layer.weight("alpha", x.rank - 1);
  const turned = permuted(alpha, [x.rank - 2, ...Array(x.rank - 2).keys()]);
  return { ...x, name: g.node(layer.name, "PRelu", [x.name, initializer(g, layer, "alpha", turned)]) };
};

const withAlpha = (type: string, otherwise: number): Convert => (layer, inputs, g) => {
  const x = one(layer, inputs);
  return { ...x, name: g.node(layer.name, type, [x.name], { alpha: { float: layer.entry("alpha", otherwise) } }) };
};
const softmax: Convert = (layer, inputs, g) => {
  const x = one(layer, inputs);
  return { ...x, name: g.node(layer.name, "Softmax", [x.name], { axis: axisHere(layer.entry("axis", -1), x.rank) }) };
};
/** Layers that do nothing but in training. */
const identity: Convert = (layer, inputs) => one(layer, inputs);

/** A layer for each number of axes of space, NAME1D to NAME3D. */
const perDims = (name: string, make: (dims: number) => Convert): Record<string, Convert> =>
  Object.fromEntries([1, 2, 3].map((dims) => [`${name}${dims}D`, make(dims)]));

export const layers: Readonly<Record<string, Convert>> = {
  ...perDims("Conv", conv),
  Conv2DTranspose: convTranspose(2),
  Conv3DTranspose: convTranspose(3),
  ...perDims("MaxPooling", (dims) => pool("MaxPool", dims)),
  ...perDims("AveragePooling", (dims) => pool("AveragePool", dims)),
  ...perDims("GlobalMaxPooling", (dims) => globalPool("GlobalMaxPool", dims)),
  ...perDims("GlobalAveragePooling", (dims) => globalPool("GlobalAveragePool", dims)),
  ...perDims("UpSampling", upsample),
  ...perDims("ZeroPadding", zeroPad),
  ...perDims("Cropping", crop),
  ...perDims("SpatialDropout", () => identity),
  BatchNormalization: batchNorm,
  Dense: dense,
  Flatten: flatten,
  Activation: (layer, inputs, g) => activated(layer, one(layer, inputs), g),
  ReLU: relu,
  LeakyReLU: withAlpha("LeakyRelu", 0.3),
  ELU: withAlpha("Elu", 1),
  PReLU: prelu,
  Softmax: softmax,
  Add: merge("Sum"),
  Average: merge("Mean"),
  Maximum: merge("Max"),
  Minimum: merge("Min"),
  Multiply: merge("Mul"),
  Concatenate: concatenate,
  Dropout: identity,
  GaussianDropout: identity,
  GaussianNoise: identity,
  AlphaDropout: identity,
};
