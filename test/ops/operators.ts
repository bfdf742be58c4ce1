/** Every operator with small inputs: what tests that hold for all operators are driven by. */
import { type Entry, type Extra, op, rest } from "../helpers/operator_entry.ts";
import { noise } from "../helpers/noise.ts";
import type { Input } from "../helpers/operator_inputs.ts";
import {
  any,
  apart,
  ascending,
  distinct,
  fixed,
  input,
  key,
  labels,
  mask,
  matrices,
  points,
  positive,
  truth,
  unit,
  whole,
} from "../helpers/operator_inputs.ts";

const affine = { named: ["weight", "bias"] };
const biased = { named: ["bias"] };

const creation = [
  op("arange", [], null, rest(5)),
  op("arange", [], { step: 0.5, dtype: "f32" }, rest(1, 4)),
  op("eye", [], { dtype: "i32" }, rest(3)),
  op("eye", [], { columns: 5 }, { ...rest(3), about: "columns" }),
  op("full", [], null, rest([2, 3], 1.5)),
  op("ones", [], { dtype: "i32" }, rest([2, 3])),
  op("zeros", [], null, rest([2, 3])),
  op(
    "tensor",
    [],
    null,
    rest([
      [1, 2, 3],
      [4, 5, 6],
    ]),
  ),
];

const unary = (name: string, x: (...shape: number[]) => Input, extra: Extra = {}): Entry =>
  op(name, [x(3, 5)], null, extra);
const elementwise = [
  unary("abs", apart(0)),
  unary("neg", any),
  unary("sign", apart(0), { derivative: "zero" }),
  unary("floor", apart(-1, 0, 1), { derivative: "zero" }),
  unary("isNaN", any, { half: "bool" }),
  unary("isFinite", any, { half: "bool" }),
  unary("logicalNot", truth),
  ...["exp", "sin", "cos", "tanh", "erf", "sigmoid", "softplus", "gelu", "square"].map((name) => unary(name, any)),
  ...["exp2", "expm1", "tan", "atan", "sinh", "cosh", "asinh", "silu", "selu", "elu", "mish"].map((name) =>
    unary(name, any)
  ),
  ...["log", "log1p", "sqrt", "rsqrt", "log2", "reciprocal"].map((name) => unary(name, positive)),
  ...["asin", "acos", "atanh"].map((name) => unary(name, unit)),
  op("acosh", [input((count, seed) => noise(count, seed).map((x) => 2.5 + x))(3, 5)]),
  ...["hardSigmoid", "hardSwish"].map((name) => unary(name, any)),
  ...["round", "ceil", "trunc"].map((name) =>
    unary(name, apart(-1.5, -1, -0.5, 0, 0.5, 1, 1.5), { derivative: "zero" })
  ),
  op("elu", [apart(0)(3, 5)], { alpha: 0.3 }),
  op("nanToNum", [any(3, 5)], { nan: 1 }),
  op("atan2", [apart(0)(3, 1, 5), apart(0)(4, 1)]),
  op("mod", [positive(3, 5)], null, rest(0.4)),
  op("mod", [labels(9)(3, 5), labels(4, 1)(5)], null, { about: "i32" }),
  op("lerp", [any(3, 5), any(5), unit(3, 1)]),
  op("lerp", [any(3, 5), any(5)], null, rest(0.7)),
  ...["bitwiseAnd", "bitwiseOr", "bitwiseXor", "leftShift", "rightShift"].map((name) =>
    op(name, [labels(9)(3, 1, 5), labels(9)(4, 1)])
  ),
  op("bitwiseNot", [labels(9)(3, 5)]),
  unary("relu", apart(0)),
  op("leakyRelu", [apart(0)(3, 5)], { slope: 0.2 }),
  op("leakyRelu", [apart(0)(3, 5)], { slope: -0.3 }),
  op("clamp", [apart(-0.5, 0.7)(3, 5)], { min: -0.5, max: 0.7 }),
  op("clamp", [apart(0.3)(3, 5)], { min: 0.3 }),
  op("cast", [any(3, 5)], null, { ...rest("i32"), derivative: "zero", half: "i32" }),
  op("cast", [any(3, 5)], null, { ...rest("f32"), half: "f32" }),
  op("cast", [labels(4)(3, 5)], null, { ...rest("f32"), about: "i32 to f32" }),
  op("cast", [truth(3, 5)], null, { ...rest("i32"), about: "bool to i32" }),
  ...["add", "sub", "mul"].flatMap((name) => [
    op(name, [any(3, 1, 5), any(4, 1)]),
    op(name, [any(3, 5)], null, rest(1.5)),
    op(name, [labels(9)(3, 5), labels(4)(5)], null, { about: "i32" }),
  ]),
  op("sub", [any(3, 5)], null, { before: [2], about: "number first" }),
  op("div", [any(3, 1, 5), apart(0)(4, 1)]),
  op("div", [positive(3, 5)], null, { before: [2], about: "number first" }),
  op("pow", [positive(3, 1, 5), any(4, 1)]),
  ...[2, 3, -0.5].map((exponent) => op("pow", [positive(3, 5)], null, rest(exponent))),
  op("maximum", [distinct()(3, 5), distinct(0.5)(3, 5)]),
  op("minimum", [distinct()(3, 5), distinct(0.5)(5)]),
  op("maximum", [apart(0.25)(3, 5)], null, rest(0.25)),
  ...["equal", "notEqual"].map((name) => op(name, [labels(3)(3, 1, 5), labels(3)(4, 1)])),
  ...["less", "greater", "lessEqual", "greaterEqual"].map((name) =>
    op(name, [any(3, 1, 5), any(4, 1)], null, { half: "bool" })
  ),
  ...["logicalAnd", "logicalOr", "logicalXor"].map((name) => op(name, [truth(3, 1, 5), truth(4, 1)])),
  op("where", [truth(3, 5), any(5), any(3, 1)]),
  op("where", [truth(3, 5), any(3, 5)], null, rest(0)),
];

