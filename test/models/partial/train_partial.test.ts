// train_partial, small: with all labels it is train_unet; with some it can be killed; mistakes are reported.
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { closeDevice } from "../../../engine/mod.ts";
import { writeOrganPhantomDataset } from "../../../engine/imaging/mod.ts";
import { config, resumableConfig, trainingChanges } from "../../../engine/train/mod.ts";
import { partialEntries, trainPartial } from "../../../scripts/train_partial.ts";
import { trainUnet, unetEntries } from "../../../scripts/train_unet.ts";
import { inProcess } from "../../helpers/in_process.ts";

const folder = await mkdtemp(join(tmpdir(), "voxgrad-partial-"));
test.after(async () => {
  await rm(folder, { recursive: true, force: true });
  await closeDevice();
});

const ids = (numbers: readonly number[]) => numbers.map((n) => `organs_00${n}`);
// All organs are annotated in the first and the fifth case, one or both kidneys in the others.
await writeFile(join(folder, "splits.json"), JSON.stringify([{ train: ids([1, 2, 4, 6]), val: ids([3, 5]) }]));
const shape = [16, 16, 16] as const;
await writeOrganPhantomDataset(join(folder, "full"), { cases: 3, seed: 2, shape });
await writeOrganPhantomDataset(join(folder, "some"), { cases: 8, seed: 3, shape, partial: true });
await writeOrganPhantomDataset(join(folder, "livers"), { cases: 3, seed: 4, shape, scanner: 1, organs: ["liver"] });
const small = [
  "--augment",
  "mirror",
  "--epoch",
  "2",
  "--validation",
  "0",
  "--features",
  "4,8",
  "--patch",
  "16,16,16",
  "--batch",
  "2",
  "--rate",
  "0.01",
  "--workers",
  "0",
];
const file = (run: string, name: string) => readFile(join(folder, run, name));
const lines = async (run: string, name = "log.jsonl") =>
  String(await file(run, name)).trim().split("\n").map((line) => JSON.parse(line));
const place = (name: string) => join(folder, name);
/** In this process: a run of some arm. */
const train = (data: string, name: string, words: readonly string[], without: readonly string[] = []) => {
  const shared = small.filter((word, k) => !without.includes(word) && !without.includes(small[k - 1]));
  const folders = ["--run", place(name), "--cache", place("prepared")];
  return trainPartial(config(partialEntries, [place(data), ...shared, ...folders, ...words]));
};

test("train_partial with all labels annotated has the losses of train_unet", async () => {
  const folders = ["--run", place("plain"), "--cache", place("prepared")];
  await trainUnet(config(unetEntries, [place("full"), ...small, "--steps", "4", ...folders]));
  const wanted = (await lines("plain")).map(({ loss }) => loss);
  await train("full", "exclusion", ["--steps", "4"]);
  // Sums of thousands of f32 in another order; differences of the first step grow with the next.
  (await lines("exclusion")).forEach(({ loss }, k) =>
    assert.ok(Math.abs(loss - wanted[k]) <= 1e-6 * wanted[k] * (k < 1 ? 1 : 20), `step ${k + 1}: ${loss}, ${wanted[k]}`)
  );
});

test("train_partial arms begin alike, then differ; what is not annotated is not measured", async () => {
  const logs: Record<string, number[]> = {};
  for (const loss of ["naive", "prior"]) {
    const own = ["--steps", "4", "--warmup", "0.5", "--loss", loss, "--splits", place("splits.json")];
    const { cases } = await train("some", `some_${loss}`, own);
    logs[loss] = (await lines(`some_${loss}`)).map((record) => record.loss);
    assert.ok(logs[loss].every(Number.isFinite));
    const measured = cases.map(({ classes }) =>
      classes.filter((each) => !Number.isNaN(each.truePositive)).map((each) => each.name)
    );
    assert.equal(measured, [["spleen"], ["liver", "spleen", "pancreas", "left kidney", "right kidney"]]);
  }
  for (const [loss, [first, second, ...rest]] of Object.entries(logs)) {
    assert.ok(Math.abs(first - logs.naive[0]) < 1e-5 && Math.abs(second - logs.naive[1]) < 1e-4, loss);
    if (loss !== "naive") assert.ok(Math.abs(rest[0] - logs.naive[2]) > 1e-3, loss);
  }
});

