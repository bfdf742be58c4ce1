/** Folders and groups of synthetic scans for the tests of dataset groups. */
import { mkdtemp, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as assert from "uvu/assert";
import { platform } from "#platform";
import * as vg from "../../engine/mod.ts";
import * as imaging from "../../engine/imaging/mod.ts";
import type { Triple, Volume } from "../../engine/imaging/mod.ts";
import { failure } from "./refuse.ts";

export const root = await mkdtemp(join(tmpdir(), "voxgrad-group-"));
let made = 0;

// Affines of the files: RAS axes, and another order.
export const RAS = [2, 0, 0, -20, 0, 2, 0, 5, 0, 0, 3, -7, 0, 0, 0, 1];
export const SAR = [0, 0, 1.5, -14, 0, 2, 0, 5, 3, 0, 0, -7, 0, 0, 0, 1];

export const volume = (data: imaging.VoxelData, shape: Triple, affine: readonly number[]): Volume =>
  imaging.makeVolume(data, { shape, affine, name: "made" });

/** A volume from a function of patient coordinates. */
export function drawn(
  shape: Triple,
  affine: readonly number[],
  value: (x: number, y: number, z: number) => number,
): Volume {
  const data = new Float32Array(imaging.voxelCount(shape));
  let at = 0;
  for (let k = 0; k < shape[2]; k++) {
    for (let j = 0; j < shape[1]; j++) {
      for (let i = 0; i < shape[0]; i++) data[at++] = value(...imaging.applyAffine(affine, [i, j, k]));
    }
  }
  return volume(data, shape, affine);
}

export interface Made {
  readonly label: Volume;
  readonly image?: Volume;
}

/** A folder in the layout of nnU-Net. */
export async function folder(
  name: string,
  labels: object,
  cases: Record<string, Made>,
  more: object = {},
): Promise<string> {
  const path = join(root, name);
  await platform.writeFile(
    join(path, "dataset.json"),
    JSON.stringify({ channel_names: { "0": "CT" }, labels, file_ending: ".nii.gz", ...more }),
  );
  let seed = 0;
  for (const [id, { label, image }] of Object.entries(cases)) {
    const prng = new imaging.Prng(made * 100 + seed++);
    const noise = image ?? volume(Float32Array.from(label.data, () => 1 + prng.uniform()), label.shape, label.affine);
    await platform.writeFile(join(path, `imagesTr/${id}_0000.nii.gz`), vg.writeNifti(noise, { gzip: true }));
    await platform.writeFile(join(path, `labelsTr/${id}.nii.gz`), vg.writeNifti(label, { gzip: true, dtype: "uint8" }));
  }
  made++;
  return path;
}

/** A group file next to the folders. */
export async function group(json: object): Promise<string> {
  const file = join(root, `group${made++}.json`);
  await writeFile(file, JSON.stringify({ format: "voxgrad group 1", ...json }));
  return file;
}

export const refused = async (promise: Promise<unknown>): Promise<string> => {
  const { name, message } = await failure(promise);
  return `${name} ${message}`;
};

/** Asserts equality voxel by voxel; names the first difference. */
export function same(got: ArrayLike<number>, wanted: ArrayLike<number>, what = ""): void {
  assert.is(got.length, wanted.length, what);
  const at = Array.from(got).findIndex((value, i) => value !== wanted[i]);
  assert.is(at, -1, `${what}: voxel ${at} is ${got[at]} and not ${wanted[at]}`);
}

export const SHAPE: Triple = [7, 6, 5];
/** Values 0 to highest cyclically, in a different order for each shift. */
export const mixed = (highest: number, shift = 0, shape = SHAPE, affine = RAS): Volume =>
  volume(
    Uint8Array.from({ length: imaging.voxelCount(shape) }, (_, i) => (i * 5 + shift + (i >> 3)) % (highest + 1)),
    shape,
    affine,
  );
