/** The single device that the engine uses: opened at first use, or by openDevice. */
import { platform } from "#platform";
import { VoxgradError } from "../core/errors.ts";
import type { SubgroupMatrix, Target } from "../../shaders/types.ts";
import { checkDeviceOptions, type DeviceOptions } from "./device_options.ts";
import { readTuned, Tuned } from "./tuned.ts";

/** Information about the device, for users and logs. */
export interface DeviceInfo {
  readonly name: string;
  readonly kind: "hardware" | "software";
  /** Why this device was chosen. */
  readonly reason: string;
  readonly features: readonly string[];
  readonly limits: Readonly<Record<string, number>>;
}

/** The device was lost: driver reset, card removed, or destroyed. The next use opens another. */
export class DeviceLostError extends VoxgradError {
  override name = "DeviceLostError";
}

/** An open device with the engine's state for it. */
export interface Device {
  readonly gpu: GPUDevice;
  readonly info: DeviceInfo;
  readonly target: Target;
  readonly tuned: Tuned;
  /** Whether compiled functions tune kernels that were not tuned before. */
  readonly tunes: boolean;
  /** Maximum bytes that the engine may hold on it, if a limit is known. */
  readonly memoryLimit: number;
  /** Whether it was lost or closed; everything on it is invalid. */
  readonly gone: boolean;
  /** Submits work named `what`. Errors that the GPU reports about it are thrown by the next `check` after `settled`. */
  submit(what: string, encode: () => void, locate?: () => Promise<string>): void;
  /** Waits until errors of everything submitted so far have been reported. */
  settled(): Promise<void>;
  /** Throws an asynchronous error that occurred since the last call. */
  check(): void;
}

const wantedFeatures = ["timestamp-query", "shader-f16", "subgroups", "chromium-experimental-subgroup-matrix"];
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

/** What only this file needs of a device. */
interface OpenDevice extends Device {
  /** Whether it is the caller's. */
  readonly shared: boolean;
  /** Drops the device and everything on it; the next use opens another. */
  leave(): void;
}

let opening: Promise<OpenDevice> | null = null;
const closers = new Set<() => void>();

const openers = new Set<(device: Device) => void>();
const enders = new Set<(device: Device) => Promise<void>>();

/** Registers callbacks for when a device is opened, and for work to finish when closeDevice is called. */
export function onOpen(begin: (device: Device) => void, end: (device: Device) => Promise<void>): void {
  openers.add(begin);
  enders.add(end);
}

/** Registers a function that clears state tied to the device: pools, pipelines, programs. */
export const onClose = (forget: () => void): void => {
  closers.add(forget);
};

/** The device, opened by the default choice if none is open. */
export const device = (): Promise<Device> => (opening ??= open({}));

/**
 * Opens the device; only needed for a choice other than the default.
 *
 * @throws VoxgradError if one is already open, PlatformError if there is none
 * @example
 * ```ts
 * import { openDevice } from "voxgrad";
 *
 * const { name } = await openDevice({ adapter: "lavapipe" });
 * ```
 */
export async function openDevice(options: DeviceOptions = {}): Promise<DeviceInfo> {
  if (opening) {
    throw new VoxgradError(
      "openDevice: a device is open already; call it before the first value is computed, or closeDevice first",
    );
  }
  checkDeviceOptions(options);
  opening = open(options);
  return (await opening).info;
}

/** Logs a one-line warning for the user. */
export const warn = (line: string): void => platform.log(line);

/**
 * Name, kind, limits and features of the device; opens it if necessary.
 *
 * @example
 * ```ts
 * import { deviceInfo } from "voxgrad";
 *
 * const { name, kind } = await deviceInfo();
 * console.log(`${name} (${kind})`);
 * ```
 */
export const deviceInfo = async (): Promise<DeviceInfo> => (await device()).info;

/**
 * Destroys the device and everything on it, so that the process can end or another device can be opened. Tensors that
 * were computed or used become invalid, including those created from numbers; read values before closing. A device that
 * was given to openDevice stays open, without the engine's buffers.
 *
 * @example
 * ```ts
 * import { closeDevice, tensor } from "voxgrad";
 *
 * const total = await tensor([1, 2]).sum().item();
 * await closeDevice();
 * total; // 3
 * ```
 */
export async function closeDevice(): Promise<void> {
  if (!opening) return;
  const current = await opening;
  // It may have been lost meanwhile, and another opened.
  if (current.gone) return;
  for (const end of enders) await end(current);
  // Drivers crash if a device is destroyed while it compiles.
  await Promise.allSettled(underWay);
  // Software drivers have crashed when destroyed while busy.
  await current.gpu.queue.onSubmittedWorkDone().catch(() => undefined);
  if (current.gone) return;
  current.leave();
  if (current.shared) return;
  current.gpu.destroy();
  platform.closeGpu();
}

