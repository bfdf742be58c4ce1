/** Neural networks: initialization, layers as functions, losses, optimizers, schedules. */
import "../ops/methods.ts";

export {
  heParameter,
  initialize,
  kaimingNormal,
  kaimingUniform,
  onesParameter,
  Parameter,
  zerosParameter,
} from "./init.ts";
export type { Initialized, KaimingOptions } from "./init.ts";
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
export { adam, clipGradNorm, sgd } from "./optimizers.ts";
export type { AdamOptions, Optimizer, OptimizerState, SgdOptions } from "./optimizers.ts";
export { constantSchedule, cosineSchedule, plateauRate, polySchedule, stepDecaySchedule } from "./schedules.ts";
export type { Schedule } from "./schedules.ts";
