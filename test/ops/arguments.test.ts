/** Bad arguments: every operator refuses them with an error that begins with its name, never with a raw one. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import * as vg from "../../engine/mod.ts";
import * as nn from "../../engine/nn/mod.ts";
import { type DType, ones, Tensor, tensor, VoxgradError } from "../../engine/mod.ts";
import { argumentsOf, type Entry, label, operatorOf, tensorsOf } from "../helpers/operator_entry.ts";
import { entries, onlyOperator } from "./operators.ts";

/** "works", or the message of a VoxgradError that begins with the operator's name; anything else is a failure. */
function outcome(e: Entry, args: readonly unknown[], what: string): string {
  try {
    operatorOf(e.operator)(...args);
    return "works";
  } catch (error) {
    const told = error instanceof Error ? `${error.name}: ${error.message}` : String(error);
    assert.ok(error instanceof VoxgradError, `${label(e)} with ${what} throws ${told}`);
    assert.ok(error.message.startsWith(`${e.operator}: `), `${label(e)} with ${what} says: ${error.message}`);
    return error.message;
  }
}

function refuses(e: Entry, args: readonly unknown[], what: string): void {
  assert.ok(outcome(e, args, what) !== "works", `${label(e)} takes ${what}`);
}

/** What is no tensor, as text for messages too. */
const strangers: readonly (readonly [string, unknown])[] = [
  ["undefined", undefined],
  ["null", null],
  ["a string", "a"],
  ["true", true],
  ["an object", {}],
  ["an object without prototype", Object.create(null)],
  ["a function", () => 0],
  ["an array", [1, 2]],
  ["a typed array", new Float32Array(2)],
  ["a promise", Promise.resolve(1)],
];

/** Elementwise operators of two operands take plain numbers. */
const takesNumbers = new RegExp(
  "^(add|sub|mul|div|pow|mod|atan2|maximum|minimum|(not)?equal|(less|greater)(Equal)?|" +
    "(logical|bitwise)(And|Or|Xor)|(left|right)Shift|where|lerp)$",
  "i",
);

/** Their start is an array, or a tensor. */
const takesArrays = /^dynamic(Update)?Slice$/;

/** Values that no option takes. Undefined is the default. */
const never = ["a", {}, () => 0];
/** More values that an option of this name never takes. Options that are needed are further below. */
const wrong: Record<string, readonly unknown[]> = {
  axis: [NaN, 0.5, 99, -99, [0]],
  axes: [0, [0.5], [99], [0, 0], ["a"], [null]],
  keepDims: [1],
  copy: [1],
  reverse: [1],
  correction: [NaN, Infinity, 99],
  shape: [3, [-2], [0.5], [2 ** 20, 2 ** 20], ["a"]],
  size: [NaN, [-2], [0.5], [0], [2 ** 20, 2 ** 20]],
  kernel: [NaN, 0, -1, 1.5, [1, 1, 1, 1]],
  stride: [NaN, 0, -1, 1.5, [1, 1, 1, 1]],
  padding: [NaN, -1, 0.5, [1, 1, 1, 1]],
  outputPadding: [NaN, -1, 0.5, [1, 1, 1, 1], 9],
  dilation: [NaN, 0, -1, 1.5, [1, 1, 1, 1]],
  groups: [NaN, 0, -1, 1.5, 7],
  eps: [NaN, -1],
  weight: [1, [[1]], ones([9]), ones([2, 2])],
  bias: [1, [1], ones([9]), ones([2, 2]), tensor([1, 2, 3, 4], { dtype: "i32" })],
  mode: [1],
  alignCorners: [1],
  slope: [NaN],
  min: [NaN],
  max: [NaN],
  mean: [NaN],
  std: [NaN, -1],
  p: [NaN, -0.1, 1.1],
  n: [NaN, -1, 1.5, 2 ** 31],
  dtype: ["f64", 1],
  start: [3, [0.5], [0, 0, 0, 0]],
  end: [3, [0.5], [0, 0, 0, 0]],
  step: [NaN, [0], [-1], [0.5]],
  before: [NaN, -1, 0.5, [1]],
  after: [NaN, -1, 0.5, [1]],
  parts: [NaN, 0, -1, 1.5],
  sizes: [NaN, [1], [-1, 7], [0.5, 5.5], [NaN, 1], ["a"]],
  classes: [NaN, 0, -1, 1.5],
  ignoreIndex: [NaN, 0.5],
  spacing: [NaN, 0, -1, Infinity, [1]],
  order: [NaN, 2, 5, [1], [3, 3, 3, 3]],
  clip: [1],
  connectivity: [NaN, 5, "6"],
  q: [NaN, -0.1, 1.1, [], [2]],
  interpolation: [1],
  temperature: [NaN, Infinity, [1]],
  source: [NaN, 0.5, 99, [0, 0]],
  destination: [NaN, 0.5, 99, [0, 0]],
  startAxis: [NaN, 0.5, 99, [0]],
  endAxis: [NaN, 0.5, 99, [0]],
  index: [NaN, 0.5, 99, [0]],
  length: [NaN, 0.5, -1, [1]],
  reps: [NaN, 0.5, -1, [-1]],
  repeats: [NaN, 0.5, -1, [-1]],
  diagonal: [NaN, 0.5, [1]],
  offset: [NaN, 0.5, [1]],
  num: [NaN, 0.5, -1],
  endpoint: [1],
  indexing: [1],
  descending: [1],
  k: [NaN, 0.5, -1, 99],
  largest: [1],
  side: [1],
  segments: [NaN, 0.5, -1],
  columns: [NaN, 0.5, -1],
  bins: [NaN, 0.5, -1, 0],
  range: [1, [1], [1, 0], [0, NaN], [0, 1, 2]],
  edges: [1, [0, 1], ones([1]), ones([2, 2])],
  weights: [1, [1], ones([4, 4])],
  density: [1],
  mask: [1, [1], ones([7, 9]), ones([1, 1, 1, 1, 1, 1, 1, 2])],
  causal: [1],
  scale: [NaN, Infinity, "a"],
};

