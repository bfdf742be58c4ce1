import { test } from "uvu";
import * as assert from "uvu/assert";
import { applyAffine, axisCodes } from "../../../engine/imaging/volume/affine.ts";
import { readNifti, writeNifti } from "../../../engine/imaging/mod.ts";
import { Prng } from "../../../engine/core/prng.ts";
import { reorient } from "../../../engine/imaging/volume/reorient.ts";
import { makeVolume } from "../../../engine/imaging/volume/volume.ts";
import type { Volume } from "../../../engine/imaging/volume/volume.ts";

const ORDERS = [
  [0, 1, 2],
  [0, 2, 1],
  [1, 0, 2],
  [1, 2, 0],
  [2, 0, 1],
  [2, 1, 0],
];
const CODES = ORDERS.flatMap((order) =>
  Array.from({ length: 8 }, (_, bits) => order.map((axis) => ["LR", "PA", "IS"][axis][(bits >> axis) & 1]).join(""))
);
// A rotation by some 20 degrees with anisotropic steps and a shear: oblique, but nearest to RAS.
const OBLIQUE = [0.7, -0.4, 0.3, -20, 0.34, 0.95, -0.67, 31, 0.02, 0.33, 2.39, 7.5, 0, 0, 0, 1];

const random = new Prng(5);
const [X, Y, Z] = [5, 3, 7];
const original = makeVolume(
  Int16Array.from({ length: 2 * X * Y * Z }, () => Math.floor(random.uniform() * 2000) - 1000),
  { shape: [X, Y, Z], affine: OBLIQUE, channels: 2 },
);

/** Value by patient position, both channels: what reorientation must not change. */
function byPlace(volume: Volume): Map<string, string> {
  const [nx, ny, nz] = volume.shape;
  const places = new Map<string, string>();
  for (let z = 0; z < nz; z++) {
    for (let y = 0; y < ny; y++) {
      for (let x = 0; x < nx; x++) {
        const at = x + nx * (y + ny * z);
        const place = applyAffine(volume.affine, [x, y, z]).map((v) => (v + 1e-9).toFixed(6));
        places.set(place.join(), `${volume.data[at]} ${volume.data[at + nx * ny * nz]}`);
      }
    }
  }
  return places;
}

test("reorient() gives all 48 orientations, with every voxel where it was", () => {
  assert.is(new Set(CODES).size, 48);
  const want = byPlace(original);
  assert.is(want.size, X * Y * Z);
  for (const codes of CODES) {
    const turned = reorient(original, codes);
    assert.is(axisCodes(turned.affine), codes);
    assert.is(turned.channels, 2);
    assert.ok(turned.data instanceof Int16Array);
    const got = byPlace(turned);
    for (const [place, values] of want) assert.is(got.get(place), values, `${codes} at ${place}`);
    const back = reorient(turned, "RAS");
    assert.equal(back.data, original.data, codes);
    assert.equal(back.shape, original.shape);
    back.affine.forEach((v, i) => assert.ok(Math.abs(v - OBLIQUE[i]) < 1e-12, `${codes}: ${back.affine}`));
    back.spacing.forEach((v, i) => assert.ok(Math.abs(v - original.spacing[i]) < 1e-12));
  }
});

test("reorient() there and back leaves a file's header as it was", () => {
  const codes = "PIL";
  const bytes = writeNifti(reorient(original, codes));
  const volume = readNifti(bytes, "a.nii");
  assert.is(axisCodes(volume.affine), codes);
  const turned = reorient(volume);
  assert.equal(turned.source!.dims, [X, Y, Z, 2]);
  assert.equal(writeNifti(reorient(turned, codes)), bytes);
  const written = readNifti(writeNifti(turned));
  assert.equal(written.data, original.data);
  written.affine.forEach((v, i) => assert.ok(Math.abs(v - OBLIQUE[i]) < 1e-5, `${written.affine}`));
});

test("reorient() returns a volume that has the codes, and names codes that are none", () => {
  assert.is(reorient(original, "RAS"), original);
  for (const codes of ["", "RA", "RAX", "RLS", "ras", "RASL"]) assert.throws(() => reorient(original, codes), /codes/);
});

test.run();
