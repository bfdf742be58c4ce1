// train_colab, small: without contexts it is train_unet to the last bit; with them it can be killed.
import { cp, mkdir, mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { closeDevice, loadSafetensors, random, tree } from "../../../engine/mod.ts";
import { writePhantomDataset } from "../../../engine/imaging/mod.ts";
import { config, ConfigError, resumableConfig, trainingChanges } from "../../../engine/train/mod.ts";
import { plainConvUNet } from "../../../models/mod.ts";
import { collapseWarning } from "../../../models/colab/generator.ts";
import { colabEntries, trainColab } from "../../../scripts/train_colab.ts";
import { trainUnet, unetEntries } from "../../../scripts/train_unet.ts";
import { runCommand } from "../../helpers/command.ts";
import { inProcess } from "../../helpers/in_process.ts";

const folder = await mkdtemp(join(tmpdir(), "voxgrad-colab-"));
test.after(async () => {
  await rm(folder, { recursive: true, force: true });
  await closeDevice();
});

const place = (name: string): string => join(folder, name);
/** A run of train_colab in this process; the words name files in the folder. */
const run = (words: readonly string[], stop?: RegExp) =>
  inProcess(
    async () => trainColab(await resumableConfig(colabEntries, { change: trainingChanges }, words)),
    stop && { stop },
  );

await writePhantomDataset(join(folder, "data"), { cases: 3, seed: 2, shape: [28, 24, 20] });
const small = [
  "--data",
  place("data"),
  "--cache",
  place("prepared"),
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
/** Words without a key and its value. */
const without = (words: readonly string[], key: string) =>
  words.filter((word, k) => word !== key && words[k - 1] !== key);
const file = (run: string, name: string) => readFile(join(folder, run, name));
async function weights(run: string): Promise<[string, number[]][]> {
  const { tensors } = loadSafetensors(new Uint8Array(await file(run, "model.safetensors")));
  return Promise.all([...tensors].map(async ([name, t]) => [name, [...await t.data()]] as [string, number[]]));
}

test("train_colab without contexts, and with one, gives the weights of train_unet", async () => {
  await trainUnet(config(unetEntries, [...small, "--run", place("plain")]));
  for (const [name, args] of [["none", ["--context", "none"]], ["one", ["--contexts", "1"]]] as const) {
    const { error, output } = await run([...small, ...args, "--run", place(name)]);
    assert.is(error, undefined, output);
    // The headers tell what each was made by.
    assert.equal(await weights(name), await weights("plain"), name);
    assert.equal(await readdir(join(folder, name, "figures")), ["logits.svg"]);
  }
});

test("train_colab resumes a killed run to the same segmenter and generator, and predict uses it", async () => {
  const whole = await run([...contexts, "--run", place("whole")]);
  assert.is(whole.error, undefined, whole.output);
  // The larger program of every second step is told of before the first is over.
  const [told, firstStep] = [
    whole.output.search(/Every 2 steps, with the generator's: \d+ kernels, [\d.]+ MB at most/),
    whole.output.search(/step 1\/6/),
  ];
  assert.ok(told >= 0 && told < firstStep, whole.output);
  const killed = ["train_colab", ...contexts, "--run", place("killed"), "--checkpoint", "0"];
  await runCommand(folder, killed, { kill: /step 1\//, after: 600 });
  const rest = await run(["--resume", place("killed"), "--checkpoint", "0"]);
  assert.is(rest.error, undefined, rest.output);
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
  const again = await runCommand(folder, [
    "predict",
    "whole",
    `data/imagesTr/${prediction}`,
    "labels",
    "--no-postprocess",
  ]);
  assert.is(again.code, 0, again.output);
  assert.ok((await file("whole", `predictions/${prediction}`)).equals(await file("labels", prediction)));
});

test("train_colab with contexts by k-means resumes to the same weights", async () => {
  const clustered = [...small, "--context", "kmeans", "--contexts", "3"];
  const whole = await run([...clustered, "--run", place("clusters")]);
  assert.is(whole.error, undefined, whole.output);
  assert.match(whole.output, /k-means on \d+ voxels of 2 training cases, centers as prepared: (-?[\d.]+(, )?){3}/);
  await run([...clustered, "--run", place("clusters2"), "--checkpoint", "0"], /step 3\//);
  const rest = await run(["--resume", place("clusters2"), "--checkpoint", "0"]);
  assert.is(rest.error, undefined, rest.output);
  assert.match(rest.output, /Resuming after step 2 of 6/);
  assert.ok((await file("clusters", "model.safetensors")).equals(await file("clusters2", "model.safetensors")));
});

test("train_colab takes an inner step for each sample, and a generator of half the channels", async () => {
  const own = ["--metaPer", "sample", "--generatorWidth", "0.5", "--steps", "2"];
  const sample = await run([...without(contexts, "--steps"), ...own, "--run", place("samples")]);
  assert.is(sample.error, undefined, sample.output);
  const learned = loadSafetensors(new Uint8Array(await file("samples", "generator.safetensors"))).tensors;
  assert.equal(learned.get("encoder.stages.0.0.convs.0.conv.weight")!.shape, [2, 1, 3, 3, 3]);
  assert.equal(learned.get("decoder.seg_layers.0.weight")!.shape, [2, 2, 1, 1, 1]);
});

test("train_colab starts with one background and clusters, tells of the generator, and resumes to the same", async () => {
  const own = [
    ...["--warmup", "0.34", "--generatorStart", "kmeans", "--entropy", "0.1", "--roiPrior", "0.01"],
    ...["--diceSquared", "--diceReduction", "sum", "--diceContexts", "none", "--dice", "sample"],
    ...["--innerOutputs", "all", "--innerStep", "adam", "--recompute", "false"],
  ];
  const whole = await run([...contexts, ...own, "--run", place("started")]);
  assert.is(whole.error, undefined, whole.output);
  assert.match(whole.output, /k-means on \d+ voxels/);
  const records = String(await file("started", "log.jsonl")).trimEnd().split("\n").map((line) => JSON.parse(line));
  // The first two steps are the start; of the others every second updates the generator.
  assert.equal(records.map(({ extra }) => extra !== undefined), [false, false, false, true, false, true]);
  const { "Shares of contexts": shares, "Entropy of contexts (nats)": entropy } = records[3].extra;
  const [first, second] = [shares["context 1"], shares["context 2"]];
  assert.ok(Math.abs(first + second - 1) < 1e-5);
  assert.ok(Math.abs(entropy["of the mean"] + first * Math.log(first) + second * Math.log(second)) < 1e-5);
  assert.match(String(await file("started", "report.html")), /ROI loss after the inner step/);
  await run([...contexts, ...own, "--run", place("started2"), "--checkpoint", "0"], /step 2\//);
  const rest = await run(["--resume", place("started2"), "--checkpoint", "0"]);
  assert.is(rest.error, undefined, rest.output);
  for (const name of ["model.safetensors", "generator.safetensors"]) {
    assert.ok((await file("started", name)).equals(await file("started2", name)), name);
  }
});

test("train_colab keeps a generator of rate 0 as it starts, and warns where labels have collapsed", async () => {
  const frozen = await run([...contexts.slice(0, -2), "--generatorRate", "0", "--run", place("frozen")]);
  assert.is(frozen.error, undefined, frozen.output);
  const { architecture } = JSON.parse(await readFile(join(folder, "frozen/config.json"), "utf8"));
  const { roiClasses: _, ...network } = architecture;
  const first = tree.flatten(plainConvUNet({ ...network, classes: 2, deepSupervision: false }).init(random.key(2)));
  const { tensors } = loadSafetensors(new Uint8Array(await file("frozen", "generator.safetensors")));
  for (const [name, t] of first) assert.equal([...await tensors.get(name)!.data()], [...await t.data()], name);
  const warn = collapseWarning();
  const record = (share: number) => ({
    ...{ step: 7, loss: 1, rate: 1, dice: [1], seconds: 1 },
    extra: { "Shares of contexts": { "context 1": 1 - share, "context 2": share } },
  });
  const { output } = await inProcess(() => [0.5, 0.98, 0.99].forEach((share) => warn(record(share))));
  assert.match(output, /^step 7: 98 % of the background is context 2, [^]*--entropy[^]*\n$/);
  assert.is(output.split("\n").length, 2, "told once");
});

test("train_colab takes dilated masks and context labels of a folder, and names misfits", async () => {
  const short = [...without(small, "--steps"), "--steps", "2"];
  const soft = ["--margin", "3", "--tau", "2", "--context", "dilated"];
  const dilated = await run([...short, ...soft, "--run", place("dilated")]);
  assert.is(dilated.error, undefined, dilated.output);
  const labels = [...short, "--context", "labels", "--contextLabels", place("data/labelsTr")];
  const drawn = await run([...labels, "--contexts", "4", "--run", place("drawn")]);
  assert.is(drawn.error, undefined, drawn.output);
  for (const name of ["dilated", "drawn"]) {
    assert.match(
      String(await file(name, "report.html")),
      /<h2>Context labels<\/h2>[^]*<h2>Intensities of ROI and contexts<\/h2>[^]*<h2>Logit plane<\/h2>/,
    );
  }
  const few = await run([...labels, "--contexts", "2", "--run", place("few")]);
  assert.match(few.error!.message, /it holds \d; --contexts 2 allows 0 to 1/);
  const nowhere = await run([...small, "--context", "labels", "--run", place("nowhere")]);
  assert.match(nowhere.error!.message, "--context labels wants --contextLabels");
});

test("train_colab refuses what the data rule out before a case is prepared, or before the first step", async () => {
  const fails = async (words: readonly string[], message: RegExp, prepared: boolean) => {
    const given = [...without(small, "--cache"), ...words, "--run", place("judged"), "--overwrite"];
    const { error, output } = await run([...given, "--cache", place("fresh")]);
    assert.instance(error, ConfigError);
    assert.match(error!.message, message);
    assert.not.match(output, /step 1\//);
    assert.is(/preparing/.test(output), prepared, output);
  };
  const [image] = await readdir(join(folder, "data/imagesTr"));
  await mkdir(join(folder, "some"));
  await cp(join(folder, "data/labelsTr", image), join(folder, "some", image));
  const labels = (
    where: string,
    contexts: string,
  ) => ["--context", "labels", "--contexts", contexts, "--contextLabels", place(where)];
  await fails(
    labels("some", "4"),
    /--contextLabels: there is no .*\/some\/\w+\.nii\.gz, nor those of \d other cases/,
    false,
  );
  await fails(labels("none", "2"), /--contextLabels: there is no .*\/none\//, false);
  await fails(labels("data/labelsTr", "2"), /it holds \d; --contexts 2 allows 0 to 1/, false);
  await fails(labels("data/labelsTr", "9"), /--contexts 9: no file of .*data\/labelsTr has the value \d, .*8/, false);
  await fails(["--roiClass", "3"], /--roiClass: got 3, wanted one of 0 \w+, 1 /, true);
});

test.run();
