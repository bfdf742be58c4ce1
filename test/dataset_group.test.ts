/** Dataset groups: labels renamed, merged, split into sides, and what follows from sets that annotate different organs. */
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { platform } from "#platform";
import * as vg from "../engine/mod.ts";
import { partial } from "../models/mod.ts";
import type { Dataset, Triple, Volume } from "../engine/mod.ts";

const root = await mkdtemp(join(tmpdir(), "voxgrad-group-"));
test.after(() => rm(root, { recursive: true, force: true }));
let made = 0;

// Affines of the files: axes as the patient's, and in another order.
const RAS = [2, 0, 0, -20, 0, 2, 0, 5, 0, 0, 3, -7, 0, 0, 0, 1];
const SAR = [0, 0, 1.5, -14, 0, 2, 0, 5, 3, 0, 0, -7, 0, 0, 0, 1];

const volume = (data: vg.VoxelData, shape: Triple, affine: readonly number[]): Volume =>
  vg.makeVolume(data, { shape, affine, name: "made" });

/** A volume from a function of patient coordinates. */
function drawn(shape: Triple, affine: readonly number[], value: (x: number, y: number, z: number) => number): Volume {
  const data = new Float32Array(vg.voxelCount(shape));
  let at = 0;
  for (let k = 0; k < shape[2]; k++) {
    for (let j = 0; j < shape[1]; j++) {
      for (let i = 0; i < shape[0]; i++) data[at++] = value(...vg.applyAffine(affine, [i, j, k]));
    }
  }
  return volume(data, shape, affine);
}

interface Made {
  readonly label: Volume;
  readonly image?: Volume;
}

/** A folder in the layout of nnU-Net. */
async function folder(name: string, labels: object, cases: Record<string, Made>, more: object = {}): Promise<string> {
  const path = join(root, name);
  await platform.writeFile(join(path, "dataset.json"),
    JSON.stringify({ channel_names: { "0": "CT" }, labels, file_ending: ".nii.gz", ...more }));
  let seed = 0;
  for (const [id, { label, image }] of Object.entries(cases)) {
    const prng = new vg.Prng(made * 100 + seed++);
    const noise = image ?? volume(Float32Array.from(label.data, () => 1 + prng.uniform()), label.shape, label.affine);
    await platform.writeFile(join(path, `imagesTr/${id}_0000.nii.gz`), vg.writeNifti(noise, { gzip: true }));
    await platform.writeFile(join(path, `labelsTr/${id}.nii.gz`), vg.writeNifti(label, { gzip: true, dtype: "uint8" }));
  }
  made++;
  return path;
}

/** A group file beside the folders. */
async function group(json: object): Promise<string> {
  const file = join(root, `group${made++}.json`);
  await writeFile(file, JSON.stringify({ format: "voxgrad group 1", ...json }));
  return file;
}

const refused = async (promise: Promise<unknown>): Promise<string> =>
  promise.then(() => "it went through", (error: Error) => `${error.name} ${error.message}`);

/** Equal voxel by voxel; names the first that is not. */
function same(got: ArrayLike<number>, wanted: ArrayLike<number>, what = ""): void {
  assert.is(got.length, wanted.length, what);
  const at = Array.from(got).findIndex((value, i) => value !== wanted[i]);
  assert.is(at, -1, `${what}: voxel ${at} is ${got[at]} and not ${wanted[at]}`);
}

const SHAPE: Triple = [7, 6, 5];
/** Values 0 to highest in turn, in an order of its own for each shift. */
const mixed = (highest: number, shift = 0, shape = SHAPE, affine = RAS): Volume =>
  volume(Uint8Array.from({ length: vg.voxelCount(shape) }, (_, i) => (i * 5 + shift + (i >> 3)) % (highest + 1)), shape, affine);

await folder("whole", { background: 0, liver: 1, spleen: 2 }, { a: { label: mixed(2) }, b: { label: mixed(2, 1) } },
  { labels_present: { b: ["liver"] } });
await folder("livers", { background: 0, organ: 1, tumour: 2, vessel: 3, ignore: 4 }, { a: { label: mixed(4) } });
const spleens = { s1: { label: mixed(1, 0, [5, 7, 6], SAR) }, s2: { label: mixed(1, 1, [5, 7, 6], SAR) }, s3: { label: mixed(1, 2) } };
await folder("spleens", { background: 0, Milz: 1 }, spleens);
// b of "whole" holds spleen, which its labels_present leaves out.
const wholeB = join(root, "whole/labelsTr/b.nii.gz");
const erased = vg.readNifti(await readFile(wholeB));
await writeFile(wholeB, vg.writeNifti({ ...erased, data: Uint8Array.from(erased.data, (v) => (v === 2 ? 0 : v)) }, { dtype: "uint8", gzip: true }));

const LABELS = ["background", "liver", "spleen", "ignore"];
const SETS = [
  { data: "whole" },
  { data: "./livers/", name: "the livers", labels: { organ: "liver", tumour: "liver", vessel: null } },
  { data: "spleens", labels: { Milz: "spleen" } },
];

