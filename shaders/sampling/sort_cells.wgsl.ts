/** Sorts points by cell; those of one cell stay in index order. */
import { wgsl } from "wgsl-preprocessor/wgsl-preprocessor.js";
import { lowerSort } from "../index/sort.wgsl.ts";
import { step } from "../index/step.wgsl.ts";
import type { Lowered, Slot, Target } from "../types.ts";

/**
 * Reads the cells [samples, points] i32 of an image of `voxels`. Writes i32: the points sorted by cell, then for every
 * voxel of every sample the start of its points, then the end.
 */
export function lowerSortCells(samples: number, points: number, voxels: number, target: Target): Lowered {
  const [count, bins] = [samples * points, samples * voxels];
  const [cells, order, output]: [Slot, Slot, Slot] = [{ input: 0 }, { temp: 0 }, { output: 0 }];
  const key = `fn key(bits: u32) -> u32 { return u32(clamp(bitcast<i32>(bits), 0, ${voxels - 1})); }`;
  const bits = Math.ceil(Math.log2(voxels));
  const lines = { lines: samples, length: points, name: "grid_sample.cells", firstTemp: 1 };
  const sorted = lowerSort({ ...lines, bits, key, from: cells, to: order }, target);
  // select() would read out of bounds.
  const clear = `if (i < ${count}u) { b1[i] = i / ${points}u * ${points}u + b0[i]; } else { b1[i] = 0u; }`;
  const library = wgsl`${key}
fn cellAt(i: u32) -> u32 {
  let sample = i / ${points}u;
  return sample * ${voxels}u + key(b0[sample * ${points}u + b1[i]]);
}`;
  const bounds = `let cell = cellAt(i);
  if ((i == 0u) || (cellAt(max(i, 1u) - 1u) != cell)) { b2[${count}u + cell] = i; }
  if ((i == ${count - 1}u) || (cellAt(min(i + 1u, ${count - 1}u)) != cell)) { b2[${count + bins}u + cell] = i + 1u; }`;
  const dispatches = [
    ...sorted.dispatches,
    step("grid_sample.order", count + 2 * bins, [order], [output], clear, target),
    step("grid_sample.bounds", count, [cells, order], [output], bounds, target, [], library),
  ];
  return { temps: [4 * count, ...sorted.temps], dispatches };
}
