/** Packages that voxgrad does not install by itself: without one, an error names the command that adds it. */
import { execFile } from "node:child_process";
import { cp, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { installCommand, optionalVersions } from "../../engine/platform/optional_packages.mjs";

const root = fileURLToPath(new URL("../../", import.meta.url));
const register = pathToFileURL(join(root, "engine/platform/cli/register.mjs")).href;
// The platform by itself, with no node_modules above it.
const folder = await mkdtemp(join(tmpdir(), "voxgrad-bare-"));
await cp(join(root, "engine/platform"), join(folder, "engine/platform"), { recursive: true });
for (const file of ["package.json", "deno.json"]) await cp(join(root, file), join(folder, file));
test.after(() => rm(folder, { recursive: true }));

function node(words: readonly string[]): Promise<string> {
  const env = { ...process.env, VOXGRAD_ADAPTER: "", VOXGRAD_CACHE: join(folder, "cache") };
  return new Promise((resolve) => {
    execFile(process.execPath, words, { cwd: folder, env }, (_, stdout, stderr) => resolve(stdout + stderr));
  });
}

async function messageOf(module: string, call: string): Promise<string> {
  const file = join(folder, "engine/platform/call.ts");
  await writeFile(
    file,
    `import * as module from "./${module}.ts";
    await module.${call}.then(console.log, ({ name, code, message }) => console.log(name + " " + code + ": " + message));`,
  );
  return (await node(["--import", register, file])).trim();
}

test("installCommand() has the versions of package.json", async () => {
  const { devDependencies, peerDependencies, peerDependenciesMeta } = JSON.parse(
    await readFile(join(root, "package.json"), "utf8"),
  );
  const names = Object.keys(optionalVersions) as (keyof typeof optionalVersions)[];
  assert.equal(Object.keys(peerDependencies), names);
  for (const name of names) {
    assert.is(installCommand(name), `npm i ${name}@${devDependencies[name]}`);
    assert.equal(peerDependenciesMeta[name], { optional: true });
  }
});

test("openAdapter() without webgpu names the command that adds it", async () => {
  assert.is(
    await messageOf("node", "platform.openAdapter()"),
    "PlatformError no-package: voxgrad computes on the GPU through the package webgpu, which is not installed: run " +
      installCommand("webgpu"),
  );
});

test("bundle() without esbuild names the command that adds it", async () => {
  assert.is(
    await messageOf("cli/bundle", 'bundle("page.ts")'),
    "PlatformError no-package: voxgrad bundles pages by the package esbuild, which is not installed: run " +
      installCommand("esbuild"),
  );
});

test("openNats() without its packages names the command that adds them", async () => {
  assert.match(
    await messageOf("remote/nats", 'openNats("nats://127.0.0.1:1")'),
    "not installed: run npm i @nats-io/transport-node@",
  );
});

if (process.platform === "linux" && process.arch === "x64") {
  test("swiftShader() without @sparticuz/chromium names the command that adds it", async () => {
    assert.is(
      await messageOf("adapters/swiftshader", "swiftShader()"),
      "PlatformError no-package: SwiftShader, a driver for the CPU, is in the package @sparticuz/chromium, which is not " +
        `installed: run ${installCommand("@sparticuz/chromium")}`,
    );
  });
}

if (!(process.features as { typescript?: unknown }).typescript) {
  test("voxgrad without esbuild names the command that adds it, on a Node that needs it for TypeScript", async () => {
    const output = await node(["engine/platform/cli/voxgrad.mjs", "--version"]);
    assert.match(output, "Node before 22.18 runs TypeScript through the package esbuild, which is not installed: run ");
  });
}

test.run();
