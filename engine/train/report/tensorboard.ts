/** The log of a run for TensorBoard. */
import { platform } from "#platform";
import { isPlain, VoxgradError } from "../../core/errors.ts";
import type { EpochRecord, StepRecord } from "../run/logging.ts";
import type { RunFolder } from "../run/run_folder.ts";
import type { Scalars } from "./event_file.ts";
import { readConfig, readLogs } from "./report_files.ts";

const NAME = "events.out.tfevents.0000000000.voxgrad";

const APART = ["step", "seconds", "epoch", "extra"];

/** Numbers of a record by tag: of lists one for each class. An undefined Dice is no number. */
function scalarsOf(prefix: string, record: StepRecord | EpochRecord, names: readonly string[]): [string, number][] {
  const plain = Object.entries(record).filter(([key]) => !APART.includes(key));
  const extra = Object.entries("extra" in record ? record.extra ?? {} : {});
  return [...plain, ...extra].flatMap(([key, value]): [string, number][] => {
    const named: [string, unknown][] = Array.isArray(value)
      ? value.map((each, k) => [`${key}/${names[k] ?? k}`, each])
      : isPlain(value)
      ? Object.entries(value).map(([name, each]) => [`${key}/${name}`, each])
      : [[key, value]];
    return named.flatMap(([tag, each]) => (typeof each === "number" ? [[prefix + tag, each]] : []));
  });
}

/**
 * Writes log.jsonl and epochs.jsonl of a run, and of its folds, as event files of TensorBoard into a folder
 * `tensorboard`: tags are the names of the entries, of epochs with "epoch/" before them, and "dice/liver" of a class.
 * Logs hold seconds since the start and no date, so that TensorBoard's wall times begin in 1970.
 *
 * @returns the folder
 * @throws VoxgradError for a folder without a run or without a log
 * @example
 * ```ts
 * import { RunFolder, writeTensorBoard } from "voxgrad/train";
 *
 * await writeTensorBoard(new RunFolder("runs/liver")); // tensorboard --logdir runs/liver/tensorboard
 * ```
 */
export async function writeTensorBoard(run: RunFolder): Promise<string> {
  const { eventFile } = await import("./event_file.ts");
  const { curves, classes = [] } = await readConfig(run);
  const names = curves ?? classes;
  const folds = (await platform.listFiles(run.path)).filter((name) => /^fold_\d+$/.test(name));
  let written = 0;
  for (const part of ["", ...folds.map((fold) => `${fold}/`)]) {
    const { records, epochs } = await readLogs(`${run.path}/${part}`.replace(/\/$/, ""));
    // An epoch ends with its last step; its own seconds are those that it took.
    const seconds = new Map(records.map((record) => [record.step, record.seconds]));
    const list = [
      ...records.map((record): Scalars => ({ ...record, values: scalarsOf("", record, names) })),
      ...epochs.map((epoch): Scalars => {
        const { step } = epoch;
        return { step, seconds: seconds.get(step) ?? 0, values: scalarsOf("epoch/", epoch, names) };
      }),
    ];
    if (list.length === 0) continue;
    await run.write(`tensorboard/${part}${NAME}`, eventFile(list));
    written++;
  }
  if (written === 0) throw new VoxgradError(`${run.path}: it holds no log of a training (log.jsonl)`);
  return `${run.path}/tensorboard`;
}
