/** DICOM in Chromium: compressed pixels have the values that Node reads, and a dropped series is segmented. */
import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { readLabelVolume, readVolume } from "../../../engine/imaging/mod.ts";
import { bundle } from "../../../engine/platform/cli/bundle.ts";
import { serveLoopback } from "../../../engine/platform/cli/loopback.ts";
import { goldenJson } from "../../helpers/golden.ts";
import { openModel } from "../../../models/mod.ts";
import { closeBrowser, sharedBrowser } from "../../browser/harness.ts";
import { smallModel } from "../../models/open/small_models.ts";
import { orientations, seriesOf } from "./orientations.ts";

const golden = goldenJson("dicom_compressed") as Record<string, { bytes: string }>;
const { code } = await bundle(fileURLToPath(new URL("./page.ts", import.meta.url)));
const server = await serveLoopback(0, {
  "/": () => ({ type: "text/html", body: `<!doctype html><script type="module" src="/page.js"></script>` }),
  "/page.js": () => ({ type: "text/javascript", body: code }),
});
test.after(async () => {
  await closeBrowser();
  await server.close();
});

test("readVolume() in a page decodes each compression as in Node", async () => {
  const names = ["rle", "jpeg_lossless", "jpeg_ls", "j2k", "jpeg_baseline", "enhanced_rle"];
  const files = Object.fromEntries(names.map((name) => [name, golden[name].bytes]));
  const tab = await (await sharedBrowser()).newPage();
  await tab.goto(server.url);
  await tab.waitForFunction("globalThis.readAll !== undefined");
  // deno-lint-ignore no-explicit-any
  const found = await tab.evaluate((given) => (globalThis as any).readAll(given), files);
  for (const name of names) {
    const wanted = await readVolume(new Uint8Array(Buffer.from(golden[name].bytes, "base64")));
    assert.equal(found[name], [...wanted.data], name);
  }
});

test("openModel() in a page segments a dropped series, and encodeLabels() saves what Node would", async () => {
  const { weights } = await smallModel();
  const series = seriesOf(orientations().get("012_3_oblique")!).map((bytes, k) => new File([bytes], `IM${k}`));
  const inNode = await openModel(weights);
  const { labels } = await inNode.segment(series);
  inNode.dispose();
  assert.ok(new Set(labels.data).size > 1, "more than one label");

  const tab = await (await sharedBrowser()).newPage();
  await tab.goto(server.url);
  await tab.locator("#model").setInputFiles({
    name: "model.safetensors",
    mimeType: "application/octet-stream",
    buffer: Buffer.from(weights),
  });
  const files = await Promise.all(
    series.map(async (file) => [file.name, Buffer.from(await file.arrayBuffer()).toString("base64")] as const),
  );
  const transfer = await tab.evaluateHandle((files) => {
    const transfer = new DataTransfer();
    for (const [name, base64] of files) {
      transfer.items.add(new File([Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0))], name));
    }
    return transfer;
  }, files);
  await tab.locator("#zone").dispatchEvent("drop", { dataTransfer: transfer });
  await tab.locator("#zone", { hasNotText: "Drop a series here" }).waitFor({ timeout: 120_000 });
  assert.is(await tab.locator("#zone").textContent(), "Segmented");
  const [download] = await Promise.all([tab.waitForEvent("download"), tab.locator("#save").click()]);
  const saved = await readLabelVolume(await readFile(await download.path()));
  assert.equal(saved.shape, labels.shape);
  assert.equal([...saved.data], [...labels.data]);
});

test.run();
