/** Batches of small matrices: checks, one batch axis for nodes, and what their rules share. */
import { check, show } from "../../core/errors.ts";
import type { BatchContext } from "../../core/op.ts";
import { size } from "../../core/shape.ts";
import { Tensor } from "../../core/tensor.ts";
import { add, mul } from "../elementwise/elementwise.ts";
import { inParts, partsFor } from "../split.ts";
import { reshape } from "../shape/reshape.ts";
import { transpose } from "../shape/transpose.ts";

/** Attributes of a node without any. */
export type Plain = Readonly<Record<never, never>>;

/** Throws unless x is f32 and its last axes hold square matrices. */
export function checkSquare(operator: string, x: unknown, what = "the input"): asserts x is Tensor {
  const square = x instanceof Tensor && x.dtype === "f32" && x.rank >= 2 && x.shape.at(-1) === x.shape.at(-2);
  check(square, operator, () => `${what} is f32 square matrices [..., n, n], got ${show(x)}`);
}

/** [..., n, m] as [batch, n, m]. */
export const flat = (x: Tensor): Tensor => reshape(x, { shape: [size(x.shape.slice(0, -2)), ...x.shape.slice(-2)] });

/** Transposed matrices. */
export const transposed = (x: Tensor): Tensor =>
  transpose(x, { axes: [...x.shape.keys()].map((k) => k < x.rank - 2 ? k : 2 * x.rank - 3 - k) });

/** The mean of matrices and their transposes. */
export const symmetric = (x: Tensor): Tensor => mul(add(x, transposed(x)), 0.5);

/** The batch rule of a node whose inputs and output have the batch as axis 0. */
export const merged = <A>(f: (inputs: readonly Tensor[], attrs: A) => Tensor) => (c: BatchContext<A>): Tensor => {
  const { size: examples, output, attrs } = c;
  const inputs = c.inputs.map((_, k) => c.full(k));
  const joined = inputs.map((x) => reshape(x, { shape: [examples * x.shape[1], ...x.shape.slice(2)] }));
  return reshape(f(joined, attrs), { shape: [examples, ...output.shape] });
};

/** The split rule of such a node. */
export const byExamples =
  <A>(name: string, f: (inputs: readonly Tensor[], attrs: A) => Tensor) =>
  (inputs: readonly Tensor[], output: { readonly shape: readonly number[] }, attrs: A, most: number): Tensor => {
    const count = partsFor(name, [...inputs, { size: size(output.shape) }], inputs[0].shape[0], most);
    return inParts(inputs, 0, count, (parts) => f(parts, attrs));
  };
