/** The choice of a device. */
import { check, checkFlag, checkOptions, show } from "../core/errors.ts";
import { isTuned, type TunedKernels } from "./tuned.ts";

export interface DeviceOptions {
  /**
   * A device that is open already, such as that of a page's viewer, which is then used together: closeDevice frees what
   * is the engine's on it and leaves it open. power, adapter, software and limits do not go with it.
   */
  device?: GPUDevice;
  power?: "high-performance" | "low-power";
  /**
   * Part of an adapter's name, or "hardware", "lavapipe", "swiftshader"; in Node also "#1" or "geforce#1", the second
   * of all, or of those with that name, in the order of `npx voxgrad doctor`.
   */
  adapter?: string;
  /** Use a CPU implementation even if there is a GPU. */
  software?: boolean;
  /**
   * Limits to emulate: "default" requests only what WebGPU guarantees everywhere, "compatibility" only what its
   * compatibility mode guarantees, both without optional features. Default: "adapter", everything the adapter
   * supports.
   */
  limits?: "adapter" | "default" | "compatibility";
  /** Maximum bytes per binding, to emulate a smaller adapter; default: the adapter's limit. */
  maxBindingBytes?: number;
  /**
   * Maximum bytes of device memory; allocations beyond it throw. Default: unlimited, and on a CPU implementation 80%
   * of the machine's memory, beyond which the operating system would kill the process.
   */
  memoryLimit?: number;
  /**
   * Which kernels: those that suit a CPU implementation ("cpu"), or a GPU ("gpu"). Results differ by rounding alone;
   * for tests of one's kernels on the other. Default: what the adapter is.
   */
  kernels?: "cpu" | "gpu";
  /**
   * Whether convolutions fuse elementwise functions of their input, such as a norm and an activation, into their
   * loads: saves memory and bandwidth, costs arithmetic. Default: only on GPUs.
   */
  fuseLoads?: boolean;
  /**
   * Which kernel variants to use: true for those that `tune` stored for this adapter in earlier runs, or an object
   * with such results, to be shipped with an application. Default: a fixed rule.
   */
  tuned?: boolean | TunedKernels;
}

/** Throws VoxgradError for a choice that openDevice does not know. */
export function checkDeviceOptions(options: DeviceOptions): void {
  const name = "openDevice";
  checkOptions(name, options, [
    "device",
    "power",
    "adapter",
    "software",
    "limits",
    "maxBindingBytes",
    "memoryLimit",
    "kernels",
    "fuseLoads",
    "tuned",
  ]);
  const { power, adapter, maxBindingBytes: binding = 1024, memoryLimit: memory = 1 } = options;
  const { device: shared } = options;
  if (shared !== undefined) {
    const isDevice = typeof (shared as { createBuffer?: unknown } | null)?.createBuffer === "function";
    check(isDevice, name, () => `device is a GPUDevice, got ${show(shared)}`);
    const odd = (["power", "adapter", "software", "limits"] as const).find((key) => options[key] !== undefined);
    check(odd === undefined, name, () => `${odd} chooses a device, and device gives one; leave one of them out`);
  }
  const powers: unknown[] = [undefined, "high-performance", "low-power"];
  check(powers.includes(power), name, () => `power is "high-performance" or "low-power", got ${show(power)}`);
  const named = adapter === undefined || typeof adapter === "string";
  check(named, name, () => `adapter is part of an adapter's name, got ${show(adapter)}`);
  checkFlag(name, "software", options.software);
  const { limits } = options;
  const modes: unknown[] = [undefined, "adapter", "default", "compatibility"];
  check(modes.includes(limits), name, () => `limits is "adapter", "default" or "compatibility", got ${show(limits)}`);
  const { kernels } = options;
  const suits = kernels === undefined || kernels === "cpu" || kernels === "gpu";
  check(suits, name, () => `kernels is "cpu" or "gpu", got ${show(kernels)}`);
  checkFlag(name, "fuseLoads", options.fuseLoads);
  check(
    typeof binding === "number" && binding >= 1024,
    name,
    () => `maxBindingBytes is a number from 1024 up, got ${show(binding)}`,
  );
  const { tuned = false } = options;
  const wanted = "true, false, or what tune keeps: { format: 1, adapters: { NAME: { WORK: { variant, among } } } }";
  check(typeof tuned === "boolean" || isTuned(tuned), name, () => `tuned is ${wanted}, got ${show(tuned)}`);
  check(typeof memory === "number" && memory > 0, name, () => `memoryLimit is a number above 0, got ${show(memory)}`);
}
