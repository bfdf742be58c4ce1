/** Focal loss: cross-entropy that counts positions less the better they are. */
import { isFloat } from "../../core/dtype.ts";
import { check, checkOptions, show } from "../../core/errors.ts";
import { Tensor } from "../../core/tensor.ts";
import {
  add,
  cast,
  div,
  exp,
  maximum,
  mul,
  neg,
  notEqual,
  pow,
  sigmoid,
  softplus,
  sub,
} from "../../ops/elementwise/elementwise.ts";
import { nll } from "../../ops/reduce/cross_entropy.ts";
import { logSoftmax } from "../../ops/reduce/softmax.ts";
import { sum } from "../../ops/reduce/reduce.ts";
import { pairOf, reduced, type ReductionOptions } from "./reduction.ts";

/** (1 - p)^gamma from log p, with a finite derivative where p is 1. */
function lack(logProbability: Tensor, gamma: number): Tensor {
  const rest = sub(1, exp(logProbability));
  return gamma === 1 ? rest : pow(maximum(rest, 1e-7), gamma);
}

const checkGamma = (name: string, gamma: number): void =>
  check(Number.isFinite(gamma) && gamma >= 0, name, () => `gamma is a number >= 0, got ${show(gamma)}`);

export interface FocalOptions extends ReductionOptions {
  /** Power of 1 - p; default: 2. */
  gamma?: number;
  /** A weight for each class. */
  alpha?: readonly number[] | Tensor;
  /** Class axis of the logits; default: 1. */
  axis?: number;
  /** Positions with this label are ignored. */
  ignoreIndex?: number;
}

/**
 * Focal loss, Lin et al. 2017, over classes: -alpha[label] (1 - p)^gamma log p with p = softmax(logits)[label].
 *
 * @param logits f32 or f16 with classes along `axis` (default 1), such as [N, K, D, H, W]
 * @param labels i32 or u32 of the logits' shape without that axis; a label outside [0, K), unless it is ignoreIndex,
 *   makes the loss NaN
 * @param options.reduction "mean" (default): over the positions that count
 * @example
 * ```ts
 * import { random, zeros } from "voxgrad";
 * import { focal } from "voxgrad/nn";
 *
 * const logits = random.normal(random.key(0), { shape: [2, 3, 4, 4, 4] });
 * const loss = focal(logits, zeros([2, 4, 4, 4], { dtype: "i32" }), { gamma: 2, alpha: [0.1, 1, 1] });
 * ```
 */
export function focal(logits: Tensor, labels: Tensor, options: FocalOptions = {}): Tensor {
  checkOptions("focal", options, ["gamma", "alpha", "axis", "ignoreIndex", "reduction"]);
  const { gamma = 2, alpha, axis = 1, ignoreIndex, reduction = "mean" } = options;
  checkGamma("focal", gamma);
  check(
    logits instanceof Tensor && isFloat(logits.dtype) && logits.rank >= 1,
    "focal",
    () => `logits are f32 or f16 with classes along axis ${axis}, got ${show(logits)}`,
  );
  const logProbability = logSoftmax(cast(logits, "f32"), { axis });
  const own = { axis, ...(ignoreIndex !== undefined && { ignoreIndex }), reduction: "none" } as const;
  // -log p of the labels, NaN where there is none, 0 where they are ignored
  const entropy = nll(logProbability, labels, own);
  const weighted = alpha === undefined ? entropy : nll(logProbability, labels, { ...own, weight: alpha });
  const losses = mul(lack(neg(entropy), gamma), weighted);
  if (ignoreIndex === undefined || reduction !== "mean") return reduced("focal", losses, { reduction });
  return div(sum(losses), sum(cast(notEqual(labels, ignoreIndex), "f32")));
}

/**
 * Focal loss of independent outputs, as torchvision.ops.sigmoid_focal_loss: -a (1 - q)^gamma log q, where q = p =
 * sigmoid(logits) and a = alpha for targets of 1, and q = 1 - p and a = 1 - alpha for targets of 0.
 *
 * @param targets of the logits' shape, in [0, 1]
 * @param options.alpha default: 0.25; null: no weights
 * @param options.gamma default: 2
 * @example
 * ```ts
 * import { tensor } from "voxgrad";
 * import { binaryFocalWithLogits } from "voxgrad/nn";
 *
 * const loss = binaryFocalWithLogits(tensor([0, 2, -3]), tensor([1, 1, 0]));
 * ```
 */
export function binaryFocalWithLogits(
  logits: Tensor,
  targets: Tensor,
  options: ReductionOptions & { gamma?: number; alpha?: number | null } = {},
): Tensor {
  const name = "binaryFocalWithLogits";
  checkOptions(name, options, ["gamma", "alpha", "reduction"]);
  const { gamma = 2, alpha = 0.25 } = options;
  checkGamma(name, gamma);
  check(
    alpha === null || (alpha >= 0 && alpha <= 1),
    name,
    () => `alpha is in [0, 1] or null, got ${show(alpha)}`,
  );
  const [x, t] = pairOf(name, logits, "targets", targets);
  const p = sigmoid(x);
  // 1 - q = p + t - 2 p t
  const rest = sub(add(p, t), mul(mul(p, t), 2));
  const entropy = sub(softplus(x), mul(x, t));
  const power = gamma === 1 ? rest : pow(maximum(rest, 1e-7), gamma);
  const losses = mul(power, entropy);
  if (alpha === null) return reduced(name, losses, options);
  return reduced(name, mul(losses, add(mul(t, 2 * alpha - 1), 1 - alpha)), options);
}
