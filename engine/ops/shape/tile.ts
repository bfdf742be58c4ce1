/** tile and repeat: copies of a tensor, or of its entries. */
import { check, checkOptions, ifTraced, show } from "../../core/errors.ts";
import { checkShape, normalizeAxis } from "../../core/shape.ts";
import { checkTensor, type Tensor } from "../../core/tensor.ts";
import { tensor } from "../elementwise/creation.ts";
import { broadcastTo } from "./broadcast_to.ts";
import { flatten, reshape } from "./reshape.ts";
import { take } from "./take.ts";

const isCount = (n: unknown): n is number => Number.isInteger(n) && (n as number) >= 0;

/**
 * Copies of x side by side, as `numpy.tile`.
 *
 * @param options.reps copies along each axis. Fewer numbers than axes count for the last ones, more add leading axes;
 *   one number counts for the last axis
 * @example
 * ```ts
 * import { tensor } from "voxgrad";
 *
 * await tensor([1, 2]).tile({ reps: 2 }).array(); // [1, 2, 1, 2]
 * await tensor([1, 2]).tile({ reps: [2, 1] }).array(); // [[1, 2], [1, 2]]
 * ```
 */
export function tile(x: Tensor, options: { reps: number | readonly number[] }): Tensor {
  checkTensor("tile", x);
  checkOptions("tile", options, ["reps"]);
  const given: unknown = typeof options.reps === "number" ? [options.reps] : options.reps;
  check(
    Array.isArray(given) && given.every(isCount),
    "tile",
    () => `reps is an integer >= 0 or a list of them, got ${show(options.reps)}${ifTraced(options.reps)}`,
  );
  const rank = Math.max(x.rank, given.length);
  const lead = (list: readonly number[]): number[] => [...new Array<number>(rank - list.length).fill(1), ...list];
  const [shape, reps] = [lead(x.shape), lead(given)];
  const tiled = shape.map((n, k) => n * reps[k]);
  checkShape("tile", tiled);
  const apart = reshape(x, { shape: shape.flatMap((n) => [1, n]) });
  return reshape(broadcastTo(apart, { shape: shape.flatMap((n, k) => [reps[k], n]) }), { shape: tiled });
}

/**
 * Repeats each entry along an axis, as `numpy.repeat` and `torch.repeat_interleave`.
 *
 * @param options.repeats one number, or one for each entry of the axis
 * @param options.axis default: x is repeated as if it were flat
 * @example
 * ```ts
 * import { tensor } from "voxgrad";
 *
 * await tensor([1, 2]).repeat({ repeats: 2 }).array(); // [1, 1, 2, 2]
 * await tensor([[1], [2]]).repeat({ repeats: [1, 2], axis: 0 }).array(); // [[1], [2], [2]]
 * ```
 */
export function repeat(x: Tensor, options: { repeats: number | readonly number[]; axis?: number }): Tensor {
  checkTensor("repeat", x);
  checkOptions("repeat", options, ["repeats", "axis"]);
  const { repeats, axis: given } = options;
  const y = given === undefined ? flatten(x) : x;
  const axis = normalizeAxis("repeat", given ?? 0, y.rank);
  const n = y.shape[axis];
  check(
    isCount(repeats) || (Array.isArray(repeats) && repeats.length === n && repeats.every(isCount)),
    "repeat",
    () => `repeats is an integer >= 0, or one for each of the ${n} entries, got ${show(repeats)}${ifTraced(repeats)}`,
  );
  const lengths = (length: number): number[] => y.shape.map((m, k) => (k === axis ? length : m));
  if (typeof repeats === "number") {
    checkShape("repeat", lengths(n * repeats));
    const [before, after] = [y.shape.slice(0, axis + 1), y.shape.slice(axis + 1)];
    const apart = broadcastTo(reshape(y, { shape: [...before, 1, ...after] }), {
      shape: [...before, repeats, ...after],
    });
    return reshape(apart, { shape: lengths(n * repeats) });
  }
  checkShape("repeat", lengths(repeats.reduce((a, b) => a + b, 0)));
  const places = repeats.flatMap((count, k) => new Array<number>(count).fill(k));
  return take(y, tensor(new Int32Array(places)), { axis });
}
