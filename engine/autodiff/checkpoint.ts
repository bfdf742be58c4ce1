/** checkpoint: recompute values in the backward pass instead of keeping them. */
import { checkFunction, refuseOptions } from "../core/errors.ts";
import type { Tensor } from "../core/tensor.ts";
import { recompute } from "../ops/shape/reshape.ts";
import { callInRegion, type RegionRule } from "./region.ts";
import { ancestorsSince, parentsOf, substitute, unitOf } from "./unit.ts";

/** The tensors without a counterpart in `known` that `outputs`, or what has one, are made of. */
function capturedOf(outputs: readonly Tensor[], known: ReadonlyMap<Tensor, Tensor>): Tensor[] {
  const first = Math.min(...[...known.keys()].map((t) => t.id));
  const inside = ancestorsSince(outputs, first, (t) => !known.has(t)).filter((t) => known.has(t));
  const made = new Set([...outputs, ...inside.flatMap((t) => [...parentsOf(t), ...(unitOf(t)?.outputs ?? [])])]);
  return [...made].filter((t) => !known.has(t));
}

const rule: RegionRule = {
  backward({ inputs, outputs }, cotangents, wanted, pull) {
    const hit = outputs.map((_, k) => k).filter((k) => cotangents[k] !== null);
    const fresh = inputs.map(recompute);
    const known = new Map(inputs.map((t, k) => [t, fresh[k]]));
    const again = substitute(hit.map((k) => outputs[k]), known);
    // Tensors that the function captures are not recomputed, but they need cotangents too.
    const captured = capturedOf(hit.map((k) => outputs[k]), known).filter(wanted);
    const grads = pull(
      [...fresh, ...captured],
      again,
      hit.map((k) => cotangents[k]!),
    );
    return [...inputs, ...captured].map((t, k) => [t, grads[k]] as const);
  },
  batched: () => rule,
};

/**
 * Saves memory in reverse mode: a call keeps only its arguments, and the backward pass recomputes the intermediate
 * values at the cost of one more forward pass (Griewank and Walther, "Revolve", 2000). Checkpoints may be nested.
 *
 * @param f a function from trees of tensors to a tree of tensors
 * @returns a function with the same values and derivatives as f
 * @throws VoxgradError at the call if f is asynchronous or returns a leaf that is not a tensor
 * @example
 * ```ts
 * import { checkpoint, conv3d, grad, ones, type Tensor } from "voxgrad";
 *
 * const block = checkpoint((weight: Tensor, x: Tensor) => conv3d(x, weight, { padding: 1 }).relu());
 * const loss = (weight: Tensor) => block(weight, ones([1, 1, 4, 4, 4])).square().mean();
 * const slope = grad(loss)(ones([2, 1, 3, 3, 3])); // [2, 1, 3, 3, 3]
 * ```
 */
export function checkpoint<A extends unknown[] = Tensor[], R = Tensor>(
  f: (...args: A) => R,
  ...rest: never[]
): (...args: A) => R {
  refuseOptions("checkpoint", rest);
  checkFunction("checkpoint", "the argument", f);
  return (...args) => callInRegion("checkpoint", f, args, () => rule);
}
