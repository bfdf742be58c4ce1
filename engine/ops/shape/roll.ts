/** roll: shifts values along axes, with wrap-around. */
import { check, checkOptions, show } from "../../core/errors.ts";
import { normalizeAxis } from "../../core/shape.ts";
import { checkTensor, type Tensor } from "../../core/tensor.ts";
import { concat } from "./concat.ts";
import { reshape } from "./reshape.ts";
import { slice } from "./slice.ts";

/**
 * Shifts values along axes as `torch.roll`: the value at index i moves to index i + shift, with wrap-around.
 *
 * @param options.shift offset, negative towards the start; one for all `axes`, or one per axis
 * @param options.axes default: x is rolled as if it were flat
 * @returns a tensor of the shape of x
 * @throws VoxgradError unless shift is one integer or one per axis
 * @example
 * ```ts
 * import { roll, tensor } from "voxgrad";
 *
 * await roll(tensor([1, 2, 3, 4]), { shift: 1 }).array(); // [4, 1, 2, 3]
 * await roll(tensor([[1, 2, 3], [4, 5, 6]]), { shift: -1, axes: [1] }).array(); // [[2, 3, 1], [5, 6, 4]]
 * ```
 */
export function roll(
  x: Tensor,
  options: { shift: number | readonly number[]; axes?: readonly number[] },
): Tensor {
  checkTensor("roll", x);
  checkOptions("roll", options, ["shift", "axes"]);
  const { shift, axes } = options;
  if (axes === undefined && x.rank !== 1) {
    return reshape(roll(reshape(x, { shape: [x.size] }), { shift }), { shape: x.shape });
  }
  check(axes === undefined || Array.isArray(axes), "roll", () => `axes are an array of integers, got ${show(axes)}`);
  const along = (axes ?? [0]).map((axis) => normalizeAxis("roll", axis, x.rank, "axes entry"));
  check(new Set(along).size === along.length, "roll", () => `axes ${show(axes)} name an axis twice`);
  const shifts = typeof shift === "number" ? along.map(() => shift) : shift;
  check(
    Array.isArray(shifts) && shifts.length === along.length && shifts.every(Number.isSafeInteger),
    "roll",
    () => `shift is an integer, or one for each of ${along.length} axes, got ${show(shift)}`,
  );
  return along.reduce((y, axis, k) => rollAxis(y, axis, shifts[k]), x);
}

function rollAxis(x: Tensor, axis: number, shift: number): Tensor {
  const n = x.shape[axis];
  const moved = n === 0 ? 0 : ((shift % n) + n) % n;
  if (moved === 0) return x;
  const bound = (value: number): number[] => x.shape.map((size, k) => (k === axis ? value : size));
  const start = bound(n - moved).map((value, k) => (k === axis ? value : 0));
  return concat([slice(x, { start }), slice(x, { end: bound(n - moved) })], { axis });
}
