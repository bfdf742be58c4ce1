/** pad with a constant, and the dilated form that is the adjoint of a strided slice. */
import { fits } from "../../core/dtype.ts";
import { check, checkOptions, show } from "../../core/errors.ts";
import type { Op } from "../../core/op.ts";
import { checkShape, perAxis } from "../../core/shape.ts";
import { checkTensor, node, type Tensor } from "../../core/tensor.ts";
import { constant } from "../elementwise/constant.ts";
import { slice } from "./slice.ts";

interface PadAttrs {
  readonly before: readonly number[];
  readonly after: readonly number[];
  /** Values inserted between neighbors. */
  readonly interior: readonly number[];
  readonly value: number;
}

const op: Op<PadAttrs> = {
  name: "pad",
  lowering: {
    kind: "map",
    cost: 2,
    emit(e, index) {
      const { before, after, interior, value } = e.attrs;
      const from = e.inputs[0].shape;
      if (from.includes(0)) return constant(value, e.output.dtype);
      const tests: string[] = [];
      const rewrite = from.map((n, k) => {
        const step = interior[k] + 1;
        if (before[k] === 0 && after[k] === 0 && step === 1) return null;
        return (i: string) => {
          // Below `before` the difference wraps around to a large number, so one comparison tests both ends.
          const place = e.bind(before[k] === 0 ? i : `${i} - ${before[k]}u`, "u32");
          tests.push(`(${place} < ${(n - 1) * step + 1}u)`);
          if (step === 1) return place;
          tests.push(`(${place} % ${step}u == 0u)`);
          return `${place} / ${step}u`;
        };
      });
      const inner = index.along(from, rewrite);
      return e.select(
        tests.join(" & ") || "true",
        e.output.dtype,
        () => e.input(0, inner),
        () => constant(value, e.output.dtype),
      );
    },
  },
  vjp: ({ inputs: [x], attrs: { before, interior } }, g) => [
    slice(g, {
      start: before,
      end: x.shape.map((n, k) => before[k] + (n === 0 ? 0 : (n - 1) * (interior[k] + 1) + 1)),
      step: interior.map((n) => n + 1),
    }),
  ],
  jvp: (c, [t]) => dilatedPad(t!, { ...c.attrs, value: 0 }),
  batch: ({ inputs: [x], attrs: { before, after, interior, value } }) =>
    dilatedPad(x, { before: [0, ...before], after: [0, ...after], interior: [0, ...interior], value }),
};

/** Pad with `interior` values between neighbors too. */
export function dilatedPad(x: Tensor, attrs: PadAttrs): Tensor {
  const none = (list: readonly number[]): boolean => list.every((n) => n === 0);
  if (none(attrs.before) && none(attrs.after) && none(attrs.interior)) return x;
  const shape = x.shape.map((n, k) => n + Math.max(0, n - 1) * attrs.interior[k] + attrs.before[k] + attrs.after[k]);
  checkShape("pad", shape);
  return node(op, [x], attrs, shape, x.dtype);
}

/** x with `before` and `after` values added at the ends of each axis (one number, or one an axis); default value 0. */
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
