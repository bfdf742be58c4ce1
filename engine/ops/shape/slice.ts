/** slice, split and flip: parts of a tensor along its axes. */
import { check, checkOptions, show } from "../../core/errors.ts";
import { infix, u32 } from "../../core/expr.ts";
import type { Op } from "../../core/op.ts";
import { normalizeAxes, normalizeAxis } from "../../core/shape.ts";
import { checkTensor, node, type Tensor } from "../../core/tensor.ts";
import { sliceFrom } from "./slice_ops.ts";

/**
 * Elements start, start + step, ... below end along each axis. The lists may be shorter than the rank; negative bounds
 * count from the end.
 *
 * @example
 * ```ts
 * import { tensor } from "voxgrad";
 *
 * const x = tensor([[1, 2, 3], [4, 5, 6]]);
 * await x.slice({ start: [1], end: [2] }).array(); // [[4, 5, 6]]
 * await x.slice({ start: [0, -2] }).array(); // [[2, 3], [5, 6]]
 * ```
 */
export function slice(
  x: Tensor,
  options: { start?: readonly number[]; end?: readonly number[]; step?: readonly number[] },
): Tensor {
  checkTensor("slice", x);
  checkOptions("slice", options, ["start", "end", "step"]);
  const { start = [], end = [], step = [] } = options;
  for (const list of [start, end, step]) {
    check(
      Array.isArray(list) && list.length <= x.rank && list.every(Number.isInteger),
      "slice",
      () => `start, end and step are up to ${x.rank} integers, got ${show(list)}`,
    );
  }
  const bound = (value: number, n: number): number => Math.min(n, Math.max(0, value < 0 ? value + n : value));
  const from = x.shape.map((n, k) => bound(start[k] ?? 0, n));
  const to = x.shape.map((n, k) => bound(end[k] ?? n, n));
  const by = x.shape.map((_, k) => step[k] ?? 1);
  check(
    by.every((s) => s >= 1),
    "slice",
    () => `steps are >= 1, got ${show(step)}; flip first for the other direction`,
  );
  const shape = x.shape.map((_, k) => Math.max(0, Math.ceil((to[k] - from[k]) / by[k])));
  return sliceFrom(x, { start: from, step: by }, shape);
}

/**
 * Splits x along an axis into equal parts, or parts of the given sizes.
 *
 * @example
 * ```ts
 * import { tensor } from "voxgrad";
 *
 * const [a, b] = tensor([1, 2, 3, 4, 5]).split({ sizes: [2, 3] });
 * await b.array(); // [3, 4, 5]
 * ```
 */
export function split(x: Tensor, options: { parts?: number; sizes?: readonly number[]; axis?: number }): Tensor[] {
  checkTensor("split", x);
  checkOptions("split", options, ["parts", "sizes", "axis"]);
  const axis = normalizeAxis("split", options.axis ?? 0, x.rank);
  const n = x.shape[axis];
  const { parts, sizes } = options;
  check((parts === undefined) !== (sizes === undefined), "split", () => "give either parts or sizes");
  check(
    sizes !== undefined || (Number.isInteger(parts) && parts! > 0 && n % parts! === 0),
    "split",
    () => `axis ${axis} of ${show(x.shape)} does not split into ${show(parts)} equal parts`,
  );
  const list = sizes === undefined ? new Array<number>(parts!).fill(n / parts!) : sizes;
  check(
    Array.isArray(list) && list.every((m) => Number.isInteger(m) && m >= 0) && list.reduce((a, b) => a + b, 0) === n,
    "split",
    () => `sizes are integers >= 0 with the sum ${n}, got ${show(list)}`,
  );
  let at = 0;
  return list.map((length) => {
    const start = x.shape.map((_, k) => (k === axis ? at : 0));
    at += length;
    return slice(x, { start, end: x.shape.map((m, k) => (k === axis ? at : m)) });
  });
}

const flipOp: Op<{ axes: readonly number[] }> = {
  name: "flip",
  lowering: {
    kind: "map",
    cost: 1,
    emit(e, index) {
      const { shape } = e.output;
      return e.input(
        0,
        index.along(
          shape,
          shape.map((n, k) => (e.attrs.axes.includes(k) ? (i) => infix(u32(n - 1), "-", i) : null)),
        ),
      );
    },
  },
  vjp: (c, g) => [flip(g, c.attrs)],
  jvp: (c, [t]) => flip(t!, c.attrs),
  batch: (c) => flip(c.inputs[0], { axes: c.attrs.axes.map((k) => k + 1) }),
};

/**
 * Reverses the order along axes (default: all).
 *
 * @example
 * ```ts
 * import { tensor } from "voxgrad";
 *
 * await tensor([[1, 2], [3, 4]]).flip({ axes: [1] }).array(); // [[2, 1], [4, 3]]
 * ```
 */
export function flip(x: Tensor, options: { axes?: readonly number[] } = {}): Tensor {
  checkTensor("flip", x);
  checkOptions("flip", options, ["axes"]);
  const axes = normalizeAxes("flip", options.axes, x.rank).filter((k) => x.shape[k] > 1);
  return axes.length === 0 ? x : node(flipOp, [x], { axes }, x.shape, x.dtype);
}
