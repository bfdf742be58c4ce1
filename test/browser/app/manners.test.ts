// The page's manners: for those who see little or use keys alone, on small screens, and without WebGPU.
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import type { Page } from "playwright-core";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { closeBrowser, sharedBrowser } from "../harness.ts";
import { startApp } from "../../../engine/platform/cli/serve.ts";
import { openApp, says } from "./page.ts";

test.after(closeBrowser);

const axe = await readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

/** What axe-core finds wrong, and how many of its rules were met. */
async function faults(page: Page): Promise<{ wrong: string[]; right: number }> {
  await page.evaluate(axe);
  return page.evaluate(async () => {
    const { violations, passes } = await (globalThis as unknown as {
      axe: { run(): Promise<Record<"violations" | "passes", { id: string; nodes: { target: string[] }[] }[]>> };
    }).axe.run();
    return { wrong: violations.map(({ id, nodes }) => `${id}: ${nodes[0].target.join(" ")}`), right: passes.length };
  });
}
const overflow = (page: Page): Promise<number> =>
  page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);

for (const [colorScheme, width] of [["light", 390], ["dark", 1920]] as const) {
  test(`every way is without faults that axe-core finds, and fits ${width} px, ${colorScheme}`, async () => {
    const { page, mistakes, close } = await openApp("segment", { viewport: { width, height: 900 } });
    try {
      await page.emulateMedia({ colorScheme, reducedMotion: "reduce" });
      const check = async (what: string): Promise<void> => {
        const { wrong, right } = await faults(page);
        assert.equal(wrong, [], what);
        assert.ok(right > 20, `${what}: ${right} rules`);
        assert.ok(await overflow(page) <= 0, `${what} is wider than the window`);
      };
      await check("start");
      await page.getByRole("button", { name: "Try it on a synthetic scan" }).click();
      await says(page, /Done in/);
      await page.getByText("Display").click();
      await check("segment");
      for (const way of ["example", "adapt", "train"]) {
        await page.evaluate((way) => void (location.hash = way), way);
        await page.locator(`body[data-way="${way}"]`).waitFor();
        await check(way);
      }
      assert.equal(mistakes, []);
    } finally {
      await close();
    }
  });
}

test("the first segmentation is made by keys alone, and what was painted is not lost unasked", async () => {
  const { page, close } = await openApp();
  try {
    const focused = (): Promise<string> => page.evaluate(() => document.activeElement?.textContent ?? "");
    for (let k = 0; k < 20 && await focused() !== "Try it on a synthetic scan"; k++) await page.keyboard.press("Tab");
    await page.keyboard.press("Enter");
    await says(page, /Done in/);
    for (let k = 0; k < 60 && await page.evaluate(() => document.activeElement?.tagName) !== "CANVAS"; k++) {
      await page.keyboard.press("Tab");
    }
    await page.keyboard.press("b");
    await page.keyboard.press(" ");
    const asked = page.waitForEvent("dialog", { timeout: 20_000 });
    const left = page.reload().catch(() => undefined);
    const dialog = await asked;
    assert.is(dialog.type(), "beforeunload");
    await dialog.accept();
    await left;
  } finally {
    await close();
  }
});

for (
  const [named, wanted] of [
    ["Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0", /about:config.*dom\.webgpu\.enabled/s],
    ["Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:140.0) Gecko/20100101 Firefox/140.0", /Update Firefox/],
    ["Mozilla/5.0 (iPhone; CPU iPhone OS 17_0 like Mac OS X) AppleWebKit/605 Version/17.0 Safari/604.1", /Safari/],
    ["Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537 (KHTML, like Gecko) Chrome/112.0 Safari/537", /chrome:\/\/flags/],
    ["Mozilla/5.0 (Windows NT 10.0; Win64) AppleWebKit/537 (KHTML, like Gecko) Chrome/112.0 Safari/537", /113 on/],
  ] as const
) {
  test(`without WebGPU the page says what to do in ${named.slice(12, 60)}`, async () => {
    const server = await startApp(0);
    const context = await (await sharedBrowser()).newContext({ userAgent: named });
    try {
      const page = await context.newPage();
      await page.addInitScript(() => Object.defineProperty(navigator, "gpu", { value: undefined }));
      await page.goto(server.url);
      await page.locator(".without").waitFor();
      assert.match((await page.locator("main").textContent())!, wanted);
      assert.match((await page.locator("#adapter").textContent())!, "no WebGPU");
      assert.is(await page.locator("#problem").isVisible(), false);
      assert.equal((await faults(page)).wrong, []);
    } finally {
      await context.close();
      await server.close();
    }
  });
}

test.run();
