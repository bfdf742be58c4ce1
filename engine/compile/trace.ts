/** A function seen as a graph: called once on tensors without values. */
import { check } from "../core/errors.ts";
import { Tensor } from "../core/tensor.ts";
import * as tree from "../core/tree.ts";

/** An argument leaf: tensors and numbers are traced, anything else is part of the signature. */
export const isTraced = (leaf: unknown): leaf is Tensor | number => leaf instanceof Tensor || typeof leaf === "number";

export interface Trace {
  /** What stands for the traced leaves of the arguments, in order. */
  readonly placeholders: readonly Tensor[];
  readonly result: unknown;
  /** The tensors of the result. */
  readonly outputs: readonly Tensor[];
}

/** Calls f for `who`; numbers become f32 scalars. */
export function trace<A extends unknown[]>(who: string, f: (...args: A) => unknown, args: A): Trace {
  const placeholders: Tensor[] = [];
  const traced = tree.map(args, (leaf) => {
    if (!isTraced(leaf)) return leaf;
    const [shape, dtype] = leaf instanceof Tensor ? [leaf.shape, leaf.dtype] : [[], "f32" as const];
    const placeholder = new Tensor(shape, dtype, { kind: "placeholder" });
    placeholders.push(placeholder);
    return placeholder;
  });
  const result = f(...(traced as A));
  check(
    !(result instanceof Promise),
    who,
    () => "the function is asynchronous; it is traced before values exist, so do not await inside",
  );
  const outputs = tree.leaves(result).filter((x): x is Tensor => x instanceof Tensor);
  check(outputs.length > 0, who, () => "the function gives no tensor");
  return { placeholders, result, outputs };
}
