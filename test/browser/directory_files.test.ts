import { test } from "uvu";
import * as assert from "uvu/assert";
import { closeBrowser, runInBrowser } from "./harness.ts";

test.after(closeBrowser);

test("directoryFiles() in OPFS reads, writes, appends, lists, removes and locks", async () => {
  const { error, ...result } = await runInBrowser<Record<string, unknown>>(
    new URL("./modules/directory_files.ts", import.meta.url),
    { where: "page" },
  );
  assert.equal(result, {
    faults: [],
    path: "mounted:checks",
    free: [false, false, true],
    locked: "mounted:checks/run: another page or process works in it; stop it there, or name another folder",
    listed: ["a.txt"],
    kept: 2,
  });
  assert.match(error as string, /^Cannot write mounted:checks\/run\/a\.txt\/b: /);
});

test.run();
