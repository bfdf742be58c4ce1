/** Computations on tensors of a few thousand elements, for adapters that bind less than that. */
import * as vg from "../../engine/mod.ts";
import { Tensor, tensor } from "../../engine/mod.ts";
import { noise } from "./noise.ts";

const t = (shape: number[], seed = 1): Tensor =>
  tensor(
    noise(
      shape.reduce((a, b) => a * b, 1),
      seed,
    ),
    { shape },
  );
/** Integers, so that there are ties. */
const whole = (shape: number[], seed = 1, span = 7): Tensor => {
  const data = noise(
    shape.reduce((a, b) => a * b, 1),
    seed,
  );
  return tensor(
    Int32Array.from(data, (v) => Math.floor((v + 1) * (span / 2))),
    { shape },
  );
};

/** The outputs of f and the gradients of a weighted sum of them by every input. */
const withGradients = (inputs: () => Tensor[], f: (...xs: Tensor[]) => Tensor) => (): Tensor[] => {
  const xs = inputs();
  const weighted = (list: Tensor[]): Tensor => {
    const y = f(...list);
    return y.mul(t([...y.shape], 99)).sum();
  };
  return [f(...xs), ...vg.grad(weighted)(xs)];
};

const conv3 = (x: number[], w: number[], options: object): () => Tensor[] =>
  withGradients(
    () => [t(x, 1), t(w, 2), t([w[0]], 3)],
    (a, b, bias) => vg.conv3d(a, b, { ...options, bias }),
  );
const conv2 = (x: number[], w: number[], options: object): () => Tensor[] =>
  withGradients(
    () => [t(x, 1), t(w, 2), t([w[0]], 3)],
    (a, b, bias) => vg.conv2d(a, b, { ...options, bias }),
  );
const transposed = (x: number[], w: number[], options: { groups?: number }): () => Tensor[] =>
  withGradients(
    () => [t(x, 1), t(w, 2), t([w[1] * (options.groups ?? 1)], 3)],
    (a, b, bias) => (x.length === 5 ? vg.convTranspose3d : vg.convTranspose2d)(a, b, { ...options, bias }),
  );
const product = (a: number[], b: number[]): () => Tensor[] =>
  withGradients(
    () => [t(a, 1), t(b, 2)],
    (x, y) => vg.matmul(x, y),
  );
/** Attention of queries and keys, which are values too, with a bias. */
const attended = (q: number[], k: number[], bias: number[]): () => Tensor[] =>
  withGradients(
    () => [t(q, 1), t(k, 2), t(bias, 3)],
    (x, y, b) => vg.scaledDotProductAttention(x, y, y, { bias: b, causal: true }),
  );
const unary = (shape: number[], f: (x: Tensor) => Tensor): () => Tensor[] => withGradients(() => [t(shape)], f);

/** Rows at random indices, with repetitions, and the adjoint. */
const taken = (shape: number[], count: number): () => Tensor[] => () => {
  const indices = whole([count], 8, shape[0]);
  const f = (x: Tensor): Tensor => vg.take(x, indices, { axis: 0 });
  return [f(t(shape)), vg.grad((v: Tensor) => f(v).square().sum())(t(shape))];
};

/** Each returns tensors whose values do not depend on how the work is split, except for rounding. */
export type Cases = Record<string, () => Tensor[]>;