test("a group opens as one dataset: ids, sets, what is annotated", async () => {
  const file = await group({ name: "Abdomen", labels: LABELS, sets: SETS });
  const dataset = await vg.openDataset(file);
  assert.equal([dataset.name, dataset.folder, dataset.channels, dataset.ignoreLabel], ["Abdomen", file, ["CT"], 3]);
  assert.equal(dataset.labels.map((label) => label.name), ["background", "liver", "spleen"]);
  assert.equal(dataset.cases.map(({ id, set, labelsPresent }) => [id, set, labelsPresent]), [
    ["whole__a", "whole", undefined],
    ["whole__b", "whole", [1]],
    ["the_livers__a", "the livers", [1]],
    ...["s1", "s2", "s3"].map((id) => [`spleens__${id}`, "spleens", [2]]),
  ]);
  assert.equal(dataset.sets, [
    { name: "whole", folder: join(root, "whole") },
    { name: "the livers", folder: join(root, "livers"), labelsPresent: [1] },
    { name: "spleens", folder: join(root, "spleens"), labelsPresent: [2] },
  ]);
  assert.equal(await vg.openLabelNames(file), { labels: dataset.labels, ignoreLabel: 3 });
});

test("loadCase() gives the labels of the group: renamed, merged, dropped, ignored", async () => {
  const dataset = await vg.openDataset(await group({ labels: LABELS, sets: SETS }));
  const expected: Record<string, number[]> = {
    whole__a: [0, 1, 2], whole__b: [0, 1, 0], the_livers__a: [0, 1, 1, 0, 3], spleens__s1: [0, 2],
  };
  for (const [id, table] of Object.entries(expected)) {
    const item = dataset.cases.find((each) => each.id === id)!;
    const stored = await vg.readVolume(item.label!);
    const { label, labelsPresent } = await vg.loadCase(dataset, item);
    same(label!.data, Array.from(stored.data, (value) => table[value]!), id);
    assert.equal(labelsPresent, item.labelsPresent);
    assert.equal([label!.affine, label!.shape], [stored.affine, stored.shape]);
  }
});

test("what several labels become is annotated only where all of them are", async () => {
  const cases = { both: { label: mixed(2) }, one: { label: mixed(1) }, neither: { label: mixed(0) } };
  const present = { labels_present: { one: ["organ"], neither: [] } };
  await folder("parts", { background: 0, organ: 1, tumour: 2 }, cases, present);
  const sets = [{ data: "whole" }, { data: "parts", labels: { organ: "liver", tumour: "liver" } }];
  const merged = await vg.openDataset(await group({ labels: ["background", "liver", "spleen"], sets }));
  assert.equal(merged.cases.slice(2).map((item) => item.labelsPresent), [[1], [], []]);
  assert.is(merged.cases[4]!.id, "parts__one");
  const { label } = await vg.loadCase(merged, merged.cases[4]!);
  assert.ok(label!.data.every((value) => value === 0), "not annotated, so 0");
  // Apart from each other, the organ of the second is annotated.
  const apart = [{ data: "whole" }, { data: "parts", labels: { organ: "liver" } }];
  const own = await vg.openDataset(await group({ labels: ["background", "liver", "spleen", "tumour"], sets: apart }));
  assert.equal(own.cases.map((item) => item.labelsPresent), [[1, 2], [1], [1, 3], [], [1]]);
});

test("present and cases make partly labelled sets of a folder that has all", async () => {
  const sets = [
    { data: "whole", name: "first", cases: ["a"], present: ["liver"] },
    { data: "whole", name: "rest", cases: ["b"] },
    { data: "spleens", labels: { Milz: "spleen" }, present: ["spleen", "cyst"] },
    { data: "livers", labels: { organ: "liver", tumour: "cyst", vessel: null, ignore: null } },
  ];
  const dataset = await vg.openDataset(await group({ labels: ["background", "liver", "spleen", "cyst"], sets }));
  const present = Object.fromEntries(dataset.cases.map((item) => [item.id, item.labelsPresent]));
  assert.equal(present, {
    first__a: [1], rest__b: [1], spleens__s1: [2, 3], spleens__s2: [2, 3], spleens__s3: [2, 3], livers__a: [1, 3],
  });
  const { label } = await vg.loadCase(dataset, dataset.cases[0]!);
  const stored = await vg.readVolume(dataset.cases[0]!.label!);
  same(label!.data, Array.from(stored.data, (value) => (value === 1 ? 1 : 0)), "spleen is not present");
});

/** A body of 80 x 40 x 60 mm about (centre, 15, 20), in air. */
const bodyAt = (centre: number) => (x: number, y: number, z: number): number =>
  Math.abs(x - centre) < 40 && Math.abs(y - 15) < 20 && Math.abs(z - 20) < 30 ? 50 : -1000;
const ball = (cx: number, r: number, cy = 15, cz = 20) => (x: number, y: number, z: number): boolean =>
  (x - cx) ** 2 + (y - cy) ** 2 + (z - cz) ** 2 <= r * r;