const reductions = [
  ...["sum", "mean", "max", "min", "variance", "logSumExp"].flatMap((name) => [
    op(name, [distinct()(3, 4, 5)]),
    op(name, [distinct()(3, 4, 5)], { axes: [-1, 0] }),
    op(name, [distinct()(3, 4, 5)], { axes: [1], keepDims: true }),
  ]),
  op("variance", [any(3, 5)], { axes: [1], correction: 0 }),
  op("std", [any(3, 5)], { axes: [1], correction: 0 }),
  op("quantile", [distinct()(3, 4, 5)], { q: 0.3, axis: 1 }),
  op("quantile", [distinct()(3, 5)], { q: [0.25, 1], axis: 0, interpolation: "midpoint", keepDims: true }),
  op("median", [distinct()(3, 4)], { axis: 1 }),
  op("median", [distinct()(3, 4)]),
  ...[1, 2, 3].map((ord) => op("norm", [apart(0)(3, 5)], { axes: [1], ord })),
  op("norm", [distinct(0.25)(3, 5)], { ord: Infinity }, { about: "ord Infinity" }),
  op("prod", [any(3, 4, 5)], { axes: [-1, 0] }),
  op("prod", [any(3, 4)], { axes: [1], keepDims: true }),
  op("cumprod", [any(3, 4, 5)], { axis: 1 }),
  op("cumprod", [any(3, 5)], { reverse: true }),
  ...["cummax", "cummin"].map((name) => op(name, [distinct()(3, 4, 5)], { axis: 1 })),
  ...["any", "all"].map((name) => op(name, [truth(3, 5)], { axes: [1] })),
  op("argmin", [distinct()(3, 4, 5)], { axis: 1 }, { half: "i32" }),
  op("sum", [truth(3, 5)], { axes: [0] }),
  op("max", [labels(9)(3, 5)], { axes: [0] }),
  op("argmax", [distinct()(3, 4, 5)], { axis: 1 }, { half: "i32" }),
  op("argmax", [distinct()(3, 4, 5)], null, { half: "i32" }),
  op("softmax", [any(3, 4, 5)], { axis: 1 }),
  op("logSoftmax", [any(3, 5)]),
  op("softmax", [any(2, 35, 2)], { axis: 1 }, { about: "a long axis" }),
  op("logSoftmax", [any(35, 2)], { axis: 0 }, { about: "a long axis" }),
  op("cosineSimilarity", [any(2, 5, 3), any(4, 1, 5, 1)], { axis: 2, eps: 1e-6 }),
  op("cosineSimilarity", [any(2, 3, 2, 1, 3), any(2, 1, 2, 8, 1)], { axis: 2 }, { about: "as a product of matrices" }),
  op("cosineMatching", [any(2, 5, 3, 2), any(4, 5), mask(4)], { temperature: 3, eps: 1e-3 }),
  op("cosineMatching", [any(3, 4), any(1, 4), truth(1)], null, { about: "one prototype" }),
  op("crossEntropy", [any(2, 4, 3), labels(4)(2, 3)], { labelSmoothing: 0.2, reduction: "none" }, { half: "f32" }),
  op("nll", [any(2, 4, 3), labels(4)(2, 3)], { reduction: "sum" }, { half: "f32" }),
  op("crossEntropy", [any(2, 4, 3), labels(4)(2, 3)], null, { half: "f32" }),
  op(
    "crossEntropy",
    [any(2, 3, 4), labels(4)(2, 3)],
    { axis: -1, weight: [1, 0.5, 2, 3], ignoreIndex: 1 },
    { half: "f32" },
  ),
  op("binaryCrossEntropyWithLogits", [any(3, 5), unit(3, 5)], null, { half: "f32" }),
];

