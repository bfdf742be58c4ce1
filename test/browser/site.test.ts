/** `voxgrad site`: its files on a server of another kind, below a path; what the start loads, moves and complains of. */
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { extname, join } from "node:path";
import { gzipSync } from "node:zlib";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { writeSite } from "../../engine/platform/cli/site.ts";
import { failure } from "../helpers/refuse.ts";
import { closeBrowser, sharedBrowser } from "./harness.ts";

const folder = await mkdtemp(join(tmpdir(), "voxgrad-site-"));
const out = join(folder, "public");
const written = await writeSite(out);
const TYPES: Record<string, string> = { ".html": "text/html", ".js": "text/javascript", ".css": "text/css" };
const PREFIX = "/people/site/";
/** A file server that knows nothing of voxgrad and sends no header but the type. */
const server = createServer(async (request, response) => {
  const path = new URL(request.url!, "http://localhost").pathname;
  const name = path.startsWith(PREFIX) ? path.slice(PREFIX.length) || "index.html" : "";
  const body = name === "" ? undefined : await readFile(join(out, name)).catch(() => undefined);
  response.writeHead(body ? 200 : 404, { "Content-Type": TYPES[extname(name)] ?? "application/octet-stream" }).end(
    body,
  );
});
await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}${PREFIX}`;

test.after(async () => {
  await closeBrowser();
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
  await rm(folder, { recursive: true, force: true });
});

for (const way of ["segment", "example", "adapt", "train"]) {
  test(`the site starts at #${way} below a path with at most 250 kB, no complaint and no jump`, async () => {
    const page = await (await sharedBrowser()).newPage();
    const complaints: string[] = [];
    page.on("console", (line) => ["error", "warning"].includes(line.type()) && complaints.push(line.text()));
    page.on("pageerror", (error) => complaints.push(String(error)));
    const sizes = new Map<string, number>();
    page.on("response", async (response) => {
      if (response.status() >= 400) complaints.push(`${response.status()} ${response.url()}`);
      sizes.set(response.url(), gzipSync(await response.body()).length);
    });
    await page.addInitScript(() => {
      const scope = globalThis as unknown as { moved: number };
      scope.moved = 0;
      new PerformanceObserver((list) => {
        for (const each of list.getEntries()) scope.moved += (each as unknown as { value: number }).value;
      }).observe({ type: "layout-shift", buffered: true });
    });
    await page.goto(`${url}#${way}`, { waitUntil: "networkidle" });
    await page.locator("#panel .group:not([hidden]) h2").first().waitFor();
    const moved = await page.evaluate(() => (globalThis as unknown as { moved: number }).moved);
    const total = [...sizes.values()].reduce((a, b) => a + b, 0);
    assert.equal(complaints.filter((line) => !/WebGPU is experimental/.test(line)), []);
    assert.ok(total > 3_000 && total <= 250_000, `${total} bytes: ${[...sizes].join("  ")}`);
    assert.ok(moved < 0.1, `layout shift of ${moved}`);
    await page.close();
  });
}

test("writeSite() replaces an earlier site, with its licenses, and nothing else", async () => {
  assert.ok((await readFile(join(out, "NOTICES.md"), "utf8")).includes("niivue"));
  assert.equal([...(await writeSite(out)).keys()], [...written.keys()]);
  await writeFile(join(folder, "thesis.txt"), "mine");
  assert.match((await failure(() => writeSite(folder), Error)).message, /holds something else than a site; name a new/);
  assert.is(await readFile(join(folder, "thesis.txt"), "utf8"), "mine");
});

test.run();
