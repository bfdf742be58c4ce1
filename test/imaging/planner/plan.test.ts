// deno-lint-ignore-file no-explicit-any
/** Plans against those that nnU-Net published for the Medical Segmentation Decathlon, and rules worked out by hand. */
import { execFile } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { test } from "uvu";
import * as assert from "uvu/assert";
import * as vg from "../../../engine/mod.ts";
import * as imaging from "../../../engine/imaging/mod.ts";
import type { Fingerprint, Plan, Triple } from "../../../engine/imaging/mod.ts";
import { networkFromPlan } from "../../../models/mod.ts";

const dataset = (classes = 2, channels = ["MRI"]) => ({
  name: "Made up",
  channels,
  labels: Array.from({ length: classes }, (_, value) => ({
    value,
    name: value === 0 ? "background" : `part ${value}`,
  })),
});

const figures = { mean: 100, median: 98, deviation: 20, min: -5, max: 300, low: 40, high: 160 };

const fingerprint = (
  cases: readonly { shape: Triple; spacing: Triple; relativeSize?: number }[],
  channels = ["MRI"],
): Fingerprint => ({
  orientation: "RAS",
  cases: cases.map((c, k) => ({ id: `case_${k}`, relativeSize: 1, ...c })),
  channels: channels.map((name) => ({ name, ...figures })),
});

const alike = (count: number, shape: Triple, spacing: Triple) =>
  Array.from({ length: count }, () => ({ shape, spacing }));
const digits = (list: readonly Triple[]): string => list.map((t) => t.join("")).join(" ");

test("makePlan() gives the patches, batches, pooling and kernels that nnU-Net published for the Decathlon", () => {
  // Median shape and target spacing of each task, and patch, pooling and kernels of its 3d_fullres plan.
  const published = [
    ["Hippocampus", 260, 3, [36, 50, 35], [1, 1, 1], [40, 56, 40], 9, "111 222 222 222", "333 333 333 333"],
    [
      "Spleen",
      41,
      2,
      [187, 512, 512],
      [1.6, 0.79297, 0.79297],
      [64, 192, 160],
      2,
      "111 122 222 222 222 222",
      "133 333 333 333 333 333",
    ],
    [
      "Heart",
      20,
      2,
      [115, 320, 232],
      [1.37, 1.25, 1.25],
      [80, 192, 160],
      2,
      "111 222 222 222 222 122",
      "333 333 333 333 333 333",
    ],
    [
      "Liver",
      131,
      3,
      [482, 512, 512],
      [1, 0.767578, 0.767578],
      [128, 128, 128],
      2,
      "111 222 222 222 222 222",
      "333 333 333 333 333 333",
    ],
    [
      "Pancreas",
      281,
      3,
      [96, 512, 512],
      [2.5, 0.8027, 0.8027],
      [40, 224, 224],
      2,
      "111 122 222 222 222 122",
      "133 333 333 333 333 333",
    ],
    [
      "Prostate",
      32,
      3,
      [20, 320, 319],
      [3.6, 0.625, 0.625],
      [20, 320, 256],
      2,
      "111 122 122 222 222 122 122",
      "133 133 333 333 333 333 333",
    ],
  ] as const;
  for (const [name, count, classes, shape, spacing, patch, batch, strides, kernels] of published) {
    const plan = imaging.makePlan(dataset(classes), fingerprint(alike(count, shape, spacing)));
    assert.equal([...plan.patch], [...patch], name);
    assert.is(plan.batch, batch, name);
    assert.is(digits(plan.network.strides), strides, name);
    assert.is(digits(plan.network.kernels), kernels, name);
    const stages = strides.split(" ").length;
    assert.equal([...plan.network.features], [32, 64, 128, 256, 320, 320, 320].slice(0, stages), name);
  }
});

