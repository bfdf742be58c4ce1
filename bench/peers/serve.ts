// deno-lint-ignore-file no-explicit-any
/**
 * One engine in its own process: reads requests as lines of JSON and answers each with a line after `MARK`, so that
 * other output of the engine is ignored.
 */
import { readFile, writeFile } from "node:fs/promises";
import { createInterface } from "node:readline";
import { MARK } from "./asked.ts";
import { countedFrom } from "./counters.ts";
import type { Engine, Facts, Item, Ready } from "./item.ts";
import { repeated, sampled } from "./inputs.ts";
import { faults } from "../gpu/peer_gpu.ts";

/** Most times per request, and most calls averaged for one of them if they are short. */
const MOST = 30;

async function read(folder: string, wanted: Item): Promise<(Float32Array | Int32Array)[]> {
  return Promise.all(
    wanted.inputs.map(async ({ shape, dtype = "f32" }, k) => {
      const { buffer, byteOffset, byteLength } = await readFile(`${folder}/in${k}.bin`);
      const copy = buffer.slice(byteOffset, byteOffset + byteLength) as ArrayBuffer;
      const values = dtype === "f32" ? new Float32Array(copy) : new Int32Array(copy);
      return repeated(values, shape.reduce((a, b) => a * b, 1));
    }),
  );
}

/** Answers until the input ends. */
export async function serve(engine: Engine, items: readonly Item[]): Promise<void> {
  let item: Item;
  let ready: Ready | null = null;
  /** Milliseconds of the latest call. */
  let latest = Infinity;
  /** Shortest JavaScript of a call since the latest preparation. */
  let script = Infinity;

  const drop = (): void => {
    const old = ready;
    ready = null;
    old?.drop();
  };

  /** Uploads inputs, compiles by a first call, and writes its outputs. */
  async function prepare(id: string, name: string, folder: string): Promise<{ first: number; outputs: number }> {
    drop();
    item = items.find((each) => each.name === name)!;
    faults.length = 0;
    latest = script = Infinity;
    ready = await engine.prepare(item, await read(folder, item));
    const { milliseconds: first } = await ready.call();
    const outputs = await ready.outputs();
    const [fault] = faults.splice(0);
    if (fault) throw new Error(`WebGPU reports: ${fault}`);
    for (const [k, values] of outputs.entries()) await writeFile(`${folder}/${id}${k}.bin`, sampled(values));
    return { first, outputs: outputs.length };
  }

  async function measure(count: number): Promise<number> {
    if (item.measure === "build") {
      if (!ready!.build) throw new Error("runs operators as they are called, so there is no graph to build");
      return ready!.build();
    }
    const call = await ready!.call(count);
    latest = call.milliseconds;
    script = Math.min(script, call.script);
    return item.measure === "script" ? call.script : latest;
  }

  /** Calls until the budget is spent, at least one; `counted` describes one of the last. */
  async function run(budget: number, queued = 0): Promise<{ times: number[]; counted: Facts }> {
    const times: number[] = [];
    const start = performance.now();
    for (;;) {
      const count = Math.max(1, Math.min(MOST, Math.round(queued / latest)));
      const { result, counted } = await countedFrom(() => measure(count), count);
      times.push(result);
      if (performance.now() - start < budget && times.length < MOST) continue;
      return { times, counted: Number.isFinite(script) ? { ...counted, script } : counted };
    }
  }

  async function answer(request: any): Promise<object> {
    switch (request.op) {
      case "open":
        return engine.open(request.adapter);
      case "prepare":
        return prepare(request.id, request.item, request.folder);
      case "run":
        return run(request.budget, request.queued);
      case "facts":
        return ((await ready!.facts?.()) ?? {}) satisfies Facts;
      case "slowest":
        return { works: await ready!.slowest!(request.most) };
      case "tune":
        return ready!.tune!(request.work);
      default:
        drop();
        return {};
    }
  }

  for await (const line of createInterface({ input: process.stdin })) {
    let reply: object;
    try {
      reply = await answer(JSON.parse(line));
    } catch (error) {
      reply = { error: ((error as Error).message ?? String(error)).split("\n")[0] };
    }
    process.stdout.write(`${MARK}${JSON.stringify(reply)}\n`);
  }
}
