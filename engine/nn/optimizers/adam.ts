/** Adam and what descends from it: AdamW, LAMB. */
import { checkOptions } from "../../core/errors.ts";
import type { Tensor } from "../../core/tensor.ts";
import {
  add,
  div,
  greater,
  logicalAnd,
  mul,
  sqrt,
  square,
  sub,
  tanh,
  where,
} from "../../ops/elementwise/elementwise.ts";
import { sum } from "../../ops/reduce/reduce.ts";
import { checkDecays, nonNegative, type Optimizer, type Row, ruleOptimizer } from "./optimizer.ts";

export interface AdamOptions {
  /** Decay of the first moment; default: 0.9. */
  beta1?: number;
  /** Decay of the second moment; default: 0.999. */
  beta2?: number;
  /** Added to the square root of the second moment; default: 1e-8. */
  eps?: number;
  /** L2 penalty added to the gradient as in torch.optim.Adam, unless `decoupled`; default: 0. */
  weightDecay?: number;
  /** Shrink the parameters by rate * weightDecay instead: AdamW, Loshchilov and Hutter 2019. Default: false. */
  decoupled?: boolean;
}

const MOMENTS = ["mean", "square"];

/** 1 - b^t, accurate where b^t is near 1: with u = tanh(-t ln(b) / 2) it is 2 u / (1 + u). */
function oneMinusPower(b: number, t: Tensor): Tensor {
  if (b === 0) return mul(t, 0).add(1);
  const u = tanh(mul(t, -Math.log(b) / 2));
  return div(mul(u, 2), add(u, 1));
}

/** The running means of g and g^2 after another gradient. */
const moments = ({ mean, square: variance }: Row, g: Tensor, beta1: number, beta2: number): [Tensor, Tensor] => [
  add(mul(mean, beta1), mul(g, 1 - beta1)),
  add(mul(variance, beta2), mul(square(g), 1 - beta2)),
];

/**
 * Adam, Kingma and Ba 2015, as torch.optim.Adam (torch.optim.AdamW with `decoupled`): m and v are running means of g
 * and g^2, p = p - rate (m / (1 - beta1^t)) / (sqrt(v / (1 - beta2^t)) + eps). State: { step, mean, square }, where
 * step is the count t as an f32 scalar.
 *
 * @example
 * ```ts
 * import { grad, tensor } from "voxgrad";
 * import { adam } from "voxgrad/nn";
 *
 * const optimizer = adam({ weightDecay: 5e-4 });
 * const params = { weight: tensor([1, 2]) };
 * const grads = grad((p: typeof params) => p.weight.square().sum())(params);
 * const [next, state] = optimizer.update(grads, optimizer.init(params), params, 3e-4);
 * ```
 */
export function adam(options: AdamOptions = {}): Optimizer {
  checkOptions("adam", options, ["beta1", "beta2", "eps", "weightDecay", "decoupled"]);
  return adamNamed("adam", options);
}

function adamNamed(name: string, options: AdamOptions): Optimizer {
  const { beta1 = 0.9, beta2 = 0.999, eps = 1e-8, weightDecay = 0, decoupled = false } = options;
  nonNegative(name, { eps, weightDecay });
  checkDecays(name, { beta1, beta2 });
  return ruleOptimizer(name, {
    slots: MOMENTS,
    counts: true,
    update(learningRate, step) {
      const rate = div(learningRate, oneMinusPower(beta1, step));
      const root = sqrt(oneMinusPower(beta2, step));
      return (row) => {
        const { p } = row;
        const g = weightDecay === 0 || decoupled ? row.grads : add(row.grads, mul(p, weightDecay));
        const [m, v] = moments(row, g, beta1, beta2);
        const kept = decoupled && weightDecay !== 0 ? mul(p, sub(1, mul(learningRate, weightDecay))) : p;
        return { p: sub(kept, mul(rate, div(m, add(div(sqrt(v), root), eps)))), mean: m, square: v };
      };
    },
  });
}

/**
 * AdamW, Loshchilov and Hutter 2019, as torch.optim.AdamW: Adam that shrinks the parameters by rate * weightDecay
 * beside its step. The same as `adam` with `decoupled`, with PyTorch's weight decay of 0.01 unless told otherwise.
 *
 * @example
 * ```ts
 * import { grad, tensor } from "voxgrad";
 * import { adamw } from "voxgrad/nn";
 *
 * const optimizer = adamw({ weightDecay: 0.05 });
 * const params = { weight: tensor([1, 2]) };
 * const grads = grad((p: typeof params) => p.weight.square().sum())(params);
 * const [next, state] = optimizer.update(grads, optimizer.init(params), params, 3e-4);
 * ```
 */
export function adamw(options: Omit<AdamOptions, "decoupled"> = {}): Optimizer {
  checkOptions("adamw", options, ["beta1", "beta2", "eps", "weightDecay"]);
  return adamNamed("adamw", { weightDecay: 0.01, ...options, decoupled: true });
}

/**
 * LAMB, You et al. 2020 (algorithm 2), for large batches: each parameter tensor takes AdamW's direction
 * u = m' / (sqrt(v') + eps) + weightDecay p, scaled to its own length, p = p - rate |p| / |u| u, where a norm of 0
 * counts as a ratio of 1. State: { step, mean, square }.
 *
 * @param options eps: default 1e-6, as in the paper's code
 * @example
 * ```ts
 * import { grad, tensor } from "voxgrad";
 * import { lamb } from "voxgrad/nn";
 *
 * const optimizer = lamb({ weightDecay: 0.01 });
 * const params = { weight: tensor([1, 2]) };
 * const grads = grad((p: typeof params) => p.weight.square().sum())(params);
 * const [next, state] = optimizer.update(grads, optimizer.init(params), params, 0.01);
 * ```
 */
export function lamb(options: Omit<AdamOptions, "decoupled"> = {}): Optimizer {
  checkOptions("lamb", options, ["beta1", "beta2", "eps", "weightDecay"]);
  const { beta1 = 0.9, beta2 = 0.999, eps = 1e-6, weightDecay = 0 } = options;
  nonNegative("lamb", { eps, weightDecay });
  checkDecays("lamb", { beta1, beta2 });
  return ruleOptimizer("lamb", {
    slots: MOMENTS,
    counts: true,
    update(rate, step) {
      const first = oneMinusPower(beta1, step);
      const root = sqrt(oneMinusPower(beta2, step));
      return (row) => {
        const { p } = row;
        const [m, v] = moments(row, row.grads, beta1, beta2);
        const direction = div(div(m, first), add(div(sqrt(v), root), eps));
        const u = weightDecay === 0 ? direction : add(direction, mul(p, weightDecay));
        const [own, length] = [p, u].map((x) => sqrt(sum(square(x))));
        const ratio = where(logicalAnd(greater(own, 0), greater(length, 0)), div(own, length), 1);
        return { p: sub(p, mul(mul(ratio, rate), u)), mean: m, square: v };
      };
    },
  });
}
