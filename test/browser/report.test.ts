// deno-lint-ignore-file no-explicit-any
// The report of a foreign run folder in Chromium: nothing of it runs or loads, its pictures show, tables sort.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { hostileRun } from "../helpers/hostile_run.ts";
import { closeBrowser, sharedBrowser } from "./harness.ts";

const folder = await mkdtemp(join(tmpdir(), "voxgrad-hostile-"));
test.after(async () => {
  await closeBrowser();
  await rm(folder, { recursive: true, force: true });
});

test("writeReport() of a foreign run runs none of its scripts and requests none of its addresses", async () => {
  await hostileRun(folder);
  const page = await (await sharedBrowser()).newPage();
  const requests: string[] = [];
  const errors: string[] = [];
  page.on("request", (request) => requests.push(request.url()));
  page.on("pageerror", (error) => errors.push(error.message));
  await page.goto(pathToFileURL(join(folder, "report.html")).href);
  await page.waitForTimeout(200);
  assert.is(await page.evaluate(() => (window as any).hit), undefined);
  assert.equal(errors, []);
  assert.equal(requests.filter((url) => !url.startsWith("data:") && !url.endsWith("/report.html")), []);
  // Pictures that are SVG are shown; what is left of a broken one is its name.
  const widths = await page.evaluate(() => [...document.images].map((image) => image.naturalWidth));
  assert.ok(widths.length === 5 && widths.filter((width) => width > 0).length >= 3, `${widths}`);
  const first = () => page.evaluate(() => document.querySelector("table tbody td")!.textContent);
  const before = await first();
  await page.click("table th");
  await page.click("table th");
  assert.is.not(await first(), before, "a click on a heading sorts: the page's own script runs");
});

test.run();