const movement = [
  op("zerosLike", [any(3, 5)], null, { derivative: "zero" }),
  op("onesLike", [any(3, 5)], { dtype: "i32" }, { half: "i32" }),
  op("flatten", [any(3, 4, 5)], { startAxis: 1, endAxis: -1 }),
  op("moveAxis", [any(3, 4, 5)], { source: [0, -1], destination: [1, 0] }),
  op("swapAxes", [any(3, 4, 5)], { axes: [0, -1] }),
  op("select", [any(3, 4, 5)], { axis: 1, index: -2 }),
  op("narrow", [any(3, 5)], { axis: 1, start: 1, length: 3 }),
  op("unstack", [any(3, 4, 5)], { axis: 1 }),
  op("chunk", [any(3, 5)], { parts: 2, axis: -1 }),
  op("tile", [any(3, 1, 5)], { reps: [2, 1, 3, 2] }),
  op("repeat", [any(3, 5)], { repeats: 3, axis: 1 }),
  op("repeat", [any(3, 5)], { repeats: [2, 0, 3], axis: 0 }),
  op("tril", [any(2, 3, 5)], { diagonal: 1 }),
  op("triu", [any(5, 3)]),
  op("diagonal", [any(3, 4, 5)], { offset: -1, axes: [2, 0] }),
  op("meshgrid", [any(3), any(4), any(2)], { indexing: "xy" }, { list: true }),
  op("linspace", [], { num: 7 }, rest(-1, 2)),
  op("reshape", [any(3, 4, 5)], { shape: [5, -1, 2] }),
  op("squeeze", [any(3, 1, 5, 1)], { axes: [-1] }),
  op("expandDims", [any(3, 5)], { axis: -1 }),
  op("broadcastTo", [any(3, 1)], { shape: [2, 3, 5] }),
  op("transpose", [any(3, 4, 5)], { axes: [2, 0, 1] }),
  op("transpose", [any(3, 5)]),
  op("flip", [any(3, 4, 5)], { axes: [0, -1] }),
  op("roll", [any(3, 4, 5)], { shift: [2, -1], axes: [-1, 0] }),
  op("cumsum", [any(3, 4, 5)], { axis: 1 }),
  op("cumsum", [any(3, 70)], { reverse: true }),
  op("slice", [any(3, 7, 5)], { start: [1, -6, 0], end: [3, 7], step: [1, 2, 3] }),
  op("split", [any(3, 6)], { parts: 3, axis: 1 }),
  op("split", [any(5, 3)], { sizes: [1, 4] }),
  op("pad", [any(3, 5)], { before: [1, 0], after: 2, value: -0.5 }),
  ...["reflect", "replicate", "circular"].map((mode) =>
    op("pad", [any(3, 5)], { before: [1, 0], after: [2, 3], mode })
  ),
  op("pixelShuffle", [any(1, 8, 2, 3)], { factor: 2 }),
  op("pixelUnshuffle", [any(1, 2, 4, 6)], { factor: 2 }),
  op("unfold", [any(1, 2, 4, 5)], { kernel: [2, 3], stride: 2, padding: 1, dilation: [2, 1] }),
  op("concat", [any(3, 2), any(3, 1), any(3, 4)], { axis: 1 }, { list: true }),
  op(
    "concat",
    [1, 2, 1, 3, 1].map((n) => any(n, 3)),
    null,
    { list: true, about: "five" },
  ),
  op("stack", [any(3, 5), any(3, 5)], { axis: -1 }, { list: true }),
  op("take", [any(3, 4, 5), labels(4)(2, 3)], { axis: 1 }),
  op("take", [any(3, 5), labels(6, -3)(7)], null, { about: "repeated and out of range" }),
  op("oneHot", [labels(5, -1)(3, 2)], { classes: 4 }),
  op("stopGradient", [any(3, 5)], null, { derivative: "zero" }),
];