test("makePlan() takes the median spacing, and the 10th percentile along an anisotropic axis, put first", () => {
  // x is coarse: 5 mm in most, 3 mm in the two finest of eleven; 20 slices of 200 x 180.
  const cases = Array.from({ length: 11 }, (_, k) => ({
    shape: [180, 200, 20] as Triple,
    spacing: [0.7, 0.7, k < 2 ? 3 : 5] as Triple,
  }));
  const plan = imaging.makePlan(dataset(), fingerprint(cases));
  assert.equal([...plan.transpose], [2, 0, 1]);
  // The 10th percentile of 11 values is the second.
  assert.equal([...plan.spacing], [3, 0.7, 0.7]);
  // 5 / 3 * 20 = 33.3 slices in most cases.
  assert.equal([...plan.fingerprint.medianPreparedShape], [33, 180, 200]);
  assert.equal([...plan.fingerprint.medianShape], [20, 180, 200]);
  // As coarse but with as many voxels as the others, it stays at the median.
  const thick = cases.map((c) => ({ ...c, shape: [180, 200, 120] as Triple }));
  assert.equal([...imaging.makePlan(dataset(), fingerprint(thick)).spacing], [5, 0.7, 0.7]);
  // No finer than the other axes.
  const fine = cases.map((c, k) => ({ ...c, spacing: [0.7, 0.7, k < 2 ? 0.5 : 5] as Triple }));
  assert.equal([...imaging.makePlan(dataset(), fingerprint(fine)).spacing], [0.7 + 1e-5, 0.7, 0.7]);
});

test("makePlan() normalizes by the channel's name and the crop", () => {
  const names = ["CT", "noNorm", "rescale_to_0_1", "T1"];
  const of = (relativeSize: number): Plan =>
    imaging.makePlan(
      dataset(2, names),
      fingerprint(
        alike(5, [60, 70, 80], [1, 1, 1]).map((c) => ({ ...c, relativeSize })),
        names,
      ),
    );
  const [ct, ...others] = of(0.9).channels;
  assert.equal(ct, { name: "CT", normalization: "ct", mean: 100, deviation: 20, low: 40, high: 160 });
  assert.equal(
    others.map((c) => c.normalization),
    ["none", "rescale", "z-score"],
  );
  assert.equal(
    of(0.7).channels.map((c) => c.normalization),
    ["ct", "none", "rescale", "z-score in mask"],
  );
});

test("makePlan() for 3d_lowres coarsens until a patch holds a quarter of the median case, only where needed", () => {
  const large = fingerprint(alike(131, [482, 512, 512], [1, 0.767578, 0.767578]));
  const plan = imaging.makePlan(dataset(3), large, { configuration: "3d_lowres" });
  const share = plan.patch.reduce((a, b) => a * b) / plan.fingerprint.medianPreparedShape.reduce((a, b) => a * b);
  assert.ok(share >= 0.25 && share < 0.3, `${share}`);
  // All axes grow by the same factor, a power of 1.03, as no spacing is twice another.
  const factor = plan.spacing[0];
  assert.ok(Math.abs(plan.spacing[1] / 0.767578 - factor) < 1e-9);
  const power = Math.log(factor) / Math.log(1.03);
  assert.ok(Math.abs(power - Math.round(power)) < 1e-6 && factor > 1.5);
  const small = fingerprint(alike(20, [40, 50, 40], [1, 1, 1]));
  assert.throws(() => imaging.makePlan(dataset(), small, { configuration: "3d_lowres" }), /use 3d_fullres/);
});

