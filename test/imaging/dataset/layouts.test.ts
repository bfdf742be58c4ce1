// Datasets as people have them: each layout opens with the right cases, channels and labels, or is refused by what was
// looked for and what is there, without advice that would lose data.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { checkDataset, loadCase, makeVolume, openDataset, scaling, writeNifti } from "../../../engine/imaging/mod.ts";
import { findImages } from "../../../engine/train/mod.ts";

const root = mkdtempSync(join(tmpdir(), "voxgrad-layouts-"));
test.after(() => rmSync(root, { recursive: true, force: true }));
let made = 0;

const SHAPE = [3, 4, 5] as const;
const volume = (value: (k: number) => number, dtype: "uint8" | "float32" | "int16") =>
  writeNifti(
    makeVolume(Float32Array.from({ length: 60 }, (_, k) => value(k)), { shape: SHAPE, affine: scaling([1, 1, 1]) }),
    { dtype },
  );
/** An image whose first voxel says which it is. */
const image = (first: number) => volume((k) => (k === 0 ? first : k % 7), "float32");
const label = (foreground = 1) => volume((k) => (k % 5 === 0 ? foreground : 0), "int16");

function folder(files: Record<string, Uint8Array | string>, json?: object): string {
  const path = join(root, `set${made++}`);
  mkdirSync(path);
  for (const [name, bytes] of Object.entries(files)) {
    mkdirSync(dirname(join(path, name)), { recursive: true });
    writeFileSync(join(path, name), bytes);
  }
  if (json) writeFileSync(join(path, "dataset.json"), JSON.stringify(json));
  return path;
}

/** Opens, loads every case and gives its id, the first voxel of each channel, and the label's values. */
async function opened(path: string) {
  const dataset = await openDataset(path);
  const cases = [];
  for (const item of dataset.cases) {
    const { image, label } = await loadCase(dataset, item);
    const firsts = Array.from({ length: image.channels }, (_, c) => image.data[c * 60]);
    cases.push([item.id, firsts, [...new Set(label!.data)].sort()]);
  }
  return { dataset, cases };
}

const errorsOf = async (path: string) => (await checkDataset(path)).filter(({ severity }) => severity === "error");
const allText = async (path: string) =>
  (await checkDataset(path)).map((each) => `${each.file}: ${each.problem}. ${each.fix}`).join("\n");

const ONE = { channel_names: { 0: "CT" }, labels: { background: 0, k: 1 } };
const TWO = { channel_names: { 0: "T1", 1: "T2" }, labels: { background: 0, k: 1 } };
const values = [0, 1];

test("openDataset() reads nnU-Net v1 lists, whose images are CASE.nii and whose files CASE_0000.nii", async () => {
  const training = ["c0", "c1"].map((id) => ({ image: `./imagesTr/${id}.nii`, label: `./labelsTr/${id}.nii` }));
  const files = {
    "imagesTr/c0_0000.nii": image(10),
    "imagesTr/c0_0001.nii": image(11),
    "imagesTr/c1_0000.nii": image(20),
    "imagesTr/c1_0001.nii": image(21),
    "labelsTr/c0.nii": label(),
    "labelsTr/c1.nii": label(),
    "imagesTs/t_0000.nii": image(30),
    "imagesTs/t_0001.nii": image(31),
  };
  const path = folder(files, { ...TWO, training, test: ["./imagesTs/t.nii"], numTraining: 2 });
  const { dataset, cases } = await opened(path);
  assert.equal(cases, [["c0", [10, 11], values], ["c1", [20, 21], values]]);
  assert.equal(dataset.testCases.map(({ id, images }) => [id, images.length]), [["t", 2]]);
  assert.equal(await checkDataset(path), []);
  // The same with the first channel listed.
  const first = training.map((each) => ({ ...each, image: each.image.replace(".nii", "_0000.nii") }));
  assert.equal((await opened(folder(files, { ...TWO, training: first }))).cases, cases);
  // A channel that is missing is named.
  const { "imagesTr/c1_0001.nii": _, ...fewer } = files;
  const [fault, ...others] = await errorsOf(folder(fewer, { ...TWO, training }));
  assert.match(`${fault.file} ${fault.problem}`, /imagesTr\/c1_0001\.nii channel 1 of case c1 is missing/);
  assert.is(others.length, 0);
});

