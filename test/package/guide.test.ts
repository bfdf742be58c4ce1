/** The examples of models/open/README.md as their reader follows them, with the installed package in an empty folder. */
import { spawn } from "node:child_process";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { extname, join } from "node:path";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { closeDevice, random, readNifti, writeNifti } from "../../engine/mod.ts";
import { phantomCase } from "../../engine/imaging/mod.ts";
import { predictor, saveModel } from "../../engine/train/mod.ts";
import { architectureOf, networkFromPlan } from "../../models/mod.ts";
import { closeBrowser, sharedBrowser } from "../browser/harness.ts";
import { denoProgram } from "../deno/harness.ts";
import { blocksOf } from "../helpers/examples.ts";
import { planFor } from "../helpers/plans.ts";
import { difference } from "./fixture.ts";
import { optional, project, runWell } from "./harness.ts";

const guide = blocksOf("models/open/README.md");
/** The block of a language that holds some words. */
function example(language: string, words: string): string {
  const found = guide.filter((block) => block.language === language && block.code.includes(words));
  assert.is(found.length, 1, `${found.length} ${language} blocks with ${words}`);
  return found[0].code;
}

// A model with the weights of a key, a scan, and the labels that the sources find in it.
const plan = planFor({});
const network = networkFromPlan(plan);
const params = network.init(random.key(7));
const { image } = phantomCase({ seed: 3, shape: [20, 18, 17] });
const wanted = (await predictor([{ network, params: [params], plan }]).predict(image)).labels.data;
const model = await saveModel(params, { network: plan.network.name, architecture: architectureOf(plan), plan });
const scan = writeNifti(image, { gzip: true });
await closeDevice();
const digits = (labels: ArrayLike<number>): string => Array.from(labels).join("");
const isRight = (labels: ArrayLike<number>): void =>
  assert.ok(difference(digits(labels), digits(wanted)) <= 0.01, "the labels are those of the sources");

/** Files as the guide names them. */
async function withFiles(place: string): Promise<string> {
  await mkdir(join(place, "runs/liver"), { recursive: true });
  await writeFile(join(place, "runs/liver/model.safetensors"), model);
  await writeFile(join(place, "model.safetensors"), model);
  await writeFile(join(place, "scan.nii.gz"), scan);
  return place;
}
const place = await withFiles(await project(optional));

const types: Readonly<Record<string, string>> = {
  ".html": "text/html",
  ".js": "text/javascript",
  ".mjs": "text/javascript",
};
let server: Server | undefined;
/** Serves a folder as any file server does, and opens its page. */
async function open(folder: string) {
  server?.close();
  server = createServer(async (request, response) => {
    const path = new URL(request.url!, "http://localhost").pathname;
    const file = join(folder, path === "/" ? "index.html" : path);
    const body = await readFile(file).catch(() => undefined);
    response.writeHead(body ? 200 : 404, { "Content-Type": types[extname(file)] ?? "application/octet-stream" }).end(
      body,
    );
  });
  await new Promise<void>((resolve) => server!.listen(0, "127.0.0.1", resolve));
  const page = await (await sharedBrowser()).newPage();
  page.on("pageerror", (error) => console.log(`${error.message}\n${error.stack}`));
  page.setDefaultTimeout(180_000);
  await page.goto(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`);
  return page;
}
test.after(async () => {
  await closeBrowser();
  server?.close();
});

test("openModel() of the guide's first example writes labels", async () => {
  await writeFile(join(place, "first.mjs"), example("js", "AbortSignal.timeout"));
  await runWell(process.execPath, ["first.mjs"], place);
  isRight(readNifti(await readFile(join(place, "liver.nii.gz"))).data);
});

test("openModel() of the guide's page segments and shows a scan, by 15 lines of script and no build step", async () => {
  const html = example("html", "voxgrad.min.js");
  const script = /<script type="module">\n([\s\S]*?)<\/script>/.exec(html)![1];
  assert.ok(script.trimEnd().split("\n").length <= 15);
  await writeFile(join(place, "index.html"), html);
  const page = await open(place);
  await page.setInputFiles("#model", join(place, "model.safetensors"));
  await page.setInputFiles("#scan", join(place, "scan.nii.gz"));
  await page.waitForFunction(() => (document.getElementById("slice") as HTMLCanvasElement).width > 0);
  if (process.env.VOXGRAD_SCREENSHOT) await page.screenshot({ path: process.env.VOXGRAD_SCREENSHOT });
  const found = await page.evaluate(() => {
    const canvas = document.getElementById("slice") as HTMLCanvasElement;
    const { data } = canvas.getContext("2d")!.getImageData(0, 0, canvas.width, canvas.height);
    // Gray where there is no label.
    const isColored = (at: number): boolean => data[at] !== data[at + 1] || data[at] !== data[at + 2];
    return Array.from({ length: data.length / 4 }, (_, i) => Number(isColored(4 * i)));
  });
  const [width, height, depth] = image.shape;
  const middle = wanted.slice(width * height * (depth >> 1), width * height * ((depth >> 1) + 1));
  // Label 7 would be white, and this plan has fewer.
  assert.ok(
    Math.max(...middle) < 7 && difference(digits(found), digits(middle.map((label) => Number(label > 0)))) <= 0.01,
  );
  await page.close();
});

test("openModel() in the guide's Node service answers a scan with labels, and a broken one with a reason", async () => {
  const code = example("js", "createServer");
  const port = 20_000 + (process.pid % 20_000);
  await writeFile(join(place, "service.mjs"), code.replaceAll("8000", `${port}`));
  const child = spawn(process.execPath, ["service.mjs"], { cwd: place, stdio: "inherit" });
  try {
    const ask = async (body: Uint8Array<ArrayBuffer>): Promise<Response> => {
      for (let attempt = 0;; attempt++) {
        try {
          return await fetch(`http://127.0.0.1:${port}`, { method: "POST", body });
        } catch (error) {
          if (attempt === 60) throw error;
          await new Promise((resolve) => setTimeout(resolve, 1000));
        }
      }
    };
    const answers = await Promise.all([ask(scan), ask(scan)]);
    for (const answer of answers) isRight(readNifti(await answer.arrayBuffer()).data);
    const broken = await ask(scan.slice(0, 100));
    assert.is(broken.status, 422);
    assert.match(await broken.text(), /damaged gzip data/);
  } finally {
    child.kill();
  }
});

