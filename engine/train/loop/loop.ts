/**
 * The training loop. The next batch is prepared on the CPU while the GPU computes, and the metrics of a step are read
 * after the next one is submitted, so that neither waits for the other.
 */
import { platform } from "#platform";
import { detectAnomaly, evaluate } from "../../compile/mod.ts";
import { check, show, VoxgradError } from "../../core/errors.ts";
import { Tensor } from "../../core/tensor.ts";
import * as tree from "../../core/tree.ts";
import { DeviceLostError } from "../../gpu/mod.ts";
import { tensor } from "../../ops/mod.ts";
import { Pace, type StepRecord } from "../run/logging.ts";
import { PseudoDice } from "./pseudo_dice.ts";

export interface LoopOptions<B> {
  /** Number of the last step; steps count from 1. */
  readonly steps: number;
  /** Steps done by an earlier run; default: 0. */
  readonly done?: number;
  /** Seconds that they took. */
  readonly seconds?: number;
  /** Names of the foreground classes. */
  readonly classes: readonly string[];
  /** Counts of the steps done before; default: none. */
  readonly dice?: PseudoDice;
  /** Learning rate of a step. */
  readonly rate: (step: number) => number;
  /** The batch of a step. It depends only on the step's number, so that a resumed run draws the same batches. */
  readonly batch: (step: number) => B | Promise<B>;
  /** Submits one step to the GPU and returns its `stepMetrics`, unread; after them, not in every step, the extras. */
  readonly step: (batch: B, rate: number, step: number) => Promise<Tensor>;
  /** Names of further values behind the metrics of a step, by the title of their curves; see StepRecord. */
  readonly extras?: Readonly<Record<string, readonly string[]>>;
  /** Called with each step's record, in order. */
  readonly record?: (record: StepRecord) => void | Promise<void>;
  /** Called after the selected steps, once all their records are in: at the end of an epoch. */
  readonly pause?: { after(step: number): boolean; call(step: number): Promise<void> };
  /**
   * The state, copied to the host periodically: after a lost device the loop continues from the last copy on a new
   * device.
   */
  readonly state?: {
    /** Steps from one copy to the next. */
    readonly every: number;
    /** Everything that `step` changes. */
    read(): unknown;
    write(state: never): void;
    /** Whether to copy before `every` steps have passed; checked after each step. */
    due?(step: number): boolean;
    /** Called for each copy except the initial one; `restore` rebuilds the state, with tensors on the host. */
    copied?(step: number, restore: () => unknown): Promise<void>;
  };
}

/** Consecutive device losses, without a step in between, after which the loop gives up. */
const MOST_LOSSES = 3;

/** A loss that is NaN or infinite. */
class NotFinite extends Error {
  readonly step: number;
  readonly loss: number;

  constructor(step: number, loss: number) {
    super(`the loss is ${loss}`);
    this.step = step;
    this.loss = loss;
  }
}

/** Copies a tree's tensors to the host, where they outlive the device; returns a function that rebuilds the tree. */
async function copyToHost(state: unknown): Promise<() => unknown> {
  const tensors = tree.leaves(state).filter((leaf): leaf is Tensor => leaf instanceof Tensor);
  await evaluate(tensors);
  const copies = new Map<Tensor, () => Tensor>();
  for (const t of tensors) {
    const data = await t.data();
    copies.set(t, () => tensor(data, { shape: t.shape, dtype: t.dtype }));
  }
  return () => tree.map(state, (leaf) => (leaf instanceof Tensor && copies.get(leaf)?.()) || leaf);
}

/**
 * Runs the steps, shows progress, and returns the records. With `state`, the steps since the last copy are repeated on
 * a new device after a device loss, with the same results; and if the loss becomes non-finite, they are repeated to
 * find the operator at fault.
 *
 * @throws VoxgradError if the loss is not finite; DeviceLostError without `state`, or after repeated losses
 * @example
 * ```ts
 * import type { Tensor } from "voxgrad";
 * import { trainLoop } from "voxgrad/train";
 *
 * declare const sample: (step: number) => Tensor;
 * declare const update: (params: Tensor, batch: Tensor, rate: number) => Promise<[params: Tensor, metrics: Tensor]>;
 * declare let params: Tensor;
 * const records = await trainLoop<Tensor>({
 *   steps: 100,
 *   classes: ["organ"],
 *   rate: () => 1e-3,
 *   batch: sample, // of "data", say
 *   step: async (batch, rate) => {
 *     const [next, metrics] = await update(params, batch, rate);
 *     params = next;
 *     return metrics;
 *   },
 * });
 * ```
 */
