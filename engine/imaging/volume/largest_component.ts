/** Keeps the largest connected component of a mask. */
import { connectedParts, largestOf } from "./components.ts";
import type { Triple } from "./volume.ts";

/**
 * Sets voxels with one of `values` outside their largest connected component to 0; of several of the same
 * size all are kept. Connectivity is 26 neighbors. Both as in nnU-Net's rule.
 *
 * @param labels [Z, Y, X] in memory, changed in place
 * @param options shape: [X, Y, Z] of the volume; values: labels that count as one mask; single: of several of the same
 *   size only the first is kept, default false
 * @returns how many voxels were set to 0
 * @throws VoxgradError if the number of labels does not match the shape
 * @example
 * ```ts
 * import { keepLargestComponent } from "voxgrad/imaging";
 *
 * const labels = new Uint8Array([1, 0, 1, 1]);
 * keepLargestComponent(labels, { shape: [4, 1, 1], values: [1] }); // 1, and labels are [0, 0, 1, 1]
 * ```
 */
export function keepLargestComponent(
  labels: Uint8Array,
  options: { shape: Triple; values: readonly number[]; single?: boolean },
): number {
  const { from, length, part, sizes } = connectedParts(labels, options);
  const first = largestOf(sizes);
  let removed = 0;
  for (let run = 0; run < from.length; run++) {
    if (options.single ? part[run] === first : sizes[part[run]] === sizes[first]) continue;
    labels.fill(0, from[run], from[run] + length[run]);
    removed += length[run];
  }
  return removed;
}
