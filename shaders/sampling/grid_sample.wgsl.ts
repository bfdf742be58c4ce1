/**
 * The adjoint of sampling: scatters the points of a grid into the voxels around them, without atomics and in a fixed
 * order.
 *
 * With points sorted by cell, the voxel of their first tap, each voxel sums the few cells that reach it. Cells may be
 * crowded, for example if a grid leaves the image, so sums of aligned runs of equal cells are precomputed, and a cell
 * of n points costs about log n terms.
 */
import { wgsl } from "wgsl-preprocessor/wgsl-preprocessor.js";
import { addRange, levelsOf, RUN } from "../index/runs.ts";
import { step } from "../index/step.wgsl.ts";
import type { Dispatch, Lowered, Slot, Target } from "../types.ts";

type Triple = readonly [number, number, number];

export interface SumCellsParams {
  readonly samples: number;
  readonly channels: number;
  readonly points: number;
  /** Size of the image, which contains the taps of every cell. */
  readonly space: Triple;
  readonly taps: Triple;
}

/**
 * Reads values [samples, channels, points], weights [samples, taps, points], the cells and the result of
 * `lowerSortCells`; writes the image [samples, channels, ...space].
 */
export function lowerSumCells(p: SumCellsParams, target: Target): Lowered {
  const { samples, channels, points, space, taps } = p;
  const [count, voxels, tapCount] = [samples * points, size(space), size(taps)];
  // Channels per invocation; they share the loads of positions and weights.
  const wide = [4, 3, 2, 1].find((n) => channels % n === 0)!;
  const groups = channels / wide;
  const levels = levelsOf(count);
  const value = wide === 1 ? "f32" : `vec${wide}f`;
  const lanes = (text: (c: number) => string): string =>
    `${value}(${Array.from({ length: wide }, (_, c) => text(c)).join(", ")})`;
  /** WGSL for the weighted value of entry e of the sorted points, through tap k. */
  const term = wgsl`
fn term(k: u32, c: u32, e: u32) -> ${value} {
  let point = u32(b2[e]);
  let sample = point / ${points}u;
  let at = point - sample * ${points}u;
  let first = (sample * ${channels}u + c) * ${points}u + at;
  return b1[(sample * ${tapCount}u + k) * ${points}u + at] * ${lanes((c) => `b0[first + ${c * points}u]`)};
}`;
  /** The sum of run `at` of a level, from buffer b. */
  const run = (level: number, b: number): string =>
    wgsl`
fn run${level}(k: u32, c: u32, at: u32) -> ${value} {
  let first = (k * ${channels}u + c) * ${levels[level - 1]}u + at;
  return ${lanes((c) => `b${b}[first + ${c * levels[level - 1]}u]`)};
}`;
  const [values, weights, cells, sorted] = [0, 1, 2, 3].map((input) => ({ input })) as [Slot, Slot, Slot, Slot];
  const dispatches = levels.map((runs, k): Dispatch => {
    const level = k + 1;
    const reads = level === 1 ? [values, weights, sorted, cells] : [{ temp: level - 2 }, sorted, cells];
    const [order, cell] = level === 1 ? ["b2", "b3"] : ["b1", "b2"];
    const span = RUN ** level;
    const body = wgsl`let at = i / ${groups}u;
  let c = i % ${groups}u * ${wide}u;
  let first = u32(${order}[at * ${span}u]);
  let last = u32(${order}[at * ${span}u + ${span - 1}u]);
  if ((first / ${points}u != last / ${points}u) | (${cell}[first] != ${cell}[last])) {
    return;
  }
  for (var k = 0u; k < ${tapCount}u; k++) {
    var total = ${value}(0);
    for (var e = at * ${RUN}u; e < at * ${RUN}u + ${RUN}u; e++) { total += ${
      level === 1 ? "term(k, c, e)" : `run${level - 1}(k, c, e)`
    }; }
    let to = (k * ${channels}u + c) * ${runs}u + at;
    ${
      Array.from({ length: wide }, (_, c) =>
        `b${reads.length}[to + ${c * runs}u] = total${wide === 1 ? "" : `[${c}]`};`).join(" ")
    }
  }`;
    const types = level === 1 ? ["f32", "f32", "i32", "i32", "f32"] : ["f32", "i32", "i32", "f32"];
    const name = `grid_sample.runs${level}`;
    return step(name, runs * groups, reads, [{ temp: k }], body, target, types, level === 1 ? term : run(level - 1, 0));
  });
  const reads = [values, weights, sorted, ...levels.map((_, k) => ({ temp: k }))];
  const [, height, width] = space;
  const body = wgsl`let voxel = i % ${voxels}u;
  let c = i / ${voxels}u % ${groups}u * ${wide}u;
  let sample = i / ${voxels * groups}u;
  var sum = ${value}(0);
  for (var k = 0u; k < ${tapCount}u; k++) {
    let back = (k / ${taps[2] * taps[1]}u * ${height}u + k / ${taps[2]}u % ${taps[1]}u) * ${width}u + k % ${taps[2]}u;
    // Stepping past the edge finds no cell: the last voxels of an axis are never a first tap.
    if (voxel < back) {
      continue;
    }
    let bin = ${count}u + sample * ${voxels}u + voxel - back;
    var low = u32(b2[bin]);
    var high = u32(b2[bin + ${samples * voxels}u]);
    var total = ${value}(0);
    if (low < high) {
      ${addRange(levels.length, (level, at) => (level === 0 ? `term(k, c, ${at})` : `run${level}(k, c, ${at})`))}
      sum += total;
    }
  }
  let to = (sample * ${channels}u + c) * ${voxels}u + voxel;
  ${
    Array.from({ length: wide }, (_, c) => `b${reads.length}[to + ${c * voxels}u] = sum${wide === 1 ? "" : `[${c}]`};`)
      .join(" ")
  }`;
  const types = ["f32", "f32", "i32", ...levels.map(() => "f32"), "f32"];
  const library = [term, ...levels.map((_, k) => run(k + 1, 3 + k))].join("\n");
  const items = samples * groups * voxels;
  dispatches.push(step("grid_sample.sum", items, reads, [{ output: 0 }], body, target, types, library));
  return { temps: levels.map((runs) => 4 * tapCount * channels * runs), dispatches };
}

const size = ([a, b, c]: Triple): number => a * b * c;
