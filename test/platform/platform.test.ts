import { mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { platform } from "#platform";
import { cacheDir } from "../../engine/platform/cache_dir.mjs";
import { PlatformError } from "../../engine/platform/types.ts";
import { failure } from "../helpers/refuse.ts";

const folder = await mkdtemp(join(tmpdir(), "voxgrad-test-"));
test.after(() => rm(folder, { recursive: true, force: true }));

test("writeFile() makes folders, replaces, and leaves no temporary file", async () => {
  const path = join(folder, "a/b/file.bin");
  await platform.writeFile(path, new Uint8Array([1, 2, 3]));
  await platform.writeFile(path, "four");
  assert.equal(new TextDecoder().decode(await platform.readFile(path)), "four");
  assert.equal(await readdir(join(folder, "a/b")), ["file.bin"]);
});

test("writeFile() into a file as if it were a folder is a typed error and leaves that file alone", async () => {
  const path = join(folder, "plain");
  await writeFile(path, "x");
  const error = await failure(() => platform.writeFile(join(path, "below"), "y"), PlatformError);
  assert.match(error.message, "plain");
  assert.equal(new TextDecoder().decode(await platform.readFile(path)), "x");
});

test("readFile() gives bytes that own their buffer's view", async () => {
  const path = join(folder, "small");
  await platform.writeFile(path, new Uint8Array(10).fill(7));
  const bytes = await platform.readFile(path);
  assert.is(bytes.constructor, Uint8Array);
  assert.equal([...bytes], new Array(10).fill(7));
});

test("platform.writeCache() and readCache() keep strings by name", async () => {
  const name = `test-${Math.random()}.json`;
  assert.is(await platform.readCache(name), undefined);
  await platform.writeCache(name, '{"of": "text"}');
  await platform.writeCache(name, '{"of": "text again"}');
  assert.is(await platform.readCache(name), '{"of": "text again"}');
  await rm(join(cacheDir(), name));
});

test("platform.readFile() throws PlatformError with the path of a missing file or folder", async () => {
  const file = await failure(() => platform.readFile(join(folder, "nothing.nii")), PlatformError);
  assert.is(file.code, "no-such-file");
  assert.match(file.message, "nothing.nii");
  const list = await failure(() => platform.listFiles(join(folder, "nowhere")), PlatformError);
  assert.is(list.code, "no-such-file");
  await platform.writeFile(join(folder, "file"), "");
  assert.is((await failure(() => platform.listFiles(join(folder, "file")), PlatformError)).code, "not-a-folder");
});

test("listFiles() sorts names", async () => {
  for (const name of ["c", "a", "b"]) await platform.writeFile(join(folder, "list", name), "");
  assert.equal(await platform.listFiles(join(folder, "list")), ["a", "b", "c"]);
});

test("exists() tells", async () => {
  assert.ok(await platform.exists(folder));
  assert.not(await platform.exists(join(folder, "no")));
});

test("memory() is a plausible number of bytes", () => {
  const bytes = platform.memory()!;
  assert.ok(bytes > 1e7 && bytes < 1e11);
});

test.run();
