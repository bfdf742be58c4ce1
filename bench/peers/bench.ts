// deno-lint-ignore-file no-explicit-any
/** Runs items on all engines in turn. */
import { mkdtemp, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { Asked, type Command, EngineError, type EngineId } from "./asked.ts";
import { distances, makeInput } from "./inputs.ts";
import type { TunedKernel } from "../../engine/mod.ts";
import type { Cannot, Facts, Item, Work } from "./item.ts";

/** Tolerance of results, relative to the largest value. */
export const TOLERANCE = 1e-3;
/** Rounds of a peer that takes more than ten times as long as we do, and more than a second. */
const SLOW_ROUNDS = 3;
const isSlow = ({ times }: Result, { times: ours }: Result): boolean =>
  times.length > 0 && ours.length > 0 && median(times) > Math.max(1000, 10 * median(ours));

/** Calls in a row that are made however little time is left. */
const SOME = 3;

/** Total milliseconds of first calls in new processes after which no more are made. */
const PATIENT = 60_000;

/** The result of an engine for an item. */
export interface Result {
  /** Times of all calls in milliseconds. */
  readonly times: number[];
  /** Difference of its outputs from ours, if both have some. */
  distance?: number;
  /** Why there are no times. */
  cannot?: string;
}

export interface Row {
  readonly name: string;
  readonly goal: Readonly<Record<string, number>>;
  readonly results: Partial<Record<EngineId, Result>>;
  readonly facts: Partial<Record<EngineId, Facts>>;
}

export interface BenchOptions {
  readonly folder: string;
  readonly rounds: number;
  readonly adapter: string;
  readonly profile: boolean;
  /** The engines, and the command that starts each. */
  readonly commands: Partial<Record<EngineId, Command>>;
  /** Milliseconds of an engine's turn in a round; short calls are repeated. Default 40. */
  readonly turn?: number;
  /**
   * Milliseconds of calls to queue before waiting, to hide the latency to the device. Default 0: waits for each call.
   */
  readonly queued?: number;
  /** Timeout of an answer in milliseconds. Default ten minutes. */
  readonly patience?: () => number;
  /** Tolerance of results; default TOLERANCE. */
  readonly tolerance?: Partial<Record<EngineId, number>>;
  /**
   * Outputs are compared relative to their own largest value, but at least to this fraction of the largest of all.
   * Default 0.
   */
  readonly floor?: number;
  /** Where wrong results and crashes are listed. */
  readonly problems?: string[];
}

export const names: Record<EngineId, string> = {
  ours: "voxgrad",
  mixed: "voxgrad mixed",
  jax: "jax-js",
  tfjs: "tfjs",
  torch: "PyTorch",
  tf32: "PyTorch TF32",
  amp: "PyTorch AMP",
  last: "PyTorch AMP, channels last",
};

/** Why an engine cannot run an item, if known beforehand. */
function cannotOf(id: EngineId, item: Item): string | undefined {
  if (id === "ours" || id === "mixed") return undefined;
  return (item[isTorch(id) ? "torch" : (id as "jax" | "tfjs")] as Cannot).cannot;
}

const isTorch = (id: EngineId): boolean => ["torch", "tf32", "amp", "last"].includes(id);

export class Bench {
  readonly #options: BenchOptions;
  readonly #children = new Map<EngineId, Asked>();
  /** Engines that hold an item. */
  readonly #prepared = new Set<EngineId>();
  /** Content of the input files. */
  readonly #made: string[] = [];
  /** Version and device of each engine. */
  readonly engines: Partial<Record<EngineId, { version: string; device: string }>> = {};
  /** Wrong results and crashes. */
  readonly problems: string[];

  constructor(options: BenchOptions) {
    this.#options = options;
    this.problems = options.problems ?? [];
  }

  async open(): Promise<void> {
    for (const id of Object.keys(this.#options.commands) as EngineId[]) {
      if (!(await this.#restart(id)) && id === "ours") throw new Error(this.problems.at(-1));
    }
  }

  /** Whether the engine has a new process now. */
  async #restart(id: EngineId): Promise<boolean> {
    try {
      this.#children.set(id, await this.#start(id));
      return true;
    } catch (error) {
      this.#children.delete(id);
      this.problems.push(`${names[id]} does not start: ${(error as Error).message}`);
      return false;
    }
  }

  async #start(id: EngineId, environment: Record<string, string> = {}): Promise<Asked> {
    const child = new Asked(id, this.#options.commands[id]!, environment);
    const software = /llvmpipe|lavapipe|swiftshader/i.test(this.engines.ours?.device ?? "");
    const request = { op: "open", adapter: this.#options.adapter, gpu: !software };
    const opened = await child.ask(request, this.#options.patience?.());
    this.engines[id] ??= opened;
    return child;
  }

  async #ask(id: EngineId, request: object): Promise<any> {
    const child = this.#children.get(id);
    if (!child) throw new EngineError("it does not start again", false);
    return child.ask(request, this.#options.patience?.());
  }

  async close(): Promise<void> {
    await Promise.all([...this.#children.values()].map((child) => child.close()));
  }

  async measure(item: Item): Promise<Row> {
    const row = await this.#begin(item);
    const ids = [...this.#children.keys()];
    const outputs = new Map<EngineId, Float32Array[]>();
    // What takes much memory is measured one engine at a time, the rest in turn.
    for (const group of item.alone ? ids.map((id) => [id]) : [ids]) {
      const ready: EngineId[] = [];
      for (const id of group) if (await this.#ready(id, item, row, outputs)) ready.push(id);
      await this.#rounds(item, row, ready);
      await this.#finish(item, row, ready);
    }
    this.#compare(item, row, outputs);
    this.#print(row);
    return row;
  }

  /** Calls of an item in a row on one engine, until the time is over or there are enough, but at least some. */
  async sustain(item: Item, id: EngineId, milliseconds: number, most: number): Promise<Result & { facts: Facts }> {
    const start = performance.now();
    const left = (): number => milliseconds - (performance.now() - start);
    const row = await this.#begin(item);
    if (!(await this.#ready(id, item, row, new Map()))) return { ...row.results[id]!, facts: {} };
    const result = row.results[id]!;
    await this.#try(id, item, result, async () => {
      while (result.times.length < most && (left() > 0 || result.times.length < SOME)) {
        const { times } = await this.#ask(id, { op: "run", budget: Math.max(0, left()), queued: 0 });
        result.times.push(...times.slice(0, most - result.times.length));
      }
    });
    await this.#finish(item, row, result.cannot ? [] : [id]);
    return { ...result, facts: row.facts[id] ?? {} };
  }

  /**
   * Tunes the works of an item that take most time, one after another, while time is left; `found` is told each result.
   * Gives the median of a few calls before and after.
   */
  async tune(
    item: Item,
    id: EngineId,
    most: number,
    left: () => number,
    found: (result: Work & { kernel?: TunedKernel; cannot?: string }) => Promise<void>,
  ): Promise<{ before?: number; after?: number; cannot?: string }> {
    const row = await this.#begin(item);
    if (!(await this.#ready(id, item, row, new Map()))) return { cannot: row.results[id]!.cannot! };
    const result = row.results[id]!;
    const middle = async (): Promise<number> => {
      // The first call after a choice compiles.
      await this.#ask(id, { op: "run", budget: 0 });
      return median((await this.#ask(id, { op: "run", budget: 1000 })).times);
    };
    let [before, after]: (number | undefined)[] = [];
    await this.#try(id, item, result, async () => {
      before = await middle();
      for (const work of (await this.#ask(id, { op: "slowest", most })).works as Work[]) {
        const one: Result = { times: [] };
        let kernel: TunedKernel | undefined;
        if (left() <= 0) one.cannot = "the time was over";
        else {await this.#try(
            id,
            item,
            one,
            async () => (kernel = await this.#ask(id, { op: "tune", work: work.work })),
          );}
        await found({ ...work, ...(kernel ? { kernel } : {}), ...(one.cannot ? { cannot: one.cannot } : {}) });
        // A variant may have cost the process, and with it what was prepared.
        if (one.cannot && !this.#prepared.has(id) && !(await this.#ready(id, item, row, new Map()))) return;
      }
      after = await middle();
    });
    await this.#finish(item, row, this.#prepared.has(id) ? [id] : []);
    return {
      ...(before !== undefined ? { before } : {}),
      ...(after !== undefined ? { after } : {}),
      ...(result.cannot ? { cannot: result.cannot } : {}),
    };
  }

  /** Writes the inputs of an item and starts engines that could not be started before; gives its empty row. */
  async #begin(item: Item): Promise<Row> {
    for (const [k, input] of item.inputs.entries()) {
      // The items of a convolution share inputs, which may be large.
      const made = JSON.stringify(input);
      if (this.#made[k] === made) continue;
      await writeFile(join(this.#options.folder, `in${k}.bin`), makeInput(input, k + 1));
      this.#made[k] = made;
    }
    for (const id of Object.keys(this.engines) as EngineId[]) {
      if (!this.#children.get(id)?.alive) await this.#restart(id);
    }
    return { name: item.name, goal: item.goal ?? {}, results: {}, facts: {} };
  }

  /** Whether an engine has prepared an item, so that rounds may begin. */
  async #ready(id: EngineId, item: Item, row: Row, outputs: Map<EngineId, Float32Array[]>): Promise<boolean> {
    const result: Result = { times: [] };
    row.results[id] = result;
    const cannot = cannotOf(id, item);
    if (cannot) result.cannot = cannot;
    else if (item.measure === "cold" || item.measure === "warm") await this.#fresh(id, item, result);
    else if (await this.#try(id, item, result, () => this.#prepare(id, item, row, outputs))) return true;
    else await this.#drop(id);
    return false;
  }

  async #rounds(item: Item, row: Row, ready: readonly EngineId[]): Promise<void> {
    for (let round = 0; round < this.#options.rounds; round++) {
      // Rotate the order of engines in each round.
      for (let k = 0; k < ready.length; k++) {
        const id = ready[(round + k) % ready.length];
        const result = row.results[id]!;
        const ours = row.results.ours;
        if (result.cannot || (round >= SLOW_ROUNDS && ours && isSlow(result, ours))) continue;
        await this.#try(id, item, result, async () => {
          const { turn: budget = 40, queued = 0 } = this.#options;
          const { times, counted } = await this.#ask(id, { op: "run", budget, queued });
          result.times.push(...times);
          row.facts[id] = { ...row.facts[id], ...counted };
        });
      }
    }
  }

  /** Takes the facts of a call, and lets engines go of the item. */
  async #finish(item: Item, row: Row, ready: readonly EngineId[]): Promise<void> {
    for (const id of ready) {
      const result = row.results[id]!;
      if (!result.cannot) {
        await this.#try(id, item, result, async () => {
          const facts = await this.#ask(id, { op: "facts" });
          row.facts[id] = { ...row.facts[id], ...facts };
        });
      }
      await this.#drop(id);
    }
  }

  async #drop(id: EngineId): Promise<void> {
    this.#prepared.delete(id);
    // An engine that died holds nothing.
    await this.#ask(id, { op: "drop" }).catch(() => undefined);
  }

  async #prepare(id: EngineId, item: Item, row: Row, outputs: Map<EngineId, Float32Array[]>): Promise<void> {
    const { folder } = this.#options;
    const made = await this.#ask(id, prepareRequest(id, item, folder));
    row.facts[id] = { first: made.first };
    this.#prepared.add(id);
    const list: Float32Array[] = [];
    for (let k = 0; k < made.outputs; k++) {
      const bytes = await readFile(join(folder, `${id}${k}.bin`));
      list.push(
        new Float32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength) as ArrayBuffer),
      );
    }
    outputs.set(id, list);
    // Warm up: a second call finds memory and caches as all later ones do.
    await this.#ask(id, { op: "run", budget: 0 }).catch(() => undefined);
  }

  /**
   * First calls in new processes, each with its own empty folder for the driver's cache or all with one filled before:
   * three of them, fewer if they take long.
   */
  async #fresh(id: EngineId, item: Item, result: Result): Promise<void> {
    const { folder, rounds } = this.#options;
    const empty = (): Promise<string> => mkdtemp(join(folder, "cache-"));
    const shared = await empty();
    const warm = item.measure === "warm";
    const spent = (): number => result.times.reduce((a, b) => a + b, 0);
    for (let round = warm ? -1 : 0; round < Math.min(rounds, 3) && spent() < PATIENT; round++) {
      const cache = warm ? shared : await empty();
      await this.#try(id, item, result, async () => {
        const child = await this.#start(id, { MESA_SHADER_CACHE_DIR: cache });
        try {
          const { first } = await child.ask(prepareRequest(id, item, folder));
          if (round >= 0) result.times.push(first);
        } finally {
          await child.close();
        }
      });
    }
  }

  /** Whether f succeeded; if not, stores the reason in the result, and restarts an engine that has died. */
  async #try(id: EngineId, item: Item, result: Result, f: () => Promise<void>): Promise<boolean> {
    try {
      await f();
      return true;
    } catch (error) {
      if (!(error instanceof EngineError)) throw error;
      result.cannot = error.message;
      const gone = error.fatal || /device was lost/i.test(error.message);
      if (!gone) return false;
      this.problems.push(`${names[id]} at "${item.name}": ${error.message}`);
      this.#prepared.delete(id);
      await this.#children.get(id)?.close();
      await this.#restart(id);
      return false;
    }
  }

  #compare(item: Item, row: Row, outputs: ReadonlyMap<EngineId, Float32Array[]>): void {
    const ours = outputs.get("ours");
    if (!ours) return;
    for (const [id, theirs] of outputs) {
      if (id === "ours") continue;
      const all = distances(ours, theirs, this.#options.floor);
      const d = Math.max(...all);
      row.results[id]!.distance = d;
      if (!(d <= (this.#options.tolerance?.[id] ?? TOLERANCE))) {
        this.problems.push(
          `${names[id]} at "${item.name}": its numbers differ from ours by ${
            d.toPrecision(2)
          } of the largest, in output ${all.indexOf(d)} of ${all.length}`,
        );
      }
    }
  }

  #print(row: Row): void {
    for (const [id, { times, cannot, distance: d }] of Object.entries(row.results)) {
      const off = d === undefined ? "" : `, numbers within ${d.toExponential(1)}`;
      const text = times.length > 0 ? `${median(times).toFixed(2)} ms${off}` : `- (${cannot})`;
      console.log(`  ${names[id as EngineId].padEnd(13)} ${text}`);
    }
    const { profile } = row.facts.ours ?? {};
    if (profile && this.#options.profile) console.log(profile.replace(/^/gm, "    "));
  }
}

/** PyTorch receives the items, the others import them. */
const prepareRequest = (id: EngineId, item: Item, folder: string): object => ({
  op: "prepare",
  id,
  item: item.name,
  folder,
  row: isTorch(id) ? item : undefined,
});

export function median(times: readonly number[]): number {
  const sorted = [...times].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}
