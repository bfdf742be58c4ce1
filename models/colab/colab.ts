/**
 * CoLab: context labels by second-order meta-learning (Li et al., "Context label learning: improving background class
 * representations in semantic segmentation", 2022). A task generator splits the background of a segmentation task into
 * t context classes; it is trained so that a step of the segmentation network on its labels lowers the loss of the
 * region of interest (ROI).
 *
 * Order of classes: those of the ROI first, then the contexts. The first context is also the class of the far
 * background. Tensors are [N, K, ...space], of as many axes of space as there are.
 */
export { constrainedLabels, contextUse, pyramidLabels, roiLoss, segmentationLoss, softDilatedMask } from "./losses.ts";
export type { RoiLossOptions, SegmentationLossOptions } from "./losses.ts";
export { metaGradient, valueAndMetaGradient } from "./meta_gradient.ts";
export type { MetaGradientOptions, MetaMethod } from "./meta_gradient.ts";
export { adamScales, mergedContexts, withRoiPrior } from "./start.ts";
export { contextsFirst, contextUNet, withoutContexts } from "./context_network.ts";
export type { ContextUNetConfig } from "./context_network.ts";
