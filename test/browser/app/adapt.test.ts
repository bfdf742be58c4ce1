// Adapt, as a visitor walks it: scans of another look, corrected by pointer and keys, learned from; a reload meanwhile.
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { unzipSync } from "fflate";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { closeDevice } from "../../../engine/mod.ts";
import { phantomCase, writeNifti } from "../../../engine/imaging/mod.ts";
import { withDefaults } from "../../../engine/train/mod.ts";
import { openModel } from "../../../models/mod.ts";
import { adapt, adaptEntries, type Look } from "../../../scripts/adapt.ts";
import { closeBrowser } from "../harness.ts";
import { download, openApp, pixelOf, retype, says, walk } from "./page.ts";

const STEPS = 60;
const shape = [28, 32, 24] as const;
const folder = await mkdtemp(join(tmpdir(), "voxgrad-adapt-"));
const place = (name: string): string => join(folder, name);
const first = fileURLToPath(new URL("../../../scripts/app/first/segmenter.safetensors", import.meta.url));
test.after(async () => {
  await closeBrowser();
  await closeDevice();
  await rm(folder, { recursive: true, force: true });
});

// Dimmed: what was bright is dark, but not all.
for (const seed of [1, 2, 3]) {
  const { image } = phantomCase({ seed: 200 + seed, shape, spacing: [1.3, 1.3, 2] });
  const data = Int16Array.from(image.data, (value) => (value > 700 ? 1400 - value : value));
  await writeFile(place(`scan${seed}.nii.gz`), writeNifti({ ...image, data }, { gzip: true }));
}

walk(
  "Adapt learns from corrected scans as Node does, and after a reload goes on to the same weights",
  async (browser) => {
    const { page, mistakes, close } = await openApp("adapt", { browser });
    try {
      const row = (k: number) => page.locator(".scans li").nth(k);
      await page.getByRole("button", { name: "Demo model" }).click();
      await page.getByText("segmenter.safetensors: organ, gland, tumor").waitFor({ timeout: 60_000 });
      for (const seed of [1, 2, 3]) {
        await page.getByLabel("Add a scan", { exact: true }).setInputFiles(place(`scan${seed}.nii.gz`));
        await page.locator(`#stage[data-shown="scan${seed}.nii.gz"]`).waitFor({ timeout: 60_000 });
      }
      const learn = page.getByRole("button", { name: /^(Correct a scan first|Learn from)/ });
      assert.is(await learn.isDisabled(), true);

      // The first: a stroke by the pointer, which is kept by itself. The second is measured on.
      await row(0).locator(".name").click();
      await page.locator('#stage[data-shown="scan1.nii.gz"]').waitFor();
      await page.getByRole("button", { name: "Axial" }).click();
      await page.getByRole("button", { name: "Brush" }).click();
      await page.mouse.click(...await pixelOf(page, 2, [14, 16, 12], shape));
      await row(0).getByText("corrected").waitFor();
      await row(1).locator("select").selectOption("held");
      await row(1).locator(".name").click();
      await page.locator('#stage[data-shown="scan2.nii.gz"]').waitFor();
      await page.getByRole("button", { name: "These labels are right" }).click();
      await row(1).getByText("corrected").waitFor();

      await retype(page, "Steps", String(STEPS));
      await learn.click();
      await page.locator(".looks td", { hasText: "scan_02" }).first().waitFor({ timeout: 120_000 });
      await says(page, /The model has learned/, 240_000);
      const { bytes: whole } = await download(page, "Save the adapted model");
      const { bytes: zip } = await download(page, "Save the corrected scans");

      // Again from the first step; the tab is loaded anew in the middle, once there is a checkpoint.
      await learn.click();
      await page.locator(".busy", { hasText: /step 4\d\/60/ }).waitFor({ timeout: 240_000 });
      await page.reload();
      await page.locator(".scans li").nth(2).waitFor();
      await page.getByRole("button", { name: /^Continue after step [1-9]\d of 60$/ }).click();
      await says(page, /The model has learned/, 240_000);
      const log = (await page.locator(".log").textContent())!;
      assert.match(log, /Resuming after step [1-5]\d of 60/);
      assert.ok(whole.equals((await download(page, "Save the adapted model")).bytes), "the same bytes");
      assert.equal(mistakes, []);

      // Node, with the same files, plan and order.
      for (const [name, bytes] of Object.entries(unzipSync(zip))) {
        await mkdir(dirname(place(`${browser}/data/${name}`)), { recursive: true });
        await writeFile(place(`${browser}/data/${name}`), bytes);
      }
      const looks: Look[] = [];
      const own = { held: "scan_02", watch: place("scan3.nii.gz"), steps: STEPS, look: 10 };
      const [data, run] = [place(`${browser}/data`), place(`${browser}/run`)];
      const files = { model: first, data, run, cache: place(`${browser}/prepared`) };
      await adapt(withDefaults(adaptEntries, { ...own, ...files, workers: 0 }), { onLook: (look) => looks.push(look) });
      const inPage = await openModel(new Uint8Array(whole));
      const last = looks.filter(({ id }) => id === "scan3").at(-1)!;
      const { labels } = await inPage.segment(last.image);
      const differ = labels.data.filter((value, k) => value !== last.labels.data[k]).length;
      // The browser has another build of SwiftShader, whose last bits differ and grow over the steps.
      assert.ok(differ < labels.data.length / 100, `${differ} of ${labels.data.length} voxels differ`);
      const changed = last.before.data.filter((value, k) => value !== last.labels.data[k]).length;
      assert.ok(changed > 5 * differ, `only ${changed} voxels changed by adapting`);
      inPage.dispose();
    } finally {
      await close();
    }
  },
);

test.run();
