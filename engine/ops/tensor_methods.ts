/** The operators that are also methods of Tensor, with the tensor as their first argument. */
export * from "./elementwise/elementwise.ts";
export { argmax, logSumExp, max, mean, min, sum, variance } from "./reduce/reduce.ts";
export { broadcastTo } from "./shape/broadcast_to.ts";
export { cumsum } from "./reduce/cumsum.ts";
export { expandDims, flatten, reshape, squeeze } from "./shape/reshape.ts";
export { moveAxis, swapAxes, transpose } from "./shape/transpose.ts";
export { roll } from "./shape/roll.ts";
export { flip, slice, split } from "./shape/slice.ts";
export { chunk, narrow, select, unstack } from "./shape/parts.ts";
export { repeat, tile } from "./shape/tile.ts";
export { diagonal, tril, triu } from "./shape/triangle.ts";
export { onesLike, zerosLike } from "./elementwise/creation.ts";
export { pad } from "./shape/pad.ts";
export { take } from "./shape/take.ts";
export { scatterAdd, takeAlongAxis } from "./index/along_axis.ts";
export { argsort, sort, topK } from "./index/sort.ts";
export { logSoftmax, softmax } from "./reduce/softmax.ts";
export { matmul } from "./linear/matmul.ts";
