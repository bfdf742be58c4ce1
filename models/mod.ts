/** Network architectures, whose parameter trees have the names of the published PyTorch models, and methods. */
export * as alpnet from "./alpnet/alpnet.ts";
export { annotatedEpisodes, superpixelEpisodes, transformed } from "./alpnet/episodes.ts";
export type { DrawEpisode, EpisodeBatch, EpisodeOptions, TransformOptions } from "./alpnet/episodes.ts";
export { evaluateOneShot, oneShotEntries } from "./alpnet/evaluate/evaluation.ts";
export type { OneShotEvaluationOptions } from "./alpnet/evaluate/evaluation.ts";
export { answerOneShot, oneShotForm } from "./alpnet/panel.ts";
export { largestSlices, oneShotSegmenter } from "./alpnet/scans.ts";
export type { OneShotOptions, SliceRange, SupportScan } from "./alpnet/scans.ts";
export { drawSupports, summarizeSupports } from "./alpnet/evaluate/statistics.ts";
export type { Spread, SupportCell, SupportedCase, SupportsSummary } from "./alpnet/evaluate/statistics.ts";
export { loadOneShot, prepareSupport, sliceAxis } from "./alpnet/support.ts";
export type { FewShotSettings, OneShot, OneShotSettings } from "./alpnet/support.ts";
export { alpnetEntries, trainAlpnet } from "./alpnet/training.ts";
export type { AlpnetOptions } from "./alpnet/training.ts";
export { preparedRange, segmentWithin } from "./alpnet/evaluate/within.ts";
export type { WithinOptions, WithinScan } from "./alpnet/evaluate/within.ts";
export * as colab from "./colab/colab.ts";
export { colabFigures } from "./colab/figures.ts";
export type { FigureCase, FigureNames, FigureOptions } from "./colab/figures.ts";
export { colabEntries, trainColab } from "./colab/training.ts";
export type { ColabOptions } from "./colab/training.ts";
export * as conres from "./conresnet/losses.ts";
export { conresFeatures, conresFigures } from "./conresnet/figures.ts";
export type { ConResFigureNetwork, ConResFigureOptions } from "./conresnet/figures.ts";
export { conResNet } from "./conresnet/conresnet.ts";
export { conResNetArms } from "./conresnet/config.ts";
export type { ConResNet, ConResNetConfig, ContextMaps, ResolvedConResNet } from "./conresnet/conresnet.ts";
export { conResNetEntries, trainConResNet } from "./conresnet/training.ts";
export type { ConResNetOptions } from "./conresnet/training.ts";
export {
  architectureOf,
  networkFromPlan,
  networkOf,
  registeredNetworks,
  registerNetwork,
  summarizeNetwork,
} from "./registry.ts";
export type { Model, Network, NetworkShape, NetworkSummary, PartSummary } from "./registry.ts";
export * as partial from "./partial/partial.ts";
export { partialEntries, trainPartial } from "./partial/training.ts";
export type { PartialOptions } from "./partial/training.ts";
export { segResNet } from "./segresnet/segresnet.ts";
export type { SegResNetConfig } from "./segresnet/segresnet.ts";
export { resNet, withStatistics } from "./resnet/resnet.ts";
export type { ResNet, ResNetConfig, ResolvedResNet, Statistics, StatisticsModel } from "./resnet/resnet.ts";
export { plainConvUNet, residualEncoderUNet } from "./unet/unet.ts";
export type { ResolvedUNet, UNetConfig } from "./unet/unet.ts";