test("openModel() of the guide's example for Deno writes labels", async () => {
  await writeFile(join(place, "segment.ts"), example("js", "npm:voxgrad"));
  await runWell(denoProgram(), ["run", "-A", "--unstable-webgpu", "--no-remote", "segment.ts"], place);
  isRight(readNifti(await readFile(join(place, "liver.nii.gz"))).data);
});

const frameworks = {
  React: {
    packages: ["react@19.3.1", "react-dom@19.3.1"],
    files: {
      "Segment.jsx": example("jsx", "useEffect"),
      "app.jsx": `import { createRoot } from "react-dom/client";
import { Segment } from "./Segment.jsx";
createRoot(document.getElementById("app")).render(<Segment address="model.safetensors" />);`,
      "build.mjs": `import { build } from "vite";
const target = "es2022";
await build({ build: { outDir: "out", target }, base: "./", logLevel: "warn", oxc: { jsx: { runtime: "automatic" } } });`,
    },
    entry: "app.jsx",
  },
  Vue: {
    packages: ["vue@3.5.45", "@vitejs/plugin-vue@6.0.11"],
    files: {
      "Segment.vue": example("vue", "onUnmounted"),
      "app.js": `import { createApp } from "vue";
import Segment from "./Segment.vue";
createApp(Segment, { address: "model.safetensors" }).mount("#app");`,
      "build.mjs": `import { build } from "vite";
import vue from "@vitejs/plugin-vue";
await build({ build: { outDir: "out", target: "es2022" }, base: "./", logLevel: "warn", plugins: [vue()] });`,
    },
    entry: "app.js",
  },
};
for (const [name, { packages, files, entry }] of Object.entries(frameworks)) {
  test(`openModel() in the guide's component for ${name} segments the chosen scan in a worker`, async () => {
    const folder = await withFiles(await project(["vite@8.4.0", ...packages], files));
    await writeFile(
      join(folder, "index.html"),
      `<!doctype html><title>${name}</title><div id="app"></div><script type="module" src="${entry}"></script>`,
    );
    await runWell(process.execPath, ["build.mjs"], folder);
    await writeFile(join(folder, "out/model.safetensors"), model);
    const page = await open(join(folder, "out"));
    await page.waitForFunction(() => document.querySelector("output")!.textContent === "choose a scan");
    await page.setInputFiles("input", join(folder, "scan.nii.gz"));
    await page.waitForFunction(() => /voxels found/.test(document.querySelector("output")!.textContent!));
    const text = await page.textContent("output");
    const count = wanted.filter((label) => label > 0).length;
    assert.ok(Math.abs(parseInt(text!) - count) <= 0.01 * wanted.length, `${text}, ${count} in Node`);
    await page.close();
  });
}

test.run();
