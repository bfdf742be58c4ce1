import { test } from "uvu";
import * as assert from "uvu/assert";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as zlib from "node:zlib";
import { gzipSync } from "fflate";
import { applyAffine, axisCodes, invertAffine, scaling } from "../../../engine/imaging/volume/affine.ts";
import { quaternionFromAffine } from "../../../engine/imaging/volume/rotation.ts";
import { crc32 } from "../../../engine/core/digest.ts";
import { gunzip } from "../../../engine/imaging/nifti/gunzip.ts";
import { NiftiError, readNifti, writeNifti } from "../../../engine/imaging/mod.ts";
import { Prng } from "../../../engine/core/prng.ts";
import { imageStem } from "../../../engine/imaging/formats/image_files.ts";
import { readVolume } from "../../../engine/imaging/formats/read_volume.ts";
import { makeVolume, tensorShape, volumeLike } from "../../../engine/imaging/volume/volume.ts";
import type { VoxelData } from "../../../engine/imaging/volume/volume.ts";
import { thrown } from "../../helpers/refuse.ts";

interface Raw {
  dims?: number[];
  code?: number;
  width?: number;
  little?: boolean;
  slope?: number;
  intercept?: number;
  pixdim?: number[];
  q?: { code: number; quaternion: number[]; offset: number[] };
  s?: { code: number; rows: number[] };
  magic?: string;
  units?: number;
  put: (view: DataView, at: number, index: number, little: boolean) => void;
}

/** A NIfTI-1 file written field by field from nifti1.h, apart from the writer under test. */
function nifti1(raw: Raw): Uint8Array {
  const { dims = [3, 2, 2], code = 4, width = 2, little = true } = raw;
  const count = dims.reduce((a, b) => a * b, 1);
  const bytes = new Uint8Array(352 + count * width);
  const view = new DataView(bytes.buffer);
  view.setInt32(0, 348, little);
  [dims.length, ...dims].forEach((n, i) => view.setInt16(40 + 2 * i, n, little));
  view.setInt16(70, code, little);
  view.setInt16(72, width * 8, little);
  (raw.pixdim ?? [1, 1, 1, 1]).forEach((v, i) => view.setFloat32(76 + 4 * i, v, little));
  view.setFloat32(108, 352, little);
  view.setFloat32(112, raw.slope ?? 0, little);
  view.setFloat32(116, raw.intercept ?? 0, little);
  view.setUint8(123, raw.units ?? 2);
  if (raw.q) {
    view.setInt16(252, raw.q.code, little);
    [...raw.q.quaternion, ...raw.q.offset].forEach((v, i) => view.setFloat32(256 + 4 * i, v, little));
  }
  if (raw.s) {
    view.setInt16(254, raw.s.code, little);
    raw.s.rows.forEach((v, i) => view.setFloat32(280 + 4 * i, v, little));
  }
  const magic = raw.magic ?? "n+1\0";
  for (let i = 0; i < 4; i++) bytes[344 + i] = magic.charCodeAt(i);
  for (let i = 0; i < count; i++) raw.put(view, 352 + i * width, i, little);
  return bytes;
}

const ramp = (view: DataView, at: number, i: number, little: boolean) => view.setInt16(at, i * 3 - 7, little);
const refuses = (bytes: Uint8Array, pattern: RegExp): void => {
  const error = thrown(() => readNifti(bytes, "case.nii"), NiftiError);
  assert.is(error.file, "case.nii");
  assert.match(error.message, pattern);
};
const close = (got: readonly number[], want: readonly number[], tolerance = 1e-6) =>
  got.forEach((v, i) => assert.ok(Math.abs(v - want[i]) <= tolerance, `${got} is not ${want}`));

test("readNifti() keeps NIfTI's order, x fastest, which is [C, D, H, W]", () => {
  const volume = readNifti(nifti1({ dims: [3, 2, 2, 2], put: ramp }), "a.nii");
  assert.equal(volume.shape, [3, 2, 2]);
  assert.is(volume.channels, 2);
  assert.equal(tensorShape(volume), [2, 2, 2, 3]);
  assert.ok(volume.data instanceof Int16Array);
  assert.equal(
    [...volume.data],
    Array.from({ length: 24 }, (_, i) => i * 3 - 7),
  );
});

