/** `npx voxgrad` of the installed package, and the project that it makes. */
import { spawn } from "node:child_process";
import { readFile, rm } from "node:fs/promises";
import { join, resolve } from "node:path";
import type { Page } from "playwright-core";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { closeBrowser, sharedBrowser } from "../browser/harness.ts";
import { command, nodeProgram, optional, project, runWell, tarball } from "./harness.ts";

const script = `import { compile, tensor, type Tensor } from "voxgrad";
import { config, print } from "voxgrad/train";

const { steps } = config({ steps: 2 });
const double = compile((x: Tensor): Tensor => x.mul(2));
let x: Tensor = tensor([1, 2]);
for (let k = 0; k < steps; k++) x = await double(x);
print("values " + (await x.array()));
`;
const place = await project(optional, { "my_script.ts": script });
const voxgrad = (words: readonly string[]): Promise<string> => runWell(command(place, "voxgrad"), words, place);
test.after(closeBrowser);

/** Runs a server until `look` is done; it prints its address. */
async function whileServing(
  program: string,
  words: readonly string[],
  cwd: string,
  look: (page: Page) => Promise<void>,
) {
  // esbuild serves as long as its standard input is open.
  const server = spawn(program, words, { cwd, stdio: "pipe" });
  let output = "";
  try {
    const url = await new Promise<string>((resolve, reject) => {
      for (const stream of [server.stdout, server.stderr]) {
        stream.on("data", (data) => {
          output += data;
          const found = /http:\/\/127\.0\.0\.1:\d+\//.exec(output);
          if (found) resolve(found[0]);
        });
      }
      server.on("close", () => reject(new Error(`${words.join(" ")} ended\n${output}`)));
    });
    const page = await (await sharedBrowser()).newPage();
    await page.goto(url);
    await look(page);
    await page.close();
  } finally {
    server.kill();
  }
}

test("voxgrad doctor finds an adapter that computes", async () => {
  assert.match(await voxgrad(["doctor"]), "All is well");
});

for (const version of ["20.20.2", "24.21.0"]) {
  test(`voxgrad run runs TypeScript that imports voxgrad, in Node ${version}`, async () => {
    const words = ["node_modules/voxgrad/engine/platform/cli/voxgrad.mjs", "run", "my_script.ts", "--steps", "3"];
    assert.match(await runWell(await nodeProgram(version), words, place), "values 8,16\n");
  });
}

test("voxgrad knows the scripts that it brings", async () => {
  assert.match(await voxgrad(["--help"]), "train_unet");
  assert.match(await voxgrad(["train_unet", "--help"]), "--steps");
  assert.match(await voxgrad(["summary", "--network", "plainConvUNet", "--patch", "64,64,64"]), "parameters");
});

test("voxgrad serve runs a script in a page", async () => {
  await whileServing(command(place, "voxgrad"), ["serve", "my_script.ts", "--port", "0"], place, async (page) => {
    await page.locator("#state").filter({ hasText: /done|failed/ }).waitFor({ timeout: 60_000 });
    assert.match((await page.locator("#log").textContent())!, "values 4,8\n");
  });
});

test("voxgrad new makes a project that trains, segments, and has a page", async () => {
  await voxgrad(["new", "my_project"]);
  const mine = join(place, "my_project");
  // The tarball that the package was installed from: a version of it may not be published.
  const { dependencies } = JSON.parse(await readFile(join(mine, "package.json"), "utf8"));
  assert.is(resolve(mine, dependencies.voxgrad.replace(/^file:/, "")), tarball);
  await runWell("npm", ["install", "--prefer-offline", "--no-audit", "--no-fund", "--loglevel=error"], mine);
  assert.match(await runWell("npm", ["start", "--", "--steps", "2"], mine), "model.safetensors");
  // The page loads the model alone, without the rule that validation chose.
  await rm(join(mine, "runs/first/postprocessing.json"));
  const said = await runWell("npm", ["run", "segment"], mine);
  const counts = [...said.matchAll(/^(\w+): (\d+) voxels$/gm)].map(([line]) => line);
  assert.is(counts.length, 4);
  await whileServing(command(mine, "esbuild"), ["--servedir=.", "--serve=127.0.0.1:0"], mine, async (page) => {
    await page.locator("#status").filter({ hasText: "Choose a scan" }).waitFor();
    await page.locator("input").setInputFiles(join(mine, "runs/first/phantom/imagesTr/phantom_001.nii.gz"));
    await page.locator("#save").waitFor({ timeout: 120_000 });
    assert.is(await page.locator("#status").textContent(), counts.join("\n"));
  });
});

test.run();
