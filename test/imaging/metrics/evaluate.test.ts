// Predicted label maps against references: one case class by class, and `voxgrad evaluate` on folders.
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { platform } from "#platform";
import { scaling } from "../../../engine/imaging/volume/affine.ts";
import { compareLabels } from "../../../engine/imaging/metrics/compare.ts";
import { pairFiles } from "../../../engine/imaging/metrics/evaluate.ts";
import * as metrics from "../../../engine/imaging/metrics/metrics.ts";
import { writeNifti } from "../../../engine/imaging/mod.ts";
import { Prng } from "../../../engine/core/prng.ts";
import { makeVolume } from "../../../engine/imaging/volume/volume.ts";
import type { Triple } from "../../../engine/imaging/volume/volume.ts";

const folder = mkdtempSync(join(tmpdir(), "voxgrad-evaluate-"));
test.after(() => rmSync(folder, { recursive: true, force: true }));

const SHAPE: Triple = [7, 6, 5];
const random = new Prng(4);
const labels = (name: string, highest = 4) =>
  makeVolume(
    Uint8Array.from({ length: 210 }, () => Math.max(0, random.integer(highest + 4) - 3)),
    {
      shape: SHAPE,
      affine: scaling([0.8, 1.1, 2.5]),
      name,
    },
  );

test("compareLabels() gives each class what the single measures give", () => {
  const [prediction, reference] = [labels("p"), labels("r")];
  const options = { shape: [5, 6, 7], spacing: [2.5, 1.1, 0.8] };
  const compared = compareLabels(prediction, reference, { tolerance: 1.2 });
  assert.equal(
    compared.map((each) => each.values),
    [[1], [2], [3], [4]],
  );
  for (const each of compared) {
    const label = each.values[0];
    const [p, r] = [prediction.data, reference.data];
    assert.is(each.dice, metrics.dice(p, r, { label }));
    assert.is(each.iou, metrics.iou(p, r, { label }));
    assert.is(each.sensitivity, metrics.sensitivity(p, r, { label }));
    assert.is(each.precision, metrics.precision(p, r, { label }));
    const far = metrics.surfaceMeasures(p, r, { ...options, label, tolerance: 1.2 });
    for (const [key, value] of Object.entries(far)) assert.is(each[key as keyof typeof far], value, key);
    const volume = metrics.volume(p, { label, spacing: options.spacing, unit: "ml" });
    assert.ok(Math.abs(each.predictedVolume - volume) < 1e-12);
    assert.is(each.truePositive + each.falsePositive + each.falseNegative + each.trueNegative, 210);
  }
});

test("compareLabels() joins regions and leaves ignored voxels out", () => {
  const [prediction, reference] = [labels("p"), labels("r")];
  const classes = [{ name: "whole", values: [1, 3] }];
  const [region] = compareLabels(prediction, reference, { classes, ignore: 4 });
  const keep = reference.data.map((value) => Number(value !== 4));
  const member = (data: ArrayLike<number>) => keep.map((k, i) => Number(k && [1, 3].includes(data[i])));
  assert.is(region.dice, metrics.dice(member(prediction.data), member(reference.data)));
  const options = { shape: [5, 6, 7], spacing: [2.5, 1.1, 0.8] };
  const far = metrics.surfaceMeasures(member(prediction.data), member(reference.data), options);
  assert.is(region.hausdorff95, far.hausdorff95);
  const counted = region.truePositive + region.falsePositive + region.falseNegative + region.trueNegative;
  assert.is(
    counted,
    [...keep].reduce((a, b) => a + b, 0),
  );
  const nowhere = compareLabels(prediction, reference, { classes: [{ name: "none", values: [9] }] })[0];
  assert.ok(Number.isNaN(nowhere.dice) && Number.isNaN(nowhere.surfaceDice) && nowhere.trueNegative === 210);
});

test("pairFiles() knows references by what names of labels have beside, and takes no other case for one", async () => {
  const put = async (name: string) => platform.writeFile(join(folder, name), "");
  for (
    const name of [
      "pp/c.nii",
      "pp/volume-0.nii",
      "pp/d_0007.nii",
      "pp/e.nii",
      "rr/c_seg.nii",
      "rr/segmentation-0.nii",
      "rr/d.nii",
      "rr/e.NII.GZ",
    ]
  ) await put(name);
  const { pairs, missing, extra } = await pairFiles(join(folder, "pp"), join(folder, "rr"));
  const name = (path: string) => path.slice(path.lastIndexOf("/") + 1);
  assert.equal(pairs.map(({ id, reference }) => [id, name(reference)]), [["c", "c_seg.nii"], ["e", "e.NII.GZ"], [
    "volume-0",
    "segmentation-0.nii",
  ]]);
  assert.equal([missing, extra].map((files) => files.map(name)), [["d.nii"], ["d_0007.nii"]]);
});

