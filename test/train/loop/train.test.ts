// deno-lint-ignore-file no-explicit-any
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "uvu";
import { planFor } from "../../helpers/plans.ts";
import * as assert from "uvu/assert";
import { platform as shared } from "#platform";
import { platform } from "../../../engine/platform/node.ts";
import { compile, conv3d, type Tensor, tensor } from "../../../engine/mod.ts";
import { makeVolume, scaling } from "../../../engine/imaging/mod.ts";
import {
  counted,
  duration,
  findImages,
  formatTable,
  JsonLines,
  openRun,
  RunFolder,
  segmenter,
  stepMetrics,
  tellBackground,
  trainLoop,
} from "../../../engine/train/mod.ts";
import { recordChart } from "../../../engine/train/plot/record_chart.ts";
import { isStep, Pace } from "../../../engine/train/run/logging.ts";
import { PseudoDice } from "../../../engine/train/loop/pseudo_dice.ts";
import { noise } from "../../helpers/noise.ts";
import { message } from "../../helpers/refuse.ts";

const folder = await mkdtemp(join(tmpdir(), "voxgrad-train-"));
test.after(async () => {
  await rm(folder, { recursive: true, force: true });
  platform.closeGpu();
});

test("openRun() takes the first free number, and refuses a folder that holds a run", async () => {
  const before = process.cwd();
  process.chdir(folder);
  try {
    const first = await openRun({ name: "My Data" });
    assert.is(first.path, "runs/my_data-001");
    await first.writeJson("config.json", { options: { a: NaN } });
    assert.is((await openRun({ name: "My Data" })).path, "runs/my_data-002");
    assert.match(await message(() => openRun({ name: "x", folder: "runs/my_data-001/" })), "--overwrite");
    assert.is((await openRun({ name: "x", folder: "runs/my_data-001/", overwrite: true })).path, "runs/my_data-001");
    assert.equal(JSON.parse(await readFile("runs/my_data-001/config.json", "utf8")), { options: { a: null } });
    await first.write("deep/file.txt", "x");
    await first.write("deep/file.txt", "y");
    assert.equal(first.written, ["runs/my_data-001/config.json", "runs/my_data-001/deep/file.txt"]);
    assert.equal(await readdir("runs/my_data-001/deep"), ["file.txt"]);
    await first.write("deep/other.txt", "z");
    assert.is(first.listing(), "runs/my_data-001/config.json\nruns/my_data-001/deep/ (2 files)");
  } finally {
    process.chdir(before);
  }
});

test("RunFolder.clear() removes what a training wrote, in a folder that holds one alone", async () => {
  const place = (name: string) => join(folder, "cleared", name);
  const files = [
    "checkpoint.safetensors",
    "predictions/a.nii.gz",
    "fold_0/model.safetensors",
    "fold_0/notes.txt",
    "mine.txt",
    "phantom/x",
  ];
  const put = async (): Promise<void> => {
    for (const name of files) await new RunFolder(join(folder, "cleared")).write(name, "x");
  };
  const left = async () =>
    (await readdir(join(folder, "cleared"), { recursive: true })).filter((name) => /\.|x$/.test(name)).sort();
  await put();
  const run = new RunFolder(join(folder, "cleared"));
  await run.clear();
  assert.equal(await left(), [...files].sort());
  // A common name, and no run.
  await writeFile(place("config.json"), '{ "compilerOptions": {} }');
  await run.clear();
  assert.equal(await left(), [...files, "config.json"].sort());
  assert.match(
    await message(() => openRun({ name: "x", folder: join(folder, "cleared"), overwrite: true })),
    /its config\.json is not that of a run/,
  );
  await run.writeJson("config.json", { options: {} });
  await run.clear();
  assert.equal(await left(), ["fold_0/notes.txt", "mine.txt", "phantom/x"]);
});

