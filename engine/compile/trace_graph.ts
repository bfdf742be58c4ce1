/** The graph of a function, for programs that translate it. */
import type { DType } from "../core/dtype.ts";
import { checkFunction, checkOptions } from "../core/errors.ts";
import type { Shape } from "../core/shape.ts";
import { ancestors, type Tensor } from "../core/tensor.ts";
import * as tree from "../core/tree.ts";
import { isTraced, trace } from "./trace.ts";

/** A value of a traced function. */
export interface TracedValue {
  readonly shape: Shape;
  readonly dtype: DType;
  /** The operator that computes it, as derivative rules name it; null for arguments and constants. */
  readonly operator: string | null;
  readonly inputs: readonly TracedValue[];
  /** What the operator knows beside its inputs: axes, strides, ... */
  readonly attributes: Readonly<Record<string, unknown>>;
  /** Path of an argument: "0.conv.weight" is in the first. */
  readonly argument?: string;
  /** A tensor that the function uses from outside. */
  readonly constant?: Tensor;
}

/** A traced function. */
export interface TracedGraph {
  /** In an order in which they can be computed: arguments and constants that are used, and results of operators. */
  readonly values: readonly TracedValue[];
  /** The tensors that it returns, by their paths. */
  readonly outputs: ReadonlyMap<string, TracedValue>;
}

/**
 * Traces a function of trees of tensors without computing anything, as JAX's make_jaxpr does.
 *
 * @param f returns a tree of tensors
 * @param args trees of tensors, of which only shapes and types count
 * @param options.keep whether an operator that is made of others is wanted whole, by its name; default: none is
 * @throws VoxgradError if f returns no tensor, or as its operators do
 * @example
 * ```ts
 * import { ones, relu, type Tensor, traceGraph } from "voxgrad";
 *
 * const { values } = traceGraph((x: Tensor, y: Tensor) => relu(x.matmul(y)), [ones([2, 3]), ones([3, 4])]);
 * console.log(values.map(({ operator, argument }) => operator ?? argument).join(" ")); // 0 1 reshape ... relu
 * ```
 */
export function traceGraph<A extends unknown[]>(
  f: (...args: A) => unknown,
  args: A,
  options: { keep?: (operator: string) => boolean } = {},
): TracedGraph {
  checkFunction("traceGraph", "the first argument", f);
  checkOptions("traceGraph", options, ["keep"]);
  const { keep = () => false } = options;
  const paths: string[] = [];
  tree.map(args, (leaf, path) => {
    if (isTraced(leaf)) paths.push(path);
  });
  const { placeholders, result } = trace("traceGraph", f, args);
  const argumentOf = new Map(placeholders.map((t, k) => [t, paths[k]]));
  const expansions = new Map<Tensor, Tensor>();
  const expanded = (t: Tensor): Tensor | undefined => {
    if (t.source.kind !== "op") return undefined;
    const { op, inputs, attrs } = t.source;
    if (op.lowering.kind !== "composite" || keep(op.name)) return undefined;
    let other = expansions.get(t);
    if (!other) expansions.set(t, other = op.lowering.expand(inputs, attrs));
    return other;
  };
  const inputsOf = (t: Tensor): readonly Tensor[] => {
    const other = expanded(t);
    return other ? [other] : t.source.kind === "op" ? t.source.inputs : [];
  };
  const made = new Map<Tensor, TracedValue>();
  const values: TracedValue[] = [];
  const valueOf = (t: Tensor): TracedValue => made.get(t)!;
  const outputs = tree.flatten({ result } as object) as ReadonlyMap<string, Tensor>;
  for (const t of inOrder([...outputs.values()], inputsOf)) {
    const other = expanded(t);
    if (other) {
      made.set(t, valueOf(other));
      continue;
    }
    const { shape, dtype, source } = t;
    const argument = argumentOf.get(t);
    const value: TracedValue = source.kind === "op" && argument === undefined
      ? { shape, dtype, operator: source.op.name, inputs: source.inputs.map(valueOf), attributes: source.attrs }
      : { shape, dtype, operator: null, inputs: [], attributes: {}, ...(argument ? { argument } : { constant: t }) };
    made.set(t, value);
    values.push(value);
  }
  const named = [...outputs].map(([path, t]) => [path.replace(/^result\.?/, ""), valueOf(t)] as const);
  return { values, outputs: new Map(named) };
}

/** All that outputs are made of, inputs first; an expansion is newer than what it stands for. */
function inOrder(outputs: readonly Tensor[], inputsOf: (t: Tensor) => readonly Tensor[]): Tensor[] {
  const all = ancestors(outputs, inputsOf);
  const [order, done] = [[] as Tensor[], new Set<Tensor>()];
  for (const start of all) {
    const stack = [start];
    while (stack.length > 0) {
      const t = stack.at(-1)!;
      const open = done.has(t) ? [] : inputsOf(t).filter((input) => !done.has(input));
      if (open.length > 0) stack.push(...open);
      else {
        stack.pop();
        if (!done.has(t)) order.push(t);
        done.add(t);
      }
    }
  }
  return order;
}
