/** Products of matrices as loops in float64. */
import type { MatmulParams } from "../../../shaders/matmul.wgsl.ts";

/** y [batch, rows, columns] = A B. */
export function product(p: MatmulParams, a: Float32Array, b: Float32Array): Float64Array {
  const { batch, rows, inner, columns } = p;
  const y = new Float64Array(batch * rows * columns);
  for (let s = 0; s < batch; s++) {
    for (let i = 0; i < rows; i++) {
      for (let j = 0; j < columns; j++) {
        for (let k = 0; k < inner; k++) {
          const atA = p.transposeA ? k * rows + i : i * inner + k;
          const atB = p.transposeB ? j * inner + k : k * columns + j;
          y[(s * rows + i) * columns + j] += a[s * rows * inner + atA] * b[s * inner * columns + atB];
        }
      }
    }
  }
  return y;
}
