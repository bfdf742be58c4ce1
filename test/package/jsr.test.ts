/** What `deno publish` makes of the sources, for JSR. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { denoProgram, root } from "../deno/harness.ts";
import { run } from "./harness.ts";

test("deno publish finds no name without an explicit type, and no error in the types that JSR offers", async () => {
  const cache = await mkdtemp(join(tmpdir(), "voxgrad-deno-"));
  try {
    // Without a cache Deno checks the sources; with that of a run before, what JSR makes of them.
    for (let time = 0; time < 2; time++) {
      const words = ["publish", "--dry-run", "--allow-dirty"];
      const { code, output } = await run(denoProgram(), words, root, { DENO_DIR: cache, NO_COLOR: "1" });
      assert.equal(output.match(/^(error|TS\d+).*\n.*/gm) ?? [], []);
      assert.is(code, 0);
    }
  } finally {
    await rm(cache, { recursive: true, force: true });
  }
});

test.run();
