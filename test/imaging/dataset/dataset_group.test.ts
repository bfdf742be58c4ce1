/**
 * Dataset groups: labels renamed, merged, split into sides, and what follows from sets that annotate different organs.
 */
import { readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "uvu";
import * as assert from "uvu/assert";
import * as vg from "../../../engine/mod.ts";
import * as imaging from "../../../engine/imaging/mod.ts";
import type { Dataset, Triple } from "../../../engine/imaging/mod.ts";
import { splitSides } from "../../../engine/imaging/dataset/split_sides.ts";
import { drawn, folder, group, mixed, refused, root, same, SAR, volume } from "../../helpers/dataset_group_helpers.ts";

test.after(() => rm(root, { recursive: true, force: true }));

await folder("whole", { background: 0, liver: 1, spleen: 2 }, { a: { label: mixed(2) }, b: { label: mixed(2, 1) } }, {
  labels_present: { b: ["liver"] },
});
await folder("livers", { background: 0, organ: 1, tumor: 2, vessel: 3, ignore: 4 }, { a: { label: mixed(4) } });
const spleens = {
  s1: { label: mixed(1, 0, [5, 7, 6], SAR) },
  s2: { label: mixed(1, 1, [5, 7, 6], SAR) },
  s3: { label: mixed(1, 2) },
};
await folder("spleens", { background: 0, Milz: 1 }, spleens);
// b of "whole" holds spleen, which its labels_present leaves out.
const wholeB = join(root, "whole/labelsTr/b.nii.gz");
const erased = vg.readNifti(await readFile(wholeB));
await writeFile(
  wholeB,
  vg.writeNifti({ ...erased, data: Uint8Array.from(erased.data, (v) => (v === 2 ? 0 : v)) }, {
    dtype: "uint8",
    gzip: true,
  }),
);

const LABELS = ["background", "liver", "spleen", "ignore"];
const SETS = [
  { data: "whole" },
  { data: "./livers/", name: "the livers", labels: { organ: "liver", tumor: "liver", vessel: null } },
  { data: "spleens", labels: { Milz: "spleen" } },
];

test("openDataset() opens a group as one dataset: ids, sets, annotated labels", async () => {
  const file = await group({ name: "Abdomen", labels: LABELS, sets: SETS });
  const dataset = await imaging.openDataset(file);
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
  assert.equal(await imaging.openLabelNames(file), { labels: dataset.labels, ignoreLabel: 3 });
});

test("loadCase() gives the labels of the group: renamed, merged, dropped, ignored", async () => {
  const dataset = await imaging.openDataset(await group({ labels: LABELS, sets: SETS }));
  const expected: Record<string, number[]> = {
    whole__a: [0, 1, 2],
    whole__b: [0, 1, 0],
    the_livers__a: [0, 1, 1, 0, 3],
    spleens__s1: [0, 2],
  };
  for (const [id, table] of Object.entries(expected)) {
    const item = dataset.cases.find((each) => each.id === id)!;
    const stored = await imaging.readVolume(item.label!);
    const { label, labelsPresent } = await imaging.loadCase(dataset, item);
    same(label!.data, Array.from(stored.data, (value) => table[value]), id);
    assert.equal(labelsPresent, item.labelsPresent);
    assert.equal([label!.affine, label!.shape], [stored.affine, stored.shape]);
  }
});

test("openDataset() takes merged labels as annotated only where all of their parts are", async () => {
  const cases = { both: { label: mixed(2) }, one: { label: mixed(1) }, neither: { label: mixed(0) } };
  const present = { labels_present: { one: ["organ"], neither: [] } };
  await folder("parts", { background: 0, organ: 1, tumor: 2 }, cases, present);
  const sets = [{ data: "whole" }, { data: "parts", labels: { organ: "liver", tumor: "liver" } }];
  const merged = await imaging.openDataset(await group({ labels: ["background", "liver", "spleen"], sets }));
  assert.equal(merged.cases.slice(2).map((item) => item.labelsPresent), [[1], [], []]);
  assert.is(merged.cases[4].id, "parts__one");
  const { label } = await imaging.loadCase(merged, merged.cases[4]);
  assert.ok(label!.data.every((value) => value === 0), "not annotated, so 0");
  // Apart from each other, the organ of the second is annotated.
  const apart = [{ data: "whole" }, { data: "parts", labels: { organ: "liver" } }];
  const own = await imaging.openDataset(
    await group({ labels: ["background", "liver", "spleen", "tumor"], sets: apart }),
  );
  assert.equal(own.cases.map((item) => item.labelsPresent), [[1, 2], [1], [1, 3], [], [1]]);
});

test("openDataset() makes partly labeled sets of a fully labeled folder by present and cases", async () => {
  const sets = [
    { data: "whole", name: "first", cases: ["a"], present: ["liver"] },
    { data: "whole", name: "rest", cases: ["b"] },
    { data: "spleens", labels: { Milz: "spleen" }, present: ["spleen", "cyst"] },
    { data: "livers", labels: { organ: "liver", tumor: "cyst", vessel: null, ignore: null } },
  ];
  const dataset = await imaging.openDataset(await group({ labels: ["background", "liver", "spleen", "cyst"], sets }));
  const present = Object.fromEntries(dataset.cases.map((item) => [item.id, item.labelsPresent]));
  assert.equal(present, {
    first__a: [1],
    rest__b: [1],
    spleens__s1: [2, 3],
    spleens__s2: [2, 3],
    spleens__s3: [2, 3],
    livers__a: [1, 3],
  });
  const { label } = await imaging.loadCase(dataset, dataset.cases[0]);
  const stored = await imaging.readVolume(dataset.cases[0].label!);
  same(label!.data, Array.from(stored.data, (value) => (value === 1 ? 1 : 0)), "spleen is not present");
});

test("openDataset() takes a label that may be any of several of the group", async () => {
  const labels = ["background", "liver", "spleen", "cyst"];
  const sets = [
    {
      data: "livers",
      labels: { organ: { any: ["cyst", "liver"] }, tumor: { any: ["liver", "cyst"] }, vessel: "spleen", ignore: null },
    },
    { data: "livers", name: "apart", labels: { organ: "liver", tumor: "cyst", vessel: null, ignore: null } },
    {
      data: "livers",
      name: "dropped",
      labels: { organ: { any: ["cyst", "liver"] }, tumor: null, vessel: "spleen", ignore: null },
      present: ["spleen"],
    },
    { data: "whole", labels: { liver: { any: ["liver", "cyst"] } }, cases: ["b"] },
  ];
  const dataset = await imaging.openDataset(await group({ labels, sets }));
  assert.equal(dataset.cases.map(({ labelsPresent, merged }) => [labelsPresent, merged]), [
    [[2], [[1, 3]]],
    [[1, 3], undefined],
    [[2], undefined],
    [[], [[1, 3]]],
  ]);
  assert.equal(dataset.sets!.map(({ labelsPresent, merged }) => [labelsPresent, merged])[3], [[2], [[1, 3]]]);
  const tables = [[0, 1, 1, 2, 0], [0, 1, 3, 0, 0], [0, 0, 0, 2, 0], [0, 1, 0]];
  for (const [k, item] of dataset.cases.entries()) {
    const { label } = await imaging.loadCase(dataset, item);
    const stored = await imaging.readVolume(item.label!);
    same(label!.data, Array.from(stored.data, (value) => tables[k][value]), item.id);
  }
  // The first two sets show one image: organ or tumor does not contradict cyst; the vessels are spleen in one alone.
  const findings = await imaging.checkDataset(await group({ labels, sets: sets.slice(0, 2) }));
  assert.equal(findings.filter(({ severity }) => severity === "error"), []);
  const other = [sets[0], { ...sets[1], labels: { organ: "spleen", tumor: "cyst", vessel: "liver", ignore: null } }];
  const [error] = (await imaging.checkDataset(await group({ labels, sets: other }))).filter(({ severity }) =>
    severity === "error"
  );
  assert.match(error.problem, /claimed otherwise/);
});

/** A body of 80 x 40 x 60 mm about (center, 15, 20), in air. */
const bodyAt = (center: number) => (x: number, y: number, z: number): number =>
  Math.abs(x - center) < 40 && Math.abs(y - 15) < 20 && Math.abs(z - 20) < 30 ? 50 : -1000;
const ball = (cx: number, r: number, cy = 15, cz = 20) => (x: number, y: number, z: number): boolean =>
  (x - cx) ** 2 + (y - cy) ** 2 + (z - cz) ** 2 <= r * r;
const GRIDS: [string, Triple, number[]][] = [
  ["RAS", [50, 24, 24], [2, 0, 0, -50, 0, 2, 0, -8, 0, 0, 3, -14, 0, 0, 0, 1]],
  ["LPS", [50, 24, 24], [-2, 0, 0, 48, 0, -2, 0, 38, 0, 0, 3, -14, 0, 0, 0, 1]],
  ["SAR", [24, 24, 67], [0, 0, 1.5, -50, 0, 2, 0, -8, 3, 0, 0, -14, 0, 0, 0, 1]],
  ["oblique", [54, 28, 24], [1.98, -0.28, 0, -50, 0.28, 1.98, 0, -18, 0, 0, 3, -14, 0, 0, 0, 1]],
];

/** The rule and the values after a split of what `inside` marks, in a body about `center`; 1 left, 2 right. */
function split(grid: [string, Triple, number[]], inside: (x: number, y: number, z: number) => boolean, center = 0) {
  const [, shape, affine] = grid;
  const label = drawn(shape, affine, (x, y, z) => Number(inside(x, y, z)));
  const bytes = { ...label, data: Uint8Array.from(label.data) };
  const out = new Uint8Array(label.data.length);
  const image = drawn(shape, affine, bodyAt(center));
  return { ...splitSides(bytes, { values: [1], pair: [1, 2], image }, out), out };
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
    same(split(grid, (x, y, z) => sides(x, y, z) > 0, 60).out, expect(sides), "off center");

    const one = split(grid, (x, y, z) => left(x, y, z));
    assert.is(one.rule, "one part");
    assert.match(one.note!, /taken for the left: its center lies 2\d\.\d mm to the left/);
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
      else if (Math.abs(at[i]) > 2) assert.is(value, at[i] < 0 ? 1 : 2);
      else assert.ok(value === 1 || value === 2);
    });

    const none = split(grid, () => false);
    assert.equal([none.rule, none.out.every((value) => value === 0)], ["none", true]);
  });
}

