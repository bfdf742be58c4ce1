/** softmax and logSoftmax along an axis. */
import { check, checkOptions } from "../../core/errors.ts";
import type { Op } from "../../core/op.ts";
import { normalizeAxis, size } from "../../core/shape.ts";
import { checkTensor, node, type Tensor } from "../../core/tensor.ts";
import { lowerSoftmax, MOST_SOFTMAX } from "../../../shaders/softmax.wgsl.ts";
import { div, exp, mul, sub } from "../elementwise/elementwise.ts";
import { computeInF32 } from "../promote_f16.ts";
import { logSumExp, max, sum } from "./reduce.ts";
import { stopGradient } from "../shape/reshape.ts";

interface AxisAttrs {
  readonly axis: number;
}

const total = (x: Tensor, { axis }: AxisAttrs): Tensor => sum(x, { axes: [axis], keepDims: true });

/**
 * Short rows use one kernel; long rows, and those that exceed a binding, use the composition of other operators in
 * `composed`.
 */
const lowered = (
  log: boolean,
  composed: (x: Tensor, attrs: AxisAttrs) => Tensor,
): Pick<Op<AxisAttrs>, "lowering" | "decompose" | "split"> => ({
  lowering: {
    kind: "kernel",
    lower([x], _, { axis }, target) {
      const { shape } = x;
      const [outer, inner] = [size(shape.slice(0, axis)), size(shape.slice(axis + 1))];
      return lowerSoftmax({ outer, length: shape[axis], inner, log }, target);
    },
  },
  decompose: ([x], _, attrs) => (x.shape[attrs.axis] > MOST_SOFTMAX ? composed(x, attrs) : null),
  split: ([x], _, attrs) => composed(x, attrs),
});

const softmaxOp: Op<AxisAttrs> = {
  name: "softmax",
  ...lowered(false, (x, attrs) => {
    const e = exp(sub(x, stopGradient(max(x, { axes: [attrs.axis], keepDims: true }))));
    return div(e, total(e, attrs));
  }),
  // dx = y (g - sum(g y)); the matrix is symmetric, so tangents go the same way
  vjp: ({ output: y, attrs }, g) => [mul(y, sub(g, total(mul(g, y), attrs)))],
  jvp: ({ output: y, attrs }, [t]) => mul(y, sub(t!, total(mul(t!, y), attrs))),
  batch: (c) => softmax(c.inputs[0], { axis: c.attrs.axis + 1 }),
};

const logSoftmaxOp: Op<AxisAttrs> = {
  name: "logSoftmax",
  ...lowered(true, (x, { axis }) => sub(x, logSumExp(x, { axes: [axis], keepDims: true }))),
  // dx = g - softmax(x) sum(g);  dy = t - sum(softmax(x) t)
  vjp: ({ output: y, attrs }, g) => [sub(g, mul(exp(y), total(g, attrs)))],
  jvp: ({ output: y, attrs }, [t]) => sub(t!, total(mul(exp(y), t!), attrs)),
  batch: (c) => logSoftmax(c.inputs[0], { axis: c.attrs.axis + 1 }),
};

function along(op: Op<AxisAttrs>, x: Tensor, options: { axis?: number }): Tensor {
  checkTensor(op.name, x);
  checkOptions(op.name, options, ["axis"]);
  const axis = normalizeAxis(op.name, options.axis ?? -1, x.rank);
  check(x.dtype === "f32", op.name, () => `the input is f32, got ${x.dtype}`);
  return x.size === 0 ? x : node(op, [x], { axis }, x.shape, x.dtype);
}

/**
 * exp(x) / sum(exp(x)) along `axis` (default: the last), without overflow.
 *
 * @example
 * ```ts
 * import { tensor } from "voxgrad";
 *
 * await tensor([0, Math.log(3)]).softmax().array(); // [0.25, 0.75]
 * ```
 */
export const softmax: (x: Tensor, options?: { axis?: number }) => Tensor = computeInF32(
  (x, options = {}) => along(softmaxOp, x, options),
  {
    kind: "sum",
  },
);
/**
 * log(softmax(x)) along `axis` (default: the last).
 *
 * @example
 * ```ts
 * import { tensor } from "voxgrad";
 *
 * await tensor([0, Math.log(3)]).logSoftmax().array(); // [-1.386, -0.2877]
 * ```
 */
export const logSoftmax: (x: Tensor, options?: { axis?: number }) => Tensor = computeInF32(
  (x, options = {}) => along(logSoftmaxOp, x, options),
  { kind: "sum" },
);
