/** Outlines of regions in a slice: closed polygons between pixels. */

/** A point in pixels: column and row, the centers of pixels at whole numbers. */
export type Point = readonly [column: number, row: number];

/**
 * The outlines of the pixels that hold a value, holes included: along the edges of pixels, with corners only where
 * they turn. Filled by the even-odd rule they give the pixels back.
 *
 * @param plane of columns x rows
 */
export function outlines(plane: ArrayLike<number>, columns: number, rows: number, value: number): Point[][] {
  const inside = (x: number, y: number): boolean =>
    x >= 0 && y >= 0 && x < columns && y < rows && plane[y * columns + x] === value;
  // Edges from corner to corner, with the pixels of the value on their right; corners are numbered by rows.
  const width = columns + 1;
  const next = new Map<number, number[]>();
  const edge = (from: number, to: number): void => {
    const list = next.get(from);
    if (list) list.push(to);
    else next.set(from, [to]);
  };
  for (let y = 0; y < rows; y++) {
    for (let x = 0; x < columns; x++) {
      if (plane[y * columns + x] !== value) continue;
      const corner = y * width + x;
      if (!inside(x, y - 1)) edge(corner, corner + 1);
      if (!inside(x + 1, y)) edge(corner + 1, corner + 1 + width);
      if (!inside(x, y + 1)) edge(corner + 1 + width, corner + width);
      if (!inside(x - 1, y)) edge(corner + width, corner);
    }
  }
  const found: Point[][] = [];
  for (const start of next.keys()) {
    while ((next.get(start)?.length ?? 0) > 0) {
      const corners: number[] = [];
      let [at, before] = [start, 0];
      do {
        const ways = next.get(at)!;
        // Where two outlines touch in a corner, turning right keeps to the same pixel.
        const right = turnedRight(before, width);
        const k = Math.max(0, ways.findIndex((to) => to - at === right));
        const [to] = ways.splice(k, 1);
        if (to - at !== before) corners.push(at);
        before = to - at;
        at = to;
      } while (at !== start);
      found.push(corners.map((corner): Point => [(corner % width) - 0.5, Math.floor(corner / width) - 0.5]));
    }
  }
  return found;
}

/** The step to the right of a step, in numbers of corners. */
const turnedRight = (step: number, width: number): number =>
  step === 1 ? width : step === width ? -1 : step === -1 ? -width : 1;
