// Firefox, whose WebGPU (wgpu) is another one than Chromium's: a page that segments, and one that trains.
import { test } from "uvu";
import * as assert from "uvu/assert";
import { pathToFileURL } from "node:url";
import { closeDevice } from "../../engine/mod.ts";
import { planFor } from "../helpers/plans.ts";
import { firefoxPath } from "./firefox.ts";
import { closeBrowser, runInBrowser, type RunOptions, type ScriptPage, sharedBrowser } from "./harness.ts";
import { withPhantomTraining } from "./own_page.ts";
import { assertAlike } from "./page_training.ts";
import segmentPhantom from "./modules/segment_phantom.ts";

test.after(async () => {
  await closeBrowser();
  await closeDevice();
});
const options = (input: unknown): RunOptions => ({
  input,
  timeout: 500_000,
  open: async () => (await sharedBrowser("Firefox")).newPage() as unknown as ScriptPage,
});
/** Registers a test where there is a Firefox. */
function inFirefox(name: string, run: () => Promise<void>): void {
  if (firefoxPath !== undefined) test(name, run);
  else console.log(`Skipped: ${name}: there is no firefox-esr or firefox in PATH; install one`);
}

inFirefox("openModel() in Firefox segments a phantom as in Node", async () => {
  const plan = planFor({ patch: [16, 16, 16], labels: ["background", "organ", "gland", "tumor"] });
  const inPage = await runInBrowser<Awaited<ReturnType<typeof segmentPhantom>>>(
    new URL("./modules/segment_phantom.ts", import.meta.url),
    options(plan),
  );
  const inNode = await segmentPhantom(plan);
  assert.equal(inPage.counts, inNode.counts);
  assert.ok(inNode.counts.filter((count) => count > 0).length > 1, `${inNode.counts}`);
  assert.ok(inNode.probabilities.length > 200);
  inNode.probabilities.forEach((value, k) => {
    assert.ok(Math.abs(inPage.probabilities[k] - value) < 1e-4, `${k}: ${inPage.probabilities[k]}, Node has ${value}`);
  });
});

inFirefox("runFolds() in Firefox trains five steps with Node's losses", async () => {
  const [inPage, inNode] = await withPhantomTraining(async (file) => [
    await runInBrowser<number[]>(file, options(5)),
    await (await import(pathToFileURL(file).href)).default(5) as number[],
  ]);
  assert.is(inNode.length, 5);
  assertAlike(inPage, inNode);
});

test.run();
