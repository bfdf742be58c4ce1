/** Splits convolutions of tensors that exceed a binding: by samples, and by slabs of the output. */
import { check, fail, show } from "../../core/errors.ts";
import type { Aval } from "../../core/op.ts";
import { type Shape, size } from "../../core/shape.ts";
import type { Tensor } from "../../core/tensor.ts";
import { inParts, partsFor, ranges } from "../split.ts";

export type Triple = readonly [number, number, number];

/** Sizes of the convolution x [N, C, ...input] with w [K, C / groups, ...kernel] to y [N, K, ...output]. */
export interface ConvAttrs {
  readonly groups: number;
  readonly input: Triple;
  readonly output: Triple;
  readonly kernel: Triple;
  readonly stride: Triple;
  readonly padding: Triple;
  readonly dilation: Triple;
}

export const put = (list: Triple, axis: number, value: number): Triple =>
  list.map((n, k) => (k === axis ? value : n)) as unknown as Triple;
export const widest = (list: Triple): number => [0, 1, 2].reduce((a, b) => (list[a] >= list[b] ? a : b));

/** Samples in groups that fit, or one by one. */
export function bySample(name: string, x: Tensor, output: Aval, most: number, f: (part: Tensor) => Tensor): Tensor {
  const each = Math.max(x.size, size(output.shape)) / x.shape[0];
  const count = each > most ? x.shape[0] : partsFor(name, [x, { size: size(output.shape) }], x.shape[0], most);
  return inParts([x], 0, count, ([part]) => f(part));
}

/** Twice the minimum, since slabs overlap; slabs that are still too large are split along another axis. */
export function slabCount(name: string, x: Tensor, output: Aval, n: number, most: number): number {
  const largest = Math.max(x.size, size(output.shape));
  if (n < 2) fail(name, `a tensor of ${largest} elements does not split into parts of ${most}; use fewer channels`);
  return Math.min(n, Math.ceil((2 * largest) / most));
}

/** Filters cannot be split. */
export function checkFilters(name: string, shape: Shape, most: number): void {
  check(
    size(shape) <= most,
    name,
    () => `filters ${show(shape)} have more than the ${most} elements that are bound at once; use fewer channels`,
  );
}

/** A part of the output along an axis, and the input range that it needs; null if that is only padding. */
export interface Slab {
  readonly axis: number;
  readonly inputs: readonly [number, number] | null;
  readonly outputs: readonly [number, number];
  readonly attrs: ConvAttrs;
}

export function slabs(name: string, x: Tensor, output: Aval, a: ConvAttrs, most: number): Slab[] {
  const axis = widest(a.output);
  const [n, stride, padding] = [a.input[axis], a.stride[axis], a.padding[axis]];
  const reach = (a.kernel[axis] - 1) * a.dilation[axis];
  return ranges(a.output[axis], slabCount(name, x, output, a.output[axis], most)).map(([from, to]) => {
    const start = from * stride - padding;
    const first = Math.max(0, start);
    const end = Math.min(n, (to - 1) * stride - padding + reach + 1);
    const own = {
      ...a,
      input: put(a.input, axis, end - first),
      output: put(a.output, axis, to - from),
      padding: put(a.padding, axis, first - start),
    };
    return { axis, inputs: end > first ? [first, end] : null, outputs: [from, to], attrs: own };
  });
}
