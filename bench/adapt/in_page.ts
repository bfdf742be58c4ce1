// What looks.ts measures in Node, in the page of `voxgrad serve`: its model and corrected scans are chosen there by
// clicks in a browser (Chromium computes on SwiftShader, Firefox on the system's Vulkan driver), and the model that the
// page saves is measured on the held-out cases.
// `npx voxgrad run bench/adapt/looks.ts DATASET OUT`, then `npx voxgrad run bench/adapt/in_page.ts OUT`
import { readdir } from "node:fs/promises";
import { closeDevice } from "../../engine/mod.ts";
import { choice, config, entry, print } from "../../engine/train/mod.ts";
import { download, openApp, says } from "../../test/browser/app/page.ts";
import { closeBrowser } from "../../test/browser/harness.ts";
import { meanDice } from "./mean_dice.ts";

const options = config({
  out: entry("", "folder that looks.ts filled", { positional: true }),
  look: entry("inverted", "inverted or blurred"),
  browser: choice(["Chromium", "Firefox"], "browser of the page"),
  steps: entry(60, "steps of adapting", { integer: true, min: 1 }),
});
const folder = `${options.out}/${options.look}`;
const { page, close } = await openApp("adapt", { browser: options.browser });
await page.getByLabel("Choose a model").setInputFiles(`${options.out}/base/model.safetensors`);
await page.locator(".chosen", { hasText: "model.safetensors:" }).waitFor({ timeout: 60_000 });
const cases = (await readdir(`${folder}/corrected/labelsTr`)).map((name) => name.replace(".nii.gz", ""));
for (const [k, id] of cases.entries()) {
  await page.getByLabel("Add a scan", { exact: true }).setInputFiles(`${folder}/corrected/imagesTr/${id}_0000.nii.gz`);
  const row = page.locator(".scans li").nth(k);
  await page.locator(`#stage[data-shown="${id}_0000.nii.gz"]`).waitFor({ timeout: 120_000 });
  await row.locator("select").selectOption("learn");
  await page.getByLabel("Labels from a file").setInputFiles(`${folder}/corrected/labelsTr/${id}.nii.gz`);
  await row.getByText("corrected", { exact: true }).waitFor({ timeout: 60_000 });
}
await page.getByLabel("Steps").fill(String(options.steps));
const started = performance.now();
await page.getByRole("button", { name: /^Learn from/ }).click();
await says(page, /The model has learned/, 1_800_000);
const seconds = (performance.now() - started) / 1000;
const { bytes: weights } = await download(page, "Save the adapted model");
await close();
await closeBrowser();

const held = `${folder}/held`;
const [before, after] = [await meanDice(`${options.out}/base`, held), await meanDice(weights, held)];
const gain = (after - before).toFixed(3);
print(`${options.look}: ${before.toFixed(3)}, then ${after.toFixed(3)}; gain ${gain}, in ${seconds.toFixed(0)} s`);
await closeDevice();
