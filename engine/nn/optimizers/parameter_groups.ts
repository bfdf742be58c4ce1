/** Optimizers by groups of parameters, and running means of parameters. */
import { check, checkOptions, fail, show } from "../../core/errors.ts";
import { pairLeaves } from "../../core/pair.ts";
import { Tensor } from "../../core/tensor.ts";
import * as tree from "../../core/tree.ts";
import { add, mul, sub } from "../../ops/elementwise/elementwise.ts";
import { checkRate, like, type Optimizer, type OptimizerState } from "./optimizer.ts";

export interface ParameterGroup {
  /** Which parameters: a pattern that their path matches, such as /norm|bias/, or a function of path and tensor. */
  paths: RegExp | ((path: string, parameter: Tensor) => boolean);
  /** null: they stay as they are. */
  optimizer: Optimizer | null;
  /** Factor of the learning rate; default: 1. */
  rate?: number;
}

/**
 * An optimizer that updates groups of parameters by optimizers of their own: no weight decay for norms and biases, a
 * smaller rate for a pretrained encoder, frozen layers. A parameter belongs to the first group that it matches, or to
 * `otherwise`. State: that of each group, in `group_0` and so on, and in `otherwise`.
 *
 * @throws VoxgradError for a group that no parameter belongs to
 * @example
 * ```ts
 * import { grad, ones } from "voxgrad";
 * import { adamw, parameterGroups } from "voxgrad/nn";
 *
 * const optimizer = parameterGroups({
 *   groups: [
 *     { paths: /^encoder/, optimizer: adamw(), rate: 0.1 },
 *     { paths: (_, { rank }) => rank === 1, optimizer: adamw({ weightDecay: 0 }) },
 *   ],
 *   otherwise: adamw(),
 * });
 * const params = { encoder: ones([2, 2]), head: { weight: ones([2, 2]), bias: ones([2]) } };
 * const grads = grad((p: typeof params) => p.encoder.mul(p.head.weight).sum().add(p.head.bias.sum()))(params);
 * const [next, state] = optimizer.update(grads, optimizer.init(params), params, 1e-3);
 * ```
 */
export function parameterGroups(
  options: { readonly groups: readonly ParameterGroup[]; readonly otherwise: Optimizer | null },
): Optimizer {
  const name = "parameterGroups";
  checkOptions(name, options, ["groups", "otherwise"]);
  const isOptimizer = (x: unknown): boolean => x === null || typeof (x as Optimizer | undefined)?.update === "function";
  check(Array.isArray(options.groups), name, () => `groups is a list, got ${show(options.groups)}`);
  check(
    isOptimizer(options.otherwise),
    name,
    () => `otherwise is an optimizer or null, got ${show(options.otherwise)}`,
  );
  const groups = options.groups.map((group, k) => {
    checkOptions(`${name}: groups[${k}]`, group, ["paths", "optimizer", "rate"]);
    const { paths, optimizer, rate = 1 } = group;
    check(
      paths instanceof RegExp || typeof paths === "function",
      name,
      () => `groups[${k}].paths is a RegExp or a function, got ${show(paths)}`,
    );
    check(
      isOptimizer(optimizer),
      name,
      () => `groups[${k}].optimizer is an optimizer or null, got ${show(optimizer)}`,
    );
    check(
      Number.isFinite(rate) && rate >= 0,
      name,
      () => `groups[${k}].rate is a number >= 0, got ${show(rate)}`,
    );
    const matches = paths instanceof RegExp ? (path: string): boolean => path.search(paths) >= 0 : paths;
    return { key: `group_${k}`, optimizer, rate, matches };
  });
  const all = [...groups, { key: "otherwise", optimizer: options.otherwise, rate: 1, matches: (): boolean => true }];

  /** The group of each parameter, by path in the order of the leaves. */
  const assign = (params: object): Map<string, number> => {
    const found = new Map<string, number>();
    for (const [path, p] of tree.flatten(params)) found.set(path, all.findIndex(({ matches }) => matches(path, p)));
    const used = new Set(found.values());
    groups.forEach((_, k) => {
      if (!used.has(k)) fail(name, `no parameter belongs to groups[${k}]; there are ${[...found.keys()].join(", ")}`);
    });
    return found;
  };
  const part = (leaves: ReadonlyMap<string, Tensor>, groupOf: ReadonlyMap<string, number>, k: number): object =>
    tree.unflatten([...leaves].filter(([path]) => groupOf.get(path) === k)) as object;

  return {
    init(params) {
      const [groupOf, leaves] = [assign(params), tree.flatten(params)];
      return Object.fromEntries(
        all.flatMap(({ key, optimizer }, k) => (optimizer ? [[key, optimizer.init(part(leaves, groupOf, k))]] : [])),
      );
    },
    update(grads, state, params, learningRate) {
      checkRate(name, learningRate);
      const [groupOf, leaves] = [assign(params as object), tree.flatten(params as object)];
      const given = new Map(
        pairLeaves(name, "grads", params, grads).map((pair) => [pair.path, pair.given as Tensor] as const),
      );
      const updated = new Map(leaves);
      const next: Record<string, OptimizerState> = {};
      all.forEach(({ key, optimizer, rate }, k) => {
        if (!optimizer) return;
        const own = part(leaves, groupOf, k);
        const factored = rate === 1
          ? learningRate
          : learningRate instanceof Tensor
          ? mul(learningRate, rate)
          : learningRate * rate;
        const [values, after] = optimizer.update(
          part(given, groupOf, k),
          state?.[key] as OptimizerState,
          own,
          factored,
        );
        next[key] = after;
        for (const [path, value] of tree.flatten(values)) updated.set(path, value);
      });
      return [like(params, [...updated.values()]), next];
    },
  };
}

/**
 * The running mean of parameters after another step, decay average + (1 - decay) params, for a mean teacher or for
 * prediction (Polyak and Juditsky 1992; Tarvainen and Valpola 2017). It begins with the parameters themselves.
 *
 * @param average of the steps before, a tree like params
 * @param options.decay a number in [0, 1] or a scalar tensor, such as 0.999
 * @throws VoxgradError for trees that do not fit each other, naming the path
 * @example
 * ```ts
 * import { tensor } from "voxgrad";
 * import { emaUpdate } from "voxgrad/nn";
 *
 * const average = emaUpdate({ weight: tensor([1, 2]) }, { weight: tensor([3, 4]) }, { decay: 0.75 });
 * await average.weight.array(); // [1.5, 2.5]
 * ```
 */
export function emaUpdate<P>(average: P, params: NoInfer<P>, options: { readonly decay: number | Tensor }): P {
  checkOptions("emaUpdate", options, ["decay"]);
  const { decay } = options;
  check(
    decay instanceof Tensor ? decay.rank === 0 : typeof decay === "number" && decay >= 0 && decay <= 1,
    "emaUpdate",
    () => `decay is a number in [0, 1] or a scalar tensor, got ${show(decay)}`,
  );
  const pairs = pairLeaves("emaUpdate", "params", average, params);
  // a + (1 - decay) (p - a): equal trees stay equal to the last bit.
  const rest = sub(1, decay);
  return like(
    average,
    pairs.map(({ path, of, given }) => {
      check(
        of instanceof Tensor && given instanceof Tensor && String(of.shape) === String(given.shape),
        "emaUpdate",
        () => `params at ${path}: a tensor like ${show(of)} belongs there, got ${show(given)}`,
      );
      return add(of, mul(sub(given, of), rest));
    }),
  );
}