test("RunFolder.write() refuses names that lead out of the folder", async () => {
  const run = new RunFolder(join(folder, "inside"));
  for (
    const name of ["../x", "/x", "a/../../x", "a//b", "./x", "", "a\\b", "a\u0000b", "predictions/../../../x.nii.gz"]
  ) {
    assert.match(await message(() => run.write(name, "x")), /is no name of a file in it/, name);
    assert.match(await message(() => run.append(name, "x")), /is no name of a file in it/, name);
  }
  assert.not.ok((await readdir(folder)).includes("x"));
});

test("tellBackground() speaks where some cases have not all annotated, and nowhere else", () => {
  const { log } = shared;
  const said: string[] = [];
  shared.log = (line) => void said.push(line);
  try {
    tellBackground({ cases: [{ id: "a", images: ["a.nii"] }] });
    assert.equal(said, []);
    tellBackground({ cases: [{ id: "a", images: ["a.nii"] }, { id: "b", images: ["b.nii"], labelsPresent: [1] }] });
    assert.equal(said, ["The loss takes what a case has not annotated for background; that of train_partial does not"]);
  } finally {
    shared.log = log;
  }
});

test("JsonLines.add() writes one JSON value a line", async () => {
  const run = await openRun({ name: "log", folder: join(folder, "log") });
  const lines = new JsonLines(run, "log.jsonl");
  for (const step of [1, 2, 3]) await lines.add({ step, dice: [0.5, NaN] });
  await lines.flush();
  const text = await readFile(join(folder, "log/log.jsonl"), "utf8");
  const wanted = [1, 2, 3].map((step) => ({ step, dice: [0.5, null] }));
  assert.equal(text.trimEnd().split("\n").map((line) => JSON.parse(line)), wanted);
});

test("duration() is read by people", () => {
  assert.equal([0, 9.94, 9.96, 59.4, 75, 3599, 3600, 7384].map(duration), [
    "0.0 s",
    "9.9 s",
    "10 s",
    "59 s",
    "1 min 15 s",
    "59 min 59 s",
    "1 h 0 min",
    "2 h 3 min",
  ]);
});

test("Pace.mark() measures from the first mark on", () => {
  let now = 0;
  const pace = new Pace(100, () => now);
  now = 60_000;
  assert.is(pace.mark(1, "step"), "");
  now += 500;
  assert.is(pace.mark(2, "step"), "2.0 steps/s  49 s left");
  now += 9500;
  assert.is(pace.mark(3, "step"), "5.0 s/step  8 min 5 s left");
});

test("formatTable() aligns and shows what is not known as a dash", () => {
  assert.equal(formatTable(["class", "Dice", "n"], [["organ", 0.91234, 12], ["b", NaN, 3]]).split("\n"), [
    "class   Dice   n",
    "----------------",
    "organ  0.912  12",
    "b          -   3",
  ]);
});

test("findImages() groups channels, and takes any other file for a case", async () => {
  const put = (...names: string[]) => Promise.all(names.map((name) => platform.writeFile(join(folder, name), "")));
  await put("one/b_0000.nii.gz", "one/a_0007.nii", "one/notes.txt", "one/.hidden.nii", "one/c.nii.gz");
  const list = (cases: { id: string; images: readonly string[] }[]) =>
    cases.map(({ id, images }) => [id, ...images.map((path) => path.slice(folder.length + 1))]);
  assert.equal(list(await findImages(`${folder}/one/`, 1)), [
    ["a_0007", "one/a_0007.nii"],
    ["b", "one/b_0000.nii.gz"],
    ["c", "one/c.nii.gz"],
  ]);
  await put("two/a_0000.nii.gz", "two/a_0001.nii.gz", "two/whole.nii");
  const pair = ["a", "two/a_0000.nii.gz", "two/a_0001.nii.gz"];
  assert.equal(list(await findImages(`${folder}/two`, 2)), [pair, ["whole", "two/whole.nii"]]);
  assert.equal(list(await findImages(`${folder}/two/a_0001.nii.gz`, 2)), [pair]);
  assert.equal(await findImages("alone.nii", 1), [{ id: "alone", images: ["alone.nii"] }]);
  await put("three/a_0001.nii", "four/a.nii", "four/a.nii.gz", "five/a_0002.nii", "six/x.txt");
  assert.match(await message(() => findImages(`${folder}/three`, 2)), "case a has no channel 0000");
  assert.match(await message(() => findImages(`${folder}/four`, 1)), "is the same case");
  assert.match(await message(() => findImages(`${folder}/five`, 2)), "takes 2 channel(s)");
  assert.match(await message(() => findImages(`${folder}/six`, 2)), "there is no image in it");
});

