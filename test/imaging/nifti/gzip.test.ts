import { gzipSync } from "node:zlib";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { gunzip } from "../../../engine/imaging/nifti/gunzip.ts";
import { NiftiError, readNifti } from "../../../engine/imaging/mod.ts";
import { Bits, costlyBlock, fuzz, read, STEPS } from "../../helpers/fuzz/gzip_fuzz.ts";

test("inflate() reads and refuses what zlib does, with bounded work a byte", () => {
  const tally = fuzz(4000);
  assert.equal(tally.faults, []);
  assert.ok(tally.read > 1000 && tally.refused > 1000, `${tally.read} read, ${tally.refused} refused`);
});

test("inflate() takes 20,000 empty blocks with codes of their own in bounded work", () => {
  const bits = new Bits();
  for (let k = 0; k < 20_000; k++) costlyBlock(bits, k === 19_999);
  const stream = Uint8Array.from(bits.bytes);
  const { content, end, work } = read(stream);
  assert.equal([content?.length, end], [0, stream.length]);
  assert.ok(work > stream.length / 8 && work < STEPS * stream.length, `${work / stream.length} steps a byte`);
});

test("inflate() refuses codes that zlib refuses: incomplete ones, and too many words", () => {
  // Lengths of a code of lengths, by ORDER: 16, 17, 18, 0, 8, ...
  const block = (literals: number, distances: number, lengths: readonly number[]): Uint8Array => {
    const bits = new Bits().put(1, 1).put(2, 2).put(literals - 257, 5).put(distances - 1, 5).put(lengths.length - 4, 4);
    for (const length of lengths) bits.put(length, 3);
    return Uint8Array.from([...bits.bytes, ...new Array<number>(64).fill(0)]);
  };
  assert.match(read(block(257, 1, [0, 0, 2, 2])).error!, /too few words/);
  assert.match(read(block(257, 1, [0, 0, 0, 0])).error!, /too few words/);
  assert.match(read(block(257, 1, [1, 1, 1, 1])).error!, /too many words/);
  assert.match(read(block(287, 1, [0, 0, 1, 1])).error!, /too many words/);
  assert.match(read(block(257, 31, [0, 0, 1, 1])).error!, /too many words/);
  assert.match(read(block(257, 1, [0, 0, 1, 1])).error!, /no word for the end/);
});

test("gunzip() passes over zeros behind the data, as gzip does, and over nothing else", () => {
  const content = Uint8Array.from({ length: 5000 }, (_, k) => k & 255);
  const packed = gzipSync(content);
  const zeros = new Uint8Array(512);
  assert.equal(gunzip(new Uint8Array([...packed, ...zeros])), content);
  assert.equal(gunzip(new Uint8Array([...packed, ...zeros, ...packed])), new Uint8Array([...content, ...content]));
  assert.throws(() => gunzip(new Uint8Array([...packed, ...zeros, 1])), /no gzip data/);
  assert.throws(() => gunzip(new Uint8Array([...packed, 1, ...zeros])), /no gzip data/);
});

/** The header of a file of uint8 voxels. */
function header(shape: readonly number[]): Uint8Array {
  const bytes = new Uint8Array(352);
  const view = new DataView(bytes.buffer);
  view.setInt32(0, 348, true);
  [3, ...shape].forEach((n, k) => view.setInt16(40 + 2 * k, n, true));
  view.setInt16(70, 2, true);
  view.setInt16(72, 8, true);
  for (let k = 1; k < 4; k++) view.setFloat32(76 + 4 * k, 1, true);
  view.setFloat32(108, 352, true);
  bytes.set([110, 43, 49, 0], 344);
  return bytes;
}

test("readNifti() refuses more voxels than memory holds by the header, before it unpacks any", () => {
  // Enough bytes to make the claim believable; the stream itself breaks off, which unpacking would say.
  const head = gzipSync(new Uint8Array([...header([2200, 2200, 2200]), ...new Uint8Array(2 ** 16)]));
  const file = new Uint8Array(2 ** 24);
  file.set(head.subarray(0, -8));
  assert.throws(() => readNifti(file, "huge.nii.gz"), (error: Error) => {
    assert.instance(error, NiftiError);
    assert.match(
      error.message,
      /^huge\.nii\.gz: got 9\.92 GiB of voxels \(2200 x 2200 x 2200 of uint8\); wanted less.*crop it/,
    );
    return true;
  });
});

test.run();
