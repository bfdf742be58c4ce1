/** Optimizers as pairs of pure functions, so that a whole training step compiles with parameters and state donated. */
import { check, checkOptions, refuseOptions, show } from "../core/errors.ts";
import { isFloat } from "../core/dtype.ts";
import { checkPair, pairLeaves } from "../core/pair.ts";
import { Tensor } from "../core/tensor.ts";
import * as tree from "../core/tree.ts";
import type { Params, Tree } from "../core/tree.ts";
import { unlessOverflow } from "../ops/elementwise/loss_scale.ts";
import { zeros } from "../ops/elementwise/creation.ts";
import { add, div, minimum, mul, sqrt, square, sub, tanh } from "../ops/elementwise/elementwise.ts";
import { sum } from "../ops/reduce/reduce.ts";
import { reshape } from "../ops/shape/reshape.ts";

/** Optimizer state between steps: trees of tensors by name, such as `velocity`. */
export type OptimizerState = Params;

export interface Optimizer {
  /** The initial state for these parameters, a tree of tensors. */
  init(params: object): OptimizerState;
  /**
   * One update: [new parameters, new state].
   *
   * @param grads a tree like `params`
   * @param learningRate a number or a scalar tensor
   * @throws VoxgradError for gradients or a state that do not fit the parameters, naming the path
   */
  update<P>(
    grads: NoInfer<P>,
    state: OptimizerState,
    params: P,
    learningRate: Tensor | number,
  ): [params: P, state: OptimizerState];
}

/** Zips the leaves of several trees by path, after checking that they agree. */
function zip(name: string, params: unknown, others: Record<string, unknown>): Record<string, Tensor>[] {
  const rows: Record<string, Tensor>[] = [];
  tree.map(params, (p, path) => {
    check(p instanceof Tensor, name, () => `the parameter ${path} is not a tensor: ${show(p)}`);
    rows.push({ p });
  });
  for (const [key, other] of Object.entries(others)) {
    check(other !== undefined, name, () => `the state has no ${key}; it comes from init(params)`);
    pairLeaves(name, key, params, other).forEach((pair, k) => {
      rows[k][key] = checkPair(name, key, pair).given;
    });
  }
  return rows;
}

/** Rejects a learning rate that is neither a number nor a scalar tensor. */
function checkRate(name: string, rate: unknown): void {
  check(
    rate instanceof Tensor ? rate.rank === 0 && isFloat(rate.dtype) : typeof rate === "number" && Number.isFinite(rate),
    name,
    () =>
      `the learning rate is a number or a scalar tensor, got ${show(rate)}; call update(grads, state, params, rate)`,
  );
}

const zerosLike = (params: object): Tree => tree.map(params as Tree, (p) => zeros(p.shape));

/** The parameter tree with new tensors, in order. */
const like = <P>(params: P, tensors: readonly Tensor[]): P => tree.rebuild(params, tensors) as P;

const nonNegative = (name: string, options: Record<string, number>): void => {
  for (const [key, value] of Object.entries(options)) {
    check(
      typeof value === "number" && value >= 0 && Number.isFinite(value),
      name,
      () => `${key} is a number >= 0, got ${show(value)}`,
    );
  }
};

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
  return {
    init: (params): OptimizerState => (momentum === 0 ? {} : { velocity: zerosLike(params) }),
    update(grads, state, params, learningRate) {
      checkRate("sgd", learningRate);
      const rows = zip("sgd", params, momentum === 0 ? { grads } : { grads, velocity: state?.velocity });
      const velocities: Tensor[] = [];
      const updated = rows.map(({ p, grads: g, velocity }) => {
        let d = weightDecay === 0 ? g : add(g, mul(p, weightDecay));
        if (momentum !== 0) {
          const v = add(mul(velocity, momentum), d);
          velocities.push(unlessOverflow(v, velocity));
          d = nesterov ? add(d, mul(v, momentum)) : v;
        }
        return unlessOverflow(sub(p, mul(d, learningRate)), p);
      });
      const next: OptimizerState = momentum === 0 ? {} : { velocity: like(params as Tree, velocities) };
      return [like(params, updated), next];
    },
  };
}

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

