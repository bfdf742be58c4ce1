import { test } from "uvu";
import * as assert from "uvu/assert";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { platform } from "#platform";
import { DatasetError } from "../../../engine/imaging/dataset/finding.ts";
import { openDataset } from "../../../engine/imaging/dataset/dataset.ts";
import { loadCase } from "../../../engine/imaging/dataset/load_case.ts";
import { writeNifti } from "../../../engine/imaging/mod.ts";
import { makeVolume } from "../../../engine/imaging/volume/volume.ts";
import type { VoxelData } from "../../../engine/imaging/volume/volume.ts";
import { failure } from "../../helpers/refuse.ts";

const root = mkdtempSync(join(tmpdir(), "voxgrad-dataset-"));
test.after(() => rmSync(root, { recursive: true, force: true }));
let made = 0;

const AFFINE = [-1, 0, 0, 5, 0, -1, 0, 6, 0, 0, 2, 7, 0, 0, 0, 1];
const nii = (
  data: VoxelData,
  options: { affine?: number[]; channels?: number; shape?: [number, number, number] } = {},
) => writeNifti(makeVolume(data, { shape: [2, 3, 2], affine: AFFINE, name: "made", ...options }), { gzip: true });
const IMAGE = nii(Float32Array.from({ length: 12 }, (_, i) => i));
const LABEL_PLAIN = writeNifti(
  makeVolume(Uint8Array.from({ length: 12 }, (_, i) => i % 3), { shape: [2, 3, 2], affine: AFFINE, name: "made" }),
);
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
  const { message } = await failure(promise, DatasetError);
  for (const pattern of patterns) assert.match(message, pattern);
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

test("openDataset() knows regions, in the order of regions_class_order", async () => {
  const labels = { background: 0, whole: [1, 2, 3], core: [2, 3], enhancing: 3, ignore: 4 };
  const json = { ...NNUNET, labels, regions_class_order: [1, 2, 3] };
  const dataset = await openDataset(await folder(json, NNUNET_FILES));
  assert.equal(dataset.regions, [
    { name: "whole", values: [1, 2, 3], value: 1 },
    { name: "core", values: [2, 3], value: 2 },
    { name: "enhancing", values: [3], value: 3 },
  ]);
  assert.equal(dataset.labels.map((label) => label.name), ["background", "label 1", "label 2", "enhancing"]);
  assert.is(dataset.ignoreLabel, 4);
  const plain = await openDataset(await folder(NNUNET, NNUNET_FILES));
  assert.is(plain.regions, undefined);
  const open = async (change: object) => openDataset(await folder({ ...json, ...change }, NNUNET_FILES));
  await refuses(open({ regions_class_order: [1, 2] }), /regions_class_order is \[1,2\]/);
  await refuses(open({ regions_class_order: [1, 1, 3] }), /paints "core" with 1, which is none of 2, 3/);
  await refuses(open({ labels: { ...labels, whole: [1, 2, 5], ignore: 6 } }), /label values are 0, 1, 2, 3, 5/);
  await refuses(open({ labels: { background: 0, a: 1, b: 1 } }), /"a" and "b" both have the value 1/);
});

test("openDataset() knows which labels a case has", async () => {
  const open = async (json: object, files = NNUNET_FILES) => openDataset(await folder({ ...NNUNET, ...json }, files));
  const present = (list: unknown) => open({ labels_present: { c1: list } });
  assert.equal((await present(["b"])).cases[0].labelsPresent, [2]);
  assert.equal((await present(["b", 1, "background", "2"])).cases[0].labelsPresent, [1, 2]);
  assert.equal((await present([])).cases[0].labelsPresent, []);
  assert.is((await open({})).cases[0].labelsPresent, undefined);
  const regions = { background: 0, whole: [1, 2], core: 2 };
  const some = await open({ labels: regions, regions_class_order: [1, 2], labels_present: { c1: ["whole"] } });
  assert.equal(some.cases[0].labelsPresent, [1, 2]);
  await refuses(present(["liver"]), /labels_present of c1 has "liver", which is no label.*background, 1, a, 2, b/);
  await refuses(present([3]), /has 3, which is no label/);
  await refuses(present("a"), /labels_present of c1 is no list/);
  await refuses(open({ labels_present: { c2: ["a"] } }), /names c2, which is no case/);
  const training = [{ ...MSD.training[0], labels_present: ["a"] }];
  const msd = await openDataset(await folder({ ...MSD, training }, MSD_FILES));
  assert.equal(msd.cases[0].labelsPresent, [1]);
  await refuses(loadCase(msd, msd.cases[0]), /it holds 2 b \(4 voxels\), which labels_present of x_1 leaves out/);
  const both = await openDataset(await folder({ ...MSD, labels_present: { x_1: [1, 2] } }, MSD_FILES));
  assert.equal((await loadCase(both, both.cases[0])).labelsPresent, [1, 2]);
});

