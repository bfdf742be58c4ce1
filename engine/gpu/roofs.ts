/** Measures the roofline peaks of the adapter. */
import { matrixProducts, multiplyAdds, productShapes, triad } from "../../shaders/roofs.wgsl.ts";
import { chunkElements, type Dispatch } from "../../shaders/types.ts";
import { allocateBuffer, releaseBuffer, writeBuffer } from "./buffers.ts";
import { VoxgradError } from "../core/errors.ts";
import { type Device, device as openDevice, warn } from "./device.ts";
import { stopwatch } from "./measure.ts";
import type { Roofs } from "./kernel_table.ts";

const ROUNDS = 5;
/** Workgroups that multiply matrices, enough for the largest GPUs. */
const MATRIX_GROUPS = 4096;

/**
 * Measures, in about a second, the rates that kernels can approach: memory bandwidth by STREAM's triad on tensors
 * larger than the caches, arithmetic by multiply-adds in registers, and by products of subgroup matrices where the
 * adapter has them; the best of a few kernels and several runs each.
 * These are what WGSL reaches through this driver, which on a CPU is less than the hardware peak.
 *
 * @throws VoxgradError if there is too little memory (48 MiB on a CPU, else up to 384)
 * @example
 * ```ts
 * import { measureRoofs } from "voxgrad";
 *
 * const { gigabytesPerSecond, gigaflopsPerSecond } = await measureRoofs();
 * ```
 */
export async function measureRoofs(): Promise<Roofs> {
  const device = await openDevice();
  const { target } = device;
  // Memory larger than the caches, and some milliseconds of work.
  const elements = Math.min(target.software ? 2 ** 22 : 2 ** 25, chunkElements(target));
  const [invocations, turns] = target.software ? [2 ** 12, 256] : [2 ** 18, 1024];
  const buffers: GPUBuffer[] = [];
  try {
    const ones = new Float32Array(elements).fill(1);
    for (const name of ["a", "b", "y"]) {
      buffers.push(allocateBuffer(device, 4 * elements, `measureRoofs: ${name}`));
      writeBuffer(device, buffers.at(-1)!, ones, "f32");
    }
    const moving = [triad(elements, 1, 8, target), triad(elements, 4, 1, target), triad(elements, 4, 4, target)];
    const moved = await shortest(device, moving, buffers);
    writeBuffer(device, buffers[0], new Float32Array([0.5, 0.25, turns]), "f32");
    const computing = [8, 12].map((chains) => multiplyAdds(invocations, chains, turns, target));
    const computed = await shortest(device, computing, buffers);
    const rate = (times: readonly number[], dispatches: readonly Dispatch[]): number =>
      Math.max(...times.map((ms, k) => dispatches[k].kernel.flops! / ms / 1e6));
    const roofs = {
      gigabytesPerSecond: Math.max(...moved.map((ms) => (12 * elements) / ms / 1e6)),
      gigaflopsPerSecond: rate(computed, computing),
    };
    const multiplying = productShapes(target).flatMap((shape) =>
      [4, 8].map((chains) => matrixProducts(shape, MATRIX_GROUPS, chains, turns, target.subgroupMinSize!))
    );
    if (multiplying.length === 0) return roofs;
    try {
      const multiplied = await shortest(device, multiplying, buffers);
      return { ...roofs, matrixGigaflopsPerSecond: rate(multiplied, multiplying) };
    } catch (error) {
      // An extension that is experimental must not cost the other roofs.
      if (!(error instanceof VoxgradError) || device.gone) throw error;
      warn(`Subgroup matrices are not measured: ${error.message}`);
      return roofs;
    }
  } finally {
    buffers.forEach(releaseBuffer);
  }
}

/** The shortest time of each, in milliseconds; they run in turn, so that a disturbance affects all. */
async function shortest(
  device: Device,
  dispatches: readonly Dispatch[],
  buffers: readonly GPUBuffer[],
): Promise<number[]> {
  const watches = await Promise.all(
    dispatches.map((d) => stopwatch(device, [d], (slot) => ("input" in slot ? buffers[slot.input] : buffers[2]))),
  );
  const times = dispatches.map(() => Infinity);
  // The first round warms up.
  for (let round = -1; round < ROUNDS; round++) {
    for (const [k, watch] of watches.entries()) {
      const ms = await watch();
      if (round >= 0) times[k] = Math.min(times[k], ms);
    }
  }
  return times;
}