test("splitSides() is not led astray by fragments, or by one organ in pieces", () => {
  const grid = GRIDS[0];
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
  const [shape, affine] = [[4, 2, 2] as Triple, imaging.scaling([1, 1, 1], [-1.5, 0, 0])];
  const corner = new Uint8Array(16);
  corner[1] = corner[2 + 4 + 8] = 1;
  const out = new Uint8Array(16);
  const image = volume(new Float32Array(16), shape, affine);
  const found = splitSides({ data: corner, shape, affine }, { values: [1], pair: [1, 2], image }, out);
  assert.equal([found.rule, out[1], out[14]], ["cut", 1, 2]);
});

/** Both lie left of the middle; the tumor in the right one, by itself, would be taken for a left kidney. */
const kidneys = (x: number, y: number, z: number): number =>
  ball(-38, 8)(x, y, z) ? 1 : ball(-8, 11)(x, y, z) ? (ball(-5, 5)(x, y, z) ? 2 : 1) : 0;

test("openDataset() merges all labels that become a pair of sides, and an absent side is 0", async () => {
  const cases = Object.fromEntries(GRIDS.map(([id, shape, affine]) => [id, { label: drawn(shape, affine, kidneys) }]));
  await folder("kits", { background: 0, kidney: 1, tumor: 2 }, cases);
  const pair = ["left kidney", "right kidney"];
  const labels = ["background", "right kidney", "left kidney"];
  const kits = { data: "kits", labels: { kidney: pair, tumor: pair } };
  const dataset = await imaging.openDataset(await group({ labels, sets: [kits] }));
  const lone = await imaging.openDataset(
    await group({ labels, sets: [{ ...kits, name: "all" }, { ...kits, present: ["left kidney"] }] }),
  );
  assert.equal(lone.cases.at(-1)!.labelsPresent, [2]);
  for (const [id, shape, affine] of GRIDS) {
    const named = (of: Dataset) => of.cases.filter((item) => item.id.endsWith(`__${id}`)).at(-1)!;
    const expected = drawn(shape, affine, (x, y, z) => (kidneys(x, y, z) > 0 ? (x < -25 ? 2 : 1) : 0));
    const { label, labelsPresent } = await imaging.loadCase(dataset, named(dataset));
    same(label!.data, expected.data, id);
    assert.is(labelsPresent, undefined);
    const left = await imaging.loadCase(lone, named(lone));
    same(left.label!.data, Array.from(expected.data, (value) => (value === 2 ? 2 : 0)), `left of ${id}`);
  }
});