test("compareLabels() turns a map that is stored with other axes, and measures the same", () => {
  const [prediction, reference] = [labels("p"), labels("r")];
  const wanted = compareLabels(prediction, reference);
  // Written out by hand: x backwards and y backwards (LPS), and axes z, x, y (SRA).
  const [X, Y, Z] = SHAPE;
  const at = (x: number, y: number, z: number) => prediction.data[x + X * (y + Y * z)];
  const [a, b, c] = [0.8, 1.1, 2.5];
  const lps = new Uint8Array(210);
  const sra = new Uint8Array(210);
  for (let z = 0; z < Z; z++) {
    for (let y = 0; y < Y; y++) {
      for (let x = 0; x < X; x++) {
        lps[X - 1 - x + X * (Y - 1 - y + Y * z)] = at(x, y, z);
        sra[z + Z * (x + X * y)] = at(x, y, z);
      }
    }
  }
  const turned = [
    makeVolume(lps, { shape: SHAPE, affine: [-a, 0, 0, a * (X - 1), 0, -b, 0, b * (Y - 1), 0, 0, c, 0, 0, 0, 0, 1] }),
    makeVolume(sra, { shape: [Z, X, Y], affine: [0, a, 0, 0, 0, 0, b, 0, c, 0, 0, 0, 0, 0, 0, 1] }),
  ];
  for (const volume of turned) assert.equal(compareLabels(volume, reference), wanted);
  const away = { ...turned[0], affine: turned[0].affine.map((v, i) => (i === 3 ? v + 1 : v)) };
  assert.throws(() => compareLabels(away, reference), /lies up to .* mm from r/);
});

test("compareLabels() refuses other grids and values that are no labels", () => {
  const reference = labels("r");
  const moved = { ...labels("p"), affine: scaling([0.8, 1.1, 2.6]) };
  assert.throws(() => compareLabels(moved, reference), /p: it lies up to .* mm from r/);
  const half = { ...reference, data: Float32Array.from(reference.data, (value) => value / 2), name: "half" };
  assert.throws(() => compareLabels(half, reference), /half: it holds 0\.5 .*which are not integers/);
});

const evaluate = (...args: string[]) => {
  const cli = fileURLToPath(new URL("../../../engine/platform/cli/voxgrad.mjs", import.meta.url));
  const done = spawnSync(process.execPath, [cli, "evaluate", ...args], { cwd: folder, encoding: "utf8" });
  return { code: done.status, output: done.stdout + done.stderr };
};

test("voxgrad evaluate writes summary.json and a CSV, and names what is missing", async () => {
  const [p, r] = [labels("p", 2), labels("r", 2)];
  const none = { ...r, data: new Uint8Array(210) };
  const write = (path: string, volume: typeof r) =>
    platform.writeFile(join(folder, path), writeNifti(volume, { gzip: true }));
  await write("pred/a.nii.gz", p);
  await write("ref/a.nii.gz", r);
  await write("pred/b.nii.gz", none);
  await write("ref/b.nii.gz", r);
  writeFileSync(join(folder, "dataset.json"), JSON.stringify({ labels: { background: 0, liver: 1, tumor: 2 } }));
  const done = evaluate("pred", "ref", "--dataset", ".", "--output", "out");
  assert.is(done.code, 0, done.output);
  assert.match(done.output, /class +Dice .* min Dice +max Dice/);
  assert.match(done.output, /liver +0\.\d{3}/);
  const summary = JSON.parse(readFileSync(join(folder, "out/summary.json"), "utf8"));
  const [a, b] = summary.metric_per_case;
  assert.is(a.prediction_file, "pred/a.nii.gz");
  const [one] = compareLabels(p, r);
  assert.is(a.metrics["1"].Dice, one.dice);
  assert.is(a.metrics["1"].n_pred, one.truePositive + one.falsePositive);
  assert.equal([b.metrics["1"].Dice, b.metrics["1"].HD95], [0, null]);
  // A file has spacings in float32.
  const mean = summary.mean["1"].HD95;
  assert.ok(Math.abs(mean - one.hausdorff95) < 1e-6 * mean, "the mean is over defined values");
  assert.equal([summary.undefined["1"].HD95, summary.undefined["1"].Dice], [1, 0]);
  assert.is(summary.mean["1"].Dice, one.dice / 2);
  assert.equal([summary.min["1"].Dice, summary.max["1"].Dice], [0, one.dice]);
  assert.ok(Math.abs(summary.foreground_mean.Dice - (summary.mean["1"].Dice + summary.mean["2"].Dice) / 2) < 1e-15);
  assert.equal(summary.class_names, { 1: "liver", 2: "tumor" });
  const csv = readFileSync(join(folder, "out/metrics.csv"), "utf8").trim().split("\n");
  assert.is(csv.length, 5);
  assert.match(csv[0], /^case,label,name,Dice,IoU,TP/);
  assert.match(csv[3], /^b,1,liver,0,0,0,0,.*NaN/);

  await write("ref/c.nii.gz", r);
  const regions = evaluate("pred", "ref", "--regions", "all=1+2", "--output", "out2");
  assert.is(regions.code, 1);
  assert.match(regions.output, /1 of 3 references have no prediction and are in no mean: ref\/c\.nii\.gz/);
  const second = JSON.parse(readFileSync(join(folder, "out2/summary.json"), "utf8"));
  assert.equal(Object.keys(second.mean), ["(1, 2)"]);
  assert.equal(second.missing_predictions, ["ref/c.nii.gz"]);
});

test.run();
