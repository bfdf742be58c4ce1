/**
 * The benchmark for a GPU: its bundles need nothing but Node and webgpu, its networks are those of models/, and it goes
 * through all its stages in a folder of its own.
 */
import { execFile, execFileSync } from "node:child_process";
import { mkdtemp, readFile, rm, symlink } from "node:fs/promises";
import { builtinModules } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { bundleBench, programs } from "../../bench/gpu/bundle.ts";
import { NNUNET } from "../../bench/gpu/gpu_run.ts";
import { networks } from "../../bench/peers/items_gpu.ts";
import { random, tree } from "../../engine/mod.ts";
import { plainConvUNet } from "../../models/mod.ts";

const folder = await mkdtemp(join(tmpdir(), "voxgrad-bench-"));
test.after(() => rm(folder, { recursive: true }));

test("bundleBench() bundles programs that start in a folder of their own", async () => {
  const { outputs } = await bundleBench(folder);
  const imported = new Set(Object.values(outputs).flatMap(({ imports }) => imports.map(({ path }) => path)));
  const others = [...imported].filter((path) => !path.startsWith("node:") && !builtinModules.includes(path));
  assert.equal(others, ["webgpu"]);
  assert.is(Object.keys(outputs).length, Object.keys(programs).length);
  const run = (...words: string[]): string =>
    execFileSync(process.execPath, [join(folder, "bench/gpu/gpu.js"), ...words], { encoding: "utf8", stdio: "pipe" });
  assert.match(run("--help"), "--minutes");
  assert.throws(() => run("--stages", "checks,tunning"), /--stages are of checks,roofs,operators/);
  assert.throws(() => run("--size", "small"), /--size is not an option/);
});

test("gpu.ts goes through all stages, and fills or explains every row", async () => {
  // Only the packages are not in the folder: the archive has webgpu, and here the CPU's adapter comes from npm.
  await symlink(fileURLToPath(new URL("../../node_modules", import.meta.url)), join(folder, "node_modules"));
  const items = ["add() agrees with pytorch", "softmax over", "nnu-net 3d_fullres"].join(",");
  const words = ["--minutes", "6", "--rounds", "1", "--peers", "", "--items", items, "--out", "results"];
  const { stdout } = await promisify(execFile)(process.execPath, [join(folder, "bench/gpu/gpu.js"), ...words], {
    cwd: folder,
    env: { VOXGRAD_ADAPTER: process.env.VOXGRAD_ADAPTER ?? "", HOME: folder },
    encoding: "utf8",
    maxBuffer: 2 ** 24,
  });
  const read = (name: string): Promise<string> => readFile(join(folder, "results", name), "utf8");
  const run = JSON.parse(await read("results.json"));
  assert.equal(run.problems, [], stdout);
  assert.ok(run.small && run.noTorch === "left out by --peers");
  assert.ok(run.roofs.gigabytesPerSecond > 0 && run.roofs.gigaflopsPerSecond > 0);
  assert.ok(
    run.checks.length >= 1 && run.checks.every((check: { error?: string }) => check.error === undefined),
    stdout,
  );
  const half = run.facts.features.includes("shader-f16");
  const ids = half ? ["ours", "mixed"] : ["ours"];
  assert.equal(Object.keys(run.engines), ids);
  // deno-lint-ignore no-explicit-any
  const rows: any[] = [...run.operators, ...run.networks];
  assert.equal(
    rows.map(({ name }) => name.split(/ over|, |: /).at(-1)),
    [
      "32 channels, 16 cubed",
      "training step",
      "Hessian-vector product",
    ].map((name) => name.split(", ").at(-1)!),
  );
  for (const row of rows) {
    for (const id of ids) {
      assert.ok(row.results[id].times.length > 0, `${row.name}: ${row.results[id].cannot}`);
      const { flops, bytes, floors, peakBytes, script } = row.facts[id];
      assert.ok(flops > 0 && bytes > 0 && floors.total > 0 && peakBytes > 0 && script > 0, row.name);
    }
  }
  assert.equal(run.epochs.map(({ id }: { id: string }) => id).sort(), [...ids].sort());
  const { train, validation } = run.epochs[0];
  assert.ok(train.times.length >= 1 && train.times.length <= NNUNET.epochs * NNUNET.train);
  assert.ok(validation.times.length >= 1 && validation.times.length <= NNUNET.epochs * NNUNET.validation);
  for (const { works, before, after, cannot } of run.tunings) {
    assert.ok(works.length === 5 && before > 0 && after > 0, cannot);
    // deno-lint-ignore no-explicit-any
    assert.ok(works.every((work: any) => Object.keys(work.kernel.milliseconds).length > 1));
  }
  const text = await read("results.md");
  assert.not.match(text, /^Not run\.$/m);
  assert.match(text, /Sum of floors: [\d.]+ of [\d.]+ ms in kernels/);
  assert.match(await read("profiles.txt"), /^conv_forward\./m);
  assert.match(await read("tuned.json"), "convolution");
});

test("networks() have the parameters of the models, those of CoLab without the deep supervision heads", () => {
  const of = (features: number[]): string[] => {
    const model = plainConvUNet({ inputChannels: 1, features, classes: 2, convsPerStage: 2 });
    return [...tree.flatten(model.init(random.key(1)))].map(([name, { shape }]) => `${name} ${shape}`).sort();
  };
  const { colab, nnunet } = networks("full");
  const cases = [
    [colab.step, of([32, 64, 128, 256, 320]).filter((name) => !/seg_layers\.[0-2]\./.test(name))],
    [nnunet.step, of([32, 64, 128, 256, 320, 320])],
  ] as const;
  for (const [step, expected] of cases) {
    const names: string[] = JSON.parse((step.torch as string).match(/\[.*?\]/)![0]);
    assert.equal(names.map((name, k) => `${name} ${step.inputs[k].shape}`).sort(), expected);
    assert.is(step.inputs.length, 2 * names.length + 2);
  }
  assert.equal(nnunet.step.inputs.at(-2)!.shape, [2, 1, 128, 128, 128]);
  // nnU-Net's weights of five outputs, finest first, the coarsest left out: 8, 4, 2 and 1 fifteenths.
  const weights = JSON.parse((nnunet.step.torch as string).match(/\[[\d.,e-]+\]/)![0]);
  assert.equal(weights.map((w: number) => Math.round(15 * w)), [8, 4, 2, 1, 0]);
});

test.run();
