/** The packed benchmark for a GPU: its bundles need nothing but Node and webgpu, its U-Net is that of models/. */
import { execFileSync } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { builtinModules } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { bundleBench, programs } from "../../bench/gpu/bundle.ts";
import { gpuItems } from "../../bench/peers/items_gpu.ts";
import { random, tree } from "../../engine/mod.ts";
import { plainConvUNet } from "../../models/mod.ts";

test("bundleBench() bundles programs that start in a folder of their own", async () => {
  const folder = await mkdtemp(join(tmpdir(), "voxgrad-bench-"));
  try {
    const { outputs } = await bundleBench(folder);
    const imported = new Set(Object.values(outputs).flatMap(({ imports }) => imports.map(({ path }) => path)));
    const others = [...imported].filter((path) => !path.startsWith("node:") && !builtinModules.includes(path));
    assert.equal(others, ["webgpu"]);
    assert.is(Object.keys(outputs).length, programs.length);
    const printed = execFileSync(process.execPath, [join(folder, "gpu/gpu.js"), "--help"], { encoding: "utf8" });
    assert.match(printed, "--minutes");
  } finally {
    await rm(folder, { recursive: true });
  }
});

test("gpuItems() has a U-Net with the parameters of the model, except the deep supervision heads", () => {
  const features = [32, 64, 128, 256, 320];
  const model = plainConvUNet({ inputChannels: 1, features, classes: 2, convsPerStage: 2 });
  const expected = [...tree.flatten(model.init(random.key(1)))]
    .filter(([name]) => !/seg_layers\.[0-2]\./.test(name))
    .map(([name, { shape }]) => `${name} ${shape}`);
  const step = gpuItems("full").find(({ name }) => name.endsWith("training step"))!;
  const names: string[] = JSON.parse((step.torch as string).match(/\[.*\]/)![0]);
  const given = names.map((name, k) => `${name} ${step.inputs[k].shape}`);
  assert.equal(given.sort(), expected.sort());
  assert.is(step.inputs.length, 2 * names.length + 2);
});

test.run();
