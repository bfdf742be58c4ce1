/** Products of matrices, matching, and convolutions: every variant, at sizes that give several tiles, some ragged. */
import { fromHalf, toHalf } from "../../../../engine/core/dtype.ts";
import { convForwardVariants, convInputGradVariants, type ConvParams } from "../../../../shaders/conv/variants.ts";
import { convWeightGradVariants } from "../../../../shaders/conv/weight_variants.ts";
import { type CosineMatchingParams, cosineMatchingVariants } from "../../../../shaders/cosine_matching.wgsl.ts";
import { type MatmulParams, matmulVariants } from "../../../../shaders/matmul.wgsl.ts";
import { NO_NUMBERS } from "../../../../shaders/sizes.ts";
import type { Fused, Slot, Target, Variant } from "../../../../shaders/types.ts";
import { near } from "../../compare.ts";
import { noise } from "../../noise.ts";
import { type ConvSpec, params, products } from "../../reference/conv.ts";
import { matching } from "../../reference/matching.ts";
import { product } from "../../reference/matmul.ts";
import type { Case, Numbers } from "../programs.ts";
import { attentionCases } from "./attention.ts";
import { cpu, gpu, matrices, narrow, wideCpu } from "./targets.ts";

/** A case of one variant. */
export interface VariantCase extends Case {
  readonly variant: unknown;
}

/** Small whole numbers, whose sums are exact. */
const whole = (count: number, seed: number): Float32Array => noise(count, seed).map((v) => Math.round(2 * v));
const volume = (size: readonly number[]): number => size.reduce((a, b) => a * b, 1);

/** The subgroups that a target may have. */
const widthsOf = ({ subgroupMinSize = 4, subgroupMaxSize = 32 }: Target): number[] =>
  [4, 8, 16, 32].filter((width) => width >= subgroupMinSize && width <= subgroupMaxSize);

/** Cases of the variants that take these sizes on a target. */
export function casesOf<P>(
  name: string,
  variants: readonly Variant<P>[],
  p: P,
  target: Target,
  make: (variant: Variant<P>) => Pick<Case, "inputs" | "outputs" | "check"> & Partial<Case>,
): VariantCase[] {
  return variants.filter((variant) => variant.guard(p, target)).map((variant) => {
    const lowered = variant.lower(p, target);
    const uses = lowered.dispatches.some(({ kernel }) => kernel.source().includes("enable subgroups"));
    return {
      name: `${variant.name}: ${name}`,
      lowered,
      widths: uses ? widthsOf(target) : [32],
      variant,
      ...make(variant),
    };
  });
}

function matmuls(): VariantCase[] {
  const odd = { batch: 2, rows: 66, inner: 67, columns: 37 };
  const even = { batch: 1, rows: 68, inner: 20, columns: 36 };
  const small = { batch: 2, rows: 13, inner: 9, columns: 11 };
  const list: [MatmulParams, Target][] = [
    [{ ...odd, transposeA: false, transposeB: false }, gpu],
    [{ ...odd, batch: 1, transposeA: true, transposeB: true }, gpu],
    [{ ...even, transposeA: false, transposeB: true }, gpu],
    [{ ...even, transposeA: true, transposeB: false }, gpu],
    [{ ...small, transposeA: false, transposeB: true }, cpu],
    [{ ...small, transposeA: true, transposeB: false }, wideCpu],
  ];
  return list.flatMap(([p, target]) => {
    const a = whole(p.batch * p.rows * p.inner, 1);
    const b = whole(p.batch * p.inner * p.columns, 2);
    const wanted = product(p, a, b);
    return casesOf(`matmul ${JSON.stringify(p)}`, matmulVariants, p, target, () => ({
      inputs: [a, b],
      outputs: [4 * wanted.length],
      check: ([y]) => near(new Float32Array(y.buffer), wanted, 0, "product"),
    }));
  });
}

