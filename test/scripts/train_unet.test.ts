// The scripts as a user runs them, small: two runs of one seed, and predict on what they made.
import { spawn } from "node:child_process";
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { loadSafetensors } from "../../engine/mod.ts";
import { phantomCase, readNifti, writeNifti } from "../../engine/imaging/mod.ts";
import { platform } from "../../engine/platform/node.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));
const folder = await mkdtemp(join(tmpdir(), "voxgrad-script-"));
test.after(() => rm(folder, { recursive: true, force: true }));

/** Runs a script to its end; its output and exit code. */
function run(script: string, args: string[]): Promise<{ code: number | null; output: string }> {
  return new Promise((resolve, reject) => {
    const cli = join(root, "engine/platform/cli/voxgrad.mjs");
    const child = spawn(process.execPath, [cli, "run", join(root, "scripts", script), ...args], { cwd: folder });
    let output = "";
    for (const stream of [child.stdout, child.stderr]) stream.on("data", (data) => (output += data));
    child.on("error", reject);
    child.on("close", (code) => resolve({ code, output }));
  });
}

const small = (seed: number, run: string): string[] => [
  "--phantoms",
  "3",
  "--folds",
  "3",
  "--steps",
  "3",
  "--features",
  "4,8",
  "--patch",
  "16,24,16",
  "--seed",
  `${seed}`,
  "--run",
  run,
];
const first = run("train_unet.ts", small(5, "one"));

test("train_unet writes a whole run folder and a table of Dice", async () => {
  const { code, output } = await first;
  assert.is(code, 0, output);
  assert.match(output, /class +Dice/);
  assert.match(output, /step 3\/3/);
  const names = await readdir(join(folder, "one"));
  const wanted = [
    "checkpoint.safetensors",
    "config.json",
    "epochs.jsonl",
    "log.jsonl",
    "metrics.csv",
    "model.safetensors",
    "model_best.safetensors",
    "overlay.svg",
    "plan.json",
    "postprocessing.json",
    "predictions",
    "progress.svg",
    "report.html",
    "splits.json",
    "summary.json",
  ];
  for (const name of wanted) {
    assert.ok(names.includes(name), name);
    assert.match(output, `one/${name}`);
  }
  const config = JSON.parse(await readFile(join(folder, "one/config.json"), "utf8"));
  assert.equal([config.steps, config.options.seed, config.plan.patch, config.rate], [3, 5, [16, 24, 16], 0.01]);
  const lines = (await readFile(join(folder, "one/log.jsonl"), "utf8")).trimEnd().split("\n");
  assert.equal(lines.map((line) => JSON.parse(line).step), [1, 2, 3]);
  const summary = JSON.parse(await readFile(join(folder, "one/summary.json"), "utf8"));
  const files = summary.metric_per_case.map((entry: { prediction_file: string }) => entry.prediction_file);
  assert.equal(files, config.splits[0].val.map((id: string) => `one/predictions/${id}.nii.gz`));
  assert.equal(summary.class_names, { 1: "organ", 2: "gland", 3: "tumor" });
});

test("train_unet writes the same weights, losses and predictions for the same seed, others for another", async () => {
  await first;
  const again = await run("train_unet.ts", small(5, "two"));
  assert.is(again.code, 0, again.output);
  const file = (run: string, name: string) => readFile(join(folder, run, name));
  const [a, b] = [await file("one", "model.safetensors"), await file("two", "model.safetensors")];
  assert.ok(a.equals(b), "the two model.safetensors differ");
  const [prediction] = await readdir(join(folder, "one/predictions"));
  assert.ok((await file("one", `predictions/${prediction}`)).equals(await file("two", `predictions/${prediction}`)));
  const other = await run("train_unet.ts", [...small(6, "three"), "--optimizer", "sgd", "--flips", "x"]);
  assert.is(other.code, 0, other.output);
  assert.not.ok(a.equals(await file("three", "model.safetensors")));
});