/** Options of an operator, which the error for an unknown one lists; none where it takes no options. */
function optionsOf(e: Entry, args: readonly unknown[]): string[] {
  const message = outcome(e, [...args, { nonsense: 1 }], "an unknown option");
  const list = /^[\w.]+: unknown option "nonsense"; it takes (.*)$/.exec(message)?.[1];
  return list === undefined || list === "none" ? [] : list.split(", ");
}

for (const e of entries) {
  test(`${label(e)} throws VoxgradError with its name on bad arguments`, () => {
    const tensors = tensorsOf(e);
    const args = argumentsOf(e, tensors);
    const bare = argumentsOf({ ...e, options: null, named: [] }, tensors.slice(0, tensors.length - e.named.length));
    outcome(e, args, "its inputs");

    if (args.length > 0) refuses(e, [], "no argument");
    const numbers = takesNumbers.test(e.operator);
    args.forEach((value, k) => {
      const replaced = (x: unknown): unknown[] => args.map((y, j) => (j === k ? x : y));
      for (const [what, stranger] of strangers) {
        const isStart = takesArrays.test(e.operator) && k === args.length - (e.options ? 2 : 1);
        if (value instanceof Tensor && !(isStart && Array.isArray(stranger))) {
          refuses(e, replaced(stranger), `${what} for argument ${k}`);
        } else outcome(e, replaced(stranger), `${what} for argument ${k}`);
        if (e.list && k === 0) refuses(e, replaced([tensors[0], stranger]), `${what} in its list`);
      }
      if (value instanceof Tensor && (!numbers || (/^(where|lerp)$/.test(e.operator) && k === 0))) {
        refuses(e, replaced(3), `a number for argument ${k}`);
      }
    });
    if (e.list) refuses(e, [[]], "an empty list");

    const known = optionsOf(e, bare);
    assert.ok(!e.options || known.length > 0, `${e.operator} names its options`);
    if (known.length > 0) {
      for (const stranger of [null, [], ones([2]), new Map(), "a", 3, true, () => 0]) {
        refuses(e, [...bare, stranger], `options ${String(stranger)}`);
      }
    }
    const given = args.length > bare.length ? (args.at(-1) as object) : {};
    for (const name of known) {
      for (const value of [...never, ...(wrong[name] ?? [])]) {
        refuses(e, [...bare, { ...given, [name]: value }], `${name} ${JSON.stringify(value) ?? String(value)}`);
      }
      outcome(e, [...bare, { ...given, [name]: null }], `${name} null`);
      outcome(e, [...bare, { ...given, [name]: undefined }], `${name} undefined`);
    }

    // Other ranks and empty tensors: refused by name, or possible.
    tensors.forEach((x, k) => {
      const shapes = [[], [0], [1, 1, 1, 1, 1, 1, 1], [0, ...x.shape.slice(1)], [...x.shape.slice(0, -1), 0]];
      for (const shape of shapes) {
        const other = tensors.map((y, j) => (j === k ? ones(shape, { dtype: y.dtype }) : y));
        outcome(e, argumentsOf(e, other), `input ${k} of shape [${shape}]`);
      }
    });
  });
}

