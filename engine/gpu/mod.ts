/** The device and its memory. */
export { closeDevice, device, deviceInfo, DeviceLostError, keepOpen, onClose, openDevice, warn } from "./device.ts";
export type { Device, DeviceInfo } from "./device.ts";
export type { DeviceOptions } from "./device_options.ts";
export {
  allocateBuffer,
  countArena,
  makeRoom,
  memoryStats,
  readBuffer,
  releaseBuffer,
  Storage,
  upload,
  writeBuffer,
} from "./buffers.ts";
export type { MemoryStats } from "./buffers.ts";
export { bindGroupOf, pipelineCount, pipelineFor } from "./pipelines.ts";
export { profile } from "./profile.ts";
export type { DispatchTime, Profile } from "./profile.ts";
export { floorsOf } from "./kernel_table.ts";
export type { DispatchCost, Floors, KernelTime, Roofs } from "./kernel_table.ts";
export { timedEncoder } from "./timing.ts";
export type { DispatchInfo } from "./timing.ts";
export { stopwatch } from "./measure.ts";
export type { TunedChoice, TunedKernels } from "./tuned.ts";
export { measureRoofs } from "./roofs.ts";
import "./run_profile.ts";
