/**
 * Gradients of attention, which compute the weights of a few keys at a time again from the logarithms of the sums that
 * the forward pass left (Dao et al., "FlashAttention", 2022, algorithm 4). With p_ij = exp(s_ij - log sum_i), g the
 * cotangent of the result, h that of the logarithm and d_i = g_i . y_i - h_i:
 * ds_ij = p_ij (g_i . v_j - d_i), dq_i = scale sum_j ds_ij k_j, dk_j = scale sum_i ds_ij q_i, dv_j = sum_i p_ij g_i.
 */
import { wgsl } from "wgsl-preprocessor/wgsl-preprocessor.js";
import { each, pairs, softwareShare } from "../grid.ts";
import type { Lowered, Target, Variant } from "../types.ts";
import { bucket, selectVariant } from "../variants.ts";
import {
  type AttentionParams,
  baseNames,
  gradientBindings,
  gradientInputs,
  type Layout,
  layout,
  number,
  ownVectors,
  products,
  Rows,
  samples,
  stays,
  weight,
} from "./parts.ts";

/** Stores `name{r}_{c}` of chunks of a row of `width`. */
const stores = (l: Layout, length: number, width: number, value: (r: number, c: number) => string): string =>
  each(l.tile.own, (r) =>
    `  if (begin + local + ${r * l.tile.size}u < ${length}u) {
    let at = (sample * ${length}u + place${r}) * ${width}u + chunk;
${
      each(l.columns, (c) =>
        l.chunks * l.columns > width
          ? `    if (chunk + ${c}u < ${width}u) {\n      y[at + ${c}u] = ${value(r, c)};\n    }`
          : `    y[at + ${c}u] = ${value(r, c)};`)
    }
  }`);

/** What a gradient is taken by. */
export type Part = "query" | "key" | "value";

