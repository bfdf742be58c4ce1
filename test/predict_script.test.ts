// scripts/predict.ts as a user runs it, on networks that nobody trained.
import { spawn } from "node:child_process";
import { mkdir, mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { makeVolume, random, readNifti, saveModel, writeNifti } from "../engine/mod.ts";
import { findModels } from "../engine/train/mod.ts";
import { unetFromPlan } from "../models/mod.ts";
import { noise } from "./helpers.ts";
import { planFor } from "./plans.ts";

const root = fileURLToPath(new URL("..", import.meta.url));
const folder = await mkdtemp(join(tmpdir(), "voxgrad-predict-"));
test.after(() => rm(folder, { recursive: true, force: true }));

function predict(args: string[]): Promise<{ code: number | null; output: string }> {
  return new Promise((resolve, reject) => {
    const cli = join(root, "engine/platform/cli/voxgrad.mjs");
    const child = spawn(process.execPath, [cli, "predict", ...args], { cwd: folder });
    let output = "";
    for (const stream of [child.stdout, child.stderr]) stream.on("data", (data) => (output += data));
    child.on("error", reject);
    child.on("close", (code) => resolve({ code, output }));
  });
}

// Two folds of one run, and three images.
const plan = planFor({ labels: ["background", "a", "b"], orientation: "RAS", spacing: [1.5, 1, 1] });
const { name: network, ...shape } = plan.network;
const architecture = { inputChannels: 1, classes: 3, ...shape };
for (const fold of [0, 1]) {
  await mkdir(join(folder, `run/fold_${fold}`), { recursive: true });
  const params = unetFromPlan(plan).init(random.key(fold));
  await writeFile(
    join(folder, `run/fold_${fold}/model.safetensors`),
    await saveModel(params, { network, architecture, plan }),
  );
}
await mkdir(join(folder, "scans"));
const affine = [-1, 0, 0, 4, 0, 1, 0, 5, 0, 0, 2, 6, 0, 0, 0, 1];
for (const [k, name] of ["a", "b", "c"].entries()) {
  const image = makeVolume(Float32Array.from(noise(990, k + 1)), { shape: [9, 11, 10], affine, name });
  await writeFile(join(folder, `scans/${name}.nii.gz`), writeNifti(image, { gzip: true }));
}
const labels = async (path: string) => readNifti(new Uint8Array(await readFile(join(folder, path))), path);

test("findModels() finds folds, runs and files", async () => {
  const fold = (k: number): string => `${folder}/run/fold_${k}/model.safetensors`;
  const found = await findModels(`${folder}/run/`);
  assert.equal(found, { files: [fold(0), fold(1)], folders: [`${folder}/run`] });
  assert.equal((await findModels(`${folder}/run/fold_1, ${fold(0)}`)).files, [fold(1), fold(0)]);
  const message = (runs: string) => findModels(runs).then(String, (error: Error) => error.message);
  assert.match(await message(`${folder}/scans`), /scans: it holds neither model\.safetensors nor folders fold_0/);
  assert.match(await message(`${folder}/run,`), /a run is missing/);
  await mkdir(join(folder, "half/fold_0"), { recursive: true });
  assert.match(await message(`${folder}/half`), /fold_0: it holds no model\.safetensors/);
});

test("predict goes on where it stopped, with folds, mirrors and probabilities", async () => {
  const args = ["--run", "run", "--input", "scans", "--output", "out", "--mirror", "x", "--save-probabilities"];
  const first = await predict(args);
  assert.is(first.code, 0, first.output);
  assert.match(first.output, /9 x 11 x 10 voxels; takes about 0\.00 GiB/);
  const made = await labels("out/b.nii.gz");
  assert.equal([made.shape, made.affine], [[9, 11, 10], affine]);
  const soft = await labels("out/b_probabilities.nii.gz");
  assert.equal([soft.shape, soft.channels, soft.affine], [[9, 11, 10], 3, affine]);
  made.data.forEach((v, i) => {
    const each = [0, 1, 2].map((c) => soft.data[c * 990 + i]);
    assert.is(v, each.indexOf(Math.max(...each)));
    assert.ok(Math.abs(each.reduce((a, b) => a + b) - 1) < 1e-5);
  });
  const before = await readFile(join(folder, "out/b.nii.gz"));
  await rm(join(folder, "out/b.nii.gz"));
  const stamp = (await stat(join(folder, "out/a.nii.gz"))).mtimeMs;
  const again = await predict(args);
  assert.is(again.code, 0, again.output);
  assert.match(again.output, /2 of 3 cases are there already/);
  assert.is((await stat(join(folder, "out/a.nii.gz"))).mtimeMs, stamp);
  assert.ok(before.equals(await readFile(join(folder, "out/b.nii.gz"))));
  const { used } = JSON.parse(await readFile(join(folder, "out/predict.json"), "utf8"));
  assert.equal(
    [used.models, used.mirror, used.step],
    [["run/fold_0/model.safetensors", "run/fold_1/model.safetensors"], "x", 0.5],
  );

  const other = await predict(["--run", "run/fold_0", "--input", "scans/a.nii.gz", "--output", "out"]);
  assert.is(other.code, 1, other.output);
  assert.match(other.output, /out: its predictions were made otherwise \(predict\.json\)/);
});

test("predict applies the rule of the run, unless told not to", async () => {
  const rule = {
    format: "voxgrad postprocessing 1",
    keepLargest: [{ name: "all foreground", values: [1, 2] }],
    cases: 1,
    dice: [],
  };
  await writeFile(join(folder, "run/postprocessing.json"), JSON.stringify(rule));
  const common = ["--run", "run", "--input", "scans/a.nii.gz"];
  const [cleaned, plain] = [
    await predict([...common, "--output", "cleaned"]),
    await predict([...common, "--output", "plain", "--no-postprocess"]),
  ];
  assert.equal([cleaned.code, plain.code], [0, 0], cleaned.output + plain.output);
  const [less, more] = [(await labels("cleaned/a.nii.gz")).data, (await labels("plain/a.nii.gz")).data];
  const foreground = (data: ArrayLike<number>): number => Array.from(data).filter((v) => v > 0).length;
  assert.ok(foreground(less) <= foreground(more));
  less.forEach((v, i) => assert.ok(v === 0 || v === more[i]));
  await rm(join(folder, "run/postprocessing.json"));
});

test.run();
