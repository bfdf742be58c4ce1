/** What detectAnomaly does to evaluations. It is apart from anomaly.ts, which pages that only segment leave out. */
import type { Tensor } from "../core/tensor.ts";

export type Evaluate = (tensors: readonly Tensor[]) => Promise<void>;
/** Throws for the first invalid value among all that `outputs` depend on. */
type Check = (outputs: readonly Tensor[], evaluate: Evaluate) => Promise<void>;

let check: Check | null = null;

/** Checks the output of every operator; null unless a function runs under detectAnomaly. */
export const anomalyCheck = (): Check | null => check;
export const setAnomalyCheck = (next: Check | null): void => {
  check = next;
};
