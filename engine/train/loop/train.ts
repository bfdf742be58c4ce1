/** A training with log, epochs, validation, checkpoints and curves; can be killed and resumed at any step. */
import { platform } from "#platform";
import { Interrupted, PlatformError } from "../../platform/types.ts";
import { Chain } from "../run/chain.ts";
import { type CheckpointNotes, readCheckpoint, writeCheckpoint } from "../run/checkpoint.ts";
import { type EpochRecord, isEpoch, isStep, JsonLines, type StepRecord } from "../run/logging.ts";
import { type LoopOptions, trainLoop } from "./loop.ts";
import { PseudoDice } from "./pseudo_dice.ts";
import { recordChart } from "../plot/record_chart.ts";
import type { RunFolder } from "../run/run_folder.ts";

export interface TrainOptions<B>
  extends Pick<LoopOptions<B>, "steps" | "classes" | "batch" | "step" | "extras" | "record"> {
  /** Learning rate of a step, from 1, given the epochs that ended before it. */
  readonly rate: (step: number, epochs: readonly EpochRecord[]) => number;
  /** Where log.jsonl, epochs.jsonl, progress.svg and checkpoint.safetensors go. */
  readonly run: RunFolder;
  /** Title of the curves. */
  readonly title: string;
  /** Steps per epoch. */
  readonly epochSteps: number;
  /** Epoch after which it stops with a checkpoint, as by a signal; default: it does not. */
  readonly until?: number | undefined;
  /** Everything that `step` changes, as a tree of tensors. */
  readonly state: { read(): object; write(state: never): void };
  /** Minutes between checkpoints; default: 5. One is always written at the end. */
  readonly checkpointMinutes?: number;
  /** After each epoch: loss and pseudo-Dice of each class on patches of the held-out cases. */
  readonly validate?: () => Promise<{ loss: number; dice: readonly number[] }>;
  /** Called when the moving average of the validation's mean pseudo-Dice reaches a new maximum. */
  readonly best?: () => Promise<unknown>;
  /** Called after each epoch with its record, before the log holds it; again if it loses the device. */
  readonly epochEnd?: (record: EpochRecord) => Promise<unknown>;
}

/** The result of a training. */
export interface Trained {
  readonly records: readonly StepRecord[];
  readonly epochs: readonly EpochRecord[];
  readonly seconds: number;
  /** Steps done by earlier runs. */
  readonly resumedAt: number;
}

/** Steps between copies of the state: a lost device costs at most this many. */
const COPY_EVERY = 50;

/**
 * Runs a training. A resumed run continues from its checkpoint with the same batches, rates and random keys as an
 * uninterrupted run, so its weights are bit-identical. If a checkpoint cannot be written because the disk is full, the
 * run reports it and keeps the previous one; the last checkpoint waits for space. When the run's signal is aborted, or
 * a program gets SIGINT or SIGTERM, it writes a checkpoint after the step under way and ends.
 *
 * @throws VoxgradError if the loss is not finite, naming the first operator at fault, and as readCheckpoint;
 *   Interrupted; the reason of the signal
 * @example
 * ```ts
 * import type { Tensor } from "voxgrad";
 * import { openRun, train } from "voxgrad/train";
 *
 * declare const sample: (step: number) => Tensor;
 * declare const update: (params: Tensor, batch: Tensor, rate: number) => Promise<[params: Tensor, metrics: Tensor]>;
 * declare let params: Tensor;
 * const { records } = await train<Tensor>({
 *   run: await openRun({ name: "abdomen", folder: "runs/abdomen" }),
 *   title: "Abdomen",
 *   classes: ["liver"],
 *   steps: 1000,
 *   epochSteps: 50,
 *   rate: () => 1e-3,
 *   batch: sample,
 *   step: async (batch, rate) => {
 *     const [next, metrics] = await update(params, batch, rate);
 *     params = next;
 *     return metrics;
 *   },
 *   state: { read: () => ({ params }), write: (copy) => ({ params } = copy) },
 * });
 * ```
 */
