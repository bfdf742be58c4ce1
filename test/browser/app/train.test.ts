// Train, as a visitor walks it: a dataset with a fault, one without, options by keys, curves, results in one file.
import { cp, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { unzipSync } from "fflate";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { closeDevice } from "../../../engine/mod.ts";
import { writePhantomDataset } from "../../../engine/imaging/mod.ts";
import { withDefaults } from "../../../engine/train/mod.ts";
import { trainUnet, unetEntries } from "../../../scripts/train_unet.ts";
import { closeBrowser } from "../harness.ts";
import { assertAlike } from "../page_training.ts";
import { chooseFolder, download, openApp, retype, says, walk } from "./page.ts";

const folder = await mkdtemp(join(tmpdir(), "voxgrad-train-"));
const [good, bad] = [join(folder, "good"), join(folder, "bad")];
test.after(async () => {
  await closeBrowser();
  await closeDevice();
  await rm(folder, { recursive: true, force: true });
});
await writePhantomDataset(good, { cases: 4, seed: 2, shape: [20, 18, 16] });
await cp(good, bad, { recursive: true });
await writeFile(join(bad, "labelsTr/phantom_001.nii.gz"), "no label");

const losses = (text: string): number[] => text.trimEnd().split("\n").map((line) => JSON.parse(line).loss);

walk("Train names the faults of a dataset, and trains on another with Node's losses", async (browser) => {
  const { page, mistakes, close } = await openApp("train", { browser });
  try {
    const [choose, start] = [page.getByLabel("Choose a folder"), page.getByRole("button", { name: /^Train on/ })];
    await chooseFolder(choose, bad);
    const fault = page.locator(".findings .error");
    await fault.waitFor({ timeout: 60_000 });
    assert.match((await fault.textContent())!, /phantom_001\.nii\.gz/);
    assert.is(await start.isDisabled(), true);
    await chooseFolder(choose, good);
    await page.getByText("good: 4 cases; organ, gland, tumor").waitFor({ timeout: 60_000 });
    assert.is(await page.locator(".findings .error").count(), 0);

    // The form is that of the script; what is not changed stays as it is there.
    await page.locator("summary", { hasText: "Change what is usual" }).press("Enter");
    await page.getByLabel("Steps", { exact: true }).waitFor({ timeout: 60_000 });
    const common = await page.locator("form.options > .option label").allTextContents();
    assert.equal(common, ["Steps", "Preset", "Patch", "Features", "Flips"]);
    assert.match((await page.locator("#about-flips").textContent())!, unetEntries.flips.about);
    await retype(page, "Steps", "6");
    await retype(page, "Patch", "16, 16, 16");
    await retype(page, "Features", "4 8");
    await page.locator("summary", { hasText: "All options" }).press("Enter");
    await retype(page, "Folds", "2");
    await retype(page, "Epoch", "3");
    await page.getByLabel("Augment", { exact: true }).selectOption("mirror");
    await start.click();
    await page.locator('#stage[data-shown="phantom_000"], #stage[data-shown="phantom_001"]').first()
      .waitFor({ timeout: 120_000 });
    await page.locator(".caption", { hasText: "Reference" }).waitFor({ timeout: 60_000 });
    await says(page, /Trained/, 240_000);
    assert.is(await page.locator(".curves figure").count(), 2);
    assert.match((await page.locator(".measures").textContent())!, /class.*Dice.*organ/);

    const files = unzipSync((await download(page, "Save everything as a zip")).bytes);
    for (const name of ["model.safetensors", "metrics.csv", "report.html", "overlay.svg"]) {
      assert.ok(name in files, name);
    }
    assert.not("checkpoint.safetensors" in files);
    // What was trained here is a model to choose there, also after a reload.
    await page.reload();
    await page.getByRole("link", { name: "Segment" }).click();
    await page.getByRole("button", { name: "Trained model" }).click();
    await page.getByText("Trained model: finds organ, gland, tumor").waitFor({ timeout: 120_000 });
    assert.equal(mistakes, []);

    const run = join(folder, `run in ${browser}`);
    const own = { steps: 6, patch: [16, 16, 16], features: [4, 8], folds: 2, epoch: 3, augment: "mirror" } as const;
    await trainUnet(
      withDefaults(unetEntries, { ...own, data: good, run, cache: join(folder, "prepared"), workers: 0 }),
    );
    const inNode = losses(await readFile(join(run, "log.jsonl"), "utf8"));
    assertAlike(losses(new TextDecoder().decode(files["log.jsonl"])), inNode);
  } finally {
    await close();
  }
});

walk("Train goes on after a reload, on synthetic scans", async (browser) => {
  const { page, mistakes, close } = await openApp("train", { browser });
  try {
    await page.locator("summary", { hasText: "Change what is usual" }).press("Enter");
    await retype(page, "Steps", "400");
    await retype(page, "Patch", "16, 16, 16");
    await retype(page, "Features", "4 8");
    await page.locator("summary", { hasText: "All options" }).press("Enter");
    await retype(page, "Phantoms", "2");
    await page.getByRole("button", { name: "Train on synthetic scans" }).click();
    await page.locator(".busy", { hasText: /step \d+\/400/ }).waitFor({ timeout: 120_000 });
    await page.getByRole("button", { name: "Cancel" }).click();
    const go = page.getByRole("button", { name: /^Continue after step \d+ of 400$/ });
    await go.waitFor({ timeout: 60_000 });
    await page.reload();
    await go.click();
    await page.locator(".log", { hasText: /Resuming after step \d+ of 400/ }).waitFor({
      state: "attached",
      timeout: 120_000,
    });
    assert.equal(mistakes, []);
  } finally {
    await close();
  }
});

test.run();
