/** Losses of shapes: clDice for tubes, the boundary loss for outlines. */
import { vmap } from "../../autodiff/vmap.ts";
import { isFloat } from "../../core/dtype.ts";
import { check, checkOptions, show } from "../../core/errors.ts";
import { sameShape } from "../../core/shape.ts";
import { Tensor } from "../../core/tensor.ts";
import {
  add,
  cast,
  div,
  isFinite,
  logicalNot,
  minimum,
  mul,
  neg,
  notEqual,
  relu,
  sigmoid,
  sub,
  where,
} from "../../ops/elementwise/elementwise.ts";
import { maxPool2d, maxPool3d } from "../../ops/linear/pool.ts";
import { distanceTransform } from "../../ops/mask/distance_transform.ts";
import { mean, sum } from "../../ops/reduce/reduce.ts";
import { softmax } from "../../ops/reduce/softmax.ts";
import { reshape } from "../../ops/shape/reshape.ts";
import { slice } from "../../ops/shape/slice.ts";

export interface ClDiceOptions {
  /** Erosions by a voxel: the largest radius of a tube, in voxels; default: 3. */
  iterations?: number;
  /** Added to numerators and denominators; default: 1. */
  smooth?: number;
}

/**
 * Soft centerlines of masks with values in [0, 1], Shit et al. 2021 (algorithm 1): what an opening by a voxel removes,
 * over repeated erosions.
 *
 * @param masks f32 [N, C, H, W] or [N, C, D, H, W]
 * @param options.iterations erosions by a voxel; default: 3
 * @example
 * ```ts
 * import { ones } from "voxgrad";
 * import { softSkeleton } from "voxgrad/nn";
 *
 * const center = softSkeleton(ones([1, 1, 9, 9, 9])); // [1, 1, 9, 9, 9]
 * ```
 */
export function softSkeleton(masks: Tensor, options: { iterations?: number } = {}): Tensor {
  checkOptions("softSkeleton", options, ["iterations"]);
  const { iterations = 3 } = options;
  check(
    masks instanceof Tensor && isFloat(masks.dtype) && (masks.rank === 4 || masks.rank === 5),
    "softSkeleton",
    () => `masks are f32 [N, C, H, W] or [N, C, D, H, W], got ${show(masks)}`,
  );
  check(
    Number.isInteger(iterations) && iterations >= 0,
    "softSkeleton",
    () => `iterations is an integer >= 0, got ${show(iterations)}`,
  );
  const dims = masks.rank - 2;
  const pool = dims === 2 ? maxPool2d : maxPool3d;
  const widest = (x: Tensor, kernel: readonly number[]): Tensor =>
    pool(x, { kernel, stride: 1, padding: kernel.map((k) => (k - 1) / 2) });
  const along = Array.from({ length: dims }, (_, axis) => Array.from({ length: dims }, (_, k) => (k === axis ? 3 : 1)));
  // The smallest of neighbors along each axis.
  const erode = (x: Tensor): Tensor => along.map((kernel) => neg(widest(neg(x), kernel))).reduce(minimum);
  const dilate = (x: Tensor): Tensor => widest(x, new Array(dims).fill(3));
  const removed = (x: Tensor, eroded: Tensor): Tensor => relu(sub(x, dilate(eroded)));
  let x = cast(masks, "f32");
  let eroded = erode(x);
  let skeleton = removed(x, eroded);
  for (let k = 0; k < iterations; k++) {
    x = eroded;
    eroded = erode(x);
    const more = removed(x, eroded);
    skeleton = add(skeleton, relu(sub(more, mul(skeleton, more))));
  }
  return skeleton;
}

/**
 * 1 - soft clDice, Shit et al. 2021 (Eq. 3): how much of the predicted centerline lies within the true mask, and of the
 * true centerline within the predicted mask. It keeps vessels and airways connected; the paper adds it to Dice. Sums
 * are over the batch and channels, as in the official code.
 *
 * @param probabilities of the foreground, f32 [N, C, H, W] or [N, C, D, H, W]
 * @param targets of the same shape, in [0, 1]
 * @example
 * ```ts
 * import { random, sigmoid } from "voxgrad";
 * import { clDice } from "voxgrad/nn";
 *
 * const logits = random.normal(random.key(0), { shape: [1, 1, 8, 8, 8] });
 * const loss = clDice(sigmoid(logits), logits.greater(0).cast("f32"), { iterations: 2 });
 * ```
 */
