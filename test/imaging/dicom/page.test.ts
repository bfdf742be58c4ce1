/** Compressed DICOM pixels in Chromium, with the values that Node reads. */
import { fileURLToPath } from "node:url";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { readVolume } from "../../../engine/imaging/mod.ts";
import { bundle } from "../../../engine/platform/cli/bundle.ts";
import { serveLoopback } from "../../../engine/platform/cli/loopback.ts";
import { goldenJson } from "../../helpers/golden.ts";
import { closeBrowser, sharedBrowser } from "../../browser/harness.ts";

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

test.run();
