/**
 * The training loop. The next batch is made on the CPU while the GPU computes, and the figures of a step are read when
 * the next one has been handed over, so that neither waits for the other.
 */
import { platform } from "#platform";
import type { Tensor } from "../core/tensor.ts";
import { VoxgradError } from "../core/errors.ts";
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
}

/**
 * Runs steps until the last, shows progress, and gives the records.
 *
 * @throws VoxgradError when the loss is not finite
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
  const { steps, done = 0, classes, rate, record } = options;
  const started = performance.now();
  const pace = new Pace(steps);
  const dice = new PseudoDice(classes.length);
  const records: StepRecord[] = [];

  const finish = async (step: number, figures: Tensor): Promise<void> => {
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
    show(entry, { steps, classes, pace: pace.mark(step, "step") });
    await record?.(entry);
  };

  let batch = done < steps ? options.batch(done + 1) : undefined;
  let before: { step: number; figures: Tensor } | undefined;
  for (let step = done + 1; step <= steps; step++) {
    const figures = await options.step(batch as B, rate(step), step);
    if (step < steps) batch = options.batch(step + 1);
    if (before) await finish(before.step, before.figures);
    before = { step, figures };
  }
  if (before) await finish(before.step, before.figures);
  return records;
}

function show(entry: StepRecord, context: { steps: number; classes: readonly string[]; pace: string }): void {
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
