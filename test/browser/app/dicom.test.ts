/** A folder of DICOM files dropped on the page: segmented as in Node, and saved as a DICOM segmentation. */
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { closeDevice } from "../../../engine/mod.ts";
import { readLabelVolume } from "../../../engine/imaging/mod.ts";
import { openModel } from "../../../models/mod.ts";
import { ctSlice, dicomFile } from "../../imaging/dicom/dicom_files.ts";
import { orientations, seriesOf } from "../../imaging/dicom/orientations.ts";
import { smallModel } from "../../models/open/small_models.ts";
import { closeBrowser } from "../harness.ts";
import { download, openApp, says } from "./page.ts";

const folder = await mkdtemp(join(tmpdir(), "voxgrad-app-dicom-"));
test.after(async () => {
  await closeBrowser();
  await closeDevice();
  await rm(folder, { recursive: true, force: true });
});

test("Segment takes a dropped DICOM folder, and saves a DICOM segmentation of it", async () => {
  const { weights } = await smallModel();
  const series = join(folder, "series");
  // Files below the folder, without endings, as on a disc.
  await mkdir(join(series, "DICOM"), { recursive: true });
  const files = seriesOf(orientations().get("012_3_oblique")!);
  for (const [k, bytes] of files.entries()) await writeFile(join(series, "DICOM", `IM${k}`), bytes);
  await writeFile(join(folder, "model.safetensors"), weights);
  const model = await openModel(weights);
  const { labels } = await model.segment(series);
  model.dispose();
  assert.ok(new Set(labels.data).size > 1, "more than one label");

  const { page, mistakes, close } = await openApp();
  try {
    // A drop of the system, whose files come from the disk.
    const pointer = await page.context().newCDPSession(page);
    const data = { items: [], files: [series], dragOperationsMask: 1 };
    for (const type of ["dragEnter", "dragOver", "drop"] as const) {
      await pointer.send("Input.dispatchDragEvent", { type, x: 700, y: 400, data });
    }
    await page.locator("#stage[data-shown]").waitFor({ timeout: 60_000 });
    await page.getByLabel("Choose a model").setInputFiles(join(folder, "model.safetensors"));
    await page.getByText("model.safetensors: finds a, b; takes").waitFor();
    await page.getByRole("button", { name: "Segment", exact: true }).click();
    await says(page, /Done in/);
    await page.getByLabel("Format").selectOption("seg");
    const { name, bytes } = await download(page, "Save labels");
    assert.match(name, /\.dcm$/);
    const saved = await readLabelVolume(bytes);
    assert.equal(saved.shape, labels.shape);
    const near = (a: number, k: number): boolean => Math.abs(a - labels.affine[k]) < 1e-3;
    assert.ok(saved.affine.every(near), `${saved.affine}, ${labels.affine} wanted`);
    // The browser has another build of SwiftShader: a voxel whose classes are as likely to six digits may differ.
    const differ = Array.from(saved.data).filter((value, i) => value !== labels.data[i]).length;
    assert.ok(differ <= 2, `${differ} of ${saved.data.length} voxels differ`);
    assert.equal(mistakes, []);
  } finally {
    await close();
  }
});

test("Segment asks which of several series in a folder is meant", async () => {
  const several = join(folder, "several");
  await mkdir(several);
  for (const [series, slices] of [[3, 4], [5, 6]] as const) {
    for (let k = 0; k < slices; k++) {
      const own = { "0020000e UI": `1.2.826.0.1.3680043.10.3.${series}`, "00200011 IS": series };
      const slice = ctSlice({ number: k + 1, position: [0, 0, 2.5 * k] }, own);
      await writeFile(join(several, `${series}_${k}.dcm`), dicomFile(slice));
    }
  }
  const { page, mistakes, close } = await openApp();
  try {
    await page.getByLabel("DICOM folder").setInputFiles(several);
    const question = page.getByRole("dialog", { name: "Which series?" });
    await question.waitFor({ timeout: 60_000 });
    assert.equal(await question.getByRole("button").allTextContents(), [
      "3: CT, 4 slice(s) of 5 x 4 pixels of 0.5 x 0.75 mm",
      "5: CT, 6 slice(s) of 5 x 4 pixels of 0.5 x 0.75 mm",
      "Cancel",
    ]);
    await page.keyboard.press("Escape");
    await says(page, /Stopped/);
    assert.is(await page.locator("#stage[data-shown]").count(), 0);
    await page.getByLabel("DICOM folder").setInputFiles(several);
    await question.getByRole("button", { name: /^5: / }).press("Enter");
    await page.locator(".chosen", { hasText: "5 x 4 x 6 voxels" }).waitFor({ timeout: 60_000 });
    assert.equal(mistakes, []);
  } finally {
    await close();
  }
});

test.run();
