/** The adjoint of broadcasting. */
import { sameShape, type Shape } from "../../core/shape.ts";
import type { Tensor } from "../../core/tensor.ts";

type SumTo = (x: Tensor, shape: Shape) => Tensor;

let provided: SumTo | null = null;

/**
 * Sets the sum that `sumTo` uses. Derivatives of elementwise operators need this sum, which itself uses elementwise
 * operators; reduce.ts sets it at load time, which avoids an import cycle.
 */
export const provideSumTo = (implementation: SumTo): void => {
  provided = implementation;
};

/** Sums x over the axes along which a tensor of `shape` was broadcast to the shape of x. */
export function sumTo(x: Tensor, shape: Shape): Tensor {
  if (sameShape(x.shape, shape)) return x;
  if (!provided) throw new Error("sumTo: engine/ops/reduce/reduce.ts is not loaded; import engine/ops/mod.ts");
  return provided(x, shape);
}
