/** pad with a constant. */
import { fits } from "../../core/dtype.ts";
import { check, checkOptions, show } from "../../core/errors.ts";
import { perAxis } from "../../core/shape.ts";
import { checkTensor, type Tensor } from "../../core/tensor.ts";
import { dilatedPad } from "./slice_ops.ts";

/**
 * Pads x with `before` and `after` values at the ends of each axis (one number, or one per axis); default: value 0.
 *
 * @example
 * ```ts
 * import { tensor } from "voxgrad";
 *
 * await tensor([1, 2]).pad({ before: 1, after: 2, value: -1 }).array(); // [-1, 1, 2, -1, -1]
 * ```
 */
export function pad(
  x: Tensor,
  options: { before?: number | readonly number[]; after?: number | readonly number[]; value?: number },
): Tensor {
  checkTensor("pad", x);
  checkOptions("pad", options, ["before", "after", "value"]);
  const before = perAxis("pad", "before", options.before ?? 0, x.rank, 0);
  const after = perAxis("pad", "after", options.after ?? 0, x.rank, 0);
  const value = options.value ?? 0;
  check(typeof value === "number", "pad", () => `value is a number, got ${show(value)}`);
  check(fits(value, x.dtype), "pad", () => `value ${value} does not fit dtype ${x.dtype}`);
  return dilatedPad(x, { before, after, interior: x.shape.map(() => 0), value });
}
