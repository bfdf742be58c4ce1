/** tril, triu and diagonal: parts of matrices. */
import { check, checkOptions, ifTraced, show } from "../../core/errors.ts";
import { checkTensor, type Tensor } from "../../core/tensor.ts";
import { arange, scalar } from "../elementwise/creation.ts";
import { lessEqual, sub, where } from "../elementwise/elementwise.ts";
import { expandDims, reshape } from "./reshape.ts";
import { sliceFrom } from "./slice_ops.ts";
import { pairOfAxes, transpose } from "./transpose.ts";

function checkOffset(operator: string, name: string, value: unknown): asserts value is number {
  check(Number.isInteger(value), operator, () => `${name} is an integer, got ${show(value)}${ifTraced(value)}`);
}

/** Zeros out the entries of matrices above ("lower") or below a diagonal. */
function triangle(name: "tril" | "triu", x: Tensor, options: { diagonal?: number }): Tensor {
  checkTensor(name, x);
  checkOptions(name, options, ["diagonal"]);
  const { diagonal = 0 } = options;
  checkOffset(name, "diagonal", diagonal);
  check(x.rank >= 2, name, () => `the input has the axes of a matrix, got ${x}`);
  const [rows, columns] = x.shape.slice(-2) as [number, number];
  const offset = Math.max(-rows, Math.min(columns, diagonal));
  // Column - row of every entry.
  const place = sub(arange(columns), expandDims(arange(rows), { axis: 1 }));
  const kept = name === "tril" ? lessEqual(place, offset) : lessEqual(offset, place);
  return where(kept, x, scalar(0, x.dtype));
}

/**
 * The lower triangles of matrices [..., n, m]: entries above a diagonal become 0, as `torch.tril`.
 *
 * @param options.diagonal default: 0, the main one; positive lies above it
 * @throws VoxgradError unless x has two axes or more
 * @example
 * ```ts
 * import { ones } from "voxgrad";
 *
 * await ones([2, 3]).tril().array(); // [[1, 0, 0], [1, 1, 0]]
 * ```
 */
export const tril = (x: Tensor, options: { diagonal?: number } = {}): Tensor => triangle("tril", x, options);

/**
 * The upper triangles of matrices [..., n, m]: entries below a diagonal become 0, as `torch.triu`.
 *
 * @param options.diagonal default: 0, the main one; positive lies above it
 * @throws VoxgradError unless x has two axes or more
 * @example
 * ```ts
 * import { ones } from "voxgrad";
 *
 * await ones([2, 3]).triu({ diagonal: 1 }).array(); // [[0, 1, 1], [0, 0, 1]]
 * ```
 */
export const triu = (x: Tensor, options: { diagonal?: number } = {}): Tensor => triangle("triu", x, options);

/**
 * Diagonals of the matrices in two axes, as `torch.diagonal`: the axes are removed and one is appended.
 *
 * @param options.offset default: 0, the main one; positive lies above it
 * @param options.axes axes of rows and columns; default: [0, 1]
 * @throws VoxgradError if the matrices have no such diagonal
 * @example
 * ```ts
 * import { tensor } from "voxgrad";
 *
 * const x = tensor([[1, 2, 3], [4, 5, 6]]);
 * await x.diagonal().array(); // [1, 5]
 * await x.diagonal({ offset: 1 }).array(); // [2, 6]
 * ```
 */
export function diagonal(x: Tensor, options: { offset?: number; axes?: readonly [number, number] } = {}): Tensor {
  checkTensor("diagonal", x);
  checkOptions("diagonal", options, ["offset", "axes"]);
  const { offset = 0 } = options;
  checkOffset("diagonal", "offset", offset);
  const [a, b] = pairOfAxes("diagonal", options.axes ?? [0, 1], x.rank);
  const [rows, columns] = [x.shape[a], x.shape[b]];
  check(
    -offset <= rows && offset <= columns,
    "diagonal",
    () => `matrices of ${rows} x ${columns} have no diagonal ${offset}`,
  );
  const length = Math.max(0, Math.min(rows + Math.min(0, offset), columns - Math.max(0, offset)));
  const others = x.shape.map((_, k) => k).filter((k) => k !== a && k !== b);
  const outer = others.map((k) => x.shape[k]);
  const flat = reshape(transpose(x, { axes: [...others, a, b] }), { shape: [...outer, rows * columns] });
  // Neighbors on a diagonal are a row and a column apart.
  const start = length === 0 ? 0 : offset >= 0 ? offset : -offset * columns;
  const ones = outer.map(() => 1);
  return sliceFrom(flat, { start: [...outer.map(() => 0), start], step: [...ones, columns + 1] }, [...outer, length]);
}