const indexing = [
  op("sort", [distinct()(3, 4, 5)], { axis: 1 }),
  op("sort", [distinct()(67)], { descending: true }),
  op("argsort", [distinct()(3, 5)], { axis: 0, descending: true }, { half: "i32" }),
  op("argsort", [labels(4, -2)(3, 70)]),
  op("topK", [distinct()(4, 5)], { k: 3, axis: 0 }, { half: ["f16", "i32"] }),
  op("topK", [distinct()(67)], { k: 2, largest: false }, { half: ["f16", "i32"] }),
  op("searchSorted", [ascending(9), any(3, 4)], { side: "right" }, { half: "i32" }),
  op("searchSorted", [ascending(3, 5), any(3, 4)], null, { half: "i32" }),
  op("takeAlongAxis", [any(3, 4, 5), labels(4)(3, 2, 5)], { axis: 1 }),
  op("takeAlongAxis", [any(1, 4), labels(4)(3, 7)]),
  op("scatterAdd", [any(3, 4, 5), labels(4)(3, 6, 5), any(3, 6, 5)], { axis: 1 }),
  op("scatterAdd", [any(4), labels(4)(2), any(2)]),
  op("segmentSum", [any(6, 3), labels(5)(6)], { segments: 5 }),
  op("segmentSum", [any(2, 4, 3), labels(3)(3)], { segments: 3, axis: -1 }),
  op("bincount", [labels(5)(3, 4)], { length: 6 }),
  op("bincount", [labels(5)(7), any(7)], { length: 5 }, { named: ["weights"] }),
  op("histogram", [fixed(any(3, 5))], { bins: 4, range: [-1, 0.9] }, { derivative: "zero", half: ["i32", "f32"] }),
  op("histogram", [fixed(any(9)), any(9)], { bins: 4 }, { named: ["weights"], half: "f32" }),
  op(
    "histogram",
    [fixed(any(9)), fixed(ascending(4)), positive(9)],
    { density: true },
    { named: ["edges", "weights"], half: "f32" },
  ),
  op("dynamicSlice", [any(4, 5), labels(3)(2)], { size: [2, 3] }),
  op("dynamicUpdateSlice", [any(4, 3, 5), any(2, 3, 5), labels(1)(3)]),
  op("dynamicUpdateSlice", [any(4, 5), any(2, 3), labels(3)(2)], null, { about: "two axes" }),
  ...["ij,jk->ik", "ij,jk", "ij,jk->k", "ij,jk->jki"].map((equation) =>
    op("einsum", [any(3, 4), any(4, 5)], null, { before: [equation], about: equation })
  ),
  op("einsum", [any(2, 3, 3), any(3)], null, { before: ["...ii,i->...i"], about: "diagonals" }),
  op("einsum", [any(2, 1, 4), any(3, 5, 4), any(5)], null, { before: ["b...k,...jk,j->...b"], about: "three" }),
];

const linearAlgebra = [
  op("solve", [matrices(3)(2, 1), any(4, 3, 2)]),
  op("solve", [matrices(5)(), any(5)], null, { about: "vector" }),
  ...["inverse", "cholesky"].map((name) => op(name, [matrices(4)(2)])),
  ...[true, false].map((upper) => op("solveTriangular", [matrices(5)(2), any(5, 3)], { upper })),
  ...[2, 3, 5].map((n) => op("det", [matrices(n)(2)], null, { about: `${n} rows` })),
  op("slogdet", [matrices(4)(2)]),
  ...[2, 3, 5].map((n) => op("eigh", [matrices(n)(2)], null, { about: `${n} rows` })),
];

