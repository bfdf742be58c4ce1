/** The page of `voxgrad serve` in a browser with an empty profile, and what tests do there by pointer and keys. */
import { readFile } from "node:fs/promises";
import type { Page } from "playwright-core";
import { startApp } from "../../../engine/platform/cli/serve.ts";
import { readVolume, type Volume } from "../../../engine/imaging/mod.ts";
import { sharedBrowser } from "../harness.ts";

export interface AppPage {
  readonly page: Page;
  /** Errors of the page and of its console. */
  readonly mistakes: string[];
  close(): Promise<void>;
}

export async function openApp(way = "segment", viewport = { width: 1280, height: 900 }): Promise<AppPage> {
  const server = await startApp(0);
  const context = await (await sharedBrowser()).newContext({ viewport, acceptDownloads: true });
  const page = await context.newPage();
  const mistakes: string[] = [];
  page.on("pageerror", (error) => mistakes.push(error.stack ?? error.message));
  page.on("console", (line) => line.type() === "error" && mistakes.push(line.text()));
  await page.goto(`${server.url}#${way}`);
  await page.locator(`body[data-way="${way}"]`).waitFor({ timeout: 60_000 });
  return {
    page,
    mistakes,
    async close() {
      await context.close();
      await server.close();
    },
  };
}

/** Waits for a line to the visitor; fails with the problem that the page shows instead. */
export async function says(page: Page, wanted: RegExp, timeout = 120_000): Promise<void> {
  const said = page.locator("#said", { hasText: wanted });
  const problem = page.locator("#problem:not([hidden])");
  await said.or(problem).first().waitFor({ timeout });
  if (await problem.isVisible()) throw new Error(`The page says: ${await problem.textContent()}`);
}

/** What the page says went wrong, without its details. */
export async function problemOf(page: Page): Promise<string> {
  const text = page.locator("#problem > span");
  await text.waitFor({ timeout: 60_000 });
  return (await text.textContent())!;
}

/** The label map that a click saves. */
export async function saved(page: Page, folder: string): Promise<Volume> {
  const download = page.waitForEvent("download");
  await page.getByRole("button", { name: "Save labels" }).click();
  const file = await download;
  const path = `${folder}/${Date.now()}_${file.suggestedFilename()}`;
  await file.saveAs(path);
  return readVolume(await readFile(path));
}

/** Where a voxel of the page's grid is on the screen, in a layout that shows one slice. */
export async function pixelOf(
  page: Page,
  axis: number,
  voxel: readonly number[],
  shape: readonly number[],
): Promise<[x: number, y: number]> {
  const frame = page.locator(".frame");
  const tiles = JSON.parse((await frame.getAttribute("data-tiles"))!) as { axis: number; box: number[] }[];
  const { box: [left, top, width, height] } = tiles.find((tile) => tile.axis === axis)!;
  const [across, up] = [[1, 2], [0, 2], [0, 1]][axis];
  const canvas = (await page.locator(".cover").boundingBox()) ?? (await page.locator(".frame canvas").boundingBox())!;
  // The patient's right is on the left: x runs to the left of the screen; y and z run up.
  const share = (k: number): number => (voxel[k] + 0.5) / shape[k];
  const x = axis === 0 ? share(across) : 1 - share(across);
  return [canvas.x + left + x * width, canvas.y + top + (1 - share(up)) * height];
}
