/**
 * Mixed precision, Micikevicius et al. 2018: which operators work in f16 while a function is traced, and the loss
 * scale.
 */
import type { Tensor } from "./tensor.ts";

/** What a trace in mixed precision knows. */
export interface Mixed {
  /** Losses are multiplied by this f32 scalar before they are differentiated, gradients divided by it afterwards. */
  readonly scale: Tensor;
  /** Functions that are being differentiated: only the gradient of the outermost is scaled. */
  depth: number;
  /** Whether all gradients so far are finite (bool scalar); null before the first. */
  finite: Tensor | null;
}

let current: Mixed | null = null;

/** The mixed precision of the trace under way; null in f32. */
export const mixed = (): Mixed | null => current;

/** Runs f, which must not wait for anything, in mixed precision or, with null, in that of its tensors. */
export function withPrecision<T>(precision: Mixed | null, f: () => T): T {
  const before = current;
  current = precision;
  try {
    return f();
  } finally {
    current = before;
  }
}
