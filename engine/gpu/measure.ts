/** Times individual kernels on synthetic data. */
import type { Dispatch, Slot } from "../../shaders/types.ts";
import type { Device } from "./device.ts";
import { bindGroupOf, pipelineFor } from "./pipelines.ts";
import { encodePart } from "./profile.ts";

/** Without timestamps, calls are repeated until they take this many milliseconds in total. */
const ENOUGH = 20;

/** Compiles dispatches; returns a function that runs them once and returns the time in milliseconds. */
export async function stopwatch(
  device: Device,
  dispatches: readonly Dispatch[],
  bufferOf: (slot: Slot) => GPUBuffer,
): Promise<() => Promise<number>> {
  const { gpu } = device;
  const commands = await Promise.all(
    dispatches.map(async ({ kernel, reads, writes }) => {
      const pipeline = await pipelineFor(device, kernel);
      const buffers = [...reads, ...writes].map((slot) => ({ buffer: bufferOf(slot) }));
      const group = bindGroupOf(device, pipeline, kernel, buffers);
      return { pipeline, group, workgroups: kernel.workgroups };
    }),
  );
  const encode = (pass: GPUComputePassEncoder, k: number): void => {
    const { pipeline, group, workgroups } = commands[k];
    pass.setPipeline(pipeline);
    pass.setBindGroup(0, group);
    pass.dispatchWorkgroups(...workgroups);
  };
  const submitted = async (f: () => void): Promise<void> => {
    device.submit(`timing ${dispatches.map((d) => d.kernel.name).join(", ")}`, f);
    await gpu.queue.onSubmittedWorkDone().catch(() => undefined);
    await device.settled();
    device.check();
  };
  if (device.target.features.has("timestamp-query")) {
    return async () => {
      let stamps!: Promise<BigUint64Array>;
      await submitted(() => (stamps = encodePart(gpu, commands.length, encode)));
      const times = await stamps;
      return commands.reduce((sum, _, k) => sum + Number(times[2 * k + 1] - times[2 * k]) / 1e6, 0);
    };
  }
  let repeats = 1;
  return async () => {
    for (;;) {
      const start = performance.now();
      await submitted(() => {
        const encoder = gpu.createCommandEncoder();
        const pass = encoder.beginComputePass();
        for (let n = 0; n < repeats; n++) commands.forEach((_, k) => encode(pass, k));
        pass.end();
        gpu.queue.submit([encoder.finish()]);
      });
      const spent = performance.now() - start;
      if (spent >= ENOUGH || repeats >= 1024) return spent / repeats;
      repeats *= 2;
    }
  };
}
