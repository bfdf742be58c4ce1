/** The stages of gpu.ts. Each writes what it measured at once, and ends when its time is over. */
import { availableParallelism } from "node:os";
import { Asked, EngineError, type EngineId, script } from "../peers/asked.ts";
import type { Bench, Row } from "../peers/bench.ts";
import type { Item } from "../peers/item.ts";
import { networks, operatorItems, type Size } from "../peers/items_gpu.ts";
import { type CheckFile, checkFiles, runChecks } from "./checks.ts";
import { type AdapterFacts, type GpuRun, NNUNET, type Tuning } from "./gpu_run.ts";

export interface StageContext {
  readonly run: GpuRun;
  readonly bench: Bench;
  readonly size: Size;
  /** Lower case parts of the names of tests and items; one of them suffices. */
  readonly words: readonly string[];
  /** Milliseconds left for the stage. */
  readonly left: () => number;
  /** Milliseconds after which a process that does not answer has hung. */
  readonly silence: number;
  /** Writes the report. */
  readonly save: () => Promise<void>;
  readonly log: (line: string) => void;
}

/** In this order, with their parts of the time; what one leaves, the next ones have. */
export const stages = {
  checks: { part: 17, run: checks },
  roofs: { part: 3, run: roofs },
  operators: { part: 32, run: operators },
  networks: { part: 28, run: measureNetworks },
  epochs: { part: 10, run: epochs },
  tuning: { part: 10, run: tuning },
} as const;
export type StageName = keyof typeof stages;

/** The fraction of the time after which a stage ends, among those that are asked for. */
export function endOf(name: StageName, asked: readonly StageName[]): number {
  const all = (Object.keys(stages) as StageName[]).filter((each) => asked.includes(each));
  const sum = (some: readonly StageName[]): number => some.reduce((total, each) => total + stages[each].part, 0);
  return sum(all.slice(0, all.indexOf(name) + 1)) / sum(all);
}

const OVER = "the time was over";

/** What the adapter offers, or an EngineError. */
export async function askAdapter(patience: number): Promise<AdapterFacts> {
  const child = new Asked("ours", script("gpu/adapter_facts"));
  try {
    return await child.ask({ op: "facts" }, patience);
  } finally {
    await child.close();
  }
}

async function checks({ run, words, left, silence, save, log }: StageContext): Promise<void> {
  const shards = Math.max(1, Math.min(4, availableParallelism() >> 1));
  for (const file of Object.keys(checkFiles) as CheckFile[]) {
    const before = run.checks.length;
    await runChecks(file, { words, shards, silence, left, found: (result) => run.checks.push(result) });
    const own = run.checks.slice(before);
    const ended = own.filter(({ unrun }) => !unrun);
    const failed = ended.filter(({ error }) => error !== undefined);
    const rest = ended.length < own.length ? ", the rest not run" : "";
    log(`  ${checkFiles[file]}: ${ended.length - failed.length} of ${ended.length}${rest}`);
    for (const { name, error } of failed) log(`    ${name}: ${error}`);
    await save();
  }
}

async function roofs({ run, left, silence, save }: StageContext): Promise<void> {
  const child = new Asked("ours", script("gpu/adapter_facts"));
  try {
    run.roofs = await child.ask({ op: "roofs" }, Math.max(1000, Math.min(left(), silence)));
  } catch (error) {
    if (!(error instanceof EngineError)) throw error;
    run.roofs = { error: error.message };
  } finally {
    await child.close();
  }
  await save();
}

const chosen = (items: readonly Item[], words: readonly string[]): Item[] =>
  items.filter(({ name }) => words.some((word) => name.toLowerCase().includes(word)));

async function operators(context: StageContext): Promise<void> {
  await measure(context, chosen(operatorItems(context.size), context.words), context.run.operators);
}

async function measureNetworks(context: StageContext): Promise<void> {
  const { colab, nnunet } = networks(context.size);
  const items = [colab.step, colab.hvp, nnunet.step, nnunet.hvp];
  await measure(context, chosen(items, context.words), context.run.networks);
}

async function measure({ bench, left, save, log }: StageContext, items: readonly Item[], rows: Row[]): Promise<void> {
  for (const [k, item] of items.entries()) {
    log(`${k + 1}/${items.length} ${item.name} (${(left() / 1000).toFixed(0)} s left)`);
    rows.push(left() > 0 ? await bench.measure(item) : skipped(item, bench, OVER));
    await save();
  }
}

/** The row of an item that was not measured, with the reason. */
function skipped(item: Item, bench: Bench, cannot: string): Row {
  const results = Object.fromEntries(Object.keys(bench.engines).map((id) => [id, { times: [], cannot }]));
  return { name: item.name, goal: {}, results, facts: {} };
}

/** nnU-Net trains in f16; f32 is ours alone. */
const EPOCHS_OF: readonly EngineId[] = ["mixed", "ours", "amp", "last"];

async function epochs({ run, bench, size, words, left, save, log }: StageContext): Promise<void> {
  const { step, validation } = networks(size).nnunet;
  if (chosen([step, validation], words).length === 0) return;
  const ids = EPOCHS_OF.filter((id) => bench.engines[id]);
  const all = NNUNET.train + NNUNET.validation;
  // On a CPU so many tell nothing more.
  const rounds = size === "small" ? 0.04 : NNUNET.epochs;
  for (const [k, id] of ids.entries()) {
    const share = left() / (ids.length - k);
    const over = { times: [], cannot: OVER, facts: {} };
    const part = async (item: Item, of: number) =>
      share > 0 ? await bench.sustain(item, id, (share * of) / all, of * rounds) : over;
    const train = await part(step, NNUNET.train);
    const result = { id, train, validation: await part(validation, NNUNET.validation) };
    run.epochs.push(result);
    log(`  ${id}: ${train.cannot ?? `${train.times.length} training iterations`}`);
    await save();
  }
}

/** Kernels of nnU-Net's step that are tuned. */
const SLOWEST = 5;

async function tuning({ run, bench, size, words, left, save, log }: StageContext): Promise<void> {
  const { step } = networks(size).nnunet;
  if (chosen([step], words).length === 0) return;
  for (const id of (["mixed", "ours"] as const).filter((each) => bench.engines[each])) {
    const result: Tuning = { item: step.name, id, works: [] };
    run.tunings.push(result);
    if (left() <= 0) result.cannot = OVER;
    else {
      const found = async (work: Tuning["works"][number]): Promise<void> => {
        result.works.push(work);
        log(`  ${id}: ${work.work}: ${work.cannot ?? work.kernel!.variant}`);
        await save();
      };
      Object.assign(result, await bench.tune(step, id, SLOWEST, left, found));
    }
    await save();
  }
}
