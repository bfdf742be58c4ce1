/** The experiments of bench/experiments run, and learn within a few steps. */
import { readdirSync } from "node:fs";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { closeDevice } from "../../engine/mod.ts";
import { experiments } from "../../bench/experiments/experiments.ts";

const STEPS = 4;

for (const [name, load] of Object.entries(experiments)) {
  test(`run() of bench/experiments/${name}.ts gives losses that fall`, async () => {
    const { run } = await load();
    const losses = await run(STEPS);
    assert.is(losses.length, STEPS);
    assert.ok(losses.every(Number.isFinite), `${losses}`);
    assert.ok(losses[STEPS - 1] < losses[0], `${losses}`);
  });
}

test("experiments names all files of bench/experiments", () => {
  const files = readdirSync(new URL("../../bench/experiments", import.meta.url)).map((name) => name.replace(".ts", ""));
  assert.equal(
    files.filter((name) => name !== "main" && name !== "experiments").sort(),
    Object.keys(experiments).sort(),
  );
});

test.after(closeDevice);
test.run();
