/** The operator of attention and its gradients: kernels whose memory is linear in length. */
import type { Aval, BatchContext, Op } from "../../core/op.ts";
import { size } from "../../core/shape.ts";
import { node, type Tensor } from "../../core/tensor.ts";
import { lowerAttention } from "../../../shaders/attention/forward.wgsl.ts";
import { lowerAttentionGradient, type Part } from "../../../shaders/attention/gradients.wgsl.ts";
import type { AttentionParams } from "../../../shaders/attention/parts.ts";
import { lowerAttentionTermGradient } from "../../../shaders/attention/term_gradient.wgsl.ts";
import { mul, sub } from "../elementwise/elementwise.ts";
import { sum } from "../reduce/reduce.ts";
import { concat } from "../shape/concat.ts";
import { reshape } from "../shape/reshape.ts";
import { sumTo } from "../shape/sum_to.ts";
import { range } from "../split.ts";
import { logitsOf, productOf, weightsOf } from "./attention_parts.ts";
import { type Joined, splitAttention } from "./attention_split.ts";

export const NAME = "scaledDotProductAttention";

/**
 * Of at most this many weights (4 MiB) the gradients are composed of operators: kernels would compute the weights once
 * for each, which takes longer than to keep what fits into a cache.
 */
const FEW = 2 ** 20;

export interface AttentionAttrs {
  readonly scale: number;
  /** A query attends to keys up to its own place + this; null: to all. */
  readonly causal: number | null;
}

interface TermAttrs extends AttentionAttrs {
  /** Number of the term that a gradient is taken by. */
  readonly term: number;
}

function paramsOf([q, k, v]: readonly Aval[], terms: readonly Aval[], attrs: AttentionAttrs): AttentionParams {
  return {
    batch: q.shape.slice(0, -2),
    queries: q.shape.at(-2)!,
    features: q.shape.at(-1)!,
    keys: k.shape.at(-2)!,
    values: v.shape.at(-1)!,
    terms: terms.map(({ shape, dtype }) => ({ shape, mask: dtype === "bool" })),
    scale: attrs.scale,
    causal: attrs.causal,
  };
}

/** The batch becomes the first axis of the samples; a term that all examples share broadcasts along it. */
const batched = (first: number) => <A>(op: () => Op<A>) => (c: BatchContext<A>): Tensor =>
  node(
    op(),
    c.inputs.map((x, k) => k < first ? c.full(k) : c.batched[k] ? x : reshape(x, { shape: [1, ...x.shape] })),
    c.attrs,
    [c.size, ...c.output.shape],
    c.output.dtype,
  );

/** Query times key and weights times value. */
const countProducts = ([q, k, v]: readonly Aval[]): number => {
  const pairs = q.shape.slice(0, -1).reduce((a, b) => a * b, k.shape.at(-2)!);
  return pairs * (q.shape.at(-1)! + v.shape.at(-1)!);
};

const last = (x: Tensor, start: number, end: number): Tensor => range(x, x.rank - 1, start, end);

/** Inputs: query, key, value, terms. [..., queries, values + 1]: the result, and the log sum of each query. */
const op: Op<AttentionAttrs> = {
  name: NAME,
  lowering: {
    kind: "kernel",
    lower: (inputs, _, attrs, target) => lowerAttention(paramsOf(inputs, inputs.slice(3), attrs), target),
  },
  composed([q, k, v, ...terms], attrs) {
    const s = logitsOf(q, k, terms, attrs);
    const { weights, log } = weightsOf(s, null);
    return concat([productOf(weights, v, "plain"), log], { axis: v.rank - 1 });
  },
  // With g and h the cotangents of the result y and of the log sums: d = g . y - h; shaders/attention/gradients.wgsl.ts
  vjp({ inputs: [q, k, v, ...terms], output, attrs }, g) {
    const values = v.shape.at(-1)!;
    const [y, log] = [last(output, 0, values), last(output, values, values + 1)];
    const along = sum(mul(last(g, 0, values), y), { axes: [-1], keepDims: true });
    const known = concat([log, sub(along, last(g, values, values + 1))], { axis: g.rank - 1 });
    const inputs = [q, k, v, g, known, ...terms];
    if (size(q.shape.slice(0, -1)) * k.shape.at(-2)! <= FEW) return composedGradients(inputs, attrs);
    return [
      node(queryOp, inputs, attrs, q.shape, "f32"),
      node(keyOp, inputs, attrs, k.shape, "f32"),
      node(valueOp, inputs, attrs, v.shape, "f32"),
      ...terms.map((t, term) => t.dtype === "bool" ? null : node(termOp, inputs, { ...attrs, term }, t.shape, "f32")),
    ];
  },
  batch: batched(3)(() => op),
  split: (inputs, output, attrs, most) => splitAttention(op, inputs, output, attrs, most, 3, ["join", "merge"]),
  multiplyAdds: countProducts,
};