test("openDataset() takes files listed by nnU-Net's dataset entry, and .hdr/.img pairs", async () => {
  const dataset = {
    c1: { images: ["imagesTr/c1_0000.nii.gz", "imagesTr/c1_0001.nii.gz"], label: "labelsTr/c1.nii.gz" },
  };
  const listed = await openDataset(await folder({ ...NNUNET, dataset }, NNUNET_FILES));
  assert.equal(listed.cases.map((item) => [item.id, item.images.length]), [["c1", 2]]);
  const [hdr, img] = [new Uint8Array(LABEL_PLAIN.slice(0, 348)), new Uint8Array(LABEL_PLAIN.slice(352))];
  hdr.set([110, 105, 49, 0], 344);
  new DataView(hdr.buffer).setFloat32(108, 0, true);
  const files = { "images/a.hdr": hdr, "images/a.img": img, "labels/a.hdr": hdr, "labels/a.img": img };
  const plain = await openDataset(await folder(undefined, files));
  assert.is(plain.cases.length, 1);
  assert.equal([...(await loadCase(plain, plain.cases[0])).label!.data].slice(0, 3), [0, 1, 2]);
  const raw = { ...NNUNET, channel_names: { 0: "T1" }, file_ending: ".img" };
  const named = {
    "imagesTr/c_0000.hdr": hdr,
    "imagesTr/c_0000.img": img,
    "labelsTr/c.hdr": hdr,
    "labelsTr/c.img": img,
  };
  const pairs = await openDataset(await folder(raw, named));
  assert.equal([...(await loadCase(pairs, pairs.cases[0])).image.data].slice(0, 3), [0, 1, 2]);
});

test("openDataset() pairs plain folders and finds the labels in the files", async () => {
  const files = {
    "images/x.nii.gz": IMAGE,
    "images/y_0007.nii.gz": IMAGE,
    "masks/x.nii.gz": LABEL,
    "masks/y_0007_seg.nii.gz": LABEL,
  };
  const path = await folder(undefined, files);
  for (
    const dataset of [
      await openDataset(path),
      await openDataset({ images: `${path}/images/`, labels: `${path}/masks` }),
    ]
  ) {
    assert.equal(dataset.cases.map((item) => item.id), ["x", "y_0007"]);
    assert.equal(dataset.labels.map((label) => label.name), ["background", "label 1", "label 2"]);
    assert.equal(dataset.channels, ["channel 0"]);
    assert.is((await loadCase(dataset, dataset.cases[1])).label!.data[2], 2);
  }
  const two = { "img/a_0000.nii": IMAGE, "img/a_0001.nii": IMAGE, "label/a.nii.gz": LABEL };
  const channels = await openDataset(await folder(undefined, two));
  assert.equal([channels.channels.length, channels.cases[0].images.length], [2, 2]);
  const open = async (more: Record<string, Uint8Array>) => openDataset(await folder(undefined, { ...two, ...more }));
  await refuses(open({ "img/b_0000.nii": IMAGE }), /label has no file named b/);
  await refuses(open({ "label/b.nii": LABEL }), /b\.nii: .*img has no such image/);
  await refuses(
    open({ "img/b.nii": IMAGE, "img/b_0001.nii": IMAGE, "label/b.nii": LABEL, "img/a_0002.nii": IMAGE }),
    /case b has other/,
  );
  await refuses(
    open({ "label/a.nii.gz": nii(new Uint8Array(12).fill(255)) }),
    /label: the label files hold 0, 255 alone\. Number .* write 1 for 255/,
  );
  await refuses(
    open({ "label/a.nii.gz": nii(new Uint8Array(12).fill(2)) }),
    /hold 0, 2 alone. Number .* write 1 for 2$/,
  );
  await refuses(open({ "label/a.nii.gz": nii(new Uint8Array(12)) }), /hold 0 alone. Mark/);
});

test("openDataset() pairs the files of one folder by their suffixes", async () => {
  const files = {
    "p_01_image.nii.gz": IMAGE,
    "p_01_mask.nii.gz": LABEL,
    "p_02.nii.gz": IMAGE,
    "p_02_seg.nii.gz": LABEL,
    "notes.txt": LABEL,
  };
  const dataset = await openDataset(await folder(undefined, files));
  assert.equal(dataset.cases.map((item) => item.id), ["p_01", "p_02"]);
  assert.is(dataset.labels.length, 3);
  const { image, label } = await loadCase(dataset, dataset.cases[0]);
  assert.equal([image.data[2], label!.data[2]], [2, 2]);
  const apart = await openDataset(await folder(undefined, { "images/a_image.nii": IMAGE, "masks/a_mask.nii": LABEL }));
  assert.equal(apart.cases.map((item) => item.id), ["a"]);
  const channels = {
    "b_0000.nii": IMAGE,
    "b_0001.nii": IMAGE,
    "b_mask.nii": LABEL,
    "c_0000_img.nii": IMAGE,
    "c_0001_img.nii": IMAGE,
    "c_mask.nii": LABEL,
  };
  assert.equal((await openDataset(await folder(undefined, channels))).cases.map((item) => item.images.length), [2, 2]);
  const open = async (more: Record<string, Uint8Array>) => openDataset(await folder(undefined, { ...files, ...more }));
  await refuses(open({ "p_03_image.nii": IMAGE }), /p_03_image\.nii: .* has no label of p_03, such as p_03_mask/);
  await refuses(open({ "p_03_mask.nii": LABEL }), /p_03_mask\.nii: .* has no such image/);
  await refuses(open({ "p_01_seg.nii.gz": LABEL }), /p_01_seg\.nii\.gz: p_01_mask\.nii\.gz is the label of p_01 too/);
  await refuses(
    open({ "p_02_image.nii.gz": IMAGE }),
    /p_02.*nii\.gz is the image of p_02 too\. Keep in the folder the one/,
  );
  await refuses(openDataset(await folder(undefined, { "a.nii": IMAGE, "b_mask.nii": LABEL })), /has no label of a/);
  await refuses(
    openDataset(await folder(undefined, { "a.nii": IMAGE, "b.nii": IMAGE })),
    /it is no dataset that is known: .* holds a\.nii, b\.nii\. Name a folder/,
  );
});

