/** f16 among the arguments of operators. */
import { Tensor } from "../core/tensor.ts";
import * as tree from "../core/tree.ts";
import { cast } from "./elementwise.ts";

const isHalf = (x: unknown): boolean => x instanceof Tensor && x.dtype === "f16";
const isSingle = (x: unknown): boolean => x instanceof Tensor && x.dtype === "f32";
/** Arguments, and options one by one. */
const flat = (args: readonly unknown[]): unknown[] =>
  args.flatMap((x) =>
    typeof x === "object" && x !== null && !(x instanceof Tensor) && !ArrayBuffer.isView(x) ? Object.values(x) : [x],
  );
const wide = <A>(args: A): A => tree.map(args, (leaf) => (isHalf(leaf) ? cast(leaf, "f32") : leaf));

/**
 * f with f16 tensors among its arguments or options computed in f32, and its result brought back to f16 unless `keep`.
 * Sums of many terms need it, and most kernels are written for f32.
 */
export function inF32<A extends any[]>(f: (...args: A) => Tensor, keep = false): (...args: A) => Tensor {
  return (...args) => {
    const tensors = flat(args);
    if (!tensors.some(isHalf)) return f(...args);
    const y = f(...wide(args));
    return keep || tensors.some(isSingle) || y.dtype !== "f32" ? y : cast(y, "f16");
  };
}

/** f, whose kernels take f16 as it is, with f16 tensors cast to f32 where they meet f32 ones. */
export const inOneFloat =
  <A extends any[]>(f: (...args: A) => Tensor): ((...args: A) => Tensor) =>
  (...args) => {
    const tensors = flat(args);
    return f(...(tensors.some(isHalf) && tensors.some(isSingle) ? wide(args) : args));
  };