/** Operators that compute in f32 alone; f16 goes there and back. */
const floats = new RegExp(
  "^(softmax|logSoftmax|cosineSimilarity|cosineMatching|matmul|conv.*|.*Norm|weightStandardize|.*Pool([123]d)?|" +
    "resize|resampleVolume|affineGrid|gridSample|solve(Triangular)?|inverse|det|slogdet|cholesky|eigh|" +
    "scaledDotProductAttention)$",
);

/** The dtypes that an operator takes in place of that of input k. */
function taken(e: Entry, k: number): readonly DType[] {
  if (e.operator === "cosineMatching" && k === 2) return ["bool"];
  if (e.named[k - 3] === "mask") return ["bool", "f16", "f32"];
  if (e.operator === "matmul" && e.about === "i32") return ["bool", "u32", "i32"];
  if (floats.test(e.operator) || (/^(crossEntropy|nll)$/.test(e.operator) && k === 0)) return ["f16", "f32"];
  if (/^(crossEntropy|nll|take)$/.test(e.operator) && k === 1) return ["i32", "u32"];
  if (/^(takeAlongAxis|segmentSum|scatterAdd|dynamicSlice)$/.test(e.operator) && k === 1) return ["i32", "u32"];
  if (e.operator === "bincount" && k === 0) return ["i32", "u32"];
  if (e.operator === "scatterAdd") return ["f16", "f32"];
  if (e.operator === "dynamicUpdateSlice") return k === 2 ? ["i32", "u32"] : ["f32"];
  if (e.operator === "oneHot") return ["i32", "u32"];
  if (e.operator === "resampleLabels") return ["bool", "i32", "u32"];
  if (e.operator.startsWith("random.")) return k === 0 ? ["u32"] : ["f16", "f32"];
  if (/^(bitwise|left|right)/.test(e.operator)) return ["bool", "u32", "i32"];
  // The entry pads with a fraction.
  if (e.operator === "pad" && "value" in e.options!) return ["f16", "f32"];
  if (/^(distanceTransform|connectedComponents|fillHoles)$/.test(e.operator)) return ["bool", "u32", "i32", "f32"];
  const all: readonly DType[] = ["bool", "u32", "i32", "f16", "f32"];
  return /^(max|min|argmax|argmin|cummax|cummin)$/.test(e.operator) ? all.slice(1) : all;
}

test("entries of the table: each operator() takes the dtypes that it documents", () => {
  for (const e of entries) {
    const tensors = tensorsOf(e);
    for (const k of tensors.keys()) {
      for (const dtype of ["bool", "u32", "i32", "f16", "f32"] as const) {
        const args = tensors.map((x, j) => (j === k ? ones(x.shape, { dtype }) : x));
        const works = outcome(e, argumentsOf(e, args), `${dtype} for input ${k}`) === "works";
        assert.is(works, taken(e, k).includes(dtype), `${label(e)} takes ${dtype} for input ${k}`);
      }
    }
  }
});

