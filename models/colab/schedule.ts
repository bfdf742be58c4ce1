/** Which step a training with context labels takes when, and at which rates. */
import { polySchedule } from "../../engine/nn/mod.ts";
import { contextArm, type ContextOptions } from "./options.ts";

/** The steps of a training, counted from 1. */
export interface ColabSchedule {
  /** Learning rates of the segmenter and the generator. */
  readonly rate: (k: number) => number;
  readonly generatorRate: (k: number) => number;
  /** warm: the contexts are one background; meta: the generator is updated too; plain: the segmenter alone. */
  readonly kind: (k: number) => "warm" | "meta" | "plain";
  /** Whether the first update of the generator comes after the k-th step. */
  readonly metaAfter: (k: number) => boolean;
}

/**
 * The schedule of a training.
 *
 * @param options warmup: part of the steps; period: steps from one update of the generator to the next
 * @param training rate of the segmenter at the start
 */
export function colabSchedule(
  options: Pick<ContextOptions, "context" | "contexts" | "generatorRate" | "warmup" | "period">,
  { rate, steps }: { readonly rate: number; readonly steps: number },
): ColabSchedule {
  const { generatorRate, period } = options;
  const { context } = contextArm(options);
  const poly = polySchedule(1, { steps });
  const warm = Math.round(options.warmup * steps);
  const isMeta = (k: number): boolean => context === "colab" && generatorRate > 0 && k > warm && k % period === 0;
  return {
    rate: (k) => rate * poly(k - 1),
    generatorRate: (k) => generatorRate * poly(k - 1),
    kind: (k) => k <= warm ? "warm" : isMeta(k) ? "meta" : "plain",
    metaAfter: (k) => {
      const last = Math.floor(steps / period) * period;
      return last > k && isMeta(last) && !isMeta(k);
    },
  };
}
