// deno-lint-ignore-file no-explicit-any
// What a run was made from: trainings as a user starts them, on folders in which something is not what it was.
import { cp, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { createHash } from "node:crypto";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { writePhantomDataset } from "../../../engine/imaging/mod.ts";
import { runCommand } from "../../helpers/command.ts";

const folder = await mkdtemp(join(tmpdir(), "voxgrad-sources-"));
test.after(() => rm(folder, { recursive: true, force: true }));
await writePhantomDataset(join(folder, "data"), { cases: 4, seed: 3, shape: [20, 20, 16], spacing: [1.5, 1.5, 2] });

const SMALL = [
  "--folds",
  "2",
  "--steps",
  "2",
  "--epoch",
  "2",
  "--validation",
  "0",
  "--features",
  "4,8",
  "--patch",
  "16,16,16",
  "--workers",
  "0",
  "--augment",
  "none",
];
const first = runCommand(folder, ["train_unet", "data", ...SMALL, "--run", "first"]);

/** A copy of the finished run, which a test may spoil. */
async function copied(name: string): Promise<string> {
  const { code, output } = await first;
  assert.is(code, 0, output);
  await cp(join(folder, "first"), join(folder, name), { recursive: true });
  return join(folder, name);
}

/**
 * Digests of all files below a folder, by name; but for config.json, which tells how many steps were asked for last.
 */
async function state(path: string): Promise<Record<string, string>> {
  const found: Record<string, string> = {};
  for (const entry of await readdir(path, { recursive: true, withFileTypes: true })) {
    const file = join(entry.parentPath ?? entry.path, entry.name);
    if (entry.isFile() && entry.name !== "config.json") {
      found[file] = createHash("sha256").update(await readFile(file)).digest("hex");
    }
  }
  return found;
}

/** Resumes a spoilt copy: it has to be refused by that message, and to be left as it was. */
async function refused(
  name: string,
  spoil: (path: string) => Promise<unknown>,
  wanted: RegExp,
  more: string[] = [],
): Promise<void> {
  const path = await copied(name);
  await spoil(path);
  const before = await state(path);
  const { code, output } = await runCommand(folder, ["train_unet", "--resume", name, "--steps", "4", ...more]);
  assert.is(code, 1, `${name}: ${output}`);
  assert.match(output, wanted, name);
  assert.not.match(output, /\n {4}at |TypeError|RangeError/, name);
  assert.equal(await state(path), before, `${name}: files changed`);
}

const json = (file: string, change: (value: any) => unknown) => async (path: string): Promise<void> => {
  const value = JSON.parse(await readFile(join(path, file), "utf8"));
  const changed = change(value);
  await writeFile(join(path, file), JSON.stringify(changed === undefined ? value : changed));
};

test("train_unet --overwrite takes no checkpoint, log or prediction of the earlier run", async () => {
  const path = await copied("again");
  const others = (await readdir(join(path, "predictions"))).sort();
  const { code, output } = await runCommand(folder, [
    "train_unet",
    "data",
    ...SMALL,
    "--fold",
    "1",
    "--seed",
    "9",
    "--run",
    "again",
    "--overwrite",
  ]);
  assert.is(code, 0, output);
  assert.not.match(output, /Resuming after/);
  const log = (await readFile(join(path, "log.jsonl"), "utf8")).trim().split("\n").map((line) => JSON.parse(line));
  assert.equal(log.map((record) => record.step), [1, 2]);
  const { options, splits } = JSON.parse(await readFile(join(path, "config.json"), "utf8"));
  assert.equal([options.seed, options.fold], [9, "1"]);
  const own = (await readdir(join(path, "predictions"))).sort();
  assert.equal(own, splits[1].val.map((id: string) => `${id}.nii.gz`).sort());
  assert.ok(own.every((name) => !others.includes(name)), "predictions of the other fold are gone");
  const [a, b] = await Promise.all(["first", "again"].map((name) => readFile(join(folder, name, "model.safetensors"))));
  assert.not.ok(a.equals(b));
});

test("train_unet refuses to read what it would overwrite, and a run folder that holds the data", async () => {
  await copied("own");
  const start = (words: string[]) => runCommand(folder, ["train_unet", ...words]);
  for (
    const [words, wanted] of [
      [
        ["data", ...SMALL.slice(0, 4), "--plan", "own/plan.json", "--run", "own", "--overwrite"],
        /--plan own\/plan\.json lies there/,
      ],
      [
        ["data", ...SMALL, "--weights", "./own/model.safetensors", "--run", "own", "--overwrite"],
        /--weights .* lies there/,
      ],
      [["data", ...SMALL, "--run", "data"], /--data data lies there/],
      [["data", ...SMALL, "--run", "data/imagesTr"], /files of the dataset lie there/],
    ] as const
  ) {
    const before = await state(folder);
    const { code, output } = await start([...words]);
    assert.is(code, 1, output);
    assert.match(output, wanted);
    assert.equal(await state(folder), before);
  }
});

test("train_unet --resume refuses a run whose plan, splits, options, checkpoint or logs are not its own", async () => {
  await refused("plan", json("plan.json", (plan) => void (plan.batch += 1)), /plan\.json changed since the run began/);
  await refused("splits", json("splits.json", ([a, b]) => [b, a]), /splits\.json changed/);
  await refused("no_splits", json("splits.json", () => null), /splits\.json/);
  await refused(
    "options",
    json("config.json", (config) => void (config.options.rate = 0.5)),
    /options in config\.json changed/,
  );
  await refused(
    "steps",
    json("config.json", (config) => void (config.options.epoch = 0)),
    /options\.epoch: got "0", wanted an integer from 1/,
  );
  await refused(
    "text",
    json("config.json", (config) => void (config.options.seed = "abc")),
    /options\.seed: got "abc"/,
  );
  await refused(
    "patch",
    json("config.json", (config) => void (config.options.patch = null)),
    /options\.patch: got null/,
  );
  await refused(
    "flips",
    json("config.json", (config) => void (config.options.flips = "evil")),
    /options\.flips: got "evil", wanted xyz or/,
  );
  await refused("log", async (path) => {
    const [, second] = (await readFile(join(path, "log.jsonl"), "utf8")).split("\n");
    await writeFile(join(path, "log.jsonl"), `{"step":"1"}\n${second}\n`);
  }, /log\.jsonl: line 1 is no record of this log, and whole ones follow/);
  await refused(
    "missing",
    (path) => rm(join(path, "checkpoint.safetensors")),
    /checkpoint\.safetensors: it is missing/,
  );
  await refused("bit", async (path) => {
    const bytes = await readFile(join(path, "checkpoint.safetensors"));
    bytes[bytes.length - 9] ^= 1;
    await writeFile(join(path, "checkpoint.safetensors"), bytes);
  }, /checkpoint\.safetensors: .*damaged: its SHA-256/);
});

test("train_unet --resume refuses another dataset in the place of the run's", async () => {
  const change = async (name: string, spoil: (data: string) => Promise<unknown>, wanted: RegExp): Promise<void> => {
    const data = join(folder, `data_${name}`);
    await cp(join(folder, "data"), data, { recursive: true });
    await spoil(data);
    await refused(`of_${name}`, async () => undefined, wanted, ["--data", data]);
  };
  const [one, two] = (await readdir(join(folder, "data/labelsTr"))).sort();
  const id = one.replace(".nii.gz", "");
  await change("replaced", async (data) => {
    for (const part of ["imagesTr", "labelsTr"]) await cp(join(data, part, two), join(data, part, one));
  }, new RegExp(`image or label of ${id} changed since the run began`));
  const labels = (change: (labels: any) => unknown) => (data: string) =>
    json("dataset.json", (dataset) => void change(dataset.labels))(data);
  await change(
    "swapped",
    labels((all) => ([all[1], all[2]] = [all[2], all[1]])),
    /labels \(0 background, 1 organ.*are not those of/,
  );
  await change("added", labels((all) => (all[4] = "cyst")), /plan\.json: its labels \(0 background.*4 cyst/);
});

test.run();
