/** The order of values along lines, and the search of sorted lines: kernels that sort, argsort and others share. */
import { fail } from "../../core/errors.ts";
import type { Op } from "../../core/op.ts";
import { node, type Tensor } from "../../core/tensor.ts";
import { lowerSearch } from "../../../shaders/index/search.wgsl.ts";
import { lowerSort } from "../../../shaders/index/sort.wgsl.ts";
import { keySource, type Ordered } from "../../../shaders/index/step.wgsl.ts";
import { scalar } from "../elementwise/creation.ts";
import { reshape } from "../shape/reshape.ts";
import { inParts, partsFor } from "../split.ts";

/** The type by which a dtype of 32 bits is ordered; bool is stored as 0 and 1. */
const orderedAs = (x: { readonly dtype: string }): Ordered => (x.dtype === "bool" ? "u32" : (x.dtype as Ordered));

/** The number of parts along the lines of tensors [lines, ...], or of one line [1, n] along its values. */
function partsOf(name: string, tensors: readonly Tensor[], most: number): number {
  const longest = Math.max(...tensors.map((t) => t.shape[1]));
  if (longest > most) {
    fail(name, `a line of ${longest} values, the adapter binds ${most} elements; use shorter lines`);
  }
  return partsFor(name, tensors, tensors[0].shape[0], most);
}

/** Merges the lines of a batch [batch, lines, n]. */
const mergeLines = (x: Tensor): Tensor => reshape(x, { shape: [x.shape[0] * x.shape[1], x.shape[2]] });

interface OrderAttrs {
  readonly descending: boolean;
  /** The values are integers, and those out of 0 .. largest - 1 are last: fewer bits are sorted. */
  readonly largest?: number;
}

const orderOp: Op<OrderAttrs> = {
  name: "argsort",
  lowering: {
    kind: "kernel",
    lower([x], _, { descending, largest }, target) {
      const [lines, length] = x.shape as [number, number];
      const bits = largest !== undefined ? Math.ceil(Math.log2(largest + 1)) : x.dtype === "bool" ? 1 : 32;
      const place = `fn key(bits: u32) -> u32 { return min(bits, ${largest}u); }`;
      const key = largest !== undefined ? place : keySource(orderedAs(x), descending);
      const slots = { from: { input: 0 }, to: { output: 0 } };
      return lowerSort({ lines, length, bits, key, name: "argsort", ...slots }, target);
    },
  },
  vjp: null,
  batch: ({ inputs: [x], output, size, attrs }) =>
    reshape(orderOf(mergeLines(x), attrs), { shape: [size, ...output.shape] }),
  split: ([x], _, attrs, most) => inParts([x], 0, partsOf("argsort", [x], most), ([part]) => orderOf(part, attrs)),
};

/** The positions of values [lines, n] of 32 bits in the order of the values of each line, as i32; ties keep theirs. */
export const orderOf = (x: Tensor, attrs: OrderAttrs): Tensor =>
  x.size === 0 ? scalar(0, "i32", x.shape) : node(orderOp, [x], attrs, x.shape, "i32");

const searchOp: Op<{ right: boolean }> = {
  name: "searchSorted",
  lowering: {
    kind: "kernel",
    lower([sorted, values], _, { right }, target) {
      const [lines, queries] = values.shape as [number, number];
      return lowerSearch({ lines, length: sorted.shape[1], queries, type: orderedAs(values), right }, target);
    },
  },
  vjp: null,
  batch({ inputs: [sorted, values], batched, output, size, attrs, full }) {
    const shape = [size, ...output.shape];
    if (!batched[0] && sorted.shape[0] === 1) {
      return reshape(searchIn(sorted, reshape(values, { shape: [1, values.size] }), attrs), { shape });
    }
    return reshape(searchIn(mergeLines(full(0)), mergeLines(full(1)), attrs), { shape });
  },
  split([sorted, values], _, attrs, most) {
    if (sorted.shape[0] > 1) {
      const count = partsOf("searchSorted", [values, sorted], most);
      return inParts([sorted, values], 0, count, ([a, v]) => searchIn(a, v, attrs));
    }
    if (sorted.size > most) partsOf("searchSorted", [sorted], most);
    const count = partsFor("searchSorted", [values], values.size, most);
    return inParts([values], 1, count, ([v]) => searchIn(sorted, v, attrs));
  },
};

/** The places of values [lines, m] in sorted lines [lines, n], as i32: before or behind (right) equal entries. */
export const searchIn = (sorted: Tensor, values: Tensor, attrs: { right: boolean }): Tensor =>
  values.size === 0 || sorted.size === 0
    ? scalar(0, "i32", values.shape)
    : node(searchOp, [sorted, values], attrs, values.shape, "i32");