function matchings(): VariantCase[] {
  const list: [CosineMatchingParams, Target][] = [
    [{ groups: 2, samples: 1, channels: 19, pixels: 69, prototypes: 67, floor: 1e-8 }, gpu],
    [{ groups: 1, samples: 2, channels: 68, pixels: 36, prototypes: 32, floor: 1e-8 }, gpu],
    [{ groups: 2, samples: 2, channels: 7, pixels: 37, prototypes: 19, floor: 1e-8 }, cpu],
    [{ groups: 1, samples: 1, channels: 3, pixels: 21, prototypes: 9, floor: 1e-8 }, wideCpu],
  ];
  return list.flatMap(([p, target]) => {
    const total = p.groups * p.samples * p.pixels;
    const query = noise(total * p.channels, 1);
    const prototypes = noise(p.groups * p.prototypes * p.channels, 2);
    const used = Array.from({ length: p.groups * p.prototypes }, (_, k) => k % 3 !== 1);
    const wanted = matching(p, { query, prototypes, used });
    const row = (data: ArrayLike<number>, rows: number, k: number): number[] =>
      Array.from({ length: total }, (_, i) => data[(Math.floor(i / p.pixels) * rows + k) * p.pixels + (i % p.pixels)]);
    return casesOf(`matching ${JSON.stringify(p)}`, cosineMatchingVariants, p, target, () => ({
      inputs: [query, prototypes, Uint32Array.from(used, Number)],
      outputs: [16 * total],
      check([bytes]) {
        const y = new Float32Array(bytes.buffer);
        const top = row(y, 4, 1);
        near(row(y, 4, 0), row(wanted, 3, 0), 3e-6, "mean likeness");
        near(row(y, 4, 2).map((v, i) => Math.log(v) + top[i]), row(wanted, 3, 1), 3e-6, "logarithm of the sum");
        near(row(y, 4, 3), row(wanted, 3, 2), 3e-6, "squared length");
      },
    }));
  });
}

const identity: Fused = {
  name: "",
  reads: [],
  type: "f32",
  code: () => ({ functions: [], body: "", value: "given", numbers: NO_NUMBERS }),
};

interface Direction {
  readonly name: string;
  readonly variants: readonly Variant<ConvParams>[];
  readonly inputs: readonly Float32Array[];
  readonly wanted: Float64Array;
}

/** The three products of a convolution, in float64. */
function directions(p: ConvParams): Direction[] {
  const x = whole(p.batch * p.inChannels * volume(p.input), 1);
  const w = whole((p.outChannels * p.inChannels * volume(p.kernel)) / p.groups, 2);
  const g = whole(p.batch * p.outChannels * volume(p.output), 3);
  const [toOut, toIn] = [whole(p.outChannels, 4), whole(p.inChannels, 5)];
  const biased = (like: Float32Array, bias: Float32Array, each: number): Float64Array =>
    Float64Array.from(like, (_, i) => (p.bias ? bias[Math.floor(i / each) % bias.length] : 0));
  const y = biased(g, toOut, volume(p.output));
  const dx = biased(x, toIn, volume(p.input));
  const dw = new Float64Array(w.length);
  products(p, (i, k, o) => {
    y[o] += x[i] * w[k];
    dx[i] += g[o] * w[k];
    dw[k] += x[i] * g[o];
  });
  return [
    { name: "convolution", variants: convForwardVariants, inputs: [x, w, toOut], wanted: y },
    { name: "input gradient", variants: convInputGradVariants, inputs: [g, w, toIn], wanted: dx },
    { name: "weight gradient", variants: convWeightGradVariants, inputs: [x, g], wanted: dw },
  ];
}

/** Cases of the variants with such names, in one direction or all. */
function convs(
  spec: ConvSpec & { readonly only?: RegExp; readonly direction?: string; readonly storage?: "f32" | "f16" },
  target: Target,
): VariantCase[] {
  const { only = /./, direction = "", storage = "f32" } = spec;
  const p = params(spec, storage);
  const held = (v: Float32Array): Numbers => (storage === "f16" ? Uint16Array.from(v, toHalf) : v);
  const numbers = (bytes: Uint8Array<ArrayBuffer>, count: number): ArrayLike<number> =>
    storage === "f16"
      ? Float32Array.from(new Uint16Array(bytes.buffer, 0, count), fromHalf)
      : new Float32Array(bytes.buffer, 0, count);
  return directions(p).filter(({ name }) => name.includes(direction)).flatMap(({ name, variants, inputs, wanted }) => {
    const fitting = variants.filter((variant) => only.test(variant.name));
    const what = `${name} ${JSON.stringify(spec)} in ${storage}`;
    return casesOf(what, fitting, p, target, () => ({
      inputs: inputs.map(held),
      outputs: [(storage === "f16" ? 2 : 4) * wanted.length],
      check: ([bytes]) => near(numbers(bytes, wanted.length), wanted, 0, what),
    }));
  });
}

