// segment_one_shot in its page: files, painting, the result on the slices, and what a visitor does wrong.
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Locator, Page } from "playwright-core";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { closeDevice, random } from "../../engine/mod.ts";
import {
  metrics,
  ORGAN_PHANTOM_LABELS,
  organPhantomCase,
  type Plan,
  readVolume,
  reorient,
  type Volume,
  writeNifti,
} from "../../engine/imaging/mod.ts";
import { saveModel } from "../../engine/train/mod.ts";
import { startServer } from "../../engine/platform/cli/serve.ts";
import { alpnet } from "../../models/mod.ts";
import { runCommand } from "../helpers/command.ts";
import { planFor } from "../helpers/plans.ts";
import { closeBrowser, sharedBrowser } from "./harness.ts";
import { SMALL_ENCODER } from "../models/open/small_models.ts";

const folder = await mkdtemp(join(tmpdir(), "voxgrad-one-shot-"));
const place = (name: string): string => join(folder, name);
test.after(async () => {
  await closeBrowser();
  await closeDevice();
  await rm(folder, { recursive: true, force: true });
});

// Stored neither as it is shown nor as the encoder wants it.
const phantom = organPhantomCase({ seed: 5, shape: [64, 56, 16], spacing: [6, 6, 18], distinct: true });
const [image, label] = [reorient(phantom.image, "PSL"), reorient(phantom.label, "PSL")];
const plan = planFor({
  dataset: "phantoms",
  orientation: "RAS",
  spacing: [18, 6, 6],
  patch: [16, 56, 64],
  channels: [{ name: "MR", normalization: "z-score" }],
  labels: [...ORGAN_PHANTOM_LABELS],
  fingerprint: {
    cases: 1,
    medianShape: [16, 56, 64],
    medianSpacing: [18, 6, 6],
    medianPreparedShape: [16, 56, 64],
    relativeSizeAfterCrop: 1,
  },
});
const architecture = SMALL_ENCODER;
const params = alpnet.encoder(architecture).init(random.key(2));
await writeFile(place("model.safetensors"), await saveModel(params, { network: "alpnetEncoder", architecture, plan }));
await writeFile(place("scan.nii.gz"), writeNifti(image, { dtype: "float32", gzip: true }));
await writeFile(
  place("two.nii"),
  writeNifti({ ...image, channels: 2, data: Float32Array.from([...image.data, ...image.data]) }),
);
const coronal = { ...plan, transpose: [1, 0, 2] } as Plan;
await writeFile(
  place("coronal.safetensors"),
  await saveModel(params, { network: "alpnetEncoder", architecture, plan: coronal }),
);
await writeFile(place("broken.safetensors"), "nothing of that kind");
const other = organPhantomCase({ seed: 6, shape: [60, 56, 16], spacing: [6, 6, 18], distinct: true });
await writeFile(place("other.nii"), writeNifti(other.image, { dtype: "float32" }));
await writeFile(place("organs.nii"), writeNifti(other.label, { dtype: "uint8" }));

/** The slice that shows most of a class, as the screen shows it: the patient's right on the left, front on top. */
function fullest(volume: Volume, value: number): { z: number; rows: number[][] } {
  const { data, shape: [X, Y, Z] } = reorient(volume, "LPS");
  const slices = Array.from(
    { length: Z },
    (_, z) => Array.from({ length: Y }, (_, y) => Array.from({ length: X }, (_, x) => data[(z * Y + y) * X + x])),
  );
  const counts = slices.map((rows) => rows.flat().filter((v) => v === value).length);
  const z = counts.indexOf(Math.max(...counts));
  return { z, rows: slices[z] };
}

/** Where labels are in the slice that has most of them. */
function mostOf(labels: Volume): number[][] {
  const any = { ...labels, data: Uint8Array.from(labels.data, (value) => Number(value > 0)) };
  return fullest(any, 1).rows;
}

/** Which pixels of a view are colored. */
const colored = (view: Locator): Promise<number[][]> =>
  view.locator("canvas").evaluate((canvas: HTMLCanvasElement) => {
    const { data } = canvas.getContext("2d")!.getImageData(0, 0, canvas.width, canvas.height);
    return Array.from({ length: canvas.height }, (_, y) =>
      Array.from({ length: canvas.width }, (_, x) => {
        const [r, g, b] = data.subarray(4 * (y * canvas.width + x));
        return Number(r !== g || g !== b);
      }));
  });

