/**
 * Numbers the roots of a forest in order of position, by a hierarchical prefix sum: counts of chunks, counts of chunks
 * of those, and so on up to a single chunk, then starting numbers back down. One invocation sums a chunk.
 */
import { wgsl } from "wgsl-preprocessor/wgsl-preprocessor.js";
import { fold } from "../map.wgsl.ts";
import type { Dispatch, Kernel, Lowered, Slot, Target } from "../types.ts";

export interface NumberingParams {
  /** Each batch element is numbered from 1. */
  readonly batch: number;
  readonly voxels: number;
  /** Node i + 1 of [batch, voxels] is a root if parents[i] is i + 1. */
  readonly parents: Slot;
  /** Index of the first temporary. */
  readonly firstTemp: number;
}

const WORKGROUP = 64;
const CHUNK = 128;

/** Writes the numbers of the roots at their positions in the output; other positions are not written. */
export function lowerNumbering({ batch, voxels, parents, firstTemp }: NumberingParams, target: Target): Lowered {
  // sizes[0] voxels, sizes[1] chunks of voxels, ...; counts of level k >= 1 are in a temporary.
  const sizes = [voxels];
  do sizes.push(Math.ceil(sizes.at(-1)! / CHUNK)); while (sizes.at(-1)! > 1);
  const counts = (level: number): Slot => ({ temp: firstTemp + level - 1 });
  const dispatches: Dispatch[] = [];
  // The last chunk starts from 0, so its count is not needed.
  for (let level = 1; level < sizes.length - 1; level++) {
    const kernel = chunkKernel("count", batch, sizes[level - 1], level === 1, target);
    dispatches.push({ kernel, reads: [level === 1 ? parents : counts(level - 1)], writes: [counts(level)] });
  }
  for (let level = sizes.length - 1; level >= 1; level--) {
    const top = level === sizes.length - 1;
    const kernel = chunkKernel(top ? "top" : "start", batch, sizes[level - 1], level === 1, target);
    const reads = [...(level === 1 ? [parents] : []), ...(top ? [] : [counts(level)])];
    dispatches.push({ kernel, reads, writes: [level === 1 ? { output: 0 } : counts(level - 1)] });
  }
  return { temps: sizes.slice(1, -1).map((n) => 4 * batch * n), dispatches };
}

/**
 * "count": sums of chunks of `length` terms per row. "start" and "top": exclusive prefix sums in place, starting with
 * the number of the chunk or with 0. Terms are counts, or voxels, which count as 1 if they are roots; roots get
 * numbers from 1.
 */
function chunkKernel(
  task: "count" | "start" | "top",
  batch: number,
  length: number,
  voxels: boolean,
  target: Target,
): Kernel {
  const chunks = Math.ceil(length / CHUNK);
  const { workgroups, row } = fold(batch * chunks, WORKGROUP, target);
  const counting = task === "count";
  const inPlace = !counting && !voxels;
  const bindings = [
    ...(inPlace ? [] : ["var<storage, read> terms: array<u32>;"]),
    ...(task === "start" ? ["var<storage, read> starts: array<u32>;"] : []),
    `var<storage, read_write> ${inPlace ? "terms" : "result"}: array<u32>;`,
  ];
  return {
    name: `numbering.${task}`,
    workgroups,
    source: () =>
      wgsl`
${bindings.map((text, k) => `@group(0) @binding(${k}) ${text}`).join("\n")}

@compute @workgroup_size(${WORKGROUP})
fn main(@builtin(global_invocation_id) id: vec3u) {
  let chunk = id.x + id.y * ${row}u;
  if (chunk >= ${batch * chunks}u) { return; }
  let place = chunk % ${chunks}u;
  let begin = (chunk / ${chunks}u) * ${length}u + place * ${CHUNK}u;
  let end = begin + min(${CHUNK}u, ${length}u - place * ${CHUNK}u);
  var sum = ${task === "start" ? "starts[chunk]" : "0u"};
  for (var i = begin; i < end; i++) {
#if ${voxels && counting}
    sum += select(0u, 1u, terms[i] == i + 1u);
#elif ${voxels}
    if (terms[i] == i + 1u) {
      sum++;
      result[i] = sum;
    }
#elif ${counting}
    sum += terms[i];
#else
    let term = terms[i];
    terms[i] = sum;
    sum += term;
#endif
  }
#if ${counting}
  result[chunk] = sum;
#endif
}`,
  };
}
