/** Neural networks: initial values, layers as functions, losses, optimisers, schedules. */
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
export type { KaimingOptions } from "./init.ts";
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
export { adam, clipGradNorm, sgd } from "./optimisers.ts";
export type { AdamOptions, Optimiser, SgdOptions } from "./optimisers.ts";
export { constantSchedule, cosineSchedule, plateauRate, polySchedule, stepDecaySchedule } from "./schedules.ts";
export type { Schedule } from "./schedules.ts";
