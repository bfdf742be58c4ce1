/** Products, convolutions, pooling, norms and interpolation. */
import * as vg from "../../../engine/mod.ts";
import { type Tensor, where } from "../../../engine/mod.ts";
import { type Call, type OnnxOperator, outputs } from "../file/run_graph.ts";
import { lacks, typeOf } from "../file/values.ts";

const positive = (axis: number, rank: number): number => (axis < 0 ? axis + rank : axis);

interface Windows {
  readonly kernel: readonly number[];
  readonly stride: readonly number[];
  readonly dilation: readonly number[];
  readonly before: number[];
  readonly after: number[];
  /** Windows along each axis. */
  readonly output: number[];
}

/** Attributes of windows over space; with `ceil`, the last window may reach beyond the padding. */
function windowsOf(call: Call, space: readonly number[], kernel: readonly number[], ceil = false): Windows {
  const dims = space.length;
  const ones = new Array<number>(dims).fill(1);
  const [stride, dilation] = [call.list("strides") ?? ones, call.list("dilations") ?? ones];
  const auto = call.attribute("auto_pad", "NOTSET");
  const pads = call.list("pads") ?? new Array<number>(2 * dims).fill(0);
  const width = kernel.map((k, i) => dilation[i] * (k - 1) + 1);
  let [before, after] = [pads.slice(0, dims), pads.slice(dims)];
  if (auto.startsWith("SAME")) {
    const total = space.map((n, i) => Math.max(0, (Math.ceil(n / stride[i]) - 1) * stride[i] + width[i] - n));
    const [small, large] = [total.map((n) => Math.floor(n / 2)), total.map((n) => Math.ceil(n / 2))];
    [before, after] = auto === "SAME_UPPER" ? [small, large] : [large, small];
  } else if (auto === "VALID") [before, after] = [ones.map(() => 0), ones.map(() => 0)];
  const round = ceil ? Math.ceil : Math.floor;
  const output = space.map((n, i) => round((n + before[i] + after[i] - width[i]) / stride[i]) + 1);
  return { kernel, stride, dilation, before, after, output };
}

/** Reduces the windows of x, one axis of space after the other; `value` counts outside of x. */
function pooled(x: Tensor, w: Windows, value: number, f: (x: Tensor, over: { axes: number[] }) => Tensor): Tensor {
  const reach = w.output.map((n, i) => (n - 1) * w.stride[i] + w.dilation[i] * (w.kernel[i] - 1) + 1);
  const missing = reach.map((n, i) => Math.max(0, n - x.shape[i + 2] - w.before[i]));
  const padded = x.pad({ before: [0, 0, ...w.before], after: [0, 0, ...missing], value });
  return w.output.reduce((y, n, i) => {
    const [axis, k] = [i + 2, w.kernel[i]];
    const places = Int32Array.from(
      { length: n * k },
      (_, at) => Math.floor(at / k) * w.stride[i] + (at % k) * w.dilation[i],
    );
    return f(y.take(vg.tensor(places, { shape: [n, k] }), { axis }), { axes: [axis + 1] });
  }, padded);
}

function maxPool(call: Call): Tensor {
  if (call.node.outputs.length > 1 && call.node.outputs[1] !== "") lacks("MaxPool with indices");
  const x = call.t(0);
  const w = windowsOf(call, x.shape.slice(2), call.list("kernel_shape")!, call.integer("ceil_mode", 0) === 1);
  return pooled(x, w, x.dtype === "f32" ? -Infinity : -(2 ** 31), (y, over) => y.max(over));
}

function averagePool(call: Call): Tensor {
  const x = call.t(0);
  const w = windowsOf(call, x.shape.slice(2), call.list("kernel_shape")!, call.integer("ceil_mode", 0) === 1);
  const add = (y: Tensor, over: { axes: number[] }): Tensor => y.sum(over);
  const one = vg.ones([1, 1, ...x.shape.slice(2)]);
  const wide = one.pad({ before: [0, 0, ...w.before], after: [0, 0, ...w.after], value: 1 });
  const counted = call.integer("count_include_pad", 0)
    ? pooled(wide, { ...w, before: w.before.map(() => 0) }, 0, add)
    : pooled(one, w, 0, add);
  return pooled(x, w, 0, add).div(counted);
}

