/**
 * Pooling of planes [planes, D * H * W]: argmax indices, means, and the adjoints of both.
 *
 * The adjoints gather: every voxel visits the windows that contain it, in order, so no atomics are needed and
 * overlapping windows give the same bits in every run. Sums are computed by rows, then by slices, so that large
 * windows stay accurate.
 */
import { wgsl } from "wgsl-preprocessor/wgsl-preprocessor.js";
import { fold } from "./map.wgsl.ts";
import type { Lowered, Target } from "./types.ts";

type Triple = readonly [number, number, number];

/** Window o of an axis contains the voxels o * stride - padding + 0 .. kernel - 1. */
export interface PoolWindows {
  readonly input: Triple;
  readonly output: Triple;
  readonly kernel: Triple;
  readonly stride: Triple;
  readonly padding: Triple;
}

/**
 * What a kernel computes: `indices` the position in its plane of the largest value of every window (the first of
 * equals; the last NaN if there is one), `mean` the mean with padding counted as zeros; from windows back to voxels,
 * `spread` the adjoint of the mean, `scatter` the sum over the windows whose index is the voxel.
 */
export type PoolKind = "indices" | "mean" | "spread" | "scatter";

const WORKGROUP = 64;
const AXES = ["z", "y", "x"] as const;

/** Reads planes (`scatter`: also the indices), writes planes. */
export function lowerPool(kind: PoolKind, planes: number, p: PoolWindows, target: Target): Lowered {
  const back = kind === "spread" || kind === "scatter";
  const [from, to] = back ? [p.output, p.input] : [p.input, p.output];
  // On a CPU an invocation costs more than a value, so it computes a part of a row.
  const each = target.software ? Math.min(8, to[2]) : 1;
  const parts = Math.ceil(to[2] / each);
  const count = planes * to[0] * to[1] * parts;
  const { workgroups, row } = fold(count, WORKGROUP, target);
  const range = (k: number): string => (back ? windowsOf(p, k) : voxelsOf(p, k));
  const source = (): string =>
    wgsl`
@group(0) @binding(0) var<storage, read> values: array<f32>;
${kind === "scatter" ? "@group(0) @binding(1) var<storage, read> places: array<i32>;" : ""}
@group(0) @binding(${kind === "scatter" ? 2 : 1}) var<storage, read_write> result: array<${
      kind === "indices" ? "i32" : "f32"
    }>;

@compute @workgroup_size(${WORKGROUP})
fn main(@builtin(global_invocation_id) id: vec3u) {
  let i = id.x + id.y * ${row}u;
  if (i >= ${count}u) {
    return;
  }
  let line = i / ${parts}u;
  let y = i32(line % ${to[1]}u);
  let z = i32(line / ${to[1]}u % ${to[0]}u);
  let plane = line / ${to[1] * to[0]}u;
  let start = plane * ${from[0] * from[1] * from[2]}u;
  let first = i32(i % ${parts}u) * ${each};
${range(0)}
${range(1)}
  for (var x = first; x < min(first + ${each}, ${to[2]}); x++) {
${range(2)}
${back ? `    let here = (z * ${to[1]} + y) * ${to[2]} + x;` : ""}
${kind === "indices" ? largest(from, to[2]) : total(kind, from, to[2], p)}
  }
}`;
  const reads = kind === "scatter" ? [{ input: 0 }, { input: 1 }] : [{ input: 0 }];
  return {
    temps: [],
    dispatches: [{ kernel: { name: `pool.${kind}`, source, workgroups }, reads, writes: [{ output: 0 }] }],
  };
}

/** The voxels of window `z` (or y, x) inside the volume: from `z0` to `z1`, exclusive. */
function voxelsOf({ input, kernel, stride, padding }: PoolWindows, k: number): string {
  const a = AXES[k];
  return `    let ${a}0 = max(${a} * ${stride[k]} - ${padding[k]}, 0);
    let ${a}1 = min(${a} * ${stride[k]} + ${kernel[k] - padding[k]}, ${input[k]});`;
}

/**
 * The windows that contain voxel `z`: from the first with o stride - padding + kernel > z to the last that starts at
 * or before it.
 */
function windowsOf({ output, kernel, stride, padding }: PoolWindows, k: number): string {
  const a = AXES[k];
  // Shifted by a stride, so that the dividend is never negative.
  return `    let ${a}0 = max(${a} + ${padding[k] - kernel[k] + stride[k]}, 0) / ${stride[k]};
    let ${a}1 = min((${a} + ${padding[k]}) / ${stride[k]} + 1, ${output[k]});`;
}

const largest = ([, h, w]: Triple, width: number): string => `
    var at = (z0 * ${h} + y0) * ${w} + x0;
    var best = values[start + u32(at)];
    var nan = (bitcast<u32>(best) & 0x7fffffffu) > 0x7f800000u;
    for (var u = z0; u < z1; u++) {
      for (var v = y0; v < y1; v++) {
        let begin = (u * ${h} + v) * ${w};
        for (var k = begin + x0; k < begin + x1; k++) {
          let value = values[start + u32(k)];
          let isNan = (bitcast<u32>(value) & 0x7fffffffu) > 0x7f800000u;
          if (isNan | (!nan & (value > best))) {
            at = k;
            best = value;
            nan = isNan;
          }
        }
      }
    }
    result[line * ${width}u + u32(x)] = at;`;

const total = (kind: PoolKind, [, h, w]: Triple, width: number, p: PoolWindows): string => `
    var sum = 0f;
    for (var u = z0; u < z1; u++) {
      var slice = 0f;
      for (var v = y0; v < y1; v++) {
        let begin = start + u32((u * ${h} + v) * ${w});
        var row = 0f;
        for (var k = begin + u32(x0); k < begin + u32(x1); k++) {
          ${kind === "scatter" ? "if (places[k] == here) { row += values[k]; }" : "row += values[k];"}
        }
        slice += row;
      }
      sum += slice;
    }
    result[line * ${width}u + u32(x)] = sum${
  kind === "scatter" ? "" : ` / ${p.kernel[0] * p.kernel[1] * p.kernel[2]}f`
};`;
