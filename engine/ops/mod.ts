/** All operators. */
import "./methods.ts";

export { arange, eye, full, ones, tensor, zeros } from "./creation.ts";
export {
  abs,
  add,
  cast,
  clamp,
  cos,
  div,
  equal,
  erf,
  exp,
  floor,
  gelu,
  greater,
  greaterEqual,
  leakyRelu,
  less,
  lessEqual,
  log,
  log1p,
  logicalAnd,
  logicalNot,
  logicalOr,
  maximum,
  minimum,
  mul,
  neg,
  notEqual,
  pow,
  relu,
  rsqrt,
  sigmoid,
  sign,
  sin,
  softplus,
  sqrt,
  square,
  sub,
  tanh,
  where,
} from "./elementwise.ts";
export type { Operand } from "./elementwise.ts";
export { argmax, logSumExp, max, mean, min, sum, variance } from "./reduce.ts";
export { broadcastTo } from "./broadcast_to.ts";
export { expandDims, reshape, squeeze, stopGradient } from "./reshape.ts";
export { transpose } from "./transpose.ts";
export { flip, slice, split } from "./slice.ts";
export { pad } from "./pad.ts";
export { concat, stack } from "./concat.ts";
export { oneHot, take } from "./take.ts";
export { logSoftmax, softmax } from "./softmax.ts";
export { batchNorm, groupNorm, instanceNorm, layerNorm, weightStandardize } from "./norm.ts";
export { conv2d, conv3d, convTranspose2d, convTranspose3d } from "./conv.ts";
export { matmul } from "./matmul.ts";
export { cosineSimilarity } from "./cosine_similarity.ts";
export { resize } from "./resize.ts";
export { binaryCrossEntropyWithLogits, crossEntropy } from "./cross_entropy.ts";
export * as random from "./random.ts";