const networks = [
  op("matmul", [any(3, 5), any(5, 4)]),
  op("matmul", [any(2, 1, 3, 5), any(3, 5, 4)], null, { about: "batches" }),
  op("matmul", [any(5), any(2, 5, 3)], null, { about: "vector" }),
  op("matmul", [labels(9)(3, 5), labels(9)(5, 4)], null, { about: "i32" }),
  op("scaledDotProductAttention", [any(2, 3, 4), any(2, 5, 4), any(2, 5, 3)]),
  op("scaledDotProductAttention", [any(2, 1, 5, 3), any(3, 5, 3), any(5, 2)], { causal: true, scale: 0.7 }),
  op(
    "scaledDotProductAttention",
    [any(2, 2, 3, 4), any(2, 2, 5, 4), any(2, 2, 5, 3), mask(2, 1, 3, 5), any(2, 1, 5)],
    null,
    { named: ["mask", "bias"], about: "mask and bias" },
  ),
  op(
    "scaledDotProductAttention",
    [any(3, 4), any(5, 4), any(5, 3), any(3, 5)],
    { scale: 2 },
    { named: ["mask"], about: "additive mask" },
  ),
  op("conv1d", [any(2, 3, 7), any(4, 3, 2), any(4)], { stride: 2, padding: 1 }, biased),
  op("conv1d", [any(1, 4, 7), any(6, 2, 4)], { groups: 2, padding: "same" }),
  op("convTranspose1d", [any(2, 3, 4), any(3, 2, 3), any(2)], { stride: 2, padding: 1, outputPadding: 1 }, biased),
  op("conv2d", [any(2, 3, 5, 4), any(4, 3, 3, 2), any(4)], { stride: [2, 1], padding: 1 }, biased),
  op("conv2d", [any(1, 4, 5, 7), any(6, 2, 3, 3)], { groups: 2, dilation: [1, 2] }),
  op("conv3d", [any(1, 3, 3, 4, 5), any(4, 3, 3, 3, 3), any(4)], { padding: 1 }, biased),
  op("conv3d", [any(2, 2, 3, 4, 5), any(3, 2, 1, 2, 3)], { stride: [1, 2, 2], padding: [0, 1, 2] }),
  op(
    "convTranspose2d",
    [any(1, 4, 3, 4), any(4, 3, 3, 2), any(6)],
    { stride: 2, padding: [1, 0], outputPadding: [1, 0], groups: 2 },
    biased,
  ),
  op("convTranspose3d", [any(2, 3, 2, 3, 2), any(3, 2, 2, 2, 2), any(2)], { stride: 2 }, biased),
  op("groupNorm", [any(2, 4, 3, 5), positive(4), any(4)], { groups: 2, eps: 1e-3 }, affine),
  op("groupNorm", [any(2, 6, 5)], { groups: 3 }),
  op("instanceNorm", [any(2, 3, 5, 2), positive(3), any(3)], { eps: 1e-3 }, affine),
  op("batchNorm", [any(3, 2, 5), positive(2), any(2)], { eps: 1e-3 }, affine),
  op("layerNorm", [any(3, 2, 5), positive(5), any(5)], { eps: 1e-3 }, affine),
  op("layerNorm", [any(3, 2, 5), positive(2, 5), any(2, 5)], { normalizedShape: [2, 5] }, affine),
  op("rmsNorm", [any(3, 2, 5), positive(5)], { eps: 1e-3 }, { named: ["weight"] }),
  ...["maxPool1d", "avgPool1d"].map((name) => op(name, [distinct()(1, 2, 9)], { kernel: 3, stride: 2, padding: 1 })),
  ...["adaptiveAvgPool", "adaptiveMaxPool"].map((name) => op(name, [distinct()(1, 2, 5, 6)], { size: [3, 2] })),
  ...["globalAvgPool", "globalMaxPool"].map((name) => op(name, [distinct()(2, 3, 4, 5)])),
  op("resize", [any(1, 2, 4, 5)], { scale: 1.5, mode: "linear" }),
  op("weightStandardize", [any(3, 2, 3, 3)], { eps: 1e-3 }),
  ...["maxPool2d", "avgPool2d"].map((name) =>
    op(name, [distinct()(2, 2, 5, 4)], { kernel: [3, 2], stride: 2, padding: [1, 0] })
  ),
  ...["maxPool3d", "avgPool3d"].map((name) =>
    op(name, [distinct()(1, 2, 3, 4, 5)], { kernel: 2, stride: [1, 2, 2], padding: 1 })
  ),
];