test("openDataset() takes an image as a list of paths, and paths that are absolute", async () => {
  const files = { "a/x.nii": image(1), "a/y.nii": image(2), "b/l.nii": label() };
  const lists = folder(files, { ...TWO, training: [{ image: ["a/x.nii", "a/y.nii"], label: "b/l.nii" }] });
  assert.equal((await opened(lists)).cases, [["x", [1, 2], values]]);
  const elsewhere = folder(files);
  const dataset = {
    case_7: { images: [`${elsewhere}/a/x.nii`, `${elsewhere}/a/y.nii`], label: `${elsewhere}/b/l.nii` },
  };
  assert.equal((await opened(folder({}, { ...TWO, dataset }))).cases, [["case_7", [1, 2], values]]);
  const windows = folder({ "imagesTr/x.nii": image(1), "labelsTr/x.nii": label() }, {
    ...ONE,
    training: [{ image: ".\\imagesTr\\x.nii", label: "labelsTr\\x.nii" }],
  });
  assert.equal((await opened(windows)).cases, [["x", [1], values]]);
  const variable = folder({}, { ...ONE, dataset: { c: { images: ["$DATA/x.nii"], label: "$DATA/y.nii" } } });
  assert.match(await allText(variable), /Variables in paths are not replaced/);
});

test("openDataset() finds an ending that dataset.json lacks, and takes capitals and other label endings", async () => {
  const plain = folder({ "imagesTr/c_0000.nii": image(4), "labelsTr/c.nii": label() }, ONE);
  assert.equal((await opened(plain)).cases, [["c", [4], values]]);
  const capitals = folder({ "imagesTr/c_0000.NII": image(4), "labelsTr/c.Nii": label() }, {
    ...ONE,
    file_ending: ".nii",
  });
  assert.equal((await opened(capitals)).cases, [["c", [4], values]]);
  assert.equal(await checkDataset(capitals), []);
  const listed = folder({ "imagesTr/c.NII": image(4), "labelsTr/c.nii": label() }, {
    ...ONE,
    training: [{ image: "imagesTr/c.nii", label: "labelsTr/c.nii" }],
  });
  assert.equal((await opened(listed)).cases, [["c", [4], values]]);
  const mixed = folder({ "imagesTr/c_0000.nii": image(4), "labelsTr/c.NII": label() }, {
    ...ONE,
    file_ending: ".nii.gz",
  });
  assert.equal((await opened(mixed)).cases, [["c", [4], values]]);
  const pair = (bytes: Uint8Array): [Uint8Array, Uint8Array] => {
    const header = bytes.slice(0, 348);
    header.set([110, 105, 49, 0], 344);
    new DataView(header.buffer).setFloat32(108, 0, true);
    return [header, bytes.slice(352)];
  };
  const [[header, voxels], [labelHeader, labels]] = [pair(image(4)), pair(label())];
  const halves = {
    "imagesTr/c_0000.HDR": header,
    "imagesTr/c_0000.IMG": voxels,
    "labelsTr/c.hdr": labelHeader,
    "labelsTr/c.img": labels,
  };
  assert.equal((await opened(folder(halves, ONE))).cases, [["c", [4], values]]);
  const whole = folder({ "imagesTr/CT_2021.nii": image(4), "labelsTr/CT_2021.nii": label() }, ONE);
  assert.equal((await opened(whole)).cases, [["CT_2021", [4], values]]);
});

test("openDataset() tells patients apart by their folders where files have one name", async () => {
  const files = {
    "imagesTr/p0/ct.nii": image(1),
    "imagesTr/p1/ct.nii": image(2),
    "labelsTr/p0/ct.nii": label(),
    "labelsTr/p1/ct.nii": label(),
  };
  const training = ["p0", "p1"].map((id) => ({ image: `imagesTr/${id}/ct.nii`, label: `labelsTr/${id}/ct.nii` }));
  const path = folder(files, { ...ONE, training });
  const wanted = [["p0_ct", [1], values], ["p1_ct", [2], values]];
  assert.equal((await opened(path)).cases, wanted);
  // The folders hold what is used.
  assert.equal(await checkDataset(path), []);
  assert.equal((await opened(folder(files))).cases, wanted);
  const beside = folder({
    "p0/image.nii": image(1),
    "p0/label.nii": label(),
    "p1/image.nii": image(2),
    "p1/label.nii": label(),
    "p2/whatever.nii": image(3),
    "p2/mask.nii": label(),
  });
  assert.equal((await opened(beside)).cases, [["p0", [1], values], ["p1", [2], values], ["p2", [3], values]]);
  // What is truly there twice is still refused.
  assert.match(
    await allText(folder(files, { ...ONE, training: [...training, training[0]] })),
    /p0_ct is listed twice/,
  );
});

