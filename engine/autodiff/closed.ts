/** Functions of tensors as graphs, which can be called again on other tensors. */
import type { Aval } from "../core/op.ts";
import { inputsOf, Tensor } from "../core/tensor.ts";
import { callTraced } from "../core/tracing.ts";
import { ancestorsSince, parentsOf, substitute, unitOf } from "./unit.ts";

/** `outputs` in terms of `params`, and of constants. */
export interface Closed {
  readonly params: readonly Tensor[];
  readonly outputs: readonly Tensor[];
}

/** The outputs of a closed function for other tensors. */
export const call = ({ params, outputs }: Closed, inputs: readonly Tensor[]): Tensor[] =>
  substitute(outputs, new Map(params.map((t, k) => [t, inputs[k]])));

/** Operators without inputs, such as full and arange, cost nothing to compute again. */
const isConstant = (t: Tensor): boolean => t.source.kind === "op" && inputsOf(t).length === 0;

/** Whether a tensor repeats the values of a smaller one, so that it should not be stored. */
function isBroadcast({ source, size }: Tensor): boolean {
  if (source.kind !== "op") return false;
  const { op, inputs } = source;
  return op.lowering.kind === "map" && op.lowering.cost === 0 && inputs.every((x) => x.size < size);
}

/**
 * Calls f on placeholders. `captured` are the tensors that the function takes after its own parameters: what it uses
 * besides them, and if it `hoists`, what it computes that does not depend on them.
 */
export function close(
  who: string,
  like: readonly Aval[],
  hoists: boolean,
  f: (params: readonly Tensor[]) => readonly Tensor[],
): Closed & { readonly captured: readonly Tensor[] } {
  const own = like.map(({ shape, dtype }) => new Tensor(shape, dtype, { kind: "placeholder" }));
  const first = own[0]?.id ?? new Tensor([], "bool", { kind: "placeholder" }).id;
  const outputs = callTraced(who, () => f(own));
  const order = ancestorsSince(outputs, first);
  const inside = new Set<Tensor>(own);
  const captured = new Set<Tensor>();
  for (const t of order) {
    const parents = parentsOf(t);
    if (hoists ? parents.some((x) => inside.has(x)) : parents.length > 0) inside.add(t);
  }
  // A unit lies inside as a whole.
  const used = (t: Tensor): readonly Tensor[] => [...parentsOf(t), ...(unitOf(t)?.outputs ?? [])];
  const capture = (t: Tensor): void => {
    if (inside.has(t) || isConstant(t)) return;
    if (isBroadcast(t)) inputsOf(t).forEach(capture);
    else captured.add(t);
  };
  for (const t of order) if (inside.has(t)) used(t).forEach(capture);
  outputs.forEach(capture);
  return { params: [...own, ...captured], outputs, captured: [...captured] };
}
