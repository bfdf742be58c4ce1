// One scan or label that is bad ends neither check, plan nor evaluation: the rest is done, the faults are listed with
// file and fix, and the command ends with 1, without a stack.
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { checkDataset, makeVolume, reorient, scaling, type Volume, writeNifti } from "../../../engine/imaging/mod.ts";
import { runCommand } from "../../helpers/command.ts";

const root = mkdtempSync(join(tmpdir(), "voxgrad-faults-"));
test.after(() => rmSync(root, { recursive: true, force: true }));

const AFFINE = scaling([1, 2, 3], [-5, 7, 11]);
const SHAPE = [12, 10, 8] as const;
const COUNT = SHAPE[0] * SHAPE[1] * SHAPE[2];
const image = (seed: number) =>
  makeVolume(Float32Array.from({ length: COUNT }, (_, k) => 1 + ((k * 7919 + seed * 31) % 100)), {
    shape: SHAPE,
    affine: AFFINE,
  });
const mask = (from: number) =>
  makeVolume(Uint8Array.from({ length: COUNT }, (_, k) => Number(k % 12 > from && k % 12 < 9)), {
    shape: SHAPE,
    affine: AFFINE,
  });
const put = (path: string, content: Volume | string): void =>
  writeFileSync(path, typeof content === "string" ? content : writeNifti(content));

function dataset(name: string, cases: number): string {
  const folder = join(root, name);
  for (const each of ["images", "labels"]) mkdirSync(join(folder, each), { recursive: true });
  for (let k = 0; k < cases; k++) {
    put(join(folder, `images/c${k}.nii`), image(k));
    put(join(folder, `labels/c${k}.nii`), mask(2 + (k % 3)));
  }
  return folder;
}

test("checkDataset() of a plain folder lists 12 unreadable labels and an unreadable image, each once", async () => {
  const folder = dataset("many", 14);
  for (let k = 1; k <= 12; k++) put(join(folder, `labels/c${k}.nii`), "no image");
  put(join(folder, "images/c0.nii"), "no image");
  const errors = (await checkDataset(folder)).filter(({ severity }) => severity === "error");
  const files = Array.from({ length: 12 }, (_, k) => `${folder}/labels/c${k + 1}.nii`);
  assert.equal(errors.map(({ file }) => file).sort(), [`${folder}/images/c0.nii`, ...files].sort());
  for (const { problem, fix } of errors) {
    assert.match(problem, /^it cannot be read: got 8 bytes; wanted/);
    assert.ok(fix.length > 0);
  }
});

test("voxgrad plan continues past faults, lists all, writes no plan of partial data, and ends with 1", async () => {
  const folder = dataset("plan", 4);
  put(join(folder, "images/c1.nii"), "no image");
  const wide = image(2);
  put(join(folder, "images/c2.nii"), {
    ...wide,
    data: wide.data.map((v, k) => (k === 5 ? NaN : v)) as Float32Array<ArrayBuffer>,
  });
  put(join(folder, "labels/c3.nii"), { ...mask(2), affine: scaling([1, 2, 3]) });
  const out = join(root, "plan.json");
  const { code, output } = await runCommand(root, ["plan", folder, "--out", out, "--workers", "2"]);
  assert.is(code, 1, output);
  assert.not.match(output, /\n +at /);
  const wanted = [
    /case c1: .*c1\.nii: got 8 bytes/,
    /case c2: .*c2\.nii: 1 voxels are NaN/,
    /case c3: .*labels\/c3\.nii: it lies up to/,
  ];
  for (const pattern of wanted) assert.match(output, pattern);
  assert.match(output, /3 fault\(s\), listed above; 1 of 4 cases could be measured/);
  assert.not.ok(existsSync(out));
});

test("voxgrad evaluate measures what it can, reorients predictions, lists the rest, and ends with 1", async () => {
  const [predictions, references] = ["p", "r"].map((name) => join(root, name)) as [string, string];
  for (const folder of [predictions, references]) mkdirSync(folder);
  for (const id of ["same", "turned", "broken", "moved", "missing"]) put(join(references, `${id}.nii`), mask(2));
  put(join(predictions, "same.nii"), mask(4));
  put(join(predictions, "turned.nii"), reorient(mask(4), "SPL"));
  put(join(predictions, "broken.nii"), "no image");
  put(join(predictions, "moved.nii"), { ...mask(4), affine: scaling([1, 2, 3], [-5, 7, 20]) });
  put(join(predictions, "extra.nii"), mask(2));
  const { code, output } = await runCommand(root, ["evaluate", predictions, references, "--output", join(root, "out")]);
  assert.is(code, 1, output);
  assert.not.match(output, /\n +at /);
  assert.match(output, /Stored with other axes in the same place.*: turned \(SPL, reference RAS\)/);
  assert.match(output, /case broken: .*broken\.nii: got 8 bytes/);
  assert.match(output, /case moved: .*moved\.nii: it lies up to 9\.00 mm from/);
  assert.not.match(output, /copy that of the image/);
  assert.match(output, /no reference of the name: .*extra\.nii/);
  assert.match(
    output,
    /1 of 5 references have no prediction and are in no mean: .*missing\.nii; 2 of 4 pairs could not be compared/,
  );
  const { metric_per_case: cases } = JSON.parse(readFileSync(join(root, "out/summary.json"), "utf8"));
  // Of columns 3 to 8 of 12 the prediction has 5 to 8.
  const rows = COUNT / 12;
  for (const { metrics } of cases) assert.equal([metrics[1].TP, metrics[1].FP, metrics[1].FN], [4 * rows, 0, 2 * rows]);
  assert.equal(cases.length, 2);
  assert.is(cases[0].metrics[1].HD, cases[1].metrics[1].HD);
});

test("voxgrad evaluate reports maps without any label and ends with 1", async () => {
  const [predictions, references] = ["p0", "r0"].map((name) => join(root, name)) as [string, string];
  for (const folder of [predictions, references]) {
    mkdirSync(folder);
    put(join(folder, "a.nii"), mask(20));
  }
  const { code, output } = await runCommand(root, ["evaluate", predictions, references]);
  assert.is(code, 1);
  assert.match(output, /hold a label other than 0, in 1 cases/);
  assert.not.match(output, /sensitivity/);
  assert.not.ok(existsSync(join(predictions, "summary.json")));
});

test("voxgrad run and commands print no stack for what a user can fix", async () => {
  const folder = dataset("user", 3);
  const file = (name: string, content: string): string => (writeFileSync(join(root, name), content), join(root, name));
  const commands = [
    ["evaluate", join(folder, "images/c0.nii"), join(folder, "labels")],
    ["evaluate", join(root, "out"), join(folder, "labels")],
    ["train_unet", folder, "--plan", file("bad.json", '{"format": "voxgrad plan 1"}')],
    ["train_unet", folder, "--splits", file("splits.json", '[{"train": ["no"], "val": []}]')],
    ["predict", join(root, "norun"), folder, join(root, "labels")],
  ];
  for (const words of commands) {
    const { code, output } = await runCommand(root, words);
    assert.is(code, 1, `${words[0]}: ${output}`);
    assert.not.match(output, /\n +at /, words[0]);
    assert.match(output, /Error: /, words[0]);
  }
});

test.run();