const GRIDS: [string, Triple, number[]][] = [
  ["RAS", [50, 24, 24], [2, 0, 0, -50, 0, 2, 0, -8, 0, 0, 3, -14, 0, 0, 0, 1]],
  ["LPS", [50, 24, 24], [-2, 0, 0, 48, 0, -2, 0, 38, 0, 0, 3, -14, 0, 0, 0, 1]],
  ["SAR", [24, 24, 67], [0, 0, 1.5, -50, 0, 2, 0, -8, 3, 0, 0, -14, 0, 0, 0, 1]],
  ["oblique", [54, 28, 24], [1.98, -0.28, 0, -50, 0.28, 1.98, 0, -18, 0, 0, 3, -14, 0, 0, 0, 1]],
];

/** The rule and the values after a split of what `inside` marks, in a body about `centre`; 1 left, 2 right. */
function split(grid: [string, Triple, number[]], inside: (x: number, y: number, z: number) => boolean, centre = 0) {
  const [, shape, affine] = grid;
  const label = drawn(shape, affine, (x, y, z) => Number(inside(x, y, z)));
  const bytes = { ...label, data: Uint8Array.from(label.data) };
  const out = new Uint8Array(label.data.length);
  const image = drawn(shape, affine, bodyAt(centre));
  return { ...vg.splitSides(bytes, { values: [1], pair: [1, 2], image }, out), out };
}

for (const grid of GRIDS) {
  test(`splitSides() gives the patient's left the smaller x: ${grid[0]}`, () => {
    const expect = (value: (x: number, y: number, z: number) => number): Uint8Array =>
      Uint8Array.from(drawn(grid[1], grid[2], value).data);
    const [left, right] = [ball(-22, 8), ball(20, 11)];
    const sides = (x: number, y: number, z: number): number => (left(x, y, z) ? 1 : right(x, y, z) ? 2 : 0);
    const two = split(grid, (x, y, z) => sides(x, y, z) > 0);
    assert.equal([two.rule, two.note], ["two parts", undefined]);
    same(two.out, expect(sides), "two");
    // The middle of the body plays no part where there are two, and both may lie to one side of it.
    same(split(grid, (x, y, z) => sides(x, y, z) > 0, 60).out, expect(sides), "off centre");

    const one = split(grid, (x, y, z) => left(x, y, z));
    assert.is(one.rule, "one part");
    assert.match(one.note!, /taken for the left: its centre lies 2\d\.\d mm to the left/);
    same(one.out, expect((x, y, z) => Number(left(x, y, z))), "one");
    // A scan that shows more on one side than on the other: the body counts, not the scan.
    const shifted = split(grid, (x, y, z) => ball(-2, 6)(x, y, z), -24);
    assert.equal([shifted.rule, [...new Set(shifted.out)].sort()], ["one part", [0, 2]]);

    // A horseshoe: two kidneys and what joins them.
    const joined = (x: number, y: number, z: number): boolean =>
      sides(x, y, z) > 0 || (Math.abs(x) < 22 && Math.abs(y - 15) < 4 && Math.abs(z - 20) < 4);
    const horseshoe = split(grid, joined);
    assert.is(horseshoe.rule, "cut");
    // The cut lies within a voxel of the body's middle.
    const at = drawn(grid[1], grid[2], (x) => x).data;
    const inside = expect((x, y, z) => Number(joined(x, y, z)));
    horseshoe.out.forEach((value, i) => {
      if (inside[i] === 0) assert.is(value, 0);
      else if (Math.abs(at[i]!) > 2) assert.is(value, at[i]! < 0 ? 1 : 2);
      else assert.ok(value === 1 || value === 2);
    });

    const none = split(grid, () => false);
    assert.equal([none.rule, none.out.every((value) => value === 0)], ["none", true]);
  });
}

test("splitSides() is not led astray by fragments, or by one organ in pieces", () => {
  const grid = GRIDS[0]!;
  const values = ({ out }: { out: Uint8Array }): number[] => [...new Set(out)].sort();
  // Specks beside, above and beyond a lone kidney stay with it.
  const specks = (x: number, y: number, z: number) =>
    ball(-20, 10)(x, y, z) || ball(-38, 1.5)(x, y, z) || ball(-20, 1.5, 15, 44)(x, y, z);
  assert.equal([split(grid, specks).rule, values(split(grid, specks))], ["one part", [0, 1]]);
  // Two halves above each other are no pair, though nearly as large as each other.
  const halves = (x: number, y: number, z: number) => ball(-21, 8, 15, 8)(x, y, z) || ball(-18, 7, 15, 38)(x, y, z);
  assert.equal([split(grid, halves).rule, values(split(grid, halves))], ["one part", [0, 1]]);
  // With a kidney on the other side, each half goes to its own.
  const three = split(grid, (x, y, z) => halves(x, y, z) || ball(22, 6)(x, y, z));
  assert.is(three.rule, "two parts");
  const expected = drawn(grid[1], grid[2], (x, y, z) => (halves(x, y, z) ? 1 : ball(22, 6)(x, y, z) ? 2 : 0));
  same(three.out, expected.data, "three");
  // Voxels that touch by a corner alone are one part.
  const [shape, affine] = [[4, 2, 2] as Triple, vg.scaling([1, 1, 1], [-1.5, 0, 0])];
  const corner = new Uint8Array(16);
  corner[1] = corner[2 + 4 + 8] = 1;
  const out = new Uint8Array(16);
  const image = volume(new Float32Array(16), shape, affine);
  const found = vg.splitSides({ data: corner, shape, affine }, { values: [1], pair: [1, 2], image }, out);
  assert.equal([found.rule, out[1], out[14]], ["cut", 1, 2]);
});

