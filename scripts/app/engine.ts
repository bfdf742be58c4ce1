/** The page's side of the worker. */
import type { FromWorker, Work } from "./protocol.ts";
import type { Tasks } from "./tasks/all.ts";

interface Waiting {
  resolve(result: unknown): void;
  reject(error: unknown): void;
  readonly onEvent: ((event: never) => void) | undefined;
}

type InputOf<F> = F extends (input: infer I, work: never) => unknown ? I : never;
type EventOf<F> = F extends (input: never, work: Work<infer E>) => unknown ? E : never;
type ResultOf<F> = F extends (...words: never[]) => infer R ? Awaited<R> : never;

export interface CallOptions<E> {
  readonly signal?: AbortSignal | undefined;
  /** Hears what the task tells. */
  readonly onEvent?: (event: E) => void;
  /** Buffers of the input that move to the worker instead of being copied. */
  readonly transfer?: Transferable[];
}

let worker: Worker | undefined;
let calls = 0;
const waiting = new Map<number, Waiting>();

function open(): Worker {
  if (worker) return worker;
  const opened = worker = new Worker(new URL("./worker.js", import.meta.url), { type: "module" });
  opened.onmessage = ({ data }: MessageEvent<FromWorker>) => {
    const call = waiting.get(data.id);
    if (!call) return;
    if ("event" in data) return call.onEvent?.(data.event as never);
    waiting.delete(data.id);
    if ("result" in data) call.resolve(data.result);
    else if (data.error.aborted) call.reject(new DOMException("Stopped", "AbortError"));
    else call.reject(Object.assign(new Error(data.error.message), { name: data.error.name, stack: data.error.stack }));
  };
  opened.onerror = (event) => {
    event.preventDefault();
    for (const { reject } of waiting.values()) reject(new Error(event.message || "The worker could not be loaded"));
    waiting.clear();
    worker = undefined;
  };
  return opened;
}

/**
 * Runs a task in the worker: `compute("scans", "open", { files })` is `open({ files }, work)` of tasks/scans.ts. Arrays
 * in the result are moved here, so a task returns copies of what it keeps.
 *
 * @throws what the task throws, by name and message; an AbortError after `signal`
 */
export function compute<R extends keyof Tasks, N extends keyof Tasks[R] & string>(
  room: R,
  name: N,
  input: InputOf<Tasks[R][N]>,
  { signal, onEvent, transfer = [] }: CallOptions<EventOf<Tasks[R][N]>> = {},
): Promise<ResultOf<Tasks[R][N]>> {
  if (signal?.aborted) return Promise.reject(signal.reason);
  const id = ++calls;
  const target = open();
  signal?.addEventListener("abort", () => target.postMessage({ stop: id }), { once: true });
  return new Promise((resolve, reject) => {
    waiting.set(id, { resolve: resolve as Waiting["resolve"], reject, onEvent: onEvent as Waiting["onEvent"] });
    target.postMessage({ id, room, name, input }, transfer);
  });
}
