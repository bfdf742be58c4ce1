import { test } from "uvu";
import * as assert from "uvu/assert";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { platform } from "#platform";
import { DatasetError, openDataset } from "../engine/imaging/dataset.ts";
import { loadCase } from "../engine/imaging/load_case.ts";
import { writeNifti } from "../engine/imaging/nifti.ts";
import { makeVolume } from "../engine/imaging/volume.ts";
import type { VoxelData } from "../engine/imaging/volume.ts";

const root = mkdtempSync(join(tmpdir(), "voxgrad-dataset-"));
test.after(() => rmSync(root, { recursive: true, force: true }));
let made = 0;

const AFFINE = [-1, 0, 0, 5, 0, -1, 0, 6, 0, 0, 2, 7, 0, 0, 0, 1];
const nii = (
  data: VoxelData,
  options: { affine?: number[]; channels?: number; shape?: [number, number, number] } = {},
) => writeNifti(makeVolume(data, { shape: [2, 3, 2], affine: AFFINE, name: "made", ...options }), { gzip: true });
const IMAGE = nii(Float32Array.from({ length: 12 }, (_, i) => i));
const LABEL = nii(Uint8Array.from({ length: 12 }, (_, i) => i % 3));

async function folder(json: unknown, files: Record<string, Uint8Array>): Promise<string> {
  const path = join(root, `set${made++}`);
  for (const [name, bytes] of Object.entries(files)) await platform.writeFile(join(path, name), bytes);
  if (json !== undefined) {
    await platform.writeFile(join(path, "dataset.json"), typeof json === "string" ? json : JSON.stringify(json));
  }
  return path;
}

async function refuses(promise: Promise<unknown>, ...patterns: RegExp[]): Promise<void> {
  const error = await promise.then(
    () => undefined,
    (e: unknown) => e,
  );
  assert.ok(error instanceof DatasetError, `wanted a DatasetError, got ${error}`);
  for (const pattern of patterns) assert.match((error as Error).message, pattern);
}

const MSD = {
  name: "Made",
  modality: { "0": "CT" },
  labels: { "0": "background", "1": "a", "2": "b" },
  training: [{ image: "./imagesTr/x_1.nii.gz", label: "./labelsTr/x_1.nii.gz" }],
  test: ["./imagesTs/t.nii.gz"],
};
const MSD_FILES = { "imagesTr/x_1.nii.gz": IMAGE, "labelsTr/x_1.nii.gz": LABEL, "imagesTs/t.nii.gz": IMAGE };
const NNUNET = {
  channel_names: { "0": "T1", "1": "T2" },
  labels: { background: 0, b: 2, a: 1 },
  file_ending: ".nii.gz",
};
const NNUNET_FILES = {
  "imagesTr/c1_0000.nii.gz": IMAGE,
  "imagesTr/c1_0001.nii.gz": IMAGE,
  "labelsTr/c1.nii.gz": LABEL,
  "imagesTr/._c1_0000.nii.gz": IMAGE,
  "imagesTs/c9_0000.nii.gz": IMAGE,
  "imagesTs/c9_0001.nii.gz": IMAGE,
};

test("openDataset() and loadCase() read the MSD layout", async () => {
  const dataset = await openDataset(await folder(MSD, MSD_FILES));
  assert.equal([dataset.name, dataset.channels], ["Made", ["CT"]]);
  assert.equal(dataset.labels, [
    { value: 0, name: "background" },
    { value: 1, name: "a" },
    { value: 2, name: "b" },
  ]);
  assert.is(dataset.cases[0].id, "x_1");
  assert.equal(
    dataset.testCases.map((c) => [c.id, c.label]),
    [["t", undefined]],
  );
  const { image, label } = await loadCase(dataset, dataset.cases[0]);
  assert.equal(
    [...image.data],
    Array.from({ length: 12 }, (_, i) => i),
  );
  assert.ok(label!.data instanceof Uint8Array);
  assert.is((await loadCase(dataset, dataset.testCases[0])).label, undefined);
});

test("openDataset() and loadCase() read the nnU-Net layout and join its channels", async () => {
  const second = nii(Int16Array.from({ length: 12 }, (_, i) => -i));
  const path = await folder(NNUNET, { ...NNUNET_FILES, "imagesTr/c1_0001.nii.gz": second });
  const dataset = await openDataset(`${path}/`);
  assert.equal(
    dataset.labels.map((l) => l.name),
    ["background", "a", "b"],
  );
  assert.equal(
    dataset.cases.map((c) => [c.id, c.images.length]),
    [["c1", 2]],
  );
  assert.equal(
    dataset.testCases.map((c) => c.id),
    ["c9"],
  );
  const { image } = await loadCase(dataset, dataset.cases[0]);
  assert.equal([image.channels, image.data[13]], [2, -1]);
});

