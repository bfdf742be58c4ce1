// train_alpnet and segment_one_shot as a user runs them, small: arms, a resumed run, mistakes.
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { closeDevice, random, tensor } from "../../../engine/mod.ts";
import { inMemory, readVolume, writeOrganPhantomDataset } from "../../../engine/imaging/mod.ts";
import { config, resumableConfig, trainingChanges } from "../../../engine/train/mod.ts";
import { alpnetEntries, trainAlpnet } from "../../../scripts/train_alpnet.ts";
import { alpnet, withSliceStatistics } from "../../../models/mod.ts";
import { runCommand } from "../../helpers/command.ts";
import { assertClose } from "../../helpers/compare.ts";
import { noise } from "../../helpers/noise.ts";

const folder = await mkdtemp(join(tmpdir(), "voxgrad-alpnet-"));
test.after(async () => {
  await rm(folder, { recursive: true, force: true });
  await closeDevice();
});
const place = (name: string) => join(folder, name);
await writeOrganPhantomDataset(place("data"), { cases: 4, seed: 3, shape: [24, 20, 16], spacing: [10, 10, 20] });
const words = [
  place("data"),
  "--cache",
  place("prepared"),
  "--folds",
  "2",
  "--workers",
  "0",
  "--stride",
  "4",
];
/** A run with options that all arms have. */
const run = (name: string, more: readonly string[]) =>
  trainAlpnet(
    config(alpnetEntries, [
      ...words,
      "--run",
      place(name),
      ...(more.includes("copied") ? [] : ["--embedding", "8"]),
      ...more,
    ]),
  );
const train = (name: string, more: readonly string[]) =>
  run(name, ["--epoch", "2", "--window", "2", "--minSize", "6", "--rate", "1e-2", ...more]);
const weights = (name: string) => readFile(join(place(name), "model.safetensors"));

test("train_alpnet resumes to the same weights and measures held-out cases", async () => {
  const whole = await train("whole", ["--steps", "5"]);
  assert.is(whole.cases.length, 2);
  assert.ok(whole.cases.every(({ classes }) => classes.length === 5));
  await train("part", ["--steps", "3"]);
  await trainAlpnet(
    await resumableConfig(alpnetEntries, { change: trainingChanges }, ["--resume", place("part"), "--steps", "5"]),
  );
  assert.equal(await weights("part"), await weights("whole"));
  const untrained = await run("init", ["--arm", "init"]);
  assert.equal(untrained.cases.map(({ id }) => id), whole.cases.map(({ id }) => id));
  assert.not.equal(await weights("init"), await weights("whole"));
  const copied = await run("copied", ["--arm", "copied", "--slices", "nearest"]);
  assert.equal(copied.cases.map(({ id }) => id), whole.cases.map(({ id }) => id));
  const liver = copied.cases.map(({ classes }) => classes[0].dice);
  assert.ok(liver.every((dice) => dice > 0.4), `${liver}: livers lie alike`);
});

test("withSliceStatistics() gives a network the statistics of the slices", async () => {
  const model = alpnet.encoder({ block: "basic", layers: [1, 1], width: 4, features: 6, inputChannels: 1 });
  const params = model.init(random.key(3));
  // Slices are all alike, so that every batch of them has the same statistics.
  const one = noise(48 * 40, 4);
  const image = Float32Array.from({ length: 10 * one.length }, (_, i) => one[i % one.length]);
  const label = new Uint8Array(image.length);
  const item = {
    id: "one",
    image,
    label,
    channels: 1,
    shape: [10, 48, 40],
    spacing: [1, 1, 1],
    foreground: [],
  } as const;
  const filled = await withSliceStatistics(model, params, inMemory([item]), [48, 40]);
  const x = tensor(one, { shape: [1, 1, 48, 40] });
  const [running, batch] = [model.apply(filled, x), model.apply(params, x, { train: true })];
  // Running variances divide by one value less.
  await assertClose(running, { shape: batch.shape, data: Float64Array.from(await batch.data()) }, 1e-2, "features");
});

