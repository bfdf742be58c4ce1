// Spacings that a wrong unit makes, and what would not fit into memory: told by check, refused before the first byte is
// taken.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { platform } from "#platform";
import { readNifti, VoxgradError, writeNifti } from "../../../engine/mod.ts";
import { checkDataset, checkSpacing, makeVolume, preprocessImage, scaling } from "../../../engine/imaging/mod.ts";
import { planFor } from "../../helpers/plans.ts";

const root = mkdtempSync(join(tmpdir(), "voxgrad-spacing-"));
test.after(() => rmSync(root, { recursive: true, force: true }));

const UNITS = { m: 1, mm: 2, um: 3 } as const;
function scan(spacing: readonly number[], unit: keyof typeof UNITS = "mm", label = false): Uint8Array {
  const data = Float32Array.from({ length: 1000 }, (_, k) => (label ? k & 1 : 1 + (k % 7)));
  const file = writeNifti(makeVolume(data, { shape: [10, 10, 10], affine: scaling(spacing) }), {
    dtype: label ? "uint8" : "float32",
  });
  file[123] = UNITS[unit];
  return file;
}

async function warnings(spacings: readonly (readonly [readonly number[], keyof typeof UNITS])[]): Promise<string[]> {
  const folder = mkdtempSync(join(root, "set-"));
  for (const name of ["images", "labels"]) mkdirSync(join(folder, name));
  spacings.forEach(([spacing, unit], k) => {
    writeFileSync(join(folder, `images/c${k}.nii`), scan(spacing, unit));
    writeFileSync(join(folder, `labels/c${k}.nii`), scan(spacing, unit, true));
  });
  const found = await checkDataset(folder);
  assert.equal(found.filter(({ severity }) => severity === "error"), []);
  return found.map(({ file, problem, fix }) => `${file.slice(-6)}: ${problem}. ${fix}`);
}

test("checkDataset() warns of spacings outside 0.01 to 50 mm, and names the unit", async () => {
  assert.equal(await warnings([[[1, 1, 2], "mm"], [[0.001, 0.001, 0.002], "m"], [[500, 500, 2000], "um"]]), []);
  const found = await warnings([[[1, 1, 2], "m"], [[1, 1, 2], "um"], [[1, 1, 51], "mm"], [[0.009, 1, 1], "mm"]]);
  assert.equal(await warnings([[[0.02, 49, 49], "mm"]]), []);
  assert.is(found.length, 4);
  assert.match(
    found[0],
    /^c0\.nii: its voxel spacing is 1000 x 1000 x 2000 mm, for its header counts in meters .*xyzt_units/,
  );
  assert.match(found[1], /^c1\.nii: .* 0\.001 x 0\.001 x 0\.002 mm, for its header counts in micrometers/);
  assert.match(found[2], /^c2\.nii: .* 1 x 1 x 51 mm; scans of people have 0\.01 to 50 mm/);
  assert.match(found[3], /^c3\.nii: .* 0\.009 x 1 x 1 mm;/);
});

test("checkDataset() warns of spacings ten times the dataset's median, along any axis", async () => {
  const usual = [[0.8, 0.8, 3], [3, 0.8, 0.8], [0.7, 0.7, 2.5], [0.8, 2.9, 0.8]].map((spacing) =>
    [spacing, "mm"] as const
  );
  assert.equal(await warnings(usual), []);
  const found = await warnings([...usual, [[0.8, 0.8, 40], "mm"], [[0.05, 0.8, 0.8], "mm"]]);
  assert.is(found.length, 2);
  assert.match(
    found[0],
    /^c4\.nii: its voxel spacing is 0\.8 x 0\.8 x 40 mm, sorted; that of the dataset 0\.8 x 0\.8 x \d/,
  );
  assert.match(found[1], /^c5\.nii: its voxel spacing is 0\.05 x 0\.8 x 0\.8 mm/);
});

test("checkSpacing() refuses what a plan's network was not trained for, and names the way on", () => {
  const plan = planFor({ fingerprint: { ...planFor({}).fingerprint, medianSpacing: [3, 0.8, 0.8] } });
  const check = (spacing: readonly number[], unit: keyof typeof UNITS = "mm") =>
    checkSpacing(readNifti(scan(spacing, unit), "s.nii"), plan, "--anySpacing true");
  check([0.8, 0.8, 3]);
  check([5, 0.5, 0.5]);
  for (
    const [spacing, unit, pattern] of [
      [
        [0.8, 0.8, 3],
        "m",
        /^s\.nii: its voxel spacing is 800 x 800 x 3000 mm, for its header counts in meters.*--anySpacing true goes on$/,
      ],
      [[0.8, 0.8, 31], "mm", /31 mm, where the network was trained on scans of 0\.8 x 0\.8 x 3 mm.*--anySpacing true/],
      [[0.07, 0.8, 0.8], "mm", /0\.07 x 0\.8 x 0\.8 mm, where/],
    ] as const
  ) {
    assert.throws(
      () => check(spacing, unit),
      (error: Error) => error instanceof VoxgradError && pattern.test(error.message),
    );
  }
});

test("preprocessImage() refuses a small scan of huge voxels before it takes memory", async () => {
  for (const spacing of [[1000, 1000, 1000], [1e5, 1e5, 1e5]]) {
    const image = readNifti(scan(spacing), "meters.nii");
    const before = platform.memory()!;
    const error = await preprocessImage(image, planFor({ spacing: [1, 1, 1] })).then(
      () => undefined,
      (e: unknown) => e,
    );
    assert.instance(error, VoxgradError);
    assert.match(
      (error as Error).message,
      /^meters\.nii: of 1(000|e\+5|00000) x .* mm, at the plan's 1 x 1 x 1 mm it has \d+ x \d+ x \d+ voxels: it takes about [\d.]+ GiB.*see whether its spacing is right/,
    );
    assert.ok(platform.memory()! - before < 2 ** 28);
  }
});

test("readNifti() refuses affines that float32 does not hold", () => {
  const file = scan([1, 1, 1], "m");
  new DataView(file.buffer).setFloat32(280, 1e37, true);
  assert.throws(
    () => readNifti(file, "far.nii"),
    /^NiftiError: far\.nii: got an affine of 1[.\d]*e\+40|far\.nii: got an affine of/,
  );
});

test.run();
