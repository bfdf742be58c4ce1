/** Splitting of operators on tensors that exceed a binding: the same values, computed in parts. */
import { fail } from "../core/errors.ts";
import type { Tensor } from "../core/tensor.ts";
import { concat } from "./shape/concat.ts";
import { slice } from "./shape/slice.ts";

/** Slice of x from `start` to `end` along an axis. */
export const range = (x: Tensor, axis: number, start: number, end: number): Tensor =>
  slice(x, {
    start: x.shape.map((_, k) => (k === axis ? start : 0)),
    end: x.shape.map((n, k) => (k === axis ? end : n)),
  });

/** Start and end of `count` nearly equal parts of 0 .. n. */
export function ranges(n: number, count: number): (readonly [number, number])[] {
  const step = Math.ceil(n / count);
  return Array.from({ length: Math.ceil(n / step) }, (_, k) => [k * step, Math.min(n, (k + 1) * step)] as const);
}

/** Parts along an axis of length n, so that no tensor has more than `most` elements per part. */
export function partsFor(name: string, tensors: readonly { readonly size: number }[], n: number, most: number): number {
  const largest = Math.max(...tensors.map((t) => t.size));
  const each = Math.floor((most / largest) * n);
  if (each < 1 || n < 2) {
    fail(name, `a tensor of ${largest} elements does not split into parts of ${most}; use a smaller batch or patch`);
  }
  return Math.ceil(n / each);
}

/** Applies f to parts of tensors along `axis` and concatenates along `to`. */
export const inParts = (
  tensors: readonly Tensor[],
  axis: number,
  count: number,
  f: (parts: readonly Tensor[]) => Tensor,
  to = axis,
): Tensor =>
  concat(
    ranges(tensors[0].shape[axis], count).map(([start, end]) => f(tensors.map((x) => range(x, axis, start, end)))),
    { axis: to },
  );
