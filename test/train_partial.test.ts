// train_partial as a user runs it, small: with all labels it is train_unet; with some it can be killed; mistakes are told.
import { spawn } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { test } from "uvu";
import * as assert from "uvu/assert";
import {
  closeDevice, config, plateauRate, stepFigures, tensor, writeOrganPhantomDataset, type Tensor,
} from "../engine/mod.ts";
import { partial, partialEntries, trainPartial } from "../models/mod.ts";
import { noise } from "./helpers.ts";

const root = fileURLToPath(new URL("..", import.meta.url));
const folder = await mkdtemp(join(tmpdir(), "voxgrad-partial-"));
test.after(async () => {
  await rm(folder, { recursive: true, force: true });
  await closeDevice();
});

/** Runs a command; it is killed once its output matches. */
function run(command: string, args: string[], kill?: RegExp): Promise<{ code: number | null; output: string }> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [join(root, "engine/platform/cli/voxgrad.mjs"), command, ...args], { cwd: folder });
    let output = "";
    for (const stream of [child.stdout, child.stderr]) {
      stream.on("data", (data) => {
        output += data;
        if (kill?.test(output)) child.kill("SIGKILL");
      });
    }
    child.on("error", reject);
    child.on("close", (code) => resolve({ code, output }));
  });
}

const ids = (numbers: readonly number[]) => numbers.map((n) => `organs_00${n}`);
// All organs are annotated in the first and the fifth case, one or both kidneys in the others.
await writeFile(join(folder, "splits.json"), JSON.stringify([{ train: ids([1, 2, 4, 6]), val: ids([3, 5]) }]));
const shape = [16, 16, 16] as const;
await writeOrganPhantomDataset(join(folder, "full"), { cases: 3, seed: 2, shape });
await writeOrganPhantomDataset(join(folder, "some"), { cases: 8, seed: 3, shape, partial: true });
await writeOrganPhantomDataset(join(folder, "livers"), { cases: 3, seed: 4, shape, scanner: 1, organs: ["liver"] });
const small = [
  "--augment", "mirror", "--folds", "2", "--epoch", "2", "--validation", "0", "--features", "4,8", "--patch", "16,16,16",
  "--batch", "2", "--rate", "0.01", "--workers", "0",
];
const file = (run: string, name: string) => readFile(join(folder, run, name));
const lines = async (run: string, name = "log.jsonl") =>
  String(await file(run, name)).trim().split("\n").map((line) => JSON.parse(line));
const place = (name: string) => join(folder, name);
/** In this process: a run of some arm. */
const train = (data: string, name: string, words: readonly string[]) =>
  trainPartial(config(partialEntries, [place(data), ...small, "--run", place(name), "--cache", place("prepared"), ...words]));

test("with all labels annotated every loss is that of train_unet", async () => {
  const plain = await run("train_unet", ["full", ...small, "--steps", "4", "--run", "plain"]);
  assert.is(plain.code, 0, plain.output);
  const wanted = (await lines("plain")).map(({ loss }) => loss);
  for (const loss of ["naive", "exclusion"]) {
    await train("full", loss, ["--steps", "4", "--loss", loss]);
    // Sums of thousands of f32 in another order; differences of the first step grow with the next.
    (await lines(loss)).forEach(({ loss: got }, k) =>
      assert.ok(Math.abs(got - wanted[k]) <= 1e-6 * wanted[k] * (k < 1 ? 1 : 20), `${loss}, step ${k + 1}: ${got}, ${wanted[k]}`));
  }
  assert.ok((await file("naive", "model.safetensors")).equals(await file("plain", "model.safetensors")));
});

test("arms begin alike on fully labelled cases, then differ; what is not annotated is not measured", async () => {
  const logs: Record<string, number[]> = {};
  for (const loss of ["naive", "marginal", "prior", "full"]) {
    const own = ["--steps", "4", "--warmup", "0.5", "--loss", loss, "--splits", place("splits.json")];
    const { cases } = await train("some", `some_${loss}`, own);
    logs[loss] = (await lines(`some_${loss}`)).map((record) => record.loss);
    assert.ok(logs[loss]!.every(Number.isFinite));
    const measured = cases.map(({ classes }) => classes.filter((each) => !Number.isNaN(each.truePositive)).map((each) => each.name));
    assert.equal(measured, [["spleen"], ["liver", "spleen", "pancreas", "left kidney", "right kidney"]]);
  }
  for (const [loss, [first, second, ...rest]] of Object.entries(logs)) {
    assert.ok(Math.abs(first! - logs.naive![0]!) < 1e-5 && Math.abs(second! - logs.naive![1]!) < 1e-4, loss);
    if (loss !== "naive") assert.ok(Math.abs(rest[0]! - logs.naive![2]!) > 1e-3, loss);
  }
});

