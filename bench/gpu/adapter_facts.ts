/** What Dawn reports about the adapter, in a process of its own, asked as child.ts is: { op: "facts" | "roofs" }. */
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { createInterface } from "node:readline";
import { measureRoofs } from "../../engine/mod.ts";
import { openAdapter } from "../../engine/platform/adapters/node_gpu.ts";
import { MARK } from "../peers/asked.ts";
import type { AdapterFacts } from "./gpu_run.ts";

const require = createRequire(import.meta.url);
const home = dirname(require.resolve("webgpu"));

/** The flags of each call of Dawn's create, recorded before the package webgpu binds it. */
const flags: string[][] = [];
const dawn = require(join(home, "dist", `${process.platform}-${process.arch}`, "dawn.node"));
const { create } = dawn;
dawn.create = (given: string[]): GPU => {
  flags.push(given);
  return create(given);
};

/** The fields of a WebGPU object, which are getters of its prototype. */
function fields(object: object): Record<string, unknown> {
  const all: Record<string, unknown> = {};
  for (const key in object) all[key] = object[key as keyof typeof object];
  return all;
}
const pick = <T>(all: Record<string, unknown>, ...types: string[]): Record<string, T> =>
  Object.fromEntries(Object.entries(all).filter(([, value]) => types.includes(typeof value))) as Record<string, T>;

async function facts(): Promise<AdapterFacts> {
  const { adapter, driver, kind } = await openAdapter();
  const info = fields(adapter.info);
  return {
    device: driver,
    kind,
    adapter: pick<string | number>(info, "string", "number"),
    features: [...adapter.features].sort(),
    subgroupMatrixConfigs: [...((info.subgroupMatrixConfigs ?? []) as Iterable<object>)].map(fields),
    limits: pick<number>(fields(adapter.limits), "number"),
    toggles: flags.at(-1) ?? [],
    webgpu: JSON.parse(readFileSync(join(home, "package.json"), "utf8")).version,
  };
}

for await (const line of createInterface({ input: process.stdin })) {
  let reply: object;
  try {
    reply = JSON.parse(line).op === "roofs" ? await measureRoofs() : await facts();
  } catch (error) {
    reply = { error: (error as Error).message };
  }
  process.stdout.write(`${MARK}${JSON.stringify(reply)}\n`);
}
process.exit(0);
