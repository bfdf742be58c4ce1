/** The arithmetic and the report of the GPU benchmark, with numbers made by hand. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import { epochSeconds, goalsOf, goalState, medianOf, ratioOf, sharesOf } from "../../bench/gpu/figures.ts";
import { gpuReport, profiles } from "../../bench/gpu/gpu_report.ts";
import type { Epochs, GpuRun } from "../../bench/gpu/gpu_run.ts";
import { endOf } from "../../bench/gpu/stages.ts";
import { distances, makeInput, repeated, sampled, strideOf } from "../../bench/peers/inputs.ts";
import type { Row } from "../../bench/peers/bench.ts";
import type { Facts } from "../../bench/peers/item.ts";

const roofs = { gigabytesPerSecond: 100, gigaflopsPerSecond: 1000, matrixGigaflopsPerSecond: 4000 };

/** A row of times by engine, and facts. */
const row = (name: string, times: Record<string, number[]>, facts: Row["facts"] = {}): Row => ({
  name,
  goal: {},
  results: Object.fromEntries(Object.entries(times).map(([id, list]) => [id, { times: list }])),
  facts,
});

const empty = (): GpuRun => ({
  date: "2026-11-30 12:00",
  small: true,
  minutes: 10,
  node: "v20",
  cpu: "a CPU",
  kernels: "",
  facts: {
    device: "a GPU",
    kind: "hardware",
    adapter: { vendor: "none", subgroupMinSize: 32, subgroupMaxSize: 32 },
    features: ["shader-f16", "subgroups"],
    subgroupMatrixConfigs: [{ componentType: "f16", M: 16 }],
    limits: { maxBufferSize: 1024, maxTextureDimension1D: 2 },
    toggles: ["a"],
    webgpu: "0.6.2",
  },
  noTorch: null,
  roofs,
  engines: {},
  checks: [],
  operators: [],
  networks: [],
  epochs: [],
  tunings: [],
  problems: [],
  took: 1.5,
});

test("sharesOf() divides rates by the measured roofs", () => {
  // 4e9 operations and 2e8 bytes in 10 ms: 400 GFLOP/s, 20 GB/s.
  const floors = { memory: 2, arithmetic: 1, matrices: 0, total: 3 };
  const shares = sharesOf({ flops: 4e9, bytes: 2e8, floors }, 10, roofs)!;
  assert.equal(shares, {
    gigaflopsPerSecond: 400,
    gigabytesPerSecond: 20,
    arithmetic: 0.4,
    matrices: 0.1,
    bandwidth: 0.2,
    floors: 0.3,
  });
  const { matrixGigaflopsPerSecond: _, ...plain } = roofs;
  assert.is(sharesOf({ flops: 1, bytes: 1 }, 10, plain)!.matrices, undefined);
  assert.is(sharesOf({ flops: 1, bytes: 1 }, 10, { error: "hung" }), undefined);
  assert.is(sharesOf({ dispatches: 1 }, 10, roofs), undefined, "an adapter without a clock");
  assert.is(sharesOf(undefined, 10, roofs), undefined);
});

test("medianOf() and ratioOf() leave out what failed", () => {
  const r = row("x", { ours: [3, 1, 2], mixed: [4, 2], torch: [8], amp: [] });
  assert.is(medianOf(r, "ours"), 2);
  assert.is(medianOf(r, "mixed"), 3);
  assert.is(medianOf(r, "amp"), undefined);
  assert.is(ratioOf(r, "torch", "ours"), 4);
  assert.is(ratioOf(r, "amp", "mixed"), undefined);
  r.results.ours!.cannot = "wrong in the last round";
  assert.is(medianOf(r, "ours"), undefined);
});

const epochs = (train: number[], validation: number[]): Epochs => ({
  id: "ours",
  train: { times: train, facts: {} },
  validation: { times: validation, facts: {} },
});

test("epochSeconds() is 250 training and 50 validation iterations, five times", () => {
  // 250 of 20 ms and 50 of 10 ms: 5 s and 0.5 s.
  assert.equal(epochSeconds(epochs([10, 30], [10])), { epoch: 5.5, all: 27.5, whole: false });
  assert.equal(epochSeconds(epochs(new Array(1250).fill(20), new Array(250).fill(10))), {
    epoch: 5.5,
    all: 27.5,
    whole: true,
  });
  assert.is(epochSeconds(epochs([], [10])), null);
  assert.is(epochSeconds({ ...epochs([1], [1]), train: { times: [1], cannot: "out of memory", facts: {} } }), null);
});

