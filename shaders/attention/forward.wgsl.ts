/**
 * Attention with an online softmax (Milakov and Gimelshein, "Online normalizer calculation for softmax", 2018; Dao et
 * al., "FlashAttention", 2022): logits of a few keys at a time stay in registers, beside the running maximum and sum of
 * a query. The memory is that of the result.
 */
import { wgsl } from "wgsl-preprocessor/wgsl-preprocessor.js";
import { each, pairs, softwareShare } from "../grid.ts";
import type { Lowered, Target, Variant } from "../types.ts";
import { bucket, selectVariant } from "../variants.ts";
import {
  type AttentionParams,
  baseNames,
  layout,
  logits,
  NOTHING,
  ownVectors,
  products,
  Rows,
  samples,
  stays,
} from "./parts.ts";

function lowerTile(p: AttentionParams, target: Target, share: number): Lowered {
  const { queries, keys, features, values, terms, causal } = p;
  const most = { share, rows: share === 4 ? 2 : 4, twice: 64 };
  const { tile, columns, chunks, workgroups, opening, enable } = layout(p, queries, values, most, target);
  const { own, rows } = tile;
  const key = new Rows("key", features, keys, tile);
  const value = new Rows("value", values, keys, tile);
  const both = (text: (j: number, r: number) => string): string => pairs(rows, own, text);
  const source = (): string =>
    wgsl`${enable}
@group(0) @binding(0) var<storage, read> query: array<f32>;
@group(0) @binding(1) var<storage, read> key: array<f32>;
@group(0) @binding(2) var<storage, read> value: array<f32>;
@group(0) @binding(${3 + terms.length}) var<storage, read_write> y: array<f32>;
${logits(p, 3)}

${opening}
  let key_base = sample * ${keys * features}u;
  let value_base = sample * ${keys * values}u;
${each(own, (r) => `  let query_own${r} = (sample * ${queries}u + place${r}) * ${features}u;`)}
${ownVectors("query", features, tile)}
${each(own, (r) => `  var top${r} = ${NOTHING};\n  var sum${r} = 0f;`)}
${pairs(own, columns, (r, c) => `  var y${r}_${c} = 0f;`)}
#if ${causal !== null}
  let end = u32(clamp(i32(begin) + ${own * tile.size + (causal ?? 0)}i, 0i, ${keys}i));
#else
  let end = ${keys}u;
#endif
  for (var first = 0u; first < end; first += ${rows}u) {
${products("s", "query", key, features, tile, "    ")}
${
      both((j, r) =>
        `    let l${j}_${r} = logit(s${j}_${r}, place${r}, min(first + ${j}u, ${keys - 1}u), ` +
        `first + ${j}u < ${keys}u${baseNames(p)});`
      )
    }
${each(own, (r) => `    var next${r} = top${r};`)}
${both((j, r) => `    next${r} = select(next${r}, l${j}_${r}, l${j}_${r} > next${r});`)}
${each(own, (r) => `    let fade${r} = vg_exp(top${r} - next${r});\n    top${r} = next${r};`)}
${both((j, r) => `    let e${j}_${r} = select(vg_exp(l${j}_${r} - next${r}), 0f, l${j}_${r} == ${NOTHING});`)}
${
      each(
        own,
        (r) =>
          `    sum${r} = sum${r} * fade${r} + ${Array.from({ length: rows }, (_, j) => `e${j}_${r}`).join(" + ")};`,
      )
    }
${value.load("chunk", columns, "    ")}
${
      each(columns, (c) =>
        `${each(rows, (j) => `    let v${j}_${c} = ${value.value(j, c)};`)}
${
          each(
            own,
            (r) =>
              `    y${r}_${c} = y${r}_${c} * fade${r} + (${
                Array.from({ length: rows }, (_, j) => `e${j}_${r} * v${j}_${c}`).join(" + ")
              });`,
          )
        }`)
    }
  }
${
      each(own, (r) =>
        `  if (begin + local + ${r * tile.size}u < ${queries}u) {
    let at = (sample * ${queries}u + place${r}) * ${values + 1}u;
    let some = sum${r} != 0f;
    let scale = 1f / select(1f, sum${r}, some);
${
          each(columns, (c) =>
            chunks * columns > values
              ? `    if (chunk + ${c}u < ${values}u) {\n      y[at + chunk + ${c}u] = y${r}_${c} * scale;\n    }`
              : `    y[at + chunk + ${c}u] = y${r}_${c} * scale;`)
        }
    if (chunk == 0u) {
      y[at + ${values}u] = select(top${r}, top${r} + vg_log(sum${r}), some);
    }
  }`)
    }
}
`;
  const name = `attention.${stays(features) ? "tile" : "pieces"}${rows}x${own}${share > 1 ? `_share${share}` : ""}`;
  const flops = 2 * samples(p) * queries * keys * (features * chunks + values) * (causal === null ? 1 : 0.5);
  return {
    temps: [],
    dispatches: [{
      kernel: { name, source, workgroups, flops },
      reads: [0, 1, 2, ...terms.map((_, k) => 3 + k)].map((input) => ({ input })),
      writes: [{ output: 0 }],
    }],
  };
}

const tile: Variant<AttentionParams> = {
  name: "tile",
  guard: () => true,
  lower: (p, target) => lowerTile(p, target, 1),
};

/** Lanes of a subgroup need the same keys: each loads a part of them and broadcasts it. */
const tileShared: Variant<AttentionParams> = {
  name: "tile_shared",
  guard: (_, target) => softwareShare(target) !== undefined,
  lower: (p, target) => lowerTile(p, target, softwareShare(target)!),
};

export const attentionVariants: readonly Variant<AttentionParams>[] = [tileShared, tile];

/**
 * Reads query, key, value and the terms; writes [...batch, queries, values + 1]: the means of the values, and last the
 * logarithm of the sum of the exponentials of the logits. For a query without keys the means are 0
 * and the logarithm is NOTHING.
 */
export function lowerAttention(p: AttentionParams, target: Target, variant?: string): Lowered {
  const { queries, keys, features, values, terms } = p;
  const n = samples(p);
  const work = {
    family: "attention",
    shape: () => [n, queries, keys, features, values].map(bucket).join(" "),
    dtype: "f32" as const,
    inputs: [
      n * queries * features,
      n * keys * features,
      n * keys * values,
      ...terms.map(({ shape }) => shape.reduce((a, b) => a * b, 1)),
    ],
    output: n * queries * (values + 1),
  };
  return selectVariant(work, attentionVariants, p, target, { variant });
}
