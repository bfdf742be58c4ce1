/** Traces a function to a graph by calling it on placeholder tensors. */
import { check, show } from "../core/errors.ts";
import { collectPrints, type Print } from "../ops/prints.ts";
import { Tensor } from "../core/tensor.ts";
import { callTraced, refusePromise } from "../core/tracing.ts";
import * as tree from "../core/tree.ts";

/** Whether an argument leaf is traced: tensors and numbers are; anything else is part of the signature. */
export const isTraced = (leaf: unknown): leaf is Tensor | number => leaf instanceof Tensor || typeof leaf === "number";

export interface Trace {
  /** Placeholders of the traced argument leaves, in order. */
  readonly placeholders: readonly Tensor[];
  readonly result: unknown;
  /** The tensors of the result. */
  readonly outputs: readonly Tensor[];
  readonly prints: readonly Print[];
}

/** Calls f for `who`; numbers become f32 scalars, except in static arguments. */
export function trace<A extends unknown[]>(
  who: string,
  f: (...args: A) => unknown,
  args: readonly unknown[],
  isStatic: (position: number) => boolean = () => false,
): Trace {
  const placeholders: Tensor[] = [];
  const placeholder = (leaf: unknown): unknown => {
    if (!isTraced(leaf)) return leaf;
    const [shape, dtype] = leaf instanceof Tensor ? [leaf.shape, leaf.dtype] : [[], "f32" as const];
    placeholders.push(new Tensor(shape, dtype, { kind: "placeholder" }));
    return placeholders.at(-1);
  };
  const traced = args.map((arg, k) => (isStatic(k) ? arg : tree.map(arg, placeholder)));
  const { result, prints } = collectPrints(() => callTraced(who, () => f(...(traced as A))));
  tree.map(result, (leaf) => refusePromise(who, leaf));
  const outputs = tree.leaves(result).filter((x): x is Tensor => x instanceof Tensor);
  check(outputs.length > 0, who, () => `the function gives no tensor, got ${show(result)}`);
  return { placeholders, result, outputs, prints };
}
