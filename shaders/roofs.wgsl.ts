/** Microbenchmarks of an adapter's memory bandwidth and arithmetic, the roofline peaks for other kernels. */
import { wgsl } from "wgsl-preprocessor/wgsl-preprocessor.js";
import { fold } from "./map.wgsl.ts";
import type { Dispatch, SubgroupMatrix, Target } from "./types.ts";

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

/** The subgroup matrices of f16 with sums in f32, if WGSL reaches them here and the number of lanes is known. */
export function productShapes(target: Target): readonly SubgroupMatrix[] {
  const { features, subgroupMinSize: lanes, subgroupMaxSize, subgroupMatrices = [] } = target;
  const enabled = ["chromium-experimental-subgroup-matrix", "subgroups", "shader-f16"];
  if (!enabled.every((name) => features.has(name)) || !lanes || lanes !== subgroupMaxSize) return [];
  return subgroupMatrices.filter((m) => m.componentType === "f16" && m.resultComponentType === "f32");
}

/** Subgroups of a workgroup. */
const TOGETHER = 4;

/**
 * Products of f16 matrices added up in f32, all in registers: `chains` independent sums in each subgroup. Reads
 * [factor, factor, turns], of which the elements of the matrices are multiples; each subgroup writes M x N numbers, the
 * sums of its chains.
 *
 * @param groups workgroups
 */
export function matrixProducts(
  { M, N, K }: SubgroupMatrix,
  groups: number,
  chains: number,
  turns: number,
  lanes: number,
): Dispatch {
  const size = TOGETHER * lanes;
  const subgroupId = ", @builtin(subgroup_id) subgroup: u32";
  const each = (text: (k: number) => string): string => Array.from({ length: chains }, (_, k) => text(k)).join("\n");
  const source = (): string =>
    wgsl`
enable f16;
enable chromium_experimental_subgroup_matrix;
enable subgroups;
@group(0) @binding(0) var<storage, read> given: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;
var<workgroup> tileA: array<f16, ${chains * M * K}>;
var<workgroup> tileB: array<f16, ${K * N}>;
var<workgroup> leaving: array<f32, ${TOGETHER * M * N}>;

@compute @workgroup_size(${size})
fn main(@builtin(workgroup_id) wid: vec3u, @builtin(local_invocation_index) local: u32${subgroupId}) {
  let turns = u32(given[2]);
  // Each chain has a factor of its own, so that none is computed for all.
  for (var i = local; i < ${chains * M * K}u; i += ${size}u) { tileA[i] = f16(given[0] * f32(i / ${M * K}u + 1u)); }
  for (var i = local; i < ${K * N}u; i += ${size}u) { tileB[i] = f16(given[1]); }
  workgroupBarrier();
${
      each((k) =>
        `  let a${k} = subgroupMatrixLoad<subgroup_matrix_left<f16, ${K}, ${M}>, col_major>(&tileA, ${
          k * M * K
        }u, ${M}u);
  var s${k}: subgroup_matrix_result<f32, ${N}, ${M}>;`
      )
    }
  let b = subgroupMatrixLoad<subgroup_matrix_right<f16, ${N}, ${K}>, row_major>(&tileB, 0u, ${N}u);
  for (var turn = 0u; turn < turns; turn++) {
${
      Array.from(
        { length: UNROLLED },
        () => each((k) => `    s${k} = subgroupMatrixMultiplyAccumulate(a${k}, b, s${k});`),
      )
        .join("\n")
    }
  }
  let first = wid.x * ${TOGETHER * M * N}u;
${
      each((k) =>
        `${k > 0 ? "  workgroupBarrier();\n" : ""}  subgroupMatrixStore<row_major>(&leaving, subgroup * ${
          M * N
        }u, s${k}, ${N}u);
  workgroupBarrier();
  for (var i = local; i < ${TOGETHER * M * N}u; i += ${size}u) {
    y[first + i] = ${k === 0 ? "" : "y[first + i] + "}leaving[i];
  }`
      )
    }
}
`;
  const flops = 2 * M * N * K * TOGETHER * groups * chains * UNROLLED * turns;
  return {
    kernel: { name: `matrix${M}x${N}x${K}_${chains}`, source, workgroups: [groups, 1, 1], flops, matrix: true },
    reads: [{ input: 0 }],
    writes: [{ output: 0 }],
  };
}
