import { existsSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { availableParallelism, totalmem } from "node:os";
import { basename } from "node:path";
import { performance } from "node:perf_hooks";
import type { Candidate } from "../adapters/node_gpu.ts";
import { adapterNames, closeGpu, hasLoader, isSoftware, openAdapter, tryAdapter } from "../adapters/node_gpu.ts";
import { listed } from "../adapters/pick_adapter.ts";
import type { AdapterChoice } from "../types.ts";
import { driverFiles } from "../adapters/vulkan_drivers.ts";
import { installCommand } from "../optional_packages.mjs";
import { howToFix, mesaHint } from "./driver_hints.ts";
import { version } from "./version.ts";
import { selfTest } from "./self_test.ts";

const shownLimits = [
  "maxBufferSize",
  "maxStorageBufferBindingSize",
  "maxStorageBuffersPerShaderStage",
  "maxComputeWorkgroupStorageSize",
  "maxComputeInvocationsPerWorkgroup",
  "maxComputeWorkgroupsPerDimension",
] as const;
const shownFeatures = ["shader-f16", "subgroups", "timestamp-query", "chromium-experimental-subgroup-matrix"] as const;

/**
 * Reports which adapter voxgrad uses here and why, what else was tried, and what would be better.
 *
 * @returns 0 if there is an adapter that computes correctly, else 1
 */
export async function doctor(): Promise<number> {
  line("voxgrad", version());
  line("Node", `${process.version}${nodeProblem()}`);
  line("system", `${process.platform} ${process.arch}, ${availableParallelism()} cores, ${bytes(totalmem())} memory`);
  line("packages", (["webgpu", "esbuild", "@sparticuz/chromium"] as const).map(packageVersion).join(", "));

  console.log("\nTried, in this order");
  if (process.platform === "linux") {
    const files = driverFiles();
    line("  drivers", files.length ? files.map((file) => basename(file)).join(", ") : "none installed");
    line("  loader", hasLoader() ? "libvulkan.so.1 of the system" : "none in the system");
    for (const device of ["/dev/nvidiactl", "/dev/dri/renderD128", "/dev/dxg"]) {
      if (existsSync(device)) line("  GPU device", `${device} is there`);
    }
  }
  line("  system", state(await tryAdapter("system", {})));
  const names = await adapterNames().catch(() => []);
  if (names.length > 1) line("  adapters", `${listed(names)} (VOXGRAD_ADAPTER=#1 takes the second)`);
  line("  SwiftShader", state(await tryAdapter("swiftshader", {})));
  if (process.env.VOXGRAD_ADAPTER) line("  asked for", `VOXGRAD_ADAPTER=${process.env.VOXGRAD_ADAPTER}`);

  let good = false;
  try {
    const begin = performance.now();
    const choice = await openAdapter();
    good = await report(choice, performance.now() - begin);
    const hint = choice.kind === "software" ? mesaHint(choice.driver) : undefined;
    if (hint) console.log(`\nBetter: ${hint}`);
  } catch (error) {
    const message = (error as Error).message.replace(/\. `npx voxgrad doctor`.*/, "");
    console.log(`\n${message}\nFix: ${howToFix()}`);
  } finally {
    closeGpu();
  }
  console.log(good ? "\nAll is well" : "\nvoxgrad cannot compute here");
  return good ? 0 : 1;
}

async function report(choice: AdapterChoice, milliseconds: number): Promise<boolean> {
  const { adapter } = choice;
  console.log("\nChosen");
  line("  adapter", `${choice.driver}, ${choice.kind === "software" ? "on the CPU" : "hardware"}`);
  line("  because", choice.reason);
  for (const name of shownLimits) {
    const value = adapter.limits[name];
    console.log(`  ${name.padEnd(38)}${/Size$/.test(name) ? bytes(value) : value}`);
  }
  for (const name of shownFeatures) {
    console.log(`  ${name.padEnd(38)}${(adapter.features as ReadonlySet<string>).has(name) ? "yes" : "no"}`);
  }
  const begin = performance.now();
  const problem = await selfTest(adapter);
  const took = `opened in ${milliseconds.toFixed(0)} ms, first result after ${
    (performance.now() - begin).toFixed(0)
  } ms more`;
  line("  computes", problem ?? `rightly (${took})`);
  return problem === undefined;
}

function state(candidate: Candidate): string {
  const { adapter, problem } = candidate;
  if (!adapter) return `no: ${problem}`;
  return `yes: ${adapter.info.device} (${adapter.info.description})${isSoftware(adapter) ? ", on the CPU" : ""}`;
}

function nodeProblem(): string {
  const [major, minor] = process.versions.node.split(".").map(Number) as [number, number];
  const right = (major > 20 || (major === 20 && minor >= 11)) && major < 25;
  return right ? "" : "  (voxgrad is made for Node 20.11 to 24: install one of those)";
}

function packageVersion(name: Parameters<typeof installCommand>[0]): string {
  const require = createRequire(import.meta.url);
  const folder = require.resolve.paths(name)?.map((path) => `${path}/${name}/package.json`).find(existsSync);
  if (!folder) return `${name} is missing (run ${installCommand(name)})`;
  return `${name} ${(JSON.parse(readFileSync(folder, "utf8")) as { version: string }).version}`;
}

function line(label: string, text: string): void {
  console.log(`${label.padEnd(16)}${text}`);
}

function bytes(count: number): string {
  if (count >= 2 ** 30) return `${Number((count / 2 ** 30).toFixed(1))} GiB`;
  return count >= 2 ** 20 ? `${Number((count / 2 ** 20).toFixed(1))} MiB` : `${count / 1024} KiB`;
}
