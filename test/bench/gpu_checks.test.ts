/** The tests that the GPU benchmark runs in processes of their own: what hangs, crashes or fails costs itself alone. */
import { existsSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { type CheckResult, runChecks } from "../../bench/gpu/checks.ts";

const path = (name: string): string => fileURLToPath(new URL(`../../${name}`, import.meta.url));

/** The results of tests written as JavaScript; the time is over when they write the file `over`. */
async function results(
  source: string,
  options: { shards?: number; words?: string[] } = {},
): Promise<CheckResult[]> {
  const folder = await mkdtemp(join(tmpdir(), "voxgrad-checks-"));
  try {
    const file = join(folder, "fake.mjs");
    const uvu = JSON.stringify(new URL("../../bench/gpu/uvu_lines.ts", import.meta.url).href);
    await writeFile(
      file,
      `import { test } from ${uvu};\nconst folder = ${JSON.stringify(folder)};\n${source}\ntest.run();\n`,
    );
    const found: CheckResult[] = [];
    await runChecks("shaders/math", {
      words: options.words ?? [""],
      shards: options.shards ?? 1,
      silence: 6000,
      left: () => (existsSync(join(folder, "over")) ? 0 : 60_000),
      found: (result) => found.push(result),
      command: () => [process.execPath, "--import", path("engine/platform/cli/register.mjs"), file],
    });
    return found;
  } finally {
    await rm(folder, { recursive: true });
  }
}

const pass = (name: string): string => `test("${name}", () => {});`;
const outcomes = (list: readonly CheckResult[]): string[] =>
  list.map(({ name, error, unrun }) => (unrun ? `${name}: not run` : error === undefined ? name : `${name}: ${error}`));

test("runChecks() goes on behind a test that fails, hangs, crashes or loses the device", async () => {
  const list = await results(`
    ${pass("first")}
    test("fails", async () => { throw new Error("off by 3\\nand more"); });
    test("hangs", () => new Promise((resolve) => setTimeout(resolve, 1e6)));
    ${pass("behind the hang")}
    test("crashes", () => { console.error("bad kernel"); process.kill(process.pid, "SIGSEGV"); return new Promise(() => {}); });
    test("loses it", () => { throw new Error("the GPU device was lost with nothing under way"); });
    test("ends", () => process.exit(3));
    ${pass("last")}
  `);
  const texts = outcomes(list);
  assert.is(texts.length, 8, texts.join("\n"));
  assert.equal(texts.slice(0, 2), ["first", "fails: off by 3 and more"]);
  assert.match(texts[2], /^hangs: no answer in \d s$/);
  assert.is(texts[3], "behind the hang");
  assert.match(texts[4], /^crashes: its process ended \(SIGSEGV\) bad kernel$/);
  assert.is(texts[5], "loses it: the GPU device was lost with nothing under way");
  assert.match(texts[6], /^ends: its process ended \(3\)/);
  assert.is(texts[7], "last");
});

test("runChecks() divides tests among processes, and takes those with one of the words", async () => {
  const names = ["conv one", "conv two", "matmul", "Conv three", "softmax"];
  const list = await results(names.map(pass).join("\n"), { shards: 2, words: ["conv", "soft"] });
  assert.equal(outcomes(list).sort(), ["Conv three", "conv one", "conv two", "softmax"]);
});

test("runChecks() tells where the time was over, and what did not start", async () => {
  const slow = `import { writeFileSync } from "node:fs";
    test("slow", () => {
      writeFileSync(folder + "/over", "");
      return new Promise((resolve) => setTimeout(resolve, 1e6));
    });
    ${pass("never")}`;
  const late = outcomes(await results(slow));
  assert.equal(late, ["the tests from number 0 on: not run"]);
  const broken = outcomes(await results("throw new Error('no such driver');"));
  assert.is(broken.length, 1);
  assert.match(broken[0], /^the tests from number 0 on: its process ended \(1\)/);
  const unopened = await results(`test.before(() => { throw new Error("no adapter"); });\n${pass("x")}`);
  assert.equal(outcomes(unopened), ["opening the device: no adapter"]);
});

test.run();
