/** A training script run in a page and in Node. */
import { spawn } from "node:child_process";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import * as assert from "uvu/assert";
import { startServer } from "../../engine/platform/cli/serve.ts";
import { sharedBrowser } from "./harness.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));
const losses = (text: string): number[] => text.trimEnd().split("\n").map((line) => JSON.parse(line).loss);

/** What the page said and showed, and the losses of each step in both hosts. */
export async function trainInBoth(name: string, args: readonly string[]) {
  const folder = await mkdtemp(join(tmpdir(), "voxgrad-page-"));
  const script = join(root, `scripts/${name}.ts`);
  const words = [...args, "--run", "run"];
  const server = await startServer(script, words, 0);
  const page = await (await sharedBrowser()).newPage({ acceptDownloads: true });
  try {
    await page.goto(server.url);
    const state = page.locator("#state");
    await state.filter({ hasText: /done|failed/ }).waitFor({ timeout: 300_000 });
    const log = (await page.locator("#log").textContent())!;
    assert.is(await state.textContent(), "done", `${log}\n${await page.locator("#errortext").textContent()}`);
    const file = async (part: string): Promise<Buffer> => {
      const download = page.waitForEvent("download");
      await page.locator("#files a", { hasText: part }).first().click();
      return readFile(await (await download).path());
    };
    assert.ok((await file("model.safetensors")).length > 10_000);
    const inPage = losses((await file("log.jsonl")).toString());
    const cli = join(root, "engine/platform/cli/voxgrad.mjs");
    const child = spawn(process.execPath, [cli, "run", script, ...words], { cwd: folder, stdio: "ignore" });
    assert.is(await new Promise((resolve, reject) => child.on("close", resolve).on("error", reject)), 0);
    const inNode = losses(await readFile(join(folder, "run/log.jsonl"), "utf8"));
    return { log, plots: (await page.locator("#plots").textContent())!, inPage, inNode };
  } finally {
    await page.close();
    await server.close();
    await rm(folder, { recursive: true, force: true });
  }
}

/**
 * Losses of the same steps; Chromium has another build of the same adapter, whose arithmetic differs in its last bits.
 */
export function assertAlike(inPage: readonly number[], inNode: readonly number[]): void {
  assert.is(inPage.length, inNode.length);
  inNode.forEach((loss, k) => {
    assert.ok(Math.abs(inPage[k] - loss) < 1e-4 * loss, `step ${k + 1}: ${inPage[k]} in the page, ${loss} in Node`);
  });
}
