/** Microbenchmarks of an adapter's memory bandwidth and arithmetic, the roofline peaks for other kernels. */
import { wgsl } from "wgsl-preprocessor/wgsl-preprocessor.js";
import { fold } from "./map.wgsl.ts";
import type { Dispatch, Target } from "./types.ts";

const WORKGROUP = 64;

/**
 * STREAM's triad y = a + s b on tensors of `elements` (a multiple of 4): bound by memory bandwidth.
 *
 * @param width elements per load, 1 or 4
 * @param each loads per invocation, a workgroup's width apart
 */
export function triad(elements: number, width: 1 | 4, each: number, target: Target): Dispatch {
  const type = width === 4 ? "vec4f" : "f32";
  const length = elements / width;
  const { workgroups, row } = fold(Math.ceil(length / each), WORKGROUP, target);
  const source = (): string =>
    wgsl`
@group(0) @binding(0) var<storage, read> a: array<${type}>;
@group(0) @binding(1) var<storage, read> b: array<${type}>;
@group(0) @binding(2) var<storage, read_write> y: array<${type}>;

@compute @workgroup_size(${WORKGROUP})
fn main(@builtin(workgroup_id) wid: vec3u, @builtin(local_invocation_index) local: u32) {
  let first = (wid.x * ${WORKGROUP}u + wid.y * ${row}u) * ${each}u + local;
  for (var k = 0u; k < ${each}u; k++) {
    let i = first + k * ${WORKGROUP}u;
    if (i < ${length}u) {
      y[i] = a[i] + 0.5 * b[i];
    }
  }
}
`;
  return {
    kernel: { name: `triad${width}x${each}`, source, workgroups, flops: 2 * elements },
    reads: [{ input: 0 }, { input: 1 }],
    writes: [{ output: 0 }],
  };
}

/** Multiply-adds per chain and loop iteration. */
const UNROLLED = 16;

/**
 * Multiply-adds in registers: `chains` independent ones in each of `invocations` invocations, in the form that kernels
 * use. Reads [factor, addend, turns], so that the compiler knows none of them; writes one number per invocation.
 */
export function multiplyAdds(invocations: number, chains: number, turns: number, target: Target): Dispatch {
  const { workgroups, row } = fold(invocations, WORKGROUP, target);
  const each = (text: (k: number) => string): string => Array.from({ length: chains }, (_, k) => text(k)).join("\n");
  const source = (): string =>
    wgsl`
@group(0) @binding(0) var<storage, read> given: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(${WORKGROUP})
fn main(@builtin(global_invocation_id) id: vec3u) {
  let i = id.x + id.y * ${row}u;
  let m = given[0];
  let b = given[1];
  let turns = u32(given[2]);
${each((k) => `  var s${k} = f32(i + ${k}u);`)}
  for (var turn = 0u; turn < turns; turn++) {
${Array.from({ length: UNROLLED }, () => each((k) => `    s${k} = s${k} * m + b;`)).join("\n")}
  }
  y[i] = ${Array.from({ length: chains }, (_, k) => `s${k}`).join(" + ")};
}
`;
  const flops = 2 * invocations * chains * UNROLLED * turns;
  return {
    kernel: { name: `multiply_add${chains}`, source, workgroups, flops },
    reads: [{ input: 0 }],
    writes: [{ output: 0 }],
  };
}
