/** The example in the README runs, and its numbers agree with differences. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { execFileSync } from "node:child_process";

test("README.md loss runs as printed, and its gradient is a descent direction of the right size", () => {
  const readme = readFileSync(new URL("../../README.md", import.meta.url), "utf8");
  const [, code] = readme.match(/```ts\n([\s\S]*?)```/) ?? [];
  assert.ok(code, "README.md has a ts block");
  // The slope along the gradient is its squared norm: measured by a central difference.
  const check = `
const h = 0.5;
const at = (s: number) => focalTversky(logits.add(gradient.mul(s)), labels).item();
console.log(((await at(h)) - (await at(-h))) / (2 * h));
await (await import("./engine/mod.ts")).closeDevice();
`;
  const file = new URL("../../.readme_example.ts", import.meta.url);
  writeFileSync(file, code + check);
  try {
    const out = execFileSync(process.execPath, ["--import", "./engine/platform/cli/register.mjs", file.pathname], {
      cwd: new URL("../..", import.meta.url),
      encoding: "utf8",
      stdio: ["ignore", "pipe", "ignore"],
    });
    const [loss, squared, curvature, slope] = out.trim().split(/\s+/).map(Number) as [number, number, number, number];
    assert.ok(loss > 0 && loss < 1 && Number.isFinite(curvature));
    assert.ok(Math.abs(slope / squared - 1) < 0.02, `slope ${slope} against ${squared}`);
  } finally {
    rmSync(file);
  }
});

test("README.md second example runs as printed", () => {
  const readme = readFileSync(new URL("../../README.md", import.meta.url), "utf8");
  const code = [...readme.matchAll(/```ts\n([\s\S]*?)```/g)][1]?.[1];
  assert.ok(code, "README.md has a second ts block");
  const file = new URL("../../.readme_example_2.ts", import.meta.url);
  writeFileSync(file, `${code}await (await import("./engine/mod.ts")).closeDevice();\n`);
  try {
    const out = execFileSync(process.execPath, ["--import", "./engine/platform/cli/register.mjs", file.pathname], {
      cwd: new URL("../..", import.meta.url),
      encoding: "utf8",
      stdio: ["ignore", "pipe", "ignore"],
    });
    const [values, memory] = out.trim().split("\n").slice(-2) as [string, string];
    // hvp and jvp have the shapes of the weights; the numbers are finite.
    assert.match(values, /^[-\d.e]+ [-\d.e]+ \[ 4, 2, 3, 3, 3 \] \[\s*5, 4, 2, 3, 3, 3\s*\]$/);
    assert.match(memory, /^[1-9]\d* [1-9]\d* \S+$/);
  } finally {
    rmSync(file);
  }
});

test.run();
