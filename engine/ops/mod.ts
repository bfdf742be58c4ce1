/** All operators. */
import "./methods.ts";

export { arange, eye, full, ones, tensor, zeros } from "./elementwise/creation.ts";
export * from "./tensor_methods.ts";
export { stopGradient } from "./shape/reshape.ts";
export { concat, stack } from "./shape/concat.ts";
export { oneHot } from "./shape/take.ts";
export { batchNorm, groupNorm, instanceNorm, layerNorm, weightStandardize } from "./reduce/norm.ts";
export { conv2d, conv3d, convTranspose2d, convTranspose3d } from "./linear/conv.ts";
export { cosineMatching } from "./linear/cosine_matching.ts";
export { cosineSimilarity } from "./linear/cosine_similarity.ts";
export { resize } from "./sampling/resize.ts";
export { resampleLabels, resampleVolume } from "./sampling/resample.ts";
export type { SplineOrder } from "./sampling/resample.ts";
export { affineGrid } from "./sampling/affine_grid.ts";
export { gridSample } from "./sampling/grid_sample.ts";
export type { GridSampleOptions } from "./sampling/grid_sample.ts";
export { avgPool2d, avgPool3d, maxPool2d, maxPool3d } from "./linear/pool.ts";
export type { PoolOptions } from "./linear/pool.ts";
export { connectedComponents } from "./mask/connected_components.ts";
export { distanceTransform } from "./mask/distance_transform.ts";
export { fillHoles } from "./mask/fill_holes.ts";
export { binaryCrossEntropyWithLogits, crossEntropy, nll } from "./reduce/cross_entropy.ts";
export type { CrossEntropyOptions, NllOptions } from "./reduce/cross_entropy.ts";
export * as random from "./random/mod.ts";
