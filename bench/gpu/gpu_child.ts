// deno-lint-ignore-file no-explicit-any
/** voxgrad in a process of its own. Run by gpu.ts: gpu_child.ts PRECISION SIZE. */
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { openAdapter } from "../../engine/platform/adapters/node_gpu.ts";
import type { Precision, Roofs } from "../../engine/mod.ts";
import { engineIn, roofsOnce } from "../peers/engine_ours.ts";
import type { Engine } from "../peers/item.ts";
import { gpuItems, type Size } from "../peers/items_gpu.ts";
import { serve } from "../peers/serve.ts";

/** What Dawn reports about the adapter. */
export interface AdapterFacts {
  readonly adapter: Readonly<Record<string, string | number>>;
  readonly features: readonly string[];
  readonly subgroupMatrixConfigs: readonly object[];
  readonly limits: Readonly<Record<string, number>>;
  /** The toggles that Dawn was created with. */
  readonly toggles: readonly string[];
  /** Version of the npm package webgpu. */
  readonly webgpu: string;
  readonly roofs: Roofs | { readonly error: string };
}

const [, , precision, size] = process.argv as [string, string, Precision, Size];
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
const fields = (object: object): [string, unknown][] => {
  const list: [string, unknown][] = [];
  for (const key in object) list.push([key, object[key as keyof typeof object]]);
  return list;
};

async function factsOf(adapterName: string): Promise<AdapterFacts> {
  const { adapter } = await openAdapter(adapterName ? { adapter: adapterName } : {});
  const info = fields(adapter.info);
  const configs = info.find(([key]) => key === "subgroupMatrixConfigs")?.[1] as object[] | undefined;
  return {
    adapter: Object.fromEntries(info.filter(([, value]) => ["string", "number"].includes(typeof value))) as any,
    features: [...adapter.features].sort(),
    subgroupMatrixConfigs: (configs ?? []).map((config) => Object.fromEntries(fields(config))),
    limits: Object.fromEntries(fields(adapter.limits).filter(([, value]) => typeof value === "number")) as any,
    toggles: flags.at(-1) ?? [],
    webgpu: JSON.parse(readFileSync(join(home, "package.json"), "utf8")).version,
    roofs: await roofsOnce().catch((error: Error) => ({ error: error.message })),
  };
}

const base = engineIn(precision);
const engine: Engine = {
  ...base,
  async open(adapter) {
    const opened = await base.open(adapter);
    return precision === "f32" ? { ...opened, ...(await factsOf(adapter)) } : opened;
  },
};

await serve(engine, gpuItems(size));
process.exit(0);
