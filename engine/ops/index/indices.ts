/** Checks of indices. */
import { check, ifTraced, show } from "../../core/errors.ts";
import { checkTensor, Tensor } from "../../core/tensor.ts";

/**
 * Rejects anything but an i32 or u32 tensor, and indices that are known on the host and lie outside of [0, n). Others
 * are not known before the program runs.
 */
export function checkIndices(
  operator: string,
  indices: unknown,
  n: number,
  what = "indices",
): asserts indices is Tensor {
  checkTensor(operator, indices, what);
  check(
    indices.dtype === "i32" || indices.dtype === "u32",
    operator,
    () => `${what} are i32 or u32, got ${indices.dtype}`,
  );
  if (indices.source.kind !== "host") return;
  const { data } = indices.source;
  const wrong = data.findIndex((k: number) => k < 0 || k >= n);
  check(wrong < 0, operator, () => `${what} lie in [0, ${n}), got ${data[wrong]} at position ${wrong}`);
}

/** Rejects anything but a number of places: an integer >= 0. */
export function checkPlaces(operator: string, name: string, value: unknown): asserts value is number {
  check(
    Number.isInteger(value) && (value as number) >= 0,
    operator,
    () => `${name} is an integer >= 0, got ${show(value)}${ifTraced(value)}`,
  );
}