/** An invocation owns a query and walks over the keys, or owns a key and walks over the queries. */
function lowerPart(of: Part, p: AttentionParams, target: Target, share: number): Lowered {
  const { queries, keys, features, values, causal, scale } = p;
  const byQuery = of === "query";
  const [length, others] = byQuery ? [queries, keys] : [keys, queries];
  const width = of === "value" ? values : features;
  // SwiftShader shares among four lanes: more own vectors for each row that is broadcast, while registers last.
  const few = share === 4 && Math.max(features, values) <= 32;
  const l = layout(p, length, width, { share, rows: few ? 1 : 2, twice: share === 4 ? 64 : 16 }, target);
  const { tile, columns, chunks, opening, enable, workgroups } = l;
  const { own, rows } = tile;
  const wide = { stride: values + 1 };
  // The logits are products of `mine` and `theirs`, their slopes of `mySlope` and `theirSlope`.
  const [mine, mySlope] = byQuery ? ["query", "slope"] : ["key", "value"];
  const theirs = new Rows(byQuery ? "key" : "query", features, others, tile);
  const theirSlope = byQuery ? new Rows("value", values, others, tile) : new Rows("slope", values, others, tile, wide);
  // A result in one chunk takes the vectors that the logits took.
  const again = of === "value" || chunks > 1 || !stays(features);
  const summed = !again ? theirs : new Rows("part", width, others, tile, {
    buffer: { query: "key", key: "query", value: "slope" }[of],
    ...(of === "value" && wide),
  });
  const [row, column] = byQuery
    ? [(_: number, r: number) => `place${r}`, (j: number) => `other${j}`]
    : [(j: number) => `other${j}`, (_: number, r: number) => `place${r}`];
  const known = (j: number, r: number): string => (byQuery ? `${r}` : `${j}`);
  const facts = (k: number, query: string): string =>
    `let log${k} = known[(sample * ${queries}u + ${query}) * 2u];
    let known${k} = known[(sample * ${queries}u + ${query}) * 2u + 1u];`;
  const { text, reads } = gradientBindings(p, of === "value" ? "value" : undefined);
  const source = (): string =>
    wgsl`${enable}
${text()}

${opening}
  let query_base = sample * ${queries * features}u;
  let key_base = sample * ${keys * features}u;
#if ${of !== "value"}
  let value_base = sample * ${keys * values}u;
#endif
  let slope_base = sample * ${queries * (values + 1)}u;
  let part_base = ${{ query: "key", key: "query", value: "slope" }[of]}_base;
${
      each(own, (r) =>
        `  let ${mine}_own${r} = ${mine}_base + place${r} * ${features}u;
${of === "value" ? "" : `  let ${mySlope}_own${r} = ${mySlope}_base + place${r} * ${byQuery ? values + 1 : values}u;`}
${byQuery ? `    ${facts(r, `place${r}`)}` : ""}`)
    }
${ownVectors(mine, features, tile)}
${of === "value" ? "" : ownVectors(mySlope, values, tile)}
${pairs(own, columns, (r, c) => `  var y${r}_${c} = 0f;`)}
#if ${causal === null}
  let start = 0u;
  let end = ${others}u;
#elif ${byQuery}
  let start = 0u;
  let end = u32(clamp(i32(begin) + ${own * tile.size + (causal ?? 0)}i, 0i, ${keys}i));
#else
  let start = u32(max(i32(begin) - ${causal ?? 0}i, 0i)) / ${rows}u * ${rows}u;
  let end = ${others}u;
#endif
  for (var first = start; first < end; first += ${rows}u) {
${products("s", mine, theirs, features, tile, "    ")}
${of === "value" ? "" : products("t", mySlope, theirSlope, values, tile, "    ")}
${
      each(rows, (j) =>
        `    let other${j} = min(first + ${j}u, ${others - 1}u);
${byQuery ? "" : `    ${facts(j, `other${j}`)}`}`)
    }
${
      pairs(rows, own, (j, r) => {
        const inside = `first + ${j}u < ${others}u`;
        const w = weight(`l${j}_${r}`, `log${known(j, r)}`);
        return `    let l${j}_${r} = logit(s${j}_${r}, ${row(j, r)}, ${column(j, r)}, ${inside}${baseNames(p)});
    let d${j}_${r} = ${of === "value" ? w : `${w} * (t${j}_${r} - known${known(j, r)})`};`;
      })
    }
${again ? summed.load("chunk", columns, "    ") : ""}
${
      each(columns, (c) =>
        `${each(rows, (j) => `    let v${j}_${c} = ${summed.value(j, c)};`)}
${pairs(own, rows, (r, j) => `    y${r}_${c} += d${j}_${r} * v${j}_${c};`)}`)
    }
  }
${stores(l, length, width, (r, c) => of === "value" ? `y${r}_${c}` : `y${r}_${c} * ${number(scale)}`)}
}
`;
  const once = of === "value" ? features : features + values;
  const flops = 2 * samples(p) * queries * keys * (once * chunks + width) * (causal === null ? 1 : 0.5);
  const name = `attention_${of}.tile${rows}x${own}${share > 1 ? `_share${share}` : ""}`;
  return { temps: [], dispatches: [{ kernel: { name, source, workgroups, flops }, reads, writes: [{ output: 0 }] }] };
}

const variantsOf = (of: Part): readonly Variant<AttentionParams>[] => [
  {
    name: "tile_shared",
    guard: (_, target) => softwareShare(target) !== undefined,
    lower: (p, target) => lowerPart(of, p, target, softwareShare(target)!),
  },
  { name: "tile", guard: () => true, lower: (p, target) => lowerPart(of, p, target, 1) },
];

export const attentionQueryVariants = variantsOf("query");
export const attentionKeyVariants = variantsOf("key");
export const attentionValueVariants = variantsOf("value");

/**
 * Reads query, key, value, the cotangent of the result of `lowerAttention`, [..., queries, 2] of the logarithms of the
 * sums and of d, and the terms; writes the cotangent of the query, the key or the value.
 */
export function lowerAttentionGradient(
  of: Part,
  p: AttentionParams,
  target: Target,
  variant?: string,
): Lowered {
  const { queries, keys, features, values } = p;
  const n = samples(p);
  const work = {
    family: `attention gradient by ${of}`,
    shape: () => [n, queries, keys, features, values].map(bucket).join(" "),
    dtype: "f32" as const,
    inputs: gradientInputs(p),
    output: { query: n * queries * features, key: n * keys * features, value: n * keys * values }[of],
  };
  const variants = { query: attentionQueryVariants, key: attentionKeyVariants, value: attentionValueVariants }[of];
  return selectVariant(work, variants, p, target, { variant });
}
