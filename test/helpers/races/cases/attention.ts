/** Attention and its gradients: every variant, with masks, causal, of vectors in registers and in pieces. */
import { attentionVariants } from "../../../../shaders/attention/forward.wgsl.ts";
import {
  attentionKeyVariants,
  attentionQueryVariants,
  attentionValueVariants,
} from "../../../../shaders/attention/gradients.wgsl.ts";
import type { AttentionParams } from "../../../../shaders/attention/parts.ts";
import { attentionTermVariants } from "../../../../shaders/attention/term_gradient.wgsl.ts";
import type { Target } from "../../../../shaders/types.ts";
import { near } from "../../compare.ts";
import { noise } from "../../noise.ts";
import { attention, type AttentionInputs } from "../../reference/attention.ts";
import { casesOf, type VariantCase } from "./products.ts";
import { cpu, gpu, wideCpu } from "./targets.ts";

const count = (shape: readonly number[]): number => shape.reduce((a, b) => a * b, 1);

/** Inputs of given sizes; a mask leaves some queries without keys. */
export function attentionInputs(p: AttentionParams): AttentionInputs {
  const samples = count(p.batch);
  return {
    query: noise(samples * p.queries * p.features, 1),
    key: noise(samples * p.keys * p.features, 2),
    value: noise(samples * p.keys * p.values, 3),
    cotangent: noise(samples * p.queries * (p.values + 1), 4),
    terms: p.terms.map(({ shape, mask }, k) =>
      mask
        ? Uint32Array.from(
          { length: count(shape) },
          (_, i) => Number(i % 5 !== 1 && Math.floor(i / shape.at(-1)!) !== 2),
        )
        : noise(count(shape), 5 + k)
    ),
  };
}

const plain = { batch: [2], terms: [], scale: 0.7, causal: null };
/** Several workgroups, some ragged; a term of each kind; keys that no query may see. */
export const attentionSizes: readonly AttentionParams[] = [
  { ...plain, queries: 11, keys: 9, features: 3, values: 5 },
  {
    batch: [2, 3],
    queries: 7,
    keys: 10,
    features: 4,
    values: 2,
    terms: [{ shape: [2, 1, 7, 10], mask: true }, { shape: [1, 3, 7, 10], mask: false }],
    scale: 1,
    causal: 1,
  },
  {
    ...plain,
    queries: 9,
    keys: 7,
    features: 67,
    values: 66,
    terms: [{ shape: [1, 1, 7], mask: false }, { shape: [2, 1, 7], mask: true }],
    causal: -2,
  },
  { ...plain, batch: [], queries: 69, keys: 3, features: 2, values: 1, terms: [{ shape: [69, 1], mask: false }] },
];

export function attentionCases(): VariantCase[] {
  const targets: readonly Target[] = [gpu, cpu, wideCpu];
  return attentionSizes.flatMap((p, k) => {
    const inputs = attentionInputs(p);
    const wanted = attention(p, inputs);
    const forward = [inputs.query, inputs.key, inputs.value];
    const backward = [...forward, inputs.cotangent, Float32Array.from(wanted.known)];
    const what = JSON.stringify(p);
    const of = (given: readonly Float32Array[], y: Float64Array) => () => ({
      inputs: [...given, ...inputs.terms],
      outputs: [4 * y.length],
      check: ([bytes]: readonly Uint8Array<ArrayBuffer>[]) => {
        const close = (list: ArrayLike<number>): number[] => Array.from(list, (v) => (v < -1e29 ? -9 : v));
        near(close(new Float32Array(bytes.buffer)), close(y), 1e-5, what);
      },
    });
    return targets.filter((_, j) => k < 2 || j !== 2).flatMap((target) => [
      ...casesOf(`attention ${what}`, attentionVariants, p, target, of(forward, wanted.y)),
      ...casesOf(`gradient by query ${what}`, attentionQueryVariants, p, target, of(backward, wanted.query)),
      ...casesOf(`gradient by key ${what}`, attentionKeyVariants, p, target, of(backward, wanted.key)),
      ...casesOf(`gradient by value ${what}`, attentionValueVariants, p, target, of(backward, wanted.value)),
      ...p.terms.flatMap(({ mask }, term) =>
        mask ? [] : casesOf(
          `gradient by term ${what}`,
          attentionTermVariants,
          { ...p, term },
          target,
          of(backward, wanted.terms[term]),
        )
      ),
    ]);
  });
}
