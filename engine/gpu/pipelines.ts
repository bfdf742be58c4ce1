/** Compute pipelines, cached by their source: structurally equal kernels share one. */
import { VoxgradError } from "../core/errors.ts";
import type { Kernel } from "../../shaders/types.ts";
import { checkOpen, type Device, keepOpen, onClose } from "./device.ts";

/** Pipelines kept at most; the least recently used go first. */
const CAPACITY = 1024;

const cache = new Map<string, Promise<GPUComputePipeline>>();
onClose(() => cache.clear());

export const pipelineCount = (): number => cache.size;

/** The pipeline of a kernel; compiles at first use, without blocking, so that many compile at once. */
export function pipelineFor(device: Device, kernel: Kernel): Promise<GPUComputePipeline> {
  checkOpen(device, () => `${kernel.name}: the device was closed before the kernel was compiled`);
  const known = cache.get(kernel.source);
  if (known) {
    cache.delete(kernel.source);
    cache.set(kernel.source, known);
    return known;
  }
  const pipeline = keepOpen(compile(device, kernel));
  cache.set(kernel.source, pipeline);
  if (cache.size > CAPACITY) cache.delete(cache.keys().next().value!);
  pipeline.catch(() => cache.get(kernel.source) === pipeline && cache.delete(kernel.source));
  return pipeline;
}

async function compile(device: Device, kernel: Kernel): Promise<GPUComputePipeline> {
  // What is wrong with the source is told by the pipeline below; without a scope it would also reject what comes next.
  device.gpu.pushErrorScope("validation");
  const module = device.gpu.createShaderModule({ code: kernel.source, label: kernel.name });
  const scoped = device.gpu.popErrorScope();
  try {
    return await device.gpu.createComputePipelineAsync({
      layout: "auto",
      compute: { module, entryPoint: "main" },
      label: kernel.name,
    });
  } catch (error) {
    await scoped;
    const { messages } = await module.getCompilationInfo();
    const lines = kernel.source.split("\n");
    const detail = messages
      .map((m) => `${m.lineNum}:${m.linePos} ${m.message}\n    ${lines[m.lineNum - 1] ?? ""}`)
      .join("\n");
    throw new VoxgradError(`${kernel.name}: the kernel does not compile here: ${detail || (error as Error).message}`);
  }
}
