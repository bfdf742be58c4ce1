/** What losses of single positions share. */
import { isFloat } from "../../core/dtype.ts";
import { check, show } from "../../core/errors.ts";
import { sameShape } from "../../core/shape.ts";
import { Tensor } from "../../core/tensor.ts";
import { cast } from "../../ops/elementwise/elementwise.ts";
import { mean, sum } from "../../ops/reduce/reduce.ts";

export interface ReductionOptions {
  /** Over positions: the mean (default), the sum, or none. */
  reduction?: "mean" | "sum" | "none";
}

/** Losses of positions, reduced as asked. */
export function reduced(name: string, losses: Tensor, { reduction = "mean" }: ReductionOptions): Tensor {
  check(
    reduction === "mean" || reduction === "sum" || reduction === "none",
    name,
    () => `reduction is "mean", "sum" or "none", got ${show(reduction)}`,
  );
  return reduction === "mean" ? mean(losses) : reduction === "sum" ? sum(losses) : losses;
}

/** Two float tensors of one shape, in f32. Shapes do not broadcast here, where that is nearly always a mistake. */
export function pairOf(name: string, prediction: Tensor, what: string, target: Tensor): [Tensor, Tensor] {
  check(
    prediction instanceof Tensor && isFloat(prediction.dtype),
    name,
    () => `the prediction is a tensor of f32 or f16, got ${show(prediction)}`,
  );
  check(
    target instanceof Tensor && sameShape(target.shape, prediction.shape),
    name,
    () => `${what} has the shape of the prediction, ${prediction}, got ${show(target)}; reshape or broadcast it first`,
  );
  return [cast(prediction, "f32"), cast(target, "f32")];
}
