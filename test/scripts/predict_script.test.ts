// deno-lint-ignore-file no-explicit-any
// scripts/predict.ts as a user runs it, on networks that nobody trained.
import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { cp, mkdir, mkdtemp, readdir, readFile, rm, stat, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { random, tensor, tree } from "../../engine/mod.ts";
import { makeVolume, readNifti, writeNifti } from "../../engine/imaging/mod.ts";
import { findImages, findModels, loadModel, saveModel } from "../../engine/train/mod.ts";
import { networkFromPlan } from "../../models/mod.ts";
import { noise } from "../helpers/noise.ts";
import { planFor } from "../helpers/plans.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));
const folder = await mkdtemp(join(tmpdir(), "voxgrad-predict-"));
test.after(() => rm(folder, { recursive: true, force: true }));

const predict = (args: string[]) => command("predict", args);
function command(name: string, args: string[]): Promise<{ code: number | null; output: string }> {
  return new Promise((resolve, reject) => {
    const cli = join(root, "engine/platform/cli/voxgrad.mjs");
    const child = spawn(process.execPath, [cli, name, ...args], { cwd: folder });
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
  const params = networkFromPlan(plan).init(random.key(fold));
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
  await cp(`${folder}/run`, `${folder}/run, with a comma`, { recursive: true });
  assert.equal((await findModels(`${folder}/run, with a comma/`)).folders, [`${folder}/run, with a comma`]);
  await mkdir(join(folder, "half/fold_0"), { recursive: true });
  assert.match(await message(`${folder}/half`), /fold_0: it holds no model\.safetensors/);
});

test("export writes an ONNX model with its plan, which predict takes as the run that it came from", async () => {
  const written = await command("export", ["run/fold_1", "onnx/network.onnx"]);
  assert.is(written.code, 0, written.output);
  assert.match(written.output, /input 1 x 1 x .*opset 17[\s\S]*onnx\/network\.onnx/);
  for (const [run, out] of [["onnx/network.onnx", "from_onnx"], ["run/fold_1", "from_run"]]) {
    const { code, output } = await predict([run, "scans/a.nii.gz", out]);
    assert.is(code, 0, output);
  }
  assert.equal([...(await labels("from_onnx/a.nii.gz")).data], [...(await labels("from_run/a.nii.gz")).data]);
  const [of, from] = [await command("summary", ["onnx/network.onnx"]), await command("summary", ["run/fold_1"])];
  assert.is(of.code, 0, of.output);
  const counts = (output: string): unknown => /Parameters:[\s\S]*/.exec(output)?.[0];
  assert.is(counts(of.output), counts(from.output));
  const refused = async (args: string[], wanted: RegExp): Promise<void> => {
    const { code, output } = await command("export", args);
    assert.is(code, 1);
    assert.match(output, wanted);
  };
  await refused(["run", "all.onnx"], /run holds 2 networks; name one: run\/fold_0/);
  await refused(["run/fold_0", "network.pt"], /name of a file that ends with \.onnx/);
  await refused(["run/fold_0", "--nnunet", "trained", "--batch", "2"], /--nnunet writes another format/);
  const plan = await predict(["run/fold_1", "scans/a.nii.gz", "other", "--plan", "run/fold_1/model.safetensors"]);
  assert.match(plan.output, /plan is for ONNX models and those of TensorFlow\.js; this model holds its own/);
});

test("export --nnunet writes a training of nnU-Net, which predict takes as the run that it came from", async () => {
  const trained = "results/Dataset001_Test/nnUNetTrainer__nnUNetPlans__3d_fullres";
  const written = await command("export", ["run", "--nnunet", trained, "--mirror", "xy"]);
  assert.is(written.code, 0, written.output);
  assert.match(written.output, /nnUNetv2_predict_from_modelfolder -i SCANS -o LABELS -m results.* -f 0 1/);
  for (const [run, out] of [["results/Dataset001_Test", "from_nnunet"], ["run", "from_folds"]]) {
    const { code, output } = await predict([run, "scans/a.nii.gz", out, ...(run === "run" ? ["--mirror", "xy"] : [])]);
    assert.is(code, 0, output);
    if (run !== "run") assert.match(output, /nnU-Net: test, 3d_fullres, plainConvUNet; mirrors xy/);
  }
  assert.equal([...(await labels("from_nnunet/a.nii.gz")).data], [...(await labels("from_folds/a.nii.gz")).data]);
  const again = await predict(["results/Dataset001_Test", "scans/a.nii.gz", "from_nnunet"]);
  assert.match(again.output, /1 of 1 cases are there already/);
  const twice = await command("export", ["run", "--nnunet", trained]);
  assert.is(twice.code, 1);
  assert.match(twice.output, /plans\.json is there; name a new folder/);
});

test("predict resumes where it stopped, with folds, mirrors and probabilities", async () => {
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
  const lines = (await readFile(join(folder, "out/predict.jsonl"), "utf8")).trim().split("\n").map((line) =>
    JSON.parse(line)
  );
  assert.equal(lines.map((line) => line.case), ["a", "b", "c", "b"]);
  const digest = async (path: string) => createHash("sha256").update(await readFile(join(folder, path))).digest("hex");
  const { sources, scan, outputs, settings } = lines[3];
  assert.equal(sources, {
    "run/fold_0/model.safetensors": await digest("run/fold_0/model.safetensors"),
    "run/fold_1/model.safetensors": await digest("run/fold_1/model.safetensors"),
  });
  assert.equal(scan, { "scans/b.nii.gz": await digest("scans/b.nii.gz") });
  assert.equal(outputs, {
    "b_probabilities.nii.gz": await digest("out/b_probabilities.nii.gz"),
    "b.nii.gz": await digest("out/b.nii.gz"),
  });
  assert.equal([settings.mirror, settings.step], ["x", 0.5]);
});

test("predict repeats a case whose scan, weights, settings or files have changed, and says why", async () => {
  const at = (path: string) => join(folder, path);
  for (const name of ["a", "b"]) await cp(at(`scans/${name}.nii.gz`), at(`two/${name}.nii.gz`));
  await cp(at("run/fold_0"), at("one"), { recursive: true });
  const go = async (...more: string[]) => {
    const { code, output } = await predict(["one", "two", "made", ...more]);
    assert.is(code, 0, output);
    return output;
  };
  const fresh = async (...more: string[]) => {
    await rm(at("new"), { recursive: true, force: true });
    const { code, output } = await predict(["one", "two", "new", ...more]);
    assert.is(code, 0, output);
  };
  const same = async (name: string) =>
    assert.ok((await readFile(at(`made/${name}`))).equals(await readFile(at(`new/${name}`))), name);
  assert.not.match(await go(), /made again/);
  assert.match(await go(), /2 of 2 cases are there already/);

  await cp(at("scans/c.nii.gz"), at("two/b.nii.gz"));
  assert.match(await go(), /b: made again, for the scan is another\n[^]*1 of 2 cases/);
  await cp(at("run/fold_1/model.safetensors"), at("one/model.safetensors"));
  assert.match(
    await go(),
    /a: made again, for it was made by other weights[^]*b: made again, for it was made by other weights/,
  );
  await fresh();
  await Promise.all(["a.nii.gz", "b.nii.gz"].map(same));

  assert.match(await go("--mirror", "x"), /a: made again, for it was made with another mirror/);
  const soft = await go("--mirror", "x", "--save-probabilities");
  assert.match(soft, /a: made again, for a_probabilities\.nii\.gz is wanted too/);
  await writeFile(at("made/a.nii.gz"), "");
  const edited = await readFile(at("scans/c.nii.gz"));
  await writeFile(at("made/b.nii.gz"), edited);
  const told = await go("--mirror", "x");
  assert.match(told, /a: made again, for a\.nii\.gz is not what was written/);
  assert.match(
    told,
    /made\/b\.nii\.gz was not written by this command as it stood; it lies in made\/replaced\/b\.nii\.gz now/,
  );
  assert.ok(edited.equals(await readFile(at("made/replaced/b.nii.gz"))), "what somebody has drawn is not lost");
  await fresh("--mirror", "x");
  await Promise.all(["a.nii.gz", "b.nii.gz"].map(same));

  const other = await predict(["one", "two/a.nii.gz", "made"]);
  assert.is(other.code, 0, other.output);
  assert.match(other.output, /a: made again, for it was made with another mirror/);
  assert.match(other.output, /made also holds b, made by other networks or settings/);
});

test("predict refuses an output folder that holds scans, or label maps that it did not make", async () => {
  const at = (path: string) => join(folder, path);
  await cp(at("scans"), at("mine"), { recursive: true });
  await symlink(at("mine"), at("link"));
  await mkdir(at("linked"));
  await symlink(at("mine/a.nii.gz"), at("linked/a.nii.gz"));
  await mkdir(at("drawn"));
  await cp(at("scans/a.nii.gz"), at("drawn/a.nii.gz"));
  for (
    const [input, output, wanted] of [
      ["mine", "mine", /--output mine: mine\/a\.nii\.gz lies there, which is read/],
      ["mine/a.nii.gz", "./mine/", /lies there, which is read/],
      ["mine", "link", /lies there, which is read/],
      // A link to a scan is that scan.
      ["linked", "mine", /--output mine: linked\/a\.nii\.gz lies there, which is read/],
      ["mine", "drawn", /it holds a\.nii\.gz, and nothing tells that such a command wrote that/],
    ] as const
  ) {
    for (const more of output === "drawn" ? [[]] : [[], ["--overwrite"]]) {
      const before = await Promise.all(["mine/a.nii.gz", "drawn/a.nii.gz"].map((name) => readFile(at(name))));
      const { code, output: said } = await predict(["run/fold_0", input, output, ...more]);
      assert.is(code, 1, said);
      assert.match(said, wanted);
      assert.equal(await Promise.all(["mine/a.nii.gz", "drawn/a.nii.gz"].map((name) => readFile(at(name)))), before);
    }
  }
});

test("findImages() takes no result for an image where the folder of results lies among the scans", async () => {
  const at = (path: string) => join(folder, path);
  for (const name of ["one/ct", "two/ct", "out/one_ct", "out/two_ct", "out/replaced/one_ct"]) {
    await cp(at("scans/a.nii.gz"), at(`patients/${name}.nii.gz`));
  }
  const found = async (...output: string[]) =>
    (await findImages(at("patients"), 1, undefined, ...output)).map(({ id }) => id).sort();
  assert.equal(await found(at("patients/out/")), ["one_ct", "two_ct"]);
  assert.is((await found()).length, 5);
  assert.is((await found(at("elsewhere"))).length, 5);
});

test("predict continues after a scan that cannot be read, and lists it at the end", async () => {
  const at = (path: string) => join(folder, path);
  await cp(at("scans"), at("mixed"), { recursive: true });
  await writeFile(at("mixed/b.nii.gz"), (await readFile(at("scans/b.nii.gz"))).subarray(0, 900));
  const { code, output } = await predict(["run/fold_0", "mixed", "rest"]);
  assert.is(code, 1, output);
  assert.match(output, /Not predicted:\n +case b: mixed\/b\.nii\.gz: .*damaged/);
  assert.match(output, /2 of 3 cases are predicted/);
  assert.equal((await readdir(at("rest"))).sort(), ["a.nii.gz", "c.nii.gz", "predict.jsonl"]);
});

test("predict refuses weights or logits that are not finite, changed weights, and senseless plans", async () => {
  const at = (path: string) => join(folder, path);
  const refused = async (name: string, bytes: Uint8Array, wanted: RegExp): Promise<void> => {
    await mkdir(at(name), { recursive: true });
    await writeFile(at(`${name}/model.safetensors`), bytes);
    const { code, output } = await predict([name, "scans/a.nii.gz", `${name}/out`]);
    assert.is(code, 1, `${name}: ${output}`);
    assert.match(output, wanted, name);
    assert.not.match(output, /\n {4}at |TypeError|RangeError/, name);
    assert.not.ok((await readdir(at(name), { recursive: true })).some((file) => file.endsWith(".nii.gz")), name);
  };
  const params = networkFromPlan(plan).init(random.key(0));
  const changed = async (change: (values: Map<string, any>) => void) => {
    const values = new Map(tree.flatten(params));
    change(values);
    return saveModel(values, { network, architecture, plan });
  };
  const name = "encoder.stages.0.0.convs.0.conv.weight";
  const spoilt = async (value: number) => {
    const all = await tree.flatten(params).get(name)!.data();
    const data = Float32Array.from(all, (v: number, i: number) => (i === 3 ? value : v));
    return changed((values) => values.set(name, tensor(data, { shape: values.get(name).shape })));
  };
  await refused(
    "nan",
    await spoilt(NaN),
    /nan\/model\.safetensors: tensor "encoder\.stages.*" holds NaN \(element 3 of/,
  );
  await refused("infinite", await spoilt(Infinity), /holds Infinity/);
  // Finite weights whose products are beyond f32.
  await refused(
    "huge",
    await changed((values) => {
      for (const key of [...values.keys()].filter((key) => key.startsWith("decoder.seg_layers"))) {
        values.set(key, tensor(new Float32Array(values.get(key).size).fill(3e38), { shape: values.get(key).shape }));
      }
    }),
    /case a: .*the network gives (-?Infinity|NaN), which says nothing/,
  );
  const whole = await saveModel(params, { network, architecture, plan });
  const bit = whole.slice();
  bit[bit.length - 6] ^= 1;
  await refused("bit", bit, /bit\/model\.safetensors: .*damaged: its SHA-256/);
  for (
    const [label, wrong, wanted] of [
      [
        "normalization",
        { ...plan, channels: [{ name: "CT", normalization: "evil" }] },
        /channels\[0\]\.normalization is "evil"/,
      ],
      ["orientation", { ...plan, orientation: "LPX" }, /orientation is "LPX"/],
      ["spacing", { ...plan, spacing: [-1, 1, 1] }, /spacing is \[-1, 1, 1\]/],
      ["transpose", { ...plan, transpose: [0, 0, 0] }, /transpose is \[0, 0, 0\]/],
      ["nested", { ...plan, transpose: [[0], 1, 2] }, /transpose is \[\[0\], 1, 2\]/],
      ["none", null, /it is null; wanted an object/],
      ["empty", {}, /format is missing/],
      ["patch", { ...plan, patch: "abc" }, /patch is "abc"/],
      ["inherited", { ...plan, constructor: 1, toString: 2 }, /is no entry of a plan/],
    ] as const
  ) {
    const file = at(`plan_${label}.safetensors`);
    await writeFile(file, await saveModel(params, { network, architecture, plan: wrong as any }));
    const error = await loadModel(file).then(() => new Error("no error"), (caught: Error) => caught);
    assert.is(error.name, "PlanError", label);
    assert.match(error.message, wanted, label);
  }
});

test("predict applies the postprocessing rule of the run by default", async () => {
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
