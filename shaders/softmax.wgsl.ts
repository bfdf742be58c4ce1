/** softmax and logSoftmax along a short axis: one invocation per line, with its values in registers. */
import { wgsl } from "wgsl-preprocessor/wgsl-preprocessor.js";
import { librarySource } from "./library.ts";
import { fold } from "./map.wgsl.ts";
import { sizesOf } from "./sizes.ts";
import type { Lowered, Target } from "./types.ts";

/** Along the middle axis of [outer, length, inner]. */
export interface SoftmaxParams {
  readonly outer: number;
  readonly length: number;
  readonly inner: number;
  /** Whether to compute log softmax. */
  readonly log: boolean;
}

/** Longer lines would take seconds to compile. */
export const MOST_SOFTMAX = 32;

const WORKGROUP = 64;

/** Reads x, writes y. */
export function lowerSoftmax({ outer, length, inner, log }: SoftmaxParams, target: Target): Lowered {
  const lines = outer * inner;
  const { workgroups, row } = fold(lines, WORKGROUP, target);
  const sizes = sizesOf({ lines, inner, block: length * inner });
  const each = (text: (k: number) => string): string => Array.from({ length }, (_, k) => text(k)).join("\n");
  // The maximum may ignore NaN; it propagates through the sum.
  const source = (): string =>
    wgsl`${librarySource(log ? ["vg_exp", "vg_log"] : ["vg_exp"])}
@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;
${sizes.declaration(2)}

@compute @workgroup_size(${WORKGROUP})
fn main(@builtin(global_invocation_id) id: vec3u) {
${sizes.lets}
  let line = id.x + id.y * ${row}u;
  if (line >= lines) {
    return;
  }
  let at = line / inner * block + line % inner;
${each((k) => `  let x${k} = x[at + ${k}u * inner];`)}
  var top = x0;
${each((k) => `  top = select(top, x${k}, x${k} > top);`)}
  var sum = 0f;
#if ${log}
${each((k) => `  let d${k} = x${k} - top;\n  sum += vg_exp(d${k});`)}
  let logarithm = vg_log(sum);
${each((k) => `  y[at + ${k}u * inner] = d${k} - logarithm;`)}
#else
${each((k) => `  let e${k} = vg_exp(x${k} - top);\n  sum += e${k};`)}
  let scale = 1f / sum;
${each((k) => `  y[at + ${k}u * inner] = e${k} * scale;`)}
#endif
}
`;
  const kernel = {
    name: log ? "logSoftmax" : "softmax",
    source,
    workgroups,
    sizes: sizes.values,
    flops: 5 * lines * length,
  };
  return { temps: [], dispatches: [{ kernel, reads: [{ input: 0 }], writes: [{ output: 0 }] }] };
}
