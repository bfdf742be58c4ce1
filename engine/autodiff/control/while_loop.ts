/** whileLoop: a loop that ends by a condition, within a bound. */
import { check, checkFunction, checkOptions, ifTraced, show } from "../../core/errors.ts";
import type { Tensor } from "../../core/tensor.ts";
import * as tree from "../../core/tree.ts";
import { alikeLeaves, tensorsOf } from "./carry.ts";
import { checkPredicate, makeCond } from "./cond.ts";
import { type LoopOptions, repeat } from "./scan.ts";

export interface WhileOptions extends LoopOptions {
  /** The most steps; the loop ends after them even if the condition still holds. */
  bound: number;
}

/**
 * carry = body(carry) while condition(carry) holds, at most `bound` times, as jax.lax.while_loop, which has no bound.
 * The program always runs `bound` steps, and those after the end change nothing; in return it is differentiable in both
 * modes, which jax's is in forward mode only. Under vmap each example ends on its own. To end early outside of a
 * compiled function, read the condition: `while (await condition(x).item()) x = ...`.
 *
 * @param condition (carry) => a bool scalar
 * @param body (carry) => next carry, with the structure, shapes and dtypes of the carry
 * @param init the first carry, a tree of tensors
 * @param options.bound the most steps
 * @param options.checkpoint keep few carries for reverse mode, as in scan
 * @returns the last carry
 * @throws VoxgradError without a bound, for another condition, and if body changes the structure, a shape or a dtype of
 *   the carry, naming the path
 * @example
 * ```ts
 * import { grad, type Tensor, tensor, whileLoop } from "voxgrad";
 *
 * // Newton's method for the square root of a.
 * const root = (a: Tensor) =>
 *   whileLoop(
 *     (x: Tensor) => x.square().sub(a).abs().greater(1e-3),
 *     (x: Tensor) => x.add(a.div(x)).mul(0.5),
 *     tensor(1),
 *     { bound: 20 },
 *   );
 * const value = await root(tensor(2)).item(); // 1.4142
 * const slope = await grad(root)(tensor(2)).item(); // 0.3536
 * ```
 */
export function whileLoop<C>(
  condition: (carry: C) => Tensor,
  body: (carry: C) => C,
  init: C,
  options: WhileOptions,
): C {
  checkFunction("whileLoop", "condition", condition);
  checkFunction("whileLoop", "body", body);
  check(options !== undefined, "whileLoop", () => "options.bound, the most steps, is missing");
  checkOptions("whileLoop", options, ["bound", "checkpoint"]);
  const { bound, checkpoint } = options;
  check(
    Number.isInteger(bound) && bound >= 0,
    "whileLoop",
    () => `bound, the most steps, is an integer >= 0, got ${show(bound)}${ifTraced(bound)}`,
  );
  const carries = tensorsOf("whileLoop", "the first carry", init);
  const why = "with which the step began";
  const next = (carried: readonly Tensor[]): Tensor[] => {
    const carry: unknown = body(tree.rebuild(init, carried) as C);
    return alikeLeaves("whileLoop", "the carry that body returns", init, carry, why);
  };
  const done = repeat(
    "whileLoop",
    { length: bound, reverse: false, carries, slices: [], checkpoint },
    (_, carried) => {
      // Where it fails the carry stays as it is, so it fails from then on.
      const goes: unknown = condition(tree.rebuild(init, carried) as C);
      checkPredicate("whileLoop", "the condition", goes);
      return { carries: makeCond(goes, carried, next, (carried) => carried), kept: [] };
    },
  );
  return tree.rebuild(init, done.carries) as C;
}
