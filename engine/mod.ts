/**
 * Tensors, operators, derivatives, compile, the device, trees, random numbers and safetensors files. Layers and
 * optimizers are in voxgrad/nn, scans in voxgrad/imaging, training in voxgrad/train, networks in voxgrad/models.
 *
 * @module
 */
export type { DType, TypedArray } from "./core/dtype.ts";
export { check, checkOptions, escaped, isPlain, listed, show, VoxgradError } from "./core/errors.ts";
export { VERSION } from "./core/version.ts";
export { Tensor } from "./core/tensor.ts";
export type { NestedArray } from "./core/tensor.ts";
export type { Shape } from "./core/shape.ts";
export type { Leaf, Mapped, Params, Tree, TreeOf } from "./core/tree.ts";
export * as tree from "./ops/trees.ts";
export * from "./ops/mod.ts";
export { nonzero, unique } from "./ops/index/host.ts";
export type { Unique } from "./ops/index/host.ts";
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
export { saveTorch } from "./nn/torch_write.ts";
export type { Content as TorchContent } from "./nn/pickle.ts";
export { readCheckpoint } from "./nn/checkpoint.ts";
export type { Checkpoint } from "./nn/checkpoint.ts";
export type { LoadedTensors, ReadTensors } from "./nn/safetensors.ts";
export type { FileSource } from "./platform/sources.ts";
export { setHost } from "./platform/host.ts";
export type { HostOptions } from "./platform/host.ts";
export { directoryFiles } from "./platform/files/directory_files.ts";
export type { DirectoryHandle } from "./platform/files/directory_files.ts";
export type { FileSystem } from "./platform/files/file_system.ts";
export { memoryFiles } from "./platform/files/memory_files.ts";
export { mountFiles, unmountFiles } from "./platform/files/mounts.ts";
export type { FolderFile, FolderSource } from "./platform/files/mounts.ts";
export type { Progress } from "./platform/types.ts";
export * as metrics from "./imaging/metrics/metrics.ts";
export { readNifti } from "./imaging/nifti/nifti.ts";
export { writeNifti } from "./imaging/nifti/write.ts";
export { slidingWindow } from "./imaging/prepare/sliding_window.ts";
export { felzenszwalb } from "./imaging/superpixels/felzenszwalb.ts";
