/** Muon: momentum, orthogonalized. */
import { check, checkOptions, show } from "../../core/errors.ts";
import { add, mul, sub } from "../../ops/elementwise/elementwise.ts";
import { reshape } from "../../ops/shape/reshape.ts";
import { newtonSchulz } from "../newton_schulz.ts";
import { nonNegative, type Optimizer, ruleOptimizer } from "./optimizer.ts";

export interface MuonOptions {
  /** Default: 0.95. */
  momentum?: number;
  /** Nesterov momentum; default: true. */
  nesterov?: boolean;
  /** Shrinks the parameters by rate * weightDecay; default: 0.1. */
  weightDecay?: number;
  /** Newton-Schulz iterations; default: 5. */
  steps?: number;
}

/** Jordan's coefficients: every singular value comes between 0.7 and 1.2 in five iterations, small ones fast. */
const JORDAN = [3.4445, -4.775, 2.0315] as const;

/**
 * Muon, Jordan et al. 2024, as torch.optim.Muon: v = momentum v + (1 - momentum) g; the direction (1 - momentum) g +
 * momentum v (Nesterov), or v, is made orthogonal by Newton-Schulz iterations and scaled by sqrt(max(1, rows /
 * columns)); p = p - rate (direction + weightDecay p). A convolution's weight counts as a matrix with a row per output.
 * State: { velocity }.
 *
 * It is for matrices in the middle of a network: give biases, norms, the first and the last layer to another optimizer
 * by `parameterGroups`.
 *
 * @throws VoxgradError for a parameter of less than two axes, naming its path
 * @example
 * ```ts
 * import { grad, random } from "voxgrad";
 * import { muon } from "voxgrad/nn";
 *
 * const optimizer = muon();
 * const params = { weight: random.normal(random.key(1), { shape: [8, 4] }) };
 * const grads = grad((p: typeof params) => p.weight.square().sum())(params);
 * const [next, state] = optimizer.update(grads, optimizer.init(params), params, 0.02);
 * ```
 */
export function muon(options: MuonOptions = {}): Optimizer {
  checkOptions("muon", options, ["momentum", "nesterov", "weightDecay", "steps"]);
  const { momentum = 0.95, nesterov = true, weightDecay = 0.1, steps = 5 } = options;
  nonNegative("muon", { momentum, weightDecay });
  check(momentum < 1, "muon", () => `momentum is below 1, got ${show(momentum)}`);
  check(
    Number.isInteger(steps) && steps >= 1,
    "muon",
    () => `steps is an integer >= 1, got ${show(steps)}`,
  );
  const iterations = new Array(steps).fill(JORDAN);
  return ruleOptimizer("muon", {
    slots: ["velocity"],
    update: (rate) => ({ p, grads: g, velocity }, path) => {
      check(
        p.rank >= 2,
        "muon",
        () => `parameters are matrices, got ${p} at ${path}; give it another optimizer by parameterGroups`,
      );
      const [rows, columns] = [p.shape[0], p.size / p.shape[0]];
      const v = add(mul(velocity, momentum), mul(g, 1 - momentum));
      const d = nesterov ? add(mul(g, 1 - momentum), mul(v, momentum)) : v;
      const orthogonal = newtonSchulz(reshape(d, { shape: [rows, columns] }), iterations);
      const scaled = mul(reshape(orthogonal, { shape: p.shape }), Math.sqrt(Math.max(1, rows / columns)));
      const kept = weightDecay === 0 ? p : mul(p, sub(1, mul(rate, weightDecay)));
      return { p: sub(kept, mul(scaled, rate)), velocity: v };
    },
  });
}