test("counted() gives every item once, in order", () => {
  assert.equal([...counted(["a", "b"], "case")], ["a", "b"]);
});

// A small generator of its own, so that the reference shares nothing with what it checks.
function numbers(seed: number): () => number {
  let state = seed;
  return () => (state = (state * 48271) % 2147483647) / 2147483647;
}

test("stepMetrics() counts as a loop does, leaving out labels that are no class", async () => {
  const [N, K, D, H, W] = [2, 4, 3, 5, 7];
  const next = numbers(5);
  const logits = Float32Array.from({ length: N * K * D * H * W }, () => next() - 0.5);
  const labels = Int32Array.from({ length: N * D * H * W }, () => Math.floor(next() * 6) - 1);
  const both = [0, 0, 0];
  const sum = [0, 0, 0];
  const space = D * H * W;
  for (let n = 0; n < N; n++) {
    for (let i = 0; i < space; i++) {
      const label = labels[n * space + i];
      if (label < 0 || label >= K) continue;
      const scores = Array.from({ length: K }, (_, k) => logits[(n * K + k) * space + i]);
      const best = scores.indexOf(Math.max(...scores));
      if (best > 0) sum[best - 1]++;
      if (label > 0) sum[label - 1]++;
      if (best > 0 && best === label) both[best - 1]++;
    }
  }
  const run = compile((loss: Tensor, x: Tensor, y: Tensor) => stepMetrics(loss, x, y));
  const [x, y] = [tensor(logits, { shape: [N, K, D, H, W] }), tensor(labels, { shape: [N, D, H, W] })];
  const figures = await run(tensor(0.25), x, y);
  assert.equal([...await figures.data()], [0.25, ...both, ...sum]);
});

test("PseudoDice.add() gives the Dice of recent counts, and NaN for a class never seen", () => {
  const dice = new PseudoDice(3);
  assert.equal(dice.add([3, 0, 0, 10, 4, 0]), [0.6, 0, NaN]);
  const [first, second] = dice.add([1, 2, 0, 2, 4, 0]);
  assert.ok(Math.abs(first - (2 * (3 * 0.95 + 1)) / (10 * 0.95 + 2)) < 1e-12);
  assert.ok(Math.abs(second - 4 / (4 * 0.95 + 4)) < 1e-12);
});

test("trainLoop() makes the next batch before it reads a step, and reads steps in order", async () => {
  const events: string[] = [];
  const records = await trainLoop({
    steps: 5,
    done: 2,
    classes: ["a", "b"],
    rate: (step) => step / 10,
    batch: (step) => (events.push(`batch ${step}`), step),
    step: async (batch, rate, step) => {
      events.push(`step ${step}`);
      assert.is(batch, step);
      return tensor([rate * 2, 1, 2, 4, 4]);
    },
    record: ({ step }) => void events.push(`record ${step}`),
  });
  assert.equal(events, [
    "batch 3",
    "step 3",
    "batch 4",
    "step 4",
    "batch 5",
    "record 3",
    "step 5",
    "record 4",
    "record 5",
  ]);
  assert.equal(records.map((r) => r.step), [3, 4, 5]);
  assert.ok(records.every((r) => Math.abs(r.loss - r.rate * 2) < 1e-6));
  assert.equal(records[0].dice, [0.5, 1]);
});

