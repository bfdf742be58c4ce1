/** Cosine similarity along an axis. */
import { check, checkOptions, show } from "../core/errors.ts";
import { broadcastShapes, normalizeAxis } from "../core/shape.ts";
import { Tensor } from "../core/tensor.ts";
import { broadcastTo } from "./broadcast_to.ts";
import { clamp, div, mul, sqrt, square } from "./elementwise.ts";
import { inF32 } from "./half.ts";
import { sum } from "./reduce.ts";

/**
 * a . b / (max(|a|, eps) max(|b|, eps)) along `axis`, the operands broadcast, as torch.nn.functional.cosine_similarity.
 *
 * @param options.axis the axis of the vectors, which falls (default 1)
 * @param options.eps least length (default 1e-8); a shorter vector has a finite gradient
 * @example cosineSimilarity(features, prototypes, { axis: 1 }) // [1, C, H, W] and [K, C, 1, 1] give [K, H, W]
 */
export const cosineSimilarity = inF32(
  (a: Tensor, b: Tensor, options: { axis?: number; eps?: number } = {}): Tensor => {
    checkOptions("cosineSimilarity", options, ["axis", "eps"]);
    const { eps = 1e-8 } = options;
    for (const x of [a, b]) {
      check(
        x instanceof Tensor && x.dtype === "f32",
        "cosineSimilarity",
        () => `operands are f32 tensors, got ${show(x)}`,
      );
    }
    check(typeof eps === "number" && eps > 0, "cosineSimilarity", () => `eps is a number > 0, got ${show(eps)}`);
    const shape = broadcastShapes("cosineSimilarity", a.shape, b.shape);
    const axis = normalizeAxis("cosineSimilarity", options.axis ?? 1, shape.length);
    // Lengths are taken before broadcasting, so that those of a prototype are computed once.
    const unit = (x: Tensor): Tensor => {
      const own = axis - (shape.length - x.rank);
      check(
        own >= 0 && x.shape[own] === shape[axis],
        "cosineSimilarity",
        () => `both operands have axis ${axis} in full, got ${a} and ${b}`,
      );
      // Clamped under the root: the slope of a root is infinite at 0. The floor keeps eps^2 from becoming subnormal.
      const length = sqrt(clamp(sum(square(x), { axes: [own], keepDims: true }), { min: Math.max(eps * eps, 1e-30) }));
      return div(x, length);
    };
    return sum(broadcastTo(mul(unit(a), unit(b)), { shape }), { axes: [axis] });
  },
  { kind: "sum" },
);