test("openDataset() names the file at fault and the fix", async () => {
  const open = async (json: unknown, files: Record<string, Uint8Array> = MSD_FILES) =>
    openDataset(await folder(json, files));
  await refuses(open(undefined, {}), /set\d+: there is no such folder/);
  await refuses(open("{"), /it is no JSON/);
  await refuses(open([]), /it holds no object/);
  await refuses(open({ ...MSD, labels: undefined }), /it has no labels\. Write them/);
  await refuses(open({ ...MSD, labels: { background: 0, a: 2 } }), /label values are 0, 2\. Number the labels/);
  await refuses(
    open({ ...MSD, labels: { background: 0, whole: [1, 2], a: 1 } }),
    /regions, and it has no regions_class_order. Add .*whole, a/,
  );
  await refuses(open({ ...MSD, labels: { background: 0, a: "" } }), /no whole value/);
  await refuses(open({ ...MSD, labels: { "0": "background" } }), /no label beside the background/);
  for (const value of [null, true, [[1]], {}, "0x1", " 1", "1e0", -1, 1.5, [null], []]) {
    await refuses(open({ ...MSD, labels: { background: 0, a: value } }), /label "a": .* has no whole value/);
  }
  await refuses(open({ ...MSD, labels: { "0": "background", "1": "a", "2": "a" } }), /two labels are called "a"/);
  await refuses(open({ ...MSD, labels: { background: 0, "": 1 } }), /the label of 1 has no name/);
  const many = Object.fromEntries(Array.from({ length: 256 }, (_, k) => [`n${k}`, k]));
  await refuses(open({ ...MSD, labels: many }), /names 256 labels, at most 255/);
  await refuses(open({ ...MSD, modality: { "0": ["CT"] } }), /channel "0" is called \["CT"\]/);
  await refuses(open({ ...MSD, modality: { "": "CT" } }), /its channels are/);
  await refuses(open({ ...MSD, modality: undefined }), /neither channel_names nor modality/);
  await refuses(open({ ...MSD, modality: { "1": "CT" } }), /its channels are 1/);
  await refuses(open({ ...MSD, file_ending: ".png" }), /file_ending is "\.png"/);
  await refuses(open({ ...MSD, training: [{ image: "./imagesTr/x_1.nii.gz" }] }), /training\[0\] is no pair/);
  await refuses(open({ ...MSD, training: [...MSD.training, ...MSD.training] }), /x_1 is listed twice/);
  await refuses(open(MSD, { "imagesTr/x_1.nii.gz": IMAGE }), /labelsTr\/x_1\.nii\.gz: no such file.*Add it/);
  await refuses(open(NNUNET, {}), /no case found\. Put images/);
  await refuses(
    open(NNUNET, { "imagesTr/c1.nii.gz": IMAGE }),
    /c1\.nii\.gz: its name .* looked for as c1_0000\.nii\.gz/,
  );
  await refuses(
    open(NNUNET, { "imagesTr/c1_0000.nii.gz": IMAGE }),
    /c1_0001\.nii\.gz: channel 1 of case c1 is missing/,
  );
  await refuses(open(NNUNET, { ...NNUNET_FILES, "imagesTr/c1_0002.nii.gz": IMAGE }), /c1_0002.*names 2 channel/);
  const { "labelsTr/c1.nii.gz": _, ...unlabeled } = NNUNET_FILES;
  await refuses(open(NNUNET, unlabeled), /labelsTr\/c1\.nii\.gz: case c1 has no label/);
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
      new RegExp(`it holds ${bad} \\(1 voxels\\).*${bad === 0.5 ? "not integers" : "0 background, 1 a, 2 b"}`),
    );
  }
  await refuses(load({ "imagesTr/x_1.nii.gz": nii(new Float32Array(12).fill(NaN)) }), /12 voxels are NaN/);
  const flat = AFFINE.map((v, i) => (i === 10 ? 0 : v));
  await refuses(
    load({ "imagesTr/x_1.nii.gz": nii(new Float32Array(12), { affine: flat }) }),
    /voxel spacing is 1 x 1 x 0 mm/,
  );
  await refuses(
    load({ "imagesTr/x_1.nii.gz": nii(new Float32Array(24), { channels: 2 }) }),
    /2 channel\(s\), wanted 1: CT/,
  );
});

test.run();