test("openDataset() throws on a wrong group with its place and a fix", async () => {
  await folder("pet", { background: 0, liver: 1 }, { p: { label: mixed(1) } }, { channel_names: { "0": "PET" } });
  await folder("regions", { background: 0, whole: [1, 2], core: 2 }, { r: { label: mixed(2) } }, {
    regions_class_order: [1, 2],
  });
  const labels = ["background", "liver", "spleen"];
  const whole = { data: "whole" };
  const livers = { data: "livers", labels: { organ: "liver", tumor: "liver", vessel: null, ignore: null } };
  const faults: [object, RegExp][] = [
    [
      { labels, sets: [whole, { data: "spleens" }] },
      /set "spleens" has "Milz", and the group does not say .*Write "Milz" into "labels"/,
    ],
    [{ labels, sets: [{ ...livers, labels: { organ: "liver" } }] }, /"livers" has "tumor", "vessel", "ignore"/],
    [
      { labels, sets: [{ data: "spleens", labels: { Milz: "splen" } }] },
      /makes "Milz" "splen", which is no label of the group.*"spleen"/,
    ],
    [
      { labels, sets: [{ data: "spleens", labels: { milz: "spleen" } }] },
      /have "milz", which .*spleens does not.*"Milz"/,
    ],
    [
      { labels, sets: [{ data: "spleens", labels: { Milz: ["spleen"] } }] },
      /makes "Milz" \["spleen"\]. Write one label.*two that differ/,
    ],
    [{ labels, sets: [{ data: "spleens", labels: { Milz: ["spleen", "spleen"] } }] }, /two that differ/],
    [{ labels, sets: [{ data: "spleens", labels: { Milz: ["spleen", "background"] } }] }, /two that differ/],
    [
      { labels, sets: [{ data: "spleens", labels: { Milz: { any: ["spleen"] } } }] },
      /makes "Milz" {"any":\["spleen"\]}. Write two or more/,
    ],
    [
      { labels, sets: [{ data: "spleens", labels: { Milz: { any: ["spleen", "lung"] } } }] },
      /makes "Milz" "lung", which is no label/,
    ],
    [{ labels, sets: [{ data: "spleens", labels: { Milz: { any: ["spleen", "background"] } } }] }, /Write two or more/],
    [
      { labels, sets: [whole, { ...whole, name: "both", labels: { liver: { any: ["liver", "spleen"] } } }] },
      /may be any of "liver", "spleen", and another for "spleen"/,
    ],
    [{
      labels,
      sets: [whole, { data: "spleens", labels: { Milz: { any: ["liver", "spleen"] } }, present: ["spleen"] }],
    }, /"present" of set "spleens" has "spleen", which it does not tell from the rest of "liver", "spleen"/],
    [
      { labels, sets: [{ data: "spleens", labels: { Milz: { any: ["liver", "spleen"] } } }] },
      /no set annotates "liver", "spleen"/,
    ],
    [{ labels, sets: [{ data: "whole", labels: { background: "liver" } }] }, /makes "background" a label/],
    [{ labels: [...labels, "kidney"], sets: [whole] }, /no set annotates "kidney". Drop the label/],
    [{ labels, sets: [{ ...whole, present: ["liver"] }] }, /no set annotates "spleen"/],
    [{ labels, sets: [{ ...whole, present: ["lung"] }] }, /"present" of set "whole" has "lung".*liver, spleen/],
    [
      { labels, sets: [{ ...whole, cases: ["a", "z"] }] },
      /"cases" of set "whole" has "z", which is no case.*such as a, b/,
    ],
    [
      { labels, sets: [whole, { data: "pet" }] },
      /channels of set "pet" are 1 \(PET\), those of set "whole" are 1 \(CT\).*"channels": \["CT"\]/,
    ],
    [
      { labels, channels: ["CT", "PET"], sets: [whole] },
      /"whole" are 1 \(CT\), its "channels" are 2 \(CT, PET\). Leave the set out/,
    ],
    [{ labels, sets: [whole, whole] }, /two sets are called "whole"/],
    [{ labels, sets: [whole, { data: "regions" }] }, /labels of set "regions" are regions/],
    [{ labels, sets: [{ ...whole, label: {} }] }, /set "whole" has an entry "label". Write one of data, name/],
    [{ labels, set: [whole] }, /it has an entry "set"/],
    [{ labels, sets: [] }, /it has no sets/],
    [{ labels, sets: [{ data: "group.json" }] }, /sets\[0\] names no folder/],
    [{ labels, sets: [{ data: "nowhere" }] }, /nowhere: there is no such folder/],
    [{ labels: ["liver", "spleen"], sets: [whole] }, /its labels begin with "liver"/],
    [{ labels: ["background", "a", "a"], sets: [whole] }, /its labels name "a" twice/],
    [{ labels: ["background", "ignore", "a"], sets: [whole] }, /"ignore" is not the last/],
    [{ labels, sets: [whole], format: "voxgrad group 9" }, /is no dataset group: its format is "voxgrad group 9"/],
  ];
  for (const [json, message] of faults) {
    const text = await refused(imaging.openDataset(await group(json)));
    assert.match(text, message);
    assert.match(text, /^DatasetError/);
  }
  assert.match(
    await refused(imaging.openDataset(join(root, "whole/dataset.json"))),
    /no dataset group.*or name a dataset folder/,
  );
  const same = await imaging.openDataset(await group({ labels, channels: ["CT"], sets: [whole, { data: "pet" }] }));
  assert.equal(same.channels, ["CT"]);
  // A check goes on: both sets are named, and the third is looked at.
  const findings = await imaging.checkDataset(
    await group({ labels, sets: [{ data: "spleens" }, { data: "pet", labels: { liver: "x" } }, whole] }),
  );
  assert.equal(
    findings.filter((each) => each.severity === "error").map((each) => /set "(\w+)"/.exec(each.problem)?.[1]),
    ["spleens", "pet"],
  );
});