const TYPES: [string, number, number, (v: DataView, at: number, i: number, l: boolean) => void][] = [
  ["Uint8Array", 2, 1, (v, at, i) => v.setUint8(at, 250 + (i % 6))],
  ["Int8Array", 256, 1, (v, at, i) => v.setInt8(at, -128 + i)],
  ["Int16Array", 4, 2, (v, at, i, l) => v.setInt16(at, -32768 + i, l)],
  ["Uint16Array", 512, 2, (v, at, i, l) => v.setUint16(at, 65535 - i, l)],
  ["Int32Array", 8, 4, (v, at, i, l) => v.setInt32(at, -(2 ** 31) + i, l)],
  ["Uint32Array", 768, 4, (v, at, i, l) => v.setUint32(at, 2 ** 32 - 1 - i, l)],
  ["Float32Array", 16, 4, (v, at, i, l) => v.setFloat32(at, i / 4 - 1, l)],
  ["Float64Array", 64, 8, (v, at, i, l) => v.setFloat64(at, i / 3, l)],
  ["Float64Array", 1024, 8, (v, at, i, l) => v.setBigInt64(at, -(2n ** 53n) + 1n + BigInt(i), l)],
  ["Float64Array", 1280, 8, (v, at, i, l) => v.setBigUint64(at, 2n ** 53n - 1n - BigInt(i), l)],
];
const READ: Record<number, (v: DataView, at: number, l: boolean) => number> = {
  2: (v, at) => v.getUint8(at),
  256: (v, at) => v.getInt8(at),
  4: (v, at, l) => v.getInt16(at, l),
  512: (v, at, l) => v.getUint16(at, l),
  8: (v, at, l) => v.getInt32(at, l),
  768: (v, at, l) => v.getUint32(at, l),
  16: (v, at, l) => v.getFloat32(at, l),
  64: (v, at, l) => v.getFloat64(at, l),
  1024: (v, at, l) => Number(v.getBigInt64(at, l)),
  1280: (v, at, l) => Number(v.getBigUint64(at, l)),
};
for (const [array, code, width, put] of TYPES) {
  for (const little of [true, false]) {
    test(`readNifti() datatype ${code}, ${little ? "little" : "big"}-endian`, () => {
      const bytes = nifti1({ code, width, little, put });
      const volume = readNifti(bytes);
      assert.is(volume.data.constructor.name, array);
      const view = new DataView(bytes.buffer);
      assert.equal(
        [...volume.data],
        Array.from({ length: 12 }, (_, i) => READ[code](view, 352 + i * width, little)),
      );
    });
  }
}

test("readNifti() scales only where the slope says so", () => {
  const put = ramp;
  for (const slope of [0, NaN]) assert.is(readNifti(nifti1({ put, slope, intercept: 7 })).data[0], -7);
  assert.ok(readNifti(nifti1({ put, slope: 1 })).data instanceof Int16Array);
  const scaled = readNifti(nifti1({ put, slope: 0.5, intercept: -1024 }));
  assert.ok(scaled.data instanceof Float32Array);
  assert.is(scaled.data[0], -1027.5);
  const wide = nifti1({ code: 8, width: 4, slope: -2, put: (v, at, i, l) => v.setInt32(at, 2 ** 30 + i, l) });
  assert.is(readNifti(wide).data[1], -(2 ** 31) - 2, "int32 through float32 would lose this");
});

