import { basename } from "node:path";
import process from "node:process";
import { tmpdir } from "node:os";
import { swiftShader } from "./swiftshader.ts";
import type { AdapterChoice, AdapterOptions } from "../types.ts";
import { PlatformError } from "../types.ts";
import { driverFiles, softwareName, useDrivers } from "./vulkan_drivers.ts";

/** What kept a driver from being offered, for the error that there is no adapter. */
const problems: string[] = [];
let asked = false;

/**
 * The best adapter of Deno's own WebGPU (wgpu): a GPU; else a system driver that computes on the CPU (lavapipe); else
 * SwiftShader out of npm. `options.adapter`, or the environment variable VOXGRAD_ADAPTER, narrows the choice.
 */
export async function openAdapter(options: AdapterOptions = {}): Promise<AdapterChoice> {
  const wanted = (options.adapter ?? process.env.VOXGRAD_ADAPTER ?? "").toLowerCase();
  const { gpu } = navigator as { gpu?: GPU };
  if (!gpu) {
    throw new PlatformError(
      "no-adapter",
      'Deno offers no WebGPU: run `deno run -A --unstable-webgpu SCRIPT.ts`, or set "unstable": ["webgpu"] in ' +
        "deno.json",
    );
  }
  // wgpu looks for drivers at the first request alone, so the environment matters only then.
  const first = !asked;
  asked = true;
  const restore = first && process.platform === "linux" ? await offerDrivers(wanted) : () => {};
  const seen = new Set<string>();
  try {
    for (const request of requests(wanted, options)) {
      const adapter = await gpu.requestAdapter(request);
      if (adapter && serves(adapter, wanted, options)) return describe(adapter, wanted, options);
      if (adapter) seen.add(nameOf(adapter));
    }
  } finally {
    restore();
  }
  const named = wanted ? ` for "${wanted}"` : options.software ? " that computes on the CPU" : "";
  const found = seen.size ? [`there is ${[...seen].join(", ")}`] : [];
  const why = [...found, ...problems].join("; ") || "wgpu finds no driver";
  let fix = "install a Vulkan driver (Debian, Ubuntu: `sudo apt install mesa-vulkan-drivers libvulkan1`), " +
    "or on Linux x64 run `npm ci`, which brings SwiftShader";
  if (seen.size) {
    fix = first ? "leave the name out to take it" : "start anew: a process keeps the drivers that it asked first";
  }
  throw new PlatformError("no-adapter", `No WebGPU adapter found in Deno${named}: ${why}. The fix: ${fix}`);
}

/** wgpu does not list its adapters; each of these gives one. */
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
 * Names to the Vulkan loader the drivers that may serve, and loads a loader where the system has none. SwiftShader
 * joins the system's drivers where lavapipe, which is faster, is not among them.
 *
 * @returns what puts the environment back
 */
async function offerDrivers(wanted: string): Promise<() => void> {
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
  // lavapipe asks for a runtime folder that it does not need here, and complains where there is none.
  process.env.XDG_RUNTIME_DIR ??= tmpdir();
  // These two are Vulkan drivers; wgpu might find one through OpenGL first.
  if (onlySwiftShader || wanted === "lavapipe") process.env.DENO_WEBGPU_BACKEND ??= "vulkan";
  return useDrivers(drivers);
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
