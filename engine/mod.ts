/** The public surface of voxgrad. */
export type { DType, TypedArray } from "./core/dtype.ts";
export { VoxgradError } from "./core/errors.ts";
export { Tensor } from "./core/tensor.ts";
export type { Shape } from "./core/shape.ts";
export type { Tree } from "./core/tree.ts";
export * as tree from "./core/tree.ts";
export * from "./ops/mod.ts";
export * from "./autodiff/mod.ts";
export * from "./compile/mod.ts";
export { closeDevice, deviceInfo, memoryStats, openDevice } from "./gpu/mod.ts";
export type { DeviceInfo, DeviceOptions, MemoryStats } from "./gpu/mod.ts";
