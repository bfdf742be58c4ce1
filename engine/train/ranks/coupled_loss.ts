/** nnU-Net's loss of a global batch, computed in parts: Dice over the batch couples samples by sums over them all. */
import type { Tensor } from "../../core/tensor.ts";
import { regionTargets } from "../../nn/losses/dice.ts";
import {
  add,
  arange,
  cast,
  concat,
  div,
  equal,
  exp,
  expandDims,
  logicalAnd,
  logSoftmax,
  mean,
  mul,
  notEqual,
  reshape,
  sigmoid,
  slice,
  softplus,
  stopGradient,
  sub,
  sum,
  where,
} from "../../ops/mod.ts";

export interface CoupledLossOptions {
  /** Label values of each region, one sigmoid output each; default: classes, by a softmax. */
  readonly regions?: readonly (readonly number[])[] | undefined;
  readonly ignoreIndex?: number | undefined;
}

const SMOOTH = 1e-5;

/** Sums over the samples of a part: entropy of positions that count, their number, and two sums a class for Dice. */
function sums(logits: Tensor, labels: Tensor, { regions, ignoreIndex }: CoupledLossOptions) {
  const x = cast(logits, "f32");
  const [N, K, ...space] = x.shape;
  const label = expandDims(labels, { axis: 1 });
  const valid = ignoreIndex === undefined ? undefined : notEqual(label, ignoreIndex);
  const counted = (t: Tensor): Tensor => valid ? where(valid, t, 0) : t;
  const axes = x.shape.map((_, k) => k).filter((k) => k !== 1);
  const positions = N * space.reduce((a, b) => a * b, 1);
  const count = valid ? reshape(sum(cast(valid, "f32")), { shape: [1] }) : undefined;
  if (regions) {
    const target = cast(regionTargets(labels, regions), "f32");
    const entropy = sum(counted(sub(softplus(x), mul(target, x))));
    const [probability, hit] = [counted(sigmoid(x)), counted(target)];
    const both = sum(mul(probability, hit), { axes });
    return { entropy, positions, count, both, either: sum(add(probability, hit), { axes }), weight: K };
  }
  const log = logSoftmax(x, { axis: 1 });
  const column = reshape(arange(K), { shape: [1, K, ...space.map(() => 1)] });
  const hit = valid ? logicalAnd(equal(label, column), valid) : equal(label, column);
  const probability = counted(exp(log));
  const foreground = (t: Tensor): Tensor => slice(sum(t, { axes }), { start: [1] });
  return {
    entropy: mul(sum(where(hit, log, 0)), -1),
    positions,
    count,
    both: foreground(where(hit, probability, 0)),
    either: foreground(add(probability, cast(hit, "f32"))),
    weight: 1,
  };
}

const joined = ({ both, either, count }: { both: Tensor; either: Tensor; count: Tensor | undefined }): Tensor =>
  concat([both, either, ...(count ? [count] : [])]);

/**
 * What a part adds to the sums that couple the samples of a batch: for each class, or region, its overlap with the
 * label and the sum of both, and with `ignoreIndex` the number of positions that count.
 *
 * @param logits f32 or f16 [N, K, ...space]
 * @param labels i32 [N, ...space]
 * @returns f32, to be added over all parts
 * @example
 * ```ts
 * import { random, zeros } from "voxgrad";
 * import { coupledSums } from "voxgrad/train";
 *
 * const logits = random.normal(random.key(0), { shape: [1, 3, 4, 4, 4] });
 * coupledSums(logits, zeros([1, 4, 4, 4], { dtype: "i32" }), {}).shape; // [4]
 * ```
 */
export const coupledSums = (logits: Tensor, labels: Tensor, options: CoupledLossOptions): Tensor =>
  joined(sums(logits, labels, options));

/**
 * A part's share of Dice and cross-entropy of the whole batch: the shares of all parts add up to the loss, and their
 * gradients to its gradient.
 *
 * @param totals the sums of `coupledSums` over all parts
 * @param parts number of equal parts
 * @example
 * ```ts
 * import { random, zeros } from "voxgrad";
 * import { coupledLoss, coupledSums } from "voxgrad/train";
 *
 * const labels = zeros([1, 4, 4, 4], { dtype: "i32" });
 * const logits = [1, 2].map((seed) => random.normal(random.key(seed), { shape: [1, 3, 4, 4, 4] }));
 * const [a, b] = logits.map((part) => coupledSums(part, labels, {}));
 * const share = coupledLoss(logits[0], labels, a.add(b), 2, {});
 * ```
 */
export function coupledLoss(
  logits: Tensor,
  labels: Tensor,
  totals: Tensor,
  parts: number,
  options: CoupledLossOptions,
): Tensor {
  const own = sums(logits, labels, options);
  const mine = joined(own);
  // Its value is that of the totals; its derivative by this part's sums is 1.
  const all = add(totals, sub(mine, stopGradient(mine)));
  const classes = own.both.size;
  const both = slice(all, { end: [classes] });
  const either = slice(all, { start: [classes], end: [2 * classes] });
  const positions = own.count ? slice(totals, { start: [2 * classes] }) : own.positions * parts;
  const entropy = sum(div(own.entropy, mul(positions, own.weight)));
  const dice = sub(1, mean(div(add(mul(both, 2), SMOOTH), add(either, SMOOTH))));
  // Each part computes all of Dice: its value counts once, its derivative by this part's sums in full.
  return add(entropy, add(dice, mul(stopGradient(dice), 1 / parts - 1)));
}