test("a killed training ends with the weights of one left alone, on a plateau too", async () => {
  const args = ["some", ...small.filter((word, k) => word !== "--validation" && small[k - 1] !== "--validation"), "--steps", "8", "--validation", "1", "--schedule", "plateau", "--warmup", "0.25", "--splits", "splits.json"];
  const whole = await run("train_partial", [...args, "--run", "whole"]);
  assert.is(whole.code, 0, whole.output);
  assert.match(whole.output, /Training on \d cases, \d of them fully labelled; the first 2 steps on those alone/);
  await run("train_partial", [...args, "--run", "killed", "--checkpoint", "0"], /step 3\//);
  const rest = await run("train_partial", ["--resume", "killed", "--checkpoint", "0"]);
  assert.is(rest.code, 0, rest.output);
  assert.ok((await file("whole", "model.safetensors")).equals(await file("killed", "model.safetensors")));
});

test("sets of a group can be chosen", async () => {
  const sets = [{ data: "full" }, { data: "livers" }];
  const labels = ["background", "liver", "spleen", "pancreas", "left kidney", "right kidney"];
  await writeFile(place("group.json"), JSON.stringify({ format: "voxgrad group 1", labels, sets }));
  // In turn, the second step is that of the second set; logits are merged in another run.
  const turns = ["--steps", "2", "--warmup", "0", "--loss", "marginal"];
  const runs = [[], ["--trainSets", "full"], ["--mode", "logit"]];
  for (const [k, words] of runs.entries()) await train("group.json", `sets_${k}`, [...turns, ...words]);
  const [all, one, logit] = await Promise.all(runs.map(async (_, k) => (await lines(`sets_${k}`)).map(({ loss }) => loss)));
  assert.ok(Math.abs(all![0] - logit![0]) < 1e-5 && Math.abs(all![1] - one![1]) > 1e-3 && Math.abs(all![1] - logit![1]) > 1e-3);
  const fails = async (words: string[], message: RegExp) => {
    try {
      await train("group.json", "wrong", ["--steps", "2", "--overwrite", "true", ...words]);
    } catch (error) {
      return assert.match((error as Error).message, message);
    }
    assert.unreachable(`${words}`);
  };
  await fails(["--trainSets", "spleens"], /no set "spleens"; sets of .*group\.json are full, livers/);
  await fails(["--trainSets", "livers"], /no case that it trains on has spleen, pancreas, left kidney, right kidney annotated/);
  await fails(["--trainSets", "livers", "--loss", "full"], /--loss full wants fully labelled cases/);
  await fails(["--trainSets", "livers", "--warmup", "0.2"], /--warmup wants fully labelled cases/);
  await fails(["--loss", "marginal", "--marginalWeight", "0"], /nothing else is to be lowered/);
});

test("fully labelled samples have no part in the exclusion losses", async () => {
  const x = tensor(noise(2 * 5 * 24, 3), { shape: [2, 5, 2, 3, 4] });
  const label = tensor(Int32Array.from({ length: 48 }, (_, k) => (k * 7) % 4), { shape: [2, 2, 3, 4] });
  const half = (t: Tensor, n: number) => t.slice({ start: [n], end: [n + 1] });
  const groups = [partial.mergedGroups([1, 2, 3], 5), partial.mergedGroups(undefined, 5)];
  const only = { groups, crossEntropy: 0, dice: 0 };
  const e = partial.exclusionLabels(half(label, 0), { groups: groups[0]!, classes: 5 });
  // The mean over voxels is that of both samples.
  const alone = (await partial.exclusionCrossEntropy(half(x, 0), e).item()) + 2 * (await partial.exclusionDice(half(x, 0), e).item());
  assert.ok(Math.abs((await partial.loss(x, label, only).item()) - alone) < 1e-6);
  assert.is(await partial.loss(x, label, { ...only, groups: groups[1]! }).item(), 0);
  assert.throws(() => partial.exclusionDice(x, x, { samples: tensor([1, 0, 1]) }), /samples/);
});

test("figures of a step leave out what is not annotated", async () => {
  const logits = tensor(noise(240, 5), { shape: [2, 3, 40] });
  const label = tensor(Int32Array.from({ length: 80 }, (_, k) => (k % 5) % 3), { shape: [2, 40] });
  const present = tensor([[1, 1, 0], [1, 1, 1]], { dtype: "f32" });
  const zero = tensor([0], { dtype: "f32" }).sum();
  const of = async (x: Tensor, l: Tensor, options = {}) => [...(await stepFigures(zero, x, l, options).data())];
  const [both, one, two] = [
    await of(logits, label, { present }),
    await of(logits.slice({ start: [0], end: [1] }), label.slice({ start: [0], end: [1] })),
    await of(logits.slice({ start: [1], end: [2] }), label.slice({ start: [1], end: [2] })),
  ];
  assert.equal(both, [0, one![1]! + two![1]!, two![2], one![3]! + two![3]!, two![4]]);
});

test("plateauRate follows PyTorch's ReduceLROnPlateau", () => {
  const losses = [1, 0.9, 0.895, 0.899, 0.889, 0.9, 0.9, 0.7, 0.8, 0.7, 0.69, 0.71, 0.7, 0.7, 0.7, 0.5];
  const rates = [...Array(10).fill(0.1), 0.08, 0.08, 0.08, 0.064, 0.064, 0.064];
  losses.forEach((_, k) => {
    const got = plateauRate(0.1, losses.slice(0, k + 1), { factor: 0.8, patience: 2, threshold: 1e-2 });
    assert.ok(Math.abs(got - rates[k]!) < 1e-12, `${k}: ${got}`);
  });
  assert.is(plateauRate(0.1, []), 0.1);
  assert.throws(() => plateauRate(0.1, [], { factor: 2 }), /factor/);
  assert.throws(() => plateauRate(0.1, [], { patience: -1 }), /patience/);
});

test.run();
