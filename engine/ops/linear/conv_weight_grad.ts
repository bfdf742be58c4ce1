/** The weight gradient of a convolution. */
import type { DType } from "../../core/dtype.ts";
import type { Aval, Op } from "../../core/op.ts";
import { size } from "../../core/shape.ts";
import { node, type Tensor } from "../../core/tensor.ts";
import { lowerConvWeightGrad } from "../../../shaders/conv/weight_variants.ts";
import type { Fusion, Lowered, Target } from "../../../shaders/types.ts";
import { scalar } from "../elementwise/creation.ts";
import { add, cast } from "../elementwise/elementwise.ts";
import { sum } from "../reduce/reduce.ts";
import { reshape } from "../shape/reshape.ts";
import { range, ranges } from "../split.ts";
import { besideChannels, bilinear, forward, inputGrad, multiplyAdds, params } from "./conv_ops.ts";
import { checkFilters, type ConvAttrs, slabs } from "./conv_split.ts";

/** Partial sums [parts, ...dw] of a weight gradient, for kernels that compute partial sums. */
const weightPartsOp: Op<ConvAttrs> = {
  name: "convWeightGrad",
  lowering: {
    kind: "kernel",
    fusesPrologue: [0, 1],
    readsRepeatedly: true,
    lower: ([x, g], _, a, target, fusion) => {
      const { dispatches: [first], ...lowered } = lowerWeightGrad(x, g, a, target, fusion);
      return { ...lowered, temps: [], dispatches: [{ ...first, writes: [{ output: 0 }] }] };
    },
  },
  vjp: null,
};

/** What `decompose` lowered, for the kernel of partial sums, which lowers the same right after. */
const lastLowered = new WeakMap<
  ConvAttrs,
  { readonly target: Target; readonly key: string; readonly lowered: Lowered }
>();

function lowerWeightGrad(x: Aval, g: Aval, a: ConvAttrs, target: Target, fusion: Fusion | null = null): Lowered {
  const p = params(a, x.dtype, x.shape[0], x.shape[1], g.shape[1], false);
  if (fusion) return lowerConvWeightGrad(p, target, { fusion });
  const key = `${x.dtype} ${p.batch} ${p.inChannels} ${p.outChannels}`;
  const last = lastLowered.get(a);
  if (last && last.target === target && last.key === key) return last.lowered;
  const lowered = lowerConvWeightGrad(p, target);
  lastLowered.set(a, { target, key, lowered });
  return lowered;
}

// The adjoint in w: dw[k, c, t] = sum over n, o of x[n, c, o stride + t dilation - padding] g[n, k, o]
const weightGradOp: Op<ConvAttrs> = {
  name: "convWeightGrad",
  lowering: {
    kind: "kernel",
    fusesPrologue: [0, 1],
    readsRepeatedly: true,
    lower: ([x, g], _, a, target, fusion) => lowerWeightGrad(x, g, a, target, fusion),
  },
  // The final sum is an operator, so that consumers of the gradient fuse into it.
  decompose([x, g], dw, a, target) {
    const { temps, dispatches } = lowerWeightGrad(x, g, a, target);
    if (dispatches.length < 2) return null;
    const parts = temps[0] / (4 * size(dw.shape));
    return cast(sum(node(weightPartsOp, [x, g], a, [parts, ...dw.shape], "f32"), { axes: [0] }), dw.dtype);
  },
  vjp: ({ inputs: [x, g], attrs }, t) => [inputGrad(g, t, attrs), forward(x, t, null, attrs)],
  jvp: ({ inputs, attrs }, t) => bilinear((x, g) => convWeightGrad(x, g, attrs), inputs, t, 0),
  split([x, g], dw, a, most) {
    checkFilters("convWeightGrad", dw.shape, most);
    const n = x.shape[0];
    // Terms stay in f32 until they are summed.
    const term = (x: Tensor, g: Tensor, own: ConvAttrs): Tensor => convWeightGrad(x, g, own, "f32");
    const plus = (terms: readonly Tensor[]): Tensor =>
      cast(
        terms.reduce((p, q) => add(p, q)),
        dw.dtype,
      );
    if (n > 1) {
      const count = Math.min(n, Math.ceil((Math.max(x.size, g.size) / most) * 2));
      return plus(ranges(n, count).map(([from, to]) => term(range(x, 0, from, to), range(g, 0, from, to), a)));
    }
    const terms = slabs("convWeightGrad", x, g, a, most).flatMap(({ axis, inputs, outputs, attrs }) =>
      inputs ? [term(range(x, axis + 2, ...inputs), range(g, axis + 2, ...outputs), attrs)] : []
    );
    return terms.length > 0 ? plus(terms) : scalar(0, dw.dtype, dw.shape);
  },
  batch({ size: batch, output, attrs, full }) {
    const groups = attrs.groups * batch;
    const dw = convWeightGrad(besideChannels(full(0)), besideChannels(full(1)), { ...attrs, groups });
    return reshape(dw, { shape: [batch, ...output.shape] });
  },
  multiplyAdds: ([, g], dw) => multiplyAdds(g, dw),
};

/** The gradient with respect to w, given cotangent g, in their dtype or in f32. */
export const convWeightGrad = (x: Tensor, g: Tensor, a: ConvAttrs, dtype: DType = x.dtype): Tensor =>
  node(weightGradOp, [x, g], a, [g.shape[1], x.shape[1] / a.groups, ...a.kernel], dtype);
