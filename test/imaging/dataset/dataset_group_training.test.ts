// deno-lint-ignore-file no-explicit-any
/** What follows for training: folds, plans, batches and measures of sets that annotate different organs. */
import { readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "uvu";
import * as assert from "uvu/assert";
import * as vg from "../../../engine/mod.ts";
import { partial } from "../../../models/mod.ts";
import * as imaging from "../../../engine/imaging/mod.ts";
import type { Dataset, Triple } from "../../../engine/imaging/mod.ts";
import * as train from "../../../engine/train/mod.ts";
import { drawn, folder, group, refused, root, same } from "../../helpers/dataset_group_helpers.ts";

test.after(() => rm(root, { recursive: true, force: true }));

test("kFold() divides every set as evenly", () => {
  const ids = [..."abcdefghijk"].flatMap((
    letter,
    k,
  ) => [`big__${letter}`, ...(k < 5 ? [`mid__${letter}`] : []), ...(k < 2 ? [`few__${letter}`] : [])]);
  const setOf = (id: string): string => id.split("__")[0];
  const folds = imaging.kFold(ids, { folds: 5, seed: 2, setOf });
  assert.equal(folds.flatMap((fold) => fold.val).sort(), [...ids].sort());
  const counts = (name: string): number[] =>
    folds.map(({ val }) => val.filter((id) => setOf(id) === name).length).sort();
  assert.equal([counts("big"), counts("mid"), counts("few")], [[2, 2, 2, 2, 3], [1, 1, 1, 1, 1], [0, 0, 0, 1, 1]]);
  assert.ok(folds.every(({ val }) => val.length >= 3 && val.length <= 4));
  assert.equal(imaging.kFold([...ids].reverse(), { folds: 5, seed: 2, setOf }), folds);
  assert.equal(imaging.kFold(ids, { folds: 5, setOf: () => "one" }), imaging.kFold(ids, { folds: 5 }));
});

// A group for training: three sets of one organ each, of other sizes, spacings and numbers of cases.
const TRAINED = ["background", "liver", "spleen"];
async function trained(): Promise<string> {
  const scans = (count: number, value: number, grid: [Triple, number[]]) =>
    Object.fromEntries(
      Array.from(
        { length: count },
        (_, k) => [`c${k}`, { label: drawn(grid[0], grid[1], (x) => (x < k - 2 ? value : 0)) }],
      ),
    );
  const coarse: [Triple, number[]] = [[10, 9, 8], imaging.scaling([2, 2, 3], [-9, 0, 0]) as number[]];
  const fine: [Triple, number[]] = [[18, 17, 9], imaging.scaling([1.1, 1.1, 3], [-9, 0, 0]) as number[]];
  await folder("t1", { background: 0, liver: 1 }, scans(6, 1, coarse));
  await folder("t2", { background: 0, spleen: 1 }, scans(2, 1, fine));
  return group({ name: "trained", labels: TRAINED, sets: [{ data: "t1" }, { data: "t2" }] });
}
const file = await trained();

test("openCaseStore() and others take a group; a changed label map prepares its cases again", async () => {
  const dataset = await imaging.openDataset(file);
  const fingerprint = await imaging.fingerprintDataset(dataset);
  const spacings = fingerprint.cases.map((item) => item.spacing.map((step) => +step.toFixed(4)).join());
  assert.equal([...new Set(spacings)], ["3,2,2", "3,1.1,1.1"]);
  const plan = imaging.makePlan(dataset, fingerprint, { preset: "small" });
  assert.equal([plan.dataset, plan.labels, plan.channels[0].normalization], ["trained", TRAINED, "ct"]);
  const folderOf = join(root, "store");
  const store = await imaging.openCaseStore(dataset, plan, { folder: folderOf, workers: 1 });
  assert.equal([store.made, store.kept], [8, 0]);
  const item = await store.get("t2__c1");
  assert.equal([item.labelsPresent, item.foreground.map((each) => each.value)], [[2], [2]]);
  assert.ok(item.spacing.every((step, k) => step === plan.spacing[k]));
  const again = await imaging.openCaseStore(await imaging.openDataset(file), plan, { folder: folderOf });
  assert.equal([again.made, again.kept], [0, 8]);
  const swapped = {
    ...JSON.parse(await readFile(file, "utf8")),
    sets: [{ data: "t1" }, { data: "t2", labels: { spleen: "liver" } }, { data: "t2", name: "t3" }],
  };
  await writeFile(join(root, "swapped.json"), JSON.stringify(swapped));
  const other = await imaging.openDataset(join(root, "swapped.json"));
  const changed = await imaging.openCaseStore(other, plan, { folder: folderOf });
  assert.equal([changed.made, changed.kept], [4, 6]);
  assert.equal((await changed.get("t2__c1")).foreground.map((each) => each.value), [1]);
  // The same annotated classes from another map: none of the spleens is one.
  const none = { data: "t2", name: "t3", labels: { spleen: null }, present: ["spleen"] };
  const sets = [{ data: "t1" }, { data: "t2", labels: { spleen: "liver" } }, none, { data: "t2", name: "t4" }];
  const emptied = await imaging.openCaseStore(await imaging.openDataset(await group({ labels: TRAINED, sets })), plan, {
    folder: folderOf,
  });
  assert.equal([emptied.made, emptied.kept], [4, 8]);
  const noSpleen = await emptied.get("t3__c1");
  assert.equal([noSpleen.labelsPresent, noSpleen.foreground], [[2], []]);
});

let opened = 0;

async function open(data: string, more: string[] = [], folds = "2"): Promise<train.TrainingRun> {
  const args = [
    "--data",
    data,
    "--run",
    join(root, `run${opened++}`),
    "--cache",
    join(root, "prepared"),
    "--batch",
    "4",
    "--patch",
    "8,8,8",
    "--features",
    "4,8",
    "--folds",
    folds,
    "--workers",
    "0",
    ...more,
  ];
  return train.openTraining(train.config({ ...train.trainingEntries }, args));
}
/** Which set each patch of a batch is of, by what is annotated in it: 0 or 1. */
const setsOf = async ({ sets }: train.Patches): Promise<number[]> => {
  const values = [...(await sets!.data())] as number[];
  return Array.from({ length: values.length / 3 }, (_, n) => {
    const row = values.slice(3 * n, 3 * n + 3).join();
    assert.ok(row === "0,1,0" || row === "0,0,2", row);
    return row === "0,1,0" ? 0 : 1;
  });
};

test("training.batch() draws from the sets by the rule, the same each time", async () => {
  const drawnBy = async (rule: string): Promise<{ steps: number[][]; training: train.TrainingRun }> => {
    const training = await open(file, ["--sets", rule], "4");
    const [{ split }] = training.folds as [train.FoldSetup];
    const ids = training.dataset.cases.map((item) => item.id);
    assert.equal(training.splits, imaging.kFold(ids, { folds: 4, setOf: (id) => id.slice(0, 2) }));
    assert.not.equal(training.splits, imaging.kFold(ids, { folds: 4 }));
    const steps = await Promise.all(
      Array.from({ length: 60 }, async (_, k) => setsOf(await training.batch(split, k + 1))),
    );
    const again = await training.batch(split, 7);
    assert.equal(await setsOf(again), steps[6]);
    assert.equal(await again.image.data(), await (await training.batch(split, 7)).image.data());
    return { steps, training };
  };
  const share = (steps: number[][]): number => steps.flat().filter((set) => set === 1).length / steps.flat().length;
  const turn = await drawnBy("turn");
  turn.steps.forEach((sets, k) => assert.equal(sets, Array(4).fill(k % 2), `step ${k + 1}`));
  // 240 draws: a share within four standard deviations, 0.13 of 1/2.
  const equal = await drawnBy("equal");
  assert.ok(Math.abs(share(equal.steps) - 1 / 2) < 0.13, `${share(equal.steps)}`);
  assert.ok(equal.steps.some((sets) => new Set(sets).size === 2), "sets are drawn for each patch");
  const proportional = await drawnBy("proportional");
  const expected = proportional.training.folds[0].split.train.filter((id) => id.startsWith("t2")).length / 6;
  assert.ok(
    Math.abs(share(proportional.steps) - expected) < 4 * Math.sqrt((expected * (1 - expected)) / 240),
    `${share(proportional.steps)}`,
  );
  // Proportional is what a plain dataset has: sampleBatch with every case as likely.
  const { training } = proportional;
  const [{ split }] = training.folds as [train.FoldSetup];
  const patches = await training.batch(split, 3);
  const prng = new imaging.Prng(training.options.seed).fork("batches").fork(3);
  const direct = await imaging.sampleBatch(prng, imaging.casesOf(training.store, split.train), {
    batch: 4,
    patch: training.sampled,
    foreground: 0.33,
  });
  assert.equal(await patches.image.data(), direct.image);
  assert.equal(await patches.label.data(), direct.label);
  // What is annotated passes the augmentation as it is; the image does not.
  const augmented = training.augmented(training.key(3), patches);
  assert.equal([...(await augmented.sets!.data())], [...(await patches.sets!.data())]);
  assert.equal(augmented.image.shape, [4, 1, 8, 8, 8]);
});

test("training.batch() of a plain dataset is the same whatever the rule, and has no sets", async () => {
  const batches = await Promise.all(["proportional", "equal", "turn"].map(async (rule) => {
    const training = await open(join(root, "t1"), ["--sets", rule]);
    const { image, label, sets } = await training.batch(training.folds[0].split, 2);
    assert.is(sets, undefined);
    return [await image.data(), await label.data()];
  }));
  assert.equal(batches[1], batches[0]);
  assert.equal(batches[2], batches[0]);
});

test("partial.setMatrix() makes of a batch's sets the groups that mergeMatrix() makes of lists", async () => {
  const cases: [number[] | undefined, number[][]][] = [[undefined, []], [[1, 3], []], [[2], []], [[], []], [[1], [[
    2,
    3,
  ]]]];
  const groups = cases.map(([present, merged]) => partial.mergedGroups(present, 4, merged));
  assert.equal(groups.at(-1), [[0], [1], [2, 3]]);
  const rows = [0, 1, 2, 3, 0, 1, 0, 3, 0, 0, 2, 0, 0, 0, 0, 0, 0, 1, 2, 2];
  const made = partial.setMatrix(vg.tensor(Int32Array.from(rows), { shape: [5, 4] }));
  const values = await made.data();
  groups.forEach((sets, n) => {
    // Row m has ones at the classes of the set that m is the least of.
    const row = (m: number): number[] => Array.from(values.subarray((n * 4 + m) * 4, (n * 4 + m + 1) * 4));
    for (let m = 0; m < 4; m++) {
      const set = sets.find((each) => Math.min(...each) === m) ?? [];
      assert.equal(row(m), [0, 1, 2, 3].map((k) => Number(set.includes(k))), `sample ${n}, row ${m}`);
    }
  });
  const logits = vg.tensor(Float32Array.from({ length: 100 }, (_, i) => Math.sin(i)), { shape: [5, 4, 5] });
  const labels = vg.tensor(
    Int32Array.from([0, 1, 2, 3, 0, 0, 1, 3, 0, 0, 0, 2, 0, 2, 0, 0, 0, 0, 0, 0, 0, 1, 2, 2, 0]),
    { shape: [5, 5] },
  );
  const [loss] = await partial.marginalDice(logits, labels, { groups: made }).data();
  const [wanted] = await partial.marginalDice(logits, labels, { groups }).data();
  assert.is(loss, wanted);
  assert.throws(() => partial.setMatrix(vg.ones([4])), /sets are i32 \[N, K\]/);
  assert.throws(() => partial.mergedGroups([1], 4, [[1, 2]]), /merged holds class values from 1 to 3.*got 1/);
});

test("training.batch() draws labels that may be any of several, told apart only by other sets", async () => {
  const labels = ["background", "liver", "spleen"];
  // What t1 draws may be liver or spleen; t2 has spleens, in which liver is not annotated.
  const data = await group({
    labels,
    sets: [{ data: "t1", labels: { liver: { any: ["spleen", "liver"] } } }, { data: "t2" }, {
      data: "t1",
      name: "livers",
    }],
  });
  const training = await open(data, ["--sets", "equal"]);
  const [{ split }] = training.folds as [train.FoldSetup];
  const seen = new Set<string>();
  for (let step = 1; step <= 6; step++) {
    const patches = await training.batch(split, step);
    const sets = [...(await patches.sets!.data())] as number[];
    const voxels = [...(await patches.label.data())] as number[];
    for (let n = 0; n < 4; n++) {
      const row = sets.slice(3 * n, 3 * n + 3).join();
      seen.add(row);
      const values = new Set(voxels.slice(n * voxels.length / 4, (n + 1) * voxels.length / 4));
      const allowed = row === "0,0,2" ? [0, 2] : [0, 1];
      assert.ok([...values].every((value) => allowed.includes(value)), `${row}: ${[...values].join()}`);
    }
  }
  assert.equal([...seen].sort(), ["0,0,2", "0,1,0", "0,1,1"]);
});

test("stepMetrics() has nothing to tell of classes that a label does not tell apart", async () => {
  // Predictions 0 1 2 3, twice; labels 0 1 1 3, twice.
  const logits = vg.tensor(Float32Array.from({ length: 32 }, (_, i) => Number(i % 4 === Math.floor((i % 16) / 4))), {
    shape: [2, 4, 4],
  });
  const target = vg.tensor(Int32Array.from([0, 1, 1, 3, 0, 1, 1, 3]), { shape: [2, 4] });
  const told = async (
    rows: number[],
  ) => [
    ...(await train.stepMetrics(vg.tensor(5), logits, target, {
      sets: vg.tensor(Int32Array.from(rows), { shape: [2, 4] }),
    }).data()),
  ];
  // Both share 1 and 3 once a sample; predictions plus labels are 1 + 2, 1 + 0, 1 + 1.
  assert.equal(await told([0, 1, 2, 3, 0, 1, 2, 3]), [5, 2, 0, 2, 6, 2, 4]);
  assert.equal(await told([0, 1, 1, 3, 0, 1, 2, 0]), [5, 1, 0, 1, 3, 1, 2]);
});

test("training.test() measures held-out cases by what they have annotated", async () => {
  const training = await open(file);
  const [fold] = training.folds as [train.FoldSetup];
  await training.describe({});
  // Predicts liver everywhere: right or wrong where liver is annotated, nothing to be said where only spleen is.
  await training.test(fold, async (image) => imaging.volumeLike(image, new Uint8Array(image.data.length).fill(1)));
  const { rows } = (await training.finish()).tableRows();
  // "in neither" and "in one alone" count what was measured: no case here has liver nowhere, none predicts spleen.
  assert.is(rows[0].at(-2), "0");
  assert.equal(rows[1].slice(-2).map(Number).reduce((a, b) => a + b), 1, "the one held-out case of t2");
  const summary = JSON.parse(await readFile(join(training.run.path, "summary.json"), "utf8"));
  const dataset: Dataset = training.dataset;
  for (const entry of summary.metric_per_case) {
    const id = /predictions\/(.+)\.nii\.gz$/.exec(entry.prediction_file)![1];
    const item = dataset.cases.find((each) => each.id === id)!;
    const { label } = await imaging.loadCase(dataset, item);
    const [own, other] = item.set === "t1" ? ["1", "2"] : ["2", "1"];
    assert.equal(Object.values(entry.metrics[other]).filter((value) => value !== null), [], id);
    const marked = [...label!.data].filter((value) => value === Number(own)).length;
    const dice = own === "1" ? (2 * marked) / (label!.data.length + marked) : 0;
    if (marked > 0) assert.ok(Math.abs(entry.metrics[own].Dice - dice) < 1e-12, id);
    same(vg.readNifti(await readFile(entry.reference_file)).data, label!.data, "the group's values");
  }
  const rule = JSON.parse(await readFile(join(training.run.path, "postprocessing.json"), "utf8"));
  const t1 = summary.metric_per_case.map((entry: any) => entry.metrics["1"].Dice).filter((value: any) =>
    value !== null
  );
  const mean = t1.reduce((a: number, b: number) => a + b) / t1.length;
  assert.ok(Math.abs(rule.dice[0].before - mean) < 1e-12, "cases without liver annotations have no part in the rule");
});

test("openTraining() throws when no training case annotates a class", async () => {
  const splits = join(root, "splits.json");
  await writeFile(splits, JSON.stringify([{ train: ["t1__c0", "t1__c1"], val: ["t2__c0"] }]));
  assert.match(
    await refused(open(file, ["--splits", splits])),
    /fold 0: no training case has spleen annotated; name other/,
  );
});

test.run();
