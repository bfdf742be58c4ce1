/**
 * Tracing: compile, grad, vmap and similar transforms run the user's function to build a graph, before values exist.
 */
import { fail } from "./errors.ts";

let depth = 0;

/** Whether a function is being traced. */
export const isTracing = (): boolean => depth > 0;

/** Traces f on behalf of `who` and returns its result. f must be synchronous. */
export function callTraced<T>(who: string, f: () => T): T {
  depth++;
  let result: T;
  try {
    result = f();
  } finally {
    depth--;
  }
  refusePromise(who, result);
  return result;
}

/** Rejects a promise. Its own rejection is swallowed so that it cannot end the process. */
export function refusePromise(who: string, value: unknown): void {
  if (!isPromise(value)) return;
  value.then(undefined, () => undefined);
  fail(who, "the function is asynchronous; it makes a graph before values exist, so do not await inside");
}

const isPromise = (value: unknown): value is PromiseLike<unknown> =>
  typeof value === "object" && value !== null && typeof (value as { then?: unknown }).then === "function";