test("openDataset() pairs names that are alike in both folders, LiTS's and BraTS's", async () => {
  const alike = folder({ "images/pat0_seg.nii": image(1), "labels/pat0_seg.nii": label() });
  assert.equal((await opened(alike)).cases, [["pat0_seg", [1], values]]);
  const lits = {
    "volume-0.nii": image(1),
    "volume-10.nii": image(2),
    "segmentation-0.nii": label(),
    "segmentation-10.nii": label(),
  };
  const wanted = [["volume-0", [1], values], ["volume-10", [2], values]];
  assert.equal((await opened(folder(lits))).cases, wanted);
  const two = Object.fromEntries(
    Object.entries(lits).map(([name, bytes]) => [`${name.startsWith("v") ? "images" : "labels"}/${name}`, bytes]),
  );
  assert.equal((await opened(folder(two))).cases, wanted);
  const kinds = ["t1", "flair", "t2", "t1ce"];
  const brats = Object.fromEntries(["B_001", "B_002"].flatMap((id, k) => [
    ...kinds.map((kind, c) => [`${id}/${id}_${kind}.nii`, image(10 * k + c)] as const),
    [`${id}/${id}_seg.nii`, label()] as const,
  ]));
  const { dataset, cases } = await opened(folder(brats));
  assert.equal(dataset.channels, ["flair", "t1", "t1ce", "t2"]);
  assert.equal(cases, [["B_001", [1, 0, 3, 2], values], ["B_002", [11, 10, 13, 12], values]]);
  const btcv = folder({ "img0001.nii": image(1), "label0001.nii": label() });
  assert.equal((await opened(btcv)).cases, [["img0001", [1], values]]);
  const { "B_002/B_002_t2.nii": _, ...fewer } = brats;
  assert.match(await allText(folder(fewer)), /case B_002 has other channels \(flair, t1, t1ce\)/);
});

test("checkDataset() says of masks of 0 and 255 what they hold and what to write", async () => {
  const files = {
    "images/a.nii": image(1),
    "masks/a.nii": label(255),
    "images/b.nii": image(2),
    "masks/b.nii": label(255),
  };
  const text = await allText(folder(files));
  assert.match(text, /masks: the label files hold 0, 255 alone\. .*write 1 for 255$/);
  assert.not.match(text, /dataset\.json/);
  const many = { "images/a.nii": image(1), "masks/a.nii": volume((k) => [0, 205, 420, 850][k % 4], "int16") };
  assert.match(await allText(folder(many)), /hold 0, 205, 420, 850 alone\. .*write 1 for 205, 2 for 420, 3 for 850$/);
  const described = folder({ "imagesTr/a_0000.nii": image(1), "labelsTr/a.nii": label(255) }, ONE);
  assert.match(
    await allText(described),
    /holds 255 \(12 voxels\), which dataset\.json does not declare .*If 255 means k, write 1/,
  );
});