/** Paints the pixels of a class with a brush of one voxel, run by run. */
async function paint(page: Page, view: Locator, rows: readonly (readonly number[])[], value: number): Promise<void> {
  const canvas = view.locator("canvas");
  await canvas.scrollIntoViewIfNeeded();
  const box = (await canvas.boundingBox())!;
  const to = (
    x: number,
    y: number,
  ): [number, number] => [
    box.x + ((x + 0.5) * box.width) / rows[0].length,
    box.y + ((y + 0.5) * box.height) / rows.length,
  ];
  for (const [y, row] of rows.entries()) {
    for (let x = 0; x < row.length; x++) {
      if (row[x] !== value) continue;
      const from = x;
      while (row[x + 1] === value) x++;
      await page.mouse.move(...to(from, y));
      await page.mouse.down();
      await page.mouse.move(...to(x, y), { steps: 2 });
      await page.mouse.up();
    }
  }
}

test("segment_one_shot finds what is painted on a slice in the page, as on the command line", async () => {
  const server = await startServer(fileURLToPath(new URL("../../scripts/segment_one_shot.ts", import.meta.url)), [], 0);
  const page = await (await sharedBrowser()).newPage({
    viewport: { width: 1280, height: 1100 },
    acceptDownloads: true,
  });
  const mistakes: string[] = [];
  page.on("pageerror", (error) => mistakes.push(error.message));
  page.on("console", (line) => line.type() === "error" && mistakes.push(line.text()));
  const picture = async (name: string): Promise<void> => {
    if (process.env.VOXGRAD_SCREENSHOT) {
      await page.screenshot({ path: `${process.env.VOXGRAD_SCREENSHOT}_${name}.png`, fullPage: true });
    }
  };
  try {
    await page.goto(server.url);
    const ready = (): Promise<void> =>
      page.locator("#state", { hasText: /ready|failed/ }).waitFor({ timeout: 100_000 });
    await ready();
    assert.is(await page.locator("#state").textContent(), "ready", (await page.locator("#errortext").textContent())!);
    const problem = page.locator("#panel .problem");
    const said = page.locator("#panel .words .said");
    const choose = async (field: string, ...files: string[]): Promise<string> => {
      await page.getByLabel(`Choose: ${field}`).setInputFiles(files.map(place));
      await ready();
      return (await problem.textContent())!;
    };
    const [example, result] = [page.locator(".views > section").nth(0), page.locator(".views > section").nth(1)];
    const segment = example.getByRole("button", { name: "4. Segment" });
    await picture("start");

    // Files that do not fit are told in words, and the next can be chosen.
    assert.is(await page.getByLabel("Choose: 2. Scan to segment").isDisabled(), true);
    assert.match(await choose("1. Encoder", "scan.nii.gz"), /scan\.nii\.gz: an encoder is a file model\.safetensors/);
    assert.match(await choose("1. Encoder", "broken.safetensors"), /broken\.safetensors/);
    assert.is(await choose("1. Encoder", "model.safetensors"), "");
    assert.match(await choose("2. Scan to segment", "two.nii"), /two\.nii: it has 2 channel\(s\), wanted 1: MR/);
    assert.match(await choose("2. Scan to segment", "model.safetensors"), /it is no NIfTI file/);
    assert.is(await segment.isDisabled(), true);
    assert.is(await choose("2. Scan to segment", "scan.nii.gz"), "");
    await segment.click();
    await ready();
    assert.match((await problem.textContent())!, /Nothing is painted yet/);

    // Slices by keys.
    const { z, rows } = fullest(label, 1);
    const slice = example.getByLabel("Slice of 3. Paint the example");
    await example.locator("canvas").focus();
    await page.keyboard.press("Home");
    for (let k = 0; k < z; k++) await page.keyboard.press("ArrowUp");
    assert.is(await slice.inputValue(), String(z + 1));
    assert.match((await example.locator(".slider").first().textContent())!, `${z + 1} of 16`);

    // A stroke, taken back; then the class, exactly.
    await example.getByLabel("Brush").fill("9");
    await paint(page, example, [[0, 1], [0, 0]], 1);
    assert.ok((await colored(example)).flat().some((each) => each === 1));
    await example.getByRole("button", { name: "Undo" }).click();
    assert.is((await colored(example)).flat().some((each) => each === 1), false);
    assert.match((await example.textContent())!, "No slice is painted yet");
    await example.getByLabel("Brush").fill("1");
    await paint(page, example, rows, 1);
    assert.equal(await colored(example), rows.map((row) => row.map((value) => Number(value === 1))));
    await picture("painted");

    await segment.click();
    await ready();
    assert.is(await problem.textContent(), "");
    assert.match((await said.textContent())!, /Done in [\d.]+ s\. Found class 1: [\d.]+ ml/);
    await picture("result");
    const save = async (view: Locator, name: string): Promise<Volume> => {
      const download = page.waitForEvent("download");
      await view.getByText(`Save ${name}`, { exact: true }).click();
      await writeFile(place(`saved_${name}`), await readFile(await (await download).path()));
      return readVolume(place(`saved_${name}`));
    };
    const [painted, found] = [await save(example, "scan_painted.nii.gz"), await save(result, "scan.nii.gz")];
    assert.equal([painted.shape, found.shape], [image.shape, image.shape]);
    assert.ok(found.affine.every((v, i) => Math.abs(v - image.affine[i]) < 1e-4));
    assert.equal(fullest(painted, 1), { z, rows: rows.map((row) => row.map((value) => Number(value === 1))) });
    assert.is(
      Array.from(painted.data).filter((value) => value !== 0).length,
      rows.flat().filter((value) => value === 1).length,
    );

    // The colors are where the labels are, in the slice that shows most of them.
    const shown = fullest(found, 1);
    assert.is(await result.getByLabel("Slice of 5. Look at the result").inputValue(), String(shown.z + 1));
    assert.equal(await colored(result), shown.rows);

    // Painted labels can be chosen again, and taken away.
    assert.is(await choose("Labels instead of painting", "saved_scan_painted.nii.gz"), "");
    assert.equal(await colored(example), rows.map((row) => row.map((value) => Number(value === 1))));
    await page.getByLabel("Remove: Labels instead of painting").click();
    await ready();
    assert.match((await example.textContent())!, "No slice is painted yet");

    // Another scan to paint on, with labels on its own grid.
    const columns = (): Promise<number> =>
      example.locator("canvas").evaluate((canvas: HTMLCanvasElement) => canvas.width);
    assert.is(await choose("Another scan to paint on", "other.nii"), "");
    assert.is(await columns(), 60);
    assert.match(await choose("Labels instead of painting", "saved_scan_painted.nii.gz"), /its shape is 56 x 16 x 64/);
    assert.is(await choose("Labels instead of painting", "organs.nii"), "");
    assert.equal(await colored(example), mostOf(other.label));
    await segment.click();
    await ready();
    assert.match(
      (await said.textContent())!,
      /Done in [\d.]+ s\. Found class \d: [\d.]+ ml/,
      (await problem.textContent())!,
    );
    await picture("organs");
    await page.getByLabel("Remove: Another scan to paint on").click();
    await ready();
    assert.is(await columns(), 64);
    // An encoder that takes other slices begins anew.
    assert.is(await choose("1. Encoder", "coronal.safetensors"), "");
    assert.is(await example.locator("canvas").isVisible(), false);
    assert.is(await segment.isDisabled(), true);

    // The same script in Node with what was painted. The browser has another build of SwiftShader, which rounds
    // otherwise: a voxel whose classes are as likely to six digits may differ.
    const words = ["segment_one_shot", "model.safetensors", "scan.nii.gz", "in_node", "--support", "scan.nii.gz"];
    const made = await runCommand(folder, [...words, "--supportLabels", "saved_scan_painted.nii.gz"]);
    assert.is(made.code, 0, made.output);
    const inNode = await readVolume(place("in_node/scan.nii.gz"));
    const differ = Array.from(found.data).filter((value, i) => value !== inNode.data[i]).length;
    assert.ok(differ <= found.data.length / 1000, `${differ} of ${found.data.length} voxels differ`);
    assert.ok(metrics.dice(found.data, inNode.data, { label: 1 }) > 0.99);
    assert.equal(mistakes, []);
  } finally {
    await page.close();
    await server.close();
  }
});

test.run();