/** Fused kernels, which bind windows of their operands. */
export const fused: Cases = {
  "elementwise chain": unary([3, 1003], (x) => x.mul(2).add(1).tanh().mul(x)),
  "elementwise of four tensors": withGradients(
    () => [t([3001], 1), t([3001], 2), t([3001], 3), t([3001], 4)],
    (a, b, c, d) => a.mul(b).add(c.mul(d)),
  ),
  "broadcast of rows and columns": withGradients(
    () => [t([61, 1], 1), t([1, 53], 2)],
    (a, b) => a.mul(b).sin(),
  ),
  "broadcast of a large tensor": withGradients(
    () => [t([1, 2501], 1), t([2, 1], 2)],
    (a, b) => a.mul(b),
  ),
  "comparisons and where": () => {
    const [a, b] = [whole([3003], 1), whole([3003], 2)];
    return [a.equal(b), a.less(b), vg.where(a.greater(b), a, b.mul(2)), vg.logicalNot(a.greater(2)), a.cast("u32")];
  },
  "sum over all": unary([3011], (x) => x.square().sum()),
  "sum with a large result": unary([1511, 4], (x) => x.sum({ axes: [1] })),
  "sum over a middle axis with a large result": unary([5, 3, 401], (x) => x.sum({ axes: [1] })),
  "mean and variance": unary([3, 997], (x) => vg.variance(x, { axes: [1] }).add(x.mean({ axes: [1] }))),
  "max and min": unary([11, 307], (x) => x.max({ axes: [1] }).sub(x.min({ axes: [1] }))),
  "max with a large result": unary([2, 1601], (x) => x.max({ axes: [0] })),
  argmax: () => {
    const x = whole([3, 1033], 5, 40);
    return [x.argmax({ axis: 1 }), x.argmax({ axis: 0 }), x.argmax(), x.max(), x.min({ axes: [0] }), x.sum()];
  },
  "sum of integers and truth values": () => {
    const x = whole([3, 1033], 6, 1000);
    return [x.sum(), x.sum({ axes: [0] }), x.greater(500).sum(), x.cast("u32").sum({ axes: [1] })];
  },
  "softmax along the last axis": unary([5, 613], (x) => vg.softmax(x.mul(5))),
  logSoftmax: unary([3, 5, 203], (x) => vg.logSoftmax(x, { axis: 1 })),
  crossEntropy: () => {
    const labels = whole([2, 400], 3, 4);
    const loss = (x: Tensor): Tensor => vg.crossEntropy(x, labels);
    const [value, g] = vg.valueAndGrad(loss)(t([2, 4, 400]));
    return [value, g];
  },
  groupNorm: withGradients(
    () => [t([2, 4, 400], 1), t([4], 2), t([4], 3)],
    (x, weight, bias) => vg.groupNorm(x, { groups: 2, weight, bias }),
  ),
  batchNorm: unary([3, 2, 9, 61], (x) => vg.batchNorm(x)),
  layerNorm: unary([13, 241], (x) => vg.layerNorm(x)),
  weightStandardize: unary([11, 3, 97], (x) => vg.weightStandardize(x)),
  cosineSimilarity: withGradients(
    () => [t([3, 1009], 1), t([3, 1009], 2)],
    (a, b) => vg.cosineSimilarity(a, b, { axis: 0 }),
  ),
  pad: unary([3, 29, 31], (x) => vg.pad(x, { before: [0, 2, 1], after: [1, 0, 3], value: 2 })),
  "slice with steps": unary([3, 41, 43], (x) => vg.slice(x, { start: [0, 1, 2], end: [3, -1, 43], step: [1, 2, 3] })),
  flip: unary([3, 29, 31], (x) => vg.flip(x, { axes: [0, 2] })),
  transpose: unary([13, 17, 14], (x) => vg.transpose(x, { axes: [2, 0, 1] })),
  "concat of 20 along the first axis": withGradients(
    () => Array.from({ length: 20 }, (_, k) => t([k % 3, 97], k + 1)),
    (...xs) => vg.concat(xs, { axis: 0 }),
  ),
  "concat of 20 along the last axis": withGradients(
    () => Array.from({ length: 20 }, (_, k) => t([31, 1 + (k % 4)], k + 1)),
    (...xs) => vg.concat(xs, { axis: 1 }),
  ),
  "concat of large tensors": withGradients(
    () => [t([1, 1501], 1), t([1, 1501], 2)],
    (...xs) => vg.concat(xs, { axis: 0 }),
  ),
  "stack and split": () => {
    const x = vg.stack([t([1021], 1), t([1021], 2), t([1021], 3)]);
    return [x, ...vg.split(x, { sizes: [1, 2] })];
  },
  takeAlongAxis: withGradients(() => [t([3, 1003])], (x) => vg.takeAlongAxis(x, whole([3, 1501], 8, 1003))),
  dynamicSlice: withGradients(
    () => [t([3, 1003]), t([2, 901])],
    (x, y) => vg.dynamicUpdateSlice(x, y, [1, whole([], 1, 2)]).add(vg.dynamicSlice(x, [0, 0], { size: [3, 1003] })),
  ),
  "tile and repeat": unary(
    [13, 101],
    (x) => x.tile({ reps: [2, 3] }).add(x.repeat({ repeats: 6 }).reshape({ shape: [26, 303] })),
  ),
  "triangles and diagonals": unary([61, 57], (x) => x.tril().add(x.diagonal({ offset: -1 }).sum())),
  oneHot: () => [vg.oneHot(whole([611], 4, 6), { classes: 6 })],
  affineGrid: unary([2, 2, 3], (theta) => vg.affineGrid(theta, { size: [2, 1, 23, 29] })),
  "random numbers": () => [
    vg.random.uniform(vg.random.key(1), { shape: [3001] }),
    vg.random.normal(vg.random.key(2), { shape: [57, 59] }),
    vg.random.bernoulli(vg.random.key(3), { shape: [3001] }),
    vg.random.bits32(vg.random.key(3), { shape: [3001] }),
  ],
  "constants and ranges": () => [
    vg.arange(3001),
    vg.full([3001], 2.5),
    vg.eye(57),
    vg.zeros([3001], { dtype: "bool" }),
  ],
  "erosion by chains of movements": unary(
    [3, 31, 33],
    (x) => vg.flip(vg.pad(vg.transpose(x, { axes: [0, 2, 1] }), { before: 1, after: 1 }), { axes: [1] }).add(1),
  ),
};

