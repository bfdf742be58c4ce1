/** argsort, sort and topK. */
import { check, checkFlag, checkOptions, ifTraced, show } from "../../core/errors.ts";
import { normalizeAxis } from "../../core/shape.ts";
import { checkTensor, type Tensor } from "../../core/tensor.ts";
import { cast } from "../elementwise/elementwise.ts";
import { narrow } from "../shape/parts.ts";
import { reshape } from "../shape/reshape.ts";
import { moveAxis } from "../shape/transpose.ts";
import { gatherAt } from "./gather.ts";
import { orderOf } from "./order.ts";

export interface SortOptions {
  /** Default: the last. */
  axis?: number;
  /** The largest first; default: false. */
  descending?: boolean;
}

/** The axis, after checking all arguments. */
function axisOf(name: string, x: Tensor, options: SortOptions): number {
  checkTensor(name, x);
  checkOptions(name, options, ["axis", "descending"]);
  checkFlag(name, "descending", options.descending);
  return normalizeAxis(name, options.axis ?? -1, x.rank);
}

function ordered(x: Tensor, axis: number, descending: boolean): Tensor {
  const wide = x.dtype === "f16" ? cast(x, "f32") : x;
  const last = moveAxis(wide, { source: axis, destination: -1 });
  const length = x.shape[axis];
  const lines = reshape(last, { shape: [length === 0 ? 0 : x.size / length, length] });
  return moveAxis(reshape(orderOf(lines, { descending }), { shape: last.shape }), { source: -1, destination: axis });
}

/**
 * The indices (i32) that sort x along an axis. Equal values keep their order. NaN counts as the largest value: it is
 * last, or first if `descending`, as in torch.
 *
 * @example
 * ```ts
 * import { tensor } from "voxgrad";
 *
 * await tensor([3, 1, 2, 1]).argsort().array(); // [1, 3, 2, 0]
 * ```
 */
export function argsort(x: Tensor, options: SortOptions = {}): Tensor {
  return ordered(x, axisOf("argsort", x, options), options.descending ?? false);
}

/**
 * x sorted along an axis. Equal values keep their order. NaN counts as the largest value: it is last, or first if
 * `descending`, as in torch. The gradient goes to where each value comes from.
 *
 * @example
 * ```ts
 * import { tensor } from "voxgrad";
 *
 * await tensor([3, 1, 2]).sort().array(); // [1, 2, 3]
 * await tensor([[3, 1], [1, 2]]).sort({ axis: 0, descending: true }).array(); // [[3, 2], [1, 1]]
 * ```
 */
export function sort(x: Tensor, options: SortOptions = {}): Tensor {
  const axis = axisOf("sort", x, options);
  return gatherAt(x, ordered(x, axis, options.descending ?? false), { axis, distinct: true });
}

/**
 * The k largest values along an axis, in order, and their indices (i32), as `torch.topk`. Of equal values the first
 * counts more. NaN counts as the largest value.
 *
 * @param options.k at most the size of the axis
 * @param options.axis default: the last
 * @param options.largest false: the smallest values instead; default: true
 * @returns [values, indices]
 * @throws VoxgradError if the axis is shorter than k
 * @example
 * ```ts
 * import { tensor } from "voxgrad";
 *
 * const [values, indices] = tensor([5, 1, 9, 7]).topK({ k: 2 });
 * await values.array(); // [9, 7]
 * await indices.array(); // [2, 3]
 * ```
 */
export function topK(
  x: Tensor,
  options: { k: number; axis?: number; largest?: boolean },
): [values: Tensor, indices: Tensor] {
  checkTensor("topK", x);
  checkOptions("topK", options, ["k", "axis", "largest"]);
  checkFlag("topK", "largest", options.largest);
  const axis = normalizeAxis("topK", options.axis ?? -1, x.rank);
  const { k, largest } = options;
  check(
    Number.isInteger(k) && k >= 0 && k <= x.shape[axis],
    "topK",
    () => `k is an integer from 0 to ${x.shape[axis]}, the size of axis ${axis}, got ${show(k)}${ifTraced(k)}`,
  );
  const indices = narrow(ordered(x, axis, largest ?? true), { axis, start: 0, length: k });
  return [gatherAt(x, indices, { axis, distinct: true }), indices];
}
