// A page of one's own that trains into OPFS, is stopped and reloaded, and goes on.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Page } from "playwright-core";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { closeDevice } from "../../engine/mod.ts";
import { writePhantomDataset } from "../../engine/imaging/mod.ts";
import { closeBrowser, sharedBrowser } from "./harness.ts";
import { serveOwnPage, trainInNode } from "./own_page.ts";
import { assertAlike } from "./page_training.ts";

const folder = await mkdtemp(join(tmpdir(), "voxgrad-page-"));
test.after(async () => {
  await closeBrowser();
  await closeDevice();
  await rm(folder, { recursive: true, force: true });
});

const losses = (text: string): number[] => text.trimEnd().split("\n").map((line) => JSON.parse(line).loss);
/** A file in the page's OPFS. */
const stored = (page: Page, path: string): Promise<string> =>
  page.evaluate(async (path) => {
    const parts = path.split("/");
    let at = await navigator.storage.getDirectory();
    for (const part of parts.slice(0, -1)) at = await at.getDirectoryHandle(part);
    return (await (await at.getFileHandle(parts.at(-1)!)).getFile()).text();
  }, path);

test("train() in a page of one's own is stopped, goes on after a reload, and ends with Node's losses", async () => {
  const data = join(folder, "phantoms");
  await writePhantomDataset(data, { cases: 4, seed: 2, shape: [20, 18, 16] });
  const server = await serveOwnPage();
  const page = await (await sharedBrowser()).newPage();
  const lines: string[] = [];
  page.on("console", (line) => lines.push(line.text()));
  page.on("pageerror", (error) => lines.push(String(error)));
  const says = async (wanted: RegExp): Promise<void> => {
    await page.locator("#status", { hasText: wanted }).waitFor({ timeout: 240_000 }).catch(async (error: Error) => {
      throw new Error(`${error.message}\n${await page.locator("#status").textContent()}\n${lines.join("\n")}`);
    });
  };
  try {
    await page.goto(server.url);
    await page.evaluate(() => {
      const status = document.getElementById("status")!;
      const stop = () => status.textContent!.startsWith("step 2/") && document.getElementById("stop")!.click();
      new MutationObserver(stop).observe(status, { childList: true });
    });
    await page.locator("#folder").setInputFiles(data);
    await says(/^Stopped; choose the folder again to go on$/);
    const before = losses(await stored(page, "runs/mine/log.jsonl"));
    assert.ok(before.length >= 2 && before.length < 5, `${before.length} steps`);
    assert.match(lines.join("\n"), /Stopped after step [34] of 5; the checkpoint holds it/);

    await page.reload();
    await page.locator("#folder").setInputFiles(data);
    await says(/^Trained: runs\/mine\/model\.safetensors$/);
    assert.match(lines.join("\n"), /Resuming after step [34] of 5/);
    assert.match(lines.join("\n"), /Dice on 2 held-out cases/);
    const inPage = losses(await stored(page, "runs/mine/log.jsonl"));
    assert.equal(inPage.slice(0, before.length), before);
    assert.match(await stored(page, "runs/mine/report.html"), "<h2");
    assertAlike(inPage, losses(await trainInNode(data)));
  } finally {
    await page.close();
    await server.close();
  }
});

test.run();
