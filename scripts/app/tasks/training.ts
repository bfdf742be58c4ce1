/** What trainings in the page tell while they run. */
import { loadSafetensors, setHost } from "../../../engine/mod.ts";
import type { Work } from "../protocol.ts";
import type { Folder } from "./store.ts";

/** A step that was taken: its number, and values by the names of their curves. */
export interface StepEvent {
  readonly kind: "step";
  readonly step: number;
  readonly steps: number;
  readonly text: string;
  readonly series: Readonly<Record<string, number>>;
}

/** Other work before and after the steps. */
export interface BusyEvent {
  readonly kind: "busy";
  readonly done: number;
  readonly total: number;
  readonly text: string;
}

/** A line of the log. */
export interface LineEvent {
  readonly kind: "line";
  readonly line: string;
}

/** What a scan shows by now, which was not trained on. */
export interface LookEvent {
  readonly kind: "look";
  readonly id: string;
  readonly step: number;
  readonly steps: number;
  /** On the grid that the page shows. */
  readonly labels: Uint8Array<ArrayBuffer>;
  /** By class, of a scan whose label is known. */
  readonly dice?: Readonly<Record<string, number>>;
}

export type TrainingEvent = StepEvent | BusyEvent | LineEvent | LookEvent;

/** Runs a training, whose lines and progress go to the page. One runs at a time. */
export async function told<T>({ tell }: Work<TrainingEvent>, train: () => Promise<T>): Promise<T> {
  setHost({
    log: (line) => tell({ kind: "line", line }),
    onProgress: ({ done, total, text, series }) =>
      tell(series ? { kind: "step", step: done, steps: total, text, series } : { kind: "busy", done, total, text }),
  });
  try {
    return await train();
  } finally {
    setHost({ log: undefined, onProgress: undefined });
  }
}

/** The last training in a folder. */
export interface RunState {
  /** Steps that its checkpoint holds, and all that were wanted. */
  readonly step: number;
  readonly steps: number;
  /** Whether it came to its end. */
  readonly ended: boolean;
}

/** What was kept of a training; undefined if there was none. */
export async function runState(folder: Folder): Promise<RunState | undefined> {
  const { steps } = await folder.json<{ steps?: number }>("run/config.json", {});
  if (steps === undefined) return undefined;
  const checkpoint = await folder.read("run/checkpoint.safetensors");
  const notes = checkpoint ? loadSafetensors(checkpoint).metadata["voxgrad checkpoint"] : undefined;
  const step = notes === undefined ? 0 : (JSON.parse(notes) as { step: number }).step;
  return { step, steps, ended: await folder.has("run/report.html") };
}
