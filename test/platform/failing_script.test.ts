/** `voxgrad run` of a script that fails, or ends, while kernels compile: its exit status, never a signal. */
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { test } from "uvu";
import * as assert from "uvu/assert";

const root = fileURLToPath(new URL("../..", import.meta.url));
const folder = mkdtempSync(join(tmpdir(), "voxgrad-"));
const work = `import * as vg from ${JSON.stringify(pathToFileURL(join(root, "engine/mod.ts")).href)};
const y = vg.instanceNorm(vg.conv3d(vg.ones([1, 4, 16, 16, 16]), vg.ones([8, 4, 3, 3, 3]), { padding: 1 })).relu();
y.data().catch(() => undefined);
await vg.deviceInfo();
await new Promise((resolve) => setTimeout(resolve, 15));
`;
const ends = { 'throw new Error("of the script");': 1, 'console.log("the end");': 0, "await vg.closeDevice();": 0 };

for (const [end, status] of Object.entries(ends)) {
  test(`voxgrad run ends with ${status} after ${end}`, () => {
    const script = join(folder, "script.ts");
    writeFileSync(script, work + end);
    for (let k = 0; k < 2; k++) {
      const run = spawnSync(process.execPath, [join(root, "engine/platform/cli/voxgrad.mjs"), "run", script], {
        encoding: "utf8",
      });
      assert.is(run.signal, null, run.stderr);
      assert.is(run.status, status, run.stderr);
      if (status === 1) assert.match(run.stderr, /of the script/);
    }
  });
}

test.after(() => rmSync(folder, { recursive: true }));
test.run();
