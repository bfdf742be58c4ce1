/** Stochastic gradient descent. */
import { check, checkOptions } from "../../core/errors.ts";
import { add, mul, sub } from "../../ops/elementwise/elementwise.ts";
import { nonNegative, type Optimizer, type Row, ruleOptimizer } from "./optimizer.ts";

export interface SgdOptions {
  /** Default: 0; nnU-Net uses 0.99. */
  momentum?: number;
  /** Nesterov momentum; default: false. */
  nesterov?: boolean;
  /** L2 penalty, added to the gradient; default: 0. */
  weightDecay?: number;
}

/**
 * Stochastic gradient descent as torch.optim.SGD: d = g + weightDecay p; v = momentum v + d; p = p - rate v, or with
 * Nesterov p - rate (d + momentum v). State: { velocity }, empty without momentum.
 *
 * @example
 * ```ts
 * import { grad, tensor } from "voxgrad";
 * import { sgd } from "voxgrad/nn";
 *
 * const optimizer = sgd({ momentum: 0.99, nesterov: true, weightDecay: 3e-5 });
 * const params = { weight: tensor([1, 2]) };
 * const grads = grad((p: typeof params) => p.weight.square().sum())(params);
 * const [next, state] = optimizer.update(grads, optimizer.init(params), params, 0.01);
 * ```
 */
export function sgd(options: SgdOptions = {}): Optimizer {
  checkOptions("sgd", options, ["momentum", "nesterov", "weightDecay"]);
  const { momentum = 0, nesterov = false, weightDecay = 0 } = options;
  nonNegative("sgd", { momentum, weightDecay });
  check(!nesterov || momentum > 0, "sgd", () => "Nesterov's momentum needs momentum > 0");
  return ruleOptimizer("sgd", {
    slots: momentum === 0 ? [] : ["velocity"],
    update: (rate) => ({ p, grads: g, velocity }): Row => {
      const d = weightDecay === 0 ? g : add(g, mul(p, weightDecay));
      if (momentum === 0) return { p: sub(p, mul(d, rate)) };
      const v = add(mul(velocity, momentum), d);
      return { p: sub(p, mul(nesterov ? add(d, mul(v, momentum)) : v, rate)), velocity: v };
    },
  });
}
