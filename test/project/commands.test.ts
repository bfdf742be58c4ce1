/** The commands of the guides and of comments: each script takes the options that it is given there, without being run. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { readOptions } from "../../bench/options.ts";
import { ROOT } from "../helpers/examples.ts";
import { type GuideCommand, guides, inlineCommands, shellCommands, spansOf } from "./guides.ts";

/** Programs, whose comments say how they are called. */
const programs = ["scripts", "bench", "bench/probes", "bench/gpu"].flatMap((folder) =>
  readdirSync(join(ROOT, folder)).filter((name) => name.endsWith(".ts")).map((name) => `${folder}/${name}`)
);
const files = [...guides, "bench/RESULTS.md", "CHANGELOG.md", ...programs];
const commands = files.flatMap((file) => [...shellCommands(file), ...inlineCommands(file)]);
const scripts = readdirSync(join(ROOT, "scripts")).flatMap((file) => file.endsWith(".ts") ? [file.slice(0, -3)] : []);

/** An option that no script has. It comes last, so a script that names it has taken all others, and runs nothing. */
const LAST = "--lastOfAll";

let loaded = 0;
/** What a script says of a command line. */
async function answer(script: string, words: readonly string[]): Promise<string> {
  const path = join(ROOT, "scripts", `${script}.ts`);
  const before = process.argv;
  process.argv = [process.execPath, path, ...words];
  try {
    await import(`${pathToFileURL(path).href}?${loaded++}`);
  } catch (error) {
    return (error as Error).message;
  } finally {
    process.argv = before;
  }
  throw new Error(`${script} ran`);
}

/** The script of a command of voxgrad and the words behind it, if it is one that is shipped. */
function ofScript({ words }: GuideCommand): { script: string; rest: string[] } | undefined {
  const named = (word = ""): string => word.replace(/^scripts\/|\.ts$/g, "");
  const found = (at: number, skip = 0) => {
    // Flags of `serve` are no options of the script.
    const rest = words.slice(at + skip + 1).filter((word) => word !== "--private");
    return scripts.includes(named(words[at + skip])) ? { script: named(words[at + skip]), rest } : undefined;
  };
  if (words.slice(0, 3).join(" ") === "npm run demo") return { script: "train_unet", rest: words.slice(4) };
  const deno = words.findIndex((word) => word.startsWith("scripts/"));
  if (words.includes("deno") && deno > 0) return found(deno);
  const at = words.indexOf("voxgrad");
  if (at < 0 || at > 1) return undefined;
  return found(at + 1, /^(run|serve)$/.test(words[at + 1]) ? 1 : 0);
}

const asked = commands.flatMap((command) => {
  const found = ofScript(command);
  return found ? [{ ...command, ...found }] : [];
});

for (const script of new Set(asked.map((one) => one.script))) {
  test(`${script} takes the options that the guides give it`, async () => {
    for (const { file, words, rest } of asked.filter((one) => one.script === script)) {
      // --help is answered whatever else is there.
      if (rest.includes("--help")) continue;
      const said = (await answer(script, [...rest, LAST])).split("\n")[0];
      assert.is(said, `Unknown key ${LAST}`, `${file}: ${words.join(" ")}: ${said}`);
    }
  });
}

test("the guides name commands that there are", () => {
  const known = ["run", "serve", "site", "new", "doctor", "NAME", "--help", "--version", ...scripts];
  for (const { file, words } of commands) {
    const at = words.indexOf("voxgrad");
    if (at < 0 || at > 1 || words.length === at + 1) continue;
    assert.ok(known.includes(words[at + 1]), `${file}: ${words.join(" ")}`);
  }
});

test("scripts/README.md names every command", () => {
  const named = spansOf("scripts/README.md");
  for (const script of scripts) assert.ok(named.includes(script), script);
});

test("commands of npm in the guides exist in package.json", () => {
  const own = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8")).scripts;
  const builtIn = ["ci", "install", "pack", "publish", "i"];
  for (const { file, words: [npm, first, second], words } of commands) {
    if (npm !== "npm" || builtIn.includes(first)) continue;
    assert.ok((first === "run" ? second : first) in own, `${file}: ${words.join(" ")}`);
  }
});

test("npm test in the guides chooses tests that there are", () => {
  const tests = readdirSync(join(ROOT, "test"), { recursive: true }).map((name) => `test/${name}`);
  for (const { file, words } of commands) {
    if (words.slice(0, 2).join(" ") !== "npm test") continue;
    for (const word of words.slice(3)) {
      if (word === "--op") continue;
      const isOperator = words.includes("--op") && existsSync(join(ROOT, `test/ops/${word}.test.ts`));
      const found = tests.some((name) => name.endsWith(".test.ts") && name.includes(word));
      assert.ok(isOperator || found, `${file}: ${words.join(" ")}`);
    }
  }
});

test("npm run bench in the guides has options and items that there are", () => {
  const given = commands.filter(({ words }) => words.slice(0, 3).join(" ") === "npm run bench");
  assert.ok(given.length >= 5);
  for (const { file, words } of given) {
    try {
      readOptions(words.slice(4));
    } catch (error) {
      throw new Error(`${file}: ${words.join(" ")}: ${(error as Error).message}`);
    }
  }
});

test("programs in bench/ that the guides name exist and have the options", () => {
  for (const { file, words } of commands) {
    const at = words.findIndex((word) => /^bench\/.*\.ts$/.test(word));
    if (at < 0) continue;
    assert.ok(existsSync(join(ROOT, words[at])), `${file}: ${words[at]}`);
    const source = readFileSync(join(ROOT, words[at]), "utf8");
    const own = words.slice(at + 1, words.includes("--") ? words.indexOf("--") : undefined);
    for (const [, name] of own.join(" ").matchAll(/--([a-z]\w*)/g)) {
      assert.match(source, new RegExp(`\\b${name}: `), `${file}: ${words.join(" ")}: no --${name}`);
    }
  }
});

test("options that the guides name by themselves are those of a script", async () => {
  const known = new Set([
    "profile",
    "tune",
    "printConfig",
    "help",
    "version",
    "private",
    "port",
    "op",
    "adapter",
    "peers",
    "items",
  ]);
  for (const word of ["json", "rounds", "minutes", "size", "small", "stages", "steps"]) known.add(word);
  for (const script of scripts) {
    for (const [, name] of (await answer(script, ["--help"])).matchAll(/^ +--(\w+) /gm)) known.add(name);
  }
  for (const file of guides) {
    for (const span of spansOf(file).filter((code) => /^--(?!unstable)[a-z]/.test(code))) {
      for (const [, option] of span.matchAll(/(?:^| )--([a-zA-Z-]+)/g)) {
        const name = option.replace(/-([a-z])/g, (_, letter) => letter.toUpperCase());
        assert.ok(known.has(name), `${file}: no script has --${option}`);
      }
    }
  }
});

test.run();
