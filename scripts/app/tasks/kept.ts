/** Scans that the worker keeps for later tasks, by the numbers that the page knows them by. */
import {
  axisCodes,
  makeVolume,
  reorient,
  type Triple,
  type Volume,
  volumeLike,
  voxelCount,
} from "../../../engine/imaging/mod.ts";
import { VoxgradError } from "../../../engine/mod.ts";

const scans = new Map<number, Volume>();
let numbers = 0;

export function keepScan(scan: Volume): number {
  scans.set(++numbers, scan);
  return numbers;
}

/** @throws VoxgradError if it was let go */
export function scanOf(id: number): Volume {
  const scan = scans.get(id);
  if (!scan) throw new VoxgradError("the scan is no longer open; open it again");
  return scan;
}

export function dropScan(id: number): void {
  scans.delete(id);
}

/** The grid in which the page shows a scan: its axes turned to right, anterior, superior. */
export function shownGrid(scan: Volume): { readonly shape: Triple; readonly affine: Volume["affine"] } {
  const { shape, affine } = reorient({ ...scan, channels: 1, data: new Uint8Array(voxelCount(scan.shape)) }, "RAS");
  return { shape, affine };
}

/** Labels on the grid of a scan as the page shows them, in memory of their own. */
export function toShown(labels: Volume): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(reorient(labels, "RAS").data);
}

/** What the page shows, back on the grid of the scan. */
export function toScan(scan: Volume, shown: Uint8Array<ArrayBuffer>, name = scan.name): Volume {
  const turned = reorient(makeVolume(shown, shownGrid(scan)), axisCodes(scan.affine));
  return volumeLike(scan, turned.data, { name });
}
