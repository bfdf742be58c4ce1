/** f16 arguments of operators, and the effect of mixed precision on each kind of operator. */
import { mixed, withPrecision } from "../core/precision.ts";
import { Tensor } from "../core/tensor.ts";
import * as tree from "../core/tree.ts";
import { cast } from "./elementwise/elementwise.ts";

const isHalf = (x: unknown): x is Tensor => x instanceof Tensor && x.dtype === "f16";
const isSingle = (x: unknown): x is Tensor => x instanceof Tensor && x.dtype === "f32";
/** Arguments, with options flattened. */
const flat = (args: readonly unknown[]): unknown[] =>
  args.flatMap((x) =>
    typeof x === "object" && x !== null && !(x instanceof Tensor) && !ArrayBuffer.isView(x) ? Object.values(x) : [x]
  );
const wide = <A>(args: A): A => tree.map(args as unknown, (x) => (isHalf(x) ? cast(x, "f32") : x)) as A;
const narrow = <A>(args: A): A => tree.map(args as unknown, (x) => (isSingle(x) ? cast(x, "f16") : x)) as A;

export interface PromoteOptions {
  /**
   * In mixed precision a product takes and returns f16, a layer returns the type of its first input, a sum returns
   * f32. Otherwise each returns f16 if all its tensors are f16. Default: "layer".
   */
  kind?: "product" | "layer" | "sum";
  /** The result is always f32; default: false. */
  keep?: boolean;
}

/**
 * Computes f in f32: casts f16 arguments and options to f32, and the result back to f16 if its kind requires it. Long
 * sums need the precision, and most kernels support only f32.
 */
export function computeInF32<A extends unknown[]>(
  f: (...args: A) => Tensor,
  { kind = "layer", keep = false }: PromoteOptions = {},
): (...args: A) => Tensor {
  // Inside a layer or a sum, operators run in f32.
  const inside = (args: A): Tensor => (kind === "product" ? f(...args) : withPrecision(null, () => f(...args)));
  return (...given) => {
    const args = kind === "product" && mixed() ? narrow(given) : given;
    const tensors = flat(args);
    if (!tensors.some(isHalf)) return inside(args);
    const y = inside(wide(args));
    const isWide = mixed() ? kind === "sum" || !isHalf(args[0]) : tensors.some(isSingle);
    return keep || isWide || y.dtype !== "f32" ? y : cast(y, "f16");
  };
}

/** For a product whose kernels support f16: casts f16 tensors to f32 only if they are mixed with f32 ones. */
export const unifyFloatTypes =
  <A extends unknown[]>(f: (...args: A) => Tensor): (...args: A) => Tensor => (...args) => {
    if (mixed()) return f(...narrow(args));
    const tensors = flat(args);
    return f(...(tensors.some(isHalf) && tensors.some(isSingle) ? wide(args) : args));
  };
