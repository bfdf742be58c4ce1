/**
 * Applies a band matrix along one axis: each result is a linear combination of neighbors. Loads dominate, so an
 * invocation computes four results that share their neighbors, and four adjacent lines if there are any.
 */
import { wgsl } from "wgsl-preprocessor/wgsl-preprocessor.js";
import { fold } from "../map.wgsl.ts";
import type { Lowered, Target } from "../types.ts";

export interface BandAxisParams {
  /** Product of the sizes before the axis. */
  readonly outer: number;
  /** Product of the sizes after the axis. */
  readonly inner: number;
  /** Sizes of the axis before and after. */
  readonly from: number;
  readonly to: number;
  /** Results per group, and the neighbors that a group reads. */
  readonly rows: 1 | 4;
  readonly span: number;
}

const WORKGROUP = 64;

/** Number of entries before the first neighbors: see `bandHeader`. */
const BAND_HEADER = 6;

/**
 * The sizes are data, so that the source is the same for all scans: scans differ in size, and compiling a kernel takes
 * longer than resampling a scan.
 */
export const bandHeader = ({ outer, inner, from, to, rows, span }: BandAxisParams): number[] => [
  outer,
  inner,
  from,
  to,
  Math.ceil(to / rows),
  span,
];

/**
 * Reads x [outer, from, inner], `bandHeader` followed by the first neighbor of each group, and weights [groups, span,
 * rows]; writes [outer, to, inner].
 */
export function lowerBandAxis(p: BandAxisParams, target: Target): Lowered {
  const { rows } = p;
  const packed = p.inner % 4 === 0;
  const items = (p.outer * Math.ceil(p.to / rows) * p.inner) / (packed ? 4 : 1);
  const { workgroups } = fold(items, WORKGROUP, target);
  const each = Array.from({ length: rows }, (_, r) => r);
  const source = (): string =>
    wgsl`
alias Value = ${packed ? "vec4f" : "f32"};
@group(0) @binding(0) var<storage, read> source: array<Value>;
@group(0) @binding(1) var<storage, read> table: array<i32>;
@group(0) @binding(2) var<storage, read> weights: array<${rows === 4 ? "vec4f" : "f32"}>;
@group(0) @binding(3) var<storage, read_write> result: array<Value>;

@compute @workgroup_size(${WORKGROUP})
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) count: vec3u) {
  let item = id.x + id.y * count.x * ${WORKGROUP}u;
  let outer = u32(table[0]);
  let inner = u32(table[1]) / ${packed ? 4 : 1}u;
  let size = u32(table[2]);
  let to = u32(table[3]);
  let groups = u32(table[4]);
  let span = u32(table[5]);
  if (item >= outer * groups * inner) { return; }
  let column = item % inner;
  let group = item / inner % groups;
  let line = item / inner / groups;
  var at = (line * size + u32(table[${BAND_HEADER}u + group])) * inner + column;
  ${each.map((r) => `var total${r} = Value(0.0);`).join(" ")}
  for (var k = group * span; k < (group + 1u) * span; k++) {
    let value = source[at];
    let weight = weights[k];
    ${each.map((r) => `total${r} += ${rows === 4 ? `weight[${r}]` : "weight"} * value;`).join(" ")}
    at += inner;
  }
  let i = group * ${rows}u;
  let put = (line * to + i) * inner + column;
  ${each.map((r) => `if (i + ${r}u < to) { result[put + ${r}u * inner] = total${r}; }`).join("\n  ")}
}`;
  const name = `band_axis.rows${rows}${packed ? ".packed" : ""}`;
  const flops = 2 * p.outer * Math.ceil(p.to / rows) * rows * p.span * p.inner;
  const reads = [{ input: 0 }, { input: 1 }, { input: 2 }];
  return { temps: [], dispatches: [{ kernel: { name, source, workgroups, flops }, reads, writes: [{ output: 0 }] }] };
}
