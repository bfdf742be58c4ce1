/** What `deno publish` makes of the sources, for JSR. */
import { fileURLToPath } from "node:url";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { denoProgram } from "../deno/harness.ts";
import { run } from "./harness.ts";

test("deno publish finds no name without an explicit type", async () => {
  const root = fileURLToPath(new URL("../../", import.meta.url));
  const { code, output } = await run(denoProgram(), ["publish", "--dry-run", "--allow-dirty"], root, { NO_COLOR: "1" });
  assert.equal(output.match(/^error\[.*\n.*/gm) ?? [], []);
  assert.is(code, 0);
});

test.run();
