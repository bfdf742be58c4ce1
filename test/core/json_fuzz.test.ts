import { test } from "uvu";
import * as assert from "uvu/assert";
import { fuzz, KINDS } from "../helpers/fuzz/json_fuzz.ts";

test("parseJson() and its callers read or refuse damaged files in short messages, without a trace", async () => {
  const tally = await fuzz(300 * KINDS.length, { large: true });
  assert.equal(tally.faults, []);
  for (const kind of KINDS) {
    const [read, refused] = [tally.read[kind], tally.refused[kind]];
    assert.ok(read > 20 && refused > 60, `${kind}: ${read} read, ${refused} refused`);
  }
});

test.run();
