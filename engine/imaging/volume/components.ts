/** Connected components of a mask, on the host, run by run: memory grows with the number of runs, not voxels. */
import { VoxgradError } from "../../core/errors.ts";
import { voxelCount } from "./volume.ts";
import type { Triple } from "./volume.ts";

/** Connected components of a mask as runs of voxels along x. */
export interface Parts {
  /** Index of the first voxel of each run, ascending, and its length. */
  readonly from: readonly number[];
  readonly length: readonly number[];
  /** The component of each run; components are numbered by their first voxels. */
  readonly part: Int32Array;
  /** Voxels in each component. */
  readonly sizes: Float64Array;
}

/**
 * The connected components (26 neighbors) of the voxels that have one of `values`.
 *
 * @param labels [Z, Y, X] in memory
 * @param options shape: [X, Y, Z] of the volume; values: labels that count as one mask
 * @throws VoxgradError if the number of labels does not match the shape
 * @example
 * ```ts
 * connectedParts(new Uint8Array([1, 0, 1, 1]), { shape: [4, 1, 1], values: [1] }).sizes; // of two parts
 * ```
 */
export function connectedParts(
  labels: Uint8Array,
  options: { shape: Triple; values: readonly number[] },
): Parts {
  const [X, Y, Z] = options.shape;
  if (labels.length !== voxelCount(options.shape)) {
    throw new VoxgradError(`connectedParts: got ${labels.length} labels, wanted ${options.shape.join(" x ")}`);
  }
  const inside = new Uint8Array(256);
  for (const value of options.values) inside[value] = 1;
  // Start and length of each run, and another run of its component.
  const from: number[] = [];
  const length: number[] = [];
  const parent: number[] = [];
  const firstOfLine = new Uint32Array(Y * Z + 1);
  const root = (run: number): number => {
    let at = run;
    while (parent[at] !== at) at = parent[at] = parent[parent[at]];
    return at;
  };
  // Merges the runs of a line with those of an earlier line that they touch, corners included.
  const join = (line: number, other: number): void => {
    let [a, b] = [firstOfLine[line], firstOfLine[other]];
    const [lastA, lastB] = [from.length, firstOfLine[other + 1]];
    const [startA, startB] = [line * X, other * X];
    while (a < lastA && b < lastB) {
      const [a0, b0] = [from[a] - startA, from[b] - startB];
      const [a1, b1] = [a0 + length[a], b0 + length[b]];
      if (a0 <= b1 && b0 <= a1) {
        const [x, y] = [root(a), root(b)];
        if (x !== y) parent[Math.max(x, y)] = Math.min(x, y);
      }
      if (a1 < b1) a++;
      else b++;
    }
  };
  for (let z = 0; z < Z; z++) {
    for (let y = 0; y < Y; y++) {
      const line = z * Y + y;
      firstOfLine[line] = from.length;
      const end = (line + 1) * X;
      for (let i = line * X; i < end; i++) {
        if (inside[labels[i]] === 0) continue;
        const start = i;
        while (i < end && inside[labels[i]] === 1) i++;
        parent.push(from.length);
        from.push(start);
        length.push(i - start);
      }
      firstOfLine[line + 1] = from.length;
      if (y > 0) join(line, line - 1);
      for (let k = -1; z > 0 && k <= 1; k++) if (y + k >= 0 && y + k < Y) join(line, line - Y + k);
    }
  }
  // A root is the first run of its component, so it is visited before the others.
  const part = new Int32Array(from.length);
  const sizes: number[] = [];
  for (let run = 0; run < from.length; run++) {
    const first = root(run);
    if (first === run) sizes.push(0);
    part[run] = first === run ? sizes.length - 1 : part[first];
    sizes[part[run]] += length[run];
  }
  return { from, length, part, sizes: Float64Array.from(sizes) };
}

/** Index of the largest component, the first of ties; -1 if there is none. */
export function largestOf(sizes: ArrayLike<number>): number {
  let largest = sizes.length > 0 ? 0 : -1;
  for (let k = 1; k < sizes.length; k++) if (sizes[k] > sizes[largest]) largest = k;
  return largest;
}
