import { request } from "node:http";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Page } from "playwright-core";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { startServer } from "../../engine/platform/cli/serve.ts";
import { closeBrowser, sharedBrowser } from "./harness.ts";

const script = fileURLToPath(new URL("./modules/serve_script.ts", import.meta.url));

test.after(closeBrowser);

/** Opens the page of a script, waits until its state is one of the words, and looks at it. */
async function visit(path: string, args: string[], look: (page: Page, state: string) => Promise<void>): Promise<void> {
  const server = await startServer(path, args, 0);
  const page = await (await sharedBrowser()).newPage({ viewport: { width: 1200, height: 900 }, acceptDownloads: true });
  const mistakes: string[] = [];
  page.on("pageerror", (error) => mistakes.push(error.message));
  page.on("console", (line) => line.type() === "error" && mistakes.push(line.text()));
  try {
    await page.goto(server.url);
    const state = page.locator("#state");
    await state.filter({ hasText: /done|failed/ }).waitFor({ timeout: 20_000 }).catch((error: Error) => {
      throw new Error(`${error.message}\nThe page said: ${mistakes.join("\n") || "nothing"}`);
    });
    await look(page, (await state.textContent())!);
    assert.equal(mistakes, []);
  } finally {
    await page.close();
    await server.close();
  }
}

test("voxgrad serve runs a script in the page: log, adapter, progress, curves, files", async () => {
  await visit(script, ["--steps", "40", "--name", "two words"], async (page, state) => {
    assert.is(state, "done");
    const log = (await page.locator("#log").textContent())!;
    assert.match(log, "adapter kind software, arguments --steps|40|--name|two words");
    assert.match(log, 'read back {"dice":0.9}');
    assert.match(log, "files metrics.json, progress.svg");
    assert.match((await page.locator("#adapter").textContent())!, /swiftshader/i);
    assert.match((await page.locator("#now").textContent())!, "step 40/40");
    assert.is(await page.locator(".bar").getAttribute("aria-valuenow"), "100");
    assert.equal(await page.locator("#plots h2").allTextContents(), ["loss", "dice"]);
    assert.ok(await page.locator("#plots canvas").first().isVisible());
    assert.ok(await page.locator("#files img").evaluate((image: HTMLImageElement) => image.decode().then(() => true)));

    const download = page.waitForEvent("download");
    await page.locator("#files a", { hasText: "metrics.json" }).click();
    const file = await download;
    assert.is(file.suggestedFilename(), "metrics.json");
    assert.is(await readFile(await file.path(), "utf8"), '{"dice":0.9}');
    if (process.env.VOXGRAD_SCREENSHOT) await page.screenshot({ path: process.env.VOXGRAD_SCREENSHOT, fullPage: true });
  });
});

test("voxgrad serve shows what a script throws, and runs it again with other arguments", async () => {
  await visit(script, ["--steps", "1", "--fail"], async (page, state) => {
    assert.is(state, "failed");
    assert.match((await page.locator("#errortext").textContent())!, "RangeError: learning rate is NaN");
    await page.locator("#args").fill("--steps 2");
    await page.locator("#again").click();
    await page.locator("#state").filter({ hasText: "done" }).waitFor();
    assert.is(await page.locator("#error").isVisible(), false);
    assert.match((await page.locator("#log").textContent())!, "arguments --steps|2\n");
  });
});

test("voxgrad serve gives the folder that the visitor chooses to --data, also one whose name has a space", async () => {
  const place = await mkdtemp(join(tmpdir(), "voxgrad-serve-"));
  const scans = join(place, "my scans");
  await mkdir(scans);
  await writeFile(join(scans, "dataset.json"), "{}");
  try {
    await visit(script, ["--data", "old scans", "--steps", "1"], async (page) => {
      await page.locator("#folder").setInputFiles(scans);
      assert.is(await page.locator("#args").inputValue(), '--steps 1 --data "my scans"');
      await page.locator("#again").click();
      await page.locator("#log").filter({ hasText: "arguments --steps|1|--data|my scans\n" }).waitFor();
    });
  } finally {
    await rm(place, { recursive: true, force: true });
  }
});