test("readNifti() prefers the sform, then the qform, then the centered fallback", () => {
  const put = ramp;
  const rows = [0, -2, 0, 5, 3, 0, 0, 6, 0, 0, 4, 7];
  const half = Math.sqrt(0.5); // 90 degrees about z: x to y, y to -x
  const q = { code: 1, quaternion: [0, 0, half], offset: [10, 20, 30] };
  const pixdim = [-1, 1, 2, 3];
  const both = readNifti(nifti1({ put, pixdim, q, s: { code: 2, rows } }));
  assert.equal(both.affine, [...rows, 0, 0, 0, 1]);
  assert.equal(both.spacing, [3, 2, 4]);
  assert.is(axisCodes(both.affine), "ALS");
  const quaternion = readNifti(nifti1({ put, pixdim, q }));
  close(quaternion.affine, [0, -2, 0, 10, 1, 0, 0, 20, 0, 0, -3, 30, 0, 0, 0, 1]);
  const neither = readNifti(nifti1({ put, pixdim: [0, 1, 2, 3] }));
  assert.equal(neither.affine, [-1, 0, 0, 1, 0, 2, 0, -1, 0, 0, 3, -1.5, 0, 0, 0, 1]);
});

test("readNifti() gives millimeters and writeNifti() the file's own unit", () => {
  const rows = [500, 0, 0, 0, 0, 250, 0, 0, 0, 0, 2000, 1000];
  const volume = readNifti(nifti1({ put: ramp, units: 3, s: { code: 1, rows } }));
  close(volume.spacing, [0.5, 0.25, 2]);
  close([volume.affine[11]], [1]);
  const again = writeNifti(volume);
  assert.is(new DataView(again.buffer).getFloat32(280, true), 500);
  assert.is(again[123], 3);
  close(readNifti(again).spacing, [0.5, 0.25, 2]);
});

test("writeNifti() then readNifti() gives the volume back, both versions, gzipped or not", () => {
  const rows = [-0.8, 0.1, 0, 11, 0.05, 1.1, 0.2, -22, 0, -0.3, 2.5, 33].map(Math.fround);
  const first = readNifti(nifti1({ dims: [3, 2, 2, 1, 2], put: ramp, slope: 1, s: { code: 4, rows } }));
  const second = { ...first, source: { ...first.source!, version: 2 as const } };
  for (const volume of [first, second]) {
    for (const gzip of [false, true]) {
      const bytes = writeNifti(volume, { gzip });
      assert.equal(bytes, writeNifti(volume, { gzip }), "the same bytes each time");
      if (!gzip) assert.is(new DataView(bytes.buffer).getInt16(volume === first ? 72 : 14, true), 16, "bits per voxel");
      const again = readNifti(bytes, volume.name);
      assert.equal(again, volume);
    }
  }
});

test("writeNifti() states a new affine in both forms, or in the sform when it is sheared", () => {
  const put = new Float32Array(24);
  const shape = [2, 3, 4] as const;
  const turns = [
    [0.6, -1.6, 0, 1, 0.8, 1.2, 0, 2, 0, 0, 3, 3],
    [0, 0, -3, 1, -1, 0, 0, 2, 0, -2, 0, 3],
    [-1, 0, 0, 1, 0, -2, 0, 2, 0, 0, 3, 3],
    [-1, 0, 0, 1, 0, 2, 0, 2, 0, 0, -3, 3],
    [1, 0, 0, 1, 0, -2, 0, 2, 0, 0, -3, 3],
  ];
  for (const rows of turns) {
    const affine = [...rows, 0, 0, 0, 1];
    const written = writeNifti(makeVolume(put, { shape, affine }));
    close(readNifti(written).affine, affine);
    new DataView(written.buffer).setInt16(254, 0, true); // no sform: the quaternion must say the same
    close(readNifti(written).affine, affine, 1e-5);
  }
  const sheared = [1, 0.5, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1];
  assert.is(quaternionFromAffine(sheared), undefined);
  const back = readNifti(writeNifti(makeVolume(put, { shape, affine: sheared })));
  close(back.affine, sheared);
  assert.is(back.source!.qformCode, 0);
});

