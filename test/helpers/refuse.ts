// deno-lint-ignore-file no-explicit-any
/** Helpers for calls that must throw: check the error, its message, or both. */
import * as assert from "uvu/assert";
import { VoxgradError } from "../../engine/mod.ts";

/** A call, or the promise it returned. */
export type Call = (() => unknown) | Promise<unknown>;
type Kind = abstract new (...args: any[]) => Error;

/** The error that f throws synchronously, of the given class or one of the engine's. Fails if there is none. */
export function thrown<T extends Error = Error>(f: () => unknown, kind?: abstract new (...args: any[]) => T): T {
  try {
    f();
  } catch (error) {
    return checked(error, kind) as T;
  }
  return assert.unreachable("expected an error") as never;
}

/** The error that a call throws or its promise rejects with, of the given class or one of the engine's. */
export async function failure<T extends Error = Error>(
  call: Call,
  kind?: abstract new (...args: any[]) => T,
): Promise<T> {
  try {
    await (typeof call === "function" ? call() : call);
  } catch (error) {
    return checked(error, kind) as T;
  }
  return assert.unreachable("expected an error") as never;
}

/** The message of the error of a call. */
export const message = async (call: Call, kind?: Kind): Promise<string> => (await failure(call, kind)).message;

/**
 * Checks that a call throws with a message that matches every pattern. Synchronous throws are checked immediately;
 * await the result of any other.
 */
export function refuses(call: Call, ...patterns: readonly RegExp[]): Promise<void> {
  const judge = (error: unknown): void => {
    for (const pattern of patterns) assert.match(checked(error).message, pattern);
  };
  const missing = (): never => assert.unreachable(`expected an error like ${patterns.join(" and ")}`) as never;
  let result: unknown = call;
  if (typeof call === "function") {
    try {
      result = call();
    } catch (error) {
      judge(error);
      return Promise.resolve();
    }
    if (!(result instanceof Promise)) return missing();
  }
  return (result as Promise<unknown>).then(missing, judge);
}

/** Errors of the engine, which begin with the rejected call; a TypeError is a bug. */
function checked(error: unknown, kind?: Kind): Error {
  const { name, stack } = error as Error;
  const ours = error instanceof VoxgradError || name === "ConfigError" || name === "PlatformError";
  assert.ok(kind ? error instanceof kind : ours, `${kind?.name ?? "an error of the engine"} is wanted, got ${stack}`);
  return error as Error;
}