test("voxgrad serve --profile lists kernels and offers the trace", async () => {
  const folder = await mkdtemp(join(tmpdir(), "voxgrad-serve-"));
  const engine = fileURLToPath(new URL("../../engine/mod.ts", import.meta.url));
  const train = fileURLToPath(new URL("../../engine/train/mod.ts", import.meta.url));
  try {
    const computing = join(folder, "computing.ts");
    await writeFile(
      computing,
      `import { ones } from ${JSON.stringify(engine)};\nimport { print } from ${
        JSON.stringify(train)
      };\nprint("sum " + await ones([100]).exp().sum().item());\n`,
    );
    await visit(computing, ["--profile", "trace.json"], async (page, state) => {
      const log = (await page.locator("#log").textContent())!;
      assert.is(state, "done", log);
      assert.match(log, /^sum 271\.8\d+\n/);
      assert.match(log, /Profile of [\d.]+ s on .*: 1 dispatches\nkernel .*of roof\n/);
      assert.match(log, /\nsum\+exp/);
      assert.match(log, /Roofs, measured: [\d.]+ GB\/s .*Trace: trace\.json, all dispatches/s);
      assert.is(await page.locator("#files a", { hasText: "trace.json" }).count(), 1);
    });
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
});

test("voxgrad serve --tune keeps what it finds for later visits", async () => {
  const folder = await mkdtemp(join(tmpdir(), "voxgrad-serve-"));
  const engine = fileURLToPath(new URL("../../engine/mod.ts", import.meta.url));
  const train = fileURLToPath(new URL("../../engine/train/mod.ts", import.meta.url));
  try {
    const convolving = join(folder, "convolving.ts");
    await writeFile(
      convolving,
      `import { compile, conv3d, ones } from ${JSON.stringify(engine)};
      import { print } from ${JSON.stringify(train)};
      const f = compile((x, w) => conv3d(x, w).sum());
      print("sum " + await (await f(ones([1, 2, 4, 4, 4]), ones([3, 2, 3, 3, 3]))).item());`,
    );
    await visit(convolving, ["--tune"], async (page, state) => {
      const [log, now] = [page.locator("#log"), page.locator("#now")];
      assert.is(state, "done", (await log.textContent())!);
      assert.match((await log.textContent())!, /^sum 1296\n/);
      assert.match((await now.textContent())!, /^tuned 1\/1 {2}convolution /);
      await page.locator("#again").click();
      await page.locator("#state").filter({ hasText: "done" }).waitFor();
      assert.match((await log.textContent())!, /^sum 1296\n/);
      assert.not.match((await now.textContent())!, "tuned");
    });
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
});

test("voxgrad serve names the mistake of a script that cannot be bundled", async () => {
  const folder = await mkdtemp(join(tmpdir(), "voxgrad-serve-"));
  try {
    const wrong = join(folder, "wrong.ts");
    await writeFile(wrong, 'import { nothing } from "./not_here.ts";\nnothing();\n');
    await visit(wrong, [], async (page, state) => {
      assert.is(state, "failed");
      const text = (await page.locator("#errortext").textContent())!;
      assert.match(text, "wrong.ts:1");
      assert.match(text, "not_here.ts");
    });
  } finally {
    await rm(folder, { recursive: true });
  }
});

test("voxgrad serve lists and reads a folder that the visitor chooses", async () => {
  const folder = await mkdtemp(join(tmpdir(), "voxgrad-serve-"));
  try {
    const reader = join(folder, "reader.ts");
    const platformPath = fileURLToPath(new URL("../../engine/platform/browser.ts", import.meta.url));
    await writeFile(
      reader,
      `import { platform } from ${JSON.stringify(platformPath)};
      const words = platform.readCommandLine();
      const folder = words[words.indexOf("--data") + 1];
      for (const name of await platform.listFiles(folder)) {
        platform.log(name + " has " + (await platform.readFile(folder + "/" + name)).length + " bytes");
      }`,
    );
    await visit(reader, ["--data", "elsewhere"], async (page, state) => {
      assert.is(state, "failed");
      assert.match((await page.locator("#errortext").textContent())!, "Cannot list elsewhere");
      await page.locator("#folder").setInputFiles(folder);
      await page.locator("#again").click();
      await page.locator("#state").filter({ hasText: "done" }).waitFor();
      assert.match((await page.locator("#log").textContent())!, /reader\.ts has \d{3} bytes/);
    });
  } finally {
    await rm(folder, { recursive: true });
  }
});

test("startServer() answers this machine's own names and its own paths only", async () => {
  const server = await startServer(script, [], 0);
  const status = (path: string, host?: string, method = "GET"): Promise<number> =>
    new Promise((resolve, reject) => {
      const url = new URL(server.url);
      const headers = host === undefined ? {} : { host };
      request({ host: url.hostname, port: url.port, path, method, headers }, (response) => {
        response.resume();
        resolve(response.statusCode!);
      }).on("error", reject).end();
    });
  try {
    assert.match(server.url, "http://127.0.0.1:");
    assert.is(await status("/"), 200);
    for (const path of ["/../package.json", "/package.json", "/..%2fpackage.json", "//etc/passwd", "/constructor"]) {
      assert.is(await status(path), 404, path);
    }
    assert.is(await status("/", "evil.example"), 403);
    assert.is(await status("/", undefined, "POST"), 404);
  } finally {
    await server.close();
  }
});

test.run();