/** A convolution of x, padded at the sides apart where they differ. */
function convolve(call: Call, x: Tensor, weight: Tensor, bias: Tensor | undefined): Tensor {
  const dims = x.rank - 2;
  const w = windowsOf(call, x.shape.slice(2), weight.shape.slice(2));
  const conv = [vg.conv1d, vg.conv2d, vg.conv3d][dims - 1] ?? lacks(`convolution of ${dims} dimensions`);
  const even = w.before.every((n, i) => n === w.after[i]);
  const padded = even ? x : x.pad({ before: [0, 0, ...w.before], after: [0, 0, ...w.after] });
  return conv(padded, weight, {
    stride: w.stride,
    dilation: w.dilation,
    groups: call.integer("group", 1),
    padding: even ? w.before : 0,
    ...(bias && { bias }),
  });
}

function convTranspose(call: Call): Tensor {
  const [x, weight] = [call.t(0), call.t(1)];
  const dims = x.rank - 2;
  const conv = [vg.convTranspose1d, vg.convTranspose2d, vg.convTranspose3d][dims - 1] ??
    lacks(`convolution of ${dims} dimensions`);
  const ones = new Array<number>(dims).fill(1);
  const [stride, dilation] = [call.list("strides") ?? ones, call.list("dilations") ?? ones];
  const extra = call.list("output_padding") ?? ones.map(() => 0);
  const kernel = weight.shape.slice(2);
  const full = x.shape.slice(2).map((n, i) => (n - 1) * stride[i] + dilation[i] * (kernel[i] - 1) + 1 + extra[i]);
  let pads = call.list("pads") ?? new Array<number>(2 * dims).fill(0);
  const wanted = call.list("output_shape");
  const auto = call.attribute("auto_pad", "NOTSET");
  if (wanted || auto.startsWith("SAME")) {
    const size = wanted ? wanted.slice(-dims) : x.shape.slice(2).map((n, i) => n * stride[i]);
    const total = full.map((n, i) => n - size[i]);
    const [small, large] = [total.map((n) => Math.floor(n / 2)), total.map((n) => n - Math.floor(n / 2))];
    pads = auto === "SAME_UPPER" ? [...small, ...large] : [...large, ...small];
  }
  const y = conv(x, weight, {
    stride,
    dilation,
    groups: call.integer("group", 1),
    ...(call.has(2) && { bias: call.t(2) }),
  });
  // Cut, or grown by output_padding and negative pads.
  const bias = call.has(2) ? call.t(2).reshape({ shape: [1, -1, ...ones] }) : null;
  const end = full.map((n, i) => n - pads[dims + i]);
  const missing = end.map((n, i) => Math.max(0, n - y.shape[i + 2]));
  const grown = missing.some((n) => n > 0) ? (bias ? y.sub(bias) : y).pad({ before: 0, after: [0, 0, ...missing] }) : y;
  const shifted = bias && missing.some((n) => n > 0) ? grown.add(bias) : grown;
  return shifted.slice({ start: [0, 0, ...pads.slice(0, dims)], end: [...y.shape.slice(0, 2), ...end] });
}

/** Weights [n, m] by which an axis of n voxels gives m. */
function resizeMatrix(call: Call, n: number, m: number, scale: number, roi: readonly [number, number]) {
  const mode = call.attribute("mode", "nearest");
  const old = call.node.type === "Upsample" || call.opset < 11;
  const place = old ? "asymmetric" : call.attribute("coordinate_transformation_mode", "half_pixel");
  const rounding = old ? "floor" : call.attribute("nearest_mode", "round_prefer_floor");
  const a = call.attribute("cubic_coeff_a", -0.75);
  const exclude = call.integer("exclude_outside", 0) === 1;
  const weights = new Float32Array(n * m);
  const outside: number[] = [];
  for (let i = 0; i < m; i++) {
    const x = place === "asymmetric"
      ? i / scale
      : place === "align_corners"
      ? scale * n === 1 ? 0 : (i * (n - 1)) / (scale * n - 1)
      : place === "pytorch_half_pixel"
      ? m > 1 ? (i + 0.5) / scale - 0.5 : 0
      : place === "tf_crop_and_resize"
      ? m > 1 ? roi[0] * (n - 1) + (i * (roi[1] - roi[0]) * (n - 1)) / (m - 1) : 0.5 * (roi[0] + roi[1]) * (n - 1)
      : place === "half_pixel"
      ? (i + 0.5) / scale - 0.5
      : lacks(`Resize with ${place}`);
    outside.push(Number(place === "tf_crop_and_resize" && (x < 0 || x > n - 1)));
    const add = (j: number, weight: number): void => {
      weights[Math.max(0, Math.min(n - 1, j)) * m + i] += weight;
    };
    const low = Math.floor(x);
    const t = x - low;
    if (mode === "nearest") {
      const half = t === 0.5;
      const nearest = rounding === "floor"
        ? low
        : rounding === "ceil"
        ? Math.ceil(x)
        : rounding === "round_prefer_ceil"
        ? half ? Math.ceil(x) : Math.round(x)
        : half
        ? low
        : Math.round(x);
      add(nearest, 1);
    } else if (mode === "linear") {
      add(low, 1 - t);
      add(low + 1, t);
    } else if (mode === "cubic") {
      const kernel = (d: number): number =>
        d <= 1 ? ((a + 2) * d - (a + 3)) * d * d + 1 : ((a * d - 5 * a) * d + 8 * a) * d - 4 * a;
      const taps = [-1, 0, 1, 2].map((k) => [low + k, kernel(Math.abs(t - k))] as const);
      const inside = exclude ? taps.filter(([j]) => j >= 0 && j < n) : taps;
      const total = inside.reduce((sum, [, w]) => sum + w, 0);
      for (const [j, w] of inside) add(j, exclude ? w / total : w);
    } else lacks(`Resize with mode ${mode}`);
  }
  return { weights, outside };
}

