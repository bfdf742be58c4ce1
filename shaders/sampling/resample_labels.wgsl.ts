/** Resampling of label maps: the label whose linearly interpolated mask reaches one half. */
import { wgsl } from "wgsl-preprocessor/wgsl-preprocessor.js";
import { fold } from "../map.wgsl.ts";
import type { Lowered, Target } from "../types.ts";

type Triple = readonly [number, number, number];

export interface ResampleLabelsParams {
  readonly outer: number;
  readonly from: Triple;
  readonly to: Triple;
}

const WORKGROUP = 64;
/**
 * One half minus the rounding error of eight products: exact halves are common because weights are fractions of small
 * numbers.
 */
const HALF = 0.5 - 2 ** -21;

/** Number of entries before the positions: see `labelHeader`. */
const LABEL_HEADER = 7;

/** The sizes are data, so that the source is the same for all scans. */
export const labelHeader = ({ outer, from, to }: ResampleLabelsParams): number[] => [outer, ...from, ...to];

/**
 * Reads labels [outer, ...from], `labelHeader` followed by the voxel below each position along z, y and x,
 * concatenated, and likewise the fractions to the next voxel; writes labels [outer, ...to].
 */
export function lowerResampleLabels({ outer, to }: ResampleLabelsParams, target: Target): Lowered {
  const items = outer * to[0] * to[1] * to[2];
  const { workgroups } = fold(items, WORKGROUP, target);
  const corners = [0, 1, 2, 3, 4, 5, 6, 7];
  const weight = (k: number): string =>
    ["z", "y", "x"].map((axis, a) => ((k >> (2 - a)) & 1 ? `t${axis}` : `(1.0 - t${axis})`)).join(" * ");
  const voxel = (k: number): string =>
    `labels[line + (z${(k >> 2) & 1} * size.y + y${(k >> 1) & 1}) * size.z + x${k & 1}]`;
  const axes = ["z", "y", "x"]
    .map(
      (axis, a) =>
        `  let ${axis}0 = u32(table[${LABEL_HEADER}u + ${axis}]);
  let ${axis}1 = min(${axis}0 + 1u, size[${a}] - 1u);
  let t${axis} = parts[${axis}];`,
    )
    .join("\n");
  const source = (): string =>
    wgsl`
@group(0) @binding(0) var<storage, read> labels: array<i32>;
@group(0) @binding(1) var<storage, read> table: array<i32>;
@group(0) @binding(2) var<storage, read> parts: array<f32>;
@group(0) @binding(3) var<storage, read_write> result: array<i32>;

@compute @workgroup_size(${WORKGROUP})
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) count: vec3u) {
  let item = id.x + id.y * count.x * ${WORKGROUP}u;
  let size = vec3u(u32(table[1]), u32(table[2]), u32(table[3]));
  let to = vec3u(u32(table[4]), u32(table[5]), u32(table[6]));
  if (item >= u32(table[0]) * to.x * to.y * to.z) { return; }
  let x = item % to.z + to.x + to.y;
  let y = item / to.z % to.y + to.x;
  let z = item / (to.z * to.y) % to.x;
  let line = item / (to.z * to.y * to.x) * size.x * size.y * size.z;
${axes}
  let l = array(${corners.map(voxel).join(", ")});
  if (${
      corners
        .slice(1)
        .map((k) => `l[${k}] == l[0]`)
        .join(" && ")
    }) {
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
