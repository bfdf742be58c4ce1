/** solve, inverse and solveTriangular: systems of linear equations. */
import { check, checkFlag, checkOptions, refuseOptions, show } from "../../core/errors.ts";
import type { Op } from "../../core/op.ts";
import { broadcastShapes, checkShape, size } from "../../core/shape.ts";
import { node, Tensor } from "../../core/tensor.ts";
import { lowerSolve } from "../../../shaders/matrix/elimination.wgsl.ts";
import { lowerSolveTriangular } from "../../../shaders/matrix/triangles.wgsl.ts";
import { eye, scalar } from "../elementwise/creation.ts";
import { neg, sub } from "../elementwise/elementwise.ts";
import { matmul } from "../linear/matmul.ts";
import { computeInF32 } from "../promote_f16.ts";
import { broadcastTo } from "../shape/broadcast_to.ts";
import { reshape } from "../shape/reshape.ts";
import { tril, triu } from "../shape/triangle.ts";
import { byExamples, checkSquare, flat, merged, type Plain, transposed } from "./batches.ts";

const general: Op<Plain> = {
  name: "solve",
  lowering: {
    kind: "kernel",
    lower: ([a, b], _, __, target) => lowerSolve({ batch: a.shape[0], n: a.shape[1], columns: b.shape[2] }, target),
  },
  // A X = B, so A dX = dB - dA X, and with H = A'^-1 G: dB = H, dA = -H X'.
  vjp({ inputs: [a], output }, g) {
    const h = solved(transposed(a), g);
    return [neg(matmul(h, transposed(output))), h];
  },
  jvp: ({ inputs: [a], output }, [ta, tb]) => solved(a, change(ta, tb, output)),
  batch: merged(([a, b]) => solved(a, b)),
  split: byExamples("solve", ([a, b]) => solved(a, b)),
};

/** dB - dA X; at least one is there. */
function change(ta: Tensor | null, tb: Tensor | null, x: Tensor): Tensor {
  const product = ta && matmul(ta, x);
  return product === null ? tb! : tb ? sub(tb, product) : neg(product);
}

/** The solution for f32 [batch, n, n] and [batch, n, columns]. */
export const solved = (a: Tensor, b: Tensor): Tensor => node(general, [a, b], {}, b.shape, "f32");

interface TriangularAttrs {
  readonly upper: boolean;
}

const triangular: Op<TriangularAttrs> = {
  name: "solveTriangular",
  lowering: {
    kind: "kernel",
    lower: ([a, b], _, { upper }, target) =>
      lowerSolveTriangular({ batch: a.shape[0], n: a.shape[1], columns: b.shape[2], upper }, target),
  },
  // As solve's, within the triangle.
  vjp({ inputs: [a], output, attrs: { upper } }, g) {
    const h = solvedTriangle(transposed(a), g, !upper);
    return [triangleOf(neg(matmul(h, transposed(output))), upper), h];
  },
  jvp: ({ inputs: [a], output, attrs: { upper } }, [ta, tb]) =>
    solvedTriangle(a, change(ta && triangleOf(ta, upper), tb, output), upper),
  batch: merged(([a, b], { upper }) => solvedTriangle(a, b, upper)),
  split: byExamples("solveTriangular", ([a, b], { upper }) => solvedTriangle(a, b, upper)),
};

const triangleOf = (x: Tensor, upper: boolean): Tensor => (upper ? triu(x) : tril(x));

/** The solution for the triangles of f32 [batch, n, n], and [batch, n, columns]. */
export const solvedTriangle = (a: Tensor, b: Tensor, upper: boolean): Tensor =>
  node(triangular, [a, b], { upper }, b.shape, "f32");

/** Checks and broadcasts both arguments, solves with one batch axis, and gives the result its shape. */
function system(operator: string, a: unknown, b: unknown, f: (a: Tensor, b: Tensor) => Tensor): Tensor {
  checkSquare(operator, a, "the matrix");
  const n = a.shape.at(-1);
  check(
    b instanceof Tensor && b.dtype === "f32" && b.rank > 0 && b.shape.at(b.rank === 1 ? 0 : -2) === n,
    operator,
    () => `the right-hand side is f32 [..., ${n}, k], or one vector [${n}], got ${show(b)}`,
  );
  const right = b.rank === 1 ? reshape(b, { shape: [b.size, 1] }) : b;
  const batch = broadcastShapes(operator, a.shape.slice(0, -2), right.shape.slice(0, -2));
  const shape = [...batch, ...right.shape.slice(-2)];
  checkShape(operator, shape);
  const vector = b.rank === 1 ? shape.slice(0, -1) : shape;
  if (size(shape) === 0) return scalar(0, "f32", vector);
  const full = (x: Tensor): Tensor => flat(broadcastTo(x, { shape: [...batch, ...x.shape.slice(-2)] }));
  return reshape(f(full(a), full(right)), { shape: vector });
}

/**
 * X with A X = B by elimination with partial pivoting, as torch.linalg.solve. For small matrices, up to some 64 rows; a
 * batch is solved at once. A singular matrix gives infinities or NaN.
 *
 * @param a f32 [..., n, n]
 * @param b f32 [..., n, k], or one vector [n]; batch axes broadcast
 * @returns [..., n, k], or [..., n] for a vector
 * @throws VoxgradError if sizes do not match
 * @example
 * ```ts
 * import { solve, tensor } from "voxgrad";
 *
 * await solve(tensor([[2, 1], [0, 4]]), tensor([4, 8])).array(); // [1, 2]
 * ```
 */
export const solve: (a: Tensor, b: Tensor, ...rest: never[]) => Tensor = computeInF32((a, b, ...rest) => {
  refuseOptions("solve", rest);
  return system("solve", a, b, solved);
});

/**
 * Inverses of matrices, as torch.linalg.inv. `solve(a, b)` is faster and more accurate than `inverse(a).matmul(b)`. A
 * singular matrix gives infinities or NaN.
 *
 * @param a f32 [..., n, n], n up to some 64
 * @throws VoxgradError unless the matrices are square
 * @example
 * ```ts
 * import { inverse, tensor } from "voxgrad";
 *
 * await inverse(tensor([[2, 1], [0, 4]])).array(); // [[0.5, -0.125], [0, 0.25]]
 * ```
 */
export const inverse: (a: Tensor, ...rest: never[]) => Tensor = computeInF32((a, ...rest) => {
  refuseOptions("inverse", rest);
  checkSquare("inverse", a);
  return system("inverse", a, eye(a.shape.at(-1)!), solved);
});

/**
 * X with A X = B for triangular A, as torch.linalg.solve_triangular; the other triangle is not read. A 0 on the
 * diagonal gives infinities or NaN.
 *
 * @param a f32 [..., n, n]
 * @param b f32 [..., n, k], or one vector [n]; batch axes broadcast
 * @param options.upper whether A is an upper triangle; default: a lower one
 * @returns [..., n, k], or [..., n] for a vector
 * @throws VoxgradError if sizes do not match
 * @example
 * ```ts
 * import { solveTriangular, tensor } from "voxgrad";
 *
 * const a = tensor([[2, 1], [0, 4]]);
 * await solveTriangular(a, tensor([4, 8]), { upper: true }).array(); // [1, 2]
 * ```
 */
export const solveTriangular: (a: Tensor, b: Tensor, options?: { upper?: boolean }) => Tensor = computeInF32(
  (a, b, options = {}) => {
    checkOptions("solveTriangular", options, ["upper"]);
    checkFlag("solveTriangular", "upper", options.upper);
    return system("solveTriangular", a, b, (left, right) => solvedTriangle(left, right, options.upper ?? false));
  },
);