test("openDataset() and checkDataset() name what a layout lacks and never advise to remove or rename", async () => {
  const cases = [
    folder({ "imagesTr/c1.001.0001.nii": image(1), "labelsTr/c1.nii": label() }, ONE),
    folder({ "imagesTr/a.dcm": "x", "labelsTr/a.nii": label() }, { ...ONE, numTraining: 3 }),
    folder({ "imagesTr/c_0000.nii": image(1), "imagesTr/d_0000.nii": image(1), "labelsTr/c.nii": label() }, ONE),
    folder({ "imagesTr/c_0000.nii": image(1), "imagesTr/c_0000.nii.gz": image(1), "labelsTr/c.nii": label() }, ONE),
    folder({
      "imagesTr/a.nii": image(1),
      "imagesTr/p/b.nii": image(1),
      "labelsTr/a.nii": label(),
      "labelsTr/notes.txt": "",
    }, { ...ONE, training: [{ image: "imagesTr/a.nii", label: "labelsTr/a.nii" }] }),
    folder({ "images/a.nii": image(1), "labels/b.nii": label() }),
    folder({ "images/a.nii": image(1), "labels/a.nii": label(), "labels/b.nii": label() }),
    folder({ "a/1.dcm": "", "b/2.dcm": "" }),
    folder({
      "inner/imagesTr/c_0000.nii": image(1),
      "inner/labelsTr/c.nii": label(),
      "inner/dataset.json": JSON.stringify(ONE),
    }),
  ];
  const texts = [];
  for (const path of cases) texts.push(await allText(path));
  for (const text of texts) {
    assert.ok(text.length > 0);
    assert.not.match(text, /\b(remove|delete|rename|Call it)\b|numTraining": 0/i);
  }
  assert.match(texts[0], /looked for as c1\.001\.0001_0000/);
  assert.match(texts[1], /imagesTr holds a\.dcm/);
  assert.match(texts[2], /case d has no label\..*labelsTr holds c\.nii/);
  assert.match(texts[3], /are both channel 0 of case c\. Say by "file_ending"/);
  assert.match(texts[4], /imagesTr\/p: no case uses the 1 images in it: b\.nii/);
  assert.match(texts[5], /images: a\.nii; labels: b\.nii/);
  for (const text of [texts[5], texts[6]]) assert.not.match(text, /dataset\.json/);
  assert.match(texts[7], /is no dataset that is known: .* holds a, b\. /);
  assert.match(texts[8], /Name the dataset in it: .*\/inner/);
});

test("findImages() finds images as people have them, and says what is there where it finds none", async () => {
  const list = async (path: string, channels: number | string[]) =>
    (await findImages(path, channels as number)).map((
      { id, images },
    ) => [id, ...images.map((each) => each.slice(path.length + 1))]);
  const capitals = folder({ "a.NII.GZ": "", "b_0000.Nii": "" });
  assert.equal(await list(capitals, 1), [["a", "a.NII.GZ"], ["b", "b_0000.Nii"]]);
  const patients = folder({ "p0/ct.nii": "", "p1/ct.nii": "", "p1/notes.txt": "" });
  assert.equal(await list(patients, 1), [["p0_ct", "p0/ct.nii"], ["p1_ct", "p1/ct.nii"]]);
  const brats = folder({ "B1/B1_t1.nii": "", "B1/B1_flair.nii": "", "B1/B1_seg.nii": "" });
  assert.equal(await list(brats, ["FLAIR", "T1"]), [["B1", "B1/B1_flair.nii", "B1/B1_t1.nii"]]);
  const empty = folder({ "a.png": "", "b.png": "" });
  await findImages(empty, 1).then(() => assert.unreachable(), (error: Error) => {
    assert.match(error.message, /no image in it.*\.nii, \.nii\.gz.* holds a\.png, b\.png/);
  });
});

test("checkDataset() and loadCase() scale labels to integers alike, or refuse them by their scale", async () => {
  // As nibabel writes a float array of 0, 1, 2, 3 as an integer type: a slope, and an intercept.
  for (const [code, bytes, top] of [[2, 1, 255], [4, 2, 65535], [8, 4, 4294967295], [768, 4, 4294967295]] as const) {
    const scaled = (step: number) => {
      const file = new Uint8Array(352 + 60 * bytes);
      file.set(label().subarray(0, 352));
      const view = new DataView(file.buffer);
      view.setInt16(70, code, true);
      view.setInt16(72, 8 * bytes, true);
      const signed = code === 4 || code === 8;
      const [slope, intercept] = [(3 * step) / top, signed ? (3 * step) / 2 : 0];
      view.setFloat32(112, slope, true);
      view.setFloat32(116, intercept, true);
      for (let k = 0; k < 60; k++) {
        const stored = Math.round(((k % 4) * step - intercept) / Math.fround(slope));
        const at = 352 + k * bytes;
        if (code === 2) view.setUint8(at, stored);
        else if (code === 4) view.setInt16(at, Math.max(-32768, Math.min(32767, stored)), true);
        else if (code === 8) view.setInt32(at, Math.max(-(2 ** 31), Math.min(2 ** 31 - 1, stored)), true);
        else view.setUint32(at, Math.min(stored, top), true);
      }
      return file;
    };
    const json = { channel_names: { 0: "CT" }, labels: { background: 0, a: 1, b: 2, c: 3 } };
    const path = folder({ "imagesTr/c_0000.nii": image(1), "labelsTr/c.nii": scaled(1) }, json);
    assert.equal(await errorsOf(path), [], `datatype ${code}`);
    const { cases } = await opened(path);
    assert.equal(cases[0][2], [0, 1, 2, 3], `datatype ${code}`);
    const half = folder({ "imagesTr/c_0000.nii": image(1), "labelsTr/c.nii": scaled(0.5) }, json);
    assert.match(await allText(half), /which are not integers; its header scales .*scl_slope/, `datatype ${code}`);
  }
});

test("checkDataset() and loadCase() name the number of voxels that float32 does not hold", async () => {
  const data = Float64Array.from({ length: 60 }, (_, k) => (k === 7 ? 1e39 : k === 9 ? -2e38 : k));
  const wide = writeNifti(makeVolume(data, { shape: SHAPE, affine: scaling([1, 1, 1]) }), { dtype: "float64" });
  // Integers of 32 bits that a scale of the header takes beyond.
  const steep = writeNifti(
    makeVolume(Int32Array.from(data, (v) => Math.min(v, 1e9)), { shape: SHAPE, affine: scaling([1, 1, 1]) }),
    { dtype: "int32" },
  );
  new DataView(steep.buffer).setFloat32(112, 1e38, true);
  for (
    const [file, wanted] of [[wide, /^1 voxels are beyond float32, up to 1e\+39$/], [
      steep,
      /^\d+ voxels are beyond float32.*scl_slope/,
    ]] as const
  ) {
    const path = folder({ "imagesTr/c_0000.nii": file, "labelsTr/c.nii": label() }, ONE);
    const errors = await errorsOf(path);
    assert.is(errors.length, 1);
    assert.match(errors[0].problem, wanted);
    await opened(path).then(
      () => assert.unreachable(),
      (error: Error) => assert.match(error.message, /c_0000\.nii: \d+ voxels are beyond float32/),
    );
  }
});

test("openDataset() takes a case's name only as one safe segment of a path", async () => {
  const files = { "imagesTr/x.nii": image(1), "labelsTr/x.nii": label() };
  const pair = { images: ["imagesTr/x.nii"], label: "labelsTr/x.nii" };
  for (
    const id of [
      "../../out",
      "/elsewhere/out",
      "a/b",
      "a\\b",
      "..",
      ".",
      "",
      "a\u0000b",
      "a\nb",
      "\u001b[2J",
      "x".repeat(201),
      "é".repeat(101),
      "\ud800",
    ]
  ) {
    const path = folder(files, { ...ONE, dataset: { [id]: pair, good: pair } });
    const errors = await errorsOf(path);
    assert.is(errors.length, 1, JSON.stringify(id));
    assert.match(errors[0].problem, /^a case is called ".*" ?.*, which cannot name its files$/);
    assert.not.match(errors[0].problem, /[\p{Cc}]/u);
    await openDataset(path).then(
      () => assert.unreachable(JSON.stringify(id)),
      (error: Error) => assert.match(error.message, /cannot name its files/),
    );
  }
  for (const id of ["x".repeat(200), "a b", "-x", "..a", "漢字", "%2e%2e", "a:b", "..."]) {
    assert.equal((await opened(folder(files, { ...ONE, dataset: { [id]: pair } }))).cases[0][0], id);
  }
  const group = folder({
    "s/imagesTr/x.nii": image(1),
    "s/labelsTr/x.nii": label(),
    "s/dataset.json": JSON.stringify({ ...ONE, dataset: { "../x": pair } }),
    "g.json": JSON.stringify({
      format: "voxgrad group 1",
      labels: ["background", "k"],
      sets: [{ data: "s", name: "../../set" }],
    }),
  });
  assert.match((await errorsOf(`${group}/g.json`)).map(({ problem }) => problem).join(), /a case is called "\.\.\/x"/);
  const ending = folder(files, { ...ONE, file_ending: "/../x.nii" });
  assert.match(await allText(ending), /file_ending is "\/\.\.\/x\.nii"/);
});

test.run();
