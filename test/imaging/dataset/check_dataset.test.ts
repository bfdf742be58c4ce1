// deno-lint-ignore-file no-explicit-any
// A dataset with faults planted one by one: each is found with its file and its fix, and nothing else is.
import { spawnSync } from "node:child_process";
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { checkDataset } from "../../../engine/imaging/dataset/check_dataset.ts";
import type { Finding } from "../../../engine/imaging/dataset/finding.ts";
import { loadCase } from "../../../engine/imaging/dataset/load_case.ts";
import { openDataset } from "../../../engine/imaging/dataset/dataset.ts";
import { readNifti, writeNifti } from "../../../engine/imaging/mod.ts";
import { writePhantomDataset } from "../../../engine/imaging/phantoms/phantom.ts";
import type { Volume } from "../../../engine/imaging/volume/volume.ts";

const root = mkdtempSync(join(tmpdir(), "voxgrad-check-"));
test.after(() => rmSync(root, { recursive: true, force: true }));
const clean = join(root, "clean");
await writePhantomDataset(clean, { cases: 4, seed: 3, shape: [24, 20, 16] });

const edit = (path: string, change: (volume: Volume) => Volume) =>
  writeFileSync(path, writeNifti(change(readNifti(readFileSync(path), path)), { gzip: true }));
const editJson = (folder: string, change: (json: any) => void) => {
  const json = JSON.parse(readFileSync(join(folder, "dataset.json"), "utf8"));
  change(json);
  writeFileSync(join(folder, "dataset.json"), JSON.stringify(json));
};
const moved = (at: number, by: number) => (volume: Volume) => ({
  ...volume,
  affine: volume.affine.map((v, i) => (i === at ? v + by : v)),
});
const values = (change: (data: Float32Array<ArrayBuffer>) => void) => (volume: Volume) => {
  const data = Float32Array.from(volume.data);
  change(data);
  return { ...volume, data };
};

const [IMAGE, LABEL] = ["imagesTr/phantom_002.nii.gz", "labelsTr/phantom_002.nii.gz"];

interface Plant {
  what: string;
  plant: (folder: string) => void;
  file: string;
  problem: RegExp;
  fix: RegExp;
  severity?: "warning";
}

