/** checkpoint: recompute values in the backward pass instead of keeping them. */
import { checkFunction, refuseOptions } from "../core/errors.ts";
import { node, type Tensor } from "../core/tensor.ts";
import { recompute } from "../ops/shape/reshape.ts";
import { ancestorsSince, callInRegion, makeRegion, regionOf, type RegionRule } from "./region.ts";

/** Rebuilds `outputs` with the keys of `known` replaced; returns them and the tensors that both versions share. */
function replay(outputs: readonly Tensor[], known: Map<Tensor, Tensor>): { again: Tensor[]; shared: Set<Tensor> } {
  const shared = new Set<Tensor>();
  const now = (t: Tensor): Tensor => {
    const replaced = known.get(t);
    if (!replaced) shared.add(t);
    return replaced ?? t;
  };
  const first = Math.min(...[...known.keys()].map((t) => t.id));
  for (const t of ancestorsSince(outputs, first)) {
    if (known.has(t) || t.source.kind !== "op") continue;
    const region = regionOf(t);
    if (region) {
      const copy = makeRegion(region.rule, region.inputs.map(now), region.outputs.map(now));
      region.results.forEach((result, k) => known.set(result, copy.results[k]));
    } else if (t.source.inputs.some((x) => known.has(x))) {
      known.set(t, node(t.source.op, t.source.inputs.map(now), t.source.attrs, t.shape, t.dtype));
    }
  }
  return { again: outputs.map(now), shared };
}

const rule: RegionRule = {
  backward({ inputs, outputs }, cotangents, pull, wanted) {
    const hit = outputs.map((_, k) => k).filter((k) => cotangents[k] !== null);
    const fresh = inputs.map(recompute);
    const { again, shared } = replay(
      hit.map((k) => outputs[k]),
      new Map(inputs.map((t, k) => [t, fresh[k]])),
    );
    // Tensors that the function captures are not recomputed, but they need cotangents too.
    const captured = [...shared].filter(wanted);
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
