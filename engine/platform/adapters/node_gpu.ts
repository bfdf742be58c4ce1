import { constants } from "node:os";
import type { AdapterChoice, AdapterOptions } from "../types.ts";
import { PlatformError } from "../types.ts";
import { missing } from "../optional_packages.mjs";
import { listed, pickAdapter } from "./pick_adapter.ts";
import { slowDawnPolling } from "./dawn_polling.ts";
import { asked } from "./environment.ts";
import type { SwiftShader } from "./swiftshader.ts";
import { swiftShader } from "./swiftshader.ts";
import { driverFiles, onlyDrivers, softwareName, withVariables } from "./vulkan_drivers.ts";

// Dawn segfaults if the object returned by create() is garbage-collected while a device is alive.
const held: GPU[] = [];

export type Source = "system" | "swiftshader";

/** An adapter that was tried, and the result. */
export interface Candidate {
  readonly source: Source;
  readonly adapter: GPUAdapter | undefined;
  /** Why there is no adapter, or why it is unsuitable. */
  readonly problem: string | undefined;
}

const refused: Record<Source, string> = {
  system: "no driver of the system serves (each needs its GPU; Mesa before 23.1 is too old for Dawn)",
  swiftshader: "Dawn refuses SwiftShader",
};

/**
 * The best adapter: a GPU; else a system driver for the CPU (lavapipe); else SwiftShader from npm. `options.adapter`,
 * or the environment variable VOXGRAD_ADAPTER, restricts the choice.
 */
export async function openAdapter(options: AdapterOptions = {}): Promise<AdapterChoice> {
  const wanted = (options.adapter ?? process.env.VOXGRAD_ADAPTER ?? "").toLowerCase();
  const environment = asked();
  const limits = options.limits ?? environment.limits;
  await dawn();
  const problems: string[] = [];
  for (const source of ["system", "swiftshader"] as const) {
    const candidate = await tryAdapter(source, { ...options, ...(limits ? { limits } : {}), adapter: wanted });
    if (candidate.adapter) {
      const chosen = describe(candidate.source, candidate.adapter, wanted, options);
      if (chosen.kind === "software") await slowDawnPolling();
      return { ...chosen, ...environment };
    }
    if (candidate.problem) problems.push(candidate.problem);
  }
  const named = wanted ? ` for "${wanted}"` : "";
  throw new PlatformError(
    "no-adapter",
    `No WebGPU adapter found${named}: ${problems.join("; ")}. \`npx voxgrad doctor\` says how to fix it`,
  );
}

/** Releases Dawn. No device may be used afterwards. */
export function closeGpu(): void {
  held.length = 0;
}

/** Requests an adapter from one source. Driver setup errors are not thrown but returned as `problem`. */
export async function tryAdapter(source: Source, options: AdapterOptions): Promise<Candidate> {
  const wanted = options.adapter ?? "";
  const named = !["", "hardware", "lavapipe", "swiftshader"].includes(wanted);
  const miss = (problem: string): Candidate => ({ source, adapter: undefined, problem });
  let variables: Record<string, string> = {};

  if (source === "swiftshader") {
    if (wanted === "hardware" || wanted === "lavapipe") return miss(`SwiftShader is not "${wanted}"`);
    let files: SwiftShader | undefined;
    try {
      files = await swiftShader();
    } catch (error) {
      return miss((error as Error).message);
    }
    if (!files) return miss(`npm has no SwiftShader for ${process.platform} on ${process.arch}`);
    if (!hasLoader() && !load(files.loader)) return miss(`the Vulkan loader ${files.loader} cannot be loaded`);
    variables = onlyDrivers([files.driverFile]);
  } else {
    if (wanted === "swiftshader") return miss("the system's drivers were not asked");
    if (process.platform === "linux") {
      if (driverFiles().length === 0) return miss("the system has no Vulkan driver");
      if (!hasLoader()) {
        const files = await swiftShader().catch(() => undefined);
        if (!files || !load(files.loader)) return miss("the system has no Vulkan loader (libvulkan.so.1)");
      }
    }
  }

  try {
    let name: string | undefined;
    if (named || source === "system" && (options.software || wanted === "lavapipe")) {
      const names = await adapterNames(variables);
      name = named ? pickAdapter(names, wanted) : names.find((each) => softwareName.test(each));
      if (!name) return miss(`there is ${names.length ? listed(names) : "no adapter"}`);
    }
    const adapter = await request(options, name, variables);
    if (!adapter) return miss(refused[source]);
    if (wanted === "hardware" && isSoftware(adapter)) return miss(`${adapter.info.device} computes on the CPU`);
    return { source, adapter, problem: undefined };
  } catch (error) {
    // A name of several is no reason to take another source's.
    if (error instanceof PlatformError) throw error;
    return miss((error as Error).message.trim());
  }
}

