// deno-lint-ignore-file no-explicit-any
/** One-shot segmentation measured over supports and within scans: statistics and protocol against numbers by hand. */
import { appendFile, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "uvu";
import * as assert from "uvu/assert";
import * as vg from "../../../engine/mod.ts";
import type { Tensor } from "../../../engine/mod.ts";
import * as imaging from "../../../engine/imaging/mod.ts";
import type { Triple, Volume } from "../../../engine/imaging/mod.ts";
import * as train from "../../../engine/train/mod.ts";
import {
  drawSupports,
  evaluateOneShot,
  oneShotEntries,
  segmentWithin,
  summarizeSupports,
} from "../../../models/mod.ts";
import { compareOtherSlices, planOfScan, slicePlaces } from "../../../models/alpnet/evaluate/within.ts";
import { alpnetEntries, trainAlpnet } from "../../../scripts/train_alpnet.ts";
import { notableSupports } from "../../../models/alpnet/evaluate/statistics.ts";
import { planFor } from "../../helpers/plans.ts";
import { checkSvg } from "../../helpers/svg.ts";
import { message } from "../../helpers/refuse.ts";

const folder = await mkdtemp(join(tmpdir(), "voxgrad-one-shot-"));
test.after(async () => {
  await rm(folder, { recursive: true, force: true });
  await vg.closeDevice();
});
const near = (got: number, wanted: number, what = "") =>
  assert.ok(Math.abs(got - wanted) < 1e-9, `${what} ${got}, wanted ${wanted}`);
test("drawSupports() draws without repetition, whatever the order, and more supports begin with the same", () => {
  const ids = ["a", "b", "c", "d", "e", "f"];
  const drawn = drawSupports(ids, 4, 7);
  assert.is(new Set(drawn).size, 4);
  assert.equal(drawSupports([...ids].reverse(), 6, 7).slice(0, 4), drawn);
  assert.equal([...drawSupports(ids, 10, 3)].sort(), ids);
  assert.is(new Set([1, 2, 3, 4, 5, 6, 7, 8].map((seed) => drawSupports(ids, 1, seed)[0])).size > 1, true);
});

test("summarizeSupports() takes means over cases first, then their spread over supports", () => {
  const rows = [
    ["A", "b", 0.8, 2, NaN, 1],
    ["A", "c", 0.6, 4, 0.4, 1],
    ["B", "a", 0.5, 6, 0.2, 1],
    ["B", "c", 0.7, NaN, 0.6, 1],
    ["C", "a", 0.9, 1, 0.2, 1],
    ["C", "b", 0.9, 2, 0.4, 1],
  ] as const;
  const summary = summarizeSupports(rows.map(([support, id, ...m]) => ({
    support,
    id,
    classes: [{ name: "one", dice: m[0], hausdorff95: m[1] }, { name: "two", dice: m[2], hausdorff95: m[3] }] as any,
  })));
  assert.equal(summary.supports, ["A", "B", "C"]);
  assert.equal(summary.rows.map(({ name }) => name), ["one", "two", "mean over classes"]);
  const wanted = [
    [[0.7, 0.6, 0.9], 2.2 / 3, Math.sqrt(0.07 / 3), 0.6, 0.9, 0],
    [[0.4, 0.4, 0.3], 1.1 / 3, Math.sqrt(0.01 / 3), 0.3, 0.4, 1],
    [[0.55, 0.5, 0.6], 0.55, 0.05, 0.5, 0.6, 1],
  ] as const;
  for (const [r, [by, mean, deviation, least, largest, missing]] of wanted.entries()) {
    const { bySupport, spread } = summary.rows[r].Dice;
    by.forEach((value, s) => near(bySupport[s], value, `row ${r}, support ${s}`));
    [spread.mean, spread.deviation, spread.least, spread.largest].forEach((value, k) =>
      near(value, [mean, deviation, least, largest][k], `row ${r}`)
    );
    assert.is(spread.undefined, missing);
  }
  // 3, 6 and 1.5 mm.
  const { spread } = summary.rows[0].HD95;
  near(spread.mean, 3.5);
  near(spread.deviation, Math.sqrt(5.25));
  assert.is(spread.undefined, 1);
  assert.equal(notableSupports(summary).map(({ which, support }) => [which, support]), [
    ["best", "C"],
    ["median", "A"],
    ["worst", "B"],
  ]);
  const alone = summarizeSupports([{
    support: "A",
    id: "b",
    classes: [{ name: "one", dice: NaN, hausdorff95: NaN }] as any,
  }]);
  assert.is(alone.rows.length, 1);
  assert.ok(Number.isNaN(alone.rows[0].Dice.spread.mean) && Number.isNaN(alone.rows[0].Dice.spread.deviation));
  assert.equal(notableSupports(alone).map(({ which }) => which), ["best"]);
});

const affineOf = ([x, y, z]: readonly number[]): number[] => [x, 0, 0, 0, 0, y, 0, 0, 0, 0, z, 0, 0, 0, 0, 1];
const scanOf = (shape: Triple, spacing: Triple, value: (x: number, y: number, z: number) => number): Volume => {
  const [X, Y] = shape;
  const data = Float32Array.from(
    { length: imaging.voxelCount(shape) },
    (_, i) => value(i % X, Math.floor(i / X) % Y, Math.floor(i / (X * Y))),
  );
  return imaging.makeVolume(data, { shape, affine: affineOf(spacing), name: "made" });
};
const plan = planFor({
  orientation: "RAS",
  spacing: [3, 1, 1],
  labels: ["background", "bright", "other"],
  channels: [{ name: "MR", normalization: "z-score" }],
  fingerprint: {
    cases: 1,
    medianShape: [9, 30, 20],
    medianSpacing: [3, 1, 1],
    medianPreparedShape: [9, 30, 20],
    relativeSizeAfterCrop: 1,
  },
});

test("planOfScan() keeps the slices, and gives them as many pixels as asked", () => {
  const scan = scanOf([40, 60, 10], [2, 1, 4], (x) => (x < 20 ? 1 : 3));
  for (const axes of ["RAS", "PSR", "LPI"]) {
    const image = imaging.reorient(scan, axes);
    assert.equal(planOfScan(image, plan, { preparation: "plan" }), { ...plan, spacing: [4, 1, 1] });
    const own = planOfScan(image, plan, { preparation: "own", clip: [0, 2] });
    // 60 x 80 mm on 30 x 20 pixels.
    assert.equal([own.transpose, own.spacing], [[0, 1, 2], [4, Math.sqrt(8), Math.sqrt(8)]]);
    assert.equal(own.channels, [{ name: "MR", normalization: "ct", mean: 1.5, deviation: 0.5, low: 0, high: 2 }]);
    assert.equal(planOfScan(image, plan, { preparation: "own", side: 40 }).spacing, [4, 2, 2]);
  }
  // Slices lie across the coarsest axis; what is zero around the scan is no part of it.
  const sagittal = scanOf([8, 62, 10], [5, 1, 1], (_, y) => Number(y > 0 && y < 61));
  const own = planOfScan(sagittal, plan, { preparation: "own" });
  assert.equal([own.transpose, own.spacing], [[2, 0, 1], [5, 1, 1]]);
  // 1 to 1000: the sixth from either end stand for the percentiles.
  const ramp = planOfScan(scanOf([10, 10, 10], [1, 1, 1], (x, y, z) => 1 + x + 10 * y + 100 * z), plan, {
    preparation: "own",
  }).channels[0] as any;
  assert.equal([ramp.low, ramp.high, ramp.mean], [6, 995, 500.5]);
  assert.throws(() => planOfScan(scan, plan, { preparation: "own", clip: [2, 1] }), /clip: got 2 to 1/);
  assert.throws(
    () => planOfScan({ ...scan, channels: 2 }, plan, { preparation: "own" }),
    /has 2 channel\(s\), the encoder takes 1/,
  );
});

/** Features [max(x, 0), max(-x, 0)]: what is brighter than the mean, and what is darker. */
const signs = {
  config: { outputStride: 1 },
  apply: (_: unknown, x: Tensor): Tensor => vg.concat([vg.relu(x), vg.relu(x.neg())], { axis: 1 }),
};
const bright = { name: "bright", values: [1] };
/** A box of 4 x 7 pixels over slices [from, to), 90 above a ground of 10; slice 0 is empty. */
const inBox = ([from, to]: readonly number[], width = 4) => (x: number, y: number, z: number): number =>
  Number(z >= from && z < to && x >= 3 && x < 3 + width && y >= 2 && y < 9);
const image = (slices: readonly number[]) =>
  scanOf([11, 13, 9], [1, 1, 3], (x, y, z) => (z === 0 ? 0 : 10 + 90 * inBox(slices)(x, y, z)));
function labeled(slices: readonly number[], label: (x: number, y: number, z: number) => number, axes = "RAS") {
  const [scan, marks] = [image(slices), scanOf([11, 13, 9], [1, 1, 3], label)].map((each) =>
    imaging.reorient(each, axes)
  );
  return { id: "scan", image: scan, label: { ...marks, data: Uint8Array.from(marks.data) } };
}
const within = (loaded: ReturnType<typeof labeled>, more: object = {}) =>
  segmentWithin(signs, {}, loaded, {
    plan,
    classes: [bright],
    preparation: "plan",
    ranges: "known",
    window: 1,
    batch: 4,
    ...more,
  });

test("segmentWithin() leaves the labeled slice out of the measures, whatever the axes", async () => {
  const same = await within(labeled([2, 7], inBox([2, 7])));
  assert.equal([same.classes[0].compared.dice, same.classes[0].compared.hausdorff95, same.classes[0].given], [
    1,
    0,
    2,
  ]);
  for (const axes of ["RAS", "PSL", "LPI"]) {
    // Slice 5 is labeled by half: 98 voxels agree, 14 are predicted beside them.
    const half = labeled([2, 7], (x, y, z) => inBox([2, 7], z === 5 ? 2 : 4)(x, y, z), axes);
    const { classes: [found], prediction, size } = await within(half);
    assert.equal([prediction.shape, [...size]], [half.image.shape, [13, 11]]);
    near(found.compared.dice, 196 / 210, axes);
    assert.equal([found.compared.truePositive, found.compared.falsePositive, found.given], [98, 14, 2]);
    assert.equal(found.bySlice.map((dice) => dice.toFixed(4)), [
      "NaN",
      "NaN",
      "NaN",
      "1.0000",
      "1.0000",
      "0.6667",
      "1.0000",
      "NaN",
      "NaN",
    ]);
    // Another slice is labeled: slice 2 counts now.
    assert.equal((await within(half, { slice: 4 })).classes[0].bySlice[4], NaN);
  }
});

test("segmentWithin() looks at all slices where ranges are unknown, and tells what cannot be", async () => {
  const longer = labeled([1, 8], inBox([2, 7]));
  assert.is((await within(longer)).classes[0].compared.dice, 1);
  // 112 voxels of four slices, and 56 of the two that are not labeled.
  near((await within(longer, { ranges: "unknown" })).classes[0].compared.dice, 0.8);
  const other = { name: "other", values: [2] };
  const { classes } = await within(longer, { classes: [bright, other] });
  assert.equal([classes[1].given, classes[1].bySlice, classes[1].compared.truePositive], [-1, [], NaN]);
  assert.match(await message(within(longer, { slice: 1 })), /none of bright in slice 2/);
  assert.match(await message(within(longer, { slice: 9 })), /there is no slice 10; it has 9/);
  assert.match(await message(within(longer, { classes: [other] })), /none of other as it is prepared/);
});

test("segmentWithin() prepares another kind of scan by itself", async () => {
  // Twice as many pixels, slices across x, other intensities: as it is prepared, the box is brighter than the mean
  // again.
  const turned = (f: (x: number, y: number, z: number) => number) =>
    scanOf([9, 22, 26], [6, 1, 1], (x, y, z) => f(Math.floor(y / 2), Math.floor(z / 2), x));
  const scan = turned((x, y, z) => -1000 + 50 * inBox([2, 7])(x, y, z));
  const marks = turned(inBox([2, 7]));
  const { classes: [found], size, places } = await within(
    { id: "scan", image: scan, label: { ...marks, data: Uint8Array.from(marks.data) } },
    { preparation: "own", side: 13 },
  );
  assert.equal([[...size], places.along, found.given], [[13, 11], "R", 2]);
  // Linear interpolation back to twice the pixels may lose corners.
  assert.ok(found.compared.dice > 0.95, `${found.compared.dice}`);
});

test("compareOtherSlices() measures distances on the whole scan with the labeled slice as it was given", async () => {
  const loaded = labeled([2, 6], inBox([2, 5]));
  const places = slicePlaces((await imaging.preprocessImage(loaded.image, plan)).geometry);
  const predicted = scanOf([11, 13, 9], [1, 1, 3], (x, y, z) => (z === 3 ? Number(x === 10) : inBox([2, 6])(x, y, z)));
  const { compared } = compareOtherSlices({ ...predicted, data: Uint8Array.from(predicted.data) }, loaded.label, {
    of: bright,
    given: 3,
    places,
  });
  // Slices 2 and 4 agree, 5 is one too many, 3 mm from the next; what was predicted in 3 does not count.
  near(compared.dice, 0.8);
  assert.is(compared.hausdorff, 3);
});

test("overlaySvg() shows marked slices in a frame, in the place of the nearest other", () => {
  const scan = scanOf([6, 5, 20], [1, 1, 1], (x) => x);
  const reference = Uint8Array.from({ length: 600 }, (_, i) => Number(Math.floor(i / 30) >= 4));
  const slices = (marked: number[]) => {
    const item = {
      name: "n",
      image: scan,
      reference,
      caption: "Dice 0.5 <",
      marked: marked.map((slice) => ({ slice, note: "labeled" })),
    };
    const svg = train.overlaySvg([item], { labels: ["b", "x"], slices: 3 });
    checkSvg(svg);
    assert.match(svg, />n: Dice 0\.5 &#60;</);
    assert.is(svg.match(/stroke-dasharray="6 4"/g)?.length ?? 0, marked.length);
    return [...svg.matchAll(/>slice (\d+) of 20(, labeled)?</g)].map((m) => m[1] + (m[2] ? "*" : ""));
  };
  const [first, middle, last] = slices([]).map(Number) as [number, number, number];
  assert.equal(slices([middle - 1]), [`${first}`, `${middle}*`, `${last}`]);
  assert.equal(slices([19]), [`${first}`, `${middle}`, "20*"]);
  assert.equal(slices([0, middle - 1]), ["1*", `${middle}*`, `${last}`]);
});

const place = (name: string) => join(folder, name);
const measure = (words: readonly string[]) =>
  evaluateOneShot(config(["--cache", place("prepared"), "--workers", "0", ...words])) as Promise<any>;
const config = (words: readonly string[]) => train.config(oneShotEntries, words);

test("evaluate_one_shot measures each case from each support, resumes after a stop, and reports", async () => {
  await imaging.writeOrganPhantomDataset(place("data"), {
    cases: 5,
    seed: 3,
    shape: [24, 20, 16],
    spacing: [10, 10, 20],
  });
  const trained = [
    place("data"),
    "--arm",
    "init",
    "--folds",
    "2",
    "--stride",
    "4",
    "--embedding",
    "8",
    "--testWindow",
    "1",
    "--workers",
    "0",
  ];
  await trainAlpnet(train.config(alpnetEntries, [...trained, "--run", place("run"), "--cache", place("prepared")]));
  const { splits } = JSON.parse(await readFile(place("run/config.json"), "utf8"));
  const held: string[] = splits[0].val;
  assert.is(held.length, 3);
  const words = [place("run"), "--classes", "liver,left=spleen"];
  const found = await measure([...words, "--supports", "2"]);
  assert.equal(Object.keys(found.classes), ["liver", "left", "mean over classes"]);
  assert.equal([found.supports.length, found.cases], [2, 2]);
  // Dice by the files alone.
  const dice = async (support: string, id: string, value: number): Promise<number> => {
    const [p, r] = await Promise.all(
      [`run/one_shot/predictions/${id}_from_${support}.nii.gz`, `data/labelsTr/${id}.nii.gz`].map((file) =>
        imaging.readVolume(place(file))
      ),
    );
    let [both, all] = [0, 0];
    r.data.forEach((wanted, i) => {
      both += Number(wanted === value && p.data[i] === value);
      all += Number(wanted === value) + Number(p.data[i] === value);
    });
    return (2 * both) / all;
  };
  for (const [s, support] of found.supports.entries()) {
    for (const [name, value] of [["liver", 1], ["left", 2]] as const) {
      const own = await Promise.all(held.filter((id) => id !== support).map((id) => dice(support, id, value)));
      near(found.classes[name].Dice.bySupport[s], own.reduce((a, b) => a + b) / own.length, `${support} ${name}`);
    }
  }
  // A stop in the third line; one more support is added. A kept line is taken as it is, here with another Dice.
  const lines = (await readFile(place("run/one_shot/results.jsonl"), "utf8")).trim().split("\n");
  assert.is(lines.length, 4);
  const [first, second] = lines.map((line) => JSON.parse(line)) as [any, any];
  first.classes[0].dice = 0.25;
  await writeFile(place("run/one_shot/results.jsonl"), `${JSON.stringify(first)}\n${lines[1]}\n`);
  await appendFile(place("run/one_shot/results.jsonl"), lines[2].slice(0, 50));
  const more = await measure([...words, "--supports", "3"]);
  assert.equal(more.supports.slice(0, 2), found.supports);
  near(more.classes.liver.Dice.bySupport[0], (0.25 + second.classes[0].dice) / 2);
  assert.is(more.classes.liver.Dice.bySupport[1], found.classes.liver.Dice.bySupport[1]);
  assert.is((await readFile(place("run/one_shot/results.jsonl"), "utf8")).trim().split("\n").length, 6);
  const report = await readFile(place("run/one_shot/report.html"), "utf8");
  for (
    const heading of [
      "Over 3 supports",
      "Each support",
      "Every case from every support",
      "Spread over the supports",
      "Best support",
      "Median support",
      "Worst support",
    ]
  ) {
    assert.ok(report.includes(heading), heading);
  }
  assert.match(await message(measure([...words, "--window", "2"])), /other settings \(window 1, now 2\)/);
  assert.match(await message(measure([place("run"), "--classes", "heart"])), /there is no heart; there are liver/);
  assert.match(await message(measure([place("run"), "--cases", "nobody"])), /no labeled case nobody/);
  assert.match(
    await message(measure([place("run"), "--cases", held[0], "--output", place("one")])),
    /1 case; one is the support/,
  );
});

test("evaluate_one_shot --within takes an image file and its label map", async () => {
  const [scan, labels] = ["data/imagesTr/organs_001.nii.gz", "data/labelsTr/organs_001.nii.gz"].map(place) as [
    string,
    string,
  ];
  await measure([
    place("run"),
    scan,
    "--labels",
    labels,
    "--classes",
    "liver=1",
    "--within",
    "--preparation",
    "own",
    "--output",
    place("one_scan"),
  ]);
  const { scans: [one], classes } = JSON.parse(await readFile(place("one_scan/metrics.json"), "utf8"));
  assert.is(one.classes.liver.Dice, classes.liver.Dice.mean);
  assert.ok(one.classes.liver.support_slice > 1 && one.classes.liver.copied_mask_Dice > 0.5, JSON.stringify(one));
  const report = await readFile(place("one_scan/report.html"), "utf8");
  assert.ok(
    ["One labeled slice of the same scan", "Dice by slice", ", labeled%3C"].every((word) => report.includes(word)),
  );
  assert.match(await message(measure([place("run"), scan])), /one image; add --within/);
  assert.match(await message(measure([place("run"), scan, "--within"])), /--labels is missing/);
});

test.run();