/** Both lie left of the middle; the tumour in the right one, by itself, would be taken for a left kidney. */
const kidneys = (x: number, y: number, z: number): number =>
  ball(-38, 8)(x, y, z) ? 1 : ball(-8, 11)(x, y, z) ? (ball(-5, 5)(x, y, z) ? 2 : 1) : 0;

test("a pair takes in all labels that become it; a half that is not present is 0", async () => {
  const cases = Object.fromEntries(GRIDS.map(([id, shape, affine]) => [id, { label: drawn(shape, affine, kidneys) }]));
  await folder("kits", { background: 0, kidney: 1, tumour: 2 }, cases);
  const pair = ["left kidney", "right kidney"];
  const labels = ["background", "right kidney", "left kidney"];
  const kits = { data: "kits", labels: { kidney: pair, tumour: pair } };
  const dataset = await vg.openDataset(await group({ labels, sets: [kits] }));
  const lone = await vg.openDataset(await group({ labels, sets: [{ ...kits, name: "all" }, { ...kits, present: ["left kidney"] }] }));
  assert.equal(lone.cases.at(-1)!.labelsPresent, [2]);
  for (const [id, shape, affine] of GRIDS) {
    const named = (of: Dataset) => of.cases.filter((item) => item.id.endsWith(`__${id}`)).at(-1)!;
    const expected = drawn(shape, affine, (x, y, z) => (kidneys(x, y, z) > 0 ? (x < -25 ? 2 : 1) : 0));
    const { label, labelsPresent } = await vg.loadCase(dataset, named(dataset));
    same(label!.data, expected.data, id);
    assert.is(labelsPresent, undefined);
    const left = await vg.loadCase(lone, named(lone));
    same(left.label!.data, Array.from(expected.data, (value) => (value === 2 ? 2 : 0)), `left of ${id}`);
  }
});

test("what is wrong with a group is said with its place and a fix", async () => {
  await folder("pet", { background: 0, liver: 1 }, { p: { label: mixed(1) } }, { channel_names: { "0": "PET" } });
  await folder("regions", { background: 0, whole: [1, 2], core: 2 }, { r: { label: mixed(2) } }, { regions_class_order: [1, 2] });
  const labels = ["background", "liver", "spleen"];
  const whole = { data: "whole" };
  const livers = { data: "livers", labels: { organ: "liver", tumour: "liver", vessel: null, ignore: null } };
  const faults: [object, RegExp][] = [
    [{ labels, sets: [whole, { data: "spleens" }] }, /set "spleens" has "Milz", and the group does not say .*Write "Milz" into "labels"/],
    [{ labels, sets: [{ ...livers, labels: { organ: "liver" } }] }, /"livers" has "tumour", "vessel", "ignore"/],
    [{ labels, sets: [{ data: "spleens", labels: { Milz: "splen" } }] }, /makes "Milz" "splen", which is no label of the group.*"spleen"/],
    [{ labels, sets: [{ data: "spleens", labels: { milz: "spleen" } }] }, /have "milz", which .*spleens does not.*"Milz"/],
    [{ labels, sets: [{ data: "spleens", labels: { Milz: ["spleen"] } }] }, /makes "Milz" \["spleen"\]. Write one label.*two that differ/],
    [{ labels, sets: [{ data: "spleens", labels: { Milz: ["spleen", "spleen"] } }] }, /two that differ/],
    [{ labels, sets: [{ data: "spleens", labels: { Milz: ["spleen", "background"] } }] }, /two that differ/],
    [{ labels, sets: [{ data: "whole", labels: { background: "liver" } }] }, /makes "background" a label/],
    [{ labels: [...labels, "kidney"], sets: [whole] }, /no set annotates "kidney". Drop the label/],
    [{ labels, sets: [{ ...whole, present: ["liver"] }] }, /no set annotates "spleen"/],
    [{ labels, sets: [{ ...whole, present: ["lung"] }] }, /"present" of set "whole" has "lung".*liver, spleen/],
    [{ labels, sets: [{ ...whole, cases: ["a", "z"] }] }, /"cases" of set "whole" has "z", which is no case.*such as a, b/],
    [{ labels, sets: [whole, { data: "pet" }] }, /channels of set "pet" are 1 \(PET\), those of set "whole" are 1 \(CT\).*"channels": \["CT"\]/],
    [{ labels, channels: ["CT", "PET"], sets: [whole] }, /"whole" are 1 \(CT\), its "channels" are 2 \(CT, PET\). Leave the set out/],
    [{ labels, sets: [whole, whole] }, /two sets are called "whole"/],
    [{ labels, sets: [whole, { data: "regions" }] }, /labels of set "regions" are regions/],
    [{ labels, sets: [{ ...whole, label: {} }] }, /set "whole" has an entry "label". Write one of data, name/],
    [{ labels, set: [whole] }, /it has an entry "set"/],
    [{ labels, sets: [] }, /it has no sets/],
    [{ labels, sets: [{ data: "group.json" }] }, /sets\[0\] names no folder/],
    [{ labels, sets: [{ data: "nowhere" }] }, /nowhere\/dataset.json: there is no such file/],
    [{ labels: ["liver", "spleen"], sets: [whole] }, /its labels begin with "liver"/],
    [{ labels: ["background", "a", "a"], sets: [whole] }, /its labels name "a" twice/],
    [{ labels: ["background", "ignore", "a"], sets: [whole] }, /"ignore" is not the last/],
    [{ labels, sets: [whole], format: "voxgrad group 9" }, /is no dataset group: its format is "voxgrad group 9"/],
  ];
  for (const [json, message] of faults) {
    const text = await refused(vg.openDataset(await group(json)));
    assert.match(text, message);
    assert.match(text, /^DatasetError/);
  }
  assert.match(await refused(vg.openDataset(join(root, "whole/dataset.json"))), /no dataset group.*or name a dataset folder/);
  const same = await vg.openDataset(await group({ labels, channels: ["CT"], sets: [whole, { data: "pet" }] }));
  assert.equal(same.channels, ["CT"]);
  // A check goes on: both sets are named, and the third is looked at.
  const findings = await vg.checkDataset(await group({ labels, sets: [{ data: "spleens" }, { data: "pet", labels: { liver: "x" } }, whole] }));
  assert.equal(findings.filter((each) => each.severity === "error").map((each) => /set "(\w+)"/.exec(each.problem)?.[1]), ["spleens", "pet"]);
});

