/** Modules that do something when they are loaded: `sideEffects` of package.json keeps bundlers from dropping them. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { test } from "uvu";
import * as assert from "uvu/assert";

const root = fileURLToPath(new URL("../../", import.meta.url));

const declaration = /^(import [^"]|(export|const|let|(async )?function|(abstract )?class|interface|type|declare)\b)/;

/** Whether a statement that is no declaration begins a line outside of template literals. */
function acts(source: string): boolean {
  let inTemplate = false;
  return source.split("\n").some((line) => {
    const begins = !inTemplate && /^[\w$]/.test(line) && !declaration.test(line);
    if (line.replace(/\\`/g, "").split("`").length % 2 === 0) inTemplate = !inTemplate;
    return begins;
  });
}

/** What only programs of voxgrad do, by their flags: `voxgrad serve` bundles it, others drop it. */
const ofPrograms = ["engine/compile/run_tune.ts", "engine/gpu/run_profile.ts"];

test("sideEffects of package.json names the modules that act when they are loaded", () => {
  const { sideEffects } = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as { sideEffects: string[] };
  const patterns = sideEffects.map((glob) =>
    new RegExp(
      `^${glob.replaceAll(".", "\\.").replace(/\*+$/, ".+").replace("/*/", "/[^/]+/").replace("**/", "(.*/)?")}$`,
    )
  );
  const names = ["engine", "models"].flatMap((folder) =>
    readdirSync(join(root, folder), { recursive: true }).map((name) => `${folder}/${name}`)
  );
  const wrong = names.filter((name) => /(?<!\.d)\.ts$/.test(name)).filter((name) => {
    const named = patterns.some((pattern) => pattern.test(name));
    return acts(readFileSync(join(root, name), "utf8")) && !named;
  });
  assert.equal(wrong.sort(), ofPrograms);
});

test("acts() sees statements and passes over declarations and templates", () => {
  assert.ok(acts('const x = 1;\nregister("x");'));
  assert.ok(acts("for (const x of y) x();"));
  assert.ok(acts('import "./effects.ts";'));
  assert.not(acts('import { a } from "./a.ts";\n\nexport const b = `\nworkgroupBarrier();\n`;\n// c\n'));
});

test.run();
