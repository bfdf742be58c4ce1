/** The entry points: imported by name, as a user does, they are the modules of the sources. */
import { readFileSync } from "node:fs";
import { test } from "uvu";
import * as assert from "uvu/assert";

const root = new URL("../../", import.meta.url);
const read = (name: string) => JSON.parse(readFileSync(new URL(name, root), "utf8"));
const [npm, deno, base] = ["package.json", "deno.json", "tsconfig.base.json"].map(read);
const entries = Object.entries<string>(deno.exports);

for (const [entry, path] of entries) {
  const name = entry.replace(".", "voxgrad");
  test(`import "${name}" gives ${path}, in Node, in Deno and for the type checker`, async () => {
    assert.is(await import(name), await import(new URL(path, root).href));
    assert.is(deno.imports[name], path);
    assert.equal(base.compilerOptions.paths[name], [path]);
  });

  test(`package.json publishes "${name}" for every host`, () => {
    const built = path.replace("./", "./dist/").replace(".ts", "");
    assert.equal(Object.keys(npm.exports[entry]), ["types", "browser", "deno", "node", "default"]);
    assert.equal([...new Set(Object.values(npm.exports[entry]))], [`${built}.d.ts`, `${built}.js`]);
  });
}

test("package.json and deno.json name the same entry points and version", () => {
  const names = Object.keys(npm.exports).filter((name) => !["./browser", "./package.json"].includes(name));
  assert.equal(names, entries.map(([entry]) => entry));
  assert.is(deno.version, npm.version);
});

test("package.json has the hosts of dist/ where the sources have theirs", () => {
  const built = (path: string): string => path.replace("./", "./dist/").replace(/(?<!\.d)\.ts$/, ".js");
  const wanted = Object.entries<string>(npm.imports["#platform"]).map(([condition, path]) => [condition, built(path)]);
  assert.equal(npm.imports["#host"], Object.fromEntries(wanted));
});

test.run();