test("writeNifti() refuses values that the dtype cannot hold", () => {
  const make = (data: VoxelData) => makeVolume(data, { shape: [2, 1, 1], affine: scaling([1, 1, 1]), name: "m" });
  for (
    const bad of [
      [0.5, 1],
      [256, 0],
      [-1, 0],
      [NaN, 0],
    ]
  ) {
    assert.throws(() => writeNifti(make(Float64Array.from(bad)), { dtype: "uint8" }), /m: got the value .* uint8/);
  }
  assert.equal([...readNifti(writeNifti(make(Float32Array.of(3, 255)), { dtype: "uint8" })).data], [3, 255]);
});

test("volumeLike() keeps the grid and the header of another volume", () => {
  const image = readNifti(
    nifti1({ dims: [3, 2, 2, 2], put: ramp, s: { code: 1, rows: [1, 0, 0, 9, 0, 1, 0, 8, 0, 0, 1, 7] } }),
  );
  const label = volumeLike(image, new Uint8Array(12).fill(2));
  const again = readNifti(writeNifti(label, { gzip: true }));
  assert.equal([again.shape, again.channels, again.affine], [image.shape, 1, image.affine]);
  assert.throws(() => volumeLike(image, new Uint8Array(11)), /got 11 values, wanted 12/);
});

test("readNifti() names what is wrong with a file", () => {
  const good = nifti1({ put: ramp });
  refuses(new Uint8Array(0), /empty file/);
  refuses(good.slice(0, 200), /200 bytes.*348/);
  refuses(good.slice(0, -1), /23 bytes of voxels; wanted 24 .*truncated/);
  refuses(nifti1({ put: ramp, magic: "ni1\0" }), /\.hdr\/\.img pair/);
  refuses(nifti1({ put: ramp, magic: "abc\0" }), /no NIfTI magic/);
  refuses(nifti1({ put: () => {}, code: 128, width: 3 }), /RGB24/);
  refuses(nifti1({ put: () => {}, code: 32, width: 8 }), /complex64/);
  refuses(nifti1({ code: 1024, width: 8, put: (v, at) => v.setBigInt64(at, 2n ** 53n, true) }), /2\^53/);
  refuses(nifti1({ put: ramp, s: { code: 1, rows: [NaN, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0] } }), /affine of NaN/);
  const edit = (f: (v: DataView) => void) => {
    const copy = good.slice();
    f(new DataView(copy.buffer));
    return copy;
  };
  refuses(
    edit((v) => v.setInt16(40, 9, true)),
    /9 dimensions/,
  );
  refuses(
    edit((v) => v.setInt16(42, -3, true)),
    /sizes -3/,
  );
  refuses(
    edit((v) => v.setFloat32(108, 64, true)),
    /byte 64/,
  );
  refuses(
    edit((v) => v.setFloat32(108, 1e9, true)),
    /truncated/,
  );
});

test("gunzip() reads several members and refuses damage", () => {
  assert.is(crc32(new TextEncoder().encode("123456789")), 0xcbf43926, "the check value of CRC-32");
  const file = nifti1({ put: ramp });
  const [a, b] = [gzipSync(file.slice(0, 300)), gzipSync(file.slice(300))];
  const joined = new Uint8Array([...a, ...b]);
  assert.equal([...gunzip(joined)], [...file]);
  assert.equal(readNifti(joined, "x").data, readNifti(file, "x").data);
  const whole = gzipSync(file);
  refuses(new Uint8Array([...whole, 1, 2, 3, 4, 5, 6, 7, 8, 9]), /damaged gzip/);
  refuses(new Uint8Array([...whole, 1, 2]), /damaged gzip/);
  for (const cut of [3, 17, 18, whole.length - 9, whole.length - 1]) refuses(whole.slice(0, cut), /damaged gzip/);
});