test("a file that contradicts its own dataset.json is refused in a group as without one", async () => {
  const path = await folder("wrong", { background: 0, liver: 1, spleen: 2 }, { a: { label: mixed(3) }, b: { label: mixed(2) } },
    { labels_present: { b: ["liver"] } });
  const dataset = await vg.openDataset(await group({ labels: ["background", "liver", "spleen"], sets: [{ data: path }] }));
  assert.match(await refused(vg.loadCase(dataset, dataset.cases[0]!)), /it holds 3 \(\d+ voxels\), which dataset.json does not declare/);
  assert.match(await refused(vg.loadCase(dataset, dataset.cases[1]!)), /it holds 2 spleen \(\d+ voxels\), which labels_present/);
});

test("checkDataset() finds voxels of one image that two cases claim differently, however their axes lie", async () => {
  const [, shape, affine] = GRIDS[0]!;
  const image = drawn(shape, affine, (x, y, z) => Math.round(100 * Math.sin(x + 2 * y + 3 * z)));
  const organs = drawn(shape, affine, (x, y, z) => (ball(-22, 8)(x, y, z) ? 1 : ball(20, 6)(x, y, z) ? 2 : 0));
  // In the second set the liver lacks its voxels beyond z = 24, and the axes are others.
  const liver = drawn(shape, affine, (x, y, z) => Number(ball(-22, 8)(x, y, z) && z < 24));
  await folder("twin1", { background: 0, liver: 1, spleen: 2 }, { a: { image, label: organs } });
  await folder("twin2", { background: 0, liver: 1 }, {
    same: { image: vg.reorient(image, "PSL"), label: vg.reorient(liver, "PSL") },
    // The same voxels elsewhere are another scan.
    moved: { image: { ...image, affine: vg.composeAffines(vg.scaling([1, 1, 1], [9, 0, 0]), affine) }, label: { ...liver, affine: vg.composeAffines(vg.scaling([1, 1, 1], [9, 0, 0]), affine) } },
  });
  const labels = ["background", "liver", "spleen"];
  const file = await group({ labels, sets: [{ data: "twin1" }, { data: "twin2" }] });
  const findings = await vg.checkDataset(file);
  assert.is(findings.length, 1, JSON.stringify(findings, null, 1));
  const [{ severity, problem, file: at }] = findings as [vg.Finding];
  assert.equal([severity, at], ["error", join(root, "twin2/labelsTr/same.nii.gz")]);
  const wanted = [...liver.data].filter((value, i) => organs.data[i] === 1 && value === 0).length;
  assert.match(problem, new RegExp(`^${wanted} voxels are claimed otherwise by .*twin1/labelsTr/a.nii.gz \\(case twin1__a\\)`));
  assert.match(problem, /it is none of its labels here and liver there/);
  // The voxel that is named is one of them, in both files.
  const voxel = /voxel \((\d+), (\d+), (\d+)\), (\S+), (\S+), (\S+) mm/.exec(problem)!.slice(1).map(Number);
  const stored = await vg.readVolume(at);
  const point = vg.applyAffine(stored.affine, voxel.slice(0, 3));
  assert.ok(point.every((x, k) => Math.abs(x - voxel[3 + k]!) < 0.06), problem);
  assert.ok(ball(-22, 8)(...point) && point[2] >= 24);
  // Where the second set does not claim the liver, the two agree; that a split could part them is worth a word.
  const agreeing = await vg.checkDataset(await group({ labels, sets: [{ data: "twin1" }, { data: "twin2", labels: { liver: null }, cases: ["same"] }] }));
  assert.equal(agreeing.map((each) => [each.severity, /same image as/.test(each.problem)]), [["warning", true]]);
  // One folder in two sets whose maps differ.
  const sets = [{ data: "twin1", labels: { spleen: "liver" } }, { data: "twin1", name: "other" }];
  const [maps] = await vg.checkDataset(await group({ labels, sets }));
  assert.match(maps!.problem, /it is spleen here and liver there/);
});

