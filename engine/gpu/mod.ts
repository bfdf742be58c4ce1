/** The device and its memory. */
export { closeDevice, device, deviceInfo, onClose, openDevice } from "./device.ts";
export type { Device, DeviceInfo, DeviceOptions } from "./device.ts";
export {
  allocateBuffer,
  bytesOf,
  countArena,
  memoryStats,
  readBuffer,
  releaseBuffer,
  Storage,
  upload,
  writeBuffer,
} from "./buffers.ts";
export type { MemoryStats } from "./buffers.ts";
export { pipelineCount, pipelineFor } from "./pipelines.ts";
export { encodeTimed, isProfiling, profile } from "./profile.ts";
export type { KernelTime, Profile } from "./profile.ts";
