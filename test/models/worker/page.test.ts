/** openModel in Chromium, in the page and in workers, with the labels of Node. */
import { fileURLToPath } from "node:url";
import { test } from "uvu";
import * as assert from "uvu/assert";
import * as vg from "../../../engine/mod.ts";
import { bundle } from "../../../engine/platform/cli/bundle.ts";
import { serveLoopback } from "../../../engine/platform/cli/loopback.ts";
import { openModel } from "../../../models/mod.ts";
import { smallModel } from "../open/small_models.ts";
import { closeBrowser, sharedBrowser } from "../../browser/harness.ts";

const { weights, image, scan } = await smallModel();
const here = await openModel(weights);
const { labels } = await here.segment(image);
const wanted = [...labels.data];
here.dispose();

const file = (path: string): string => fileURLToPath(new URL(path, import.meta.url));
const { code: page } = await bundle(file("./page.ts"));
const { code: worker } = await bundle(file("../../../models/worker/worker_main.ts"));
const server = await serveLoopback(0, {
  "/": () => ({ type: "text/html", body: `<!doctype html><script type="module" src="/page.js"></script>` }),
  "/page.js": () => ({ type: "text/javascript", body: page }),
  "/worker_main.js": () => ({ type: "text/javascript", body: worker }),
  // Of the types that are served; what is fetched does not depend on it.
  "/model.safetensors": () => ({ type: "application/json", body: weights }),
  "/scan.nii.gz": () => ({ type: "application/json", body: scan }),
});
test.after(async () => {
  await closeBrowser();
  await server.close();
  await vg.closeDevice();
});

const tab = await (await sharedBrowser()).newPage();
await tab.goto(server.url);
await tab.waitForFunction("globalThis.result !== undefined");
// deno-lint-ignore no-explicit-any
const found: any = await tab.evaluate("globalThis.result");

/** SwiftShader in Chromium and the adapter of Node may differ in the last bit, and so in a voxel on an edge. */
const agrees = (data: number[]): void => {
  assert.is(data.length, wanted.length);
  const other = data.filter((value, k) => value !== wanted[k]).length;
  assert.ok(other <= wanted.length / 500, `${other} of ${wanted.length} voxels differ`);
};

test("openDevice({ device }) in a page computes on its device, and leaves it as it was", () => {
  const { name, kind, sum, seven, errors } = found.shared;
  assert.match(name, /swiftshader/i);
  assert.equal([kind, sum, seven, errors], ["software", 3000, 7, []]);
});

test("openModel() in a page segments a File by a model of a URL, through lost devices", () => {
  const { page } = found;
  agrees(page.labels);
  assert.equal([page.again, page.within], [page.labels, page.labels]);
  assert.equal(page.progress, Array.from({ length: page.progress.length }, (_, k) => k + 1));
  assert.match(page.missing, /none\.safetensors: the server answers 404/);
});

test("segment() in a page ends by its signal ten times, and memory stays flat", () => {
  const { page } = found;
  assert.equal(page.aborted, new Array(10).fill("AbortError"));
  assert.equal(page.memory[0], page.memory[1]);
  assert.is(page.left, 0);
});

for (const kind of ["worker", "own"]) {
  test(`openModel() of voxgrad/worker in ${kind === "own" ? "the page's own worker" : "a worker it starts"}`, () => {
    const { labels, moved, left, progress, reason, bad, late, foreign } = found[kind];
    assert.equal([labels, moved, left], [found.page.labels, found.page.labels, 0]);
    assert.equal(progress, found.page.progress);
    assert.is(reason, "AbortError");
    assert.is(bad[0], "NiftiError");
    assert.match(bad[1], /^data: got 7 bytes/);
    assert.match(late, /^model: it was disposed of/);
    assert.equal(foreign, []);
  });
}

test("openModel() of voxgrad/worker says that a worker cannot be started, and the library posts no messages", () => {
  assert.match(found.lost, /^worker: it has ended: its module cannot be loaded/);
  assert.equal(found.messages, []);
});

test.run();
