/** Runs lowered kernels directly on a WebGPU device, without the engine: for kernel tests and benchmarks. */
import { platform } from "#platform";
import { fromHalf, toHalf } from "../../engine/core/dtype.ts";
import { subgroupMatrices } from "../../engine/gpu/device.ts";
import { bufferUsage, mapMode } from "../../engine/gpu/flags.ts";
import type { Lowered, Slot, Target } from "../../shaders/types.ts";

/** A device, its capabilities, and the adapter's name. */
export interface Runner {
  readonly device: GPUDevice;
  readonly target: Target & { readonly subgroupMinSize: number };
  readonly adapterName: string;
}

/** Opens a device with every limit of the adapter. Throws without an adapter. */
export async function openRunner(): Promise<Runner> {
  const { adapter } = await platform.openAdapter();
  const names = [
    "maxComputeInvocationsPerWorkgroup",
    "maxComputeWorkgroupSizeX",
    "maxComputeWorkgroupsPerDimension",
    "maxComputeWorkgroupStorageSize",
    "maxStorageBuffersPerShaderStage",
    "maxStorageBufferBindingSize",
    "maxBufferSize",
  ] as const;
  const features = ["subgroups", "shader-f16", "chromium-experimental-subgroup-matrix"] as GPUFeatureName[];
  const requiredLimits = Object.fromEntries(names.map((name) => [name, adapter.limits[name] as number]));
  const device = await adapter.requestDevice({
    requiredLimits,
    requiredFeatures: features.filter((name) => adapter.features.has(name)),
  });
  const info = `${adapter.info.vendor} ${adapter.info.architecture} ${adapter.info.device} ${adapter.info.description}`;
  const { limits } = device;
  return {
    device,
    adapterName: info,
    target: {
      software: /llvmpipe|lavapipe|swiftshader/i.test(info),
      maxWorkgroupSize: limits.maxComputeInvocationsPerWorkgroup,
      maxWorkgroupsPerDimension: limits.maxComputeWorkgroupsPerDimension,
      maxWorkgroupStorage: limits.maxComputeWorkgroupStorageSize,
      maxStorageBuffers: limits.maxStorageBuffersPerShaderStage,
      maxBindingBytes: limits.maxStorageBufferBindingSize,
      features: new Set(device.features),
      subgroupMinSize: adapter.info.subgroupMinSize,
      subgroupMaxSize: adapter.info.subgroupMaxSize,
      subgroupMatrices: subgroupMatrices(adapter.info),
    },
  };
}

/** Releases the device, so that the process can exit. */
export function closeRunner(runner: Runner): void {
  runner.device.destroy();
  platform.closeGpu();
}

export interface RunOptions {
  /** Timed repetitions after the first run; 0 if only the values matter. */
  readonly repeats?: number;
  /** Type of inputs and output in memory. */
  readonly storage?: "f32" | "f16";
}

export interface RunResult {
  readonly output: Float32Array;
  /** Time to create the pipelines, plus the extra time of the first run, because drivers may compile that late. */
  readonly compileMs: number;
  /** Minimum and median time of all dispatches, if repeated. */
  readonly minMs: number;
  readonly medianMs: number;
}

