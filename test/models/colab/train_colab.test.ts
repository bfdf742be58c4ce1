// train_colab as a user runs it, small: without contexts it is train_unet to the last bit; with them it can be killed.
import { cp, mkdir, mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { closeDevice, loadSafetensors, random, tree } from "../../../engine/mod.ts";
import { writePhantomDataset } from "../../../engine/imaging/mod.ts";
import { plainConvUNet } from "../../../models/mod.ts";
import { runCommand } from "../../helpers/command.ts";

const folder = await mkdtemp(join(tmpdir(), "voxgrad-colab-"));
test.after(async () => {
  await rm(folder, { recursive: true, force: true });
  await closeDevice();
});

const run = (command: string, args: readonly string[], kill?: RegExp) =>
  runCommand(folder, [command, ...args], { kill, after: 600 });

await writePhantomDataset(join(folder, "data"), { cases: 3, seed: 2, shape: [28, 24, 20] });
const small = [
  "--data",
  "data",
  "--rate",
  "0.01",
  "--augment",
  "mirror",
  "--folds",
  "3",
  "--steps",
  "6",
  "--epoch",
  "3",
  "--validation",
  "1",
  "--features",
  "4,8",
  "--patch",
  "16,16,16",
  "--foreground",
  "0.33",
];
const contexts = [...small, "--margin", "3", "--tau", "2", "--period", "2"];
const file = (run: string, name: string) => readFile(join(folder, run, name));
async function weights(run: string): Promise<[string, number[]][]> {
  const { tensors } = loadSafetensors(new Uint8Array(await file(run, "model.safetensors")));
  return Promise.all([...tensors].map(async ([name, t]) => [name, [...await t.data()]] as [string, number[]]));
}

test("train_colab without contexts, and with one, gives the weights of train_unet", async () => {
  await run("train_unet", [...small, "--run", "plain"]);
  for (const [name, args] of [["none", ["--context", "none"]], ["one", ["--contexts", "1"]]] as const) {
    const { code, output } = await run("train_colab", [...small, ...args, "--run", name]);
    assert.is(code, 0, output);
    // The headers tell what each was made by.
    assert.equal(await weights(name), await weights("plain"), name);
    assert.equal(await readdir(join(folder, name, "figures")), ["logits.svg"]);
  }
});

test("train_colab resumes a killed run to the same segmenter and generator, and predict uses it", async () => {
  const whole = await run("train_colab", [...contexts, "--run", "whole"]);
  assert.is(whole.code, 0, whole.output);
  // The larger program of every second step is told of before the first is over.
  const [told, firstStep] = [
    whole.output.search(/Every 2 steps, with the generator's: \d+ kernels, [\d.]+ MB at most/),
    whole.output.search(/step 1\/6/),
  ];
  assert.ok(told >= 0 && told < firstStep, whole.output);
  await run("train_colab", [...contexts, "--run", "killed", "--checkpoint", "0"], /step 1\//);
  const rest = await run("train_colab", ["--resume", "killed", "--checkpoint", "0"]);
  assert.is(rest.code, 0, rest.output);
  const figures = ["context_maps.svg", "intensities.svg", "logits.svg"];
  assert.equal(await readdir(join(folder, "whole/figures")), figures);
  for (const name of ["model.safetensors", "generator.safetensors", ...figures.map((each) => `figures/${each}`)]) {
    assert.ok((await file("whole", name)).equals(await file("killed", name)), name);
  }
  const { tensors } = loadSafetensors(new Uint8Array(await file("whole", "generator.safetensors")));
  const { architecture } = JSON.parse(await readFile(join(folder, "whole/config.json"), "utf8"));
  const { roiClasses: _, ...network } = architecture;
  const first = tree.flatten(plainConvUNet({ ...network, classes: 2, deepSupervision: false }).init(random.key(2)));
  assert.equal([...tensors.keys()], [...first.keys()]);
  for (const name of ["encoder.stages.0.0.convs.0.conv.weight", "decoder.seg_layers.0.weight"]) {
    const [before, after] = [await first.get(name)!.data(), await tensors.get(name)!.data()];
    assert.ok(after.every(Number.isFinite) && after.some((v, k) => v !== before[k]), `${name} has been learned`);
  }
  const [prediction] = await readdir(join(folder, "whole/predictions"));
  const again = await run("predict", ["whole", `data/imagesTr/${prediction}`, "labels", "--no-postprocess"]);
  assert.is(again.code, 0, again.output);
  assert.ok((await file("whole", `predictions/${prediction}`)).equals(await file("labels", prediction)));
});

test("train_colab with contexts by k-means resumes to the same weights", async () => {
  const clustered = [...small, "--context", "kmeans", "--contexts", "3"];
  const whole = await run("train_colab", [...clustered, "--run", "clusters"]);
  assert.is(whole.code, 0, whole.output);
  assert.match(whole.output, /k-means on \d+ voxels of 2 training cases, centers as prepared: (-?[\d.]+(, )?){3}/);
  await run("train_colab", [...clustered, "--run", "clusters2", "--checkpoint", "0"], /step 1\//);
  const rest = await run("train_colab", ["--resume", "clusters2", "--checkpoint", "0"]);
  assert.is(rest.code, 0, rest.output);
  assert.ok((await file("clusters", "model.safetensors")).equals(await file("clusters2", "model.safetensors")));
});

test("train_colab takes an inner step for each sample, and a generator of half the channels", async () => {
  const sample = await run("train_colab", [
    ...contexts,
    "--metaPer",
    "sample",
    "--run",
    "samples",
    "--generatorWidth",
    "0.5",
  ]);
  assert.is(sample.code, 0, sample.output);
  const learned = loadSafetensors(new Uint8Array(await file("samples", "generator.safetensors"))).tensors;
  assert.equal(learned.get("encoder.stages.0.0.convs.0.conv.weight")!.shape, [2, 1, 3, 3, 3]);
  assert.equal(learned.get("decoder.seg_layers.0.weight")!.shape, [2, 2, 1, 1, 1]);
});

test("train_colab takes dilated masks and context labels of a folder, and names label maps that do not fit", async () => {
  const dilated = await run("train_colab", [
    ...small,
    "--margin",
    "3",
    "--tau",
    "2",
    "--context",
    "dilated",
    "--run",
    "dilated",
  ]);
  assert.is(dilated.code, 0, dilated.output);
  const labels = [...small, "--context", "labels", "--contextLabels", "data/labelsTr"];
  const drawn = await run("train_colab", [...labels, "--contexts", "4", "--run", "drawn"]);
  assert.is(drawn.code, 0, drawn.output);
  for (const name of ["dilated", "drawn"]) {
    assert.match(
      String(await file(name, "report.html")),
      /<h2>Context labels<\/h2>[^]*<h2>Intensities of ROI and contexts<\/h2>[^]*<h2>Logit plane<\/h2>/,
    );
  }
  const few = await run("train_colab", [...labels, "--contexts", "2", "--run", "few"]);
  assert.is(few.code, 1);
  assert.match(few.output, /it holds \d; --contexts 2 allows 0 to 1/);
  const nowhere = await run("train_colab", [...small, "--context", "labels", "--run", "nowhere"]);
  assert.match(nowhere.output, "--context labels wants --contextLabels");
});

test("train_colab refuses what the data rule out before a case is prepared, or before the first step", async () => {
  const fails = async (words: readonly string[], message: RegExp, prepared: boolean) => {
    const { code, output } = await run("train_colab", [
      ...small,
      ...words,
      "--run",
      "judged",
      "--overwrite",
      "--cache",
      "fresh",
    ]);
    assert.is(code, 1, output);
    assert.match(output, message);
    assert.not.match(output, /step 1\//);
    assert.is(/preparing/.test(output), prepared, output);
  };
  const [image] = await readdir(join(folder, "data/imagesTr"));
  await mkdir(join(folder, "some"));
  await cp(join(folder, "data/labelsTr", image), join(folder, "some", image));
  const labels = (
    where: string,
    contexts: string,
  ) => ["--context", "labels", "--contexts", contexts, "--contextLabels", where];
  await fails(
    labels("some", "4"),
    /--contextLabels: there is no some\/\w+\.nii\.gz, nor those of \d other cases/,
    false,
  );
  await fails(labels("none", "2"), /--contextLabels: there is no none\//, false);
  await fails(labels("data/labelsTr", "2"), /it holds \d; --contexts 2 allows 0 to 1/, false);
  await fails(labels("data/labelsTr", "9"), /--contexts 9: no file of data\/labelsTr has the value \d, .*8/, false);
  await fails(["--roiClass", "3"], /--roiClass: got 3, wanted one of 0 \w+, 1 /, true);
});

test.run();