/** Convolutions that leave means and squared deviations of the tiles of their result. */
function withMoments(
  spec: ConvSpec & { readonly storage?: "f32" | "f16" },
  only: RegExp,
  target: Target,
): VariantCase[] {
  const p = params(spec, spec.storage ?? "f32");
  const [{ variants, inputs, wanted }] = directions(p);
  const held = (v: Float32Array): Numbers => (p.storage === "f16" ? Uint16Array.from(v, toHalf) : v);
  const fusion = { loads: [], store: null, moments: identity, first: 3 };
  return variants.filter((v) => only.test(v.name) && v.guard(p, target)).map((variant) => {
    const lowered = variant.lower(p, target, fusion);
    const { temp, length, share } = lowered.moments!;
    const results: Slot[] = [{ temp }];
    const check = ([bytes]: readonly Uint8Array<ArrayBuffer>[]): void => {
      const got = new Float32Array(bytes.buffer);
      const expected: number[] = [];
      for (let row = 0; row < wanted.length; row += length) {
        for (let from = row; from < row + length; from += share) {
          const part = wanted.slice(from, Math.min(from + share, row + length));
          const mean = part.reduce((a, v) => a + v, 0) / part.length;
          expected.push(mean, part.reduce((a, v) => a + (v - mean) ** 2, 0));
        }
      }
      near(got, expected, 1e-6, "moments");
    };
    const outputs = [(p.storage === "f16" ? 2 : 4) * wanted.length];
    const name = `${variant.name}: moments ${JSON.stringify(spec)}`;
    return {
      name,
      lowered,
      inputs: inputs.map(held),
      outputs,
      results,
      check,
      widths: [target.subgroupMaxSize!],
      variant,
    };
  });
}

/** A row of three taps, in two tiles of channels; the second of positions is ragged. */
const rows: ConvSpec = {
  batch: 2,
  channels: [13, 70],
  input: [2, 5, 7],
  kernel: [1, 1, 3],
  padding: [0, 0, 1],
  bias: true,
};
const back: ConvSpec = { ...rows, channels: [70, 13] };
/** Two tiles of weights, the second ragged. */
const heavy: ConvSpec = { ...rows, batch: 1, channels: [45, 70] };
const strided: ConvSpec = {
  channels: [40, 18],
  groups: 2,
  input: [2, 5, 6],
  kernel: [2, 2, 3],
  stride: [1, 2, 1],
  padding: [0, 1, 2],
  dilation: [1, 1, 2],
};
const wide: ConvSpec = { batch: 1, channels: [5, 40], input: [3, 7, 7], kernel: [1, 1, 1], bias: true };
const little: ConvSpec = {
  batch: 2,
  channels: [5, 9],
  input: [2, 3, 5],
  kernel: [2, 3, 3],
  padding: [1, 1, 1],
  stride: [1, 2, 1],
  bias: true,
};

/** Cases by what makes the kernels. */
export function productCases(): Record<string, readonly VariantCase[]> {
  const wholeTarget = { ...narrow, subgroupMinSize: 8 };
  return {
    "lowerMatmul()": matmuls(),
    "lowerCosineMatching()": matchings(),
    "lowerAttention() and its gradients": attentionCases(),
    "lowerConvForward() and its gradients in registers": [
      ...convs({ ...little, only: /^(tile|generic)/ }, cpu),
      ...convs({ ...little, channels: [3, 4], only: /^tile/ }, wideCpu),
      ...convs({ ...little, channels: [3, 4], only: /^(tile|generic)/ }, wholeTarget),
    ],
    "lowerConvForward() and its gradients in tiles": [
      ...convs({ ...rows, only: /^gemm/, direction: "convolution" }, gpu),
      ...convs({ ...wide, only: /^gemm/, direction: "convolution" }, { ...gpu, maxBindingBytes: 40_000 }),
      ...convs({ ...strided, only: /^gemm/ }, gpu),
      ...convs({ ...back, only: /^gemm/, direction: "gradient" }, gpu),
      ...convs({ ...heavy, only: /^gemm/, direction: "weight" }, gpu),
      ...convs({ ...rows, only: /^gemm/, storage: "f16", direction: "convolution" }, gpu),
      ...withMoments(wide, /^gemm/, gpu),
      ...withMoments({ ...wide, channels: [6, 70] }, /^gemm64/, gpu),
    ],
    "lowerConvForward() and its gradients with subgroup matrices": [
      ...convs(
        { ...rows, batch: 1, only: /^matrix/, direction: "convolution", storage: "f16" },
        matrices(8, 16, 16, 32),
      ),
      ...convs({ ...back, batch: 1, only: /^matrix/, direction: "gradient", storage: "f16" }, matrices(8, 8, 8, 32)),
      ...convs({ ...heavy, only: /^matrix/, direction: "weight", storage: "f16" }, matrices(16, 16, 16, 32)),
      ...convs({ ...wide, only: /^matrix/, storage: "f16" }, matrices(16, 8, 8, 8)),
      ...withMoments({ ...wide, storage: "f16" }, /^matrix/, matrices(8, 16, 16, 32)),
      ...withMoments({ ...wide, storage: "f16" }, /^matrix/, matrices(8, 16, 16, 16)),
    ],
  };
}
