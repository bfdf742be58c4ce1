// train_alpnet and segment_one_shot as a user runs them, small: arms, a resumed run, mistakes.
import { copyFile, mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { closeDevice, random, tensor } from "../../../engine/mod.ts";
import {
  bodyMask,
  fingerprintDataset,
  inMemory,
  openDataset,
  readVolume,
  writeOrganPhantomDataset,
} from "../../../engine/imaging/mod.ts";
import { config, resumableConfig, trainingChanges } from "../../../engine/train/mod.ts";
import { alpnetEntries, trainAlpnet } from "../../../scripts/train_alpnet.ts";
import { alpnet } from "../../../models/mod.ts";
import { withSliceStatistics } from "../../../models/alpnet/training_episodes.ts";
import { runCommand } from "../../helpers/command.ts";
import { assertClose } from "../../helpers/compare.ts";
import { noise } from "../../helpers/noise.ts";
import { checkSvg } from "../../helpers/svg.ts";

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
  for (const name of ["1_superpixels", "2_episodes"]) {
    checkSvg(await readFile(place(`whole/figures/${name}.svg`), "utf8"));
  }
  await train("part", ["--steps", "3"]);
  await trainAlpnet(
    await resumableConfig(alpnetEntries, { change: trainingChanges }, ["--resume", place("part"), "--steps", "5"]),
  );
  assert.equal(await weights("part"), await weights("whole"));
  const untrained = await run("init", ["--arm", "init"]);
  assert.equal(untrained.cases.map(({ id }) => id), whole.cases.map(({ id }) => id));
  assert.not.equal(await weights("init"), await weights("whole"));
  const two = await run("two", ["--arm", "init", "--local", "background", "--shots", "2"]);
  assert.equal(two.cases.map(({ id }) => id), whole.cases.map(({ id }) => id));
  const { supports, fewShot } = JSON.parse(String(await readFile(place("two/config.json"))));
  assert.equal([supports["fold 0"].split(", ").length, fewShot.prototypes], [2, "background"]);
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
      [["--placeSigma", "0.3"], /--placeSigma has no effect: places have no weight/],
      [["--frame", "body"], /--frame has no effect: there are neither places nor a prior/],
      [["--rule", "paper", "--probe", "4"], /--probe has no effect: the rule of the paper asks for no probe/],
      [["--arm", "panet", "--probe", "4"], /--probe has no effect: there is one prototype a class/],
      [["--arm", "panet", "--local", "foreground"], /--local has no effect: --arm panet has one prototype a class/],
      [["--local", "background", "--probe", "4"], /--probe has no effect: only the background has local prototypes/],
      [["--arm", "init", "--shots", "3"], /--shots: got 3, and fold 0 has 2 labeled cases/],
      [["--arm", "copied", "--prior", "0.03", "--rate", "1"], /--rate .*\n--prior .*looks at no image/],
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

test("train_alpnet needs nothing but scans, and takes further ones without labels", async () => {
  const copies = async (to: string, numbers: readonly number[], rename = (n: number) => `scan${n}.nii.gz`) => {
    await mkdir(place(to), { recursive: true });
    for (const n of numbers) {
      await copyFile(place(`data/imagesTr/organs_00${n}.nii.gz`), join(place(to), rename(n)));
    }
  };
  await copies("scans", [1, 2]);
  const short = ["--epoch", "2", "--window", "1", "--minSize", "6", "--steps", "2", "--cache", place("prepared")];
  const bare = (data: string, name: string, more: readonly string[] = []) =>
    trainAlpnet(
      config(alpnetEntries, [
        ...[place(data), "--run", place(name), "--overwrite", "--workers", "0", "--embedding", "8", ...short],
        ...["--stride", "4", ...more],
      ]),
    );
  const none = await bare("scans", "bare", ["--clip", "-1,200", "--side", "36"]);
  assert.is(none.cases.length, 0, "nothing is held out");
  const { plan, splits } = JSON.parse(String(await readFile(place("bare/config.json"))));
  assert.equal(splits, [{ train: ["scan1", "scan2"], val: [] }]);
  assert.equal([plan.channels[0].normalization, plan.channels[0].low, plan.channels[0].high], ["ct", -1, 200]);
  // Slices of 24 x 20 pixels, resized.
  assert.equal(plan.fingerprint.medianPreparedShape.slice(1), [30, 36]);
  const found = await runCommand(folder, [
    ...["segment_one_shot", "bare", "data/imagesTr/organs_002.nii.gz", "by_bare"],
    ...["--support", "data/imagesTr/organs_001.nii.gz", "--supportLabels", "data/labelsTr/organs_001.nii.gz"],
  ]);
  assert.is(found.code, 0, found.output);
  const refused = (more: readonly string[]) => bare("scans", "refused", more).then(() => "", (e: Error) => e.message);
  assert.match(await refused(["--support", "scan1"]), /--support has no effect: .*scans has no labels/);
  assert.match(await refused(["--arm", "alpnet"]), /--superpixels|--minSize has no effect/);
  assert.match(await refused(["--fold", "each"]), /--fold each: .*scans has no label/);
  // A labeled dataset and further scans: those are in every training, and none of them is held out.
  await copies("more", [3, 4], (n) => `other${n}.nii.gz`);
  const held = await bare("data", "further", ["--folds", "2", "--unlabeled", place("more")]);
  assert.is(held.cases.length, 2);
  const folds = JSON.parse(String(await readFile(place("further/splits.json"))));
  assert.ok(folds.every(({ train }: { train: string[] }) => train.includes("other3") && train.includes("other4")));
  assert.match(
    await bare("data", "refused", ["--unlabeled", place("more"), "--exclude", "liver"]).then(
      () => "",
      (e) => e.message,
    ),
    /--exclude: 2 scans have no labels/,
  );
});

test("openDataset() with optional labels opens images alone, as files, in imagesTr and as a list", async () => {
  const write = async (path: string, data: string | Uint8Array) => {
    await mkdir(dirname(place(path)), { recursive: true });
    await writeFile(place(path), data);
  };
  const scan = await readFile(place("data/imagesTr/organs_001.nii.gz"));
  for (const name of ["a/p1.nii.gz", "a/case_0007.nii.gz", "b/imagesTr/p1_0000.nii.gz", "b/imagesTr/p1_0001.nii.gz"]) {
    await write(name, scan);
  }
  const cases = async (name: string) => {
    const { cases, labels, channels } = await openDataset(place(name), undefined, { labels: "optional" });
    assert.equal(labels, [{ name: "background", value: 0 }]);
    assert.ok(cases.every(({ label }) => label === undefined));
    return [channels.length, ...cases.map(({ id }) => id)];
  };
  assert.equal(await cases("b"), [2, "p1"]);
  for (const json of [{ training: [{ image: "x/one.nii.gz" }, "x/two.nii.gz"] }, {}]) {
    await write("c/x/one.nii.gz", scan);
    await write("c/x/two.nii.gz", scan);
    await write("c/imagesTr/three_0000.nii.gz", scan);
    await write("c/dataset.json", JSON.stringify({ ...json, channel_names: { 0: "CT" } }));
    assert.equal(await cases("c"), "training" in json ? [1, "one", "two"] : [1, "three"]);
  }
  assert.equal([...(await cases("a")).slice(1)].sort(), ["case_0007", "p1"]);
  const labeled = await openDataset(place("data"), undefined, { labels: "optional" });
  assert.is(labeled.labels.length, 6);
  assert.match(
    await openDataset(place("a")).then(() => "", (error: Error) => error.message),
    /no dataset that is known/,
  );
  // What the intensities of CT are planned by.
  const dataset = await openDataset(place("c"), undefined, { labels: "optional" });
  const { channels: [figures] } = await fingerprintDataset(dataset, { unlabeled: true });
  const volume = await readVolume(place("c/imagesTr/three_0000.nii.gz"));
  const body = bodyMask(volume);
  const inside = Array.from(volume.data).filter((_, i) => body[i] === 1);
  const mean = inside.reduce((a, b) => a + b) / inside.length;
  assert.ok(Math.abs(figures.mean - mean) < 0.02 * mean, `${figures.mean}, ${mean} in the body`);
  const { channels: [cut] } = await fingerprintDataset(dataset, { unlabeled: true, clip: [10, 20] });
  assert.ok(cut.min >= 10 && cut.max <= 20);
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
