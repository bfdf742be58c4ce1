/** Reading and writing by the host's streams: what the synchronous reader gives, and what it says. */
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { Prng } from "../../../engine/core/prng.ts";
import {
  makeVolume,
  readNifti,
  readVolume,
  scaling,
  type Volume,
  writeNifti,
  writeVolume,
} from "../../../engine/imaging/mod.ts";
import { gunzip } from "../../../engine/imaging/nifti/gunzip.ts";
import { gunzipStreamed } from "../../../engine/imaging/nifti/gunzip_stream.ts";
import { gzip, gzipStreamed } from "../../../engine/imaging/nifti/gzip.ts";
import { noise } from "../../helpers/noise.ts";

type Bytes = Uint8Array<ArrayBuffer>;
const folder = await mkdtemp(join(tmpdir(), "voxgrad-stream-"));
test.after(() => rm(folder, { recursive: true }));

const shape = [37, 29, 23] as const;
const count = 37 * 29 * 23;
const volume = makeVolume(Int16Array.from(noise(count), (v) => Math.round(300 * v)), {
  shape,
  affine: scaling([1, 2, 3]),
  name: "scan",
});
const plain = writeNifti(volume);
const packed = new Uint8Array(gzipSync(plain)) as Bytes;
const joined = (...parts: Uint8Array[]): Bytes => new Uint8Array(Buffer.concat(parts));
const edited = (bytes: Uint8Array, edit: (copy: Bytes) => void): Bytes => {
  const copy = new Uint8Array(bytes);
  edit(copy);
  return copy;
};
/** A header that wants more, or less, than there is. */
const claiming = (x: number): Bytes => edited(plain, (b) => new DataView(b.buffer).setInt16(42, x, true));

const files: Record<string, Bytes> = {
  "a gzipped file": packed,
  "a plain file": plain,
  "two members": joined(gzipSync(plain.subarray(0, 20_000)), gzipSync(plain.subarray(20_000))),
  "a member for each of the header's bytes": joined(
    ...Array.from(plain.subarray(0, 400), (byte) => gzipSync(Uint8Array.of(byte))),
    gzipSync(plain.subarray(400)),
  ),
  "an empty member before": joined(gzipSync(new Uint8Array(0)), packed),
  "zeros behind": joined(packed, new Uint8Array(512)),
  "other bytes behind": joined(packed, Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8, 9)),
  "half a member behind": joined(packed, packed.subarray(0, 100)),
  "an end that is cut off": packed.subarray(0, packed.length - 9) as Bytes,
  "a size that is cut off": packed.subarray(0, packed.length - 3) as Bytes,
  "its first bytes": packed.subarray(0, 11) as Bytes,
  "another checksum": edited(packed, (b) => (b[b.length - 8] ^= 1)),
  "another size": edited(packed, (b) => (b[b.length - 4] ^= 1)),
  "a flag that is reserved": edited(packed, (b) => (b[3] = 0x80)),
  "another method": edited(packed, (b) => (b[2] = 7)),
  "a bomb": new Uint8Array(gzipSync(joined(plain, new Uint8Array(2 ** 26)))),
  "a bomb with no header": new Uint8Array(gzipSync(new Uint8Array(2 ** 26))),
  "some bytes more than wanted": new Uint8Array(gzipSync(joined(plain, new Uint8Array(500)))),
  "fewer voxels than claimed": new Uint8Array(gzipSync(claiming(38))),
  "more voxels than claimed": new Uint8Array(gzipSync(claiming(12))),
  "more voxels than memory holds": new Uint8Array(gzipSync(joined(
    edited(
      plain.subarray(0, 352),
      (b) => [1, 2, 3].forEach((k) => new DataView(b.buffer).setInt16(40 + 2 * k, 32_000, true)),
    ),
    new Uint8Array(2 ** 25),
  ))),
  "no NIfTI file": new Uint8Array(gzipSync(noise(5000))),
  "a few bytes": new Uint8Array(gzipSync(Uint8Array.of(1, 2, 3))),
  "nothing in it": new Uint8Array(gzipSync(new Uint8Array(0))),
  "nothing": new Uint8Array(0),
};

const outcome = async (read: () => Volume | Promise<Volume>): Promise<unknown> => {
  try {
    const { data, shape } = await read();
    return [shape, [...data]];
  } catch (error) {
    return `${(error as Error).name}: ${(error as Error).message}`;
  }
};

