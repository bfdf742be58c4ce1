/** Operators that are methods of Tensor too, with the tensor as their first argument. One list serves both. */
export * from "./elementwise.ts";
export { argmax, logSumExp, max, mean, min, sum, variance } from "./reduce.ts";
export { broadcastTo } from "./broadcast_to.ts";
export { cumsum } from "./cumsum.ts";
export { expandDims, reshape, squeeze } from "./reshape.ts";
export { transpose } from "./transpose.ts";
export { flip, slice, split } from "./slice.ts";
export { pad } from "./pad.ts";
export { take } from "./take.ts";
export { logSoftmax, softmax } from "./softmax.ts";
export { matmul } from "./matmul.ts";