test("openDataset() knows nnU-Net's ignore label", async () => {
  const json = { ...NNUNET, labels: { background: 0, a: 1, ignore: 2 } };
  const dataset = await openDataset(await folder(json, NNUNET_FILES));
  assert.equal([dataset.labels.length, dataset.ignoreLabel], [2, 2]);
  assert.is((await loadCase(dataset, dataset.cases[0])).label!.data[2], 2);
});

test("openDataset() names the file at fault and the fix", async () => {
  const open = async (json: unknown, files: Record<string, Uint8Array> = MSD_FILES) =>
    openDataset(await folder(json, files));
  await refuses(open(undefined), /dataset\.json: there is no such file\. Name a folder/);
  await refuses(open("{"), /it is no JSON/);
  await refuses(open([]), /it holds no object/);
  await refuses(open({ ...MSD, labels: undefined }), /it has no labels\. Write them/);
  await refuses(open({ ...MSD, labels: { background: 0, a: 2 } }), /label values are 0, 2\. Number the labels/);
  await refuses(open({ ...MSD, labels: { background: 0, whole: [1, 2], a: 1 } }), /"whole" is a region/);
  await refuses(open({ ...MSD, labels: { background: 0, a: "" } }), /no whole value/);
  await refuses(open({ ...MSD, labels: { "0": "background" } }), /no label beside the background/);
  await refuses(open({ ...MSD, modality: undefined }), /neither channel_names nor modality/);
  await refuses(open({ ...MSD, modality: { "1": "CT" } }), /its channels are 1/);
  await refuses(open({ ...MSD, file_ending: ".nrrd" }), /file_ending is "\.nrrd"/);
  await refuses(open({ ...MSD, training: [{ image: "./imagesTr/x_1.nii.gz" }] }), /training\[0\] is no pair/);
  await refuses(open({ ...MSD, training: [...MSD.training, ...MSD.training] }), /x_1 is listed twice/);
  await refuses(open(MSD, { "imagesTr/x_1.nii.gz": IMAGE }), /labelsTr\/x_1\.nii\.gz: no such file.*Add it/);
  await refuses(open(NNUNET, {}), /no case found\. Put images/);
  await refuses(open(NNUNET, { "imagesTr/c1.nii.gz": IMAGE }), /c1\.nii\.gz: its name .* Call it c1_0000\.nii\.gz/);
  await refuses(
    open(NNUNET, { "imagesTr/c1_0000.nii.gz": IMAGE }),
    /c1_0001\.nii\.gz: channel 1 of case c1 is missing/,
  );
  await refuses(open(NNUNET, { ...NNUNET_FILES, "imagesTr/c1_0002.nii.gz": IMAGE }), /c1_0002.*names 2 channel/);
  const { "labelsTr/c1.nii.gz": _, ...unlabelled } = NNUNET_FILES;
  await refuses(open(NNUNET, unlabelled), /labelsTr\/c1\.nii\.gz: case c1 has no label/);
});

test("loadCase() refuses what would train on nonsense", async () => {
  const load = async (files: Record<string, Uint8Array>) => {
    const dataset = await openDataset(await folder(MSD, { ...MSD_FILES, ...files }));
    return loadCase(dataset, dataset.cases[0]);
  };
  const label = new Uint8Array(12);
  const shifted = AFFINE.map((v, i) => (i === 3 ? v + 0.2 : v));
  const nearly = AFFINE.map((v, i) => (i === 3 ? v + 0.01 : v));
  const flipped = AFFINE.map((v, i) => (i === 0 ? 1 : i === 3 ? 4 : v));
  await load({ "labelsTr/x_1.nii.gz": nii(label, { affine: nearly }) });
  await refuses(
    load({ "labelsTr/x_1.nii.gz": nii(label, { affine: shifted }) }),
    /x_1\.nii\.gz: it lies up to 0\.200 mm/,
  );
  await refuses(load({ "labelsTr/x_1.nii.gz": nii(label, { affine: flipped }) }), /axes RPS .*against .*axes LPS/);
  await refuses(load({ "labelsTr/x_1.nii.gz": nii(label, { shape: [3, 2, 2] }) }), /its shape is 3 x 2 x 2/);
  for (const bad of [3, 0.5, -1]) {
    const values = nii(Float32Array.from({ length: 12 }, (_, i) => (i === 5 ? bad : 1)));
    await refuses(
      load({ "labelsTr/x_1.nii.gz": values }),
      new RegExp(`it holds ${bad} \\(1 voxels\\).*0 background, 1 a, 2 b`),
    );
  }
  await refuses(load({ "imagesTr/x_1.nii.gz": nii(new Float32Array(12).fill(NaN)) }), /12 voxels are NaN/);
  const flat = AFFINE.map((v, i) => (i === 10 ? 0 : v));
  await refuses(
    load({ "imagesTr/x_1.nii.gz": nii(new Float32Array(12), { affine: flat }) }),
    /voxel spacing is 1 x 1 x 0 mm/,
  );
  await refuses(load({ "imagesTr/x_1.nii.gz": nii(new Float32Array(24), { channels: 2 }) }), /2 channel\(s\), the dataset 1: CT/);
});

test.run();
