/** The largest connected part of a mask, on the host: volumes of any size, with memory for lines of voxels alone. */
import { voxelCount } from "./volume.ts";
import type { Triple } from "./volume.ts";

/**
 * Sets to 0 what has one of `values` but does not belong to their largest connected part; of equal parts the first
 * stays. Voxels are connected by faces, edges and corners (26 neighbours), as in nnU-Net's rule.
 *
 * @param labels [Z, Y, X] in memory, changed in place
 * @param options shape: [X, Y, Z] of the volume; values: labels that count as one mask
 * @returns how many voxels were set to 0
 * @example keepLargestComponent(prediction.data as Uint8Array, { shape: prediction.shape, values: [1, 2] });
 */
export function keepLargestComponent(
  labels: Uint8Array,
  options: { shape: Triple; values: readonly number[] },
): number {
  const [X, Y, Z] = options.shape;
  if (labels.length !== voxelCount(options.shape)) {
    throw new RangeError(`keepLargestComponent: got ${labels.length} labels, wanted ${options.shape.join(" x ")}`);
  }
  const inside = new Uint8Array(256);
  for (const value of options.values) inside[value] = 1;
  // Runs of voxels along x: where each starts, how long it is, and another run of its part.
  const from: number[] = [];
  const length: number[] = [];
  const parent: number[] = [];
  const firstOfLine = new Uint32Array(Y * Z + 1);
  const root = (run: number): number => {
    let at = run;
    while (parent[at] !== at) at = parent[at] = parent[parent[at]!]!;
    return at;
  };
  // Joins the runs of a line with those of an earlier one that they touch, corners included.
  const join = (line: number, other: number): void => {
    let [a, b] = [firstOfLine[line]!, firstOfLine[other]!];
    const [lastA, lastB] = [from.length, firstOfLine[other + 1]!];
    const [startA, startB] = [line * X, other * X];
    while (a < lastA && b < lastB) {
      const [a0, b0] = [from[a]! - startA, from[b]! - startB];
      const [a1, b1] = [a0 + length[a]!, b0 + length[b]!];
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
        if (inside[labels[i]!] === 0) continue;
        const start = i;
        while (i < end && inside[labels[i]!] === 1) i++;
        parent.push(from.length);
        from.push(start);
        length.push(i - start);
      }
      firstOfLine[line + 1] = from.length;
      if (y > 0) join(line, line - 1);
      for (let k = -1; z > 0 && k <= 1; k++) if (y + k >= 0 && y + k < Y) join(line, line - Y + k);
    }
  }
  const sizes = new Float64Array(from.length);
  for (let run = 0; run < from.length; run++) sizes[root(run)] += length[run]!;
  let largest = 0;
  for (let run = 1; run < from.length; run++) if (sizes[run]! > sizes[largest]!) largest = run;
  let removed = 0;
  for (let run = 0; run < from.length; run++) {
    if (root(run) === largest) continue;
    labels.fill(0, from[run]!, from[run]! + length[run]!);
    removed += length[run]!;
  }
  return removed;
}