test("loadCase() refuses a file that contradicts its own dataset.json, in a group as without one", async () => {
  const path = await folder("wrong", { background: 0, liver: 1, spleen: 2 }, {
    a: { label: mixed(3) },
    b: { label: mixed(2) },
  }, { labels_present: { b: ["liver"] } });
  const dataset = await imaging.openDataset(
    await group({ labels: ["background", "liver", "spleen"], sets: [{ data: path }] }),
  );
  assert.match(
    await refused(imaging.loadCase(dataset, dataset.cases[0])),
    /it holds 3 \(\d+ voxels\), which are none of the labels/,
  );
  assert.match(
    await refused(imaging.loadCase(dataset, dataset.cases[1])),
    /it holds 2 spleen \(\d+ voxels\), which labels_present/,
  );
});

test("checkDataset() finds voxels of one image that two cases claim differently, however their axes lie", async () => {
  const [, shape, affine] = GRIDS[0];
  const image = drawn(shape, affine, (x, y, z) => Math.round(100 * Math.sin(x + 2 * y + 3 * z)));
  const organs = drawn(shape, affine, (x, y, z) => (ball(-22, 8)(x, y, z) ? 1 : ball(20, 6)(x, y, z) ? 2 : 0));
  // In the second set the liver lacks its voxels beyond z = 24, and the axes are others.
  const liver = drawn(shape, affine, (x, y, z) => Number(ball(-22, 8)(x, y, z) && z < 24));
  await folder("twin1", { background: 0, liver: 1, spleen: 2 }, { a: { image, label: organs } });
  await folder("twin2", { background: 0, liver: 1 }, {
    same: { image: imaging.reorient(image, "PSL"), label: imaging.reorient(liver, "PSL") },
    // The same voxels elsewhere are another scan.
    moved: {
      image: { ...image, affine: imaging.composeAffines(imaging.scaling([1, 1, 1], [9, 0, 0]), affine) },
      label: { ...liver, affine: imaging.composeAffines(imaging.scaling([1, 1, 1], [9, 0, 0]), affine) },
    },
  });
  const labels = ["background", "liver", "spleen"];
  const file = await group({ labels, sets: [{ data: "twin1" }, { data: "twin2" }] });
  const findings = await imaging.checkDataset(file);
  assert.is(findings.length, 1, JSON.stringify(findings, null, 1));
  const [{ severity, problem, file: at }] = findings as [imaging.Finding];
  assert.equal([severity, at], ["error", join(root, "twin2/labelsTr/same.nii.gz")]);
  const wanted = [...liver.data].filter((value, i) => organs.data[i] === 1 && value === 0).length;
  assert.match(
    problem,
    new RegExp(`^${wanted} voxels are claimed otherwise by .*twin1/labelsTr/a.nii.gz \\(case twin1__a\\)`),
  );
  assert.match(problem, /it is none of its labels here and liver there/);
  // The voxel that is named is one of them, in both files.
  const voxel = /voxel \((\d+), (\d+), (\d+)\), (\S+), (\S+), (\S+) mm/.exec(problem)!.slice(1).map(Number);
  const stored = await imaging.readVolume(at);
  const point = imaging.applyAffine(stored.affine, voxel.slice(0, 3));
  assert.ok(point.every((x, k) => Math.abs(x - voxel[3 + k]) < 0.06), problem);
  assert.ok(ball(-22, 8)(...point) && point[2] >= 24);
  // Where the second set does not claim the liver, the two agree; that a split could part them is worth a word.
  const agreeing = await imaging.checkDataset(
    await group({ labels, sets: [{ data: "twin1" }, { data: "twin2", labels: { liver: null }, cases: ["same"] }] }),
  );
  assert.equal(agreeing.map((each) => [each.severity, /same image as/.test(each.problem)]), [["warning", true]]);
  // One folder in two sets whose maps differ.
  const sets = [{ data: "twin1", labels: { spleen: "liver" } }, { data: "twin1", name: "other" }];
  const [maps] = await imaging.checkDataset(await group({ labels, sets }));
  assert.match(maps.problem, /it is spleen here and liver there/);
});

