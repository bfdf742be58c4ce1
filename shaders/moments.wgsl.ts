/**
 * Mean and reciprocal standard deviation of rows, in one reading. Means and squared deviations of blocks, then of lanes,
 * are joined by the rule of Chan, Golub and LeVeque ("Updating formulae", 1979), so that nothing cancels.
 */
import { wgsl } from "wgsl-preprocessor/wgsl-preprocessor.js";
import { librarySource } from "./library.ts";
import { foldGrid } from "./conv_common.wgsl.ts";
import type { Lowered, Slot, Target } from "./types.ts";

export interface MomentsParams {
  readonly rows: number;
  readonly length: number;
  /** Added to the variance. */
  readonly eps: number;
}

const LANES = 256;
/** Values that a lane takes at once: their own mean and squares join the lane's. */
const BLOCK = 8;

const each = (text: (t: number) => string): string => Array.from({ length: BLOCK }, (_, t) => text(t)).join("\n");
const sum = (text: (t: number) => string): string => Array.from({ length: BLOCK }, (_, t) => text(t)).join(" + ");

/** Parts of a row for a workgroup each: few rows are cut so that all of the device works. */
function partsOf({ rows, length }: MomentsParams, target: Target): number {
  const wanted = Math.ceil((target.software ? 4 : 256) / rows);
  return Math.max(1, Math.min(wanted, Math.floor(length / (4 * LANES)), LANES));
}

/** Reads x [rows, length], writes [rows, 2]: means, and 1 / sqrt(variance + eps). */
export function lowerMoments(p: MomentsParams, target: Target): Lowered {
  const { rows, length } = p;
  const share = Math.ceil(length / partsOf(p, target));
  // None of them empty.
  const parts = Math.ceil(length / share);
  const join = (from: Slot[], to: Slot[], text: string, groups: number, name: string, flops: number) => {
    const { workgroups, index } = foldGrid(groups, target);
    const source = wgsl`${librarySource(["vg_rsqrt"])}
${[...from, ...to].map((_, k) => `@group(0) @binding(${k}) var<storage, ${k < from.length ? "read" : "read_write"}> b${k}: array<f32>;`).join("\n")}
var<workgroup> counts: array<f32, ${LANES}>;
var<workgroup> means: array<f32, ${LANES}>;
var<workgroup> squares: array<f32, ${LANES}>;

@compute @workgroup_size(${LANES})
fn main(@builtin(workgroup_id) wid: vec3u, @builtin(local_invocation_index) lane: u32) {
  let group = ${index};
  if (group >= ${groups}u) {
    return;
  }
${text}
  workgroupBarrier();
  if (lane == 0u) {
    var total = 0f;
    var sum = 0f;
    for (var k = 0u; k < ${LANES}u; k++) {
      total += counts[k];
      sum += counts[k] * means[k];
    }
    let mean = sum / total;
    var square = 0f;
    for (var k = 0u; k < ${LANES}u; k++) {
      let d = means[k] - mean;
      square += squares[k] + counts[k] * d * d;
    }
#if ${"output" in to[0]!}
    b${from.length}[group * 2u] = mean;
    b${from.length}[group * 2u + 1u] = vg_rsqrt(square / total + ${p.eps}f);
#else
    b${from.length}[group * 2u] = mean;
    b${from.length}[group * 2u + 1u] = square;
#endif
  }
}
`;
    return { kernel: { name, source, workgroups, flops }, reads: from, writes: to };
  };
  const read = `  let row = group / ${parts}u;
  let begin = group % ${parts}u * ${share}u;
  let end = min(begin + ${share}u, ${length}u);
  let first = row * ${length}u;
  var count = 0f;
  var mean = 0f;
  var square = 0f;
  // Differences from a value of its own keep a lane exact where the mean is large.
  let pivot = b0[first + min(begin + lane, end - 1u)];
  var k = begin + lane;
  for (; k + ${(BLOCK - 1) * LANES}u < end; k += ${BLOCK * LANES}u) {
${each((t) => `    let v${t} = b0[first + k + ${t * LANES}u] - pivot;`)}
    let own = (${sum((t) => `v${t}`)}) * ${1 / BLOCK};
${each((t) => `    let d${t} = v${t} - own;`)}
    let spread = ${sum((t) => `d${t} * d${t}`)};
    let delta = own - mean;
    let after = count + ${BLOCK}f;
    mean += delta * (${BLOCK}f / after);
    square += spread + delta * delta * (count * (${BLOCK}f / after));
    count = after;
  }
  for (; k < end; k += ${LANES}u) {
    let delta = b0[first + k] - pivot - mean;
    count += 1f;
    mean += delta / count;
    square += delta * delta * ((count - 1f) / count);
  }
  counts[lane] = count;
  means[lane] = mean + pivot;
  squares[lane] = square;`;
  // Parts of a row are no more than lanes.
  const merge = `  if (lane < ${parts}u) {
    let at = (group * ${parts}u + lane) * 2u;
    counts[lane] = f32(min(${share}u, ${length}u - min(${length}u, lane * ${share}u)));
    means[lane] = b0[at];
    squares[lane] = b0[at + 1u];
  } else {
    counts[lane] = 0f;
    means[lane] = 0f;
    squares[lane] = 0f;
  }`;
  const flops = 4 * rows * length;
  if (parts === 1)
    return { temps: [], dispatches: [join([{ input: 0 }], [{ output: 0 }], read, rows, "moments", flops)] };
  return {
    temps: [8 * rows * parts],
    dispatches: [
      join([{ input: 0 }], [{ temp: 0 }], read, rows * parts, "moments.parts", flops),
      join([{ temp: 0 }], [{ output: 0 }], merge, rows, "moments.merge", 0),
    ],
  };
}
