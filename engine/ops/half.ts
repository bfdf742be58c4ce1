/** f16 for operators that compute in f32, and what mixed precision makes of each kind of operator. */
import { mixed } from "../core/precision.ts";
import { Tensor } from "../core/tensor.ts";
import * as tree from "../core/tree.ts";
import { cast } from "./elementwise.ts";

/**
 * What an operator does in mixed precision: a product takes f16 and gives f16; a layer gives the type of its first input,
 * computing in f32; a sum gives f32. Elsewhere an operator gives f16 where all that it takes is f16.
 */
export type Kind = "product" | "layer" | "sum";

const isHalf = (x: unknown): x is Tensor => x instanceof Tensor && x.dtype === "f16";
const inside = (x: unknown): unknown[] =>
  typeof x === "object" && x !== null && !(x instanceof Tensor) && !ArrayBuffer.isView(x) ? Object.values(x) : [x];

/** Arguments with their tensors of one float type in the other. */
const converted = <A extends any[]>(args: A, from: "f16" | "f32", to: "f16" | "f32"): A =>
  tree.map(args, (leaf) => (leaf instanceof Tensor && leaf.dtype === from ? cast(leaf, to) : leaf));

/** Whether f16 arguments make an f16 result. */
function staysHalf(kind: Kind, args: readonly unknown[], tensors: readonly unknown[]): boolean {
  if (mixed()) return kind !== "sum" && isHalf(args[0]);
  return !tensors.some((x) => x instanceof Tensor && x.dtype === "f32");
}

/**
 * f with f16 tensors among its arguments or options computed in f32, and its result brought back to f16 unless `keep`.
 * Sums of many terms need it, and kernels are written for f32.
 */
export function inF32<A extends any[]>(
  f: (...args: A) => Tensor,
  { kind = "layer", keep = false }: { kind?: Kind; keep?: boolean } = {},
): (...args: A) => Tensor {
  return (...given) => {
    const args = kind === "product" && mixed() ? converted(given, "f32", "f16") : given;
    const tensors = args.flatMap(inside);
    if (!tensors.some(isHalf)) return f(...args);
    const y = f(...converted(args, "f16", "f32"));
    return keep || y.dtype !== "f32" || !staysHalf(kind, args, tensors) ? y : cast(y, "f16");
  };
}