function resize(call: Call): Tensor {
  const x = call.t(0);
  const known = (k: number): readonly number[] | undefined =>
    call.has(k) && call.numbers(k).length > 0 ? call.numbers(k) : undefined;
  const old = call.node.type === "Upsample" || call.opset < 11;
  const scales = old ? call.list("scales") ?? known(1) : known(2);
  const sizes = old ? undefined : known(3);
  const roi = old ? undefined : known(1);
  const m = sizes ?? x.shape.map((n, k) => Math.floor(n * scales![k]));
  let y = x;
  x.shape.forEach((n, axis) => {
    const scale = scales ? scales[axis] : m[axis] / n;
    const part = roi ? [roi[axis], roi[axis + x.rank]] as const : [0, 1] as const;
    if (n === m[axis] && scale === 1 && part[0] === 0 && part[1] === 1) return;
    const { weights, outside } = resizeMatrix(call, n, m[axis], scale, part);
    const matrix = vg.tensor(weights, { shape: [n, m[axis]] });
    let z = y.moveAxis({ source: axis, destination: -1 }).matmul(matrix);
    if (outside.some((v) => v)) {
      z = where(vg.tensor(outside, { dtype: "bool" }), call.attribute("extrapolation_value", 0), z);
    }
    y = z.moveAxis({ source: -1, destination: axis });
  });
  return y;
}

const perChannel = (v: Tensor, rank: number): Tensor =>
  v.reshape({ shape: Array.from({ length: rank }, (_, k) => (k === 1 ? v.size : 1)) });

function batchNorm(call: Call) {
  const [x, scale, bias, mean, variance] = [0, 1, 2, 3, 4].map((k) => call.t(k));
  const eps = call.attribute("epsilon", 1e-5);
  const apply = (m: Tensor, v: Tensor): Tensor => {
    const [a, b, c, d] = [scale, bias, m, v].map((t) => perChannel(t, x.rank));
    return x.sub(c).mul(d.add(eps).rsqrt()).mul(a).add(b);
  };
  if (!call.integer("training_mode", 0)) return apply(mean, variance);
  const axes = x.shape.map((_, k) => k).filter((k) => k !== 1);
  const momentum = call.attribute("momentum", 0.9);
  const [own, spread] = [x.mean({ axes }), x.variance({ axes, correction: 0 })];
  const join = (before: Tensor, now: Tensor): Tensor => before.mul(momentum).add(now.mul(1 - momentum));
  return outputs(apply(own, spread), join(mean, own), join(variance, spread));
}

function layerNorm(call: Call) {
  const x = call.t(0);
  const axis = positive(call.integer("axis", -1), x.rank);
  const axes = x.shape.map((_, k) => k).slice(axis);
  const mean = x.mean({ axes, keepDims: true });
  const rstd = x.sub(mean).square().mean({ axes, keepDims: true }).add(call.attribute("epsilon", 1e-5)).rsqrt();
  const normalizedShape = x.shape.slice(axis);
  const y = vg.layerNorm(x, {
    normalizedShape,
    weight: call.t(1).broadcastTo({ shape: normalizedShape }),
    ...(call.has(2) && { bias: call.t(2).broadcastTo({ shape: normalizedShape }) }),
    eps: call.attribute("epsilon", 1e-5),
  });
  return outputs(y, mean, rstd);
}