const sampling = [
  op("resize", [any(2, 2, 3, 5)], { size: [5, 4], mode: "nearest" }),
  op("resize", [any(1, 2, 3, 4, 5)], { size: [5, 4, 3], mode: "linear" }),
  op("resize", [any(2, 2, 5)], { size: 8, mode: "linear", alignCorners: true }),
  op("resize", [any(2, 1, 3, 5)], { size: [4, 7], mode: "cubic" }),
  op("resize", [any(2, 1, 5)], { size: 3, mode: "cubic", alignCorners: true }),
  op("resampleVolume", [any(2, 3, 5, 4)], { size: [4, 3, 9], order: 3, clip: false }),
  op("resampleVolume", [any(6, 5)], { size: [9, 3], order: [1, 0] }),
  op("resampleLabels", [labels(3)(2, 3, 5, 4)], { size: [5, 4, 7], order: 1 }, { derivative: "refused" }),
  op("affineGrid", [any(2, 2, 3)], { size: [2, 1, 3, 4] }),
  op("affineGrid", [any(1, 3, 4)], { size: [1, 1, 2, 3, 4], alignCorners: true }),
  op("gridSample", [any(2, 2, 4, 4), points(4, 2, 3, 5, 2)]),
  op("gridSample", [any(1, 2, 3, 3, 3), points(3, 1, 2, 3, 2, 3)], { padding: "border" }),
  op("gridSample", [any(1, 2, 4, 4), points(4, 1, 3, 5, 2)], { mode: "cubic", padding: "reflection" }),
  op("gridSample", [any(2, 2, 4, 4), fixed(points(4, 2, 3, 5, 2))], { mode: "nearest", padding: "reflection" }),
];

const masks = [
  op("distanceTransform", [mask(4, 7)], { spacing: [1, 0.5] }),
  op("distanceTransform", [input(whole(0, 2))(3, 4, 5)], null, { derivative: "refused", half: "f32" }),
  op("connectedComponents", [mask(5, 7)], { connectivity: 8 }),
  op("connectedComponents", [mask(3, 4, 5)]),
  op("fillHoles", [mask(5, 7)]),
  op("fillHoles", [mask(3, 5, 4)], null, { about: "volume" }),
];

const randoms = [
  op("random.key", [], null, rest(7)),
  op("random.split", [key], null, rest(3)),
  op("random.uniform", [key], { shape: [3, 5], min: -1, max: 2 }),
  op("random.normal", [key], { shape: [3, 5], mean: 1, std: 2 }),
  op("random.bernoulli", [key], { shape: [3, 5], p: 0.3 }),
  op("random.bits32", [key], { shape: [7] }),
  op("random.permutation", [key], { n: 9 }),
  op("random.foldIn", [key], null, rest(3)),
  op("random.randint", [key], { shape: [3, 5], min: -2, max: 9 }),
  op("random.truncatedNormal", [key], { shape: [3, 5], min: -1, max: 2, std: 2 }),
  op("random.gumbel", [key], { shape: [3, 5] }),
  op("random.categorical", [key, any(3, 5)], { axis: 0 }, { derivative: "zero", half: "i32" }),
  op("random.gamma", [key], { shape: [3, 5], concentration: 2 }),
];

/** All calls, whatever a run is limited to. */
export const allEntries: readonly Entry[] = [
  ...creation,
  ...elementwise,
  ...reductions,
  ...movement,
  ...indexing,
  ...linearAlgebra,
  ...networks,
  ...sampling,
  ...masks,
  ...randoms,
];

/** The operator that `npm test -- --op NAME` limits a run to. */
export const onlyOperator = process.env.VOXGRAD_TEST_OPERATOR;

export const entries: readonly Entry[] = allEntries.filter((e) => !onlyOperator || e.operator === onlyOperator);
