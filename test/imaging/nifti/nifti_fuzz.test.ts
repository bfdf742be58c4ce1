import { test } from "uvu";
import * as assert from "uvu/assert";
import { fuzz } from "../../helpers/fuzz/nifti_fuzz.ts";

test("readNifti() reads damaged files or throws NiftiError, soon and in little memory", () => {
  const tally = fuzz(600);
  assert.equal(tally.faults, []);
  assert.is(tally.read + tally.refused, 600);
  assert.ok(tally.read > 60 && tally.refused > 60, `${tally.read} read: the damage is too slight or too great`);
});

test.run();