test("checkDataset() tells of organs whose sides had to be guessed", async () => {
  const [, shape, affine] = GRIDS[1]!;
  const scan = (label: (x: number, y: number, z: number) => boolean) => ({
    image: drawn(shape, affine, (x, y, z) => bodyAt(0)(x, y, z) + Math.round(9 * Math.sin(x + y + z))),
    label: drawn(shape, affine, (x, y, z) => Number(label(x, y, z))),
  });
  await folder("sides", { background: 0, kidney: 1 }, {
    one: scan(ball(-22, 8)), two: scan((x, y, z) => kidneys(x, y, z) > 0), horseshoe: scan((x, y, z) => Math.abs(x) < 20 && ball(0, 30)(x, 15, z) && Math.abs(y - 15) < 5),
  });
  const sets = [{ data: "sides", labels: { kidney: ["left", "right"] } }];
  const findings = await vg.checkDataset(await group({ labels: ["background", "left", "right"], sets }));
  const found = findings.filter((each) => /left and right/.test(each.problem)).map(({ severity, file, problem }) =>
    [severity, file.split("/").pop(), /taken for the left|was cut there/.exec(problem)?.[0]]);
  assert.equal(found, [["warning", "horseshoe.nii.gz", "was cut there"], ["warning", "one.nii.gz", "taken for the left"]]);
});

test("kFold() divides every set as evenly", () => {
  const ids = [..."abcdefghijk"].flatMap((letter, k) => [`big__${letter}`, ...(k < 5 ? [`mid__${letter}`] : []), ...(k < 2 ? [`few__${letter}`] : [])]);
  const setOf = (id: string): string => id.split("__")[0]!;
  const folds = vg.kFold(ids, { folds: 5, seed: 2, setOf });
  assert.equal(folds.flatMap((fold) => fold.val).sort(), [...ids].sort());
  const counts = (name: string): number[] => folds.map(({ val }) => val.filter((id) => setOf(id) === name).length).sort();
  assert.equal([counts("big"), counts("mid"), counts("few")], [[2, 2, 2, 2, 3], [1, 1, 1, 1, 1], [0, 0, 0, 1, 1]]);
  assert.ok(folds.every(({ val }) => val.length >= 3 && val.length <= 4));
  assert.equal(vg.kFold([...ids].reverse(), { folds: 5, seed: 2, setOf }), folds);
  assert.equal(vg.kFold(ids, { folds: 5, setOf: () => "one" }), vg.kFold(ids, { folds: 5 }));
});

// A group for training: three sets of one organ each, of other sizes, spacings and numbers of cases.
const TRAINED = ["background", "liver", "spleen"];
async function trained(): Promise<string> {
  const scans = (count: number, value: number, grid: [Triple, number[]]) => Object.fromEntries(
    Array.from({ length: count }, (_, k) => [`c${k}`, { label: drawn(grid[0], grid[1], (x) => (x < k - 2 ? value : 0)) }]));
  const coarse: [Triple, number[]] = [[10, 9, 8], vg.scaling([2, 2, 3], [-9, 0, 0]) as number[]];
  const fine: [Triple, number[]] = [[18, 17, 9], vg.scaling([1.1, 1.1, 3], [-9, 0, 0]) as number[]];
  await folder("t1", { background: 0, liver: 1 }, scans(6, 1, coarse));
  await folder("t2", { background: 0, spleen: 1 }, scans(2, 1, fine));
  return group({ name: "trained", labels: TRAINED, sets: [{ data: "t1" }, { data: "t2" }] });
}
const file = await trained();

