/** The one device that the engine computes on: opened at first use, or by openDevice. */
import { platform } from "#platform";
import { VoxgradError } from "../core/errors.ts";
import type { Target } from "../../shaders/types.ts";

export interface DeviceOptions {
  power?: "high-performance" | "low-power";
  /** Part of an adapter's name, or "hardware", "lavapipe", "swiftshader". */
  adapter?: string;
  /** A CPU implementation although there is a GPU. */
  software?: boolean;
}

/** What the device is; for people and for logs. */
export interface DeviceInfo {
  readonly name: string;
  readonly kind: "hardware" | "software";
  /** Why this one was chosen. */
  readonly reason: string;
  readonly features: readonly string[];
  readonly limits: Readonly<Record<string, number>>;
}

/** An open device with all that the engine keeps about it. */
export interface Device {
  readonly gpu: GPUDevice;
  readonly info: DeviceInfo;
  readonly target: Target;
  /** Throws what went wrong asynchronously since the last call: an uncaptured error, or the loss of the device. */
  check(): void;
}

const wantedFeatures = ["timestamp-query", "shader-f16", "subgroups"];
const wantedLimits = [
  "maxBufferSize",
  "maxStorageBufferBindingSize",
  "maxStorageBuffersPerShaderStage",
  "maxComputeInvocationsPerWorkgroup",
  "maxComputeWorkgroupSizeX",
  "maxComputeWorkgroupSizeY",
  "maxComputeWorkgroupStorageSize",
  "maxComputeWorkgroupsPerDimension",
] as const;

let opening: Promise<Device> | null = null;
const closers = new Set<() => void>();

/** Registers what must be forgotten when the device goes: pools, pipelines, programs. */
export const onClose = (forget: () => void): void => {
  closers.add(forget);
};

/** The device, opened by default choice if none is open. */
export const device = (): Promise<Device> => (opening ??= open({}));

/**
 * Opens the device that everything then runs on; not needed where the default choice is right.
 *
 * @throws VoxgradError when one is open already, PlatformError when there is none
 * @example await openDevice({ adapter: "lavapipe" });
 */
export async function openDevice(options: DeviceOptions = {}): Promise<DeviceInfo> {
  if (opening)
    throw new VoxgradError(
      "openDevice: a device is open already; call it before the first value is computed, or closeDevice first",
    );
  opening = open(options);
  return (await opening).info;
}

/** Name, kind, limits and features of the device; opens it if need be. */
export const deviceInfo = async (): Promise<DeviceInfo> => (await device()).info;

/** Destroys the device and all that lives on it, so that the process can end or another can be opened. */
export async function closeDevice(): Promise<void> {
  if (!opening) return;
  const current = await opening;
  opening = null;
  for (const forget of closers) forget();
  current.gpu.destroy();
  platform.closeGpu();
}

async function open(options: DeviceOptions): Promise<Device> {
  try {
    const { adapter, kind, driver, reason } = await platform.openAdapter(options);
    const requiredLimits = Object.fromEntries(wantedLimits.map((name) => [name, adapter.limits[name]]));
    const requiredFeatures = wantedFeatures.filter((name) => adapter.features.has(name)) as GPUFeatureName[];
    const gpu = await adapter.requestDevice({ requiredLimits, requiredFeatures, label: "voxgrad" });
    let fault: string | null = null;
    gpu.onuncapturederror = ({ error }) => {
      fault ??= `the GPU reported: ${error.message}`;
    };
    void gpu.lost.then(({ reason: why, message }) => {
      if (why !== "destroyed")
        fault = `the GPU device was lost (${message || why}); start again with a smaller batch or patch`;
    });
    const limits: Record<string, number> = Object.fromEntries(wantedLimits.map((name) => [name, gpu.limits[name]]));
    const target: Target = {
      software: kind === "software",
      maxWorkgroupSize: limits.maxComputeInvocationsPerWorkgroup!,
      maxWorkgroupsPerDimension: limits.maxComputeWorkgroupsPerDimension!,
      maxWorkgroupStorage: limits.maxComputeWorkgroupStorageSize!,
      maxStorageBuffers: limits.maxStorageBuffersPerShaderStage!,
      maxBindingBytes: limits.maxStorageBufferBindingSize!,
      features: new Set(gpu.features),
      subgroupMinSize: adapter.info.subgroupMinSize,
    };
    return {
      gpu,
      target,
      info: { name: driver, kind, reason, features: [...gpu.features].sort(), limits },
      check() {
        if (fault === null) return;
        const message = fault;
        fault = null;
        throw new VoxgradError(message);
      },
    };
  } catch (error) {
    opening = null;
    throw error;
  }
}
