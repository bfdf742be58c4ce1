/** f16 among the arguments of operators, and what mixed precision makes of each kind of operator. */
import { mixed, withPrecision } from "../core/precision.ts";
import { Tensor } from "../core/tensor.ts";
import * as tree from "../core/tree.ts";
import { cast } from "./elementwise/elementwise.ts";

const isHalf = (x: unknown): x is Tensor => x instanceof Tensor && x.dtype === "f16";
const isSingle = (x: unknown): x is Tensor => x instanceof Tensor && x.dtype === "f32";
/** Arguments, and options one by one. */
const flat = (args: readonly unknown[]): unknown[] =>
  args.flatMap((x) =>
    typeof x === "object" && x !== null && !(x instanceof Tensor) && !ArrayBuffer.isView(x) ? Object.values(x) : [x]
  );
const wide = <A>(args: A): A => tree.map(args as unknown, (x) => (isHalf(x) ? cast(x, "f32") : x)) as A;
const narrow = <A>(args: A): A => tree.map(args as unknown, (x) => (isSingle(x) ? cast(x, "f16") : x)) as A;

export interface PromoteOptions {
  /**
   * In mixed precision a product takes f16 and gives f16, a layer gives the type of its first input, a sum gives f32.
   * Elsewhere each gives f16 where all its tensors are f16. Default "layer".
   */
  kind?: "product" | "layer" | "sum";
  /** The result stays f32 in any case; default false. */
  keep?: boolean;
}

/**
 * f with f16 tensors among its arguments or options computed in f32, and its result brought back to f16 where its kind
 * asks for that. Sums of many terms need it, and most kernels are written for f32.
 */
export function computeInF32<A extends unknown[]>(
  f: (...args: A) => Tensor,
  { kind = "layer", keep = false }: PromoteOptions = {},
): (...args: A) => Tensor {
  // What a layer or a sum is made of is f32.
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

/** f, a product whose kernels take f16 as it is, with f16 tensors cast to f32 where they meet f32 ones. */
export const unifyFloatTypes =
  <A extends unknown[]>(f: (...args: A) => Tensor): (...args: A) => Tensor => (...args) => {
    if (mixed()) return f(...narrow(args));
    const tensors = flat(args);
    return f(...(tensors.some(isHalf) && tensors.some(isSingle) ? wide(args) : args));
  };
