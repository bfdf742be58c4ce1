// The main script unchanged in a page: the files and the losses that Node gives.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { writePhantomDataset } from "../../engine/imaging/mod.ts";
import { startServer } from "../../engine/platform/cli/serve.ts";
import { closeBrowser, sharedBrowser } from "./harness.ts";
import { assertAlike, trainInBoth } from "./page_training.ts";

const script = fileURLToPath(new URL("../../scripts/train_unet.ts", import.meta.url));
const folder = await mkdtemp(join(tmpdir(), "voxgrad-page-"));
test.after(async () => {
  await closeBrowser();
  await rm(folder, { recursive: true, force: true });
});

test("train_unet in a page offers what it wrote, and its losses are those of Node", async () => {
  const small = ["--phantoms", "2", "--folds", "2", "--steps", "4", "--features", "4,8", "--patch", "16,16,16"];
  const { log, plots, inPage, inNode } = await trainInBoth("train_unet", small);
  assert.match(log, /class +Dice/);
  assert.match(plots, "loss");
  assert.is(inPage.length, 4);
  assertAlike(inPage, inNode);
});

test("train_unet in a page trains on a dataset folder that the visitor chooses", async () => {
  const data = join(folder, "Task99_Chosen");
  await writePhantomDataset(data, { cases: 3, seed: 4, shape: [20, 18, 16] });
  const server = await startServer(script, ["--phantoms", "2", "--folds", "2", "--steps", "1", "--features", "4,8"], 0);
  const page = await (await (await sharedBrowser()).newContext()).newPage();
  try {
    await page.goto(server.url);
    const state = page.locator("#state");
    await page.locator("#folder").setInputFiles(data);
    assert.match((await page.locator("#data").textContent())!, /of Task99_Chosen are at hand/);
    const chosen = "--data Task99_Chosen";
    assert.match(await page.locator("#args").inputValue(), chosen);
    const small = "--folds 3 --steps 3 --features 4,8 --patch 16,16,16 --run mine";
    await page.locator("#args").fill(`${chosen} ${small}`);
    await page.locator("#again").click();
    await page.locator("#log", { hasText: "Task99_Chosen" }).waitFor({ timeout: 120_000 });
    await state.filter({ hasText: /done|failed/ }).waitFor({ timeout: 300_000 });
    const log = (await page.locator("#log").textContent())!;
    assert.is(await state.textContent(), "done", `${log}\n${await page.locator("#errortext").textContent()}`);
    assert.match(log, "Data: Task99_Chosen, 3 cases; organ, gland, tumor");
    assert.match(log, "Dice on 1 held-out cases");
    const files = (await page.locator("#files").textContent())!;
    for (const name of ["mine/model.safetensors", "mine/report.html", "mine/predictions/phantom_"]) {
      assert.ok(files.includes(name), `${name} in ${files}`);
    }
    const opened = page.context().waitForEvent("page");
    await page.locator("#files a", { hasText: "mine/report.html" }).click();
    const report = await opened;
    await report.locator("h2", { hasText: "Every case" }).waitFor({ timeout: 30_000 });
    assert.is(await report.locator("svg").count() > 0, true);
  } finally {
    await page.context().close();
    await server.close();
  }
});

test.run();
