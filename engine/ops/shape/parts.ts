/** select, narrow, unstack and chunk: parts of a tensor along one axis. */
import { check, checkOptions, ifTraced, show } from "../../core/errors.ts";
import { normalizeAxis } from "../../core/shape.ts";
import { checkTensor, type Tensor } from "../../core/tensor.ts";
import { range } from "../split.ts";
import { reshape } from "./reshape.ts";
import { split } from "./slice.ts";

/** x without its axis, which has size 1. */
const without = (x: Tensor, axis: number): Tensor => reshape(x, { shape: x.shape.filter((_, k) => k !== axis) });

/**
 * The entry of x at `index` along an axis, which is removed, as `torch.select`.
 *
 * @param options.axis default: 0
 * @param options.index an integer; a negative one counts from the end. `take` selects by a tensor
 * @throws VoxgradError if the axis has no such entry
 * @example
 * ```ts
 * import { tensor } from "voxgrad";
 *
 * const x = tensor([[1, 2, 3], [4, 5, 6]]);
 * await x.select({ axis: 1, index: -1 }).array(); // [3, 6]
 * ```
 */
export function select(x: Tensor, options: { axis?: number; index: number }): Tensor {
  checkTensor("select", x);
  checkOptions("select", options, ["axis", "index"]);
  const axis = normalizeAxis("select", options.axis ?? 0, x.rank);
  const { index } = options;
  const n = x.shape[axis];
  check(
    Number.isInteger(index) && index >= -n && index < n,
    "select",
    () =>
      `index is an integer in [${-n}, ${n}), axis ${axis} of ${show(x.shape)}, got ${show(index)}${ifTraced(index)}` +
      (ifTraced(index) && ", or use take or dynamicSlice"),
  );
  const at = index < 0 ? index + n : index;
  return without(range(x, axis, at, at + 1), axis);
}

/**
 * `length` entries of x from `start` on along an axis, as `torch.narrow`.
 *
 * @param options.axis default: 0
 * @param options.start a negative one counts from the end
 * @throws VoxgradError if the axis is shorter
 * @example
 * ```ts
 * import { tensor } from "voxgrad";
 *
 * const x = tensor([[1, 2, 3], [4, 5, 6]]);
 * await x.narrow({ axis: 1, start: 1, length: 2 }).array(); // [[2, 3], [5, 6]]
 * ```
 */
export function narrow(x: Tensor, options: { axis?: number; start: number; length: number }): Tensor {
  checkTensor("narrow", x);
  checkOptions("narrow", options, ["axis", "start", "length"]);
  const axis = normalizeAxis("narrow", options.axis ?? 0, x.rank);
  const { start, length } = options;
  const n = x.shape[axis];
  check(
    Number.isInteger(start) && Number.isInteger(length),
    "narrow",
    () => {
      const traced = ifTraced(start) || ifTraced(length);
      return `start and length are integers, got ${show(start)} and ${show(length)}${traced}` +
        (traced && ", or use dynamicSlice");
    },
  );
  const from = start < 0 ? start + n : start;
  check(
    from >= 0 && length >= 0 && from + length <= n,
    "narrow",
    () => `axis ${axis} of ${show(x.shape)} does not have ${length} entries from ${start} on`,
  );
  return range(x, axis, from, from + length);
}

/**
 * The entries of x along an axis, each without it, as `torch.unbind`.
 *
 * @param options.axis default: 0
 * @example
 * ```ts
 * import { tensor } from "voxgrad";
 *
 * const [a, b] = tensor([[1, 2], [3, 4]]).unstack();
 * await b.array(); // [3, 4]
 * ```
 */
export function unstack(x: Tensor, options: { axis?: number } = {}): Tensor[] {
  checkTensor("unstack", x);
  checkOptions("unstack", options, ["axis"]);
  const axis = normalizeAxis("unstack", options.axis ?? 0, x.rank);
  return Array.from({ length: x.shape[axis] }, (_, k) => without(range(x, axis, k, k + 1), axis));
}

/**
 * Splits x along an axis into at most `parts` parts of one size, the last of which may be shorter, as `torch.chunk`.
 * `split` makes parts of given sizes.
 *
 * @param options.axis default: 0
 * @example
 * ```ts
 * import { tensor } from "voxgrad";
 *
 * const [a, b] = tensor([1, 2, 3, 4, 5]).chunk({ parts: 2 });
 * await a.array(); // [1, 2, 3]
 * await b.array(); // [4, 5]
 * ```
 */
export function chunk(x: Tensor, options: { parts: number; axis?: number }): Tensor[] {
  checkTensor("chunk", x);
  checkOptions("chunk", options, ["parts", "axis"]);
  const axis = normalizeAxis("chunk", options.axis ?? 0, x.rank);
  const { parts } = options;
  check(
    Number.isInteger(parts) && parts > 0,
    "chunk",
    () => `parts is an integer > 0, got ${show(parts)}${ifTraced(parts)}`,
  );
  const n = x.shape[axis];
  const length = Math.max(1, Math.ceil(n / parts));
  const sizes = Array.from({ length: Math.max(1, Math.ceil(n / length)) }, (_, k) => Math.min(length, n - k * length));
  return split(x, { sizes, axis });
}
