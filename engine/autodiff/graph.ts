/** Walks over the graph between the inputs of a derivative and its outputs. */
import { isFloat } from "../core/dtype.ts";
import { check } from "../core/errors.ts";
import { Tensor } from "../core/tensor.ts";
import * as tree from "../core/tree.ts";
import { alias } from "../ops/reshape.ts";

/** Nodes on paths from `inputs` to `outputs` through real-valued tensors, in order of creation. */
export function between(inputs: readonly Tensor[], outputs: readonly Tensor[]): Tensor[] {
  const seen = new Set<Tensor>();
  const stack = [...outputs];
  while (stack.length > 0) {
    const t = stack.pop()!;
    if (seen.has(t)) continue;
    seen.add(t);
    if (t.source.kind === "op") stack.push(...t.source.inputs);
  }
  const reached = new Set<Tensor>(inputs);
  const ordered = [...seen].sort((a, b) => a.id - b.id);
  return ordered.filter((t) => {
    if (reached.has(t)) return true;
    const hit = isFloat(t.dtype) && t.source.kind === "op" && t.source.inputs.some((x) => reached.has(x));
    if (hit) reached.add(t);
    return hit;
  });
}

/** The leaves of a tree as nodes of their own, so that derivatives by them leave other uses of the same tensors alone. */
export function freshLeaves(name: string, argument: unknown): { tree: any; leaves: Tensor[] } {
  const leaves: Tensor[] = [];
  const fresh = tree.map(argument, (leaf, path) => {
    check(leaf instanceof Tensor, name, () => `the leaf ${path || "argument"} is not a tensor: ${String(leaf)}`);
    check(
      isFloat(leaf.dtype),
      name,
      () => `the leaf ${path || "argument"} is ${leaf.dtype}, which has no gradient; pass it as a later argument`,
    );
    const node = alias(leaf);
    leaves.push(node);
    return node;
  });
  return { tree: fresh, leaves };
}
