/** Pages that bundlers make of the installed package, run in Chromium without eval and inline scripts. */
import { cp, readdir, readFile, writeFile } from "node:fs/promises";
import { extname, join } from "node:path";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { type Answer, serveLoopback } from "../../engine/platform/cli/loopback.ts";
import { closeDevice } from "../../engine/mod.ts";
import { closeBrowser, sharedBrowser } from "../browser/harness.ts";
import { blocksOf } from "../helpers/examples.ts";
import { difference, fixture } from "./fixture.ts";
import { project, runWell, versions } from "./harness.ts";

const { module, labels } = await fixture();
await closeDevice();
test.after(closeBrowser);

const types: Record<string, Answer["type"]> = {
  ".html": "text/html",
  ".js": "text/javascript",
  ".json": "application/json",
};

/** Opens the page of a folder in two tabs at once and compares what each computes on both of its threads. */
async function look(folder: string): Promise<void> {
  const pages: Record<string, () => Promise<Answer>> = {};
  for (const name of await readdir(folder, { recursive: true })) {
    const type = types[extname(name)];
    if (!type) continue;
    const answer = async (): Promise<Answer> => ({ type, body: await readFile(join(folder, name)) });
    pages[`/${name}`] = answer;
    if (name === "index.html") pages["/"] = answer;
  }
  const server = await serveLoopback(0, pages);
  const browser = await sharedBrowser();
  try {
    const tabs = await Promise.all([browser.newPage(), browser.newPage()]);
    const answers = await Promise.all(tabs.map(async (tab) => {
      const mistakes: string[] = [];
      tab.on("pageerror", (error) => mistakes.push(error.message));
      tab.on("console", (line) => line.type() === "error" && mistakes.push(line.text()));
      const results = tab.goto(server.url).then(() =>
        tab.evaluate(() => (globalThis as unknown as { results: Promise<unknown> }).results)
      );
      const found = await results.catch((error: Error) => {
        throw new Error(`${error.message}\nThe page said: ${mistakes.join("\n") || "nothing"}`);
      });
      assert.equal(mistakes, []);
      await tab.close();
      return found as { slope: number[]; labels: string }[];
    }));
    assert.is(answers.flat().length, 4);
    for (const answer of answers.flat()) {
      assert.equal(answer.slope, [2, 4, 6]);
      assert.ok(difference(answer.labels, labels) <= 0.01);
    }
  } finally {
    await server.close();
  }
}

const bundlers = {
  esbuild: {
    package: `esbuild@${versions.esbuild}`,
    script: `import { build } from "esbuild";
await build({ entryPoints: ["main.js", "worker.js"], outdir: "out", bundle: true, minify: true, format: "esm" });`,
  },
  vite: {
    package: "vite@8.4.0",
    script: `import { build } from "vite";
await build({ build: { outDir: "out", target: "es2022" }, base: "./", logLevel: "warn" });`,
  },
  webpack: {
    package: "webpack@5.113.0",
    script: `import webpack from "webpack";
const config = { mode: "production", entry: "./main.js", output: { path: import.meta.dirname + "/out", filename: "main.js" } };
webpack(config, (error, stats) => {
  if (error || stats.hasErrors()) throw error ?? new Error(stats.toString());
});`,
  },
};

test("a page built by esbuild alone segments by voxgrad/worker, as its guide says", async () => {
  const esbuild = `esbuild@${versions.esbuild}`;
  const page = `import { openModel } from "voxgrad/worker";
import { model, scan } from "./fixture.js";
const results = async () => {
  const opened = await openModel(model, { worker: new Worker("worker.js", { type: "module" }) });
  const { labels } = await opened.segment(scan);
  return [...labels.data].join("");
};
globalThis.results = results();`;
  const place = await project([esbuild], { "fixture.js": module, "page.js": page });
  const [line] = blocksOf("models/open/README.md").filter(({ code }) => code.startsWith("npx esbuild"));
  await runWell("npx", line.code.trim().split(" ").slice(1), place);
  await writeFile(join(place, "out/index.html"), '<script type="module" src="page.js"></script>');
  const pages: Record<string, () => Promise<Answer>> = {};
  for (const name of ["index.html", "page.js", "worker.js"]) {
    const body = readFile(join(place, "out", name));
    pages[name === "index.html" ? "/" : `/${name}`] = async () => ({ type: types[extname(name)], body: await body });
  }
  const server = await serveLoopback(0, pages);
  try {
    const tab = await (await sharedBrowser()).newPage();
    await tab.goto(server.url);
    const found = await tab.evaluate(() => (globalThis as unknown as { results: Promise<string> }).results);
    assert.ok(difference(found, labels) <= 0.01);
    await tab.close();
  } finally {
    await server.close();
  }
});

for (const [name, { package: from, script }] of Object.entries(bundlers)) {
  test(`a page built by ${from} segments on the main thread and in a worker, in two tabs`, async () => {
    const place = await project([from], { "fixture.js": module, "build.mjs": script });
    await runWell(process.execPath, ["build.mjs"], place);
    if (name !== "vite") await cp(join(place, "index.html"), join(place, "out/index.html"));
    await look(join(place, "out"));
  });
}

test.run();
