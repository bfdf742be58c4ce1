/** customVjp: a user-defined reverse-mode rule. */
import { isFloat } from "../core/dtype.ts";
import { check, checkFunction, refuseOptions, show } from "../core/errors.ts";
import { checkPair, pairLeaves } from "../core/pair.ts";
import { Tensor } from "../core/tensor.ts";
import { callTraced } from "../core/tracing.ts";
import * as tree from "../core/tree.ts";
import { scalar } from "../ops/elementwise/creation.ts";
import { floatOf } from "./graph.ts";
import { callInRegion, type RegionRule } from "./region.ts";

/** Cotangents of a value of type T: the same tree, with null for leaves or branches without one. */
export type Cotangents<T> = T extends Tensor ? Tensor | null
  : T extends object ? { readonly [K in keyof T]: Cotangents<T[K]> } | null
  : unknown;

type Forward = (...args: unknown[]) => unknown;
type Backward = (residuals: unknown, cotangent: unknown) => unknown;

/** The rule of one call of the function with arguments `args` and result `out`. */
function customRule(forward: Forward, backward: Backward, args: readonly unknown[], out: unknown): RegionRule {
  return {
    backward({ inputs, results }, cotangents, wanted) {
      const rest = [...inputs];
      const inside = tree.map(args, (leaf) => (leaf instanceof Tensor ? rest.shift() : leaf));
      const pair = callTraced("customVjp", () => forward(...inside));
      check(
        Array.isArray(pair) && pair.length === 2,
        "customVjp",
        () => `forward gives [output, residuals], got ${show(pair)}`,
      );
      const full = cotangents.map((g, k) => g ?? scalar(0, floatOf(results[k].dtype), results[k].shape));
      const grads = callTraced("customVjp", () => backward(pair[1], tree.rebuild(out, full)));
      check(
        Array.isArray(grads) && grads.length === args.length,
        "customVjp",
        () => `backward gives an array with one entry for each of the ${args.length} arguments, got ${show(grads)}`,
      );
      return inside.flatMap((arg: unknown, k: number) => contributions(arg, grads[k], k).filter(([t]) => wanted(t)));
    },
    batched: (vmap) => customRule(vmap(forward), vmap(backward), args, out),
  };
}

/** The tensors of an argument paired with their cotangents. */
function contributions(arg: unknown, cotangents: unknown, position: number): (readonly [Tensor, Tensor])[] {
  const what = `backward's cotangents of argument ${position}`;
  return pairLeaves("customVjp", what, arg, cotangents, true).flatMap((pair) => {
    if (!(pair.of instanceof Tensor) || !isFloat(pair.of.dtype)) return [];
    return [[pair.of, checkPair("customVjp", what, pair).given] as const];
  });
}

/**
 * f with a user-defined reverse-mode rule, as jax.custom_vjp. Forward-mode derivatives are those of f.
 *
 * @param forward (...args) returns [f(...args), residuals]; residuals are any tree that `backward` needs
 * @param backward (residuals, cotangent) returns one tree of cotangents per argument, null for none
 * @throws VoxgradError on differentiation, if `forward` or `backward` returns something else
 * @example
 * ```ts
 * import { customVjp, grad, tensor } from "voxgrad";
 *
 * // Gradient reversal (Ganin and Lempitsky, "Unsupervised domain adaptation by backpropagation", 2015).
 * const reversed = customVjp((x) => x, (x) => [x, null], (_, g) => [g.neg()]);
 * await grad((x) => reversed(x).square().sum())(tensor([1, 2])).array(); // [-2, -4]
 * ```
 */
export function customVjp<A extends unknown[] = Tensor[], R = Tensor, const S = unknown>(
  f: (...args: A) => R,
  forward: (...args: A) => readonly [R, S],
  backward: (residuals: S, cotangent: R) => { readonly [K in keyof A]: Cotangents<A[K]> },
  ...rest: never[]
): (...args: A) => R {
  refuseOptions("customVjp", rest);
  for (const [name, value] of Object.entries({ f, forward, backward })) checkFunction("customVjp", name, value);
  return (...args) =>
    callInRegion(
      "customVjp",
      f,
      args,
      (inside, out) => customRule(forward as Forward, backward as Backward, inside, out),
    );
}
