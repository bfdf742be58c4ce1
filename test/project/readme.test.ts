/** The TypeScript and shell blocks of README.md, ARCHITECTURE.md, CONTRIBUTING.md and the guides. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import { execFile } from "node:child_process";
import { existsSync, readdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { promisify } from "node:util";
import { readFileSync } from "node:fs";
import { blocksOf, ROOT, runCode } from "../helpers/examples.ts";
import { closeDevice } from "../../engine/mod.ts";

const run = promisify(execFile);

const guides = readdirSync(ROOT, { withFileTypes: true })
  .filter((entry) => entry.isDirectory() && /^(engine|shaders|models|scripts|bench|test)$/.test(entry.name))
  .flatMap(({ name }) => readdirSync(join(ROOT, name), { recursive: true }).map((file) => join(name, `${file}`)))
  .filter((file) => file.endsWith("README.md") && !/node_modules|scripts\/project/.test(file));
const files = ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "SECURITY.md", ...guides];
const blocks = files.flatMap(blocksOf);

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

/** Commands of the shell blocks, without comments, continued lines joined. */
const commands = blocks.filter(({ language }) => language === "sh").flatMap(({ file, code }) =>
  code.replace(/\\\n/g, " ").split("\n").map((line) => line.replace(/\s+#.*$/, "").trim())
    .filter((line) => line !== "" && !line.startsWith("#")).map((command) => ({ file, command }))
);

/** What a command of voxgrad runs, and the options it is given. */
function parsed(command: string): { script: string; options: string[] } | undefined {
  const words = command.split(/\s+/);
  const at = words.indexOf("voxgrad");
  const demo = /^npm run demo/.test(command);
  if (at < 0 && !demo) return undefined;
  const [first, second] = words.slice(at + 1);
  const script = demo ? "train_unet" : ["run", "serve"].includes(first) ? second : first;
  const rest = demo ? words.slice(words.indexOf("--") + 1) : words.slice(at + 2);
  return {
    script: script.replace(/^scripts\/|\.ts$/g, ""),
    options: rest.filter((word) => /^--[a-zA-Z]/.test(word)).map((word) => word.slice(2).split("=")[0]),
  };
}

const camel = (name: string): string => name.replace(/-([a-z])/g, (_, letter) => letter.toUpperCase());
const asked = commands.flatMap(({ file, command }) => {
  const found = parsed(command);
  return found && !["doctor", "--help", "--version"].includes(found.script) ? [{ file, command, ...found }] : [];
});
const shipped = readdirSync(join(ROOT, "scripts")).flatMap((file) => file.endsWith(".ts") ? [file.slice(0, -3)] : []);

for (const script of new Set(asked.map(({ script }) => script))) {
  if (!shipped.includes(script)) continue; // a file that the guide has the reader write
  test(`the guides name options of ${script} that it has`, async () => {
    const { stdout, stderr } = await run(
      process.execPath,
      ["engine/platform/cli/voxgrad.mjs", script, "--help"],
      { cwd: ROOT },
    );
    const known = [...`${stdout}${stderr}`.matchAll(/^ +--(\w+) /gm)].map((match) => match[1]);
    known.push("profile", "tune", "help", "port", "private");
    for (const { file, command, options } of asked.filter((one) => one.script === script)) {
      for (const option of options) {
        const name = camel(option);
        const plain = name.replace(/^no([A-Z])/, (_, letter) => letter.toLowerCase());
        assert.ok(known.includes(name) || known.includes(plain), `${file}: ${command}: no --${option}`);
      }
    }
  });
}

test("commands of npm in the guides exist in package.json", () => {
  const { scripts } = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8"));
  for (const { file, command } of commands) {
    for (const [, name] of command.matchAll(/\bnpm (?:run )?(?!ci\b|install\b|run\b)([a-z:]+)/g)) {
      assert.ok(name in scripts, `${file}: ${command}`);
    }
  }
});

test("links of the guides lead to files", () => {
  for (const file of files) {
    const text = readFileSync(join(ROOT, file), "utf8");
    for (const [, target] of text.matchAll(/\]\((?!https?:|#)([^)#]+)(?:#[^)]*)?\)/g)) {
      assert.ok(existsSync(join(ROOT, dirname(file), target)), `${file}: ${target}`);
    }
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
