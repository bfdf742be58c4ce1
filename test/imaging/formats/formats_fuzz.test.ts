import { test } from "uvu";
import * as assert from "uvu/assert";
import { fuzz } from "../../helpers/fuzz/formats_fuzz.ts";

test("readVolume() reads damaged DICOM, NRRD, MetaImage, MGH and ZIP files or throws FormatError, soon", async () => {
  const tally = await fuzz(400);
  assert.equal(tally.faults, []);
  assert.is(tally.read + tally.refused, 400);
  assert.ok(tally.read > 40 && tally.refused > 40, `${tally.read} read: the damage is too slight or too great`);
});

test.run();
