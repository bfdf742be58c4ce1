/** Measures of labels: volumes, and the longest line across an axial slice as in RECIST. */

export interface Measure {
  readonly value: number;
  readonly voxels: number;
  readonly milliliters: number;
  /** Longest distance in mm between centers of voxels of one axial slice; of all slices the longest. */
  readonly diameter: number;
}

/**
 * Measures all labels above 0.
 *
 * @param labels of a grid [X, Y, Z], x fastest
 * @param spacing mm along x, y, z
 */
export function measure(labels: Uint8Array, shape: readonly number[], spacing: readonly number[]): Measure[] {
  const [X, Y, Z] = shape;
  const counts = new Float64Array(256);
  for (let i = 0; i < labels.length; i++) counts[labels[i]]++;
  const values = [...counts.keys()].filter((value) => value > 0 && counts[value] > 0);
  const diameters = new Float64Array(256);
  for (let z = 0; z < Z; z++) {
    const ends = new Map<number, number[][]>();
    for (let y = 0; y < Y; y++) {
      rowEnds(labels, X * (y + Y * z), X, (value, x) => {
        const points = ends.get(value) ?? [];
        points.push([x * spacing[0], y * spacing[1]]);
        ends.set(value, points);
      });
    }
    for (const [value, points] of ends) diameters[value] = Math.max(diameters[value], longest(hull(points)));
  }
  const voxel = spacing[0] * spacing[1] * spacing[2];
  return values.map((value) => ({
    value,
    voxels: counts[value],
    milliliters: (counts[value] * voxel) / 1000,
    diameter: diameters[value],
  }));
}

/** Calls `tell` with the first and the last place of each value in a row. */
function rowEnds(labels: Uint8Array, start: number, length: number, tell: (value: number, x: number) => void): void {
  const [first, last] = [new Map<number, number>(), new Map<number, number>()];
  for (let x = 0; x < length; x++) {
    const value = labels[start + x];
    if (value === 0) continue;
    if (!first.has(value)) first.set(value, x);
    last.set(value, x);
  }
  for (const [value, x] of first) {
    tell(value, x);
    if (last.get(value) !== x) tell(value, last.get(value)!);
  }
}

/** Convex hull (Andrew's monotone chain), on which the two points farthest apart lie. */
function hull(points: number[][]): number[][] {
  const sorted = points.sort(([a, b], [c, d]) => a - c || b - d);
  const half = (list: readonly number[][]): number[][] => {
    const chain: number[][] = [];
    for (const [x, y] of list) {
      while (chain.length > 1) {
        const [[ax, ay], [bx, by]] = chain.slice(-2);
        if ((bx - ax) * (y - ay) - (by - ay) * (x - ax) > 0) break;
        chain.pop();
      }
      chain.push([x, y]);
    }
    return chain;
  };
  return [...half(sorted), ...half([...sorted].reverse())];
}

function longest(points: readonly number[][]): number {
  let most = 0;
  for (const [i, [x, y]] of points.entries()) {
    for (let k = i + 1; k < points.length; k++) most = Math.max(most, Math.hypot(x - points[k][0], y - points[k][1]));
  }
  return most;
}
