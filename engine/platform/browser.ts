import { NO_FLAGS, splitFlags } from "./engine_flags.ts";
import { guest } from "./host.ts";
import { SCRIPT_MARK } from "./script_mark.ts";
import type { AdapterChoice, AdapterOptions, EngineFlags, Platform } from "./types.ts";
import { PlatformError } from "./types.ts";

const ends: (() => Promise<void>)[] = [];
let commandLine: { readonly args: readonly string[]; readonly flags: EngineFlags } = { args: [], flags: NO_FLAGS };

/** A web page or one of its workers: the browser's WebGPU, files in memory. */
export const platform: Platform = {
  ...guest,
  name: "browser",
  readCommandLine: () => commandLine.args,
  get flags() {
    return commandLine.flags;
  },

  isMain: (url: string): boolean => url.endsWith(SCRIPT_MARK),

  atEnd(f: () => Promise<void>): void {
    ends.push(f);
  },

  async openAdapter(options: AdapterOptions = {}): Promise<AdapterChoice> {
    const { gpu } = navigator as { gpu?: GPU };
    if (!gpu) throw new PlatformError("no-adapter", noWebGpu());
    const request = (more: GPURequestAdapterOptions): Promise<GPUAdapter | null> =>
      gpu.requestAdapter({
        powerPreference: options.power ?? "high-performance",
        forceFallbackAdapter: options.software ?? false,
        ...more,
      });
    // Some GPUs are offered in compatibility mode alone: those without Vulkan, Direct3D 12 or Metal.
    const core = options.limits === "compatibility" ? null : await request({});
    const adapter = core ?? await request({ featureLevel: "compatibility" });
    if (!adapter) throw new PlatformError("no-adapter", noAdapter());
    const { vendor, architecture, device, description } = adapter.info;
    const driver = [description || device || vendor, architecture].filter((part) => part !== "").join(", ") || "GPU";
    const software = adapter.info.isFallbackAdapter || /swiftshader|llvmpipe|basic render/i.test(vendor + driver);
    return { adapter, kind: software ? "software" : "hardware", driver, reason: "the browser chose it" };
  },

  closeGpu(): void {},

  // Closing the page ends its work.
  onInterrupt: (): () => void => () => undefined,

  readCache: async (name: string): Promise<string | undefined> =>
    (await caches.open("voxgrad").then((cache) => cache.match(`/voxgrad/${name}`)).catch(() => undefined))?.text(),

  writeCache: async (name: string, text: string): Promise<void> =>
    (await caches.open("voxgrad")).put(`/voxgrad/${name}`, new Response(text)),

  totalMemory: (): undefined => undefined,

  memory(): number | undefined {
    return (performance as { memory?: { usedJSHeapSize: number } }).memory?.usedJSHeapSize;
  },
};

/** Which browser it is, for advice only. */
function browserName(): "Firefox" | "Safari" | "Chromium" {
  const { userAgent } = navigator;
  if (/firefox/i.test(userAgent)) return "Firefox";
  return /safari/i.test(userAgent) && !/chrom|android/i.test(userAgent) ? "Safari" : "Chromium";
}

function noWebGpu(): string {
  if (!isSecureContext) return "This page was opened over http, without WebGPU: open it from localhost or over https";
  const fix = {
    Firefox: "set dom.webgpu.enabled to true in about:config, or use Chrome or Edge",
    Safari: "Safari has it from 26 on; or use Chrome or Edge",
    Chromium: "Chrome and Edge have it from 113 on; in Linux chrome://flags/#enable-unsafe-webgpu may turn it on",
  };
  return `This browser has no WebGPU: ${fix[browserName()]}`;
}

function noAdapter(): string {
  const fix = {
    Firefox: "about:support says why; in Linux gfx.webgpu.ignore-blocklist in about:config may help",
    Safari: "restart it, or use Chrome or Edge",
    Chromium: "its page chrome://gpu says why",
  };
  return `This browser has WebGPU, but no GPU for it: ${fix[browserName()]}`;
}

/** Gives a script its command line, and the engine its flags. */
export function setCommandLine(words: readonly string[]): void {
  commandLine = splitFlags(words);
}

/** Runs the callbacks registered for the end of the script. */
export async function endScript(): Promise<void> {
  for (let f = ends.shift(); f; f = ends.shift()) await f();
}
