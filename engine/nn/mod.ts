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
export type { Affine, ConvParameterOptions } from "./layers.ts";
export {
  deepSupervision,
  deepSupervisionWeights,
  diceBinaryCrossEntropy,
  diceCrossEntropy,
  regionTargets,
  resizeLabels,
  softDice,
} from "./losses.ts";
export type { DiceBinaryCrossEntropyOptions, DiceCrossEntropyOptions, SoftDiceOptions } from "./losses.ts";
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
