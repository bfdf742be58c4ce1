/**
 * A band matrix applied along one axis: result i of a line is a combination of neighbours. Loads are what costs, so an
 * invocation takes four results that share their neighbours, and four lines beside each other where they lie so.
 */
import { wgsl } from "wgsl-preprocessor/wgsl-preprocessor.js";
import { fold } from "./map.wgsl.ts";
import type { Lowered, Target } from "./types.ts";

export interface BandAxisParams {
  /** Product of the sizes before the axis. */
  readonly outer: number;
  /** Product of the sizes after the axis. */
  readonly inner: number;
  /** Sizes of the axis before and after. */
  readonly from: number;
  readonly to: number;
  /** Results of a group, and the neighbours that a group reads. */
  readonly rows: 1 | 4;
  readonly span: number;
}

const WORKGROUP = 64;

/** Reads x [outer, from, inner], the first neighbour of each group, weights [groups, span, rows]; writes [outer, to, inner]. */
export function lowerBandAxis(p: BandAxisParams, target: Target): Lowered {
  const { from, to, rows, span } = p;
  const packed = p.inner % 4 === 0;
  const inner = packed ? p.inner / 4 : p.inner;
  const groups = Math.ceil(to / rows);
  const items = p.outer * groups * inner;
  const { workgroups, row } = fold(items, WORKGROUP, target);
  const each = Array.from({ length: rows }, (_, r) => r);
  const source = wgsl`
alias Value = ${packed ? "vec4f" : "f32"};
@group(0) @binding(0) var<storage, read> source: array<Value>;
@group(0) @binding(1) var<storage, read> first: array<i32>;
@group(0) @binding(2) var<storage, read> weights: array<${rows === 4 ? "vec4f" : "f32"}>;
@group(0) @binding(3) var<storage, read_write> result: array<Value>;

@compute @workgroup_size(${WORKGROUP})
fn main(@builtin(global_invocation_id) id: vec3u) {
  let item = id.x + id.y * ${row}u;
  if (item >= ${items}u) { return; }
  let column = item % ${inner}u;
  let group = item / ${inner}u % ${groups}u;
  let line = item / ${inner * groups}u;
  var at = (line * ${from}u + u32(first[group])) * ${inner}u + column;
  ${each.map((r) => `var total${r} = Value(0.0);`).join(" ")}
  for (var k = group * ${span}u; k < (group + 1u) * ${span}u; k++) {
    let value = source[at];
    let weight = weights[k];
    ${each.map((r) => `total${r} += ${rows === 4 ? `weight[${r}]` : "weight"} * value;`).join(" ")}
    at += ${inner}u;
  }
  let i = group * ${rows}u;
  let put = (line * ${to}u + i) * ${inner}u + column;
  ${each.map((r) => `if (i + ${r}u < ${to}u) { result[put + ${r * inner}u] = total${r}; }`).join("\n  ")}
}`;
  const name = `band_axis.rows${rows}${packed ? ".packed" : ""}`;
  const flops = 2 * p.outer * groups * rows * span * p.inner;
  const reads = [{ input: 0 }, { input: 1 }, { input: 2 }];
  return { temps: [], dispatches: [{ kernel: { name, source, workgroups, flops }, reads, writes: [{ output: 0 }] }] };
}
