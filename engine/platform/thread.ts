import { parentPort, SHARE_ENV, Worker } from "node:worker_threads";
import type { Port, Thread } from "./types.ts";

/** What a thread says once it listens: in Deno, what is sent to it before may be lost. */
const READY = "voxgrad: the thread listens";

/** See Platform.openThread. */
export async function openThread(module: string): Promise<Thread> {
  const worker = new Worker(new URL("./thread_main.mjs", import.meta.url), {
    workerData: { module },
    // Drivers are chosen by the environment, which they read for themselves.
    env: SHARE_ENV,
  });
  const ended = new Set<(error: Error) => void>();
  const end = (error: Error): void => {
    for (const handler of ended) handler(error);
    ended.clear();
  };
  worker.on("error", end);
  worker.on("exit", (code) => end(new Error(`the worker thread ended with code ${code}`)));
  await new Promise<void>((resolve, reject) => {
    ended.add(reject);
    worker.on("message", (message) => message === READY && resolve());
  });
  return {
    post: (message, transfer = []) => worker.postMessage(message, [...transfer]),
    listen: (handler) => void worker.on("message", handler),
    onEnd: (handler) => void ended.add(handler),
    close() {
      ended.clear();
      void worker.terminate();
    },
  };
}

/** See Platform.parentPort. */
export const parent: Port | undefined = parentPort === null ? undefined : {
  post: (message, transfer = []) => parentPort!.postMessage(message, [...transfer]),
  listen(handler) {
    parentPort!.on("message", handler);
    parentPort!.postMessage(READY);
  },
};
