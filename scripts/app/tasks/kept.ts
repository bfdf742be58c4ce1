/** Scans that the worker keeps for later tasks, by the numbers that the page knows them by. */
import { axisCodes, makeVolume, reorient, type Triple, type Volume, volumeLike } from "../../../engine/imaging/mod.ts";
import { VoxgradError } from "../../../engine/mod.ts";

/** The grid in which the page shows a scan: its axes turned to right, anterior, superior. */
export interface Grid {
  readonly shape: Triple;
  readonly spacing: Triple;
  readonly affine: Volume["affine"];
}

interface Kept {
  readonly scan: Volume;
  readonly grid: Grid;
}

const scans = new Map<number, Kept>();
let numbers = 0;

export function keepScan(scan: Volume, grid: Grid): number {
  scans.set(++numbers, { scan, grid });
  return numbers;
}

function kept(id: number): Kept {
  const found = scans.get(id);
  if (!found) throw new VoxgradError("the scan is no longer open; open it again");
  return found;
}

/** @throws VoxgradError if it was let go */
export const scanOf = (id: number): Volume => kept(id).scan;
export const gridOf = (id: number): Grid => kept(id).grid;

export function dropScan(id: number): void {
  scans.delete(id);
}

/** Labels on the grid of a scan as the page shows them, in memory of their own. */
export const toShown = (labels: Volume): Uint8Array<ArrayBuffer> => Uint8Array.from(reorient(labels, "RAS").data);

/** What the page shows of a scan, back on the grid of its file. */
export function toScan(id: number, shown: Uint8Array<ArrayBuffer>): Volume {
  const { scan, grid } = kept(id);
  return volumeLike(scan, reorient(makeVolume(shown, grid), axisCodes(scan.affine)).data);
}
