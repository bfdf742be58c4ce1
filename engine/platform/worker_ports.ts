/** Messages between threads, on every host. */
import { platform } from "#platform";
import { isPath, readSource } from "./sources.ts";
import { PlatformError } from "./types.ts";
import type { Port, Thread } from "./types.ts";

export type { Port, Thread } from "./types.ts";

/** What is used of a browser's Worker. */
export interface WebWorker {
  postMessage(message: unknown, transfer: ArrayBuffer[]): void;
  addEventListener(
    type: string,
    listener: (event: { readonly data?: unknown; readonly message?: string }) => void,
  ): void;
  terminate(): void;
}

/** A browser's Worker as a thread. */
export function webThread(worker: WebWorker): Thread {
  return {
    post: (message, transfer = []) => worker.postMessage(message, [...transfer]),
    listen: (handler) => worker.addEventListener("message", ({ data }) => handler(data)),
    onEnd(handler) {
      // A module that does not load has an event without a message.
      worker.addEventListener("error", ({ message }) => handler(new Error(message || "its module cannot be loaded")));
      worker.addEventListener("messageerror", () => handler(new Error("a message cannot be read")));
    },
    close: () => worker.terminate(),
  };
}

/** Starts a thread of Node or Deno; undefined where threads are Web Workers. */
export const hostThread = (module: string): Promise<Thread> | undefined => platform.openThread?.(module);

/**
 * What started this thread.
 *
 * @throws PlatformError in the main thread
 */
export function parentPort(): Port {
  const port = platform.parentPort?.();
  if (port) return port;
  const scope = globalThis as unknown as Partial<WebWorker> & { document?: unknown };
  if (scope.document === undefined && typeof scope.postMessage === "function" && scope.addEventListener) {
    const { postMessage, addEventListener } = scope as WebWorker;
    return {
      post: (message, transfer = []) => postMessage.call(globalThis, message, [...transfer]),
      listen: (handler) => addEventListener.call(globalThis, "message", ({ data }) => handler(data)),
    };
  }
  throw new PlatformError(
    "file-failed",
    "voxgrad/worker's worker_main is the module of a worker; start a Worker with it",
  );
}

/**
 * A file as another thread can read it: an address is sent as text, and a file that does not lie on the disk (in the
 * memory of a page, or mounted) as its bytes.
 */
export async function portable<S>(source: S): Promise<S | string | Uint8Array> {
  if (typeof source === "object" && source !== null && "href" in source) return String(source.href);
  if (!isPath(source) || (platform.openWorkers && !source.startsWith("mounted:"))) return source;
  return (await readSource(source)).bytes;
}
