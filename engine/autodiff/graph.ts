/** Graph traversal between the inputs of a derivative and its outputs. */
import { type DType, isFloat } from "../core/dtype.ts";
import { check, show } from "../core/errors.ts";
import { checkPair, pairLeaves } from "../core/pair.ts";
import { Tensor } from "../core/tensor.ts";
import * as tree from "../core/tree.ts";
import { cast } from "../ops/elementwise/elementwise.ts";
import { alias, isStopGradient } from "../ops/shape/reshape.ts";
import { ancestorsSince, parentsOf } from "./unit.ts";

/** Nodes on paths from `inputs` to `outputs` through float tensors, in order of creation. */
export function between(inputs: readonly Tensor[], outputs: readonly Tensor[]): Tensor[] {
  const reached = new Set<Tensor>(inputs);
  // Nodes older than the oldest input cannot depend on an input.
  const first = Math.min(...inputs.map((t) => t.id));
  return ancestorsSince(outputs, first, isStopGradient).filter((t) => {
    if (reached.has(t)) return true;
    if (isStopGradient(t)) return false;
    const hit = isFloat(t.dtype) && parentsOf(t).some((x) => reached.has(x));
    if (hit) reached.add(t);
    return hit;
  });
}

/** Aliases the leaves of a tree, so that derivatives with respect to them ignore other uses of the same tensors. */
export function freshLeaves(name: string, argument: unknown): { tree: unknown; leaves: Tensor[] } {
  const leaves: Tensor[] = [];
  const fresh = tree.map(argument, (leaf, path) => {
    check(
      leaf instanceof Tensor,
      name,
      () => `arguments are trees of tensors, got ${show(leaf)}${path && ` at ${path}`}`,
    );
    check(
      isFloat(leaf.dtype),
      name,
      () =>
        `the ${
          path ? `leaf ${path}` : "argument"
        } is ${leaf.dtype}, which has no gradient; use f32 or f16, or capture it`,
    );
    const node = alias(leaf);
    leaves.push(node);
    return node;
  });
  check(argument !== undefined && argument !== null, name, () => `arguments are trees of tensors, got ${argument}`);
  return { tree: fresh, leaves };
}

/** The leaves of a tree of tangents or cotangents, in the order of the tensors they match by path. */
export function directionsOf(name: string, what: string, of: unknown, given: unknown): Tensor[] {
  return pairLeaves(name, what, of, given).map((pair) => {
    const { of, given } = checkPair(name, what, pair);
    return alike(given, of);
  });
}

/** The dtype of derivatives of a value. */
export const floatOf = (dtype: DType): DType => (isFloat(dtype) ? dtype : "f32");

/** Casts a tangent or cotangent to the dtype of the tensor it belongs to. */
export const alike = (t: Tensor, of: Tensor): Tensor => cast(t, floatOf(of.dtype));