test("fingerprint, plan and store take a group; a changed map makes its cases anew", async () => {
  const dataset = await vg.openDataset(file);
  const fingerprint = await vg.fingerprintDataset(dataset);
  const spacings = fingerprint.cases.map((item) => item.spacing.map((step) => +step.toFixed(4)).join());
  assert.equal([...new Set(spacings)], ["3,2,2", "3,1.1,1.1"]);
  const plan = vg.makePlan(dataset, fingerprint, { preset: "small" });
  assert.equal([plan.dataset, plan.labels, plan.channels[0]!.normalisation], ["trained", TRAINED, "ct"]);
  const folderOf = join(root, "store");
  const store = await vg.openCaseStore(dataset, plan, { folder: folderOf, workers: 1 });
  assert.equal([store.made, store.kept], [8, 0]);
  const item = await store.get("t2__c1");
  assert.equal([item.labelsPresent, item.foreground.map((each) => each.value)], [[2], [2]]);
  assert.ok(item.spacing.every((step, k) => step === plan.spacing[k]));
  const again = await vg.openCaseStore(await vg.openDataset(file), plan, { folder: folderOf });
  assert.equal([again.made, again.kept], [0, 8]);
  const swapped = { ...JSON.parse(await readFile(file, "utf8")), sets: [{ data: "t1" }, { data: "t2", labels: { spleen: "liver" } }, { data: "t2", name: "t3" }] };
  await writeFile(join(root, "swapped.json"), JSON.stringify(swapped));
  const other = await vg.openDataset(join(root, "swapped.json"));
  const changed = await vg.openCaseStore(other, plan, { folder: folderOf });
  assert.equal([changed.made, changed.kept], [4, 6]);
  assert.equal((await changed.get("t2__c1")).foreground.map((each) => each.value), [1]);
  // The same annotated classes from another map: none of the spleens is one.
  const none = { data: "t2", name: "t3", labels: { spleen: null }, present: ["spleen"] };
  const sets = [{ data: "t1" }, { data: "t2", labels: { spleen: "liver" } }, none, { data: "t2", name: "t4" }];
  const emptied = await vg.openCaseStore(await vg.openDataset(await group({ labels: TRAINED, sets })), plan, { folder: folderOf });
  assert.equal([emptied.made, emptied.kept], [4, 8]);
  const noSpleen = await emptied.get("t3__c1");
  assert.equal([noSpleen.labelsPresent, noSpleen.foreground], [[2], []]);
});

async function open(data: string, more: string[] = [], folds = "2"): Promise<vg.Training> {
  const args = ["--data", data, "--run", join(root, `run${made++}`), "--cache", join(root, "prepared"), "--batch", "4",
    "--patch", "8,8,8", "--features", "4,8", "--folds", folds, "--workers", "0", ...more];
  return vg.openTraining(vg.config({ ...vg.trainingEntries }, args));
}
/** Which set each patch of a batch is of, by what is annotated in it: 0 or 1. */
const setsOf = async ({ present }: vg.Patches): Promise<number[]> => {
  const values = [...(await present!.data())] as number[];
  return Array.from({ length: values.length / 3 }, (_, n) => {
    const row = values.slice(3 * n, 3 * n + 3).join();
    assert.ok(row === "1,1,0" || row === "1,0,1", row);
    return row === "1,1,0" ? 0 : 1;
  });
};

test("a step draws from the sets by the rule, the same at every turn", async () => {
  const drawnBy = async (rule: string): Promise<{ steps: number[][]; training: vg.Training }> => {
    const training = await open(file, ["--sets", rule], "4");
    const [{ split }] = training.folds as [vg.FoldSetup];
    const ids = training.dataset.cases.map((item) => item.id);
    assert.equal(training.splits, vg.kFold(ids, { folds: 4, setOf: (id) => id.slice(0, 2) }));
    assert.not.equal(training.splits, vg.kFold(ids, { folds: 4 }));
    const steps = await Promise.all(Array.from({ length: 60 }, async (_, k) => setsOf(await training.batch(split, k + 1))));
    const again = await training.batch(split, 7);
    assert.equal(await setsOf(again), steps[6]);
    assert.equal(await again.image.data(), await (await training.batch(split, 7)).image.data());
    return { steps, training };
  };
  const share = (steps: number[][]): number => steps.flat().filter((set) => set === 1).length / steps.flat().length;
  const turn = await drawnBy("turn");
  turn.steps.forEach((sets, k) => assert.equal(sets, Array(4).fill(k % 2), `step ${k + 1}`));
  // 240 draws: a share within four standard deviations, 0.13 of 1/2.
  const equal = await drawnBy("equal");
  assert.ok(Math.abs(share(equal.steps) - 1 / 2) < 0.13, `${share(equal.steps)}`);
  assert.ok(equal.steps.some((sets) => new Set(sets).size === 2), "sets are drawn for each patch");
  const proportional = await drawnBy("proportional");
  const expected = proportional.training.folds[0]!.split.train.filter((id) => id.startsWith("t2")).length / 6;
  assert.ok(Math.abs(share(proportional.steps) - expected) < 4 * Math.sqrt((expected * (1 - expected)) / 240), `${share(proportional.steps)}`);
  // Proportional is what a plain dataset has: sampleBatch with every case as likely.
  const { training } = proportional;
  const [{ split }] = training.folds as [vg.FoldSetup];
  const patches = await training.batch(split, 3);
  const prng = new vg.Prng(training.options.seed).fork("batches").fork(3);
  const direct = await vg.sampleBatch(prng, vg.casesOf(training.store, split.train), { batch: 4, patch: training.sampled, foreground: 0.33 });
  assert.equal(await patches.image.data(), direct.image);
  assert.equal(await patches.label.data(), direct.label);
  // What is annotated passes the augmentation as it is; the image does not.
  const augmented = training.augmented(training.key(3), patches);
  assert.equal([...(await augmented.present!.data())], [...(await patches.present!.data())]);
  assert.equal(augmented.image.shape, [4, 1, 8, 8, 8]);
});

