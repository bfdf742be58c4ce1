/** The walk over a graph that derivatives, compilation and diagnostics share. */
import type { Tensor } from "./tensor.ts";

/** The inputs of the operator that computes a tensor; none for a leaf. */
export const inputsOf = ({ source }: Tensor): readonly Tensor[] => source.kind === "op" ? source.inputs : [];

/**
 * All tensors that `outputs` are computed from, themselves included, in order of creation, which is a topological order.
 * The walk is iterative, so that a graph of any depth fits the stack.
 *
 * @param inputs the tensors that a tensor is computed from; default: its operator's inputs. Null leaves the tensor out
 */
export function ancestors(
  outputs: readonly Tensor[],
  inputs: (t: Tensor) => readonly Tensor[] | null = inputsOf,
): Tensor[] {
  const seen = new Set<Tensor>();
  const found: Tensor[] = [];
  const stack = [...outputs];
  while (stack.length > 0) {
    const t = stack.pop()!;
    if (seen.has(t)) continue;
    seen.add(t);
    const next = inputs(t);
    if (next === null) continue;
    found.push(t);
    for (const x of next) stack.push(x);
  }
  return found.sort((a, b) => a.id - b.id);
}
