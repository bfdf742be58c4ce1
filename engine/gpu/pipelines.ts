/** Compute pipelines, cached by source: structurally equal kernels share one. */
import { VoxgradError } from "../core/errors.ts";
import { LruCache } from "../core/lru_cache.ts";
import type { Kernel } from "../../shaders/types.ts";
import { checkOpen, type Device, keepOpen, onClose } from "./device.ts";

/** Maximum number of cached pipelines. */
const CAPACITY = 1024;

const cache = new LruCache<string, Promise<GPUComputePipeline>>(CAPACITY);
onClose(() => cache.clear());

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
