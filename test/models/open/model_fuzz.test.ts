import { test } from "uvu";
import * as assert from "uvu/assert";
import { fuzz, KINDS } from "../../helpers/fuzz/model_fuzz.ts";

test("openOnnx(), openLayersModel() and loadTorch() read or refuse damaged files", async () => {
  const tally = await fuzz(100);
  assert.equal(tally.faults, []);
  for (const kind of KINDS) {
    const [read, refused] = [tally.read[kind], tally.refused[kind]];
    assert.ok(read > 5 && refused > 40, `${kind}: ${read} read, ${refused} refused`);
  }
});

test.run();
