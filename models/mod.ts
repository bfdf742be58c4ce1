/** Network architectures, whose parameter trees have the names of the published PyTorch models, and methods. */
export * as colab from "./colab.ts";
export { colabFigures, contextMapsSvg, figureMaps, intensitiesSvg, logitPlaneSvg, sampleVoxels } from "./colab_figures.ts";
export type { FigureCase, FigureMaps, FigureNames, FigureOptions, LogitPlane, MapOptions } from "./colab_figures.ts";
export { colabEntries, trainColab } from "./colab_training.ts";
export type { ColabOptions } from "./colab_training.ts";
export * as conres from "./conres_losses.ts";
export { conResNet } from "./conresnet.ts";
export { conResNetArms } from "./conresnet_config.ts";
export type { ConResNet, ConResNetConfig, ContextMaps, ResolvedConResNet } from "./conresnet.ts";
export { unetConfigOf, unetFromPlan } from "./from_plan.ts";
export { networkOf } from "./networks.ts";
export { summariseNetwork } from "./network_summary.ts";
export type { NetworkSummary, PartSummary } from "./network_summary.ts";
export * as partial from "./partial.ts";
export { partialEntries, trainPartial } from "./partial_training.ts";
export type { PartialOptions } from "./partial_training.ts";
export { plainConvUNet, residualEncoderUNet } from "./unet.ts";
export type { Model, ResolvedUNet, UNetConfig } from "./unet.ts";
