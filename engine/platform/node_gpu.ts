import type { AdapterChoice, AdapterOptions } from "./types.ts";
import { PlatformError } from "./types.ts";

// Dawn dies with a segmentation fault when this object is collected while a device lives; while it is held the process
// does not end.
let gpu: GPU | undefined;

export async function openAdapter(options: AdapterOptions): Promise<AdapterChoice> {
  if (!gpu) {
    const webgpu = await import("webgpu");
    Object.assign(globalThis, webgpu.globals);
    gpu = webgpu.create([]) as GPU;
  }
  const adapter = await gpu.requestAdapter({ powerPreference: options.power ?? "high-performance" });
  if (!adapter) throw new PlatformError("no-adapter", "No WebGPU adapter found");
  const software = /llvmpipe|swiftshader/i.test(adapter.info.device + adapter.info.description);
  return {
    adapter,
    kind: software ? "software" : "hardware",
    driver: `${adapter.info.device} ${adapter.info.description}`,
    reason: "the system's Vulkan loader offers it",
  };
}

export function closeGpu(): void {
  gpu = undefined;
}