export function clDice(probabilities: Tensor, targets: Tensor, options: ClDiceOptions = {}): Tensor {
  checkOptions("clDice", options, ["iterations", "smooth"]);
  const { iterations = 3, smooth = 1 } = options;
  check(
    probabilities instanceof Tensor && isFloat(probabilities.dtype) &&
      (probabilities.rank === 4 || probabilities.rank === 5),
    "clDice",
    () => `probabilities are f32 [N, C, H, W] or [N, C, D, H, W], got ${show(probabilities)}`,
  );
  check(
    targets instanceof Tensor && sameShape(targets.shape, probabilities.shape),
    "clDice",
    () => `targets have the shape of the probabilities, ${probabilities}, got ${show(targets)}`,
  );
  check(smooth >= 0, "clDice", () => `smooth is a number >= 0, got ${show(smooth)}`);
  const [p, t] = [cast(probabilities, "f32"), cast(targets, "f32")];
  const [ofP, ofT] = [p, t].map((x) => softSkeleton(x, { iterations }));
  const share = (line: Tensor, mask: Tensor): Tensor => div(add(sum(mul(line, mask)), smooth), add(sum(line), smooth));
  const [precision, sensitivity] = [share(ofP, t), share(ofT, p)];
  return sub(1, div(mul(mul(precision, sensitivity), 2), add(precision, sensitivity)));
}

/**
 * How far each voxel is from a region's boundary: from the nearest voxel of the region, and inside, counted negative,
 * from the nearest voxel that does not belong to it. All 0 where a sample has no voxel of a region or no other.
 *
 * @param targets 0 or 1, [N, R, D, H, W]
 * @param options.spacing of voxels, one number or one an axis; default 1
 * @returns f32 of the same shape, in the unit of the spacing
 * @example
 * ```ts
 * import { tensor } from "voxgrad";
 * import { signedDistances } from "voxgrad/nn";
 *
 * const target = tensor([0, 1, 1, 1, 0]).reshape({ shape: [1, 1, 1, 1, 5] });
 * await signedDistances(target, { spacing: 2 }).array(); // [[[[[2, -2, -4, -2, 2]]]]]
 * ```
 */
export function signedDistances(targets: Tensor, options: { spacing?: number | readonly number[] } = {}): Tensor {
  checkOptions("signedDistances", options, ["spacing"]);
  check(
    targets instanceof Tensor && targets.rank === 5 && targets.size > 0,
    "signedDistances",
    () => `targets are [N, R, depth, height, width], got ${show(targets)}`,
  );
  const [N, R, ...space] = targets.shape as [number, number, ...number[]];
  const inside = notEqual(reshape(targets, { shape: [N * R, ...space] }), 0);
  const distances = vmap((mask: Tensor) => distanceTransform(mask, options));
  const signed = sub(distances(logicalNot(inside)), distances(inside));
  // A mask without a zero is infinitely far from any.
  return reshape(where(isFinite(signed), signed, 0), { shape: targets.shape });
}

/**
 * Boundary loss (Kervadec et al., "Boundary loss for highly unbalanced segmentation", 2021): the mean over voxels and
 * regions of probability times signed distance. It is mixed with another loss L as alpha L + (1 - alpha) boundaryLoss.
 *
 * @param logits [N, R, D, H, W]; with multiClass [N, K, D, H, W], of which the background has no part
 * @param distances from signedDistances: [N, R, D, H, W], with multiClass [N, K - 1, D, H, W]
 * @example
 * ```ts
 * import { random, zeros } from "voxgrad";
 * import { boundaryLoss, signedDistances } from "voxgrad/nn";
 *
 * const logits = random.normal(random.key(0), { shape: [1, 1, 4, 8, 8] });
 * const loss = boundaryLoss(logits, signedDistances(zeros([1, 1, 4, 8, 8])));
 * ```
 */
export function boundaryLoss(logits: Tensor, distances: Tensor, options: { multiClass?: boolean } = {}): Tensor {
  checkOptions("boundaryLoss", options, ["multiClass"]);
  check(
    logits instanceof Tensor && isFloat(logits.dtype) && logits.rank === 5 && logits.size > 0,
    "boundaryLoss",
    () => `logits are f32 or f16 [N, R, depth, height, width], got ${show(logits)}`,
  );
  const x = cast(logits, "f32");
  const p = options.multiClass ? slice(softmax(x, { axis: 1 }), { start: [0, 1] }) : sigmoid(x);
  check(
    distances instanceof Tensor && isFloat(distances.dtype) && sameShape(distances.shape, p.shape),
    "boundaryLoss",
    () => `the map of distances is f32 of the shape ${show(p.shape)}, got ${show(distances)}`,
  );
  return mean(mul(p, distances));
}
