/** customVjp: a reverse-mode rule of the user's own. */
import { isFloat } from "../core/dtype.ts";
import { check, checkFunction, refuseOptions, show } from "../core/errors.ts";
import { checkPair, pairLeaves } from "../core/pair.ts";
import { Tensor } from "../core/tensor.ts";
import { callTraced } from "../core/tracing.ts";
import * as tree from "../core/tree.ts";
import { scalar } from "../ops/elementwise/creation.ts";
import { floatOf } from "./graph.ts";
import { callInRegion, type RegionRule } from "./region.ts";

type Forward = (...args: any[]) => any;
type Backward = (residuals: any, cotangent: any) => readonly any[];

/** The rule of one call; `args` and `out` tell how the function saw its arguments and what it gave. */
function customRule(forward: Forward, backward: Backward, args: readonly unknown[], out: unknown): RegionRule {
  return {
    backward({ inputs, results }, cotangents, _pull, wanted) {
      const rest = [...inputs];
      const inside = tree.map(args, (leaf) => (leaf instanceof Tensor ? rest.shift() : leaf));
      const pair = callTraced("customVjp", () => forward(...inside));
      check(
        Array.isArray(pair) && pair.length === 2,
        "customVjp",
        () => `forward gives [output, residuals], got ${show(pair)}`,
      );
      const full = cotangents.map((g, k) => g ?? scalar(0, floatOf(results[k].dtype), results[k].shape));
      const given = callTraced("customVjp", () => backward(pair[1], tree.rebuild(out, full)));
      check(
        Array.isArray(given) && given.length === args.length,
        "customVjp",
        () => `backward gives an array with one entry for each of the ${args.length} arguments, got ${show(given)}`,
      );
      return inside.flatMap((arg: unknown, k: number) => contributions(arg, given[k], k).filter(([t]) => wanted(t)));
    },
    batched: (vmap) => customRule(vmap(forward), vmap(backward), args, out),
  };
}

/** Tensors of an argument with their cotangents. */
function contributions(arg: unknown, given: unknown, position: number): (readonly [Tensor, Tensor])[] {
  const what = `backward's cotangents of argument ${position}`;
  return pairLeaves("customVjp", what, arg, given, true).flatMap((pair) => {
    if (!(pair.of instanceof Tensor) || !isFloat(pair.of.dtype)) return [];
    checkPair("customVjp", what, pair);
    return [[pair.of, pair.given] as const];
  });
}

/**
 * f with a reverse-mode rule of your own, as jax.custom_vjp. Forward-mode derivatives are those of f itself.
 *
 * @param forward (...args) gives [f(...args), residuals], residuals being any tree that `backward` needs
 * @param backward (residuals, cotangent) gives one tree of cotangents for each argument, null where there is none
 * @example
 * ```ts
 * import { customVjp, grad, type Tensor, tensor } from "voxgrad";
 *
 * // Gradient reversal (Ganin and Lempitsky, "Unsupervised domain adaptation by backpropagation", 2015).
 * const reversed = customVjp((x: Tensor) => x, (x: Tensor) => [x, null], (_, g) => [g.neg()]);
 * await grad((x: Tensor) => reversed(x).sum())(tensor([1, 2])).array(); // [-1, -1]
 * ```
 */
export function customVjp<A extends unknown[], R>(
  f: (...args: A) => R,
  forward: (...args: A) => [R, any],
  backward: (residuals: any, cotangent: any) => readonly any[],
  ...rest: never[]
): (...args: A) => R {
  refuseOptions("customVjp", rest);
  for (const [name, value] of Object.entries({ f, forward, backward })) checkFunction("customVjp", name, value);
  return (...args) =>
    callInRegion(
      "customVjp",
      f as Forward,
      args,
      (inside, out) => customRule(forward as Forward, backward, inside, out),
    );
}