const underWay = new Set<Promise<unknown>>();

/** Registers driver work that closeDevice waits for. */
export function keepOpen<T>(work: Promise<T>): Promise<T> {
  underWay.add(work);
  const forget = (): void => void underWay.delete(work);
  work.then(forget, forget);
  return work;
}

/** Throws if a device was lost or closed: objects created with it must not enter the caches of the next. */
export function checkOpen(device: Device, message: () => string): void {
  if (!device.gone) return;
  device.check();
  throw new VoxgradError(message());
}

/** A GPUDevice and what is known of it. */
interface Found {
  readonly gpu: GPUDevice;
  readonly shared: boolean;
  readonly info: GPUAdapterInfo;
  readonly driver: string;
  readonly kind: DeviceInfo["kind"];
  readonly reason: string;
  readonly limits: Readonly<Record<string, number>>;
  /** The kernels that the environment asked for. */
  readonly kernels?: DeviceOptions["kernels"];
}

const limitsOf = (gpu: GPUDevice): Record<string, number> =>
  Object.fromEntries(wantedLimits.map((name) => [name, gpu.limits[name]]));

/** Where a host knows no compatibility mode, its limits are those of a device of the core. */
const compatible = (limits: Record<string, number>): Record<string, number> => ({
  ...limits,
  maxComputeInvocationsPerWorkgroup: Math.min(128, limits.maxComputeInvocationsPerWorkgroup),
  maxComputeWorkgroupSizeX: Math.min(128, limits.maxComputeWorkgroupSizeX),
  maxComputeWorkgroupSizeY: Math.min(128, limits.maxComputeWorkgroupSizeY),
});

async function request(options: DeviceOptions): Promise<Found> {
  const choice = await platform.openAdapter(options);
  const { adapter, kind, driver, reason, kernels } = choice;
  const mode = options.limits ?? choice.limits ?? "adapter";
  const all = mode === "adapter";
  const requiredLimits = all ? Object.fromEntries(wantedLimits.map((name) => [name, adapter.limits[name]])) : {};
  const features = all && choice.features !== "none" ? wantedFeatures : [];
  const requiredFeatures = features.filter((name) => adapter.features.has(name)) as GPUFeatureName[];
  const gpu = await adapter.requestDevice({ requiredLimits, requiredFeatures, label: "voxgrad" });
  const limits = mode === "compatibility" ? compatible(limitsOf(gpu)) : limitsOf(gpu);
  return { gpu, shared: false, info: adapter.info, driver, kind, reason, limits, kernels };
}

/** A device of the caller, which its adapter's information describes, if the host gives it. */
function adopt(gpu: GPUDevice): Found {
  const info = (gpu.adapterInfo ?? {}) as GPUAdapterInfo;
  const { vendor = "", architecture = "", device = "", description = "" } = info;
  const driver = [description || device || vendor, architecture].filter((part) => part !== "").join(", ") || "GPU";
  const software = info.isFallbackAdapter || /swiftshader|llvmpipe|basic render/i.test(vendor + device + driver);
  const kind = software ? "software" : "hardware";
  return { gpu, shared: true, info, driver, kind, reason: "it was given to openDevice", limits: limitsOf(gpu) };
}

