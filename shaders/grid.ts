/** Helpers of kernel templates: launch grids folded to the limits, and selection among a few values in WGSL. */
import type { Target } from "./types.ts";

export const ceilDiv = (a: number, b: number): number => Math.ceil(a / b);

/**
 * Folds a one-dimensional grid into three dimensions within the target's limit. `index` is the WGSL expression of the
 * flat workgroup index from a `@builtin(workgroup_id)` named `wid`; it may exceed `count`.
 */
export function foldGrid(count: number, target: Target): { workgroups: [number, number, number]; index: string } {
  const max = target.maxWorkgroupsPerDimension;
  const x = Math.min(count, max);
  const y = Math.min(ceilDiv(count, x), max);
  const z = ceilDiv(count, x * y);
  if (z > max) throw new Error(`kernel: ${count} workgroups, the adapter runs at most ${max}^3`);
  const index = z > 1 ? `wid.x + wid.y * ${x}u + wid.z * ${x * y}u` : y > 1 ? `wid.x + wid.y * ${x}u` : "wid.x";
  return { workgroups: [x, y, z], index };
}

/**
 * Lanes that can share loads by subgroup broadcast; undefined if unsupported. WebGPU guarantees subgroups of at least
 * four.
 */
function subgroupShare(target: Target): number | undefined {
  if (!target.features.has("subgroups")) return undefined;
  return (target.subgroupMinSize ?? 4) >= 8 ? 8 : 4;
}

/** Default for sharing: only on a CPU. On a GPU the cache is as good, so sharing is left to tuning. */
export const softwareShare = (target: Target): number | undefined =>
  target.software ? subgroupShare(target) : undefined;
export const gpuShare = (target: Target): number | undefined => (target.software ? undefined : subgroupShare(target));

/**
 * The WGSL expression for the `c`-th of `count` values. A loop over c compiles several times faster than one store per
 * value, because each store is a bounds check and a branch per lane on a CPU adapter.
 */
export function pick(count: number, value: (c: number) => string): string {
  let expression = value(0);
  for (let c = 1; c < count; c++) expression = `select(${expression}, ${value(c)}, c == ${c}u)`;
  return expression;
}
