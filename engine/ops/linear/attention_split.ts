/** Attention on tensors that exceed a binding, in parts of samples, queries or keys. */
import { fail } from "../../core/errors.ts";
import type { Aval, Op } from "../../core/op.ts";
import { size } from "../../core/shape.ts";
import { node, type Tensor } from "../../core/tensor.ts";
import { add, exp, mul, sub } from "../elementwise/elementwise.ts";
import { logSumExp } from "../reduce/reduce.ts";
import { concat } from "../shape/concat.ts";
import { range, ranges } from "../split.ts";

/** How results of parts become one: side by side, as a sum, or as means weighted by their sums. */
export type Joined = "join" | "add" | "merge";

interface Attrs {
  readonly scale: number;
  readonly causal: number | null;
}

/** Results [..., values + 1] of parts of the keys: y = sum_p exp(log_p - log) y_p with log = log sum_p exp(log_p). */
function merge(parts: readonly Tensor[]): Tensor {
  const axis = parts[0].rank - 1;
  const values = parts[0].shape[axis] - 1;
  const logs = concat(parts.map((y) => range(y, axis, values, values + 1)), { axis });
  const log = logSumExp(logs, { axes: [axis], keepDims: true });
  const weighted = parts.map((y, k) => mul(range(y, axis, 0, values), exp(sub(range(logs, axis, k, k + 1), log))));
  return concat([weighted.reduce((a, b) => add(a, b)), log], { axis });
}

/**
 * The same operator on parts.
 *
 * @param first number of the first term among the inputs; those before are query, key, value, and of queries
 * @param how along queries and along keys
 * @param columnAxis the axis of the result that is of keys, counted from the end
 */
export function splitAttention<A extends Attrs>(
  op: Op<A>,
  inputs: readonly Tensor[],
  output: Aval,
  attrs: A,
  most: number,
  first: number,
  how: readonly [Joined, Joined],
  columnAxis = 2,
): Tensor {
  const [q, k] = inputs;
  const rank = q.rank;
  const largest = Math.max(size(output.shape), ...inputs.map((x) => x.size));
  const sample = q.shape.slice(0, -2).findIndex((n) => n > 1);
  const byRows = sample < 0 && q.shape[rank - 2] >= k.shape[rank - 2];
  const n = sample >= 0 ? q.shape[sample] : byRows ? q.shape[rank - 2] : k.shape[rank - 2];
  if (n < 2) fail(op.name, `a vector of ${largest} elements, the adapter binds ${most}; use fewer features`);
  /** The axis of an input that is divided; null if it is whole in every part. */
  const axisOf = (x: Tensor, j: number): number | null => {
    if (j >= first) {
      const axis = sample >= 0 ? sample : byRows ? rank - 2 : rank - 1;
      return x.shape[axis] > 1 ? axis : null;
    }
    if (sample >= 0) return sample;
    return (j === 1 || j === 2) === byRows ? null : rank - 2;
  };
  const each = Math.max(1, Math.floor((most / largest) * n));
  const parts = ranges(n, Math.ceil(n / each)).map(([start, end]) => {
    const own = inputs.map((x, j) => {
      const axis = axisOf(x, j);
      return axis === null ? x : range(x, axis, start, end);
    });
    const shift = sample >= 0 ? 0 : byRows ? start : -start;
    const causal = attrs.causal === null ? null : attrs.causal + shift;
    return { own, length: end - start, attrs: { ...attrs, causal } };
  });
  const joined = sample >= 0 ? (output.shape[sample] > 1 ? "join" : "add") : how[byRows ? 0 : 1];
  const axis = sample >= 0 ? sample : rank - (byRows ? 2 : columnAxis);
  const results = parts.map(({ own, length, attrs }) => {
    const shape = output.shape.map((m, j) => (joined === "join" && j === axis ? length : m));
    return node(op, own, attrs, shape, "f32");
  });
  if (joined === "join") return concat(results, { axis });
  return joined === "merge" ? merge(results) : results.reduce((x, y) => add(x, y));
}