test("checkDataset() tells of organs whose sides had to be guessed", async () => {
  const [, shape, affine] = GRIDS[1];
  const scan = (label: (x: number, y: number, z: number) => boolean) => ({
    image: drawn(shape, affine, (x, y, z) => bodyAt(0)(x, y, z) + Math.round(9 * Math.sin(x + y + z))),
    label: drawn(shape, affine, (x, y, z) => Number(label(x, y, z))),
  });
  await folder("sides", { background: 0, kidney: 1 }, {
    one: scan(ball(-22, 8)),
    two: scan((x, y, z) => kidneys(x, y, z) > 0),
    horseshoe: scan((x, y, z) => Math.abs(x) < 20 && ball(0, 30)(x, 15, z) && Math.abs(y - 15) < 5),
  });
  const sets = [{ data: "sides", labels: { kidney: ["left", "right"] } }];
  const findings = await imaging.checkDataset(await group({ labels: ["background", "left", "right"], sets }));
  const found = findings.filter((each) => /left and right/.test(each.problem)).map((
    { severity, file, problem },
  ) => [severity, file.split("/").pop(), /taken for the left|was cut there/.exec(problem)?.[0]]);
  assert.equal(found, [["warning", "horseshoe.nii.gz", "was cut there"], [
    "warning",
    "one.nii.gz",
    "taken for the left",
  ]]);
});

test.run();
