/** Deep supervision: one loss over outputs of several scales. */
import { check, checkOptions, show } from "../../core/errors.ts";
import { Tensor } from "../../core/tensor.ts";
import { tensor } from "../../ops/elementwise/creation.ts";
import { add, mul } from "../../ops/elementwise/elementwise.ts";
import { slice } from "../../ops/shape/slice.ts";
import { take } from "../../ops/shape/take.ts";

/**
 * Resizes integer labels [N, ...space] on the device by nearest neighbor: voxel i takes the value at index floor((i +
 * 0.5) old / new), torch's "nearest-exact", which nnU-Net uses for deep supervision.
 *
 * @example
 * ```ts
 * import { tensor } from "voxgrad";
 * import { resizeLabels } from "voxgrad/nn";
 *
 * await resizeLabels(tensor([[0, 1, 2, 3]], { dtype: "i32" }), [2]).array(); // [[1, 3]]
 * ```
 */
export function resizeLabels(labels: Tensor, size: readonly number[]): Tensor {
  const space = labels.shape.slice(1);
  check(
    Array.isArray(size) && size.length === space.length && size.every((n) => Number.isInteger(n) && n >= 1),
    "resizeLabels",
    () => `the size has ${space.length} integers >= 1 for labels ${show(labels.shape)}, got ${show(size)}`,
  );
  // An integer factor is a strided slice, which fuses into the kernels that use it at no cost.
  const factors = space.map((n, k) => n / size[k]);
  const whole = (f: number): boolean => Number.isInteger(f);
  let result = labels;
  if (factors.some((f) => whole(f) && f > 1)) {
    result = slice(labels, {
      start: [0, ...factors.map((f) => (whole(f) ? Math.floor(f / 2) : 0))],
      step: [1, ...factors.map((f) => (whole(f) ? f : 1))],
    });
  }
  factors.forEach((f, k) => {
    if (whole(f)) return;
    const places = Int32Array.from(
      { length: size[k] },
      (_, i) => Math.floor(((2 * i + 1) * space[k]) / (2 * size[k])),
    );
    result = take(result, tensor(places), { axis: k + 1 });
  });
  return result;
}

/**
 * Weights of `count` outputs, finest first: 1/2^i, the coarsest 0, normalized to sum 1, as nnU-Net v2 (so two outputs
 * have weights 1 and 0). A single output has weight 1.
 *
 * @param options.coarsest whether the coarsest output counts; default: false
 * @example
 * ```ts
 * import { deepSupervisionWeights } from "voxgrad/nn";
 *
 * deepSupervisionWeights(4); // [0.571, 0.286, 0.143, 0]
 * ```
 */
export function deepSupervisionWeights(count: number, options: { coarsest?: boolean } = {}): number[] {
  checkOptions("deepSupervisionWeights", options, ["coarsest"]);
  check(
    Number.isInteger(count) && count >= 1,
    "deepSupervisionWeights",
    () => `count is an integer >= 1, got ${show(count)}`,
  );
  const dropped = options.coarsest || count === 1 ? -1 : count - 1;
  const weights = Array.from({ length: count }, (_, i) => (i === dropped ? 0 : 2 ** -i));
  const total = weights.reduce((a, b) => a + b, 0);
  return weights.map((w) => w / total);
}

/**
 * The weighted sum of a loss over the outputs of a deeply supervised network (Lee et al. 2015), with labels resized to
 * each output. Outputs of weight 0 are skipped.
 *
 * @param loss takes one output [N, K, ...space] and its labels [N, ...space]
 * @param outputs finest first; a single tensor is a list of one
 * @param labels at full size, or a list with labels for each output
 * @param options.weights one number per output, not normalized; default: deepSupervisionWeights(outputs.length)
 * @example
 * ```ts
 * import { random, zeros } from "voxgrad";
 * import { deepSupervision, diceCrossEntropy } from "voxgrad/nn";
 *
 * const fine = random.normal(random.key(0), { shape: [1, 2, 8, 8, 8] });
 * const coarse = random.normal(random.key(1), { shape: [1, 2, 4, 4, 4] });
 * const loss = deepSupervision(diceCrossEntropy, [fine, coarse], zeros([1, 8, 8, 8], { dtype: "i32" }));
 * ```
 */
export function deepSupervision(
  loss: (output: Tensor, labels: Tensor) => Tensor,
  outputs: Tensor | readonly Tensor[],
  labels: Tensor | readonly Tensor[],
  options: { weights?: readonly number[] } = {},
): Tensor {
  checkOptions("deepSupervision", options, ["weights"]);
  const list = outputs instanceof Tensor ? [outputs] : outputs;
  check(list.length > 0, "deepSupervision", () => "there is no output");
  const weights = options.weights ?? deepSupervisionWeights(list.length);
  check(
    weights.length === list.length && weights.some((w) => w !== 0),
    "deepSupervision",
    () => `weights has ${list.length} numbers, one per output and not all 0, got ${show(weights)}`,
  );
  check(
    labels instanceof Tensor || labels.length === list.length,
    "deepSupervision",
    () => `labels are one tensor or one per output (${list.length}), got ${(labels as readonly Tensor[]).length}`,
  );
  let total: Tensor | null = null;
  list.forEach((output, k) => {
    if (weights[k] === 0) return;
    const at = labels instanceof Tensor ? resizeLabels(labels, output.shape.slice(2)) : labels[k];
    const term = mul(loss(output, at), weights[k]);
    total = total === null ? term : add(total, term);
  });
  return total!;
}
