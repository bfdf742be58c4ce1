/** checkpoint: recompute instead of keep. */
import { checkFunction, refuseOptions } from "../core/errors.ts";
import { node, type Tensor } from "../core/tensor.ts";
import { recompute } from "../ops/shape/reshape.ts";
import { ancestorsSince, callInRegion, makeRegion, regionOf, type RegionRule } from "./region.ts";

/** `outputs` again, with `known` in place of its keys, and the tensors that both versions use. */
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
    // What the function uses without being given it is not computed anew, but has its cotangent too.
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
 * f, of whose call reverse mode keeps the arguments alone: what else the derivative needs is computed anew. Less memory
 * for one more forward pass (Griewank and Walther, "Revolve", 2000); checkpoints may lie within each other.
 *
 * @param f a function of trees of tensors that gives a tree of tensors
 * @returns the same function: its values and derivatives are those of f
 * @example
 * ```ts
 * import { checkpoint, conv3d, grad, random, type Tensor } from "voxgrad";
 *
 * const x = random.normal(random.key(0), { shape: [1, 2, 8, 8, 8] });
 * const w = random.normal(random.key(1), { shape: [2, 2, 3, 3, 3] });
 * const block = checkpoint((w: Tensor, x: Tensor) => conv3d(x, w, { padding: 1 }).relu());
 * const gradient = grad((w: Tensor) => block(w, block(w, x)).square().mean())(w);
 * ```
 */
export function checkpoint<A extends unknown[], R>(f: (...args: A) => R, ...rest: never[]): (...args: A) => R {
  refuseOptions("checkpoint", rest);
  checkFunction("checkpoint", "the argument", f);
  return (...args) => callInRegion("checkpoint", f as (...all: any[]) => R, args, () => rule);
}
