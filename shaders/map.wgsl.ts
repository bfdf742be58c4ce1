/** Kernel of a fused elementwise chain. */
import { wgsl } from "wgsl-preprocessor/wgsl-preprocessor.js";
import type { Kernel, Target } from "./types.ts";

export interface MapParams {
  readonly name: string;
  /** WGSL functions that the body calls. */
  readonly library: string;
  /** Element types of the bindings b0, b1, ... */
  readonly reads: readonly string[];
  readonly result: string;
  readonly count: number;
  /** Statements from `i`, the offset of the element, to `result[i] = ...;`. */
  readonly body: readonly string[];
}

const WORKGROUP = 64;

/** A line of invocations folded into as many rows as the limit on workgroups asks for. */
export function fold(count: number, workgroup: number, target: Target): { workgroups: readonly [number, number, number]; row: number } {
  const groups = Math.max(1, Math.ceil(count / workgroup));
  const x = Math.min(groups, target.maxWorkgroupsPerDimension);
  return { workgroups: [x, Math.ceil(groups / x), 1], row: x * workgroup };
}

export const bindings = (reads: readonly string[]): string =>
  reads.map((type, k) => `@group(0) @binding(${k}) var<storage, read> b${k}: array<${type}>;`).join("\n");

/**
 * Elements of one invocation: on a CPU an invocation costs about as much as an element, so several share one, as long as
 * there is work for all threads.
 */
const elementsPerInvocation = (count: number, target: Target): number => (target.software && count >= 16384 ? 8 : 1);

export function mapKernel(p: MapParams, target: Target): Kernel {
  const each = elementsPerInvocation(p.count, target);
  const { workgroups, row } = fold(Math.ceil(p.count / each), WORKGROUP, target);
  const source = wgsl`${p.library}
${bindings(p.reads)}
@group(0) @binding(${p.reads.length}) var<storage, read_write> result: array<${p.result}>;

@compute @workgroup_size(${WORKGROUP})
fn main(@builtin(global_invocation_id) id: vec3u) {
#if ${each === 1}
  let i = id.x + id.y * ${row}u;
  if (i >= ${p.count}u) {
    return;
  }
${p.body.join("\n")}
#else
  // Elements of a workgroup lie together, those of an invocation a workgroup's width apart.
  let first = (id.x + id.y * ${row}u) / ${WORKGROUP}u * ${WORKGROUP * each}u + (id.x % ${WORKGROUP}u);
  for (var i = first; i < min(first + ${WORKGROUP * each}u, ${p.count}u); i += ${WORKGROUP}u) {
${p.body.join("\n")}
  }
#endif
}
`;
  return { name: p.name, source, workgroups };
}
