/** The entry points of package.json: imported by name, as a user does, they are the modules of the sources. */
import { readFileSync } from "node:fs";
import { test } from "uvu";
import * as assert from "uvu/assert";

const root = new URL("../../", import.meta.url);
const read = (name: string) => JSON.parse(readFileSync(new URL(name, root), "utf8"));
const entries = Object.entries<string>(read("package.json").exports);

for (const [entry, path] of entries) {
  const name = entry.replace(".", "voxgrad");
  test(`import "${name}" gives ${path}, in Node and by deno.json`, async () => {
    assert.is(await import(name), await import(new URL(path, root).href));
    assert.is(read("deno.json").imports[name], path);
  });
}

test("package.json names five entry points", () => {
  assert.equal(entries.map(([entry]) => entry), [".", "./nn", "./imaging", "./train", "./models"]);
});

test.run();