/** @throws PlatformError if its package is not installed */
async function dawn(): Promise<typeof import("webgpu")> {
  try {
    return await import("webgpu");
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== "ERR_MODULE_NOT_FOUND") throw cause;
    const message = missing("voxgrad computes on the GPU through", "webgpu");
    throw new PlatformError("no-package", message, undefined, cause);
  }
}

async function request(
  options: AdapterOptions,
  name: string | undefined,
  variables: Record<string, string>,
): Promise<GPUAdapter | null> {
  const webgpu = await dawn();
  const flags = [
    // The first toggle enables subgroup matrices; the second, f16 on NVIDIA.
    "enable-dawn-features=allow_unsafe_apis,vulkan_enable_f16_on_nvidia",
    "disable-dawn-features=timestamp_quantization",
  ];
  if (name) flags.push(`adapter=${name}`);
  const level = options.limits === "compatibility" ? { featureLevel: "compatibility" } : {};
  const [gpu, found] = withVariables(variables, () => {
    const gpu = webgpu.create(flags) as GPU;
    return [gpu, gpu.requestAdapter({ powerPreference: options.power ?? "high-performance", ...level })] as const;
  });
  const adapter = await found;
  if (adapter) held.push(gpu);
  return adapter;
}

/** The names of all adapters: Dawn lists them in its error about an unknown name. */
export async function adapterNames(variables: Record<string, string> = {}): Promise<string[]> {
  const webgpu = await dawn();
  try {
    await withVariables(variables, () => (webgpu.create(["adapter=\u0001"]) as GPU).requestAdapter());
  } catch (error) {
    return [...(error as Error).message.matchAll(/name: '(.*)'/g)].map((match) => match[1]);
  }
  return [];
}

function describe(source: Source, adapter: GPUAdapter, wanted: string, options: AdapterOptions): AdapterChoice {
  const software = isSoftware(adapter);
  const { device, description } = adapter.info;
  let reason = "a GPU with a driver that Dawn accepts";
  if (source === "swiftshader") reason = "no other Vulkan driver serves, so SwiftShader from npm computes on the CPU";
  else if (software) reason = "no GPU with a driver, so a system driver computes on the CPU";
  if (wanted) reason = `asked for "${wanted}"`;
  else if (options.software) reason = "asked for a CPU implementation";
  return { adapter, kind: software ? "software" : "hardware", driver: `${device} (${description})`, reason };
}

export function isSoftware(adapter: GPUAdapter): boolean {
  return adapter.info.isFallbackAdapter || softwareName.test(adapter.info.device);
}

export function hasLoader(): boolean {
  return load("libvulkan.so.1");
}

/** Loads a shared library so that Dawn's own dlopen("libvulkan.so.1") finds it. */
function load(path: string): boolean {
  const { RTLD_NOW, RTLD_GLOBAL } = constants.dlopen;
  const RTLD_NODELETE = 0x1000;
  try {
    process.dlopen({ exports: {} }, path, RTLD_NOW | RTLD_GLOBAL | RTLD_NODELETE);
    return true;
  } catch (error) {
    // Node loads the library, then complains that it is not a Node addon.
    return (error as Error).message.includes("did not self-register");
  }
}