async function open(options: DeviceOptions): Promise<OpenDevice> {
  try {
    if (platform.flags.profile !== false && openers.size === 0) {
      throw new VoxgradError("--profile: it is not in this bundle; run the script by voxgrad run or voxgrad serve");
    }
    const found = options.device ? adopt(options.device) : await request(options);
    const { gpu, shared, info, driver, kind, reason, limits } = found;
    const onCpu = (options.kernels ?? found.kernels ?? (kind === "software" ? "cpu" : "gpu")) === "cpu";
    const tunes = platform.flags.tune;
    const provided = typeof options.tuned === "object" ? options.tuned : undefined;
    const tuned = new Tuned(driver, provided ?? (options.tuned || tunes ? await readTuned() : undefined));
    const target: Target = {
      software: onCpu,
      maxWorkgroupSize: limits.maxComputeInvocationsPerWorkgroup,
      maxWorkgroupsPerDimension: limits.maxComputeWorkgroupsPerDimension,
      maxWorkgroupStorage: limits.maxComputeWorkgroupStorageSize,
      maxStorageBuffers: limits.maxStorageBuffersPerShaderStage,
      fusesPrologues: options.fuseLoads ?? !onCpu,
      sharesStatistics: !onCpu,
      maxBindingBytes: Math.min(limits.maxStorageBufferBindingSize, options.maxBindingBytes ?? Infinity),
      features: new Set(gpu.features),
      subgroupMinSize: info.subgroupMinSize,
      subgroupMaxSize: info.subgroupMaxSize,
      subgroupMatrices: subgroupMatrices(info),
      tuned: tuned.variants,
    };
    let gone = false;
    const leave = (): void => {
      gone = true;
      faults.end();
      opening = null;
      for (const forget of closers) forget();
    };
    const faults = new Faults(gpu, shared, leave);
    const device: OpenDevice = {
      gpu,
      shared,
      target,
      tuned,
      tunes,
      info: { name: driver, kind, reason, features: [...gpu.features].sort(), limits },
      memoryLimit: options.memoryLimit ?? (kind === "software" ? 0.8 * (platform.totalMemory() ?? Infinity) : Infinity),
      get gone() {
        return gone;
      },
      leave,
      submit: (what, encode, locate) => faults.submit(what, encode, locate),
      settled: () => faults.settled(),
      check: () => faults.check(),
    };
    for (const begin of openers) begin(device);
    return device;
  } catch (error) {
    opening = null;
    throw error;
  }
}

/** Listed by Dawn if the experimental feature is available; the standard types do not include it yet. */
export const subgroupMatrices = (info: GPUAdapterInfo): readonly SubgroupMatrix[] =>
  [...((info as { subgroupMatrixConfigs?: Iterable<SubgroupMatrix> }).subgroupMatrixConfigs ?? [])].map(
    ({ componentType, resultComponentType, M, N, K }) => ({ componentType, resultComponentType, M, N, K }),
  );

/** Collects asynchronous GPU errors, which arrive later than the calls that caused them. */
class Faults {
  readonly #gpu: GPUDevice;
  readonly #reports = new Set<Promise<void>>();
  #fault: VoxgradError | null = null;
  #loss: DeviceLostError | null = null;
  #latest = "nothing";
  #ended = false;

  /** @param onLost called when the device is lost and was not closed before */
  constructor(gpu: GPUDevice, shared: boolean, onLost: () => void) {
    this.#gpu = gpu;
    // Errors outside of any scope on a device of others are theirs.
    if (!shared) gpu.addEventListener("uncapturederror", this.#onUncaptured);
    void gpu.lost.then(({ reason, message }) => {
      if (this.#ended) return;
      this.#loss = new DeviceLostError(
        `the GPU device was lost with ${this.#latest} under way (${message || reason}); tensors on it are gone. ` +
          "The next computation opens a device again: load the last state into it, with a smaller batch or patch " +
          "if memory ran out",
      );
      onLost();
    });
  }

  readonly #onUncaptured = ({ error }: GPUUncapturedErrorEvent): void => {
    this.#fault ??= new VoxgradError(`the GPU reported, after ${this.#latest}: ${error.message}`);
  };

  /** Stops listening: the device was lost or closed. */
  end(): void {
    this.#ended = true;
    this.#gpu.removeEventListener("uncapturederror", this.#onUncaptured);
  }

  submit(what: string, encode: () => void, locate?: () => Promise<string>): void {
    // A readback without `locate` says nothing about the running computation.
    if (locate) this.#latest = what;
    for (const kind of scopes) this.#gpu.pushErrorScope(kind);
    try {
      encode();
    } finally {
      const popped = scopes.map(() => this.#gpu.popErrorScope());
      const report = this.#collect(what, popped, locate).finally(() => this.#reports.delete(report));
      this.#reports.add(report);
    }
  }

  async #collect(
    what: string,
    popped: readonly Promise<GPUError | null>[],
    locate?: () => Promise<string>,
  ): Promise<void> {
    let error: GPUError | null | undefined;
    try {
      error = (await Promise.all(popped)).find((e) => e !== null);
    } catch (reason) {
      // Error scopes of a lost device never resolve; the loss is reported separately.
      this.#fault ??= new VoxgradError(`the GPU did not answer for ${what}: ${(reason as Error).message}`);
    }
    if (!error || this.#fault) return;
    const where = (await locate?.()) ?? what;
    this.#fault ??= new VoxgradError(`the GPU refused ${where}: ${error.message}`);
  }

  async settled(): Promise<void> {
    await Promise.all(this.#reports);
  }

  check(): void {
    if (this.#loss) throw this.#loss;
    const fault = this.#fault;
    this.#fault = null;
    if (fault) throw fault;
  }
}

const scopes = ["validation", "out-of-memory", "internal"] as const;
