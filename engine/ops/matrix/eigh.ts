/** eigh: eigenvalues and eigenvectors of small symmetric matrices. */
import { check, refuseOptions } from "../../core/errors.ts";
import type { Op } from "../../core/op.ts";
import { node, type Tensor } from "../../core/tensor.ts";
import { lowerEigh } from "../../../shaders/matrix/eigh.wgsl.ts";
import { div, mul, sub, where } from "../elementwise/elementwise.ts";
import { eye } from "../elementwise/creation.ts";
import { matmul } from "../linear/matmul.ts";
import { computeInF32 } from "../promote_f16.ts";
import { sum } from "../reduce/reduce.ts";
import { narrow, select } from "../shape/parts.ts";
import { expandDims, reshape } from "../shape/reshape.ts";
import { byExamples, checkSquare, flat, merged, type Plain, symmetric, transposed } from "./batches.ts";

/** The most rows. */
const LARGEST = 8;

/** Both at once, [batch, n, n + 1]: the last column has the eigenvalues. */
const both: Op<Plain> = {
  name: "eigh",
  lowering: {
    kind: "kernel",
    lower: ([a], _, __, target) => lowerEigh({ batch: a.shape[0], n: a.shape[1] }, target),
  },
  // Values and vectors have their own.
  vjp: null,
  jvp: null,
  batch: merged(([a]) => decomposed(a)),
  split: byExamples("eigh", ([a]) => decomposed(a)),
};

function decomposed(a: Tensor): Tensor {
  const [batch, n] = a.shape as [number, number];
  return node(both, [a], {}, [batch, n, n + 1], "f32");
}

const values: Op<Plain> = {
  name: "eigh",
  lowering: {
    kind: "composite",
    expand: ([a]) => select(decomposed(a), { axis: 2, index: a.shape[1] }),
  },
  // A v = w v, so dw = v' dA v.
  vjp({ inputs: [a] }, g) {
    const v = vectorsOf(a);
    return [matmul(mul(v, expandDims(g, { axis: 1 })), transposed(v))];
  },
  jvp: ({ inputs: [a] }, [t]) => sum(mul(turned(vectorsOf(a), t!), eye(a.shape[1])), { axes: [2] }),
  batch: merged(([a]) => valuesOf(a)),
};

const vectors: Op<Plain> = {
  name: "eigh",
  lowering: {
    kind: "composite",
    expand: ([a]) => narrow(decomposed(a), { axis: 2, start: 0, length: a.shape[1] }),
  },
  // dV = V (F o (V' dA V)), so dA = V (F o (V' G)) V', with F_ij = 1 / (w_j - w_i) and 0 on the diagonal.
  vjp({ inputs: [a], output: v }, g) {
    const inner = mul(reciprocalGaps(valuesOf(a)), matmul(transposed(v), g));
    return [matmul(matmul(v, inner), transposed(v))];
  },
  jvp: ({ inputs: [a], output: v }, [t]) => matmul(v, mul(reciprocalGaps(valuesOf(a)), turned(v, t!))),
  batch: merged(([a]) => vectorsOf(a)),
};

const valuesOf = (a: Tensor): Tensor => node(values, [a], {}, a.shape.slice(0, 2), "f32");
const vectorsOf = (a: Tensor): Tensor => node(vectors, [a], {}, a.shape, "f32");

/** V' X V. */
const turned = (v: Tensor, x: Tensor): Tensor => matmul(matmul(transposed(v), x), v);

/** F; infinite between equal eigenvalues, whose vectors have no derivative. */
function reciprocalGaps(w: Tensor): Tensor {
  const one = eye(w.shape[1], { dtype: "bool" });
  const gaps = sub(expandDims(w, { axis: 1 }), expandDims(w, { axis: 2 }));
  return where(one, 0, div(1, where(one, 1, gaps)));
}

const part = (f: (a: Tensor) => Tensor): (a: Tensor) => Tensor =>
  computeInF32((a) => {
    checkSquare("eigh", a);
    const n = a.shape.at(-1)!;
    check(n <= LARGEST, "eigh", () => `matrices have up to ${LARGEST} rows, got ${a}`);
    const y = a.size > 0 ? f(symmetric(flat(a))) : f === valuesOf ? sum(flat(a), { axes: [2] }) : flat(a);
    return reshape(y, { shape: [...a.shape.slice(0, -2), ...y.shape.slice(1)] });
  });
const [valuesPart, vectorsPart] = [part(valuesOf), part(vectorsOf)];

/**
 * Eigenvalues in ascending order, and eigenvectors as columns, of small symmetric matrices, as torch.linalg.eigh. The
 * symmetric part of A counts. The entry of largest magnitude of each vector is positive. Rotations (Jacobi) are
 * accurate to rounding where eigenvalues are close, too; where they are equal, vectors have no derivative.
 *
 * @param a f32 [..., n, n], n at most 8
 * @returns [values [..., n], vectors [..., n, n]]
 * @throws VoxgradError unless the matrices are square and small
 * @example
 * ```ts
 * import { eigh, tensor } from "voxgrad";
 *
 * const [values] = eigh(tensor([[2, 1], [1, 2]]));
 * await values.array(); // [1, 3]
 * ```
 */
export function eigh(a: Tensor, ...rest: never[]): [values: Tensor, vectors: Tensor] {
  refuseOptions("eigh", rest);
  return [valuesPart(a), vectorsPart(a)];
}