/** Calls that are refused, with the message. */
const x = ones([2, 3]);
const image = ones([1, 2, 5, 5]);
const call = { ...vg, ...nn } as unknown as Record<string, (...args: unknown[]) => unknown>;
const refused: readonly (readonly [string, readonly unknown[], RegExp])[] = [
  ["exp", ["a"], /^exp: the input is a tensor, got "a"$/],
  ["sum", [{ axes: [1] }], /^sum: the input is a tensor, got { axes }$/],
  ["add", [x, { a: 1 }], /^add: operands are tensors or numbers, got { a }$/],
  ["add", [x, ones([4])], /^add: shapes \[2, 3\] and \[4\] do not broadcast: 3 against 4 at axis -1 from the end$/],
  ["add", [x], /^add: operands are tensors or numbers, got undefined$/],
  ["sum", [x, { axis: 1 }], /^sum: unknown option "axis"; it takes axes, keepDims$/],
  ["mean", [x, { axes: [2] }], /^mean: axes entry 2 is out of range for a tensor of rank 2$/],
  ["mean", [ones([0])], /^mean: an empty axis of \[0\] has no mean$/],
  ["max", [ones([2, 0])], /^max: an empty axis of \[2, 0\] has no max$/],
  ["variance", [ones([1])], /^variance: 1 values with correction 1 leave no degree of freedom$/],
  ["reshape", [x], /^reshape: options are an object, got undefined; it takes { shape }$/],
  ["reshape", [x, [3, 2]], /^reshape: options are an object, got \[3, 2\]; write { shape: \[3, 2\] }$/],
  ["reshape", [x, {}], /^reshape: shape is an array, got undefined$/],
  ["reshape", [x, { shape: [4, 2] }], /^reshape: \[2, 3\] has 6 elements, \[4, 2\] has 8$/],
  ["reshape", [x, { shape: [-1, 4] }], /^reshape: 6 elements of \[2, 3\] do not fill \[-1, 4\]$/],
  ["squeeze", [x, { axes: [0] }], /^squeeze: axis 0 of \[2, 3\] is not of size 1$/],
  ["expandDims", [x, {}], /^expandDims: axis undefined is out of range for a tensor of rank 3$/],
  ["broadcastTo", [x, { shape: [3] }], /^broadcastTo: shape \[2, 3\] does not broadcast to \[3\]$/],
  ["transpose", [x, { axes: [0, 0] }], /^transpose: axes \[0, 0\] are not a permutation of 2 axes$/],
  ["slice", [x, { step: [-1] }], /^slice: steps are >= 1, got \[-1\]; flip first/],
  ["split", [x, { parts: 2, axis: 1 }], /^split: axis 1 of \[2, 3\] does not split into 2 equal parts$/],
  ["split", [x, {}], /^split: give either parts or sizes$/],
  ["concat", [x, x], /^concat: options are an object, got Tensor/],
  ["conv2d", [image, ones([2, 2, 3, 3]), ones([2])], /^conv2d: options are an object, got Tensor/],
  ["concat", [x], /^concat: the first argument is an array of at least one tensor, got Tensor\(f32\[2, 3\]\)$/],
  ["concat", [[x, ones([2, 2])]], /^concat: shapes \[2, 3\] and \[2, 2\] differ outside axis 0$/],
  ["stack", [[x, ones([2, 2])]], /^stack: shapes \[2, 3\] and \[2, 2\] differ$/],
  ["take", [x, x], /^take: indices are i32 or u32, got f32$/],
  [
    "take",
    [x, ones([])],
    /^take: indices are i32 or u32, got f32; a number given to a compiled function is an f32 tensor inside/,
  ],
  ["oneHot", [ones([2], { dtype: "i32" }), {}], /^oneHot: classes is an integer > 0, got undefined$/],
  ["cast", [x, "float"], /^cast: dtype is one of bool, u32, i32, f16, f32, got "float"$/],
  ["clamp", [x, { min: 1, max: 0 }], /^clamp: min 1 is above max 0$/],
  ["matmul", [x, x], /^matmul: inner sizes differ: 3 of \[2, 3\] and 2 of \[2, 3\]$/],
  ["conv2d", [image, x], /^conv2d: the weight is an f32 tensor of rank 4, got Tensor\(f32\[2, 3\]\)$/],
  ["conv2d", [image, ones([4, 3, 3, 3])], /^conv2d: an input of 2 channels in 1 groups needs weights \[K, 2, ...\]/],
  ["conv2d", [image, ones([4, 2, 7, 7])], /^conv2d: kernel \[7, 7\] .* does not fit the padded input \[1, 2, 5, 5\]/],
  ["conv3d", [ones([0, 2, 5, 5, 5]), ones([3, 2, 3, 3, 3])], /^conv3d: the input \[0, 2, 5, 5, 5\] is empty$/],
  ["conv2d", [image, ones([0, 2, 3, 3])], /^conv2d: the weight \[0, 2, 3, 3\] is empty$/],
  ["convTranspose2d", [ones([0, 2, 5, 5]), ones([2, 3, 2, 2])], /^convTranspose2d: the input \[0, 2, 5, 5\] is empty$/],
  ["groupNorm", [image, { groups: 3 }], /^groupNorm: groups divides the 2 channels, got 3$/],
  ["maxPool2d", [image], /^maxPool2d: options are an object, got undefined; it takes { kernel, stride, padding }$/],
  ["sum", [x, 1], /^sum: options are an object, got 1; write { axes: \[1\] }$/],
  ["softmax", [x, 1], /^softmax: options are an object, got 1; write { axis: 1 }$/],
  ["relu", [x, { slope: 0.1 }], /^relu: it takes no options, got { slope }$/],
  ["add", [x, x, { alpha: 2 }], /^add: it takes no options, got { alpha }$/],
  ["matmul", [x, ones([3, 2]), { transposed: true }], /^matmul: it takes no options, got { transposed }$/],
  [
    "binaryCrossEntropyWithLogits",
    [x, x, { weight: 2 }],
    /^binaryCrossEntropyWithLogits: it takes no options, got { weight }$/,
  ],
  ["vjp", [() => x, [x], { hasAux: true }], /^vjp: unknown option "hasAux"; it takes argnums/],
  ["checkpoint", [() => x, { policy: "dots" }], /^checkpoint: it takes no options, got { policy }$/],
  ["clipGradNorm", [[x], 1, { normType: 1 }], /^clipGradNorm: it takes no options, got { normType }$/],
  ["maxPool2d", [image, {}], /^maxPool2d: kernel is an integer >= 1 or 2 of them, got undefined$/],
  [
    "maxPool2d",
    [image, { kernel: 3, padding: 2 }],
    /^maxPool2d: padding is at most half the kernel \[3, 3\], got \[2, 2\]$/,
  ],
  [
    "resize",
    [image, { size: 4, mode: "bilinear" }],
    /^resize: mode is "nearest", "linear" or "cubic", got "bilinear"$/,
  ],
  ["gridSample", [image, ones([1, 2, 2, 3])], /^gridSample: the grid for Tensor.* is \[1, ...out, 2\], got Tensor/],
  ["affineGrid", [ones([1, 2, 3]), {}], /^affineGrid: a shape is an array of integers >= 0, got undefined$/],
  [
    "crossEntropy",
    [x, ones([2])],
    /^crossEntropy: labels are an i32 or u32 tensor, or probabilities of the logits' shape .*, got/,
  ],
  ["distanceTransform", [ones([2])], /^distanceTransform: the mask is a tensor \[H, W\] or \[D, H, W\], got/],
  ["zeros", [[-1]], /^zeros: a shape is an array of integers >= 0, got \[-1\]$/],
  ["tensor", [new Float64Array(2)], /^tensor: got a Float64Array; use Float32Array/],
  ["tensor", [[[1, 2], [3]]], /^tensor: rows differ in length at depth 1: 1 and 2$/],
  ["arange", [0, 5, { step: 0 }], /^arange: start, stop and step are finite and step is not 0, got \[0, 5, 0\]$/],
];

for (const [name, args, message] of refused.filter(([name]) => !onlyOperator || name === onlyOperator)) {
  test(`${name}() throws ${message.source}`, () => {
    assert.throws(
      () => call[name](...args),
      (error: Error) => error instanceof VoxgradError && message.test(error.message),
    );
  });
}

test.after(vg.closeDevice);
test.run();