test("makePlan() takes the small preset and overrides", () => {
  const hippocampus = fingerprint(alike(260, [36, 50, 35], [1, 1, 1]));
  const small = imaging.makePlan(dataset(3), hippocampus, { preset: "small" });
  assert.equal([...small.patch], [40, 56, 40]);
  assert.equal([...small.network.features], [8, 16, 32, 64]);
  assert.is(small.batch, 2);
  const large = imaging.makePlan(dataset(3), fingerprint(alike(41, [187, 512, 512], [1.6, 0.79, 0.79])), {
    preset: "small",
  });
  assert.ok(large.patch.reduce((a, b) => a * b) < 56 ** 3, `${large.patch}`);
  const own = imaging.makePlan(dataset(3), hippocampus, {
    patch: [30, 44, 33],
    batch: 5,
    features: [4, 8, 12],
    spacing: [1, 1, 1],
  });
  assert.equal([...own.patch], [32, 44, 36]);
  assert.equal([[...own.network.features], own.batch], [[4, 8, 12], 5]);
  assert.throws(
    () => imaging.makePlan(dataset(), hippocampus, { patch: [8, 8, 8], features: [4, 8, 16, 32] }),
    /features 4-8-16-32 ask for 4 stages, a patch of 8 x 8 x 8 allows/,
  );
  assert.throws(
    () => imaging.makePlan(dataset(), fingerprint(alike(3, [3, 5, 4], [1, 1, 1]))),
    /too small for a network/,
  );
  const residual = imaging.makePlan(dataset(), hippocampus, { network: "residualEncoderUNet" }).network;
  assert.equal([residual.name, residual.blocksPerStage], ["residualEncoderUNet", [1, 3, 4, 6]]);
});

test("unetFromPlan() builds a network that fits the plan's patch", async () => {
  const plan = imaging.makePlan(dataset(3), fingerprint(alike(9, [16, 20, 12], [2, 1, 1])), {
    preset: "small",
    features: [2, 4],
  });
  const model = networkFromPlan(plan, { deepSupervision: false });
  const [d, h, w] = plan.patch;
  const out = model.apply(model.init(vg.random.key(0)), vg.zeros([1, 1, d, h, w]), { train: false }) as vg.Tensor;
  assert.equal([...out.shape], [1, 3, d, h, w]);
  const regions = [{ name: "whole", values: [1, 2] }];
  assert.is(imaging.outputChannels({ ...plan, regions }), 1);
});

test("writePlan() and readPlan() round-trip a plan that is short enough to read", async () => {
  const folder = await mkdtemp(join(tmpdir(), "voxgrad-plan-"));
  try {
    const file = join(folder, "plan.json");
    const plan = imaging.makePlan(
      dataset(3, ["CT"]),
      fingerprint(alike(41, [187, 512, 512], [1.6, 0.79, 0.79]), ["CT"]),
    );
    await imaging.writePlan(file, plan);
    assert.equal(await imaging.readPlan(file), JSON.parse(JSON.stringify(plan)));
    const lines = imaging.planText(plan).split("\n");
    assert.ok(lines.length < 60 && lines.every((line) => line.length <= 120), `${lines.length} lines`);
    await writeFile(file, "{ no");
    let message = "";
    await imaging.readPlan(file).catch((error: Error) => void (message = error.message));
    assert.match(message, /plan\.json: it is no JSON/);
  } finally {
    await rm(folder, { recursive: true });
  }
});

