/**
 * Mean and reciprocal standard deviation of rows from moments of their parts, computed by another kernel: merged by
 * the rule of Chan, Golub and LeVeque ("Updating formulae", 1979) in a fixed order.
 */
import { wgsl } from "wgsl-preprocessor/wgsl-preprocessor.js";
import { ceilDiv, foldGrid } from "./grid.ts";
import { librarySource } from "./library.ts";
import type { MomentsParams } from "./moments.wgsl.ts";
import { sizesOf } from "./sizes.ts";
import { type Dispatch, type Lowered, type PartialMoments, type Slot, type Target, widestGroup } from "./types.ts";

/** Entries that a lane merges before lanes merge each other's. */
const DEPTH = 16;
/** Entries that a lane loads before it merges them. */
const BLOCK = 4;

const times = (text: (t: number) => string): string => Array.from({ length: BLOCK }, (_, t) => text(t)).join("\n");

/**
 * Reads moments of parts [rows x entries per row] of vec2f, writes [rows, 2]: mean, and 1 / sqrt(variance + eps); null
 * unless rows consist of whole rows of the parts.
 */
export function lowerPartialMoments(
  { rows, length, eps }: MomentsParams,
  parts: PartialMoments,
  target: Target,
): Lowered | null {
  if (length % parts.length !== 0) return null;
  const perRow = ceilDiv(parts.length, parts.share);
  const entries = (length / parts.length) * perRow;
  const lanes = widestGroup(target);
  const share = Math.min(entries, lanes * Math.max(DEPTH, ceilDiv(entries, lanes * lanes)));
  const chunks = ceilDiv(entries, share);

  /** A kernel that merges `share` of the `entries` entries of each row. */
  const kernel = (
    name: string,
    [from, type, entry]: readonly [Slot, string, string],
    to: Slot,
    entries: number,
    share: number,
  ): Dispatch => {
    const last = "output" in to;
    const chunks = ceilDiv(entries, share);
    const grid = foldGrid(rows * chunks, target);
    const sizes = sizesOf(
      { groups: rows * chunks, chunks, entries, share, length: parts.length, piece: parts.share, perRow },
      {},
      { eps },
    );
    const source = (): string =>
      wgsl`${librarySource(last ? ["vg_exact", "vg_rsqrt"] : ["vg_exact"])}
@group(0) @binding(0) var<storage, read> parts: array<${type}>;
@group(0) @binding(1) var<storage, read_write> result: array<${last ? "vec2f" : "vec4f"}>;
${sizes.declaration(2)}
// Count, mean, rounding error of the mean, sum of squared deviations.
var<workgroup> joined: array<vec4f, ${lanes}>;

fn entry(i: u32, length: u32, piece: u32, perRow: u32) -> vec4f {
  ${entry}
}

fn join(a: vec4f, b: vec4f) -> vec4f {
  let total = a.x + b.x;
  let share = b.x / max(total, 1f);
  let d = (b.y - a.y) + (b.z - a.z);
  let mean = a.z + d * share;
  let rounded = vg_exact(a.y + mean);
  return vec4f(total, rounded, mean - (rounded - a.y), a.w + b.w + d * (d * (a.x * share)));
}

@compute @workgroup_size(${lanes})
fn main(@builtin(workgroup_id) wid: vec3u, @builtin(local_invocation_index) lane: u32) {
${sizes.lets}
  let group = ${grid.index};
  if (group >= groups) { return; }
  let first = group / chunks * entries;
  let begin = first + group % chunks * share;
  let end = min(begin + share, first + entries);
  var own = vec4f();
  var i = begin + lane;
  for (; i + ${(BLOCK - 1) * lanes}u < end; i += ${BLOCK * lanes}u) {
${times((t) => `    let e${t} = entry(i + ${t * lanes}u, length, piece, perRow);`)}
${times((t) => `    own = join(own, e${t});`)}
  }
  for (; i < end; i += ${lanes}u) { own = join(own, entry(i, length, piece, perRow)); }
  joined[lane] = own;
  for (var step = ${lanes / 2}u; step > 0u; step /= 2u) {
    workgroupBarrier();
    if (lane < step) { joined[lane] = join(joined[lane], joined[lane + step]); }
  }
  if (lane == 0u) {
    let all = joined[0];
    result[group] = ${last ? `vec2f(all.y, vg_rsqrt(all.w / all.x + eps))` : "all"};
  }
}
`;
    return { kernel: { name, source, workgroups: grid.workgroups, sizes: sizes.values }, reads: [from], writes: [to] };
  };
  const given = [
    { input: 0 },
    "vec2f",
    "let part = parts[i];\n  return vec4f(f32(min(piece, length - i % perRow * piece)), part.x, 0f, part.y);",
  ] as const;
  const output: Slot = { output: 0 };
  if (chunks === 1) return { temps: [], dispatches: [kernel("moments.join", given, output, entries, share)] };
  const between: Slot = { temp: 0 };
  return {
    temps: [16 * rows * chunks],
    dispatches: [
      kernel("moments.join", given, between, entries, share),
      kernel("moments.join_all", [between, "vec4f", "return parts[i];"], output, chunks, chunks),
    ],
  };
}
