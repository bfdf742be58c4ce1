/** The choice among several adapters, by name and by place. */
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { openAdapter } from "../../engine/platform/adapters/node_gpu.ts";
import { pickAdapter } from "../../engine/platform/adapters/pick_adapter.ts";
import { swiftShader } from "../../engine/platform/adapters/swiftshader.ts";
import { PlatformError } from "../../engine/platform/types.ts";

const [ARC, BIG, SMALL] = ["Intel(R) Arc(tm) A770", "NVIDIA GeForce RTX 4090", "NVIDIA GeForce RTX 4090 Laptop GPU"];

/** What it says when it refuses. */
function problem(names: readonly string[], wanted: string): string {
  try {
    pickAdapter(names, wanted);
  } catch (error) {
    assert.instance(error, PlatformError);
    return (error as Error).message;
  }
  return assert.unreachable(`${wanted} of ${names}`) as never;
}

test("pickAdapter() takes a part of a name, a place, or both", () => {
  const names = [ARC, BIG];
  assert.is(pickAdapter(names, "arc"), ARC);
  assert.is(pickAdapter(names, "#0"), ARC);
  assert.is(pickAdapter(names, "#1"), BIG);
  assert.is(pickAdapter(names, "nvidia#0"), BIG);
  assert.is(pickAdapter([BIG, SMALL, ARC], "geforce#1"), SMALL);
  assert.is(pickAdapter([BIG, SMALL], BIG.toLowerCase()), BIG, "its whole name, though another contains it");
  assert.is(pickAdapter(names, "voodoo"), undefined);
  assert.is(pickAdapter([], "#0"), undefined);
});

test("pickAdapter() refuses a part of several names, and a place beyond the last, with all names", () => {
  assert.is(
    problem([ARC, BIG, SMALL], "geforce"),
    `adapter "geforce": several have this in their name: #1 ${BIG}, #2 ${SMALL}; name one, or its place`,
  );
  assert.match(problem([ARC, BIG], "#2"), `places count from #0, and there are 2 adapters: #0 ${ARC}, #1 ${BIG}`);
  assert.match(problem([ARC, BIG], "intel#1"), "there is 1 with this in the name");
});

test("pickAdapter() of twins takes the first, and refuses one that Dawn would mistake for another", () => {
  assert.is(pickAdapter([BIG, BIG], "geforce"), BIG);
  assert.is(pickAdapter([BIG, BIG], "#0"), BIG);
  assert.match(problem([BIG, BIG], "#1"), `by name alone and would take #0 of #0 ${BIG}, #1 ${BIG}; let the driver`);
  assert.match(problem([SMALL, BIG], "#1"), "by name alone and would take #0");
});

const files = await swiftShader();
if (files) {
  test("openAdapter() finds twins by their places", async () => {
    const folder = await mkdtemp(join(tmpdir(), "voxgrad-twins-"));
    const manifest = JSON.parse(await readFile(files.driverFile, "utf8"));
    manifest.ICD.library_path = join(dirname(files.driverFile), manifest.ICD.library_path);
    const twins = ["a.json", "b.json"].map((name) => join(folder, name));
    for (const path of twins) await writeFile(path, JSON.stringify(manifest));
    const before = { VK_DRIVER_FILES: process.env.VK_DRIVER_FILES, VK_ICD_FILENAMES: process.env.VK_ICD_FILENAMES };
    Object.assign(process.env, { VK_DRIVER_FILES: twins.join(":"), VK_ICD_FILENAMES: twins.join(":") });
    try {
      assert.match((await openAdapter({ adapter: "#0" })).driver, /swiftshader/i);
      await openAdapter({ adapter: "#1" }).then(
        () => assert.unreachable(),
        ({ message }: Error) => assert.match(message, /^adapter "#1": Dawn .* #0 SwiftShader.*, #1 SwiftShader/),
      );
    } finally {
      for (const [name, value] of Object.entries(before)) {
        if (value === undefined) delete process.env[name];
        else process.env[name] = value;
      }
      await rm(folder, { recursive: true });
    }
  });
}

test.run();
