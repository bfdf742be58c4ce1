/** Creates the optimizer of a training script from its config. */
import { adam, type Optimizer, sgd } from "../../nn/mod.ts";
import { choice, type Entries, entry } from "../run/config.ts";

/** Options of trainings with a choice of optimizer. */
export interface OptimizerOptions {
  readonly optimizer: "adam" | "sgd";
  readonly rate: number;
  readonly weightDecay: number;
  readonly clip: number;
}

/** Their config entries. */
export const optimizerEntries: Entries<OptimizerOptions> = {
  optimizer: choice(["adam", "sgd"], "sgd has Nesterov momentum 0.99"),
  rate: entry(0, "learning rate at the start; 0: 3e-3 for adam on --data, else 1e-2", { min: 0 }),
  weightDecay: entry(3e-5, "L2 penalty", { min: 0 }),
  clip: entry(12, "largest norm of the gradients", { min: 1e-6 }),
};

/**
 * The optimizer selected in a config, and its initial learning rate.
 *
 * @param options of a config with `trainingEntries` and `optimizerEntries`
 * @example
 * ```ts
 * import { config, openOptimizer, optimizerEntries } from "voxgrad/train";
 *
 * const options = config({ ...optimizerEntries, data: "" }, ["--optimizer", "sgd"]);
 * const { optimizer, rate } = openOptimizer(options);
 * ```
 */
export function openOptimizer(
  options: OptimizerOptions & { data: string },
): { optimizer: Optimizer; rate: number } {
  const { optimizer, weightDecay } = options;
  return optimizer === "adam"
    ? { optimizer: adam({ weightDecay }), rate: options.rate || (options.data === "" ? 1e-2 : 3e-3) }
    : { optimizer: sgd({ momentum: 0.99, nesterov: true, weightDecay }), rate: options.rate || 1e-2 };
}
