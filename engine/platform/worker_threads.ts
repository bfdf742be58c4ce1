import { Worker } from "node:worker_threads";
import type { Workers } from "./types.ts";

interface Task {
  readonly message: unknown;
  resolve(result: unknown): void;
  reject(error: Error): void;
}

/** A thread's answer: a result, or the error of its module as plain data. */
type Answer = { result: unknown } | { error: { name: string; message: string; stack?: string; fields: object } };

/** Node or Deno worker threads that run a module; see Platform.openWorkers. */
export function openWorkers(module: string, count: number): Workers {
  const waiting: Task[] = [];
  const idle: Worker[] = [];
  const busy = new Map<Worker, Task>();
  let closed = false;

  const next = (worker: Worker): void => {
    const task = waiting.shift();
    if (!task) {
      idle.push(worker);
      return;
    }
    busy.set(worker, task);
    worker.postMessage(task.message);
  };
  const start = (): Worker => {
    const worker = new Worker(new URL("./worker_main.mjs", import.meta.url), { workerData: { module } });
    worker.on("message", (answer: Answer) => {
      const task = busy.get(worker);
      busy.delete(worker);
      if ("result" in answer) task?.resolve(answer.result);
      else task?.reject(revived(answer.error));
      next(worker);
    });
    // A thread that cannot start or exits unexpectedly: out of memory, or the module does not load. Its task fails,
    // and a new thread takes over the queued tasks.
    const fail = (error: Error): void => {
      if (closed || !threads.delete(worker)) return;
      const task = busy.get(worker) ?? waiting.shift();
      busy.delete(worker);
      const at = idle.indexOf(worker);
      if (at >= 0) idle.splice(at, 1);
      if (task) {
        const other = start();
        threads.add(other);
        next(other);
      }
      task?.reject(error);
    };
    worker.on("error", fail);
    worker.on("exit", (code) => fail(new Error(`a worker thread ended with code ${code}`)));
    return worker;
  };
  const threads = new Set(Array.from({ length: count }, start));
  idle.push(...threads);

  return {
    run: (message) =>
      new Promise((resolve, reject) => {
        if (closed || threads.size === 0) return reject(new Error("the worker threads have ended"));
        waiting.push({ message, resolve, reject });
        const worker = idle.shift();
        if (worker) next(worker);
      }),
    async close(): Promise<void> {
      closed = true;
      for (const task of waiting.splice(0)) task.reject(new Error("the worker threads were closed"));
      await Promise.all([...threads].map((worker) => worker.terminate()));
    },
  };
}

/** Recreates an error thrown in a thread, except for its class. */
function revived({ name, message, stack, fields }: { name: string; message: string; stack?: string; fields: object }) {
  const error = Object.assign(new Error(message), fields);
  error.name = name;
  if (stack !== undefined) error.stack = stack;
  return error;
}