test("goalState() counts what is met, and names what is farthest", () => {
  const run = empty();
  const conv = (flops: number): Facts => ({ flops, bytes: 0 });
  run.operators.push(
    // 700 and 500 GFLOP/s of 1000; 1600 of 4000 by matrices.
    row("conv3d a", { ours: [10], mixed: [10] }, { ours: conv(7e9), mixed: conv(16e9) }),
    row("conv3d b", { ours: [10], mixed: [] }, { ours: conv(5e9) }),
    row("softmax", { ours: [10] }, { ours: conv(1) }),
  );
  run.networks.push(
    row("CoLab's U-Net: training step", { mixed: [10], amp: [12] }, {
      mixed: { peakBytes: 50 },
      amp: { peakBytes: 100 },
    }),
    row("CoLab's U-Net: Hessian-vector product", { mixed: [10], amp: [5] }),
    row("nnU-Net: training step", { ours: [10] }, { ours: { peakBytes: 90 }, torch: { peakBytes: 100 } }),
  );
  const states = goalsOf(run).map((goal) => goalState(goal));
  assert.equal(states, [
    { met: 1, of: 2, worst: 0.5, name: "conv3d b" },
    { met: 1, of: 1, worst: 0.4, name: "conv3d a" },
    { met: 1, of: 1, worst: 1.2, name: "CoLab's U-Net: training step" },
    { met: 0, of: 1, worst: 0.5, name: "CoLab's U-Net: Hessian-vector product" },
    { met: 1, of: 2, worst: 0.9, name: "nnU-Net: training step, f32" },
  ]);
  assert.equal(goalsOf(empty()).map((goal) => goalState(goal)), [null, null, null, null, null]);
});

test("gpuReport() fills or explains every row", () => {
  const run = empty();
  run.engines = {
    ours: { version: "1", device: "d" },
    mixed: { version: "1", device: "d" },
    amp: { version: "2", device: "e" },
  };
  const over = { times: [], cannot: "the time was over" };
  run.checks.push(
    { file: "ops/golden_ops", name: "add() agrees with PyTorch in f32: add", milliseconds: 1500 },
    { file: "ops/golden_ops", name: "add() agrees with PyTorch in mixed: add", milliseconds: 500, error: "off by 3" },
    { file: "ops/golden_ops", name: "the tests from number 2 on", milliseconds: 0, unrun: true },
    { file: "shaders/math", name: "the tests from number 0 on", milliseconds: 0, unrun: true },
  );
  const floors = { memory: 1, arithmetic: 2, matrices: 0.5, total: 3.5 };
  const facts: Facts = { flops: 1e10, bytes: 1e8, floors, kernelMs: 6, first: 100, script: 0.25, peakBytes: 7e7 };
  run.operators.push({ ...row("conv3d a", { ours: [20, 10, 30], amp: [40] }, { ours: facts }) });
  run.operators[0].results.mixed = over;
  const profile = Array.from({ length: 30 }, (_, k) => `kernel ${k}`).join("\n");
  run.networks.push(row("CoLab's U-Net: training step", { ours: [7], amp: [5] }, { ours: { ...facts, profile } }));
  run.networks[0].results.mixed = { times: [], cannot: "no answer in 1.0 minutes" };
  run.epochs.push({ ...epochs([20], [10]), id: "ours" }, {
    id: "mixed",
    train: { ...over, facts: {} },
    validation: { ...over, facts: {} },
  });
  const kernel = { work: "conv", variant: "fast", default: "usual", milliseconds: { usual: 4, fast: 2, generic: 50 } };
  run.tunings.push(
    {
      item: "step",
      id: "ours",
      works: [
        { work: "conv", dispatches: 3, milliseconds: 12, kernel },
        { work: "other", dispatches: 1, milliseconds: 5, cannot: "its process ended (SIGSEGV)" },
      ],
      before: 20,
      after: 14,
    },
    { item: "step", id: "mixed", works: [], cannot: "the time was over" },
  );
  run.problems.push("PyTorch AMP does not start: no driver");
  const text = gpuReport(run);
  const lines = text.split("\n");
  const cells = (start: string): string[] =>
    lines.find((line) => line.startsWith(`| ${start}`))!.split("|").slice(1, -1).map((cell) => cell.trim());
  assert.equal(cells("conv3d a | 1"), ["conv3d a", "10.0 / 20.0", "- [1]", "40.0 / 40.0", "-"]);
  // 1e10 operations in 20 ms: 500 GFLOP/s, half of the roof; 5 GB/s of 100; 3.5 of 20 ms.
  assert.equal(cells("conv3d a | f32").slice(1, 10), ["f32", "500", "50%", "-", "5.00", "5%", "18%", "6.00", "100"]);
  assert.equal(cells("CoLab's U-Net: training step | f32").slice(2, 8), [
    "7.00",
    "0.25",
    "6.00",
    "3.50",
    "1.00 + 2.00 + 0.50",
    "50%",
  ]);
  assert.equal(
    cells("golden operators: values, gradients, derivatives along a direction, second derivatives, mixed").slice(1),
    [
      "1",
      "0",
      "1",
      "some: time over",
      "0.50",
    ],
  );
  assert.equal(cells("voxgrad | 20.0 (1)"), ["voxgrad", "20.0 (1)", "10.0 (1)", "5.50", "27.5", "extrapolated"]);
  assert.equal(cells("voxgrad mixed | -").slice(1, 3), ["- [1]", "- [1]"]);
  assert.equal(cells("conv (f32 step)"), [
    "conv (f32 step)",
    "3",
    "12.0",
    "usual 4.00",
    "fast 2.00",
    "fast 2.00, usual 4.00, generic 50.0",
  ]);
  assert.match(text, "- step, f32: 20.0 ms before, 14.0 after");
  assert.equal(cells("elementary functions").slice(1), ["0", "0", "0", "all: time over", "0.00"]);
  assert.match(text, "Failed: add() agrees with PyTorch in mixed: add: off by 3");
  for (
    const reason of ["the time was over", "no answer in 1.0 minutes", "its process ended (SIGSEGV)", "no driver"]
  ) assert.match(text, reason);
  // Every dash that stands for a time leads to a reason.
  const missing = [...text.matchAll(/- \[(\d+)\]/g)].map(([, n]) => Number(n));
  for (const n of missing) assert.ok(lines.some((line) => line.startsWith(`- [${n}] `)), `no reason ${n}`);
  assert.not.match(text, "kernel 20\n");
  assert.match(text, "kernel 29");
  assert.match(profiles(run), "kernel 20");
});

