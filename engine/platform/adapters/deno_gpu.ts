import { basename } from "node:path";
import process from "node:process";
import { installCommand } from "../optional_packages.mjs";
import { asked } from "./environment.ts";
import { swiftShader } from "./swiftshader.ts";
import type { AdapterChoice, AdapterOptions } from "../types.ts";
import { PlatformError } from "../types.ts";
import { driverFiles, onlyDrivers, softwareName, withVariables } from "./vulkan_drivers.ts";

/** Why drivers could not be offered, for the error that there is no adapter. */
const problems: string[] = [];
let hasRequested = false;

/**
 * The best adapter of Deno's WebGPU (wgpu): a GPU; else a system driver for the CPU (lavapipe); else SwiftShader from
 * npm. `options.adapter`, or the environment variable VOXGRAD_ADAPTER, restricts the choice.
 */
export async function openAdapter(options: AdapterOptions = {}): Promise<AdapterChoice> {
  const wanted = (options.adapter ?? process.env.VOXGRAD_ADAPTER ?? "").toLowerCase();
  const environment = asked();
  const { gpu } = navigator as { gpu?: GPU };
  if (!gpu) {
    throw new PlatformError(
      "no-adapter",
      'Deno offers no WebGPU: run `deno run -A --unstable-webgpu SCRIPT.ts`, or set "unstable": ["webgpu"] in ' +
        "deno.json",
    );
  }
  if (wanted.includes("#")) {
    throw new PlatformError("no-adapter", `adapter "${wanted}": Deno's WebGPU lists no adapters; name one without #`);
  }
  // wgpu looks for drivers only at the first request, so only then does the environment matter.
  const first = !hasRequested;
  hasRequested = true;
  const variables = first && process.platform === "linux" ? await driverVariables(wanted) : {};
  const seen = new Set<string>();
  for (const request of requests(wanted, options)) {
    const adapter = await withVariables(variables, () => gpu.requestAdapter(request));
    if (adapter && serves(adapter, wanted, options)) return { ...describe(adapter, wanted, options), ...environment };
    if (adapter) seen.add(nameOf(adapter));
  }
  const named = wanted ? ` for "${wanted}"` : options.software ? " that computes on the CPU" : "";
  const found = seen.size ? [`there is ${[...seen].join(", ")}`] : [];
  const why = [...found, ...problems].join("; ") || "wgpu finds no driver";
  let fix = "install a Vulkan driver (Debian, Ubuntu: `sudo apt install mesa-vulkan-drivers libvulkan1`), " +
    `or on Linux x64 run \`${installCommand("@sparticuz/chromium")}\`, which brings SwiftShader`;
  if (seen.size) {
    fix = first ? "leave the name out to take it" : "start again: a process keeps the drivers that it asked first";
  }
  throw new PlatformError("no-adapter", `No WebGPU adapter found in Deno${named}: ${why}. The fix: ${fix}`);
}

/** wgpu cannot list its adapters; each of these requests returns one. */
function requests(wanted: string, options: AdapterOptions): GPURequestAdapterOptions[] {
  if (options.software) return [{ forceFallbackAdapter: true }];
  const best: GPURequestAdapterOptions = { powerPreference: options.power ?? "high-performance" };
  if (wanted === "") return [best];
  return [
    best,
    { powerPreference: "high-performance" },
    { powerPreference: "low-power" },
    { forceFallbackAdapter: true },
  ];
}

function serves(adapter: GPUAdapter, wanted: string, options: AdapterOptions): boolean {
  if (options.software && !isSoftware(adapter)) return false;
  if (wanted === "hardware") return !isSoftware(adapter);
  return nameOf(adapter)
    .toLowerCase()
    .includes(wanted === "lavapipe" ? "llvmpipe" : wanted);
}

/**
 * Environment variables that point the Vulkan loader to the candidate drivers; loads a loader if the system has none.
 * SwiftShader is added to the system's drivers if lavapipe, which is faster, is not among them.
 */
async function driverVariables(wanted: string): Promise<Record<string, string>> {
  const system = driverFiles();
  const lavapipe = system.filter((file) => /lvp/.test(basename(file)));
  const onlySwiftShader = /swift|subzero/.test(wanted);
  const drivers = onlySwiftShader ? [] : wanted === "lavapipe" ? lavapipe : [...system];
  if (drivers.length === 0 && wanted === "lavapipe") problems.push("the system has no lavapipe");

  const wantsSwiftShader = onlySwiftShader || (lavapipe.length === 0 && wanted !== "hardware" && wanted !== "lavapipe");
  const hasLoader = load("libvulkan.so.1");
  if (wantsSwiftShader || !hasLoader) {
    const files = await swiftShader().catch((error: Error) => void problems.push(error.message));
    if (wantsSwiftShader && files) drivers.push(files.driverFile);
    else if (wantsSwiftShader) problems.push(`there is no SwiftShader for ${process.platform} on ${process.arch}`);
    if (!hasLoader && !(files && load(files.loader))) problems.push("there is no Vulkan loader (libvulkan.so.1)");
  }
  // These two are Vulkan drivers; wgpu might find one through OpenGL first.
  const backend = process.env.DENO_WEBGPU_BACKEND ?? (onlySwiftShader || wanted === "lavapipe" ? "vulkan" : undefined);
  return { ...onlyDrivers(drivers), ...(backend !== undefined && { DENO_WEBGPU_BACKEND: backend }) };
}

/** Loads a shared library for the rest of the process, so that wgpu's own dlopen("libvulkan.so.1") finds it. */
function load(path: string): boolean {
  try {
    Deno.dlopen(path, {});
    return true;
  } catch {
    return false;
  }
}

function describe(adapter: GPUAdapter, wanted: string, options: AdapterOptions): AdapterChoice {
  const kind = isSoftware(adapter) ? "software" : "hardware";
  let reason = "a GPU with a driver that wgpu accepts";
  if (wanted) reason = `asked for "${wanted}"`;
  else if (options.software) reason = "asked for a CPU implementation";
  else if (/swiftshader/i.test(nameOf(adapter))) {
    reason = "no other Vulkan driver serves, so SwiftShader from npm computes on the CPU";
  } else if (kind === "software") reason = "no GPU with a driver, so a system driver computes on the CPU";
  return { adapter, kind, driver: `${nameOf(adapter)} (Deno's wgpu)`, reason };
}

function nameOf({ info }: GPUAdapter): string {
  return info.description || info.device || info.vendor || "GPU";
}

function isSoftware(adapter: GPUAdapter): boolean {
  return adapter.info.isFallbackAdapter || softwareName.test(nameOf(adapter));
}
