/** Cross-entropy from logits: with integer labels over classes, and binary with targets in [0, 1]. */
import { check, checkOptions, show } from "../core/errors.ts";
import { normalizeAxis, sameShape } from "../core/shape.ts";
import { Tensor } from "../core/tensor.ts";
import { arange, tensor } from "./creation.ts";
import { cast, div, equal, mul, neg, notEqual, softplus, sub, where } from "./elementwise.ts";
import { mean, sum } from "./reduce.ts";
import { expandDims, reshape } from "./reshape.ts";
import { logSoftmax } from "./softmax.ts";
import { take } from "./take.ts";

/**
 * Mean over positions of -weight[label] log softmax(logits)[label], divided by the summed weights, as PyTorch.
 *
 * @param logits f32 with classes along `axis` (default 1), such as [N, K, D, H, W]
 * @param labels i32 or u32 of the logits' shape without that axis; a label outside [0, K) counts as no class at all
 * @param options.weight K class weights
 * @param options.ignoreIndex positions with this label have no part; if all have, the result is NaN, as in PyTorch
 * @example crossEntropy(logits, labels, { axis: 1, ignoreIndex: 255 })
 */
export function crossEntropy(
  logits: Tensor,
  labels: Tensor,
  options: { axis?: number; weight?: readonly number[] | Tensor; ignoreIndex?: number } = {},
): Tensor {
  checkOptions("crossEntropy", options, ["axis", "weight", "ignoreIndex"]);
  check(logits instanceof Tensor && logits.dtype === "f32", "crossEntropy", () => `logits are f32, got ${logits}`);
  const axis = normalizeAxis("crossEntropy", options.axis ?? 1, logits.rank);
  const positions = logits.shape.filter((_, k) => k !== axis);
  check(
    labels instanceof Tensor && (labels.dtype === "i32" || labels.dtype === "u32"),
    "crossEntropy",
    () => `labels are i32 or u32, got ${labels}`,
  );
  check(
    sameShape(labels.shape, positions),
    "crossEntropy",
    () =>
      `labels have the shape ${show(positions)} of the logits ${show(logits.shape)} without axis ${axis}, got ${show(labels.shape)}`,
  );
  const classes = logits.shape[axis]!;
  const column = reshape(arange(classes), { shape: logits.shape.map((_, k) => (k === axis ? classes : 1)) });
  const hit = equal(expandDims(labels, { axis }), column);
  const chosen = sum(where(hit, logSoftmax(logits, { axis }), 0), { axes: [axis] });
  const { weight, ignoreIndex } = options;
  if (weight === undefined && ignoreIndex === undefined) return neg(mean(chosen));
  let factor =
    weight === undefined ? cast(equal(labels, labels), "f32") : take(checkWeight(weight, classes), cast(labels, "i32"));
  if (ignoreIndex !== undefined) factor = where(notEqual(labels, ignoreIndex), factor, 0);
  return neg(div(sum(mul(chosen, factor)), sum(factor)));
}

function checkWeight(weight: readonly number[] | Tensor, classes: number): Tensor {
  const w = weight instanceof Tensor ? weight : tensor([...weight], { dtype: "f32" });
  check(
    w.rank === 1 && w.shape[0] === classes,
    "crossEntropy",
    () => `weight has ${classes} entries, got shape ${show(w.shape)}`,
  );
  return w;
}

/** Mean of -(t log s + (1 - t) log(1 - s)) with s = sigmoid(logits), without overflow; targets in [0, 1]. */
export function binaryCrossEntropyWithLogits(logits: Tensor, targets: Tensor): Tensor {
  check(
    logits instanceof Tensor && targets instanceof Tensor && sameShape(logits.shape, targets.shape),
    "binaryCrossEntropyWithLogits",
    () => `logits and targets have one shape, got ${logits} and ${targets}`,
  );
  // -(t log s + (1 - t) log(1 - s)) = softplus(x) - x t
  return mean(sub(softplus(logits), mul(logits, cast(targets, "f32"))));
}