test("trainLoop() names the extras of the steps that give some, and recordChart() draws them", async () => {
  const records = await trainLoop({
    steps: 4,
    classes: ["organ"],
    rate: () => 1,
    extras: { Shares: ["first", "second"], Norm: ["norm"] },
    batch: (step) => step,
    step: async (step: number) => tensor([1, 2, 4, ...(step % 2 === 0 ? [0.25, 0.75, step] : [])]),
  });
  const extra = (norm: number) => ({ Shares: { first: 0.25, second: 0.75 }, Norm: { norm } });
  assert.equal(records.map((record) => record.extra), [undefined, extra(2), undefined, extra(4)]);
  assert.ok(records.every((record) => isStep(JSON.parse(JSON.stringify(record)))));
  assert.not(isStep({ ...records[1], extra: { Shares: 3 } }));
  const chart = recordChart(records, ["organ"]);
  for (const text of ["Shares", "Norm", "first 0.25", "second 0.75", "norm 4"]) assert.match(chart, `>${text}<`);
  const step = async () => tensor([1, 2, 4, 5]);
  const wrong = { steps: 1, classes: ["organ"], rate: () => 1, extras: { Norm: ["a", "b"] }, batch: () => 0, step };
  assert.match(await message(() => trainLoop(wrong)), "or 2 extras more, got 1 more");
});

test("trainLoop() stops when the loss is no number", async () => {
  const options = { steps: 3, classes: ["a"], rate: () => 1, batch: () => 0, step: async () => tensor([NaN, 0, 0]) };
  assert.match(await message(() => trainLoop(options)), "the loss is NaN at step 1");
});

test("segmenter() labels as the network does voxel by voxel, on the image's grid", async () => {
  // A 1x1x1 convolution: class 1 where the z-score is above 0.5, whatever the patch.
  const params = { weight: tensor([0, 2], { shape: [2] }).reshape({ shape: [2, 1, 1, 1, 1] }), bias: tensor([0, -1]) };
  const network = { apply: (p: typeof params, x: Tensor) => [conv3d(x, p.weight, { bias: p.bias })] };
  const next = numbers(9);
  const data = Float32Array.from({ length: 9 * 11 * 6 }, () => 100 * next());
  const image = makeVolume(data, { shape: [9, 11, 6], affine: scaling([1, 2, 3], [4, 5, 6]), name: "image" });
  const mean = data.reduce((a, b) => a + b, 0) / data.length;
  const deviation = Math.sqrt(data.reduce((a, b) => a + (b - mean) ** 2, 0) / data.length);
  const plan = planFor({ spacing: [3, 2, 1], patch: [8, 8, 8], labels: ["background", "bright"] });
  const labels = await segmenter(network, params, { plan })(image);
  assert.equal(labels.affine, image.affine);
  assert.equal(labels.shape, image.shape);
  const wanted = Uint8Array.from(data, (v) => Number((v - mean) / deviation > 0.5));
  assert.equal([...labels.data], [...wanted]);
  const two = { ...plan, channels: [...plan.channels, ...plan.channels] };
  const refusal = await message(() => segmenter(network, params, { plan: two })(image));
  assert.match(refusal, "it has 1 channel(s), the plan 2");
});

test("stepFigures() leaves out what is not annotated", async () => {
  const logits = tensor(noise(240, 5), { shape: [2, 3, 40] });
  const label = tensor(Int32Array.from({ length: 80 }, (_, k) => (k % 5) % 3), { shape: [2, 40] });
  const sets = tensor([[0, 1, 0], [0, 1, 2]], { dtype: "i32" });
  const zero = tensor([0], { dtype: "f32" }).sum();
  const of = async (x: Tensor, l: Tensor, options = {}) => [...(await stepMetrics(zero, x, l, options).data())];
  const [both, one, two] = [
    await of(logits, label, { sets }),
    await of(logits.slice({ start: [0], end: [1] }), label.slice({ start: [0], end: [1] })),
    await of(logits.slice({ start: [1], end: [2] }), label.slice({ start: [1], end: [2] })),
  ];
  assert.equal(both, [0, one[1] + two[1], two[2], one[3] + two[3], two[4]]);
  assert.throws(() => stepMetrics(zero, logits, label, { set: sets } as any), /set/);
});

test.run();
