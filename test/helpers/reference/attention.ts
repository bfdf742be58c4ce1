/** Attention and its gradients as loops in float64. */
import type { AttentionParams } from "../../../shaders/attention/parts.ts";

export interface AttentionInputs {
  readonly query: Float32Array;
  readonly key: Float32Array;
  readonly value: Float32Array;
  /** [..., queries, values + 1], of the result and the logarithms of the sums. */
  readonly cotangent: Float32Array;
  readonly terms: readonly (Float32Array | Uint32Array)[];
}

export interface AttentionResults {
  /** [..., queries, values + 1]. */
  readonly y: Float64Array;
  /** [..., queries, 2]: logarithms of the sums, and g . y - h. */
  readonly known: Float64Array;
  readonly query: Float64Array;
  readonly key: Float64Array;
  readonly value: Float64Array;
  readonly terms: readonly Float64Array[];
}

/** Where a logit is in a term that broadcasts. */
function placeIn(shape: readonly number[], batch: readonly number[], sample: number, i: number, j: number): number {
  const at: number[] = [i, j];
  let rest = sample;
  for (let axis = batch.length - 1; axis >= 0; axis--) {
    at.unshift(rest % batch[axis]);
    rest = Math.floor(rest / batch[axis]);
  }
  return shape.reduce((place, n, axis) => place * n + (n > 1 ? at[axis] : 0), 0);
}

export function attention(p: AttentionParams, x: AttentionInputs): AttentionResults {
  const { batch, queries, keys, features, values, terms, scale, causal } = p;
  const samples = batch.reduce((a, b) => a * b, 1);
  const result = {
    y: new Float64Array(samples * queries * (values + 1)),
    known: new Float64Array(samples * queries * 2),
    query: new Float64Array(x.query.length),
    key: new Float64Array(x.key.length),
    value: new Float64Array(x.value.length),
    terms: x.terms.map((t) => new Float64Array(t.length)),
  };
  for (let n = 0; n < samples; n++) {
    for (let i = 0; i < queries; i++) {
      const row = n * queries + i;
      const s = Array.from({ length: keys }, (_, j) => {
        let dot = 0;
        for (let c = 0; c < features; c++) dot += x.query[row * features + c] * x.key[(n * keys + j) * features + c];
        let logit = dot * scale;
        terms.forEach(({ shape, mask }, k) => {
          const t = x.terms[k][placeIn(shape, batch, n, i, j)];
          logit = mask ? (t ? logit : -Infinity) : logit + t;
        });
        return causal !== null && j > i + causal ? -Infinity : logit;
      });
      const top = Math.max(...s);
      const sum = top === -Infinity ? 0 : s.reduce((a, v) => a + Math.exp(v - top), 0);
      const log = sum === 0 ? -1e30 : top + Math.log(sum);
      const weight = s.map((v) => (v === -Infinity ? 0 : Math.exp(v - log)));
      const g = (c: number): number => x.cotangent[row * (values + 1) + c];
      let known = -g(values);
      for (let c = 0; c < values; c++) {
        let mean = 0;
        for (let j = 0; j < keys; j++) mean += weight[j] * x.value[(n * keys + j) * values + c];
        result.y[row * (values + 1) + c] = mean;
        known += g(c) * mean;
      }
      result.y[row * (values + 1) + values] = log;
      result.known.set([log, known], row * 2);
      for (let j = 0; j < keys; j++) {
        const other = n * keys + j;
        let slope = -known;
        for (let c = 0; c < values; c++) {
          slope += g(c) * x.value[other * values + c];
          result.value[other * values + c] += weight[j] * g(c);
        }
        slope *= weight[j];
        for (let c = 0; c < features; c++) {
          result.query[row * features + c] += scale * slope * x.key[other * features + c];
          result.key[other * features + c] += scale * slope * x.query[row * features + c];
        }
        terms.forEach(({ shape }, k) => (result.terms[k][placeIn(shape, batch, n, i, j)] += slope));
      }
    }
  }
  return result;
}
