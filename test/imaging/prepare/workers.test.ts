// Worker threads of which one ends in the middle of its task: that task fails, the others are done all the same.
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { platform } from "#platform";

const root = mkdtempSync(join(tmpdir(), "voxgrad-workers-"));
test.after(() => rmSync(root, { recursive: true, force: true }));

test("openWorkers() goes on after threads that ended, and rejects their tasks alone", async () => {
  const file = join(root, "module.mjs");
  writeFileSync(
    file,
    "export const run = (n) => (n % 3 === 1 ? process.exit(7) : n % 3 === 2 ? Promise.reject(new RangeError(`no ${n}`)) : n * n);\n",
  );
  const workers = platform.openWorkers!(pathToFileURL(file).href, 2);
  const ends = await Promise.allSettled(Array.from({ length: 12 }, (_, n) => workers.run(n)));
  ends.forEach((end, n) => {
    if (n % 3 === 0) assert.equal(end, { status: "fulfilled", value: n * n });
    else {assert.match(
        String((end as PromiseRejectedResult).reason),
        n % 3 === 1 ? /ended with code 7/ : `RangeError: no ${n}`,
      );}
  });
  await workers.close();
});

test.run();
