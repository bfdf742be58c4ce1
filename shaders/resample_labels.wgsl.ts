/** Label maps on another grid: the label whose linearly interpolated mask reaches one half. */
import { wgsl } from "wgsl-preprocessor/wgsl-preprocessor.js";
import { fold } from "./map.wgsl.ts";
import type { Lowered, Target } from "./types.ts";

type Triple = readonly [number, number, number];

export interface ResampleLabelsParams {
  readonly outer: number;
  readonly from: Triple;
  readonly to: Triple;
}

const WORKGROUP = 64;
/** One half less what rounding of eight products takes: halves are common, as weights are fractions of small numbers. */
const HALF = 0.5 - 2 ** -21;

/**
 * Reads labels [outer, ...from], and for the places of the outputs along z, y and x, one list after the other, the voxel
 * before each and the part of the way to the next; writes labels [outer, ...to].
 */
export function lowerResampleLabels({ outer, from, to }: ResampleLabelsParams, target: Target): Lowered {
  const items = outer * to[0] * to[1] * to[2];
  const { workgroups, row } = fold(items, WORKGROUP, target);
  const corners = [0, 1, 2, 3, 4, 5, 6, 7];
  const weight = (k: number): string =>
    ["z", "y", "x"].map((axis, a) => ((k >> (2 - a)) & 1 ? `t${axis}` : `(1.0 - t${axis})`)).join(" * ");
  const voxel = (k: number): string =>
    `labels[line + (z${(k >> 2) & 1} * ${from[1]}u + y${(k >> 1) & 1}) * ${from[2]}u + x${k & 1}]`;
  const source = wgsl`
@group(0) @binding(0) var<storage, read> labels: array<i32>;
@group(0) @binding(1) var<storage, read> places: array<i32>;
@group(0) @binding(2) var<storage, read> parts: array<f32>;
@group(0) @binding(3) var<storage, read_write> result: array<i32>;

@compute @workgroup_size(${WORKGROUP})
fn main(@builtin(global_invocation_id) id: vec3u) {
  let item = id.x + id.y * ${row}u;
  if (item >= ${items}u) { return; }
  let x = item % ${to[2]}u + ${to[0] + to[1]}u;
  let y = item / ${to[2]}u % ${to[1]}u + ${to[0]}u;
  let z = item / ${to[2] * to[1]}u % ${to[0]}u;
  let line = item / ${to[2] * to[1] * to[0]}u * ${from[0] * from[1] * from[2]}u;
${["z", "y", "x"]
  .map(
    (axis, a) => `  let ${axis}0 = u32(places[${axis}]);
  let ${axis}1 = min(${axis}0 + 1u, ${from[a]! - 1}u);
  let t${axis} = parts[${axis}];`,
  )
  .join("\n")}
  let l = array(${corners.map(voxel).join(", ")});
  if (${corners
    .slice(1)
    .map((k) => `l[${k}] == l[0]`)
    .join(" && ")}) {
    result[item] = l[0];
    return;
  }
  let w = array(${corners.map(weight).join(", ")});
  var found = false;
  var best = 0;
  for (var a = 0; a < 8; a++) {
    var total = 0.0;
    for (var b = 0; b < 8; b++) { total += select(0.0, w[b], l[b] == l[a]); }
    if (total >= ${HALF} && (!found || l[a] > best)) {
      found = true;
      best = l[a];
    }
  }
  result[item] = best;
}`;
  const kernel = { name: "resample_labels", source, workgroups };
  const reads = [{ input: 0 }, { input: 1 }, { input: 2 }];
  return { temps: [], dispatches: [{ kernel, reads, writes: [{ output: 0 }] }] };
}
