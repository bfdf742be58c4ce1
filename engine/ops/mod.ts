/** All operators. */
import "./methods.ts";

export { arange, eye, full, ones, tensor, zeros } from "./creation.ts";
export * from "./tensor_methods.ts";
export { stopGradient } from "./reshape.ts";
export { concat, stack } from "./concat.ts";
export { oneHot } from "./take.ts";
export { batchNorm, groupNorm, instanceNorm, layerNorm, weightStandardize } from "./norm.ts";
export { conv2d, conv3d, convTranspose2d, convTranspose3d } from "./conv.ts";
export { cosineMatching } from "./cosine_matching.ts";
export { cosineSimilarity } from "./cosine_similarity.ts";
export { resize } from "./resize.ts";
export { resampleLabels, resampleVolume } from "./resample.ts";
export type { SplineOrder } from "./resample.ts";
export { affineGrid } from "./affine_grid.ts";
export { gridSample } from "./grid_sample.ts";
export type { GridSampleOptions } from "./grid_sample.ts";
export { avgPool2d, avgPool3d, maxPool2d, maxPool3d } from "./pool.ts";
export type { PoolOptions } from "./pool.ts";
export { connectedComponents } from "./connected_components.ts";
export { distanceTransform } from "./distance_transform.ts";
export { fillHoles } from "./fill_holes.ts";
export { binaryCrossEntropyWithLogits, crossEntropy } from "./cross_entropy.ts";
export * as random from "./random.ts";