test("gpuReport() of a run that measured nothing says so in every section", () => {
  const text = gpuReport({ ...empty(), roofs: { error: "the driver hung" }, noTorch: "no Python with torch here" });
  assert.is(text.match(/^Not run\.$/gm)!.length, 7);
  assert.match(text, "Roofs: the driver hung");
  assert.match(text, "PyTorch is not measured: no Python with torch here");
  assert.match(text, "| conv3d in f32, part of the f32 roof | at least 0.6 | - | not measured here |");
});

test("endOf() divides the time among the stages that are asked for, in their order", () => {
  const near = (a: number, b: number): void => assert.ok(Math.abs(a - b) < 1e-12, `${a}, wanted ${b}`);
  const all = ["checks", "roofs", "operators", "networks", "epochs", "tuning"] as const;
  [0.17, 0.2, 0.52, 0.8, 0.9, 1].forEach((end, k) => near(endOf(all[k], all), end));
  near(endOf("roofs", ["roofs"]), 1);
  near(endOf("checks", ["roofs", "checks"]), 0.85);
});

test("repeated() and sampled() make and compare long tensors by a period", () => {
  const values = Float32Array.of(1, 2, 3);
  assert.equal([...repeated(values, 8)], [1, 2, 3, 1, 2, 3, 1, 2]);
  assert.is(repeated(values, 3), values);
  assert.equal([...repeated(Int32Array.of(7), 5)], [7, 7, 7, 7, 7]);
  assert.is(strideOf(4_194_301), 1);
  assert.is(strideOf(4_194_302), 3, "an odd number from 2 up");
  assert.is(strideOf(10 * 4_194_301), 11);
  const long = Float32Array.from({ length: 4_194_302 }, (_, k) => k);
  const kept = sampled(long);
  assert.is(kept.length, 1_398_101);
  assert.equal([...kept.slice(-2)], [4_194_297, 4_194_300]);
  const input = { shape: [2, 3_000_000], values: "uniform" } as const;
  assert.is(makeInput(input, 1).length, 4_194_301);
  const all = repeated(makeInput(input, 1), 6_000_000);
  assert.is(all[4_194_301], all[0]);
  assert.equal(distances([sampled(long)], [sampled(long)]), [0]);
});

test.run();
