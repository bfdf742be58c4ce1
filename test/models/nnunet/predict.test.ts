/** openModel() of what nnU-Net trained: files that test/golden/nnunet/generate.py made, and the labels of its steps. */
import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { zipSync } from "fflate";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { closeDevice } from "../../../engine/mod.ts";
import { readVolume } from "../../../engine/imaging/mod.ts";
import { openModel, type OpenModelOptions } from "../../../models/mod.ts";

const golden = fileURLToPath(new URL("../../golden/nnunet/", import.meta.url));
const at = (path: string): string => `${golden}${path}`;
const small = "Dataset901_Small/nnUNetTrainer__nnUNetPlans__";
const resEnc = (size: string): string =>
  at(`Dataset902_Regions/nnUNetTrainer__nnUNetResEncUNet${size}Plans__3d_fullres`);
test.after(closeDevice);

type Source = Parameters<typeof openModel>[0];

/** Labels of the scan by a model, and the golden ones, which may differ in one voxel of 10,000. */
async function agrees(source: Source, expected: string, options: OpenModelOptions = {}): Promise<void> {
  const model = await openModel(source, options);
  const folder = expected.startsWith("resenc") ? "scans_ras" : "scans";
  const { labels } = await model.segment(model.channels.map((_, c) => at(`${folder}/case_000${c}.nii.gz`)));
  model.dispose();
  const wanted = await readVolume(at(`expected/${expected}.nii.gz`));
  assert.equal(labels.shape, wanted.shape);
  assert.ok(labels.affine.every((v, k) => Math.abs(v - wanted.affine[k]) < 1e-5), "on the grid of the scan");
  const differ = Array.from(wanted.data).filter((value, i) => value !== labels.data[i]).length;
  assert.ok(differ <= wanted.data.length / 10_000, `${expected}: ${differ} of ${wanted.data.length} voxels differ`);
}

test("openModel() of 3d_fullres averages folds and mirror images, across a coarse axis", async () => {
  await agrees(at(`${small}3d_fullres`), "3d_fullres");
});

test("openModel() of 2d segments slices, and applies the rule of its cross-validation", async () => {
  await agrees(at(`${small}2d/fold_0`), "2d_kept");
  await agrees(at(`${small}2d/fold_0/checkpoint_final.pth`), "2d", { postprocess: false });
});

test("openModel() of a checkpoint alone, by its bytes, takes the plans in it", async () => {
  await agrees(readFileSync(at(`${small}2d/fold_0/checkpoint_final.pth`)), "2d");
});

/** As nnUNetv2_export_model_to_zip: compressed, below the name of the dataset. */
function zipped(under = ""): Uint8Array {
  const files: Record<string, Uint8Array> = {};
  for (const name of readdirSync(at("Dataset901_Small"), { recursive: true, encoding: "utf8" })) {
    if (!/\.(json|pth|pkl)$/.test(name)) continue;
    files[`${under}Dataset901_Small/${name}`] = readFileSync(at(`Dataset901_Small/${name}`));
  }
  return zipSync(files, { level: 6 });
}

test("openModel() of a cascade in a zip gives the labels of its first stage to the second", async () => {
  await agrees(zipped(), "3d_cascade_fullres", { configuration: "3d_cascade_fullres" });
  await agrees(at("Dataset901_Small"), "3d_lowres", { configuration: "3d_lowres" });
});

test("openModel() of a nested zip names its configurations", async () => {
  const opened = openModel(new File([zipped("results/") as BlobPart], "model.zip"));
  const message = await opened.then(String, (e: Error) => e.message);
  assert.match(message, /model\.zip: it holds several configurations; name one of nnUNetTrainer__nnUNetPlans__2d, /);
});

test("openModel() of residual encoders paints regions, of scans turned to RAS, by every normalization", async () => {
  await agrees(resEnc("M"), "resenc_M");
  await agrees(resEnc("L"), "resenc_L");
});

test.run();
