import { test } from "uvu";
import * as assert from "uvu/assert";
import { closeBrowser, runInBrowser } from "./harness.ts";

test.after(closeBrowser);

for (const where of ["worker", "page"] as const) {
  test(`voxgrad as a library of a ${where} sends no message and no event, and adds no global`, async () => {
    const result = await runInBrowser<Record<string, unknown>>(new URL("./modules/guest.ts", import.meta.url), {
      where,
    });
    assert.equal(result, {
      calls: [],
      same: true,
      silent: true,
      lines: ["to the console"],
      given: ["to the host"],
      steps: 3,
      kind: "software",
      finite: true,
    });
  });
}

test.run();
