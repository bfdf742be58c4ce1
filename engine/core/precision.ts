/** Mixed precision (Micikevicius et al. 2018): which operators compute in f16 during a trace, and the loss scale. */
import type { Tensor } from "./tensor.ts";

/** The mixed-precision state of a trace. */
export interface Mixed {
  /** Losses are multiplied by this f32 scalar before differentiation and gradients divided by it afterwards. */
  readonly scale: Tensor;
  /** Nesting depth of differentiated functions: only the gradient of the outermost is scaled. */
  depth: number;
  /** Whether all gradients so far are finite (bool scalar); null before the first. */
  finite: Tensor | null;
}

let current: Mixed | null = null;

/** The mixed precision of the current trace; null in f32. */
export const mixed = (): Mixed | null => current;

/** Runs f, which must be synchronous, in mixed precision; with null, in the dtypes of its tensors. */
export function withPrecision<T>(precision: Mixed | null, f: () => T): T {
  const before = current;
  current = precision;
  try {
    return f();
  } finally {
    current = before;
  }
}

let steps = 0;

/** Whether a step of a loop or a branch is being traced: what it computes does not exist outside of it. */
export const isWithinStep = (): boolean => steps > 0;

/** Traces a step of a loop or a branch. */
export function withinStep<T>(f: () => T): T {
  steps++;
  try {
    return f();
  } finally {
    steps--;
  }
}
