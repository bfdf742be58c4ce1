// deno-lint-ignore-file no-explicit-any
// Reports of run folders that come from elsewhere: files of any form are refused by name, or shown.
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { VoxgradError } from "../../../engine/mod.ts";
import { RunFolder, writeReport } from "../../../engine/train/mod.ts";

const folder = await mkdtemp(join(tmpdir(), "voxgrad-report-files-"));
test.after(() => rm(folder, { recursive: true, force: true }));

const plan = {
  network: { name: "u", features: [1] },
  patch: [1, 2, 3],
  spacing: [1, 1, 1],
  batch: 1,
  channels: [{ name: "c", normalization: "ct" }],
  labels: ["b", "x"],
};
const config = {
  options: { a: 1 },
  steps: 3,
  classes: ["x"],
  plan,
  dataset: { name: "d" },
  splits: [{ train: ["a"], val: ["b"] }],
  device: { name: "z", kind: "k" },
};
const step = { step: 1, loss: 1, rate: 0, dice: [1], seconds: 1 };
const epoch = { ...step, epoch: 1 };
const summary = {
  metric_per_case: [{ metrics: { 1: { Dice: 0.5, TP: 3 } }, prediction_file: "p/a.nii.gz" }],
  mean: { 1: { Dice: 0.5 } },
  foreground_mean: { Dice: 0.5 },
  undefined: { 1: { Dice: 0, HD95: 0, TP: 0 } },
  class_names: { 1: "x" },
};
const ODD: readonly unknown[] = [null, 3, "x", [], { constructor: null }, [null]];

/** The error of a report of these files; undefined where it is written. */
async function problem(files: Readonly<Record<string, unknown>>): Promise<Error | undefined> {
  await rm(join(folder, "run"), { recursive: true, force: true });
  await mkdir(join(folder, "run"));
  for (const [name, value] of Object.entries({ "config.json": config, ...files })) {
    await writeFile(join(folder, "run", name), `${JSON.stringify(value)}\n`);
  }
  return writeReport(new RunFolder(join(folder, "run"))).then(() => undefined, (error: Error) => error);
}

/** A value with each of its entries, at every depth, in the place of which something odd stands. */
function* spoilt(value: any): Generator<any> {
  yield* ODD;
  if (typeof value !== "object" || value === null) return;
  for (const key of Object.keys(value)) {
    for (const odd of spoilt(value[key])) {
      const copy = structuredClone(value);
      copy[key] = odd;
      yield copy;
    }
  }
}

test("writeReport() shows a run, or names the file that is of another form", async () => {
  const files = { "log.jsonl": step, "epochs.jsonl": epoch, "summary.json": summary };
  assert.is(await problem(files), undefined);
  let refused = 0;
  for (const [name, good] of Object.entries({ "config.json": config, ...files })) {
    for (const bad of spoilt(good)) {
      const error = await problem({ ...files, [name]: bad });
      if (error === undefined) continue;
      refused++;
      assert.instance(error, VoxgradError, `${name} ${JSON.stringify(bad)}: ${error.stack}`);
      assert.match(error.message, `run/${name}: `, JSON.stringify(bad));
    }
  }
  assert.ok(refused > 150, `${refused}`);
});

test.run();