test("a plain dataset gives the same batches whatever the rule, and says nothing of annotation", async () => {
  const batches = await Promise.all(["proportional", "equal", "turn"].map(async (rule) => {
    const training = await open(join(root, "t1"), ["--sets", rule]);
    const { image, label, present } = await training.batch(training.folds[0]!.split, 2);
    assert.is(present, undefined);
    return [await image.data(), await label.data()];
  }));
  assert.equal(batches[1], batches[0]);
  assert.equal(batches[2], batches[0]);
});

test("partial.presentMatrix() makes of a batch's present the groups that mergeMatrix() makes of lists", async () => {
  const lists = [undefined, [1, 3], [2], []];
  const rows = lists.flatMap((list) => [0, 1, 2, 3].map((k) => Number(k === 0 || (list?.includes(k) ?? true))));
  const made = partial.presentMatrix(vg.tensor(new Float32Array(rows), { shape: [4, 4] }));
  const values = await made.data();
  const groups = lists.map((list) => partial.mergedGroups(list, 4));
  groups.forEach((sets, n) => {
    // Row m has ones at the classes of the set that m is the least of.
    const row = (m: number): number[] => Array.from(values.subarray((n * 4 + m) * 4, (n * 4 + m + 1) * 4));
    for (let m = 0; m < 4; m++) {
      const set = sets.find((each) => Math.min(...each) === m) ?? [];
      assert.equal(row(m), [0, 1, 2, 3].map((k) => Number(set.includes(k))), `sample ${n}, row ${m}`);
    }
  });
  const logits = vg.tensor(Float32Array.from({ length: 80 }, (_, i) => Math.sin(i)), { shape: [4, 4, 5] });
  const labels = vg.tensor(Int32Array.from([0, 1, 2, 3, 0, 0, 1, 3, 0, 0, 0, 2, 0, 2, 0, 0, 0, 0, 0, 0]), { shape: [4, 5] });
  const [loss] = await partial.marginalDice(logits, labels, { groups: made }).data();
  const [wanted] = await partial.marginalDice(logits, labels, { groups }).data();
  assert.is(loss, wanted);
  assert.throws(() => partial.presentMatrix(vg.ones([4])), /present is f32 \[N, K\]/);
});

test("held-out cases are measured by what they have annotated", async () => {
  const training = await open(file);
  const [fold] = training.folds as [vg.FoldSetup];
  await training.describe({});
  // Predicts liver everywhere: right or wrong where liver is annotated, nothing to be said where only spleen is.
  await training.test(fold, async (image) => vg.volumeLike(image, new Uint8Array(image.data.length).fill(1)));
  const { rows } = (await training.finish()).tableRows();
  // "in neither" and "in one alone" count what was measured: no case here has liver nowhere, none predicts spleen.
  assert.is(rows[0]!.at(-2), "0");
  assert.equal(rows[1]!.slice(-2).map(Number).reduce((a, b) => a + b), 1, "the one held-out case of t2");
  const summary = JSON.parse(await readFile(join(training.run.path, "summary.json"), "utf8"));
  const dataset: Dataset = training.dataset;
  for (const entry of summary.metric_per_case) {
    const id = /predictions\/(.+)\.nii\.gz$/.exec(entry.prediction_file)![1]!;
    const item = dataset.cases.find((each) => each.id === id)!;
    const { label } = await vg.loadCase(dataset, item);
    const [own, other] = item.set === "t1" ? ["1", "2"] : ["2", "1"];
    assert.equal(Object.values(entry.metrics[other!]).filter((value) => value !== null), [], id);
    const marked = [...label!.data].filter((value) => value === Number(own)).length;
    const dice = own === "1" ? (2 * marked) / (label!.data.length + marked) : 0;
    if (marked > 0) assert.ok(Math.abs(entry.metrics[own!].Dice - dice) < 1e-12, id);
    same(vg.readNifti(await readFile(entry.reference_file)).data, label!.data, "the group's values");
  }
  const rule = JSON.parse(await readFile(join(training.run.path, "postprocessing.json"), "utf8"));
  const t1 = summary.metric_per_case.map((entry: any) => entry.metrics["1"].Dice).filter((value: any) => value !== null);
  const mean = t1.reduce((a: number, b: number) => a + b) / t1.length;
  assert.ok(Math.abs(rule.dice[0].before - mean) < 1e-12, "cases without liver annotations have no part in the rule");
});

test("a training without a case that annotates a class is refused", async () => {
  const splits = join(root, "splits.json");
  await writeFile(splits, JSON.stringify([{ train: ["t1__c0", "t1__c1"], val: ["t2__c0"] }]));
  assert.match(await refused(open(file, ["--splits", splits])), /fold 0: no training case has spleen annotated; name other/);
});

test.run();