test("train_alpnet with annotated arms trains on classes not excluded, and names mistakes", async () => {
  await run("panet", [
    "--arm",
    "panet",
    "--epoch",
    "2",
    "--rate",
    "1e-2",
    "--steps",
    "2",
    "--exclude",
    "spleen, liver",
    "--ranges",
    "unknown",
    "--transformed",
    "query",
  ]);
  const refused = (more: readonly string[]) => run("refused", more).then(() => "", (error: Error) => error.message);
  for (
    const [words, reason] of [
      [["--nearest", "2"], /--nearest has no effect: .* take --slices nearest/],
      [["--chunks", "2", "--aligned"], /--chunks has no effect: the support is the nearest slices/],
      [["--placeSigma", "3"], /--placeSigma has no effect: places have no weight/],
      [["--frame", "body"], /--frame has no effect: there are neither places nor a prior/],
      [["--rule", "paper", "--probe", "4"], /--probe has no effect: the rule of the paper asks for no probe/],
      [["--arm", "panet", "--probe", "4"], /--probe has no effect: there is one prototype a class/],
      [["--arm", "copied", "--prior", "3", "--rate", "1"], /--rate .*\n--prior .*looks at no image/],
    ] as const
  ) {
    assert.match(await refused(words), reason);
  }
  assert.match(await refused(["--exclude", "heart"]), /--exclude: there is no class "heart"; there are liver, spleen/);
  assert.match(
    await refused(["--overwrite", "--support", "nobody", "--arm", "init"]),
    /--support: there is no case nobody/,
  );
});

test("segment_one_shot labels scans with the values of its support", async () => {
  const image = (n: number) => place(`data/imagesTr/organs_00${n}.nii.gz`);
  const support = ["--support", image(1), "--supportLabels", place("data/labelsTr/organs_001.nii.gz")];
  const made = await runCommand(folder, [
    "segment_one_shot",
    "whole",
    image(2),
    "found",
    ...support,
    "--names",
    "liver",
  ]);
  assert.is(made.code, 0, made.output);
  const [found, scan] = [await readVolume(place("found/organs_002.nii.gz")), await readVolume(image(2))];
  assert.equal([found.shape, found.affine], [scan.shape, scan.affine]);
  const values = new Set(found.data);
  assert.ok(values.size > 1 && [...values].every((value) => value <= 5), [...values].join());
  assert.match(String(await readFile(place("found/overlay.svg"))), /liver/);
  // Another support, another encoder or another scan of the name is another result.
  const again = (run: string, of: number) =>
    runCommand(folder, [
      "segment_one_shot",
      run,
      image(2),
      "found",
      "--support",
      image(of),
      "--supportLabels",
      place(`data/labelsTr/organs_00${of}.nii.gz`),
      "--names",
      "liver",
    ]);
  const first = await readFile(place("found/organs_002.nii.gz"));
  assert.match((await again("whole", 1)).output, /1 of 1 cases are there already/);
  assert.match(
    (await again("whole", 4)).output,
    /organs_002: made again, for it was made by other weights or supports/,
  );
  assert.match((await again("init", 4)).output, /made again, for it was made by other weights or supports/);
  assert.match((await again("whole", 1)).output, /made again, for it was made by other weights or supports/);
  assert.ok(first.equals(await readFile(place("found/organs_002.nii.gz"))));
  const into = await runCommand(folder, ["segment_one_shot", "whole", image(2), "data/imagesTr", ...support]);
  assert.is(into.code, 1);
  assert.match(into.output, /--output data\/imagesTr: .* lies there, which is read/);
  const without = await runCommand(folder, ["segment_one_shot", "whole", image(2), "found"]);
  assert.is(without.code, 1);
  assert.match(without.output, /--support is missing/);
  const other = await runCommand(folder, ["predict", "whole", image(2), "labels"]);
  assert.is(other.code, 1);
  assert.match(other.output, /segment_one_shot/);
});

test.run();