export async function trainLoop<B>(options: LoopOptions<B>): Promise<StepRecord[]> {
  const { steps, done = 0, seconds: before = 0, classes, rate, extras = {}, record, pause, state } = options;
  check(
    state === undefined || (Number.isInteger(state.every) && state.every > 0),
    "trainLoop",
    () => `state.every is a number of steps above 0, got ${show(state!.every)}`,
  );
  const started = performance.now() - 1000 * before;
  const pace = new Pace(steps);
  const dice = options.dice ?? new PseudoDice(classes.length);
  const records: StepRecord[] = [];

  const finish = async (step: number, metrics: Tensor): Promise<void> => {
    // Already done before the device loss.
    if (step <= done + records.length) return metrics.dispose();
    const [loss, ...counts] = await metrics.data();
    metrics.dispose();
    if (!Number.isFinite(loss)) throw new NotFinite(step, loss);
    const seconds = Math.round(performance.now() - started) / 1000;
    const extra = namedExtras(extras, counts.slice(2 * classes.length));
    const entry = { step, loss, rate: rate(step), dice: dice.add(counts), seconds, ...(extra && { extra }) };
    records.push(entry);
    showStep(entry, { steps, classes, pace: pace.mark(step, "step") });
    await record?.(entry);
  };

  let copy = state && { step: done, restore: await copyToHost(state.read()) };
  let losses = 0;
  let paused = done;
  let step = done;
  while (step < steps) {
    try {
      let batch = await options.batch(step + 1);
      let before: { step: number; metrics: Tensor } | undefined;
      const settle = async (): Promise<void> => {
        if (before) await finish(before.step, before.metrics);
        before = undefined;
      };
      while (step < steps) {
        const metrics = await options.step(batch, rate(step + 1), step + 1);
        step++;
        if (step < steps) batch = await options.batch(step + 1);
        await settle();
        before = { step, metrics };
        if (pause?.after(step) && step > paused) {
          await settle();
          await pause.call(step);
          paused = step;
        }
        if (state && (step % state.every === 0 || step === steps || state.due?.(step))) {
          // Steps before a copy are never repeated, so their metrics must be in.
          await settle();
          copy = { step, restore: await copyToHost(state.read()) };
          losses = 0;
          await state.copied?.(step, copy.restore);
        }
      }
      await settle();
    } catch (error) {
      if (error instanceof NotFinite) throw await diagnose(error, options, copy);
      if (!(error instanceof DeviceLostError && state && copy) || ++losses > MOST_LOSSES) throw error;
      platform.log(`${error.message}\nResuming after step ${copy.step}`);
      step = copy.step;
      state.write(copy.restore() as never);
    }
  }
  return records;
}

/** Values behind the metrics of a step by title and name; undefined where there are none. */
function namedExtras(
  names: Readonly<Record<string, readonly string[]>>,
  values: readonly number[],
): StepRecord["extra"] {
  if (values.length === 0) return undefined;
  const wanted = Object.values(names).flat().length;
  check(
    values.length === wanted,
    "trainLoop",
    () => `a step gives 1 + 2 classes metrics, or ${wanted} extras more, got ${values.length} more`,
  );
  let at = 0;
  return Object.fromEntries(
    Object.entries(names).map((
      [title, list],
    ) => [title, Object.fromEntries(list.map((name) => [name, values[at++]]))]),
  );
}

/**
 * The error for a loss that is not finite. With a copy of the state, the steps since then are repeated, the last two
 * under detectAnomaly: the fault lies in the step itself, or in the update before it.
 */
async function diagnose<B>(
  { step, loss }: NotFinite,
  options: LoopOptions<B>,
  copy: { step: number; restore: () => unknown } | undefined,
): Promise<VoxgradError> {
  const { rate, batch, state } = options;
  const at = `step ${step} (rate ${rate(step).toPrecision(3)})`;
  const advice = "use a smaller --rate, or look for broken values in the images";
  const message = `trainLoop: the loss is ${loss} at ${at}`;
  if (!(state && copy)) return new VoxgradError(`${message}; ${advice}`);
  platform.log(`The loss is ${loss} at ${at}; looking for the operator where that began`);
  let place = "doing the steps again gave no value that is not finite";
  try {
    state.write(copy.restore() as never);
    for (let k = copy.step + 1; k <= step; k++) {
      const again = async (): Promise<Tensor> => options.step(await batch(k), rate(k), k);
      if (k < step - 1) (await again()).dispose();
      // An overflow is not NaN yet.
      else (await detectAnomaly(again, { infinities: !Number.isNaN(loss) })).dispose();
    }
  } catch (error) {
    place = `first not finite: ${(error as Error).message}`;
  }
  return new VoxgradError(`${message}; ${place}; ${advice}`);
}

function showStep(entry: StepRecord, context: { steps: number; classes: readonly string[]; pace: string }): void {
  const { step, loss, dice } = entry;
  const { steps, classes, pace } = context;
  const known = dice.filter((value) => !Number.isNaN(value));
  const mean = known.length > 0 ? known.reduce((a, b) => a + b, 0) / known.length : NaN;
  const each = dice.map((value) => (Number.isNaN(value) ? "-" : value.toFixed(2))).join(" ");
  const text = `step ${step}/${steps}  loss ${loss.toFixed(3)}  pseudo-Dice ${each}  ${pace}`.trimEnd();
  const series: Record<string, number> = { loss };
  if (!Number.isNaN(mean)) series["pseudo-Dice"] = mean;
  for (const [c, name] of classes.entries()) {
    if (classes.length > 1 && !Number.isNaN(dice[c])) series[`pseudo-Dice ${name}`] = dice[c];
  }
  platform.progress({ done: step, total: steps, text, series });
}
