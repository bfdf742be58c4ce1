/** Network architectures, whose parameter trees have the names of the published PyTorch models, and methods. */
export * as alpnet from "./alpnet.ts";
export { annotatedEpisodes, superpixelEpisodes, transformed } from "./alpnet_episodes.ts";
export type { DrawEpisode, EpisodeBatch, EpisodeOptions, TransformOptions } from "./alpnet_episodes.ts";
export { evaluateOneShot, oneShotEntries } from "./alpnet_evaluation.ts";
export type { OneShotEvaluationOptions } from "./alpnet_evaluation.ts";
export { answerOneShot, oneShotForm } from "./alpnet_panel.ts";
export { largestSlices, oneShotSegmenter, sliceRange } from "./alpnet_scans.ts";
export type { OneShotOptions, SliceRange, SupportScan } from "./alpnet_scans.ts";
export { drawSupports, summariseSupports } from "./alpnet_statistics.ts";
export type { Spread, SupportCell, SupportedCase, SupportsSummary } from "./alpnet_statistics.ts";
export { loadOneShot, prepareSupport, sliceAxis } from "./alpnet_support.ts";
export type { FewShotSettings, OneShot, OneShotSettings } from "./alpnet_support.ts";
export { alpnetEntries, trainAlpnet } from "./alpnet_training.ts";
export type { AlpnetOptions } from "./alpnet_training.ts";
export { compareOtherSlices, planOfScan, preparedRange, segmentWithin, slicePlaces } from "./alpnet_within.ts";
export type { OtherSlices, ScanPlanOptions, SlicePlaces, WithinOptions, WithinScan } from "./alpnet_within.ts";
export * as colab from "./colab.ts";
export {
  colabFigures,
  contextMapsSvg,
  figureMaps,
  intensitiesSvg,
  logitPlaneSvg,
  sampleVoxels,
} from "./colab_figures.ts";
export type { FigureCase, FigureMaps, FigureNames, FigureOptions, LogitPlane, MapOptions } from "./colab_figures.ts";
export { colabEntries, trainColab } from "./colab_training.ts";
export type { ColabOptions } from "./colab_training.ts";
export * as conres from "./conres_losses.ts";
export { conresFeatures, conresFigures, residualPatch } from "./conres_figures.ts";
export type { ConResFigureNetwork, ConResFigureOptions } from "./conres_figures.ts";
export { conResNet } from "./conresnet.ts";
export { conResNetArms } from "./conresnet_config.ts";
export type { ConResNet, ConResNetConfig, ContextMaps, ResolvedConResNet } from "./conresnet.ts";
export { unetConfigOf, unetFromPlan } from "./from_plan.ts";
export { conResNetEntries, trainConResNet } from "./conresnet_training.ts";
export type { ConResNetOptions } from "./conresnet_training.ts";
export { networkOf } from "./networks.ts";
export { summariseNetwork } from "./network_summary.ts";
export type { NetworkSummary, PartSummary } from "./network_summary.ts";
export * as partial from "./partial.ts";
export { partialEntries, trainPartial } from "./partial_training.ts";
export type { PartialOptions } from "./partial_training.ts";
export { resNet, withStatistics } from "./resnet.ts";
export type { ResNet, ResNetConfig, ResolvedResNet, Statistics, StatisticsModel } from "./resnet.ts";
export { plainConvUNet, residualEncoderUNet } from "./unet.ts";
export type { Model, ResolvedUNet, UNetConfig } from "./unet.ts";