test("predict writes the very file that training wrote, on the image's grid", async () => {
  await first;
  const [prediction] = await readdir(join(folder, "one/predictions"));
  const image = `one/phantom/imagesTr/${prediction}`;
  const { code, output } = await run("predict.ts", [
    "--run",
    "one",
    "--input",
    image,
    "--output",
    "labels",
    "--no-postprocess",
  ]);
  assert.is(code, 0, output);
  const ours = await readFile(join(folder, "labels", prediction));
  assert.ok(ours.equals(await readFile(join(folder, "one/predictions", prediction))));
  const [labels, source] = [readNifti(ours, "labels"), readNifti(await readFile(join(folder, image)), "image")];
  assert.equal([labels.shape, labels.affine], [source.shape, source.affine]);
});

test("train_unet saves weights by the names of the published model", async () => {
  await first;
  const { tensors, metadata } = loadSafetensors(new Uint8Array(await readFile(join(folder, "one/model.safetensors"))));
  assert.equal(tensors.get("encoder.stages.0.0.convs.0.conv.weight")?.shape, [4, 1, 3, 3, 3]);
  assert.equal(JSON.parse(metadata.voxgrad).plan.labels, ["background", "organ", "gland", "tumor"]);
});

test("train_unet takes nnU-Net's layout with channels, regions and ignore label, and predict agrees", async () => {
  const data = join(folder, "Dataset001_Regions");
  const ids = ["a", "b", "c"];
  for (const [k, id] of ids.entries()) {
    const { image, label } = phantomCase({ seed: k, shape: [20, 24, 16] });
    const second = { ...image, data: Float32Array.from(image.data, (v) => v * v) };
    const partly = { ...label, data: Uint8Array.from(label.data, (v, i) => (i % 97 === 0 ? 4 : v)) };
    const put = (name: string, volume: typeof image) =>
      platform.writeFile(join(data, name), writeNifti(volume, { gzip: true }));
    await put(`imagesTr/${id}_0000.nii.gz`, image);
    await put(`imagesTr/${id}_0001.nii.gz`, second);
    await put(`labelsTr/${id}.nii.gz`, partly);
  }
  await platform.writeFile(
    join(data, "dataset.json"),
    JSON.stringify({
      channel_names: { 0: "T1", 1: "T2" },
      labels: { background: 0, whole: [1, 2, 3], core: [2, 3], ignore: 4 },
      regions_class_order: [1, 2],
      file_ending: ".nii.gz",
    }),
  );
  const small = ["--folds", "3", "--steps", "2", "--features", "4,8", "--patch", "16,16,16", "--augment", "nnunet"];
  const { code, output } = await run("train_unet.ts", [data, ...small, "--run", "regions"]);
  assert.is(code, 0, output);
  assert.match(output, /whole .*\n+core /);
  const config = JSON.parse(await readFile(join(folder, "regions/config.json"), "utf8"));
  assert.equal([config.classes, config.architecture.classes, config.architecture.inputChannels], [
    ["whole", "core"],
    2,
    2,
  ]);
  const [id] = config.splits[0].val;
  const written = await readFile(join(folder, `regions/predictions/${id}.nii.gz`));
  assert.ok(readNifti(written, "labels").data.every((v) => v <= 2), "regions are painted 1 and 2");
  const again = await run("predict.ts", [
    "regions",
    join(data, `imagesTr/${id}_0000.nii.gz`),
    "out",
    "--no-postprocess",
  ]);
  assert.is(again.code, 0, again.output);
  assert.ok(written.equals(await readFile(join(folder, `out/${id}.nii.gz`))));
});

test("train_unet refuses an unknown key, an unfit value, a folder with a run, and one without a dataset", async () => {
  await first;
  const cases: [string[], RegExp][] = [
    [["--stepz", "3"], /Unknown key --stepz: did you mean --steps\?/],
    [["--patch", "16,16"], /--patch: got 2 numbers/],
    [["--run", "one"], /one: it holds a run already/],
    [["--data", "nowhere"], /nowhere: there is no such folder/],
  ];
  for (const [args, wanted] of cases) {
    const { code, output } = await run("train_unet.ts", args);
    assert.is(code, 1, output);
    assert.match(output, wanted);
  }
});

test.run();
