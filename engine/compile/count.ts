/** What a function computes, counted in its graph: no device is asked, nothing is allocated or run. */
import { ancestors, type Tensor } from "../core/tensor.ts";
import * as tree from "../core/tree.ts";
import { isTraced, trace } from "./trace.ts";

/** A convolution, a derivative of one, or a product of matrices. */
export interface ProductCount {
  /** "conv", "convInputGrad" (a transposed convolution too), "convWeightGrad" or "matmul". */
  readonly operator: string;
  /** Papers often call these FLOPs; counted apart, multiplications and additions are twice as many. */
  readonly multiplyAdds: number;
  /** Paths of the arguments that its second factor, the filters of a convolution, is made of: "0.stem.weight". */
  readonly from: readonly string[];
}

/**
 * The products that a function of tensors is made of, in order, whatever their sizes: values are not looked at. A
 * convolution counts places in the padding like others. Norms, activations, resampling and sums are not counted.
 *
 * @param f gives a tree of tensors
 * @param args trees of tensors; numbers are traced as scalars
 * @throws VoxgradError when f gives no tensor, or as its operators do
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
  const pathOf = new Map(placeholders.map((t, k) => [t, paths[k]]));
  const counts: ProductCount[] = [];
  for (const t of ancestors(outputs, inputsAndExpansion)) {
    if (t.source.kind !== "op" || !t.source.op.multiplyAdds) continue;
    const { op, inputs } = t.source;
    const from = ancestors([inputs[1]], inputsAndExpansion).flatMap((each) => pathOf.get(each) ?? []);
    counts.push({ operator: op.name, multiplyAdds: op.multiplyAdds!(inputs, t), from });
  }
  return counts;
}

/** The inputs of a tensor, and what a composite operator expands to. */
function inputsAndExpansion(t: Tensor): readonly Tensor[] {
  if (t.source.kind !== "op") return [];
  const { op, inputs, attrs } = t.source;
  return op.lowering.kind === "composite" ? [...inputs, op.lowering.expand(inputs, attrs)] : inputs;
}
