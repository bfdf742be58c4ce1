/**
 * The training loop. The next batch is made on the CPU while the GPU computes, and the figures of a step are read when
 * the next one has been handed over, so that neither waits for the other.
 */
import { platform } from "#platform";
import { evaluate } from "../compile/mod.ts";
import { check, show, VoxgradError } from "../core/errors.ts";
import { Tensor } from "../core/tensor.ts";
import * as tree from "../core/tree.ts";
import { DeviceLostError } from "../gpu/mod.ts";
import { tensor } from "../ops/mod.ts";
import { Pace, type StepRecord } from "./logging.ts";
import { PseudoDice } from "./pseudo_dice.ts";

export interface LoopOptions<B> {
  /** Number of the last step; steps count from 1. */
  readonly steps: number;
  /** Number of steps done before, by an earlier run; 0 unless given. */
  readonly done?: number;
  /** Names of the foreground classes. */
  readonly classes: readonly string[];
  /** Learning rate of a step. */
  readonly rate: (step: number) => number;
  /** The batch of a step. It depends on the step's number alone, so that a resumed run draws the same. */
  readonly batch: (step: number) => B;
  /** Hands one step to the GPU and gives, unread, its `stepFigures`. */
  readonly step: (batch: B, rate: number, step: number) => Promise<Tensor>;
  /** Called with each step's record, in order. */
  readonly record?: (record: StepRecord) => void | Promise<void>;
  /** What a lost device must not take along: then the loop goes on from the last copy, on a new device. */
  readonly state?: {
    /** Steps from one copy to the next. */
    readonly every: number;
    /** All that `step` changes. */
    read(): unknown;
    write(state: any): void;
  };
}

/** Losses of the device in a row, without a step in between, after which the loop gives up. */
const MOST_LOSSES = 3;

/** The values of a tree's tensors on the host, where they outlive the device, as a function that gives the tree again. */
async function copyToHost(state: unknown): Promise<() => unknown> {
  const tensors = tree.leaves(state).filter((leaf): leaf is Tensor => leaf instanceof Tensor);
  await evaluate(tensors);
  const copies = new Map<Tensor, () => Tensor>();
  for (const t of tensors) {
    const data = await t.data();
    copies.set(t, () => tensor(data, { shape: t.shape, dtype: t.dtype }));
  }
  return () => tree.map(state, (leaf) => copies.get(leaf)?.() ?? leaf);
}

/**
 * Runs steps until the last, shows progress, and gives the records. With `state`, a lost device costs the steps since the
 * last copy: they are done again on a new device, with the same results.
 *
 * @throws VoxgradError when the loss is not finite; DeviceLostError without `state`, or when it happens again and again
 * @example
 * const records = await trainLoop({
 *   steps: 100, classes: ["organ"], rate: () => 1e-3, batch: (step) => sample(step),
 *   step: async (batch, rate) => {
 *     [params, state, figures] = await compiled(params, state, batch, rate);
 *     return figures;
 *   },
 * });
 */
export async function trainLoop<B>(options: LoopOptions<B>): Promise<StepRecord[]> {
  const { steps, done = 0, classes, rate, record, state } = options;
  check(
    state === undefined || (Number.isInteger(state.every) && state.every > 0),
    "trainLoop",
    () => `state.every is a number of steps above 0, got ${show(state!.every)}`,
  );
  const started = performance.now();
  const pace = new Pace(steps);
  const dice = new PseudoDice(classes.length);
  const records: StepRecord[] = [];

  const finish = async (step: number, figures: Tensor): Promise<void> => {
    // Done before, but lost.
    if (step <= done + records.length) return figures.dispose();
    const [loss, ...counts] = await figures.data();
    figures.dispose();
    if (!Number.isFinite(loss)) {
      const at = `step ${step} (rate ${rate(step).toPrecision(3)})`;
      throw new VoxgradError(
        `trainLoop: the loss is ${loss} at ${at}; use a smaller --rate, or look for broken values in the images`,
      );
    }
    const seconds = Math.round(performance.now() - started) / 1000;
    const entry = { step, loss, rate: rate(step), dice: dice.add(counts), seconds };
    records.push(entry);
    showStep(entry, { steps, classes, pace: pace.mark(step, "step") });
    await record?.(entry);
  };

  let copy = state && { step: done, restore: await copyToHost(state.read()) };
  let losses = 0;
  let step = done;
  while (done + records.length < steps) {
    try {
      let batch = options.batch(step + 1);
      let before: { step: number; figures: Tensor } | undefined;
      while (step < steps) {
        const figures = await options.step(batch, rate(step + 1), step + 1);
        step++;
        if (step < steps) batch = options.batch(step + 1);
        if (before) await finish(before.step, before.figures);
        before = { step, figures };
        if (state && step % state.every === 0) {
          // What is copied is never done again, so its figures must be in.
          await finish(step, figures);
          before = undefined;
          copy = { step, restore: await copyToHost(state.read()) };
          losses = 0;
        }
      }
      if (before) await finish(before.step, before.figures);
    } catch (error) {
      if (!(error instanceof DeviceLostError && state && copy) || ++losses > MOST_LOSSES) throw error;
      platform.log(`${error.message}\nGoing on after step ${copy.step}`);
      step = copy.step;
      state.write(copy.restore());
    }
  }
  return records;
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