/** x minus a zero point, as integers. */
function shifted(call: Call, k: number, zero: number): Tensor {
  const x = call.t(k);
  if (!call.has(zero)) return x;
  const z = call.t(zero);
  return x.sub(z.size === 1 ? z.reshape({ shape: [] }) : z);
}

export const networks: Readonly<Record<string, OnnxOperator>> = {
  MatMul: (call) => call.t(0).matmul(call.t(1)),
  MatMulInteger: (call) => shifted(call, 0, 2).matmul(shifted(call, 1, 3)),
  QLinearMatMul: (call) => {
    const y = shifted(call, 0, 2).matmul(shifted(call, 3, 5)).cast("f32");
    const scaled = y.mul(call.t(1)).mul(call.t(4)).div(call.t(6)).round().add(call.t(7).cast("f32"));
    const [min, max] = typeOf(call.single(7)) === 3 ? [-128, 127] : [0, 255];
    return scaled.clamp({ min, max }).cast("i32");
  },
  Gemm: (call) => {
    const turn = (x: Tensor, name: string): Tensor => (call.integer(name, 0) ? x.transpose() : x);
    const y = turn(call.t(0), "transA").matmul(turn(call.t(1), "transB")).mul(call.attribute("alpha", 1));
    return call.has(2) ? y.add(call.t(2).mul(call.attribute("beta", 1))) : y;
  },
  Conv: (call) => convolve(call, call.t(0), call.t(1), call.has(2) ? call.t(2) : undefined),
  // Sums of products of bytes are exact in f32 below 2^24.
  ConvInteger: (call) =>
    convolve(call, shifted(call, 0, 2).cast("f32"), shifted(call, 1, 3).cast("f32"), undefined).round().cast("i32"),
  QLinearConv: (call) => {
    if (call.has(8)) lacks("QLinearConv with a bias");
    const y = convolve(call, shifted(call, 0, 2).cast("f32"), shifted(call, 3, 5).cast("f32"), undefined);
    const scale = call.t(4);
    const own = scale.size === 1 ? scale.reshape({ shape: [] }) : perChannel(scale, y.rank);
    const scaled = y.mul(call.t(1)).mul(own).div(call.t(6)).round().add(call.t(7).cast("f32"));
    return scaled.clamp({ min: 0, max: 255 }).cast("i32");
  },
  ConvTranspose: convTranspose,
  MaxPool: maxPool,
  AveragePool: averagePool,
  GlobalAveragePool: (call) => call.t(0).mean({ axes: call.t(0).shape.map((_, k) => k).slice(2), keepDims: true }),
  GlobalMaxPool: (call) => call.t(0).max({ axes: call.t(0).shape.map((_, k) => k).slice(2), keepDims: true }),
  BatchNormalization: batchNorm,
  InstanceNormalization: (call) =>
    vg.instanceNorm(call.t(0), { weight: call.t(1), bias: call.t(2), eps: call.attribute("epsilon", 1e-5) }),
  LayerNormalization: layerNorm,
  LRN: (call) => {
    const x = call.t(0);
    const size = call.integer("size", 1);
    const [alpha, beta, bias] = [
      call.attribute("alpha", 1e-4),
      call.attribute("beta", 0.75),
      call.attribute("bias", 1),
    ];
    const axis = (k: number): number[] => x.shape.map((_, a) => (a === 1 ? k : 0));
    const wide = x.square().pad({ before: axis(Math.floor((size - 1) / 2)), after: axis(Math.ceil((size - 1) / 2)) });
    const sums = Array.from({ length: size }, (_, start) => wide.narrow({ axis: 1, start, length: x.shape[1] }));
    return x.div(vg.pow(sums.reduce((a, b) => a.add(b)).mul(alpha / size).add(bias), beta));
  },
  Resize: resize,
  Upsample: resize,
  GridSample: (call) => {
    const modes = { bilinear: "linear", nearest: "nearest", bicubic: "cubic" } as const;
    return vg.gridSample(call.t(0), call.t(1), {
      mode: modes[call.attribute("mode", "bilinear") as keyof typeof modes],
      padding: call.attribute("padding_mode", "zeros") as "zeros",
      alignCorners: call.integer("align_corners", 0) === 1,
    });
  },
  Det: (call) => vg.det(call.t(0)),
  MaxUnpool: () => lacks("MaxUnpool"),
};