export async function train<B>(options: TrainOptions<B>): Promise<Trained> {
  const { run, title, steps, classes, epochSteps, state, validate, checkpointMinutes = 5 } = options;
  const { signal } = run;
  signal?.throwIfAborted();
  const found = run.resumed ? await readCheckpoint(run, state.read(), { steps, classes: classes.length }) : undefined;
  if (found) state.write(found.state as never);
  const { notes } = found ?? {};
  const done = notes?.step ?? 0;
  const log = new JsonLines<StepRecord>(run, "log.jsonl");
  const epochLog = new JsonLines<EpochRecord>(run, "epochs.jsonl");
  const { records, epochs } = run.resumed ? await takeUp(log, epochLog, notes) : { records: [], epochs: [] };
  if (!run.resumed) { for (const each of [log, epochLog]) await each.begin(); }
  const chain = new Chain(run);
  await chain.open(done);
  const dice = new PseudoDice(classes.length, notes?.dice);
  let { average, best } = notes ?? {};
  // After a lost device, repeated steps must see the same epochs as the first time.
  const rate = (step: number): number => options.rate(step, epochs.filter((epoch) => epoch.step < step));
  const tolerant = new Tolerant();
  if (done > 0) platform.log(`Resuming after step ${done} of ${steps}`);
  else if (run.resumed) platform.log(`${run.path}: there is no checkpoint yet, so it begins at step 1`);
  let interrupted: Interrupted | undefined;
  const off = platform.onInterrupt((asked) => {
    interrupted = asked;
    platform.log(`${asked.message}: a checkpoint is written after the step that runs; asked again, it ends at once`);
  });

  const endEpoch = async (step: number): Promise<void> => {
    const epoch = Math.ceil(step / epochSteps);
    const own = records.filter((record) => record.step > (epoch - 1) * epochSteps && record.step <= step);
    const from = records.at(-1 - own.length)?.seconds ?? 0;
    const checked = await validate?.();
    const known = checked?.dice.filter((value) => !Number.isNaN(value)) ?? [];
    if (known.length > 0) {
      const mean = known.reduce((a, b) => a + b) / known.length;
      average = average === undefined ? mean : 0.9 * average + 0.1 * mean;
    }
    const record: EpochRecord = {
      epoch,
      step,
      loss: own.reduce((sum, { loss }) => sum + loss, 0) / own.length,
      ...(checked && { validationLoss: checked.loss, dice: checked.dice }),
      ...(average !== undefined && { average }),
      rate: rate(step),
      seconds: (own.at(-1)?.seconds ?? from) - from,
    };
    // A device that is lost meanwhile brings the epoch again, so nothing is noted before.
    await options.epochEnd?.(record);
    epochs.push(record);
    await epochLog.add(record);
    await chain.epoch(epoch, step, own.map(({ loss }) => loss), state.read());
    await epochLog.flush();
    await log.flush();
    if (average !== undefined && average > (best ?? -Infinity)) {
      if (await tolerant.write("model_best.safetensors", () => options.best?.())) best = average;
    }
    if (step < steps && ends(step)) interrupted = new Interrupted("--until", 0);
    await tolerant.write(
      "progress.svg",
      () => run.write("progress.svg", recordChart(records, classes, { title, epochs })),
    );
  };

  const ends = (step: number): boolean => options.until !== undefined && step === options.until * epochSteps;
  let writtenAt = performance.now();
  const isStopped = (): boolean => interrupted !== undefined || signal?.aborted === true;
  const dueAt = (): boolean => isStopped() || performance.now() - writtenAt > 60_000 * checkpointMinutes;
  const loop = trainLoop({
    ...options,
    rate,
    done,
    seconds: notes?.seconds,
    dice,
    record: async (record) => {
      records.push(record);
      await log.add(record);
      await options.record?.(record);
    },
    pause: { after: (step) => step % epochSteps === 0 || step === steps, call: endEpoch },
    state: {
      ...state,
      every: COPY_EVERY,
      due: dueAt,
      copied: async (step, restore) => {
        if (!dueAt() && step < steps) return;
        const current: CheckpointNotes = {
          step,
          seconds: records.at(-1)!.seconds,
          dice: dice.counts,
          average,
          best,
          epochs,
        };
        await log.flush();
        const last = step === steps && !isStopped();
        const write = (): Promise<unknown> => writeCheckpoint(run, restore() as object, current, { wait: last });
        const kept = await tolerant.write("The checkpoint", write);
        writtenAt = performance.now();
        if (!isStopped()) return;
        const holds = kept ? "the checkpoint holds it" : "but no checkpoint could be written";
        const after = `after step ${step} of ${steps}; ${holds}`;
        if (!interrupted) {
          platform.log(`Stopped ${after}`);
          throw signal!.reason;
        }
        const message = `${interrupted.message} ${after}. Go on with --resume ${run.root.path}`;
        throw new Interrupted(interrupted.signal, interrupted.exitCode, message);
      },
    },
  });
  await loop.finally(off);
  for (const each of [log, epochLog]) await each.flush();
  return { records, epochs, seconds: records.at(-1)?.seconds ?? 0, resumedAt: done };
}

/** The log records up to the checkpoint. Records lost to a full disk are not recovered. */
async function takeUp(
  log: JsonLines<StepRecord>,
  epochLog: JsonLines<EpochRecord>,
  notes: CheckpointNotes | undefined,
) {
  const done = notes?.step ?? 0;
  const records = (await log.resume((record) => record.step <= done, isStep)).map(revive);
  const last = records.at(-1)?.step ?? 0;
  if (last < done || records.length !== last) {
    platform.log(
      `log.jsonl has ${records.length} of the ${done} steps that the checkpoint is of; curves show those alone`,
    );
  }
  const epochs = (await epochLog.resume((record) => record.step <= done, isEpoch)).map(revive);
  const known = notes?.epochs?.map(revive) ?? epochs;
  if (JSON.stringify(known) === JSON.stringify(epochs)) return { records, epochs };
  platform.log("epochs.jsonl differs from the checkpoint; it is rewritten from the checkpoint");
  await epochLog.begin();
  for (const epoch of known) await epochLog.add(epoch);
  await epochLog.flush();
  return { records, epochs: [...known] };
}

/** A class that has not been seen is NaN, which JSON writes as null. */
const revive = <R extends { readonly dice?: readonly number[] }>(record: R): R =>
  record.dice ? { ...record, dice: record.dice.map((d) => d ?? NaN) } : record;

/** Writes optional files: a full disk must not end a training. Reports the first failure, and the recovery. */
class Tolerant {
  readonly #failed = new Set<string>();

  /** Returns whether it was written. */
  async write(what: string, write: () => Promise<unknown> | undefined): Promise<boolean> {
    try {
      await write();
    } catch (error) {
      if (!(error instanceof PlatformError)) throw error;
      const rest = "The earlier file is unchanged; training continues and tries again. Make room for it";
      if (!this.#failed.has(what)) platform.log(`${what} could not be written. ${error.message}. ${rest}`);
      this.#failed.add(what);
      return false;
    }
    if (this.#failed.delete(what)) platform.log(`${what} could be written again`);
    return true;
  }
}
