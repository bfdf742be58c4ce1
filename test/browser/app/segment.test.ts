// Segment, as a visitor walks it: a scan, a model, the result, a correction by pointer and keys, a file.
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { closeDevice } from "../../../engine/mod.ts";
import { metrics, phantomCase, reorient, writeNifti } from "../../../engine/imaging/mod.ts";
import { openModel } from "../../../models/mod.ts";
import { smallModel } from "../../models/open/small_models.ts";
import { closeBrowser } from "../harness.ts";
import { openApp, pixelOf, problemOf, saved, says, walk } from "./page.ts";

const folder = await mkdtemp(join(tmpdir(), "voxgrad-app-"));
const place = (name: string): string => join(folder, name);
test.after(async () => {
  await closeBrowser();
  await closeDevice();
  await rm(folder, { recursive: true, force: true });
});

const { weights, image: upright } = await smallModel();
// Stored otherwise than it is shown.
const image = reorient(upright, "PSL");
await writeFile(place("scan.nii.gz"), writeNifti(image, { gzip: true }));
await writeFile(
  place("two.nii"),
  writeNifti({ ...image, channels: 2, data: Float32Array.of(...image.data, ...image.data) }),
);
await writeFile(place("model.safetensors"), weights);
await writeFile(place("notes.txt"), "no scan");

walk("Segment finds what openModel finds in Node, and what is painted is saved", async (browser) => {
  const { page, mistakes, close } = await openApp("segment", { browser });
  try {
    const [scan, model] = [page.getByLabel("Choose files"), page.getByLabel("Choose a model")];
    const segment = page.getByRole("button", { name: "Segment", exact: true });
    assert.is(await segment.isDisabled(), true);

    // What does not fit is told in words, and the next can be chosen.
    await scan.setInputFiles(place("notes.txt"));
    assert.match(await problemOf(page), /notes\.txt/);
    await page.getByRole("button", { name: "Close" }).click();
    await model.setInputFiles(place("scan.nii.gz"));
    assert.match(await problemOf(page), /scan\.nii\.gz/);
    await scan.setInputFiles(place("two.nii"));
    await page.locator('#stage[data-shown="two.nii"]').waitFor({ timeout: 60_000 });
    await model.setInputFiles(place("model.safetensors"));
    await page.getByText("model.safetensors: finds a, b; takes").waitFor();
    await segment.click();
    assert.match(await problemOf(page), /two\.nii: it has 2 channel\(s\), wanted 1/);

    await scan.setInputFiles(place("scan.nii.gz"));
    await page.locator('#stage[data-shown="scan.nii.gz"]').waitFor();
    await segment.click();
    await says(page, /Done in/);
    await page.locator(".labels output", { hasText: /ml, [\d.]+ mm/ }).first().waitFor();
    const found = await saved(page);
    const opened = await openModel(weights);
    const { labels } = await opened.segment(image);
    opened.dispose();
    assert.equal([found.shape, found.affine.map(Math.round)], [image.shape, image.affine.map(Math.round)]);
    const differ = Array.from(found.data).filter((value, i) => value !== labels.data[i]).length;
    // The browser has another build of SwiftShader: a voxel whose classes are as likely to six digits may differ.
    assert.ok(differ <= 2, `${differ} of ${found.data.length} voxels differ`);

    // A dot of class b, taken back, done again; its voxels are those whose centers lie within the brush.
    await page.getByRole("button", { name: "Axial" }).click();
    await page.getByRole("button", { name: "Brush" }).click();
    await page.getByLabel("Class", { exact: true }).selectOption({ label: "b" });
    await page.getByLabel("Size", { exact: true }).fill("5");
    const slice = Number(await page.getByLabel("Slice", { exact: true }).inputValue()) - 1;
    const center = [6, 8, slice];
    await page.mouse.click(...await pixelOf(page, 2, center, upright.shape));
    const painted = reorient(await saved(page), "RAS");
    const before = reorient(found, "RAS");
    const [X, Y] = upright.shape;
    const wanted = Array.from(before.data, (value, i) => {
      const [x, y, z] = [i % X, Math.floor(i / X) % Y, Math.floor(i / (X * Y))];
      return z === slice && Math.hypot(x - 6, y - 8) <= 2.45 ? 2 : value;
    });
    assert.equal(Array.from(painted.data), wanted);
    await page.locator(".frame canvas").focus();
    await page.keyboard.press("Control+z");
    assert.equal(reorient(await saved(page), "RAS").data, before.data);
    await page.locator(".frame canvas").focus();
    await page.keyboard.press("Control+y");
    assert.equal(Array.from(reorient(await saved(page), "RAS").data), wanted);

    // Slices by keys, a dab by the space bar.
    await page.locator(".frame canvas").focus();
    await page.keyboard.press("Home");
    assert.is(await page.getByLabel("Slice", { exact: true }).inputValue(), "1");
    await page.keyboard.press("ArrowUp");
    await page.keyboard.press("e");
    await page.keyboard.press(" ");
    assert.is(await page.getByRole("button", { name: "Eraser" }).getAttribute("aria-pressed"), "true");
    assert.is(await page.getByLabel("Slice", { exact: true }).inputValue(), "2");
    assert.equal(mistakes, []);
  } finally {
    await close();
  }
});

walk("Segment finds at the first press in a synthetic scan what openModel finds in Node", async (browser) => {
  const { page, mistakes, close } = await openApp("segment", { browser });
  try {
    await page.getByRole("button", { name: "Try it on a synthetic scan" }).click();
    await says(page, /Done in/);
    const found = await saved(page);
    const model = await openModel(await readFile("scripts/app/first/segmenter.safetensors"));
    const { labels } = await model.segment(phantomCase({ seed: 7 }).image);
    model.dispose();
    for (const label of [1, 2, 3]) {
      assert.ok(metrics.dice(found.data, labels.data, { label })! > 0.999, `class ${label}`);
    }
    assert.equal(mistakes, []);
  } finally {
    await close();
  }
});

test.run();
