/** Matching against prototypes as loops in float64. */
import { type CosineMatchingParams, NOTHING } from "../../../shaders/cosine_matching.wgsl.ts";

export interface MatchingInputs {
  readonly query: Float32Array;
  readonly prototypes: Float32Array;
  readonly used: readonly boolean[];
}

/** Value, logarithm of the sum of exp(logit), squared length: rows of [groups * samples, 3, pixels]. */
export function matching(p: CosineMatchingParams, { query, prototypes, used }: MatchingInputs): Float64Array {
  const { groups, samples, channels, pixels, floor } = p;
  const y = new Float64Array(groups * samples * 3 * pixels);
  for (let sample = 0; sample < groups * samples; sample++) {
    for (let i = 0; i < pixels; i++) {
      const from = Math.floor(sample / samples) * p.prototypes;
      let square = 0;
      for (let c = 0; c < channels; c++) square += query[(sample * channels + c) * pixels + i] ** 2;
      const s = Array.from({ length: p.prototypes }, (_, k) => {
        let dot = 0;
        for (let c = 0; c < channels; c++) {
          dot += prototypes[(from + k) * channels + c] * query[(sample * channels + c) * pixels + i];
        }
        return dot / Math.sqrt(Math.max(square, floor));
      });
      const logits = s.map((v, k) => (used[from + k] ? v : NOTHING));
      const top = Math.max(...logits);
      const e = logits.map((v) => Math.exp(v - top));
      const total = e.reduce((a, b) => a + b, 0);
      const value = s.reduce((a, v, k) => a + v * e[k], 0) / total;
      [value, top + Math.log(total), square].forEach((v, row) => (y[(sample * 3 + row) * pixels + i] = v));
    }
  }
  return y;
}
