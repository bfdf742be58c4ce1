/** Rejects programs that exceed a limit before they allocate memory; the message says what would fit. */
import { VoxgradError } from "../core/errors.ts";
import { type Device, makeRoom, memoryStats } from "../gpu/mod.ts";
import type { MemoryPlan } from "./memory_plan.ts";
import { type Schedule, singleSteps } from "./schedule.ts";

/** Rejects programs that exceed the memory limit; the message says what would fit. */
export function checkMemory(scheduled: Schedule, plan: MemoryPlan, device: Device): void {
  const added = plan.peakBytes - scheduled.places.reduce((sum, p) => sum + (p.leaf === null ? 0 : p.bytes), 0);
  makeRoom(device, added, () => {
    const { live } = memoryStats();
    const own = scheduled.places.filter((p) => p.leaf === null);
    const largest = own.sort((a, b) => b.bytes - a.bytes).slice(0, 3);
    const fraction = Math.max(0, (device.memoryLimit - live) / added);
    return (
      `${largest[0]?.label ?? "evaluate"}: its program needs ${added} bytes ` +
      `(${plan.arenaBytes} of them temporary) besides the ${live} in use, the limit is ` +
      `${device.memoryLimit}; its largest values are ${largest.map((p) => `${p.label} with ${p.bytes}`).join(", ")}. ` +
      (fraction > 0
        ? `A batch or patch of ${
          Math.floor(fraction * 100)
        }% of this size would fit, or checkpoint(f) around parts of the network`
        : "Nothing is left: dispose of tensors that are no longer needed")
    );
  });
}

/** Rejects programs that cannot run, before anything is allocated. */
export function checkLimits(scheduled: Schedule, device: Device): void {
  const { maxBindingBytes, maxWorkgroupsPerDimension } = device.target;
  const { maxBufferSize } = device.gpu.limits;
  const refuse = (what: string, bytes: number, verb: string, most: number): never => {
    throw new VoxgradError(
      `${what}: needs ${bytes} bytes in one buffer, the adapter ${verb} at most ${most}; use a smaller batch, ` +
        "patch or width",
    );
  };
  for (const place of scheduled.places) {
    if (place.bytes > maxBufferSize) refuse(place.label, place.bytes, "allocates", maxBufferSize);
  }
  for (const { kernel, reads, writes } of singleSteps(scheduled.steps)) {
    for (const { place, bytes } of [...reads, ...writes]) {
      if (bytes > maxBindingBytes) refuse(`${kernel.name} on ${place.label}`, bytes, "binds", maxBindingBytes);
    }
    if (kernel.workgroups.some((n) => n > maxWorkgroupsPerDimension)) {
      throw new VoxgradError(
        `${kernel.name}: needs ${
          kernel.workgroups.join(" x ")
        } workgroups, the adapter allows ${maxWorkgroupsPerDimension} in each dimension`,
      );
    }
  }
}
