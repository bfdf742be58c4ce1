/** Series in all 48 orders and directions of their axes, some of them oblique or of a tilted gantry. */
import { ctSlice, dicomFile } from "./dicom_files.ts";

export interface Orientation {
  readonly right: readonly number[];
  readonly down: readonly number[];
  /** From slice to slice, in mm. */
  readonly step: readonly number[];
}

export const [COLUMNS, ROWS, SLICES] = [7, 6, 5];
export const ORIGIN = [-21.5, 13.25, 40.75] as const;
const STEP = 2.5;

/** A turn by some degrees about each axis. */
function oblique([x, y, z]: readonly number[]): number[] {
  const [a, b] = [0.21, -0.13];
  const turned = [x * Math.cos(a) - y * Math.sin(a), x * Math.sin(a) + y * Math.cos(a), z];
  return [
    turned[0],
    turned[1] * Math.cos(b) - turned[2] * Math.sin(b),
    turned[1] * Math.sin(b) + turned[2] * Math.cos(b),
  ];
}

export function orientations(): Map<string, Orientation> {
  const found = new Map<string, Orientation>();
  for (const [x, y, z] of [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]]) {
    for (let bits = 0; bits < 8; bits++) {
      const unit = (axis: number, bit: number, length = 1): number[] =>
        [0, 1, 2].map((each) => (each === axis ? ((bits >> bit) & 1 ? -length : length) : 0));
      const straight = { right: unit(x, 0), down: unit(y, 1), step: unit(z, 2, STEP) };
      const name = `${x}${y}${z}_${bits}`;
      found.set(name, straight);
      if (bits % 3 === 0) {
        const { right, down, step } = straight;
        found.set(`${name}_oblique`, { right: oblique(right), down: oblique(down), step: oblique(step) });
      }
    }
  }
  return found;
}

/** The value of a voxel tells its place in the series. */
export const valueAt = (column: number, row: number, slice: number): number => column + 10 * row + 100 * slice - 300;

/** The files of a series, in no order. */
export function seriesOf({ right, down, step }: Orientation): Uint8Array<ArrayBuffer>[] {
  return [3, 0, 4, 1, 2].map((slice) =>
    dicomFile(ctSlice({
      columns: COLUMNS,
      rows: ROWS,
      number: slice + 1,
      position: ORIGIN.map((mm, axis) => mm + slice * step[axis]),
      orientation: [...right, ...down],
      pixels: Array.from({ length: ROWS * COLUMNS }, (_, k) => valueAt(k % COLUMNS, Math.floor(k / COLUMNS), slice)),
    }))
  );
}