test("gunzip() stops at a bomb and takes no more memory than there is content", () => {
  // 64 MiB of zeros behind a header that wants 100 bytes.
  const bomb = gzipSync(new Uint8Array(2 ** 26));
  let asked = 0;
  const started = performance.now();
  assert.throws(() => gunzip(bomb, { head: 10, wanted: () => ((asked += 1), 100) }), /go on for more than/);
  assert.is(asked, 1);
  assert.ok(performance.now() - started < 500, "it read on");
  // More than is wanted, yet not far more: checked to the end.
  const longer = gzipSync(Uint8Array.from({ length: 5000 }, (_, i) => i & 255));
  assert.is(gunzip(longer, { head: 2, wanted: () => 3 }).length, 5000);
  longer[longer.length - 5] ^= 1;
  assert.throws(() => gunzip(longer, { head: 2, wanted: () => 3 }), /checksum/);
});

test("gunzip() reads what zlib writes, at any level and by any strategy", () => {
  const random = new Prng(3);
  const kinds = [
    Uint8Array.from({ length: 70_001 }, () => random.integer(256)),
    Uint8Array.from({ length: 300_000 }, (_, k) => (k % 7 < 3 ? random.integer(4) : 9)),
    new Uint8Array(1_000_003).fill(7),
    Uint8Array.from({ length: 100_000 }, (_, k) => (k % 40_000 < 3000 ? k * k : k >> 9)),
    Uint8Array.of(5),
    new Uint8Array(0),
  ];
  for (const [k, content] of kinds.entries()) {
    for (const level of [0, 1, 6, 9]) {
      for (const strategy of [0, 1, 2, 3, 4]) {
        const packed = zlib.gzipSync(content, { level, strategy, memLevel: 1 + ((k + level) % 9) });
        const got = gunzip(packed);
        assert.ok(Buffer.compare(got, content) === 0, `content ${k}, level ${level}, strategy ${strategy}`);
      }
    }
  }
  // A name, a comment, extra bytes and a checksum in the header of a member.
  const packed = zlib.gzipSync(kinds[1]);
  const fields = [31, 139, 8, 31, 0, 0, 0, 0, 0, 3, 2, 0, 9, 9, 65, 66, 0, 67, 0, 1, 2];
  assert.equal(gunzip(new Uint8Array([...fields, ...packed.subarray(10)])), kinds[1]);
});

test("readNifti() refuses sizes that the bytes cannot hold, before it takes memory", () => {
  const file = nifti1({ put: ramp });
  const view = new DataView(file.buffer);
  for (let axis = 0; axis < 7; axis++) view.setInt16(42 + 2 * axis, 32767, true);
  view.setInt16(40, 7, true);
  refuses(file, /truncated/);
  refuses(gzipSync(file), /truncated/);
  const two = writeNifti({ ...makeVolume(new Uint8Array(2), { shape: [2, 1, 1], affine: scaling([1, 1, 1]) }) });
  const wide = writeNifti({ ...readNifti(two), source: { ...readNifti(two).source!, version: 2 } });
  const dims = new DataView(wide.buffer);
  dims.setBigInt64(24, 2n ** 62n, true);
  refuses(wide, /sizes/);
  dims.setBigInt64(24, 10n ** 12n, true);
  refuses(wide, /truncated/);
  refuses(gzipSync(wide), /truncated/);
});

/** A .hdr/.img pair out of a single file. */
function pairOf(file: Uint8Array, options: { offset?: number; magic?: string } = {}): [Uint8Array, Uint8Array] {
  const { offset = 0, magic = "ni1\0" } = options;
  const hdr = file.slice(0, 348);
  new DataView(hdr.buffer).setFloat32(108, offset, true);
  for (let i = 0; i < 4; i++) hdr[344 + i] = magic.charCodeAt(i);
  return [hdr, new Uint8Array([...new Uint8Array(offset), ...file.slice(352)])];
}

