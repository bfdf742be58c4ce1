/** Orthogonal factors of matrices by products alone. */
import type { Tensor } from "../core/tensor.ts";
import { add, div, mul, sqrt, square } from "../ops/elementwise/elementwise.ts";
import { matmul } from "../ops/linear/matmul.ts";
import { sum } from "../ops/reduce/reduce.ts";
import { transpose } from "../ops/shape/transpose.ts";

/**
 * The orthogonal factor U V^T of a matrix U S V^T, by iterations X = a X + b (X X^T) X + c (X X^T)^2 X on the side
 * where X X^T is smaller. X starts with a Frobenius norm of 1, so that no singular value is above 1.
 */
export function newtonSchulz(matrix: Tensor, coefficients: readonly (readonly [number, number, number])[]): Tensor {
  const tall = matrix.shape[0] > matrix.shape[1];
  const start = tall ? transpose(matrix) : matrix;
  let x = div(start, add(sqrt(sum(square(start))), 1e-7));
  for (const [a, b, c] of coefficients) {
    const gram = matmul(x, transpose(x));
    const rest = c === 0 ? mul(gram, b) : add(mul(gram, b), mul(matmul(gram, gram), c));
    x = add(mul(x, a), matmul(rest, x));
  }
  return tall ? transpose(x) : x;
}