test("checkPlan() names the wrong entry of an edited plan, its value and what it should be", () => {
  const plan: any = JSON.parse(
    JSON.stringify(imaging.makePlan(dataset(3, ["CT"]), fingerprint(alike(9, [64, 64, 64], [1, 1, 1]), ["CT"]))),
  );
  const wrong = (edit: (p: any) => void): string => {
    const copy = structuredClone(plan);
    edit(copy);
    try {
      imaging.checkPlan(copy, "plan.json");
    } catch (error) {
      assert.ok(error instanceof imaging.PlanError && error.file === "plan.json");
      return error.message;
    }
    return "";
  };
  assert.is(
    wrong(() => {}),
    "",
  );
  const earlier = structuredClone(plan);
  for (const channel of earlier.channels) {
    channel.normalisation = channel.normalization;
    delete channel.normalization;
  }
  assert.equal(imaging.checkPlan(earlier, "plan.json"), plan, "plans of earlier versions say normalisation");
  assert.match(
    wrong((p) => (p.patchSize = 3)),
    /patchSize is no entry of a plan; it takes format, /,
  );
  assert.match(
    wrong((p) => delete p.spacing),
    /spacing is missing; wanted three of numbers above 0/,
  );
  assert.match(
    wrong((p) => (p.spacing = [1, 1])),
    /spacing is \[1, 1\]; wanted three/,
  );
  assert.match(
    wrong((p) => (p.spacing[2] = 0)),
    /spacing is \[1, 1, 0\]/,
  );
  assert.match(
    wrong((p) => (p.transpose = [0, 0, 1])),
    /transpose is \[0, 0, 1\]; wanted 0, 1 and 2/,
  );
  assert.match(
    wrong((p) => (p.patch[1] = 70)),
    /patch is 64 x 70 x 64.* wanted a multiple of 16: 64 or 80/,
  );
  assert.match(
    wrong((p) => (p.patch = [16, 16, 16])),
    /one voxel is left/,
  );
  assert.match(
    wrong((p) => (p.batch = 0)),
    /batch is 0; wanted an integer >= 1/,
  );
  assert.match(
    wrong((p) => delete p.channels[0].mean),
    /channels\[0\]\.mean is missing; wanted a number/,
  );
  assert.match(
    wrong((p) => (p.channels[0].normalization = "zscore")),
    /channels\[0\]\.(mean is no entry|normalization)/,
  );
  assert.match(
    wrong((p) => p.network.kernels.pop()),
    /network\.kernels has \d entries; wanted \d for \d stages/,
  );
  assert.match(
    wrong((p) => (p.network.kernels[0] = [2, 3, 3])),
    /kernels are odd/,
  );
  assert.match(
    wrong((p) => (p.network.blocksPerStage = [1])),
    /network\.blocksPerStage is no entry/,
  );
  assert.match(
    wrong((p) => (p.network.name = "vnet")),
    /network\.name is "vnet"/,
  );
  assert.match(
    wrong((p) => (p.resampling.label = 3)),
    /resampling\.label is 3; wanted 0 or 1/,
  );
  assert.match(
    wrong((p) => (p.ignoreLabel = 1)),
    /ignoreLabel is 1, the value of "part 1"/,
  );
  assert.match(
    wrong((p) => (p.regions = [{ name: "all", values: [1, 7] }])),
    /regions\[0\] has the value 7/,
  );
  assert.match(
    wrong((p) => (p.labels = [])),
    /labels is \[\]; wanted a list of strings/,
  );
});

test("voxgrad plan DATA writes a plan and prints what it found", async () => {
  const folder = await mkdtemp(join(tmpdir(), "voxgrad-plan-"));
  const cli = fileURLToPath(new URL("../../../engine/platform/cli/voxgrad.mjs", import.meta.url));
  const run = promisify(execFile);
  try {
    const data = join(folder, "data");
    await imaging.writePhantomDataset(data, { cases: 3, seed: 1, shape: [24, 20, 18], spacing: [1, 1.5, 2] });
    // Regions instead of labels: their outputs are sigmoids.
    const file = join(data, "dataset.json");
    const described = JSON.parse(await readFile(file, "utf8"));
    const names = Object.keys(described.labels).filter((name) => name !== "background");
    described.labels = { background: 0, whole: names.map((_, k) => k + 1), core: [1] };
    described.regions_class_order = [2, 1];
    await writeFile(file, JSON.stringify(described));
    const args = ["plan", data, "--preset", "small", "--features", "2,4", "--batch", "3", "--out", "own.json"];
    const { stdout } = await run(process.execPath, [cli, ...args], { cwd: folder });
    assert.match(stdout, /3 cases/);
    assert.match(stdout, /memory of a step +\d+ MiB/);
    const plan = await imaging.readPlan(join(folder, "own.json"));
    assert.equal([plan.batch, [...plan.network.features], imaging.outputChannels(plan)], [3, [2, 4], 2]);
    assert.ok(plan.estimatedBytes! > 1e5);
    const wrong = await run(process.execPath, [cli, "plan"], { cwd: folder }).then(
      () => "",
      (error) => error.stderr as string,
    );
    assert.match(wrong, /Name its folder: voxgrad plan/);
  } finally {
    await rm(folder, { recursive: true });
  }
});

test.run();
