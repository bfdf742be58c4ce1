/** Functions that modules call which every bundle has, and that live in modules which only some bundles have. */
import { fail } from "../core/errors.ts";

export interface Late<F> {
  readonly call: F;
  /** Tells what it is. */
  is(f: F): void;
}

/**
 * A function that another module gives. So are reached what derivative rules alone need and what has kernels of its
 * own: reverse mode gives it, and pages that only segment do without.
 *
 * @param what for the message where the module was not loaded
 * @param fix how to load it
 */
export function late<F extends (...args: never[]) => unknown>(what: string, fix: string): Late<F> {
  let given: F | null = null;
  const call = (...args: never[]): unknown => (given ?? fail(what, `it is not in this bundle; ${fix}`))(...args);
  return { call: call as F, is: (f) => void (given = f) };
}