/** 1 - b^t, accurate where b^t is near 1: with u = tanh(-t ln(b) / 2) it is 2 u / (1 + u). */
function oneMinusPower(b: number, t: Tensor): Tensor {
  if (b === 0) return mul(t, 0).add(1);
  const u = tanh(mul(t, -Math.log(b) / 2));
  return div(mul(u, 2), add(u, 1));
}

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
  const { beta1 = 0.9, beta2 = 0.999, eps = 1e-8, weightDecay = 0, decoupled = false } = options;
  nonNegative("adam", { beta1, beta2, eps, weightDecay });
  check(beta1 < 1 && beta2 < 1, "adam", () => `beta1 and beta2 are below 1, got ${beta1} and ${beta2}`);
  return {
    init: (params) => ({ step: zeros([]), mean: zerosLike(params), square: zerosLike(params) }),
    update(grads, state, params, learningRate) {
      checkRate("adam", learningRate);
      const rows = zip("adam", params, { grads, mean: state?.mean, square: state?.square });
      check(
        state.step instanceof Tensor && state.step.size === 1,
        "adam",
        () => `the state's step is a scalar tensor, got ${show(state.step)}; it comes from init(params)`,
      );
      const step = add(state.step, 1);
      const rate = div(learningRate, oneMinusPower(beta1, step));
      const root = sqrt(oneMinusPower(beta2, step));
      const means: Tensor[] = [];
      const squares: Tensor[] = [];
      const updated = rows.map(({ p, grads: gradient, mean, square: variance }) => {
        const g = weightDecay === 0 || decoupled ? gradient : add(gradient, mul(p, weightDecay));
        const m = add(mul(mean, beta1), mul(g, 1 - beta1));
        const v = add(mul(variance, beta2), mul(square(g), 1 - beta2));
        means.push(unlessOverflow(m, mean));
        squares.push(unlessOverflow(v, variance));
        const kept = decoupled && weightDecay !== 0 ? mul(p, sub(1, mul(learningRate, weightDecay))) : p;
        return unlessOverflow(sub(kept, mul(rate, div(m, add(div(sqrt(v), root), eps)))), p);
      });
      return [
        like(params, updated),
        {
          step: unlessOverflow(step, state.step),
          mean: like(params as Tree, means),
          square: like(params as Tree, squares),
        },
      ];
    },
  };
}

/**
 * Scales gradients so that their global L2 norm is at most maxNorm; also returns the norm before clipping. As
 * torch.nn.utils.clip_grad_norm_, factor min(1, maxNorm / (norm + 1e-6)).
 *
 * @example
 * ```ts
 * import { tensor } from "voxgrad";
 * import { clipGradNorm } from "voxgrad/nn";
 *
 * const [clipped, norm] = clipGradNorm({ weight: tensor([30, 40]) }, 5);
 * await norm.item(); // 50; the gradients are now about [3, 4]
 * ```
 */
export function clipGradNorm<P>(grads: P, maxNorm: number | Tensor, ...rest: never[]): [clipped: P, norm: Tensor] {
  refuseOptions("clipGradNorm", rest);
  check(
    maxNorm instanceof Tensor
      ? maxNorm.size === 1 && isFloat(maxNorm.dtype)
      : typeof maxNorm === "number" && maxNorm > 0,
    "clipGradNorm",
    () => `maxNorm is a number > 0 or a scalar tensor, got ${show(maxNorm)}`,
  );
  const leaves: Tensor[] = [];
  tree.map(grads as unknown, (g, path) => {
    check(
      g instanceof Tensor && isFloat(g.dtype),
      "clipGradNorm",
      () => `gradients are tensors of f32 or f16, got ${show(g)}${path && ` at ${path}`}`,
    );
    leaves.push(g);
  });
  check(leaves.length > 0, "clipGradNorm", () => "there are no gradients");
  // Summed pairwise, so that no kernel reads more tensors than it can bind.
  let parts = leaves.map((g) => sum(square(g)));
  while (parts.length > 1) {
    parts = parts.flatMap((x, k) => (k % 2 ? [] : [k + 1 < parts.length ? add(x, parts[k + 1]) : x]));
  }
  const norm = sqrt(parts[0]);
  const factor = minimum(
    div(maxNorm instanceof Tensor ? reshape(maxNorm, { shape: [] }) : maxNorm, add(norm, 1e-6)),
    1,
  );
  return [like(grads, leaves.map((g) => mul(g, factor))), norm];
}
