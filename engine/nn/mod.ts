/** Neural networks: initialization, layers as functions, losses, optimizers, schedules. */
import "../ops/methods.ts";

export {
  heParameter,
  initialize,
  kaimingNormal,
  kaimingUniform,
  onesParameter,
  orthogonal,
  Parameter,
  xavierNormal,
  xavierUniform,
  zerosParameter,
} from "./init.ts";
export type { Initialized, KaimingOptions, XavierOptions } from "./init.ts";
export {
  averagePool,
  conv,
  convParameters,
  convTranspose,
  convTransposeParameters,
  dropout,
  norm,
  normParameters,
} from "./layers.ts";
export { linear, linearParameters } from "./linear.ts";
export {
  embedding,
  embeddingParameters,
  multiHeadAttention,
  multiHeadAttentionParameters,
  windowAttention,
  windowAttentionParameters,
} from "./attention.ts";
export type { MultiHeadAttentionParameters, WindowAttentionOptions, WindowAttentionParameters } from "./attention.ts";
export { batchNormParameters, runningBatchNorm } from "./batch_norm.ts";
export type { BatchNormParameters, BatchStatistics } from "./batch_norm.ts";
export type { Affine, ConvParameterOptions } from "./layers.ts";
export * from "./losses/mod.ts";
export * from "./optimizers/mod.ts";
export {
  constantSchedule,
  cosineSchedule,
  oneCycleSchedule,
  plateauRate,
  polySchedule,
  stepDecaySchedule,
  warmupSchedule,
} from "./schedules.ts";
export type { Schedule } from "./schedules.ts";
