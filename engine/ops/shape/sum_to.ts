/** The adjoint of broadcasting. */
import { sameShape, type Shape } from "../../core/shape.ts";
import type { Tensor } from "../../core/tensor.ts";

type SumTo = (x: Tensor, shape: Shape) => Tensor;

let provided: SumTo | null = null;

/**
 * Provides the sum behind `sumTo`. The derivative of every elementwise operator ends in this sum, which is itself made
 * of elementwise operators: reduce.ts hands it over when it is loaded, so that neither file imports the other.
 */
export const provideSumTo = (implementation: SumTo): void => {
  provided = implementation;
};

/** x summed over the axes along which a tensor of `shape` was repeated to get the shape of x. */
export function sumTo(x: Tensor, shape: Shape): Tensor {
  if (sameShape(x.shape, shape)) return x;
  if (!provided) throw new Error("sumTo: engine/ops/reduce/reduce.ts is not loaded; import engine/ops/mod.ts");
  return provided(x, shape);
}
