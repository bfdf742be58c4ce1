/** Labels of connected components, and hole filling, from the trees of union_find.wgsl.ts. */
import { wgsl } from "wgsl-preprocessor/wgsl-preprocessor.js";
import { fold } from "../map.wgsl.ts";
import { lowerNumbering } from "./numbering.wgsl.ts";
import type { Kernel, Lowered, Slot, Target } from "../types.ts";
import { forest, type Grid, unionFind } from "./union_find.wgsl.ts";

export type ComponentsParams = Omit<Grid, "outside">;

export interface HolesParams {
  readonly batch: number;
  readonly size: readonly [number, number, number];
  /** Number of last axes whose ends touch the outside: 2 for planes. */
  readonly axes: 2 | 3;
  readonly float: boolean;
}

const WORKGROUP = 64;

/** Mask [batch, ...size] to i32 labels: 0, and 1, 2, ... in the order of first voxels, separately per batch element. */
export function lowerComponents(p: ComponentsParams, target: Target): Lowered {
  const voxels = p.size[0] * p.size[1] * p.size[2];
  const parents: Slot = { temp: 0 };
  const numbering = lowerNumbering({ batch: p.batch, voxels, parents, firstTemp: 1 }, target);
  return {
    temps: [4 * p.batch * voxels, ...numbering.temps],
    dispatches: [
      ...forest({ ...p, outside: 0 }, target),
      ...numbering.dispatches,
      { kernel: labelKernel(p.batch * voxels, target), reads: [], writes: [parents, { output: 0 }] },
    ],
  };
}

/** Mask [batch, ...size] to bool: the mask and its holes. */
export function lowerFillHoles(p: HolesParams, target: Target): Lowered {
  const elements = p.batch * p.size[0] * p.size[1] * p.size[2];
  return {
    temps: [4 * elements],
    dispatches: [
      ...forest({ ...p, connectivity: 6, outside: p.axes }, target),
      { kernel: filledKernel(elements, target), reads: [], writes: [{ temp: 0 }, { output: 0 }] },
    ],
  };
}

/** A kernel that runs `body` for each voxel i of the finished forest. */
function voxelKernel(name: string, count: number, before: string, body: string, target: Target): Kernel {
  const each = target.software ? 64 : 4;
  const { workgroups, row } = fold(Math.ceil(count / each), WORKGROUP, target);
  return {
    name,
    workgroups,
    source: () =>
      wgsl`
@group(0) @binding(0) var<storage, read_write> parents: array<atomic<u32>>;
@group(0) @binding(1) var<storage, read_write> result: array<u32>;

${unionFind}

@compute @workgroup_size(${WORKGROUP})
fn main(@builtin(global_invocation_id) id: vec3u) {
  let begin = (id.x + id.y * ${row}u) * ${each}u;
  ${before}
  for (var i = begin; i < min(begin + ${each}u, ${count}u); i++) {
${body}
  }
}`,
  };
}

/** Propagates the numbers of the roots to all voxels of their component. */
const labelKernel = (count: number, target: Target): Kernel =>
  voxelKernel(
    "components.label",
    count,
    "var last = 0u; var label = 0u;",
    wgsl`
    let parent = atomicLoad(&parents[i]);
    if (parent != i + 1u) {
      // Voxels of a run have one parent.
      if (parent != last) {
        last = parent;
        label = 0u;
        let top = root(parent);
        if (top != 0u) { label = result[top - 1u]; }
      }
      result[i] = label;
    }`,
    target,
  );

const filledKernel = (count: number, target: Target): Kernel =>
  voxelKernel("components.filled", count, "", "    result[i] = select(0u, 1u, root(i + 1u) != 0u);", target);
