/** The TypeScript blocks of README.md, ARCHITECTURE.md, CONTRIBUTING.md and the guides, their links and their length. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { blocksOf, ROOT, runCode } from "../helpers/examples.ts";
import { guides } from "./guides.ts";
import { closeDevice } from "../../engine/mod.ts";

const blocks = guides.flatMap(blocksOf);

// Pages run in the tests of the browser.
const inNode = blocks.filter(({ language, code }) => language === "ts" && !code.includes("document."));
for (const { file, line, code } of inNode) {
  test(`${file}:${line} runs`, async () => {
    const lines = await runCode(code);
    assert.not.match(lines.join("\n"), /NaN|undefined/);
  });
}

// The loss of engine/README.md prints loss, squared norm of the gradient, and curvature along it.
test("focalTversky() of the engine's guide has the gradient that differences give", async () => {
  const code = blocks.find(({ code }) => code.includes("function focalTversky"))?.code;
  const lines = await runCode(`${code}
const h = 0.5;
const at = (s: number) => focalTversky(logits.add(gradient.mul(s)), labels).item();
console.log(((await at(h)) - (await at(-h))) / (2 * h));`);
  const [loss, squared, curvature, slope] = lines.join(" ").split(/\s+/).map(Number);
  assert.ok(loss > 0 && loss < 1 && Number.isFinite(curvature));
  assert.ok(Math.abs(slope / squared - 1) < 0.02, `slope ${slope} against ${squared}`);
});

test("links of the guides lead to files", () => {
  for (const file of guides) {
    const text = readFileSync(join(ROOT, file), "utf8");
    for (const [, target] of text.matchAll(/\]\((?!https?:|#)([^)#]+)(?:#[^)]*)?\)/g)) {
      assert.ok(existsSync(join(ROOT, dirname(file), target)), `${file}: ${target}`);
    }
  }
});

test("guides, changelog and measurements hold no marks of a merge", () => {
  for (const file of [...guides, "CHANGELOG.md", "bench/RESULTS.md"]) {
    const marks = readFileSync(join(ROOT, file), "utf8").split("\n").filter((line) =>
      /^\|? ?(?:<{7}|={7}|>{7})/.test(line)
    );
    assert.equal(marks, [], file);
  }
});

test("README.md has at most 120 lines, ARCHITECTURE.md 150", () => {
  for (const [file, most] of [["README.md", 120], ["ARCHITECTURE.md", 150]] as const) {
    const lines = readFileSync(join(ROOT, file), "utf8").trimEnd().split("\n").length;
    assert.ok(lines <= most, `${file} has ${lines}`);
  }
});

test.after(() => closeDevice());
test.run();
