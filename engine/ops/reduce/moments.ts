/** Mean and reciprocal standard deviation of rows, the statistics of every normalization. */
import type { Op } from "../../core/op.ts";
import { node, type Tensor } from "../../core/tensor.ts";
import { lowerMoments } from "../../../shaders/moments.wgsl.ts";
import { lowerPartialMoments } from "../../../shaders/moments_parts.wgsl.ts";
import { concat } from "../shape/concat.ts";
import { add, mul, neg, rsqrt, square, sub } from "../elementwise/elementwise.ts";
import { inParts, partsFor, range } from "../split.ts";
import { mean } from "./reduce.ts";
import { reshape } from "../shape/reshape.ts";

interface MomentsAttrs {
  readonly eps: number;
}

const OVER = { axes: [1], keepDims: true };

// With m the mean and r = (v + eps)^(-1/2): dm = mean(dx), dr = -r^3 mean((x - m) dx).
const op: Op<MomentsAttrs> = {
  name: "moments",
  lowering: {
    kind: "kernel",
    fusesPrologue: [0],
    lower: ([x], _, { eps }, target, fusion) =>
      lowerMoments({ rows: x.shape[0], length: x.shape[1], eps }, target, fusion),
    fromPartialMoments: ([x], { eps }, parts, target) =>
      lowerPartialMoments({ rows: x.shape[0], length: x.shape[1], eps }, parts, target),
  },
  vjp({ inputs: [x], output }, g) {
    const [m, r] = columns(output);
    const [gm, gr] = columns(g);
    const slope = mul(neg(gr), mul(r, square(r)));
    return [mul(add(gm, mul(slope, sub(x, m))), 1 / x.shape[1])];
  },
  jvp({ inputs: [x], output }, [t]) {
    const [m, r] = columns(output);
    const slope = mul(neg(mul(r, square(r))), mean(mul(sub(x, m), t!), OVER));
    return concat([mean(t!, OVER), slope], { axis: 1 });
  },
  batch({ inputs: [x], size: batch, output, attrs }) {
    const [rows, length] = [batch * output.shape[0], x.shape[2]];
    return reshape(moments(reshape(x, { shape: [rows, length] }), attrs), { shape: [batch, ...output.shape] });
  },
  split([x], _, attrs, most) {
    const rows = x.shape[0];
    if (rows > 1) {
      const count = x.shape[1] > most ? rows : partsFor("moments", [x], rows, most);
      return inParts([x], 0, count, ([part]) => moments(part, attrs));
    }
    // A single row that exceeds a binding: use fused sums, which read it in chunks.
    const m = mean(x, OVER);
    return concat([m, rsqrt(add(mean(square(sub(x, m)), OVER), attrs.eps))], { axis: 1 });
  },
};

/** x [rows, length] to [rows, 2]: mean, and 1 / sqrt(variance + eps) with the population variance. */
export const moments = (x: Tensor, attrs: MomentsAttrs): Tensor => node(op, [x], attrs, [x.shape[0], 2], "f32");

/** The two columns [rows, 1] of moments or of their derivatives. */
export const columns = (y: Tensor): [Tensor, Tensor] => [range(y, 1, 0, 1), range(y, 1, 1, 2)];