const PLANTS: Plant[] = [
  {
    what: "a missing image",
    file: IMAGE,
    problem: /no such file, though training\[1\]/,
    fix: /Add it, or drop/,
    plant: (folder) => rmSync(join(folder, IMAGE)),
  },
  {
    what: "a missing label",
    file: LABEL,
    problem: /no such file/,
    fix: /Add it, or drop/,
    plant: (folder) => rmSync(join(folder, LABEL)),
  },
  {
    what: "an extra label",
    file: "labelsTr/other.nii.gz",
    problem: /no case uses it/,
    fix: /List it under "training"/,
    plant: (folder) => cpSync(join(folder, LABEL), join(folder, "labelsTr/other.nii.gz")),
  },
  {
    what: "another shape",
    file: LABEL,
    problem: /shape is 24 x 20 x 8 and not the 24 x 20 x 16/,
    fix: /Resample it/,
    plant: (folder) =>
      edit(join(folder, LABEL), (v) => ({ ...v, shape: [24, 20, 8], data: v.data.slice(0, 3840) as any })),
  },
  {
    what: "another spacing",
    file: LABEL,
    problem: /spacing is .* and not the/,
    fix: /copy that of the image/,
    plant: (folder) =>
      edit(join(folder, LABEL), (v) => ({ ...v, affine: v.affine.map((a, i) => (i % 4 === 2 ? 1.1 * a : a)) })),
  },
  {
    what: "another origin",
    file: LABEL,
    problem: /origin is .* mm and not the/,
    fix: /copy that of the image/,
    plant: (folder) => edit(join(folder, LABEL), moved(7, 3)),
  },
  {
    what: "another direction",
    file: LABEL,
    problem: /direction is .* and not the/,
    fix: /copy that of the image/,
    plant: (folder) =>
      edit(join(folder, LABEL), (v) => {
        const [c, s] = [Math.cos(0.2), Math.sin(0.2)];
        const a = v.affine;
        const row = (p: number, q: number, r: number) => [0, 1, 2].map((k) => p * a[k] + q * a[4 + k] + r * a[8 + k]);
        return { ...v, affine: [...row(c, -s, 0), a[3], ...row(s, c, 0), a[7], ...row(0, 0, 1), a[11], 0, 0, 0, 1] };
      }),
  },
  {
    what: "an undeclared label",
    file: LABEL,
    problem: /holds 9 \(2 voxels\).*does not declare/,
    fix: /Add the label to/,
    plant: (folder) =>
      edit(
        join(folder, LABEL),
        values((data) => data.fill(9, 5, 7)),
      ),
  },
  {
    what: "a label that is not declared present",
    file: LABEL,
    problem: /holds 2 \(\d+ .*labels_present of phantom_002/,
    fix: /Add the label to labels_present/,
    plant: (folder) => editJson(folder, (json) => (json.training[1].labels_present = ["organ", "tumor"])),
  },
  {
    what: "NaN and infinity",
    file: IMAGE,
    problem: /^2 voxels are NaN or infinite/,
    fix: /Replace them/,
    plant: (folder) =>
      edit(
        join(folder, IMAGE),
        values((data) => data.set([NaN, -Infinity], 7)),
      ),
  },
  {
    what: "an empty label",
    file: LABEL,
    problem: /no label but the background/,
    fix: /Leave the case out/,
    severity: "warning",
    plant: (folder) =>
      edit(
        join(folder, LABEL),
        values((data) => data.fill(0)),
      ),
  },
  {
    what: "a left-handed affine",
    file: IMAGE,
    problem: /left-handed \(axes/,
    fix: /left is left/,
    severity: "warning",
    plant: (folder) => {
      const turn = (v: Volume) => ({ ...v, affine: v.affine.map((a, i) => (i % 4 === 0 && i < 12 ? -a : a)) });
      for (const path of [IMAGE, LABEL]) edit(join(folder, path), turn);
    },
  },
  {
    what: "a damaged file",
    file: IMAGE,
    problem: /cannot be read: got damaged gzip data/,
    fix: /Export it again/,
    plant: (folder) => {
      const bytes = readFileSync(join(folder, IMAGE));
      bytes[bytes.length >> 1] ^= 64;
      writeFileSync(join(folder, IMAGE), bytes);
    },
  },
  {
    what: "a case that is there twice",
    file: IMAGE,
    problem: /phantom_002 is listed twice/,
    fix: /List every case once/,
    plant: (folder) =>
      editJson(folder, (json) => {
        json.training.push(json.training[1]);
        json.numTraining = 5;
      }),
  },
  {
    what: "a channel too many",
    file: IMAGE,
    problem: /has 2 channel\(s\), the dataset 1/,
    fix: /Correct channel_names/,
    plant: (folder) =>
      edit(join(folder, IMAGE), (v) => ({ ...v, channels: 2, data: Float32Array.from([...v.data, ...v.data]) })),
  },
  {
    what: "labels that are not integers",
    file: LABEL,
    problem: /holds 0\.5 \(3 voxels\)/,
    fix: /nearest neighbor/,
    plant: (folder) =>
      edit(
        join(folder, LABEL),
        values((data) => data.fill(0.5, 0, 3)),
      ),
  },
  {
    what: "a constant image",
    file: IMAGE,
    problem: /it is 7 everywhere/,
    fix: /failed export/,
    severity: "warning",
    plant: (folder) =>
      edit(
        join(folder, IMAGE),
        values((data) => data.fill(7)),
      ),
  },
  {
    what: "a dataset.json that is no JSON",
    file: "dataset.json",
    problem: /it is no JSON/,
    fix: /text editor/,
    plant: (folder) => writeFileSync(join(folder, "dataset.json"), "{"),
  },
  {
    what: "a label that no case has",
    file: "dataset.json",
    problem: /no case holds label 4 spleen/,
    fix: /Drop the label/,
    severity: "warning",
    plant: (folder) => editJson(folder, (json) => (json.labels["4"] = "spleen")),
  },
  {
    what: "a wrong number of cases",
    file: "dataset.json",
    problem: /numTraining is 9, and there are 4/,
    fix: /lost files/,
    severity: "warning",
    plant: (folder) => editJson(folder, (json) => (json.numTraining = 9)),
  },
];

const is = (finding: Finding, folder: string, plant: Plant) =>
  finding.severity === (plant.severity ?? "error") &&
  finding.file === `${folder}/${plant.file}` &&
  plant.problem.test(finding.problem) &&
  plant.fix.test(finding.fix);

test("checkDataset() has no findings in a clean dataset", async () => {
  assert.equal(await checkDataset(clean), []);
});

for (const [index, plant] of PLANTS.entries()) {
  test(`checkDataset() finds ${plant.what}, and nothing else`, async () => {
    const folder = join(root, `set${index}`);
    cpSync(clean, folder, { recursive: true });
    plant.plant(folder);
    const findings = await checkDataset(folder);
    assert.ok(findings.length === 1 && is(findings[0], folder, plant), JSON.stringify(findings, null, 1));
    rmSync(folder, { recursive: true });
  });
}

test("checkDataset() does not stop at the first fault, and what it lets through loads", async () => {
  const folder = join(root, "many");
  cpSync(clean, folder, { recursive: true });
  const third = (path: string) => join(folder, path.replace("002", "003"));
  edit(join(folder, LABEL), moved(7, 3));
  edit(
    join(folder, LABEL),
    values((data) => data.fill(9, 5, 7)),
  );
  edit(
    join(folder, IMAGE),
    values((data) => data.fill(NaN, 1, 2)),
  );
  rmSync(third(LABEL));
  edit(join(folder, IMAGE.replace("002", "004")), moved(7, 0.001));
  const findings = await checkDataset(folder);
  assert.is(findings.length, 4, JSON.stringify(findings, null, 1));
  assert.is((await checkDataset(folder, { tolerance: 10 })).length, 3);
  assert.is((await checkDataset(folder, { tolerance: 1e-5 })).length, 5);
  const dataset = await openDataset(clean);
  for (const item of dataset.cases) await loadCase(dataset, item);
});

test("checkDataset() of two plain folders", async () => {
  const folders = { images: join(clean, "imagesTr"), labels: join(clean, "labelsTr") };
  assert.equal(await checkDataset(folders), []);
  const bare = join(root, "bare");
  cpSync(clean, bare, { recursive: true });
  rmSync(join(bare, "dataset.json"));
  rmSync(join(bare, LABEL));
  const findings = await checkDataset(bare);
  assert.is(findings.length, 1);
  assert.match(findings[0].problem, /has no file named phantom_002/);
});

test("voxgrad check lists errors and warnings, writes JSON, and ends with exit code 1", () => {
  const check = (...args: string[]) => {
    const cli = fileURLToPath(new URL("../../../engine/platform/cli/voxgrad.mjs", import.meta.url));
    const done = spawnSync(process.execPath, [cli, "check", ...args], { cwd: root, encoding: "utf8" });
    return { code: done.status, output: done.stdout + done.stderr };
  };
  const good = check("clean");
  assert.is(good.code, 0, good.output);
  assert.match(good.output, /clean: no errors, 0 warning/);
  const bad = check("many", "--json", "out/findings.json");
  assert.is(bad.code, 1);
  assert.match(bad.output, /Errors\n.*many\/.*phantom_003\.nii\.gz\n.*no such file/);
  assert.match(bad.output, /4 error\(s\) and 0 warning/);
  assert.not.match(bad.output, /\n +at /);
  const { errors, warnings } = JSON.parse(readFileSync(join(root, "out/findings.json"), "utf8"));
  assert.equal([errors.length, warnings.length], [4, 0]);
});

test.run();
