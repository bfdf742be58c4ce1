/** Network architectures, whose parameter trees have the names of the published PyTorch models, and methods. */
export {
  architectureOf,
  networkFromPlan,
  networkOf,
  registeredNetworks,
  registerNetwork,
  summarizeNetwork,
} from "./open/all_networks.ts";
export type { Model, Network, NetworkShape, NetworkSummary, PartSummary } from "./open/all_networks.ts";
export * as alpnet from "./alpnet/alpnet.ts";
export type { EncoderParams } from "./alpnet/encoder.ts";
export { annotatedEpisodes, superpixelEpisodes, transformed } from "./alpnet/episodes.ts";
export type { DrawEpisode, EpisodeBatch, EpisodeOptions, TransformOptions } from "./alpnet/episodes.ts";
export { evaluateOneShot } from "./alpnet/evaluate/evaluation.ts";
export { oneShotEntries } from "./alpnet/evaluate/options.ts";
export type { OneShotEvaluationOptions } from "./alpnet/evaluate/options.ts";
export { copiedSegmenter } from "./alpnet/copied.ts";
export { oneShotSegmenter } from "./alpnet/scans.ts";
export type { OneShotOptions, OneShotSegmenter, OneShotSegmentOptions, PrototypeUse } from "./alpnet/scans.ts";
export type { FewShotSettings, OneShotSettings } from "./alpnet/settings.ts";
export { largestSlices } from "./alpnet/slices.ts";
export type { SliceChoice, SliceRange, SupportScan } from "./alpnet/slices.ts";
export { drawSupports, summarizeSupports } from "./alpnet/evaluate/statistics.ts";
export type { Spread, SupportCell, SupportedCase, SupportsSummary } from "./alpnet/evaluate/statistics.ts";
export { keepPainted, loadOneShot, prepareSupport } from "./alpnet/support.ts";
export type { OneShot } from "./alpnet/support.ts";
export { preparedRange, segmentWithin } from "./alpnet/evaluate/within.ts";
export type { WithinOptions, WithinScan } from "./alpnet/evaluate/within.ts";
export * as colab from "./colab/colab.ts";
export { colabFigures, figureCases } from "./colab/figures.ts";
export type { FigureCase } from "./colab/figure_maps.ts";
export type { FigureNames, FigureOptions } from "./colab/figures.ts";
export { colabNetworks } from "./colab/networks.ts";
export type { ColabNetworks } from "./colab/networks.ts";
export type { ContextOptions } from "./colab/options.ts";
export type { ContextKind } from "./colab/sources.ts";
export * as conres from "./conresnet/losses.ts";
export { conresFeatures, conresFigures } from "./conresnet/figures.ts";
export { contextMeasures } from "./conresnet/measures.ts";
export type { ContextMeasures } from "./conresnet/measures.ts";
export type { ConResFigureNetwork, ConResFigureOptions } from "./conresnet/figures.ts";
export { conResNet } from "./conresnet/conresnet.ts";
export { conResNetArms } from "./conresnet/config.ts";
export { withDistances } from "./conresnet/distances.ts";
export type {
  ConResNet,
  ConResNetConfig,
  ConResNetParams,
  ContextMaps,
  ResolvedConResNet,
} from "./conresnet/conresnet.ts";
export { exportOnnx, openOnnx } from "./onnx/open_onnx.ts";
export type { OnnxInput, OnnxModel, OnnxOptions, OnnxParams } from "./onnx/open_onnx.ts";
export { openLayersModel } from "./tfjs/open_layers_model.ts";
export { exportTrained, networkFromFile } from "./open/network_from_file.ts";
export { openForTraining } from "./open/open_for_training.ts";
export type { TrainableModel } from "./open/open_for_training.ts";
export { openModel } from "./open/open_model.ts";
export type { OpenModelOptions } from "./open/open_model.ts";
export type {
  MirrorAxes,
  Scan,
  ScanOptions,
  Segmentation,
  SegmentationModel,
  Support,
  WritableVolume,
} from "./open/segmentation_model.ts";
export { medNeXt } from "./mednext/mednext.ts";
export type { MedNeXtConfig, MedNeXtParams } from "./mednext/mednext.ts";
export * as partial from "./partial/partial.ts";
export { armLoss } from "./partial/arms.ts";
export type { ArmOptions } from "./partial/arms.ts";
export { partialStudies, STUDY_POOL } from "./partial/studies.ts";
export type { PartialStudy, PartialTrial, StudyOptions, StudySet } from "./partial/studies.ts";
export { segResNet } from "./segresnet/segresnet.ts";
export type { SegResNetConfig, SegResNetParams } from "./segresnet/segresnet.ts";
export { swinUNETR } from "./swin_unetr/swin_unetr.ts";
export type { SwinUNETRConfig, SwinUNETRParams } from "./swin_unetr/swin_unetr.ts";
export { resNet, withStatistics } from "./resnet/resnet.ts";
export type {
  ResNet,
  ResNetConfig,
  ResNetParams,
  ResolvedResNet,
  Statistics,
  StatisticsModel,
} from "./resnet/resnet.ts";
export { plainConvUNet, residualEncoderUNet } from "./unet/unet.ts";
export type { PlainConvUNetParams, ResidualEncoderUNetParams, ResolvedUNet, UNetConfig } from "./unet/unet.ts";
