/** Compute pipelines, cached by source: structurally equal kernels share one. And what they bind. */
import { VoxgradError } from "../core/errors.ts";
import { LruCache } from "../core/lru_cache.ts";
import type { Kernel } from "../../shaders/types.ts";
import { checkOpen, type Device, keepOpen, onClose } from "./device.ts";
import { bufferUsage } from "./flags.ts";

/** Maximum number of cached pipelines. */
const CAPACITY = 1024;

const cache = new LruCache<string, Promise<GPUComputePipeline>>(CAPACITY);
/** Buffers of sizes by their contents. Bind groups keep those alive that are dropped here. */
const sizes = new LruCache<string, GPUBuffer>(4 * CAPACITY);
onClose(() => {
  cache.clear();
  for (const buffer of sizes.values()) buffer.destroy();
  sizes.clear();
});

/** The number of cached pipelines. */
export const pipelineCount = (): number => cache.count;

let emitted = 0;
/** Number of kernels emitted as WGSL since the start. */
export const emittedKernels = (): number => emitted;

/** The pipeline of a kernel; compiled asynchronously at first use, so that many compile in parallel. */
export function pipelineFor(device: Device, kernel: Kernel): Promise<GPUComputePipeline> {
  checkOpen(device, () => `${kernel.name}: the device was closed before the kernel was compiled`);
  const source = kernel.source();
  emitted++;
  const known = cache.get(source);
  if (known) return known;
  const pipeline = keepOpen(compile(device, kernel.name, source));
  cache.set(source, pipeline);
  pipeline.catch(() => cache.peek(source) === pipeline && cache.delete(source));
  return pipeline;
}

async function compile(device: Device, name: string, source: string): Promise<GPUComputePipeline> {
  // The pipeline below reports errors in the source; without a scope they would also reject the next submission.
  device.gpu.pushErrorScope("validation");
  const module = device.gpu.createShaderModule({ code: source, label: name });
  const scoped = device.gpu.popErrorScope();
  try {
    return await device.gpu.createComputePipelineAsync({
      layout: "auto",
      compute: { module, entryPoint: "main" },
      label: name,
    });
  } catch (error) {
    await scoped;
    const { messages } = await module.getCompilationInfo();
    const lines = source.split("\n");
    const detail = messages
      .map((m) => `${m.lineNum}:${m.linePos} ${m.message}\n    ${lines[m.lineNum - 1] ?? ""}`)
      .join("\n");
    throw new VoxgradError(`${name}: the kernel does not compile here: ${detail || (error as Error).message}`);
  }
}

/** The bind group of a kernel: its buffers in the order of their bindings, and its sizes. */
export function bindGroupOf(
  { gpu }: Device,
  pipeline: GPUComputePipeline,
  kernel: Kernel,
  buffers: readonly GPUBufferBinding[],
): GPUBindGroup {
  const all = kernel.sizes?.length ? [...buffers, { buffer: sizesBuffer(gpu, kernel.sizes) }] : buffers;
  const entries = all.map((resource, binding) => ({ binding, resource }));
  return gpu.createBindGroup({ layout: pipeline.getBindGroupLayout(0), entries });
}

function sizesBuffer(gpu: GPUDevice, values: readonly number[]): GPUBuffer {
  const key = values.join();
  let buffer = sizes.get(key);
  if (!buffer) {
    const size = Math.ceil(values.length / 4) * 16;
    buffer = gpu.createBuffer({ label: "sizes", size, usage: bufferUsage.UNIFORM, mappedAtCreation: true });
    new Uint32Array(buffer.getMappedRange()).set(values);
    buffer.unmap();
    sizes.set(key, buffer);
  }
  return buffer;
}
