/** The installed package in Node and Deno: a gradient, and a scan segmented by a model. */
import { readFileSync } from "node:fs";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { closeDevice } from "../../engine/mod.ts";
import { denoProgram } from "../deno/harness.ts";
import { difference, fixture } from "./fixture.ts";
import { nodeProgram, optional, project, run, runWell } from "./harness.ts";

const { module, labels } = await fixture();
await closeDevice();

/** A file of the project as Deno alone writes imports. */
const withNpm = (name: string): string =>
  readFileSync(new URL(`project/${name}`, import.meta.url), "utf8").replaceAll('"voxgrad', '"npm:voxgrad')
    .replace("./program.js", "./program_npm.js");
const place = await project(optional, {
  "fixture.js": module,
  "deno_npm.mjs": withNpm("node.mjs"),
  "program_npm.js": withNpm("program.js"),
});

function check(output: string, tolerance: number): void {
  const result = JSON.parse(output.trim().split("\n").at(-1)!);
  assert.equal(result.slope, [2, 4, 6]);
  const share = difference(result.labels, labels);
  assert.ok(share <= tolerance, `${share} of the labels differ`);
}

for (const version of ["20.20.2", "22.23.3", "24.21.0"]) {
  test(`import "voxgrad" in Node ${version}`, async () => {
    check(await runWell(await nodeProgram(version), ["node.mjs"], place), 0);
  });

  if (version.startsWith("20")) continue;
  test(`require("voxgrad") in Node ${version}`, async () => {
    const output = await runWell(await nodeProgram(version), ["node.cjs"], place);
    assert.match(output, '[[2,4,6],"function"]');
  });
}

for (const file of ["node.mjs", "deno_npm.mjs"]) {
  test(`import "${file === "node.mjs" ? "" : "npm:"}voxgrad" in Deno`, async () => {
    // Deno compiles the kernels by another compiler, whose sums may round differently.
    check(await runWell(denoProgram(), ["run", "-A", "--unstable-webgpu", "--no-remote", file], place), 0.01);
  });
}

test("a stack names the lines of the sources", async () => {
  const code = 'import { matmul, tensor } from "voxgrad"; matmul(tensor([[1, 2]]), tensor([[1, 2]]));';
  const { code: status, output } = await run(
    process.execPath,
    ["--enable-source-maps", "--input-type=module", "--eval", code],
    place,
  );
  assert.is(status, 1);
  const [, file, line] = /engine\/(core\/\w+\.ts):(\d+)/.exec(output)!;
  const source = readFileSync(new URL(`../../engine/${file}`, import.meta.url), "utf8");
  assert.match(source.split("\n")[Number(line) - 1], "throw new VoxgradError");
});

test("an error that nobody catches prints the statement that threw it, without source maps too", async () => {
  const code = 'import { tensor } from "voxgrad"; tensor([[1], [2, 3]]);';
  const { code: status, output } = await run(process.execPath, ["--input-type=module", "--eval", code], place);
  assert.is(status, 1);
  assert.match(output, /^throw new/m);
  assert.ok(output.split("\n").every((line) => line.length < 300), output);
});

test.run();
