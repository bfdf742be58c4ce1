/** Slice and pad, which are each other's adjoints. */
import { type Expr, infix, joined, u32 } from "../../core/expr.ts";
import type { Op } from "../../core/op.ts";
import { checkShape, sameShape, strides } from "../../core/shape.ts";
import { node, type Tensor } from "../../core/tensor.ts";
import { constant } from "../elementwise/constant.ts";

interface PadAttrs {
  readonly before: readonly number[];
  readonly after: readonly number[];
  /** Values inserted between neighbors. */
  readonly interior: readonly number[];
  readonly value: number;
}

const padOp: Op<PadAttrs> = {
  name: "pad",
  lowering: {
    kind: "map",
    cost: 2,
    emit(e, index) {
      const { before, after, interior, value } = e.attrs;
      const from = e.inputs[0].shape;
      if (from.includes(0)) return constant(value, e.output.dtype);
      const tests: Expr[] = [];
      const rewrite = from.map((n, k) => {
        const step = interior[k] + 1;
        if (before[k] === 0 && after[k] === 0 && step === 1) return null;
        return (i: Expr) => {
          // Below `before` the difference wraps around to a large number, so one comparison tests both ends.
          const place = e.bind(before[k] === 0 ? i : infix(i, "-", u32(before[k])), "u32");
          tests.push(infix(place, "<", u32((n - 1) * step + 1)));
          if (step === 1) return place;
          tests.push(infix(infix(place, "%", u32(step)), "==", u32(0)));
          return infix(place, "/", u32(step));
        };
      });
      const inner = index.along(from, rewrite);
      return e.select(
        tests.length > 0 ? joined("&", tests) : constant(1, "bool"),
        e.output.dtype,
        () => e.input(0, inner),
        () => constant(value, e.output.dtype),
      );
    },
  },
  vjp: ({ inputs: [x], attrs: { before, interior } }, g) => [
    sliceFrom(g, { start: before, step: interior.map((n) => n + 1) }, x.shape),
  ],
  jvp: (c, [t]) => dilatedPad(t!, { ...c.attrs, value: 0 }),
  batch: ({ inputs: [x], attrs: { before, after, interior, value } }) =>
    dilatedPad(x, { before: [0, ...before], after: [0, ...after], interior: [0, ...interior], value }),
};

/** Pad that also inserts `interior` values between neighbors. */
export function dilatedPad(x: Tensor, attrs: PadAttrs): Tensor {
  const none = (list: readonly number[]): boolean => list.every((n) => n === 0);
  if (none(attrs.before) && none(attrs.after) && none(attrs.interior)) return x;
  const shape = x.shape.map((n, k) => n + Math.max(0, n - 1) * attrs.interior[k] + attrs.before[k] + attrs.after[k]);
  checkShape("pad", shape);
  return node(padOp, [x], attrs, shape, x.dtype);
}

interface SliceAttrs {
  readonly start: readonly number[];
  readonly step: readonly number[];
}

const sliceOp: Op<SliceAttrs> = {
  name: "slice",
  lowering: {
    kind: "map",
    cost: 1,
    emit(e, index) {
      const { start, step } = e.attrs;
      const from = e.inputs[0].shape;
      const rewrite = from.map((n, k) => {
        if (n === e.output.shape[k]) return null;
        return (i: Expr) => {
          const scaled = step[k] === 1 ? i : infix(i, "*", u32(step[k]));
          return start[k] === 0 ? scaled : infix(scaled, "+", u32(start[k]));
        };
      });
      const steps = strides(from);
      const first = steps.reduce((sum, n, k) => sum + n * start[k], 0);
      const last = steps.reduce((sum, n, k) => sum + n * step[k] * (e.output.shape[k] - 1), first);
      // A slice of whole rows shifts a kernel's offsets by a constant.
      const rows = index.span && step[0] === 1 && from.every((n, k) => k === 0 || n === e.output.shape[k]);
      const [least, end] = rows ? [index.span.from + first, index.span.to + first] : [first, last + 1];
      return e.input(0, index.along(from, rewrite).bounded(least, end));
    },
  },
  // The adjoint puts every value back at its source position, with zeros elsewhere.
  vjp: ({ inputs: [x], output, attrs: { start, step } }, g) => {
    const after = x.shape.map(
      (n, k) => n - start[k] - (output.shape[k] === 0 ? 0 : (output.shape[k] - 1) * step[k] + 1),
    );
    return [dilatedPad(g, { before: start, after, interior: step.map((s) => s - 1), value: 0 })];
  },
  jvp: (c, [t]) => sliceFrom(t!, c.attrs, c.output.shape),
  batch: ({ inputs: [x], size, output, attrs: { start, step } }) =>
    sliceFrom(x, { start: [0, ...start], step: [1, ...step] }, [size, ...output.shape]),
};

/** The elements start, start + step, ... of x; `shape` gives their number along each axis. */
export const sliceFrom = (x: Tensor, attrs: SliceAttrs, shape: readonly number[]): Tensor =>
  sameShape(x.shape, shape) ? x : node(sliceOp, [x], attrs, shape, x.dtype);
