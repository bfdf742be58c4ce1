/** Cholesky factors, and systems of equations with triangular matrices. */
import { librarySource } from "../library.ts";
import type { Lowered, Target } from "../types.ts";
import { matrixKernel } from "./lanes.ts";
import type { SolveParams } from "./elimination.wgsl.ts";

/** Reads the lower triangles of symmetric matrices [batch, n, n]; writes lower factors, NaN where there are none. */
export function lowerCholesky({ batch, n }: { batch: number; n: number }, target: Target): Lowered {
  const below = (row: string): string =>
    `for (var k = 0u; k < i; k++) {
        value -= result[m + ${row} * ${n}u + k] * result[m + i * ${n}u + k];
      }`;
  const dispatch = matrixKernel({
    name: "cholesky",
    batch,
    size: n,
    width: n,
    reads: { a: { input: 0 } },
    writes: { result: { output: 0 } },
    flops: Math.round((1 / 3) * batch * n ** 3),
    library: librarySource(["vg_div", "vg_float"]),
    // Column by column; each lane has entries of its own, and reads columns before.
    body: (lanes) => ({
      variables: `let m = matrix * ${n * n}u;`,
      before: "",
      turn: `
    var value = a[m + i * ${n}u + i];
    ${below("i")}
    let root = sqrt(select(value, vg_float(0x7fc00000u), value < 0.0));
    for (var r = lane; r < ${n}u; r += ${lanes}u) {
      value = a[m + r * ${n}u + i];
      ${below("r")}
      value = select(vg_div(value, root), root, r == i);
      result[m + r * ${n}u + i] = select(value, 0.0, r < i);
    }`,
      after: "",
    }),
  }, target);
  return { temps: [], dispatches: [dispatch] };
}

/** Reads triangles of matrices [batch, n, n] and right-hand sides [batch, n, columns]; writes the solutions. */
export function lowerSolveTriangular(p: SolveParams & { upper: boolean }, target: Target): Lowered {
  const { batch, n, columns, upper } = p;
  const place = (step: string): string => (upper ? `(${n - 1}u - ${step})` : step);
  const dispatch = matrixKernel({
    name: `solveTriangular.${upper ? "upper" : "lower"}`,
    // Every column by itself.
    batch: batch * columns,
    size: 1,
    width: 1,
    reads: { a: { input: 0 }, b: { input: 1 } },
    writes: { result: { output: 0 } },
    flops: batch * n * n * columns,
    library: librarySource(["vg_div"]),
    body: () => ({
      variables: `let m = matrix / ${columns}u * ${n * n}u;
  let x = matrix / ${columns}u * ${n * columns}u + matrix % ${columns}u;`,
      before: "",
      turn: `
    for (var k = 0u; k < ${n}u; k++) {
      let row = ${place("k")};
      var value = b[x + row * ${columns}u];
      for (var j = 0u; j < k; j++) {
        let c = ${place("j")};
        value -= a[m + row * ${n}u + c] * result[x + c * ${columns}u];
      }
      result[x + row * ${columns}u] = vg_div(value, a[m + row * ${n}u + row]);
    }`,
      after: "",
    }),
  }, target);
  return { temps: [], dispatches: [dispatch] };
}
