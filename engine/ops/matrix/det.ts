/** det and slogdet: determinants of small matrices. */
import { refuseOptions } from "../../core/errors.ts";
import type { Op } from "../../core/op.ts";
import { size } from "../../core/shape.ts";
import { node, type Tensor } from "../../core/tensor.ts";
import { type Determinant, lowerDeterminant } from "../../../shaders/matrix/elimination.wgsl.ts";
import { eye, scalar } from "../elementwise/creation.ts";
import { add, mul, sub } from "../elementwise/elementwise.ts";
import { computeInF32 } from "../promote_f16.ts";
import { sum } from "../reduce/reduce.ts";
import { broadcastTo } from "../shape/broadcast_to.ts";
import { select } from "../shape/parts.ts";
import { reshape } from "../shape/reshape.ts";
import { byExamples, checkSquare, flat, merged, transposed } from "./batches.ts";
import { solved } from "./solve.ts";

interface DetAttrs {
  readonly by: Determinant;
}

/** A'^-1 times a factor for each matrix. */
function cofactors(a: Tensor, factor: Tensor): Tensor {
  const right = mul(eye(a.shape[1]), reshape(factor, { shape: [a.shape[0], 1, 1] }));
  return solved(transposed(a), right);
}

/** The traces of matrices [batch, n, n]. */
const traces = (x: Tensor): Tensor => sum(mul(x, eye(x.shape[1])), { axes: [1, 2] });

const op: Op<DetAttrs> = {
  name: "det",
  lowering: {
    kind: "kernel",
    lower: ([{ shape }], _, { by }, target) => lowerDeterminant({ batch: shape[0], n: shape[1], by }, target),
  },
  // d log|A| = tr(A^-1 dA), and d |A| = |A| d log|A|; the sign is constant between jumps.
  vjp({ inputs: [a], output, attrs: { by } }, g) {
    return [by === "detSign" ? null : cofactors(a, by === "det" ? mul(g, output) : g)];
  },
  jvp({ inputs: [a], output, attrs: { by } }, [t]) {
    if (by === "detSign") return scalar(0, "f32", output.shape);
    const slope = traces(solved(a, t!));
    return by === "det" ? mul(output, slope) : slope;
  },
  batch: merged(([a], attrs) => determinant(a, attrs)),
  split: byExamples("det", ([a], attrs) => determinant(a, attrs)),
};

const determinant = (a: Tensor, attrs: DetAttrs): Tensor => node(op, [a], attrs, [a.shape[0]], "f32");

/** Products of entries for up to three rows, whose derivatives hold for singular matrices too. */
function expanded(a: Tensor): Tensor {
  const n = a.shape[1];
  const at = (row: number, column: number): Tensor =>
    select(select(a, { axis: 2, index: column }), { axis: 1, index: row });
  const minor = (top: number, left: number, right: number): Tensor =>
    sub(mul(at(top, left), at(top + 1, right)), mul(at(top, right), at(top + 1, left)));
  if (n === 1) return at(0, 0);
  if (n === 2) return minor(0, 0, 1);
  const [first, second, third] = [minor(1, 1, 2), minor(1, 0, 2), minor(1, 0, 1)];
  return add(sub(mul(at(0, 0), first), mul(at(0, 1), second)), mul(at(0, 2), third));
}

const values = (operator: string, by: Determinant): (a: Tensor, ...rest: never[]) => Tensor =>
  computeInF32((a, ...rest) => {
    refuseOptions(operator, rest);
    checkSquare(operator, a);
    const shape = a.shape.slice(0, -2);
    const n = a.shape.at(-1)!;
    // The empty product.
    if (n === 0 || size(shape) === 0) return broadcastTo(scalar(by === "logAbsDet" ? 0 : 1, "f32"), { shape });
    return reshape(by === "det" && n <= 3 ? expanded(flat(a)) : determinant(flat(a), { by }), { shape });
  });

/**
 * Determinants of matrices, as torch.linalg.det. Derivatives at singular matrices are finite up to 3 x 3; those of
 * larger ones are not. Large determinants overflow: see slogdet.
 *
 * @param a f32 [..., n, n], n up to some 64
 * @returns [...]
 * @throws VoxgradError unless the matrices are square
 * @example
 * ```ts
 * import { det, tensor } from "voxgrad";
 *
 * await det(tensor([[1, 2], [3, 4]])).item(); // -2
 * ```
 */
export const det: (a: Tensor, ...rest: never[]) => Tensor = values("det", "det");

const [signOf, logOf] = [values("slogdet", "detSign"), values("slogdet", "logAbsDet")];

/**
 * Signs of determinants, and logarithms of their magnitudes, as torch.linalg.slogdet: 0 and -Infinity for a singular
 * matrix.
 *
 * @param a f32 [..., n, n], n up to some 64
 * @returns [sign, log |det|], both [...]
 * @throws VoxgradError unless the matrices are square
 * @example
 * ```ts
 * import { slogdet, tensor } from "voxgrad";
 *
 * const [sign, logAbsDet] = slogdet(tensor([[0, 1], [1, 0]]));
 * await sign.item(); // -1
 * await logAbsDet.item(); // 0
 * ```
 */
export const slogdet = (a: Tensor, ...rest: never[]): [sign: Tensor, logAbsDet: Tensor] => [
  signOf(a, ...rest),
  logOf(a, ...rest),
];