/** Runs `lowered` on `inputs`; the output has `outputLength` elements and is filled with NaN beforehand. */
export async function runLowered(
  runner: Runner,
  lowered: Lowered,
  inputs: readonly Float32Array[],
  outputLength: number,
  options: RunOptions = {},
): Promise<RunResult> {
  const { device } = runner;
  const storage = bufferUsage.STORAGE | bufferUsage.COPY_SRC | bufferUsage.COPY_DST;
  const half = options.storage === "f16";
  const poison = (bytes: number) => upload(new Uint32Array(bytes / 4).fill(0xffffffff));
  const upload = (data: Float32Array | Uint16Array | Uint32Array): GPUBuffer => {
    const buffer = device.createBuffer({ size: data.byteLength, usage: storage });
    device.queue.writeBuffer(buffer, 0, data as Float32Array<ArrayBuffer>);
    return buffer;
  };
  const uploadSizes = (values: readonly number[]): GPUBuffer => {
    const size = Math.ceil(values.length / 4) * 16;
    const buffer = device.createBuffer({ size, usage: bufferUsage.UNIFORM | bufferUsage.COPY_DST });
    device.queue.writeBuffer(buffer, 0, new Uint32Array(values));
    sizes.push(buffer);
    return buffer;
  };
  // Buffer sizes are multiples of 4 bytes.
  const halves = (data: Float32Array): Uint16Array => {
    const bits = new Map<number, number>();
    const result = new Uint16Array(data.length + (data.length % 2));
    data.forEach((value, i) => {
      const known = bits.get(value) ?? toHalf(value);
      result[i] = known;
      if (bits.size < 2048) bits.set(value, known);
    });
    return result;
  };
  const sizes: GPUBuffer[] = [];
  const outputBytes = half ? Math.ceil(outputLength / 2) * 4 : outputLength * 4;
  device.pushErrorScope("validation");
  const inputBuffers = inputs.map((data) => upload(half ? halves(data) : data));
  const outputBuffer = poison(outputBytes);
  const temps = lowered.temps.map(poison);
  const bufferOf = (slot: Slot): GPUBuffer =>
    "input" in slot ? inputBuffers[slot.input] : "temp" in slot ? temps[slot.temp] : outputBuffer;
  const start = performance.now();
  const steps = lowered.dispatches.map(({ kernel, reads, writes }) => {
    const types: GPUBufferBindingType[] = [
      ...reads.map(() => "read-only-storage" as const),
      ...writes.map(() => "storage" as const),
      ...(kernel.sizes?.length ? ["uniform" as const] : []),
    ];
    const entries = types.map((type, binding) => ({ binding, visibility: 0x4, buffer: { type } }));
    const layout = device.createBindGroupLayout({ entries });
    const pipeline = device.createComputePipeline({
      label: kernel.name,
      layout: device.createPipelineLayout({ bindGroupLayouts: [layout] }),
      compute: { module: device.createShaderModule({ code: kernel.source() }), entryPoint: "main" },
    });
    const buffers = [...reads, ...writes].map(bufferOf);
    if (kernel.sizes?.length) buffers.push(uploadSizes(kernel.sizes));
    const group = device.createBindGroup({
      layout,
      entries: buffers.map((buffer, binding) => ({ binding, resource: { buffer } })),
    });
    return { kernel, pipeline, group };
  });
  const submit = async (times = 1): Promise<void> => {
    const encoder = device.createCommandEncoder();
    const pass = encoder.beginComputePass();
    for (let i = 0; i < times; i++) {
      for (const { kernel, pipeline, group } of steps) {
        pass.setPipeline(pipeline);
        pass.setBindGroup(0, group);
        pass.dispatchWorkgroups(...kernel.workgroups);
      }
    }
    pass.end();
    device.queue.submit([encoder.finish()]);
    await device.queue.onSubmittedWorkDone();
  };
  await submit();
  const firstMs = performance.now() - start;
  const error = await device.popErrorScope();
  if (error) throw new Error(`${lowered.dispatches.map((d) => d.kernel.name).join(", ")}: ${error.message}`);
  const times: number[] = [];
  // Short runs are batched: a submission itself takes some tenths of a millisecond.
  let together = 1;
  for (let i = 0; i < (options.repeats ?? 0); i++) {
    const t = performance.now();
    await submit(together);
    times.push((performance.now() - t) / together);
    together = Math.max(1, Math.min(100, Math.round(20 / times[i])));
  }
  times.sort((a, b) => a - b);
  const compileMs = Math.max(0, firstMs - (times[0] ?? 0));
  const readback = device.createBuffer({
    size: outputBytes,
    usage: bufferUsage.COPY_DST | bufferUsage.MAP_READ,
  });
  const encoder = device.createCommandEncoder();
  encoder.copyBufferToBuffer(outputBuffer, 0, readback, 0, outputBytes);
  device.queue.submit([encoder.finish()]);
  await readback.mapAsync(mapMode.READ);
  const bytes = readback.getMappedRange().slice(0);
  const output = half ? Float32Array.from(new Uint16Array(bytes, 0, outputLength), fromHalf) : new Float32Array(bytes);
  for (const buffer of [...inputBuffers, ...temps, ...sizes, outputBuffer, readback]) buffer.destroy();
  return { output, compileMs, minMs: times[0] ?? 0, medianMs: times[times.length >> 1] ?? 0 };
}
