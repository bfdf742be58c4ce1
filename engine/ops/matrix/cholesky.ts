/** cholesky: triangular factors of positive definite matrices. */
import { refuseOptions } from "../../core/errors.ts";
import type { Op } from "../../core/op.ts";
import { node, type Tensor } from "../../core/tensor.ts";
import { lowerCholesky } from "../../../shaders/matrix/triangles.wgsl.ts";
import { mul, sub } from "../elementwise/elementwise.ts";
import { eye } from "../elementwise/creation.ts";
import { matmul } from "../linear/matmul.ts";
import { computeInF32 } from "../promote_f16.ts";
import { reshape } from "../shape/reshape.ts";
import { tril } from "../shape/triangle.ts";
import { byExamples, checkSquare, flat, merged, type Plain, symmetric, transposed } from "./batches.ts";
import { solvedTriangle } from "./solve.ts";

/** The lower triangle with half of the diagonal. */
const halved = (x: Tensor): Tensor => sub(tril(x), mul(mul(x, eye(x.shape[1])), 0.5));

const op: Op<Plain> = {
  name: "cholesky",
  lowering: {
    kind: "kernel",
    lower: ([a], _, __, target) => lowerCholesky({ batch: a.shape[0], n: a.shape[1] }, target),
  },
  // A = L L', so dL = L P(L^-1 dA L'^-1), and dA = L'^-1 P(L' G) L^-1, where P halves (Murray 2016, eqs. 7 and 10).
  vjp({ output: l }, g) {
    const inner = solvedTriangle(transposed(l), halved(matmul(transposed(l), g)), true);
    return [transposed(solvedTriangle(transposed(l), transposed(inner), true))];
  },
  jvp({ output: l }, [t]) {
    const inner = transposed(solvedTriangle(l, t!, false));
    return matmul(l, halved(transposed(solvedTriangle(l, inner, false))));
  },
  batch: merged(([a]) => factors(a)),
  split: byExamples("cholesky", ([a]) => factors(a)),
};

/** Of symmetric matrices. */
const factors = (a: Tensor): Tensor => node(op, [a], {}, a.shape, "f32");

/**
 * Lower triangles L with L L' = A for positive definite A, as torch.linalg.cholesky. The symmetric part of A counts, as
 * in JAX; a matrix that is not positive definite gives NaN.
 *
 * @param a f32 [..., n, n], n up to some 64
 * @throws VoxgradError unless the matrices are square
 * @example
 * ```ts
 * import { cholesky, tensor } from "voxgrad";
 *
 * await cholesky(tensor([[4, 2], [2, 5]])).array(); // [[2, 0], [1, 2]]
 * ```
 */
export const cholesky: (a: Tensor, ...rest: never[]) => Tensor = computeInF32((a, ...rest) => {
  refuseOptions("cholesky", rest);
  checkSquare("cholesky", a);
  return a.size === 0 ? a : reshape(factors(symmetric(flat(a))), { shape: a.shape });
});
