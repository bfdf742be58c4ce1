/** Helpers of kernel templates: launch grids folded to the limits, and selection among a few values in WGSL. */
import type { Target } from "./types.ts";

export const ceilDiv = (a: number, b: number): number => Math.ceil(a / b);

/** Lines of WGSL, one for each of `count`. */
export const each = (count: number, text: (k: number) => string): string =>
  Array.from({ length: count }, (_, k) => text(k)).join("\n");

/** Lines of WGSL, one for each pair. */
export const pairs = (rows: number, columns: number, text: (i: number, j: number) => string): string =>
  each(rows, (i) => each(columns, (j) => text(i, j)));

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
  // A grid of one row is read like one of several, so that both share a pipeline.
  const index = z > 1 ? `wid.x + wid.y * ${x}u + wid.z * ${x * y}u` : `wid.x + wid.y * ${max}u`;
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
 * The WGSL expression for the `index`-th of `count` values: for a loop over what is stored. A CPU adapter compiles that
 * several times faster than one store per value, each a bounds check and a branch per lane, unless the length of the
 * loop is a constant, because it then unrolls the loop.
 */
export function pick(count: number, value: (c: number) => string, index = "c"): string {
  // Halves by the bits of the index, from the last: few comparisons.
  let values = Array.from({ length: count }, (_, c) => value(c));
  for (let bit = 1; values.length > 1; bit *= 2) {
    values = Array.from({ length: ceilDiv(values.length, 2) }, (_, c) => {
      const [even, odd] = [values[2 * c], values[2 * c + 1]];
      return odd === undefined ? even : `select(${even}, ${odd}, (${index} & ${bit}u) != 0u)`;
    });
  }
  return values[0];
}

/** Of more values, picking takes longer than storing. */
export const MOST_PICKED = 36;
