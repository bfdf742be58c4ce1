/** Counts the operations of a function from its graph: no device is used, nothing is allocated or run. */
import type { LoopAttrs } from "../core/op.ts";
import { ancestors, type Tensor } from "../core/tensor.ts";
import * as tree from "../core/tree.ts";
import { needed } from "./graph/loops.ts";
import { isTraced, trace } from "./trace.ts";

/** A convolution, a derivative of one, or a matrix product. */
export interface ProductCount {
  /** "conv", "convInputGrad" (also a transposed convolution), "convWeightGrad" or "matmul". */
  readonly operator: string;
  /** Papers often call these FLOPs; counting multiplications and additions separately gives twice as many. */
  readonly multiplyAdds: number;
  /** Paths of the arguments that its second factor, such as a convolution's filters, depends on: "0.stem.weight". */
  readonly from: readonly string[];
}

/**
 * The products of a function of tensors, in order. Works for any size, since nothing is computed. Padding counts as
 * values. Norms, activations, resampling and sums are not counted.
 *
 * @param f returns a tree of tensors
 * @param args trees of tensors; numbers are traced as scalars
 * @throws VoxgradError if f returns no tensor, or as its operators do
 * @example
 * ```ts
 * import { conv3d, countProducts, type Tensor, zeros } from "voxgrad";
 *
 * const network = (w: Tensor, x: Tensor) => conv3d(x, w, { padding: 1 });
 * const products = countProducts(network, zeros([32, 4, 3, 3, 3]), zeros([1, 4, 80, 160, 160]));
 * const total = products.reduce((sum, each) => sum + each.multiplyAdds, 0);
 * ```
 */
export function countProducts<A extends unknown[]>(f: (...args: A) => unknown, ...args: A): ProductCount[] {
  const paths: string[] = [];
  tree.map(args, (leaf, path) => {
    if (isTraced(leaf)) paths.push(path);
  });
  const { placeholders, outputs } = trace("countProducts", f, args);
  return countOf(outputs, new Map(placeholders.map((t, k) => [t, [paths[k]]])));
}

/** The products that `outputs` depend on; `known` gives the paths that the leaves depend on. */
function countOf(outputs: readonly Tensor[], known: ReadonlyMap<Tensor, readonly string[]>): ProductCount[] {
  const all = (list: readonly Tensor[]): Tensor[] => ancestors(list, (t) => known.has(t) ? [] : inputsAndExpansion(t));
  const pathsOf = (t: Tensor): string[] => [...new Set(all([t]).flatMap((each) => known.get(each) ?? []))];
  const order = all(outputs);
  return order.flatMap((t): ProductCount[] => {
    if (t.source.kind !== "op" || known.has(t)) return [];
    const { op, inputs, attrs } = t.source;
    if (op.lowering.kind === "loop") {
      const { loop } = attrs as LoopAttrs;
      const used = loop.results.map((_, k) => k).filter((k) => order.includes(loop.results[k]));
      if (loop.results[used[0]] !== t) return [];
      const step = [...needed(loop, new Set(used)).places.keys()].map((k) => loop.outputs[k]);
      const inner = countOf(step, new Map(loop.params.map((p, k) => [p, k > 0 ? pathsOf(inputs[k - 1]) : []])));
      return inner.map((each) => ({ ...each, multiplyAdds: loop.length * each.multiplyAdds }));
    }
    if (!op.multiplyAdds) return [];
    return [{ operator: op.name, multiplyAdds: op.multiplyAdds(inputs, t), from: pathsOf(inputs[1]) }];
  });
}

/** The inputs of a tensor; for a composite, its expansion. */
function inputsAndExpansion(t: Tensor): readonly Tensor[] {
  if (t.source.kind !== "op") return [];
  const { op, inputs, attrs } = t.source;
  return op.lowering.kind === "composite" ? [...inputs, op.lowering.expand(inputs, attrs)] : inputs;
}