/** ds of the logits, for the gradients composed of other operators. */
function slopesOf(inputs: readonly Tensor[], attrs: AttentionAttrs): { weights: Tensor; slopes: Tensor; g: Tensor } {
  const [q, k, v, packed, known, ...terms] = inputs;
  const { weights } = weightsOf(logitsOf(q, k, terms, attrs), last(known, 0, 1));
  const g = last(packed, 0, v.shape.at(-1)!);
  return { weights, g, slopes: mul(weights, sub(productOf(g, v, "right"), last(known, 1, 2))) };
}

/** The gradients by query, key, value and terms, from one matrix of weights. */
function composedGradients(inputs: readonly Tensor[], attrs: AttentionAttrs): (Tensor | null)[] {
  const [q, k, , , , ...terms] = inputs;
  const { weights, slopes, g } = slopesOf(inputs, attrs);
  return [
    mul(productOf(slopes, k, "plain"), attrs.scale),
    mul(productOf(slopes, q, "left"), attrs.scale),
    productOf(weights, g, "left"),
    ...terms.map((t) => t.dtype === "bool" ? null : sumTo(slopes, t.shape)),
  ];
}

/** Inputs of all gradients: query, key, value, cotangent, [log sums, d], terms. `how`: along queries and keys. */
function gradientOp(of: Part, how: readonly [Joined, Joined], composed: NonNullable<Op<AttentionAttrs>["composed"]>) {
  const op: Op<AttentionAttrs> = {
    name: NAME,
    lowering: {
      kind: "kernel",
      lower: (inputs, _, attrs, target) => lowerAttentionGradient(of, paramsOf(inputs, inputs.slice(5), attrs), target),
    },
    vjp: null,
    composed,
    batch: batched(5)(() => op),
    split: (inputs, output, attrs, most) => splitAttention(op, inputs, output, attrs, most, 5, how),
    multiplyAdds: countProducts,
  };
  return op;
}

const queryOp = gradientOp(
  "query",
  ["join", "add"],
  (inputs, attrs) => mul(productOf(slopesOf(inputs, attrs).slopes, inputs[1], "plain"), attrs.scale),
);
const keyOp = gradientOp(
  "key",
  ["add", "join"],
  (inputs, attrs) => mul(productOf(slopesOf(inputs, attrs).slopes, inputs[0], "left"), attrs.scale),
);
const valueOp = gradientOp("value", ["add", "join"], (inputs, attrs) => {
  const { weights, g } = slopesOf(inputs, attrs);
  return productOf(weights, g, "left");
});

const termOp: Op<TermAttrs> = {
  name: NAME,
  lowering: {
    kind: "kernel",
    lower: (inputs, _, attrs, target) =>
      lowerAttentionTermGradient({ ...paramsOf(inputs, inputs.slice(5), attrs), term: attrs.term }, target),
  },
  vjp: null,
  composed: (inputs, attrs) => sumTo(slopesOf(inputs, attrs).slopes, inputs[5 + attrs.term].shape),
  batch(c) {
    const k = 5 + c.attrs.term;
    // Each example has a gradient of its own, also where the term is shared.
    const inputs = c.inputs.map((x, j) =>
      j < 5 || j === k ? c.full(j) : c.batched[j] ? x : reshape(x, { shape: [1, ...x.shape] })
    );
    return node(termOp, inputs, c.attrs, [c.size, ...c.output.shape], "f32");
  },
  split(inputs, output, attrs, most) {
    const { shape } = inputs[5 + attrs.term];
    const how = (n: number): Joined => (n > 1 ? "join" : "add");
    return splitAttention(termOp, inputs, output, attrs, most, 5, [how(shape.at(-2)!), how(shape.at(-1)!)], 1);
  },
  multiplyAdds: countProducts,
};

/** The result of attention beside the log sums, [..., queries, values + 1]. */
export const attention = (inputs: readonly Tensor[], attrs: AttentionAttrs): Tensor => {
  const [q, , v] = inputs;
  return node(op, inputs, attrs, [...q.shape.slice(0, -1), v.shape.at(-1)! + 1], "f32");
};