for (const [kind, bytes] of Object.entries(files)) {
  test(`readVolume() reads or refuses ${kind} as readNifti() does`, async () => {
    const wanted = await outcome(() => readNifti(bytes, "data"));
    const got = await outcome(() => readVolume(bytes));
    assert.equal(got, wanted);
  });
}

test("readVolume() reads or refuses damaged files as readNifti() does", async () => {
  const random = new Prng(5);
  let refused = 0;
  for (let round = 0; round < 200; round++) {
    const bytes = edited(packed, (b) => {
      for (let k = random.integer(3); k >= 0; k--) b[random.integer(b.length)] ^= 1 << random.integer(8);
    }).subarray(0, random.integer(4) === 0 ? random.integer(packed.length) : undefined) as Bytes;
    const wanted = await outcome(() => readNifti(bytes, "data"));
    refused += Number(typeof wanted === "string");
    assert.equal(await outcome(() => readVolume(bytes)), wanted, `round ${round}`);
  }
  assert.ok(refused > 100, `${refused} refused`);
});

test("readVolume() takes the data of a pair as a Blob, gzipped or not", async () => {
  const header = edited(plain.subarray(0, 348), (b) => {
    b.set(new TextEncoder().encode("ni1\0"), 344);
    new DataView(b.buffer).setFloat32(108, 0, true);
  });
  const voxels = plain.subarray(352);
  for (const data of [new Blob([voxels]), new Blob([gzipSync(voxels)]), gzipSync(voxels)]) {
    assert.equal((await readVolume(new File([header], "a.hdr"), { data })).data, volume.data);
  }
  const short = await outcome(() => readVolume(header, { data: gzipSync(voxels.subarray(0, 100)) }));
  assert.is(short, await outcome(() => readNifti(header, "data", { data: gzipSync(voxels.subarray(0, 100)) })));
});

test("gunzipStreamed() stops at a bomb without reading on", async () => {
  const bomb = new Uint8Array(gzipSync(new Uint8Array(2 ** 28)));
  const started = performance.now();
  const told = await gunzipStreamed(bomb, { head: 10, wanted: () => 100 }).then(() => "", (e: Error) => e.message);
  assert.is(told, "they go on for more than 65736 bytes, where 100 are wanted");
  assert.ok(performance.now() - started < 500, `it took ${performance.now() - started} ms`);
});

test("gzipStreamed() gives the same bytes each time, which gunzip() reads", async () => {
  for (const content of [plain, new Uint8Array(0), Uint8Array.of(7), new Uint8Array(300_000)]) {
    const once = await gzipStreamed(content);
    assert.equal(await gzipStreamed(content.slice()), once);
    assert.equal(gunzip(once), content);
    assert.equal(await gunzipStreamed(gzip(content)), content);
  }
});

test("writeVolume() writes what writeNifti() encodes, gzipped by the name of the file", async () => {
  const at = (name: string) => join(folder, name);
  await writeVolume(at("a.nii"), volume);
  assert.equal(new Uint8Array(await readFile(at("a.nii"))), plain);
  await writeVolume(at("deep/a.nii.gz"), volume);
  assert.equal(gunzip(new Uint8Array(await readFile(at("deep/a.nii.gz")))), plain);
  await writeVolume(at("a.nii.GZ"), volume, { dtype: "float32" });
  assert.equal(gunzip(new Uint8Array(await readFile(at("a.nii.GZ")))), writeNifti(volume, { dtype: "float32" }));
});

test("readVolume() and writeVolume() let other tasks run meanwhile", async () => {
  const large = makeVolume(Int16Array.from(noise(160 ** 3), (v) => 500 * v), {
    shape: [160, 160, 160],
    affine: scaling([1, 1, 1]),
  });
  let [latest, gap] = [performance.now(), 0];
  const timer = setInterval(() => {
    gap = Math.max(gap, performance.now() - latest);
    latest = performance.now();
  }, 5);
  try {
    const started = performance.now();
    await writeVolume(join(folder, "large.nii.gz"), large);
    assert.equal((await readVolume(join(folder, "large.nii.gz"))).data, large.data);
    // Alone, packing takes most of the time in one piece.
    assert.ok(gap < (performance.now() - started) / 3, `${gap} ms of ${performance.now() - started}`);
  } finally {
    clearInterval(timer);
  }
});

test.run();