/** Separate kernels, which work on parts. */
export const kernels: Cases = {
  "conv3d with stride, dilation and padding": conv3([1, 2, 13, 12, 11], [3, 2, 3, 2, 3], {
    padding: [2, 1, 2],
    dilation: [2, 1, 1],
    stride: [1, 2, 1],
  }),
  "matmul with a long inner axis": product([2, 2501], [2501, 2]),
  "conv3d in groups": conv3([2, 4, 9, 8, 7], [6, 2, 3, 3, 3], { padding: 1, groups: 2, stride: [2, 1, 1] }),
  "conv3d with padding beyond the kernel": conv3([1, 2, 11, 9, 9], [2, 2, 1, 1, 1], { padding: 3, stride: 1 }),
  "conv3d whose result is larger": conv3([1, 1, 9, 8, 7], [8, 1, 3, 3, 3], { padding: 2 }),
  "conv2d of a batch with stride and dilation": conv2([3, 3, 19, 23], [4, 3, 3, 2], {
    padding: [2, 1],
    stride: 2,
    dilation: [2, 1],
  }),
  "conv2d, long and thin": conv2([1, 1, 1, 3001], [2, 1, 1, 5], { padding: [0, 2] }),
  "convTranspose3d with all options": transposed([3, 4, 5, 4, 6], [4, 2, 3, 3, 2], {
    stride: [2, 3, 1],
    padding: 1,
    outputPadding: [1, 2, 0],
    dilation: [1, 2, 1],
    groups: 2,
  } as object),
  convTranspose2d: transposed([2, 3, 17, 13], [3, 4, 4, 4], { stride: 2, padding: 1 } as object),
  "matmul of long outer axes": product([1009, 3], [3, 2]),
  "matmul of a row and a matrix": product([1, 55], [55, 57]),
  "outer product": product([53, 1], [1, 59]),
  "matmul of a batch": product([5, 19, 33], [5, 33, 17]),
  "matmul of a broadcast batch": product([3, 1, 19, 13], [5, 13, 17]),
  "small matrices": withGradients(
    () => [t([37, 7, 7], 1).mul(0.3).add(vg.eye(7).mul(2)), t([37, 7, 3], 2)],
    (a, b) => {
      const product = a.matmul(a.swapAxes({ axes: [1, 2] }));
      const factors = vg.cholesky(product);
      const columns = vg.solve(a, b).add(vg.solveTriangular(factors, b)).sum({ axes: [1, 2] });
      return columns.add(vg.det(a)).add(vg.slogdet(product)[1]).add(vg.slogdet(a)[0]).add(
        vg.eigh(product)[0].sqrt().sum({ axes: [1] }),
      );
    },
  ),
  "attention of samples": attended([3, 2, 40, 5], [3, 2, 30, 5], [1, 2, 40, 30]),
  // Of more weights than gradients keep: these are kernels, which split.
  "attention of long rows and columns": attended([1049, 4], [1021, 4], [1, 1021]),
  "resize, nearest": unary([3, 2, 21, 27], (x) => vg.resize(x, { size: [30, 19], mode: "nearest" })),
  "resize, cubic with aligned corners": unary(
    [1, 1, 51, 47],
    (x) => vg.resize(x, { size: [31, 77], mode: "cubic", alignCorners: true }),
  ),
  "resampleVolume, linear": unary([3, 2, 21, 27], (x) => vg.resampleVolume(x, { size: [13, 49], order: 1 })),
  "resampleVolume, cubic": unary([3, 2, 21, 27], (x) => vg.resampleVolume(x, { size: [13, 49], order: 3 })),
  "take of few": taken([23, 131], 30),
  "take of many": taken([91, 23], 730),
  "sort of rows": unary([7, 601], (x) => x.sort()),
  "sort of columns": unary([601, 7], (x) => x.sort({ axis: 0, descending: true })),
  argsort: () => [whole([7, 601], 3, 40).argsort(), whole([601, 7], 3, 40).argsort({ axis: 0 })],
  topK: unary([7, 601], (x) => x.topK({ k: 301 })[0]),
  scatterAdd: withGradients(
    () => [t([5, 700]), t([5, 900], 2)],
    (x, values) => vg.scatterAdd(x, whole([5, 900], 8, 700), values),
  ),
  "segmentSum of rows": unary([301, 9], (x) => vg.segmentSum(x, whole([301], 8, 401), { segments: 401 })),
  "segmentSum of columns": unary([9, 301], (x) => vg.segmentSum(x, whole([301], 8, 401), { segments: 401, axis: 1 })),
  "segmentSum to many": unary([1000], (x) => vg.segmentSum(x, whole([1000], 8, 2500), { segments: 2500 })),
  "searchSorted and bincount": () => [
    vg.searchSorted(t([1500]).sort(), t([5001], 2)),
    vg.searchSorted(t([5, 601]).sort(), t([5, 701], 2), { side: "right" }),
    vg.bincount(whole([1800], 3, 2500), { length: 2500 }),
  ],
  "einsum of a batch": withGradients(
    () => [t([3, 40, 50], 1), t([50, 3, 30], 2)],
    (a, b) => vg.einsum("bij,jbk->bik", a, b),
  ),
  maxPool3d: unary([2, 3, 8, 9, 7], (x) => vg.maxPool3d(x, { kernel: 3, stride: 2, padding: 1 })),
  avgPool3d: unary([2, 3, 8, 9, 7], (x) => vg.avgPool3d(x, { kernel: 2 })),
  gridSample: withGradients(
    () => [t([2, 4, 13, 15], 1), t([2, 11, 12, 2], 2)],
    (x, grid) => vg.gridSample(x, grid),
  ),
  "gridSample of volumes": withGradients(
    () => [t([1, 3, 7, 8, 9], 1), t([1, 5, 6, 7, 3], 2)],
    (x, grid) => vg.gridSample(x, grid, { padding: "border", alignCorners: true }),
  ),
  "random permutation": () => [vg.random.permutation(vg.random.key(4), { n: 67 })],
  vmap: () => {
    const f = (x: Tensor, w: Tensor): Tensor => vg.conv2d(x, w, { padding: 1 }).relu();
    return [vg.vmap(f)(t([3, 1, 2, 21, 23]), t([3, 2, 2, 3, 3], 2))];
  },
};
