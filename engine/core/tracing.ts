/** Calls of the user's functions that make a graph: compile, grad, vmap and their like run them before values exist. */
import { fail } from "./errors.ts";

let depth = 0;

/** Whether such a function is running. */
export const isTracing = (): boolean => depth > 0;

/** What f gives, which makes a graph for `who` and must not wait for anything. */
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

/** Refuses a promise; what it may be rejected with later is of no interest then, and must not end the process. */
export function refusePromise(who: string, value: unknown): void {
  if (!isPromise(value)) return;
  value.then(undefined, () => undefined);
  fail(who, "the function is asynchronous; it makes a graph before values exist, so do not await inside");
}

const isPromise = (value: unknown): value is PromiseLike<unknown> =>
  typeof value === "object" && value !== null && typeof (value as { then?: unknown }).then === "function";
