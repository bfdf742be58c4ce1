/** What optimizers share: pairs of pure functions, so that a whole step compiles with parameters and state donated. */
import { check, show } from "../../core/errors.ts";
import { isFloat } from "../../core/dtype.ts";
import { checkPair, pairLeaves } from "../../core/pair.ts";
import { Tensor } from "../../core/tensor.ts";
import * as tree from "../../core/tree.ts";
import type { Params, Tree } from "../../core/tree.ts";
import { unlessOverflow } from "../../ops/elementwise/loss_scale.ts";
import { zeros } from "../../ops/elementwise/creation.ts";
import { add } from "../../ops/elementwise/elementwise.ts";

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

/** A parameter `p`, its gradient `grads`, and what the state holds of it by name. */
export type Row = Readonly<Record<string, Tensor>>;

/** How one parameter is updated from its own gradient and state alone. */
export interface UpdateRule {
  /** Names of the state's trees, which are zero at the start. */
  readonly slots: readonly string[];
  /** Whether the state counts the updates, in `step`. */
  readonly counts?: boolean;
  /**
   * From the learning rate and the number of the update, from 1, to a function from a parameter's row to the new `p`
   * and slots.
   */
  update(rate: Tensor | number, step: Tensor): (row: Row, path: string) => Row;
}

/** The optimizer of a rule. An update with gradients that overflowed in mixed precision changes nothing. */
export function ruleOptimizer(name: string, { slots, counts = false, update }: UpdateRule): Optimizer {
  return {
    init: (params): OptimizerState => ({
      ...(counts && { step: zeros([]) }),
      ...Object.fromEntries(slots.map((slot) => [slot, zerosLike(params)])),
    }),
    update(grads, state, params, learningRate) {
      checkRate(name, learningRate);
      const { paths, rows } = zip(name, params, {
        grads,
        ...Object.fromEntries(slots.map((slot) => [slot, state?.[slot]])),
      });
      const before = state.step;
      check(
        !counts || (before instanceof Tensor && before.size === 1),
        name,
        () => `the state's step is a scalar tensor, got ${show(before)}; it comes from init(params)`,
      );
      const step = counts ? add(before as Tensor, 1) : zeros([]);
      const rule = update(learningRate, step);
      const updated = rows.map((row, k) => rule(row, paths[k]));
      const column = (key: string): Tensor[] => updated.map((next, k) => unlessOverflow(next[key], rows[k][key]));
      const next: OptimizerState = {
        ...(counts && { step: unlessOverflow(step, before as Tensor) }),
        ...Object.fromEntries(slots.map((slot) => [slot, like(params as Tree, column(slot))])),
      };
      return [like(params, column("p")), next];
    },
  };
}

/** Zips the leaves of several trees by path, after checking that they agree. */
function zip(name: string, params: unknown, others: Record<string, unknown>): { paths: string[]; rows: Row[] } {
  const paths: string[] = [];
  const rows: Record<string, Tensor>[] = [];
  tree.map(params, (p, path) => {
    check(p instanceof Tensor, name, () => `the parameter ${path} is not a tensor: ${show(p)}`);
    rows.push({ p });
    paths.push(path);
  });
  for (const [key, other] of Object.entries(others)) {
    check(other !== undefined, name, () => `the state has no ${key}; it comes from init(params)`);
    pairLeaves(name, key, params, other).forEach((pair, k) => {
      rows[k][key] = checkPair(name, key, pair).given;
    });
  }
  return { paths, rows };
}

/** Rejects a learning rate that is neither a number nor a scalar tensor. */
export function checkRate(name: string, rate: unknown): void {
  check(
    rate instanceof Tensor ? rate.rank === 0 && isFloat(rate.dtype) : typeof rate === "number" && Number.isFinite(rate),
    name,
    () =>
      `the learning rate is a number or a scalar tensor, got ${show(rate)}; call update(grads, state, params, rate)`,
  );
}

const zerosLike = (params: object): Tree => tree.map(params as Tree, (p) => zeros(p.shape));

/** The parameter tree with new tensors, in order. */
export const like = <P>(params: P, tensors: readonly Tensor[]): P => tree.rebuild(params, tensors) as P;

/** Rejects options that are not numbers >= 0. */
export function nonNegative(name: string, options: Record<string, number>): void {
  for (const [key, value] of Object.entries(options)) {
    check(
      typeof value === "number" && value >= 0 && Number.isFinite(value),
      name,
      () => `${key} is a number >= 0, got ${show(value)}`,
    );
  }
}

/** Rejects decays of running means that are not in [0, 1). */
export function checkDecays(name: string, decays: Record<string, number>): void {
  nonNegative(name, decays);
  for (const [key, value] of Object.entries(decays)) {
    check(value < 1, name, () => `${key} is below 1, got ${show(value)}`);
  }
}