test("readNifti() joins a .hdr/.img pair, each gzipped or not", () => {
  const file = nifti1({ put: ramp });
  const want = readNifti(file).data;
  for (const offset of [0, 16, 3]) {
    const [hdr, img] = pairOf(file, { offset });
    for (const h of [hdr, gzipSync(hdr)]) {
      for (const data of [img, gzipSync(img)]) {
        const volume = readNifti(h, "p.hdr", { data });
        assert.equal(volume.data, want);
        assert.equal(readNifti(writeNifti(volume)).data, want);
      }
    }
  }
  const [hdr, img] = pairOf(file);
  refuses(hdr, /pair/);
  const refusesPair = (h: Uint8Array, data: Uint8Array, pattern: RegExp) =>
    assert.throws(
      () => readNifti(h, "p.hdr", { data }),
      (e: unknown) => e instanceof NiftiError && pattern.test(e.message),
    );
  refusesPair(file, img, /holds its voxels itself/);
  refusesPair(hdr, img.slice(1), /truncated/);
  refusesPair(hdr, new Uint8Array(0), /empty/);
  refusesPair(img, hdr, /348/);
  const analyze = pairOf(file, { magic: "\0\0\0\0" })[0];
  refusesPair(analyze, img, /ANALYZE/);
});

test("readVolume() finds the other half of a pair, whichever is named", async () => {
  const folder = mkdtempSync(join(tmpdir(), "voxgrad-pair-"));
  try {
    const [hdr, img] = pairOf(nifti1({ put: ramp }));
    const at = (name: string) => join(folder, name);
    writeFileSync(at("a.hdr"), hdr);
    writeFileSync(at("a.img.gz"), gzipSync(img));
    writeFileSync(at("b.hdr"), hdr);
    writeFileSync(at("c.nii"), nifti1({ put: ramp }));
    const want = (await readVolume(at("c.nii"))).data;
    for (const name of ["a.hdr", "a.img.gz"]) assert.equal((await readVolume(at(name))).data, want);
    const error = await readVolume(at("b.hdr")).catch((e: unknown) => e);
    assert.ok(error instanceof NiftiError && /b\.img/.test(error.message), String(error));
  } finally {
    rmSync(folder, { recursive: true });
  }
  assert.equal(["a.nii", "a.b.nii.gz", "a.hdr", "a.img", "a.txt"].map(imageStem), [
    "a",
    "a.b",
    "a",
    undefined,
    undefined,
  ]);
});

test("readNifti() and writeNifti() keep header extensions and leave broken ones out", () => {
  const plain = nifti1({ put: ramp, little: false });
  const withExtensions = (sizes: number[], kept: number) => {
    const bytes = new Uint8Array(352 + kept + plain.length - 352);
    bytes.set(plain.subarray(0, 352));
    bytes.set(plain.subarray(352), 352 + kept);
    const view = new DataView(bytes.buffer);
    view.setFloat32(108, 352 + kept, false);
    bytes[348] = 1;
    let at = 352;
    for (const [i, size] of sizes.entries()) {
      view.setInt32(at, size, false);
      view.setInt32(at + 4, 4 + 2 * i, false);
      for (let k = at + 8; k < Math.min(at + size, 352 + kept); k++) bytes[k] = k & 255;
      at += size;
    }
    return bytes;
  };
  const volume = readNifti(withExtensions([16, 48], 64));
  const kept = volume.source!.extensions!;
  assert.equal(kept.map((e) => [e.code, e.data.length]), [[4, 8], [6, 40]]);
  assert.equal(volume.data, readNifti(plain).data);
  const again = readNifti(writeNifti(volume, { gzip: true }));
  assert.equal(again.source!.extensions, kept);
  assert.equal(again.data, volume.data);
  assert.equal(readNifti(withExtensions([16, 4000], 64)).source!.extensions!.length, 1);
  for (const size of [0, -16, 7]) assert.is(readNifti(withExtensions([size], 64)).source!.extensions, undefined);
  assert.is(readNifti(plain).source!.extensions, undefined);
});

test("invertAffine() undoes applyAffine(), and knows a singular affine", () => {
  const affine = [0.7, -0.4, 0.3, -20, 0.3, 0.9, -0.6, 31, 0, 0.3, 2.4, 7.5, 0, 0, 0, 1];
  close(applyAffine(invertAffine(affine)!, applyAffine(affine, [3, 4, 5])), [3, 4, 5], 1e-12);
  assert.is(invertAffine(new Array(16).fill(0)), undefined);
});

test.run();
