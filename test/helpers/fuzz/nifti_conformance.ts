// Compares readNifti with what nibabel reads, over a folder with files and expected_nibabel.json (shape, affine, axes,
// statistics or error by file). Not part of the test run, because it needs external data: node --import
// ./engine/platform/cli/register.mjs test/helpers/fuzz/nifti_conformance.ts FOLDER
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { axisCodes } from "../../../engine/imaging/volume/affine.ts";
import { NiftiError, readNifti } from "../../../engine/imaging/mod.ts";
import type { Volume } from "../../../engine/imaging/volume/volume.ts";

interface Expected {
  error?: string;
  shape?: number[];
  dtype?: string;
  affine?: number[][];
  axes?: string;
  stats?: { min: number; max: number; mean: number; n_nonfinite: number; first: number };
}

function differences(volume: Volume, want: Expected): string[] {
  const found: string[] = [];
  const dims = volume.source!.dims;
  if (String(dims) !== String(want.shape)) found.push(`shape ${dims}, expected ${want.shape}`);
  const flat = want.affine!.flat();
  const off = Math.max(...flat.map((v, i) => Math.abs(v - volume.affine[i]) / Math.max(1, Math.abs(v))));
  if (!(off < 1e-4)) found.push(`affine ${volume.affine.map((v) => v.toFixed(4))}, expected ${flat}`);
  if (want.axes && axisCodes(volume.affine) !== want.axes) {
    found.push(`axes ${axisCodes(volume.affine)}, not ${want.axes}`);
  }
  if (!want.stats) return found;
  let [min, max, sum, bad, n] = [Infinity, -Infinity, 0, 0, 0];
  for (const v of volume.data) {
    if (!Number.isFinite(v)) {
      bad++;
      continue;
    }
    n++;
    min = Math.min(min, v);
    max = Math.max(max, v);
    sum += v;
  }
  const got: Record<string, number> = { min, max, mean: sum / n, n_nonfinite: bad, first: volume.data[0] };
  for (const [key, value] of Object.entries(want.stats)) {
    if (typeof value !== "number") continue;
    const scale = Math.max(1, Math.abs(want.stats.max), Math.abs(want.stats.min));
    if (!(Math.abs(got[key] - value) <= 2e-6 * scale)) found.push(`${key} ${got[key]}, expected ${value}`);
  }
  return found;
}

const folder = process.argv[2];
const expected: Record<string, Expected> = JSON.parse(readFileSync(join(folder, "expected_nibabel.json"), "utf8"));
const tally = { agree: 0, refused: 0, differ: 0, crash: 0 };
const started = performance.now();
for (const [file, want] of Object.entries(expected)) {
  try {
    const found = differences(readNifti(readFileSync(join(folder, file)), file), want);
    if (want.error) found.push(`read, where nibabel says ${want.error}`);
    if (found.length) console.log(`differs  ${file}: ${found.join("; ")}`);
    tally[found.length ? "differ" : "agree"]++;
  } catch (error) {
    const typed = error instanceof NiftiError;
    tally[typed ? "refused" : "crash"]++;
    console.log(`${typed ? "refused" : "CRASH  "}  ${typed ? error.message : `${file}: ${(error as Error).stack}`}`);
  }
}
console.log(tally, `${(performance.now() - started).toFixed(0)} ms`);
process.exitCode = tally.differ + tally.crash === 0 ? 0 : 1;
