/** Optimizers that scale the gradient by its running size, or take its sign. */
import { checkOptions } from "../../core/errors.ts";
import { add, div, mul, sign, sqrt, square, sub } from "../../ops/elementwise/elementwise.ts";
import { checkDecays, nonNegative, type Optimizer, type Row, ruleOptimizer } from "./optimizer.ts";

export interface RmspropOptions {
  /** Decay of the running mean of g^2; default: 0.99. */
  alpha?: number;
  /** Added to the root; default: 1e-8. */
  eps?: number;
  /** Default: 0. */
  momentum?: number;
  /** Divide by the standard deviation, with the running mean of g taken off; default: false. */
  centered?: boolean;
  /** L2 penalty, added to the gradient; default: 0. */
  weightDecay?: number;
}

/**
 * RMSprop, Tieleman and Hinton 2012, as torch.optim.RMSprop: v = alpha v + (1 - alpha) g^2; p = p - rate g / (sqrt(v) +
 * eps), with momentum p = p - rate b, b = momentum b + g / (sqrt(v) + eps). State: { square }, with `centered` also
 * { mean }, with momentum also { velocity }.
 *
 * @example
 * ```ts
 * import { grad, tensor } from "voxgrad";
 * import { rmsprop } from "voxgrad/nn";
 *
 * const optimizer = rmsprop({ momentum: 0.9 });
 * const params = { weight: tensor([1, 2]) };
 * const grads = grad((p: typeof params) => p.weight.square().sum())(params);
 * const [next, state] = optimizer.update(grads, optimizer.init(params), params, 0.01);
 * ```
 */
export function rmsprop(options: RmspropOptions = {}): Optimizer {
  checkOptions("rmsprop", options, ["alpha", "eps", "momentum", "centered", "weightDecay"]);
  const { alpha = 0.99, eps = 1e-8, momentum = 0, centered = false, weightDecay = 0 } = options;
  nonNegative("rmsprop", { eps, momentum, weightDecay });
  checkDecays("rmsprop", { alpha });
  return ruleOptimizer("rmsprop", {
    slots: ["square", ...(centered ? ["mean"] : []), ...(momentum === 0 ? [] : ["velocity"])],
    update: (rate) => ({ p, grads, square: variance, mean, velocity }): Row => {
      const g = weightDecay === 0 ? grads : add(grads, mul(p, weightDecay));
      const v = add(mul(variance, alpha), mul(square(g), 1 - alpha));
      const m = centered ? add(mul(mean, alpha), mul(g, 1 - alpha)) : null;
      const d = div(g, add(sqrt(m ? sub(v, square(m)) : v), eps));
      const b = momentum === 0 ? d : add(mul(velocity, momentum), d);
      return { p: sub(p, mul(b, rate)), square: v, ...(m && { mean: m }), ...(momentum !== 0 && { velocity: b }) };
    },
  });
}

export interface LionOptions {
  /** Share of the running mean in the direction; default: 0.9. */
  beta1?: number;
  /** Decay of the running mean; default: 0.99. */
  beta2?: number;
  /** Shrinks the parameters by rate * weightDecay; default: 0. */
  weightDecay?: number;
}

/**
 * Lion, Chen et al. 2023 (algorithm 2): p = p - rate (sign(beta1 m + (1 - beta1) g) + weightDecay p), then
 * m = beta2 m + (1 - beta2) g. Its steps are larger than Adam's, so the paper takes a rate 3 to 10 times smaller.
 * State: { mean }.
 *
 * @example
 * ```ts
 * import { grad, tensor } from "voxgrad";
 * import { lion } from "voxgrad/nn";
 *
 * const optimizer = lion({ weightDecay: 0.1 });
 * const params = { weight: tensor([1, 2]) };
 * const grads = grad((p: typeof params) => p.weight.square().sum())(params);
 * const [next, state] = optimizer.update(grads, optimizer.init(params), params, 1e-4);
 * ```
 */
export function lion(options: LionOptions = {}): Optimizer {
  checkOptions("lion", options, ["beta1", "beta2", "weightDecay"]);
  const { beta1 = 0.9, beta2 = 0.99, weightDecay = 0 } = options;
  nonNegative("lion", { weightDecay });
  checkDecays("lion", { beta1, beta2 });
  return ruleOptimizer("lion", {
    slots: ["mean"],
    update: (rate) => ({ p, grads: g, mean }) => {
      const c = add(mul(mean, beta1), mul(g, 1 - beta1));
      const direction = sign(c);
      const d = weightDecay === 0 ? direction : add(direction, mul(p, weightDecay));
      return { p: sub(p, mul(d, rate)), mean: add(mul(mean, beta2), mul(g, 1 - beta2)) };
    },
  });
}
