/** The public surface of voxgrad. */
export type { DType, TypedArray } from "./core/dtype.ts";
export { isPlain, listed, VoxgradError } from "./core/errors.ts";
export { VERSION } from "./core/version.ts";
export { Tensor } from "./core/tensor.ts";
export type { Shape } from "./core/shape.ts";
export type { Tree } from "./core/tree.ts";
export * as tree from "./core/tree.ts";
export * from "./ops/mod.ts";
export * from "./autodiff/mod.ts";
export * from "./compile/mod.ts";
export { closeDevice, deviceInfo, DeviceLostError, measureRoofs, memoryStats, openDevice, profile } from "./gpu/mod.ts";
export type {
  DeviceInfo,
  DeviceOptions,
  DispatchTime,
  KernelTime,
  MemoryStats,
  Profile,
  Roofs,
  TunedChoice,
  TunedKernels,
} from "./gpu/mod.ts";
export * as nn from "./nn/mod.ts";
export {
  adam,
  clipGradNorm,
  constantSchedule,
  cosineSchedule,
  deepSupervision,
  deepSupervisionWeights,
  diceBinaryCrossEntropy,
  diceCrossEntropy,
  plateauRate,
  polySchedule,
  regionTargets,
  resizeLabels,
  sgd,
  softDice,
  stepDecaySchedule,
} from "./nn/mod.ts";
export type {
  AdamOptions,
  DiceBinaryCrossEntropyOptions,
  DiceCrossEntropyOptions,
  Optimiser,
  Schedule,
  SgdOptions,
  SoftDiceOptions,
} from "./nn/mod.ts";
export {
  loadParameters,
  loadPretrained,
  loadSafetensors,
  readSafetensors,
  readWeights,
  SafetensorsError,
  saveSafetensors,
  saveSealed,
} from "./nn/safetensors.ts";
export type { LoadedTensors } from "./nn/safetensors.ts";
export * from "./imaging/mod.ts";
export * from "./train/mod.ts";
