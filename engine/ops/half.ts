/** f16 for operators that compute in f32. */
import { Tensor } from "../core/tensor.ts";
import * as tree from "../core/tree.ts";
import { cast } from "./elementwise.ts";

/**
 * f with f16 tensors among its arguments or options computed in f32, and its result brought back to f16 unless `keep`.
 * Sums of many terms need it, and kernels are written for f32.
 */
export function inF32<A extends any[]>(f: (...args: A) => Tensor, keep = false): (...args: A) => Tensor {
  const half = (x: unknown): x is Tensor => x instanceof Tensor && x.dtype === "f16";
  const inside = (x: unknown): unknown[] =>
    typeof x === "object" && x !== null && !(x instanceof Tensor) && !ArrayBuffer.isView(x) ? Object.values(x) : [x];
  const wide = (args: A): A => tree.map(args, (leaf) => (half(leaf) ? cast(leaf, "f32") : leaf));
  return (...args) => {
    const tensors = args.flatMap(inside);
    if (!tensors.some(half)) return f(...args);
    const y = f(...wide(args));
    const mixed = tensors.some((x) => x instanceof Tensor && x.dtype === "f32");
    return keep || mixed || y.dtype !== "f32" ? y : cast(y, "f16");
  };
}
