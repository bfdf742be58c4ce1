/** What kernels share: launch grids folded to the limits, and choices among a few values in WGSL. */
import type { Target } from "./types.ts";

export const ceilDiv = (a: number, b: number): number => Math.ceil(a / b);

/**
 * Folds a one-dimensional grid into three dimensions within the target's limit. `index` is the WGSL expression of
 * the flat workgroup index from a `@builtin(workgroup_id)` named `wid`; it may run past `count`.
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
 * Lanes that may share loads through subgroup broadcasts; undefined where that is impossible. WebGPU guarantees
 * subgroups of four.
 */
function subgroupShare(target: Target): number | undefined {
  if (!target.features.has("subgroups")) return undefined;
  return (target.subgroupMinSize ?? 4) >= 8 ? 8 : 4;
}

/** Where sharing is the default: on a GPU the cache does as well, and it is left to measurement. */
export const softwareShare = (target: Target): number | undefined =>
  target.software ? subgroupShare(target) : undefined;
export const gpuShare = (target: Target): number | undefined => (target.software ? undefined : subgroupShare(target));

/**
 * The WGSL expression for the `c`-th of `count` values. Stores in a loop over c compile several times faster than one
 * store per value, as each store is a bounds test and a branch per lane on a CPU adapter.
 */
export function pick(count: number, value: (c: number) => string): string {
  let expression = value(0);
  for (let c = 1; c < count; c++) expression = `select(${expression}, ${value(c)}, c == ${c}u)`;
  return expression;
}
