/** The page of `voxgrad serve` in browsers with an empty profile, and what tests do there by pointer and keys. */
import { readdir, readFile } from "node:fs/promises";
import { dirname, join, relative } from "node:path";
import type { Locator, Page } from "playwright-core";
import { test } from "uvu";
import { startApp } from "../../../engine/platform/cli/serve.ts";
import { readVolume, type Volume } from "../../../engine/imaging/mod.ts";
import { firefoxPath, firefoxSaved } from "../firefox.ts";
import { type BrowserName, sharedBrowser } from "../harness.ts";

export interface AppPage {
  readonly page: Page;
  /** Errors of the page and of its console. */
  readonly mistakes: string[];
  close(): Promise<void>;
}

export interface Opened {
  readonly browser?: BrowserName;
  readonly viewport?: { readonly width: number; readonly height: number };
}

export async function openApp(way = "segment", opened: Opened = {}): Promise<AppPage> {
  const { browser = "Chromium", viewport = { width: 1280, height: 900 } } = opened;
  const server = await startApp(0);
  const context = await (await sharedBrowser(browser)).newContext({ viewport, acceptDownloads: true });
  const close = async (): Promise<void> => {
    await context.close();
    await server.close();
  };
  const page = await context.newPage();
  const mistakes: string[] = [];
  page.on("pageerror", (error) => mistakes.push(error.stack ?? error.message));
  page.on("console", (line) => line.type() === "error" && mistakes.push(line.text()));
  try {
    await page.goto(`${server.url}#${way}`, { timeout: 120_000 });
    await page.locator(`body[data-way="${way}"]`).waitFor({ timeout: 60_000 });
  } catch (error) {
    // A server that stays would keep the test from ending.
    await close();
    throw error;
  }
  return { page, mistakes, close };
}

/** Registers a test for Chromium, and for Firefox where it is installed and can show scans. */
export function walk(name: string, run: (browser: BrowserName) => Promise<void>): void {
  test(`${name}, in Chromium`, () => run("Chromium"));
  const skipped = (why: string): void => console.log(`Skipped: ${name}, in Firefox: ${why}`);
  if (firefoxPath === undefined) return skipped("there is no firefox-esr or firefox in PATH; install one");
  test(`${name}, in Firefox`, async () => {
    const page = await (await sharedBrowser("Firefox")).newPage();
    const shows = await page.evaluate(() => document.createElement("canvas").getContext("webgl2") !== null);
    await page.close();
    if (shows) await run("Firefox");
    else skipped("it has no WebGL 2 here, which needs a display: install Xvfb and Mesa's drivers of OpenGL");
  });
}

/**
 * Waits for a line to the visitor, and takes it away, so that the next one is waited for even if it says the same; fails
 * with the problem that the page shows instead.
 */
export async function says(page: Page, wanted: RegExp, timeout = 120_000): Promise<void> {
  const said = page.locator("#said:not([hidden])", { hasText: wanted });
  const problem = page.locator("#problem:not([hidden])");
  await said.or(problem).first().waitFor({ timeout });
  if (await problem.isVisible()) throw new Error(`The page says: ${await problem.textContent()}`);
  await page.locator("#said").evaluate((line) => line.setAttribute("hidden", ""));
}

/** What the page says went wrong, without its details. */
export async function problemOf(page: Page): Promise<string> {
  const text = page.locator("#problem > span");
  await text.waitFor({ timeout: 60_000 });
  return (await text.textContent())!;
}

/** Types over what a field holds. */
export async function retype(page: Page, label: string, text: string): Promise<void> {
  const field = page.getByLabel(label, { exact: true });
  await field.press("Control+a");
  await field.pressSequentially(text);
}

/** Chooses a folder; in Firefox, whose driver chooses only files, as its dialog would have given it. */
export async function chooseFolder(input: Locator, folder: string): Promise<void> {
  if (!inFirefox(input.page())) return input.setInputFiles(folder);
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile()).map(async ({ parentPath, name }) => {
    const path = join(parentPath, name);
    return { path: relative(dirname(folder), path), name, bytes: await readFile(path, "base64") };
  });
  await input.evaluate((element: HTMLInputElement, files) => {
    const chosen = new DataTransfer();
    for (const { path, name, bytes } of files) {
      const file = new File([Uint8Array.from(atob(bytes), (letter) => letter.charCodeAt(0))], name);
      chosen.items.add(Object.defineProperty(file, "webkitRelativePath", { value: path }));
    }
    element.files = chosen.files;
    element.dispatchEvent(new Event("change", { bubbles: true }));
  }, await Promise.all(files));
}

const inFirefox = (page: Page): boolean => page.context().browser()!.browserType().name() === "firefox";

/** The file that a click on a button saves. */
export async function download(page: Page, button: string): Promise<{ name: string; bytes: Buffer }> {
  const press = (): Promise<void> => page.getByRole("button", { name: button }).click();
  if (inFirefox(page)) {
    await press();
    return firefoxSaved();
  }
  const coming = page.waitForEvent("download");
  await press();
  const file = await coming;
  return { name: file.suggestedFilename(), bytes: await readFile(await file.path()) };
}

/** The label map that a click saves. */
export async function saved(page: Page): Promise<Volume> {
  return readVolume((await download(page, "Save labels")).bytes);
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
