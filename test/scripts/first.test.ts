/** The model that a first visitor of the page finds there is what its recorded command trains. */
import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { test } from "uvu";
import * as assert from "uvu/assert";

const root = fileURLToPath(new URL("../..", import.meta.url));

test("npm run first trains scripts/app/first/segmenter.safetensors again, to the last bit", () => {
  const words = ["run", "--silent", "first", "--", "segmenter"];
  const { status, stdout, stderr } = spawnSync("npm", words, { cwd: root, encoding: "utf8", maxBuffer: 2 ** 26 });
  assert.is(status, 0, stdout + stderr);
  assert.match(stdout, /^segmenter: the same weights as in/m);
});

test.run();
