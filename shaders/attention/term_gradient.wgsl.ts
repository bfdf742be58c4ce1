/** The gradient of attention by a term of its logits: sums of ds_ij (gradients.wgsl.ts) over what it broadcasts to. */
import { wgsl } from "wgsl-preprocessor/wgsl-preprocessor.js";
import { ceilDiv, each, foldGrid, softwareShare } from "../grid.ts";
import type { Lowered, Target, Variant } from "../types.ts";
import { bucket, selectVariant } from "../variants.ts";
import {
  baseNames,
  bases,
  gradientBindings,
  gradientInputs,
  samples,
  type TermGradientParams,
  weight,
} from "./parts.ts";

/** Axes of the samples: of a term's own sample, or of those that are summed. */
function sampleOf(batch: readonly number[], keep: (axis: number) => boolean, index: string): string {
  let [below, stride] = [1, 1];
  const parts: string[] = [];
  for (let axis = batch.length - 1; axis >= 0; axis--) {
    if (keep(axis)) {
      if (batch[axis] > 1) parts.push(`${index} / ${below}u % ${batch[axis]}u * ${stride}u`);
      below *= batch[axis];
    }
    stride *= batch[axis];
  }
  return parts.join(" + ") || "0u";
}

/** An invocation computes a column of `rows` rows. */
function lowerTile(p: TermGradientParams, target: Target, share: number): Lowered {
  const { queries, keys, features, values, terms, term, batch } = p;
  const { shape } = terms[term];
  const [height, width] = [shape.at(-2)!, shape.at(-1)!];
  const own = shape.slice(0, -2).reduce((a, b) => a * b, 1);
  const summed = samples(p) / own;
  const [rows, size] = [8, 64];
  const [across, down] = [ceilDiv(width, size), ceilDiv(height, rows)];
  const count = own * across * down;
  const grid = foldGrid(count, target);
  const shared = share > 1;
  const of = (name: string, i: number): string =>
    shared ? `subgroupBroadcast(${name}${Math.floor(i / share)}, ${i % share}u)` : `${name}${i}`;
  const load = (to: string, buffer: string, stride: number): string =>
    each(ceilDiv(rows, share), (v) => {
      const i = shared ? `${v * share}u + lane % ${share}u` : `${v}u`;
      return `          let ${to}${v} = ${buffer}[(sample * ${queries}u + min(first + ${i}, ${
        queries - 1
      }u)) * ${stride}u + c];`;
    });
  const dots = (sum: string, rowsOf: string, stride: number, buffer: string, length: number): string =>
    `        for (var c = 0u; c < ${length}u; c++) {
          let own_${sum} = ${buffer}[(sample * ${keys}u + column) * ${length}u + c];
${load(`${sum}v`, rowsOf, stride)}
${each(rows, (i) => `          ${sum}${i} += own_${sum} * ${of(`${sum}v`, i)};`)}
        }`;
  const { text, reads } = gradientBindings(p);
  const source = (): string =>
    wgsl`${shared ? "enable subgroups;" : ""}
${text()}

@compute @workgroup_size(${size})
fn main(@builtin(workgroup_id) wid: vec3u, @builtin(local_invocation_index) local: u32${
      shared ? ", @builtin(subgroup_invocation_id) lane: u32" : ""
    }) {
  let block = ${grid.index};
  if (block >= ${count}u) {
    return;
  }
  let x = block % ${across}u * ${size}u + local;
  let line = block / ${across}u % ${down}u * ${rows}u;
  let own = block / ${across * down}u;
  let start = ${sampleOf(batch, (axis) => shape[axis] > 1, "own")};
${each(rows, (i) => `  var y${i} = 0f;`)}
  for (var k = 0u; k < ${summed}u; k++) {
    let sample = start + ${sampleOf(batch, (axis) => shape[axis] === 1, "k")};
${bases(p)}
    for (var first = ${height > 1 ? "line" : "0u"}; first < ${
      height > 1 ? `line + ${rows}u` : `${queries}u`
    }; first += ${rows}u) {
      for (var turn = 0u; turn < ${width > 1 ? 1 : keys}u; turn++) {
        let column = ${width > 1 ? `min(x, ${width - 1}u)` : "turn"};
${each(rows, (i) => `        var s${i} = 0f;\n        var t${i} = 0f;`)}
${dots("s", "query", features, "key", features)}
${dots("t", "slope", values + 1, "value", values)}
${
      each(rows, (i) =>
        `        let row${i} = min(first + ${i}u, ${queries - 1}u);
        let known${i} = (sample * ${queries}u + row${i}) * 2u;
        let l${i} = logit(s${i}, row${i}, column, first + ${i}u < ${queries}u${baseNames(p)});
        y${i} += ${weight(`l${i}`, `known[known${i}]`)} * (t${i} - known[known${i} + 1u]);`)
    }
      }
    }
  }
  if (x < ${width}u) {
    let at = (own * ${height}u + line) * ${width}u + x;
#if ${height > 1}
${each(rows, (i) => `    if (line + ${i}u < ${height}u) {\n      y[at + ${i * width}u] = y${i};\n    }`)}
#else
    y[at] = ${Array.from({ length: rows }, (_, i) => `y${i}`).join(" + ")};
#endif
  }
}
`;
  const flops = 2 * samples(p) * queries * keys * (features + values);
  return {
    temps: [],
    dispatches: [{
      kernel: {
        name: `attention_term.tile${shared ? `_share${share}` : ""}`,
        source,
        workgroups: grid.workgroups,
        flops,
      },
      reads,
      writes: [{ output: 0 }],
    }],
  };
}

export const attentionTermVariants: readonly Variant<TermGradientParams>[] = [
  {
    name: "tile_shared",
    guard: (_, target) => softwareShare(target) !== undefined,
    lower: (p, target) => lowerTile(p, target, softwareShare(target)!),
  },
  { name: "tile", guard: () => true, lower: (p, target) => lowerTile(p, target, 1) },
];

/** Reads what `lowerAttentionGradient` reads; writes the cotangent of a term, of its shape. */
export function lowerAttentionTermGradient(p: TermGradientParams, target: Target, variant?: string): Lowered {
  const { queries, keys, features, values, terms, term } = p;
  const n = samples(p);
  const inputs = gradientInputs(p);
  const output = inputs[inputs.length - terms.length + term];
  const work = {
    family: "attention gradient by term",
    shape: () => [n, queries, keys, features, values, output].map(bucket).join(" "),
    dtype: "f32" as const,
    inputs,
    output,
  };
  return selectVariant(work, attentionTermVariants, p, target, { variant });
}
