/** Gaussian elimination with partial pivoting, and substitution: systems of equations and determinants. */
import { librarySource } from "../library.ts";
import type { Lowered, Target } from "../types.ts";
import { matrixKernel } from "./lanes.ts";

/** A determinant, the logarithm of its magnitude, or its sign. */
export type Determinant = "det" | "logAbsDet" | "detSign";

/**
 * One turn: the row with the largest entry of column i comes to row i, and multiples of it are taken from those below,
 * in the columns behind i of `work` and in `columns` of `result`. Column i itself stays, for others read it.
 *
 * @param keep statements that keep the pivot and whether rows were exchanged
 */
function turnOf(n: number, columns: number, lanes: number, keep: string): string {
  const reduce = (from: string, start: string, stride: number): string =>
    stride === 0 ? "" : `
    for (var c = ${from}; c < ${stride}u; c += ${lanes}u) {
      let top = ${start} + row * ${stride}u + c];
      ${start} + row * ${stride}u + c] = ${start} + i * ${stride}u + c];
      ${start} + i * ${stride}u + c] = top;
      for (var r = i + 1u; r < ${n}u; r++) {
        let entry = work[m + select(r, i, r == row) * ${n}u + i];
        // Below a pivot of 0 all are 0, or NaN.
        ${start} + r * ${stride}u + c] -= select(entry / divisor, entry, pivot == 0.0) * top;
      }
    }`;
  return `
    var row = i;
    var largest = abs(work[m + i * ${n}u + i]);
    for (var r = i + 1u; r < ${n}u; r++) {
      let size = abs(work[m + r * ${n}u + i]);
      if (size > largest) { largest = size; row = r; }
    }
    let pivot = work[m + row * ${n}u + i];
    let divisor = select(pivot, 1.0, pivot == 0.0);
    ${keep}
    ${reduce("i + 1u + lane", "work[m", n)}
    ${reduce("lane", "result[x", columns)}`;
}

const copied = (count: number, lanes: number, to: string, from: string): string =>
  `for (var k = lane; k < ${count}u; k += ${lanes}u) { ${to} + k] = ${from}[matrix * ${count}u + k]; }`;

export interface SolveParams {
  readonly batch: number;
  /** Rows of a matrix. */
  readonly n: number;
  /** Right-hand sides of each. */
  readonly columns: number;
}

/** Reads matrices [batch, n, n] and right-hand sides [batch, n, columns]; writes the solutions. */
export function lowerSolve({ batch, n, columns }: SolveParams, target: Target): Lowered {
  const dispatch = matrixKernel({
    name: "solve",
    batch,
    size: n,
    width: n - 1 + columns,
    reads: { a: { input: 0 }, b: { input: 1 } },
    writes: { work: { temp: 0 }, pivots: { temp: 1 }, result: { output: 0 } },
    flops: Math.round(batch * n * n * ((2 / 3) * n + 2 * columns)),
    library: librarySource(["vg_div"]),
    body: (lanes) => ({
      variables: `let m = matrix * ${n * n}u;\n  let x = matrix * ${n * columns}u;`,
      before: copied(n * n, lanes, "work[m", "a") + copied(n * columns, lanes, "result[x", "b"),
      turn: turnOf(n, columns, lanes, `if (lane == 0u) { pivots[matrix * ${n}u + i] = pivot; }`),
      after: `
    for (var c = lane; c < ${columns}u; c += ${lanes}u) {
      for (var left = ${n}u; left > 0u; left--) {
        let i = left - 1u;
        let value = vg_div(result[x + i * ${columns}u + c], pivots[matrix * ${n}u + i]);
        result[x + i * ${columns}u + c] = value;
        for (var r = 0u; r < i; r++) { result[x + r * ${columns}u + c] -= work[m + r * ${n}u + i] * value; }
      }
    }`,
    }),
  }, target);
  return { temps: [4 * batch * n * n, 4 * batch * n], dispatches: [dispatch] };
}

/** What a determinant is made of pivot by pivot. */
const parts: Record<Determinant, { first: string; next: string }> = {
  det: { first: "1.0", next: "value *= select(pivot, -pivot, row != i);" },
  logAbsDet: { first: "0.0", next: "value += vg_log(abs(pivot));" },
  // 0, or NaN, stays.
  detSign: {
    first: "1.0",
    next: "let own = select(pivot, sign(pivot), abs(pivot) > 0.0); value *= select(own, -own, row != i);",
  },
};

/** Reads matrices [batch, n, n], writes [batch]. */
export function lowerDeterminant(p: { batch: number; n: number; by: Determinant }, target: Target): Lowered {
  const { batch, n, by } = p;
  const dispatch = matrixKernel({
    name: `det.${by}`,
    batch,
    size: n,
    width: n - 1,
    reads: { a: { input: 0 } },
    writes: { work: { temp: 0 }, result: { output: 0 } },
    flops: Math.round((2 / 3) * batch * n ** 3),
    library: by === "logAbsDet" ? librarySource(["vg_log"]) : "",
    body: (lanes) => ({
      variables: `let m = matrix * ${n * n}u;\n  var value = ${parts[by].first};`,
      before: copied(n * n, lanes, "work[m", "a"),
      turn: turnOf(n, 0, lanes, parts[by].next),
      after: "if (lane == 0u) { result[matrix] = value; }",
    }),
  }, target);
  return { temps: [4 * batch * n * n], dispatches: [dispatch] };
}
