/** Cross-entropy from logits: with integer labels over classes, and binary with targets in [0, 1]. */
import { check, checkOptions, refuseOptions, show } from "../../core/errors.ts";
import { normalizeAxis, sameShape } from "../../core/shape.ts";
import { Tensor } from "../../core/tensor.ts";
import { arange, tensor } from "../elementwise/creation.ts";
import {
  cast,
  div,
  equal,
  greaterEqual,
  less,
  logicalAnd,
  mul,
  neg,
  notEqual,
  softplus,
  sub,
  where,
} from "../elementwise/elementwise.ts";
import { computeInF32 } from "../promote_f16.ts";
import { logSumExp, mean, sum } from "./reduce.ts";
import { expandDims, reshape } from "../shape/reshape.ts";
import { take } from "../shape/take.ts";

/**
 * Mean over positions of -weight[label] log softmax(logits)[label], divided by the sum of weights, as PyTorch.
 *
 * @param logits f32 with classes along `axis` (default 1), such as [N, K, D, H, W]
 * @param labels i32 or u32 of the logits' shape without that axis; a label outside [0, K), unless it is ignoreIndex,
 *   makes the loss NaN (PyTorch raises, but values are not known here before the device has computed)
 * @param options.weight K class weights
 * @param options.ignoreIndex positions with this label are ignored; if all have it, the result is NaN, as in PyTorch
 * @example
 * ```ts
 * import { crossEntropy, random, tensor } from "voxgrad";
 *
 * const logits = random.normal(random.key(0), { shape: [1, 3, 2, 2] });
 * const labels = tensor([[[0, 1], [2, 255]]], { dtype: "i32" });
 * const loss = crossEntropy(logits, labels, { axis: 1, ignoreIndex: 255 });
 * ```
 */
export const crossEntropy: (
  logits: Tensor,
  labels: Tensor,
  options?: { axis?: number; weight?: readonly number[] | Tensor; ignoreIndex?: number },
) => Tensor = computeInF32(
  (logits, labels, options = {}) => {
    checkOptions("crossEntropy", options, ["axis", "weight", "ignoreIndex"]);
    check(
      logits instanceof Tensor && logits.dtype === "f32",
      "crossEntropy",
      () => `logits are an f32 tensor, got ${show(logits)}`,
    );
    const axis = normalizeAxis("crossEntropy", options.axis ?? 1, logits.rank);
    const positions = logits.shape.filter((_, k) => k !== axis);
    check(
      labels instanceof Tensor && (labels.dtype === "i32" || labels.dtype === "u32"),
      "crossEntropy",
      () => `labels are an i32 or u32 tensor, got ${show(labels)}`,
    );
    check(
      sameShape(labels.shape, positions),
      "crossEntropy",
      () =>
        `labels have the shape ${show(positions)} of the logits ${show(logits.shape)} without axis ${axis}, got ${
          show(labels.shape)
        }`,
    );
    const classes = logits.shape[axis];
    check(classes > 0, "crossEntropy", () => `logits ${show(logits.shape)} have no class along axis ${axis}`);
    const column = reshape(arange(classes), { shape: logits.shape.map((_, k) => (k === axis ? classes : 1)) });
    const hit = equal(expandDims(labels, { axis }), column);
    // log softmax(x)[label] = x[label] - log(sum(exp(x))): two sums over the classes that are independent of each
    // other.
    const labelLogit = sum(where(hit, logits, 0), { axes: [axis] });
    const inside = logicalAnd(greaterEqual(labels, 0), less(labels, classes));
    const { weight, ignoreIndex } = options;
    const chosen = where(inside, sub(labelLogit, logSumExp(logits, { axes: [axis] })), NaN);
    check(
      ignoreIndex === undefined || Number.isInteger(ignoreIndex),
      "crossEntropy",
      () => `ignoreIndex is an integer, got ${show(ignoreIndex)}`,
    );
    if (weight === undefined && ignoreIndex === undefined) return neg(mean(chosen));
    let factor = weight === undefined
      ? cast(equal(labels, labels), "f32")
      : take(checkWeight(weight, classes), cast(labels, "i32"));
    const counts = ignoreIndex === undefined ? null : notEqual(labels, ignoreIndex);
    if (counts) factor = where(counts, factor, 0);
    const terms = mul(chosen, factor);
    return neg(div(sum(counts ? where(counts, terms, 0) : terms), sum(factor)));
  },
  { keep: true },
);

function checkWeight(weight: readonly number[] | Tensor, classes: number): Tensor {
  const right = weight instanceof Tensor
    ? weight.dtype === "f32" && weight.rank === 1 && weight.size === classes
    : Array.isArray(weight) && weight.length === classes && weight.every((w) => typeof w === "number");
  check(
    right,
    "crossEntropy",
    () => `weight is an array of ${classes} numbers or an f32 tensor of shape [${classes}], got ${show(weight)}`,
  );
  return weight instanceof Tensor ? weight : tensor(weight, { dtype: "f32" });
}

/**
 * Mean of -(t log s + (1 - t) log(1 - s)) with s = sigmoid(logits), without overflow; targets in [0, 1].
 *
 * @example
 * ```ts
 * import { binaryCrossEntropyWithLogits, tensor } from "voxgrad";
 *
 * await binaryCrossEntropyWithLogits(tensor([0, 2]), tensor([1, 0])).item(); // 1.41
 * ```
 */
export const binaryCrossEntropyWithLogits: (logits: Tensor, targets: Tensor, ...rest: never[]) => Tensor = computeInF32(
  (logits, targets, ...rest) => {
    refuseOptions("binaryCrossEntropyWithLogits", rest);
    check(
      logits instanceof Tensor && targets instanceof Tensor && sameShape(logits.shape, targets.shape),
      "binaryCrossEntropyWithLogits",
      () => `logits and targets are tensors of one shape, got ${show(logits)} and ${show(targets)}`,
    );
    // -(t log s + (1 - t) log(1 - s)) = softplus(x) - x t
    return mean(sub(softplus(logits), mul(logits, cast(targets, "f32"))));
  },
  { keep: true },
);
