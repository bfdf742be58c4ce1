/** Shapes of overlay pictures: outlines of pixel regions. */

/**
 * The outline of the pixels that equal `value`, as an SVG path of closed loops along pixel edges; pixel (column, row)
 * covers column to column + 1 and row to row + 1. Holes are loops too: fill by the even-odd rule. Empty without pixels.
 *
 * @param plane row by row, `columns` x `rows`
 * @param pixel width and height of a pixel in the path's units, default 1
 */
export function outline(
  plane: ArrayLike<number>,
  columns: number,
  rows: number,
  value: number,
  pixel: readonly [number, number] = [1, 1],
): string {
  const inside = (c: number, r: number) =>
    c >= 0 && r >= 0 && c < columns && r < rows && plane[r * columns + c] === value;
  const corner = (c: number, r: number) => r * (columns + 1) + c;
  // Edges with the region on their right, keyed by start corner; at most two start at a corner.
  const edges = new Map<number, number[]>();
  const add = (from: number, to: number) => {
    const list = edges.get(from);
    if (list) list.push(to);
    else edges.set(from, [to]);
  };
  for (let r = 0; r < rows; r++) {
    for (let c = 0; c < columns; c++) {
      if (!inside(c, r)) continue;
      if (!inside(c, r - 1)) add(corner(c, r), corner(c + 1, r));
      if (!inside(c + 1, r)) add(corner(c + 1, r), corner(c + 1, r + 1));
      if (!inside(c, r + 1)) add(corner(c + 1, r + 1), corner(c, r + 1));
      if (!inside(c - 1, r)) add(corner(c, r + 1), corner(c, r));
    }
  }
  let path = "";
  for (const start of edges.keys()) {
    while (edges.get(start)!.length > 0) {
      const loop = [start];
      for (let at = edges.get(start)!.pop()!; at !== start; at = edges.get(at)!.pop()!) loop.push(at);
      path += loopPath(loop, columns + 1, pixel);
    }
  }
  return path;
}

/** A loop of corners as M, H, V, Z, straight runs merged. */
function loopPath(loop: readonly number[], stride: number, pixel: readonly [number, number]): string {
  const point = (i: number) => {
    const at = loop[(i + loop.length) % loop.length];
    return [(at % stride) * pixel[0], Math.floor(at / stride) * pixel[1]].map((v) => Math.round(v * 100) / 100);
  };
  let path = `M${point(0).join(" ")}`;
  for (let i = 1; i < loop.length; i++) {
    const [before, here, after] = [point(i - 1), point(i), point(i + 1)];
    const level = before[1] === here[1];
    if (level && after[1] !== here[1]) path += `H${here[0]}`;
    else if (!level && after[0] !== here[0]) path += `V${here[1]}`;
  }
  return `${path}Z`;
}
