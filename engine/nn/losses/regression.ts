/** Losses between tensors of one shape: squared, absolute and Huber's error, hinge, Kullback-Leibler divergence. */
import { check, checkOptions, show } from "../../core/errors.ts";
import type { Tensor } from "../../core/tensor.ts";
import {
  abs,
  div,
  exp,
  greater,
  less,
  log,
  maximum,
  mul,
  square,
  sub,
  where,
} from "../../ops/elementwise/elementwise.ts";
import { sum } from "../../ops/reduce/reduce.ts";
import { pairOf, reduced, type ReductionOptions } from "./reduction.ts";

/**
 * Squared error (p - t)^2, as torch.nn.functional.mse_loss.
 *
 * @example
 * ```ts
 * import { tensor } from "voxgrad";
 * import { mse } from "voxgrad/nn";
 *
 * await mse(tensor([1, 4]), tensor([0, 2])).item(); // 2.5
 * ```
 */
export function mse(prediction: Tensor, target: Tensor, options: ReductionOptions = {}): Tensor {
  checkOptions("mse", options, ["reduction"]);
  const [p, t] = pairOf("mse", prediction, "the target", target);
  return reduced("mse", square(sub(p, t)), options);
}

/**
 * Absolute error |p - t|, as torch.nn.functional.l1_loss.
 *
 * @example
 * ```ts
 * import { tensor } from "voxgrad";
 * import { l1 } from "voxgrad/nn";
 *
 * await l1(tensor([1, 4]), tensor([0, 2])).item(); // 1.5
 * ```
 */
export function l1(prediction: Tensor, target: Tensor, options: ReductionOptions = {}): Tensor {
  checkOptions("l1", options, ["reduction"]);
  const [p, t] = pairOf("l1", prediction, "the target", target);
  return reduced("l1", abs(sub(p, t)), options);
}

/**
 * Huber's loss (1964), as torch.nn.functional.huber_loss: e^2 / 2 for errors up to delta, delta (|e| - delta / 2)
 * beyond.
 *
 * @param options.delta default: 1
 * @example
 * ```ts
 * import { tensor } from "voxgrad";
 * import { huber } from "voxgrad/nn";
 *
 * await huber(tensor([0.5, 4]), tensor([0, 1])).item(); // 1.3125
 * ```
 */
export function huber(
  prediction: Tensor,
  target: Tensor,
  options: ReductionOptions & { delta?: number } = {},
): Tensor {
  checkOptions("huber", options, ["reduction", "delta"]);
  const { delta = 1 } = options;
  check(Number.isFinite(delta) && delta > 0, "huber", () => `delta is a number > 0, got ${show(delta)}`);
  const [p, t] = pairOf("huber", prediction, "the target", target);
  const e = sub(p, t);
  const size = abs(e);
  return reduced("huber", where(less(size, delta), mul(square(e), 0.5), mul(sub(size, delta / 2), delta)), options);
}

/**
 * Hinge loss max(0, margin - t p) of scores p and targets t of -1 and 1.
 *
 * @param options.margin default: 1
 * @example
 * ```ts
 * import { tensor } from "voxgrad";
 * import { hinge } from "voxgrad/nn";
 *
 * await hinge(tensor([2, 0.5, 1]), tensor([1, 1, -1]), { reduction: "none" }).array(); // [0, 0.5, 2]
 * ```
 */
export function hinge(
  scores: Tensor,
  targets: Tensor,
  options: ReductionOptions & { margin?: number } = {},
): Tensor {
  checkOptions("hinge", options, ["reduction", "margin"]);
  const { margin = 1 } = options;
  check(Number.isFinite(margin), "hinge", () => `margin is a number, got ${show(margin)}`);
  const [s, t] = pairOf("hinge", scores, "targets", targets);
  return reduced("hinge", maximum(sub(margin, mul(s, t)), 0), options);
}

/**
 * Kullback-Leibler divergence t (log t - log p) of probabilities t from p, as torch.nn.functional.kl_div: the first
 * argument is log p, such as logSoftmax gives, and where t is 0 the loss is 0.
 *
 * @param options.logTarget whether the target is log t; default: false
 * @param options.reduction "batchMean" (default): the sum over the first axis' size, which is the divergence of each
 *   row's distribution on average; or "mean" (over all elements, PyTorch's default), "sum", "none"
 * @example
 * ```ts
 * import { logSoftmax, tensor } from "voxgrad";
 * import { klDivergence } from "voxgrad/nn";
 *
 * const student = logSoftmax(tensor([[1, 2, 3]]), { axis: 1 });
 * const loss = klDivergence(student, tensor([[0.2, 0.3, 0.5]]));
 * ```
 */
export function klDivergence(
  logProbabilities: Tensor,
  target: Tensor,
  options: { reduction?: "batchMean" | "mean" | "sum" | "none"; logTarget?: boolean } = {},
): Tensor {
  checkOptions("klDivergence", options, ["reduction", "logTarget"]);
  const { reduction = "batchMean", logTarget = false } = options;
  const [q, t] = pairOf("klDivergence", logProbabilities, "the target", target);
  const some = greater(t, 0);
  // t 0 is 0, and NaN where t is.
  const losses = logTarget ? mul(exp(t), sub(t, q)) : where(some, mul(t, sub(log(where(some, t, 1)), q)), mul(t, 0));
  if (reduction !== "batchMean") return reduced("klDivergence", losses, { reduction });
  check(losses.rank > 0, "klDivergence", () => `reduction "batchMean" needs a batch axis, got ${logProbabilities}`);
  return div(sum(losses), losses.shape[0]);
}
