/** customJvp: a user-defined derivative rule for both modes. */
import { isFloat } from "../core/dtype.ts";
import { check, checkFunction, refuseOptions, show } from "../core/errors.ts";
import { checkPair, pairLeaves } from "../core/pair.ts";
import { Tensor } from "../core/tensor.ts";
import { callTraced } from "../core/tracing.ts";
import * as tree from "../core/tree.ts";
import { scalar } from "../ops/elementwise/creation.ts";
import { alias } from "../ops/shape/reshape.ts";
import { callInRegion, type Region, type RegionRule } from "./region.ts";

/** Tangents of arguments of type T: the same tree, with null for what has none: integers, and what is not a tensor. */
export type Tangents<T> = T extends Tensor ? T
  : T extends object ? { readonly [K in keyof T]: Tangents<T[K]> }
  : null;

type Rule = (primals: readonly unknown[], tangents: readonly unknown[]) => unknown;

/** The rule of one call with arguments `args` and result `out`, whose tensors stand for those of the region. */
function ruleOf(rule: Rule, args: readonly unknown[], out: unknown): RegionRule {
  /** The tangents of the results, by the user's rule. */
  const push = ({ inputs, results }: Region, tangents: readonly (Tensor | null)[]): Tensor[] => {
    let k = 0;
    const inside = tree.map(args, (leaf) => (leaf instanceof Tensor ? inputs[k++] : leaf)) as readonly unknown[];
    k = 0;
    const moved = tree.map(args, (leaf) => (leaf instanceof Tensor ? tangents[k++] : null)) as readonly unknown[];
    const pair: unknown = callTraced("customJvp", () => rule(inside, moved));
    check(
      Array.isArray(pair) && pair.length === 2,
      "customJvp",
      () => `the rule gives [output, tangent], got ${show(pair)}`,
    );
    const what = "the tangent that the rule gives";
    return pairLeaves("customJvp", what, tree.rebuild(out, results), pair[1]).map((pair) =>
      isFloat((pair.of as Tensor).dtype)
        ? checkPair("customJvp", what, pair).given
        : scalar(0, "f32", (pair.of as Tensor).shape)
    );
  };
  const zero = (t: Tensor): Tensor => scalar(0, t.dtype, t.shape);
  return {
    forward(region, tangentOf) {
      const tangents = push(region, region.inputs.map((t) => tangentOf(t) ?? (isFloat(t.dtype) ? zero(t) : null)));
      return tangents.map((t, k) => (isFloat(region.results[k].dtype) ? t : null));
    },
    // The rule is linear in the tangents, so cotangents of the tangents at 0 are those of the arguments.
    backward(region, cotangents, wanted, pull) {
      const { inputs } = region;
      const tangents = inputs.map((t) => (isFloat(t.dtype) ? alias(zero(t)) : null));
      const pushed = push(region, tangents);
      const seeds = cotangents.flatMap((g, k) => (g ? [k] : []));
      const targets = inputs.flatMap((t, k) => (tangents[k] && wanted(t) ? [k] : []));
      const grads = pull(
        targets.map((k) => tangents[k]!),
        seeds.map((k) => pushed[k]),
        seeds.map((k) => cotangents[k]!),
      );
      return targets.map((k, j) => [inputs[k], grads[j]] as const);
    },
    batched: (vmap) => ruleOf(vmap(rule), args, out),
  };
}

/**
 * f with a user-defined derivative, as jax.custom_jvp: forward mode uses the rule, and reverse mode transposes it, so
 * one rule serves both. Tensors that f uses from outside have no derivative here: pass them as arguments.
 *
 * @param f a function from trees of tensors to a tree of tensors
 * @param rule (primals, tangents) returns [f(...primals), tangent]; it is linear in the tangents, which are trees like
 *   the arguments, zeros where nothing moves, and null for what is not a float tensor
 * @throws VoxgradError on differentiation, if the rule returns something else, naming the path
 * @example
 * ```ts
 * import { customJvp, grad, jvp, tensor } from "voxgrad";
 *
 * // The slope of a rounded number is that of the number (Bengio et al., "straight-through estimator", 2013).
 * const rounded = customJvp((x) => x.cast("i32").cast("f32"), ([x], [dx]) => [x.cast("i32").cast("f32"), dx]);
 * await grad((x) => rounded(x).square().sum())(tensor([1.5, 2.5])).array(); // [2, 4]
 * await jvp(rounded, [tensor(1.5)], [tensor(3)])[1].item(); // 3
 * ```
 */
export function customJvp<A extends unknown[] = Tensor[], R = Tensor>(
  f: (...args: A) => R,
  rule: (primals: A, tangents: { readonly [K in keyof A]: Tangents<A[K]> }) => readonly [output: R, tangent: R],
  ...rest: never[]
): (...args: A) => R {
  refuseOptions("customJvp", rest);
  checkFunction("customJvp", "f", f);
  checkFunction("customJvp", "rule", rule);
  return (...args) => callInRegion("customJvp", f, args, (inside, out) => ruleOf(rule as unknown as Rule, inside, out));
}
