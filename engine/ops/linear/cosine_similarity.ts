/** Cosine similarity along an axis. */
import { check, checkOptions, show } from "../../core/errors.ts";
import { broadcastShapes, normalizeAxis, type Shape, size } from "../../core/shape.ts";
import { Tensor } from "../../core/tensor.ts";
import { broadcastTo } from "../shape/broadcast_to.ts";
import { clamp, div, mul, sqrt, square } from "../elementwise/elementwise.ts";
import { computeInF32 } from "../promote_f16.ts";
import { matmul } from "./matmul.ts";
import { sum } from "../reduce/reduce.ts";
import { reshape } from "../shape/reshape.ts";
import { transpose } from "../shape/transpose.ts";

/**
 * a . b / (max(|a|, eps) max(|b|, eps)) along `axis`, with broadcasting, as torch.nn.functional.cosine_similarity.
 *
 * @param options.axis the vector axis, which is removed (default: 1)
 * @param options.eps minimum norm (default: 1e-8); a shorter vector has a finite gradient
 * @example
 * ```ts
 * import { cosineSimilarity, random } from "voxgrad";
 *
 * const features = random.normal(random.key(0), { shape: [1, 16, 8, 8] });
 * const prototypes = random.normal(random.key(1), { shape: [5, 16, 1, 1] });
 * const score = cosineSimilarity(features, prototypes, { axis: 1 }); // [5, 8, 8]
 * ```
 */
export const cosineSimilarity: (a: Tensor, b: Tensor, options?: { axis?: number; eps?: number }) => Tensor =
  computeInF32(
    (a, b, options = {}) => {
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
      // Norms are computed before broadcasting, so that each prototype's is computed once.
      const unit = (x: Tensor): Tensor => {
        const own = axis - (shape.length - x.rank);
        check(
          own >= 0 && x.shape[own] === shape[axis],
          "cosineSimilarity",
          () => `both operands have axis ${axis} in full, got ${a} and ${b}`,
        );
        // Clamped before the square root, whose slope is infinite at 0. The floor keeps eps^2 from becoming subnormal.
        const length = sqrt(
          clamp(sum(square(x), { axes: [own], keepDims: true }), { min: Math.max(eps * eps, 1e-30) }),
        );
        return div(x, length);
      };
      return products(unit(a), unit(b), shape, axis);
    },
    { kind: "sum" },
  );

/**
 * With at least this many vectors on both sides, a matrix product is faster than a fused sum, which rereads a vector
 * for every other one.
 */
const MANY = 8;

/** Sums of products along `axis`, with the factors broadcast to `shape`. */
function products(a: Tensor, b: Tensor, shape: Shape, axis: number): Tensor {
  const [x, y] = [a, b].map((t) => reshape(t, { shape: [...shape.slice(t.rank).map(() => 1), ...t.shape] })) as [
    Tensor,
    Tensor,
  ];
  const rest = shape.map((_, k) => k).filter((k) => k !== axis);
  const alone = (t: Tensor, other: Tensor): number[] => rest.filter((k) => t.shape[k] !== 1 && other.shape[k] === 1);
  const count = (axes: readonly number[]): number => size(axes.map((k) => shape[k]));
  const [ofX, ofY] = [alone(x, y), alone(y, x)];
  if (count(ofX) < MANY || count(ofY) < MANY) return sum(broadcastTo(mul(x, y), { shape }), { axes: [axis] });
  // The factor that has the result's first axis provides the rows.
  const [left, right, rows, columns] = ofX[0] < ofY[0] ? [x, y, ofX, ofY] : [y, x, ofY, ofX];
  const both = rest.filter((k) => !rows.includes(k) && !columns.includes(k));
  const matrices = (t: Tensor, first: readonly number[], second: readonly number[], none: readonly number[]): Tensor =>
    reshape(transpose(t, { axes: [...both, ...none, ...first, ...second] }), {
      shape: [count(both), count(first), count(second)],
    });
  const product = matmul(matrices(left, rows, [axis], columns), matrices(right, [axis], columns, rows));
  const order = [...both, ...rows, ...columns];
  return transpose(reshape(product, { shape: order.map((k) => shape[k]) }), {
    axes: rest.map((k) => order.indexOf(k)),
  });
}