test("train_partial weighs marginal and exclusion losses of partly labeled cases only", async () => {
  const losses: number[][] = [];
  for (const [m, e] of [["0", "1"], ["3", "1"], ["3", "2"]] as const) {
    const own = [
      "--steps",
      "3",
      "--warmup",
      "0.67",
      "--marginalWeight",
      m,
      "--exclusionWeight",
      e,
      "--splits",
      place("splits.json"),
    ];
    await train("some", `weights_${m}_${e}`, own);
    losses.push((await lines(`weights_${m}_${e}`)).map((record) => record.loss));
  }
  const naive = (await lines("some_naive")).map((record) => record.loss);
  for (const each of losses) {
    // Two steps on fully labeled cases are those of the ordinary loss, whatever the weights.
    assert.ok(Math.abs(each[0] - naive[0]) < 1e-5 && Math.abs(each[1] - naive[1]) < 1e-4, `${each}; ${naive}`);
  }
  assert.ok(losses[1][2] > losses[0][2] + 0.1 && losses[2][2] > losses[1][2] + 1e-3, `${losses}`);
});

test("train_partial resumes a killed run to the same weights, on a plateau too", async () => {
  const args = [
    ...["--steps", "8", "--validation", "1", "--schedule", "plateau", "--warmup", "0.25"],
    ...["--splits", place("splits.json"), "--checkpoint", "0"],
  ];
  const whole = await inProcess(() => train("some", "whole", args, ["--validation"]));
  assert.is(whole.error, undefined, whole.output);
  assert.match(whole.output, /Training on \d cases, \d of them fully labeled; the first 2 steps on those alone/);
  const killed = await inProcess(() => train("some", "killed", args, ["--validation"]), { stop: /step 4\// });
  assert.is(killed.error, undefined, killed.output);
  const resumed = ["--resume", place("killed")];
  const rest = await inProcess(
    async () => trainPartial(await resumableConfig(partialEntries, { change: trainingChanges }, resumed)),
  );
  assert.is(rest.error, undefined, rest.output);
  assert.match(rest.output, /Resuming after step 3 of 8/);
  assert.ok((await file("whole", "model.safetensors")).equals(await file("killed", "model.safetensors")));
});

test("train_partial takes sets in turn or as chosen, merges logits as another loss, and names mistakes", async () => {
  const sets = [{ data: "full" }, { data: "livers" }];
  const labels = ["background", "liver", "spleen", "pancreas", "left kidney", "right kidney"];
  await writeFile(place("group.json"), JSON.stringify({ format: "voxgrad group 1", labels, sets }));
  // In turn, the second step is that of the second set; logits are merged in another run.
  // The first step's patches are of the first set and fully labeled, where merging is the same; the second's are
  // livers.
  const losses: number[][] = [];
  for (const mode of ["probability", "logit"]) {
    await train("group.json", mode, ["--steps", "2", "--warmup", "0", "--loss", "marginal", "--mode", mode]);
    losses.push((await lines(mode)).map(({ loss }) => loss));
  }
  const apart = [0, 1].map((k) => Math.abs(losses[0][k] - losses[1][k]));
  assert.ok(apart[0] < 1e-5 && apart[1] > 1e-3, `${apart}`);
  // The forms of the equations and of the official code are others.
  const two = ["--steps", "2", "--warmup", "0", "--folds", "2"];
  const own: Record<string, string[]> = {
    defaults: [],
    background: ["--includeBackground"],
    summed: ["--diceReduction", "sum"],
    excluded: ["--exclusionBackground"],
  };
  const seconds = new Map<string, number>();
  for (const [name, words] of Object.entries(own)) {
    await train("group.json", name, [...two, ...words]);
    seconds.set(name, (await lines(name))[1].loss);
  }
  const different = new Set(seconds.values());
  assert.is(different.size, 4, JSON.stringify([...seconds]));
  const report = await readFile(place("defaults/report.html"), "utf8");
  assert.match(report, /<h2>Dice by set<\/h2>/);
  const fails = async (words: string[], message: RegExp) => {
    try {
      await train("group.json", "wrong", ["--steps", "2", "--overwrite", "true", ...words]);
    } catch (error) {
      return assert.match((error as Error).message, message);
    }
    assert.unreachable(`${words}`);
  };
  await fails(["--trainSets", "spleens"], /no set "spleens"; sets of .*group\.json are full, livers/);
  await fails(
    ["--trainSets", "livers"],
    /no case that it trains on has spleen, pancreas, left kidney, right kidney annotated/,
  );
  await fails(["--trainSets", "livers", "--loss", "full"], /--loss full wants fully labeled cases/);
  await fails(["--trainSets", "livers", "--warmup", "0.2"], /--warmup wants fully labeled cases/);
  await fails(["--loss", "marginal", "--marginalWeight", "0"], /nothing else is to be lowered/);
});

test.run();
