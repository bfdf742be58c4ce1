import { readFile } from "node:fs/promises";
import { deflateRawSync } from "node:zlib";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { applyAffine, axisCodes, DicomError, invertAffine, readVolume } from "../../../engine/imaging/mod.ts";
import type { Volume } from "../../../engine/imaging/mod.ts";
import { BIG_ENDIAN, ctSlice, dicomFile, type Elements, EXPLICIT, IMPLICIT, words } from "./dicom_files.ts";
import { message, refuses } from "../../helpers/refuse.ts";
import { COLUMNS, orientations, ORIGIN, ROWS, seriesOf, SLICES, valueAt } from "./orientations.ts";

const golden = JSON.parse(await readFile(new URL("../../golden/dcm2niix.json", import.meta.url), "utf8")) as Record<
  string,
  { affine: number[]; shape: [number, number, number]; corners: number[] }
>;

/** A list of Files, as a page gives them. */
const files = (list: readonly Uint8Array<ArrayBuffer>[], names?: readonly string[]): File[] =>
  list.map((bytes, k) => new File([bytes], names?.[k] ?? `IM${String(k + 1).padStart(4, "0")}`));

const read = (list: readonly Uint8Array<ArrayBuffer>[], options = {}): Promise<Volume> =>
  readVolume(files(list), options);

/** Three slices of a CT series, with changes. */
const three = (changes: Elements = {}, encoding = EXPLICIT): Uint8Array<ArrayBuffer>[] =>
  [1, 2, 3].map((number) => dicomFile(ctSlice({ number, position: [0, 0, 2.5 * number] }, changes), encoding));

test("readVolume() of a series has each voxel where dcm2niix has it, in all 48 orientations and oblique ones", async () => {
  let count = 0;
  // Affines and corners of dcm2niix v1.0.20220720 on the files of seriesOf().
  for (const [name, orientation] of orientations()) {
    const { affine, shape, corners } = golden[name];
    const volume = await read(seriesOf(orientation));
    assert.is([...volume.shape].sort().join(), [...shape].sort().join());
    const toVoxels = invertAffine(volume.affine)!;
    corners.forEach((value, corner) => {
      const at = shape.map((size, axis) => ((corner >> axis) & 1) * (size - 1));
      const [x, y, z] = applyAffine(toVoxels, applyAffine([...affine, 0, 0, 0, 1], at));
      const [i, j, k] = [x, y, z].map(Math.round);
      assert.ok(Math.max(Math.abs(x - i), Math.abs(y - j), Math.abs(z - k)) < 1e-3, `${name}: ${[x, y, z]}`);
      assert.is(volume.data[i + COLUMNS * (j + ROWS * k)], value, name);
      count++;
    });
  }
  assert.is(count, 8 * 66);
});

test("readVolume() of a series puts columns, rows and slices where their positions say", async () => {
  for (const { right, down, step } of orientations().values()) {
    const volume = await read(seriesOf({ right, down, step }));
    assert.equal(volume.shape, [COLUMNS, ROWS, SLICES]);
    const toVoxels = invertAffine(volume.affine)!;
    for (const [column, row, slice] of [[0, 0, 0], [6, 0, 1], [2, 5, 4], [6, 5, 2]]) {
      // PS3.3, C.7.6.2.1.1: columns are 0.5 mm apart, rows 0.75.
      const [l, p, s] = ORIGIN.map((mm, axis) =>
        mm + column * 0.5 * right[axis] + row * 0.75 * down[axis] + slice * step[axis]
      );
      const [x, y, z] = applyAffine(toVoxels, [-l, -p, s]).map(Math.round);
      assert.is(volume.data[x + COLUMNS * (y + ROWS * z)], valueAt(column, row, slice));
    }
  }
});

test("readVolume() reads every encoding of elements to the same volume", async () => {
  const wanted = await read(three());
  const pixels = (number: number, little: boolean): Elements => ({
    "7fe00010 OW": words(Array.from({ length: 20 }, (_, k) => 100 * number + k), little),
  });
  const slice = (number: number, little = true): Elements =>
    ctSlice({ number, position: [0, 0, 2.5 * number] }, pixels(number, little));
  const encodings: [string, Uint8Array<ArrayBuffer>[]][] = [
    ["implicit", [1, 2, 3].map((n) => dicomFile(slice(n), IMPLICIT))],
    ["big endian", [1, 2, 3].map((n) => dicomFile(slice(n, false), BIG_ENDIAN))],
    ["without preamble", [1, 2, 3].map((n) => dicomFile(slice(n), { ...EXPLICIT, start: "no preamble" }))],
    ["elements alone", [1, 2, 3].map((n) => dicomFile(slice(n), { ...EXPLICIT, start: "nothing" }))],
    ["implicit elements alone", [1, 2, 3].map((n) => dicomFile(slice(n), { ...IMPLICIT, start: "nothing" }))],
    [
      "big-endian elements alone",
      [1, 2, 3].map((n) => dicomFile(slice(n, false), { ...BIG_ENDIAN, start: "nothing" })),
    ],
    [
      "deflated",
      [1, 2, 3].map((n) => {
        const whole = dicomFile(slice(n), { syntax: "1.2.840.10008.1.2.1.99" });
        const start = 132 + 12 + new DataView(whole.buffer).getUint32(140, true);
        return new Uint8Array(Buffer.concat([whole.subarray(0, start), deflateRawSync(whole.subarray(start))]));
      }),
    ],
  ];
  for (const [name, list] of encodings) {
    const { data, affine } = await read(list);
    assert.equal([...data], [...wanted.data], name);
    assert.equal(affine, wanted.affine, name);
  }
  assert.is(wanted.data[0], 100);
  assert.is(axisCodes(wanted.affine), "LPS");
});

test("readVolume() takes signs, bits and scales of stored values as their elements say", async () => {
  const stored = [0, 1, 2047, 2048, 4095, 0xf001];
  const values = async (changes: Elements): Promise<number[]> => {
    const image = { columns: 3, rows: 2, pixels: stored };
    const { data } = await read([dicomFile(ctSlice(image, { "00280101 US": 12, "00280102 US": 11, ...changes }))]);
    return [...data];
  };
  assert.equal(await values({ "00280103 US": 0 }), [0, 1, 2047, 2048, 4095, 1], "the highest bits are not the value's");
  assert.equal(await values({ "00280103 US": 1 }), [0, 1, 2047, -2048, -1, 1]);
  assert.equal(await values({ "00280103 US": 0, "00280004 CS": "MONOCHROME1" }), [0, 1, 2047, 2048, 4095, 1]);
  assert.equal(await values({ "00280103 US": 0, "00281052 DS": -1024 }), [-1024, -1023, 1023, 1024, 3071, -1023]);
  assert.equal(await values({ "00280101 US": 4, "00280102 US": 15, "00280103 US": 0 }), [0, 0, 0, 0, 0, 15]);
  const halves = await values({ "00280103 US": 0, "00281053 DS": 0.5 });
  assert.equal(halves, [0, 0.5, 1023.5, 1024, 2047.5, 0.5]);
});

test("readVolume() scales each slice by its own slope, as PET series have it", async () => {
  const list = [1, 2, 3].map((number) =>
    dicomFile(ctSlice({ number, position: [0, 0, 2.5 * number], pixels: new Array(20).fill(10) }, {
      "00281053 DS": 0.25 * number,
      "00281052 DS": number,
    }))
  );
  const { data } = await read(list);
  assert.equal([data[0], data[20], data[40]], [3.5, 7, 10.5]);
  assert.ok(data instanceof Float32Array);
});

test("readVolume() passes over DICOMDIR and other files, and names what has no image", async () => {
  const directory = dicomFile({ "00080016 UI": "1.2.840.10008.1.3.10", "00080018 UI": "1.2" });
  const text = new TextEncoder().encode("exported on Monday") as Uint8Array<ArrayBuffer>;
  const volume = await readVolume(files([directory, ...three(), text], ["DICOMDIR", "a", "b", "c", "readme.txt"]));
  assert.equal(volume.shape, [5, 4, 3]);
  const report = dicomFile({ "00080016 UI": "1.2.840.10008.5.1.4.1.1.88.33", "00080018 UI": "1.2" });
  await refuses(() => read([report]), /no image \(SOP class 1\.2\.840\.10008\.5\.1\.4\.1\.1\.88\.33\)/);
  const broken = [...three(), new Uint8Array(0)];
  await refuses(() => readVolume(files(broken)), /IM0004: got no DICOM file, called as the DICOM files beside it/);
  await refuses(() => readVolume(files([text], ["scan.dcm"])), /scan\.dcm: got 18 bytes that are no DICOM elements/);
});

test("readVolume() names slices that are missing, there twice, or out of line", async () => {
  const at = (heights: readonly number[], shift = 0): Uint8Array<ArrayBuffer>[] =>
    heights.map((z, k) => dicomFile(ctSlice({ number: k + 1, position: [k === 2 ? shift : 0, 0, z] })));
  await refuses(() => read(at([0, 2, 4, 8, 10])), /1 slice\(s\) missing between IM0003 \(at 0, 0, 4 mm\) and IM0004/);
  await refuses(() => read(at([0, 2, 4, 12, 14])), /3 slice\(s\) missing between IM0003/);
  await refuses(() => read(at([0, 2, 4, 5, 7])), /1\.000 mm between IM0003.* most slices are 2\.000 mm apart/);
  await refuses(() => read(at([0, 2, 4, 2, 6])), /5 slices at 4 places: IM0002 .* and IM0004/);
  await refuses(() => read(at([0, 2, 0, 2, 0, 2])), /each place has 3 slices, such as time points/);
  await refuses(() => read(at([0, 2, 4, 6, 8], 1)), /IM0003.* a slice 1\.00 mm away from the line/);
  assert.equal((await read(at([0, 2.01, 4, 5.99, 8]))).shape, [5, 4, 5], "positions are rounded");
});

test("readVolume() lists several series without what identifies a patient, and reads the one that is chosen", async () => {
  const other = { "0020000e UI": "1.2.826.0.1.3680043.10.99", "00200011 IS": 7, "0008103e LO": "Jane's knee" };
  const both = [...three(), ...three(other)];
  const wanted = /2 series \(4: CT, 3 slice\(s\) of 5 x 4 pixels of 0\.5 x 0\.75 mm; 7: CT/;
  const text = await message(() => read(both));
  assert.match(text, wanted);
  assert.not.match(text, /Jane|knee|Doe|P-17/);
  assert.is((await read(both, { series: "7" })).dicom!.series, "1.2.826.0.1.3680043.10.99");
  assert.is((await read(both, { series: "1.2.826.0.1.3680043.10.3" })).dicom!.slices.length, 3);
  await refuses(() => read(both, { series: "5" }), /no series 5; wanted one of 4: CT/);
  const scout = dicomFile(ctSlice({ number: 9, orientation: [0, 1, 0, 0, 0, -1] }));
  await refuses(() => read([...three(), scout]), /2 series \(4\.1: CT, 3 slice.*4\.2: CT, 1 slice/);
  assert.equal((await read([...three(), scout], { series: "4.1" })).shape, [5, 4, 3]);
});

test("readVolume() refuses colors, palettes, tables and other kinds of pixels by name", async () => {
  const image = (changes: Elements): Promise<Volume> => read(three(changes));
  await refuses(() => image({ "00280002 US": 3, "00280004 CS": "RGB" }), /3 sample\(s\) per pixel, RGB/);
  await refuses(() => image({ "00280004 CS": "PALETTE COLOR" }), /1 sample\(s\) per pixel, PALETTE COLOR/);
  await refuses(() => image({ "00283000 SQ": [] }), /Modality LUT/);
  await refuses(() => image({ "00280100 US": 12 }), /16 bits up to bit 15 in 12/);
  await refuses(() => image({ "00281053 DS": 0 }), /a rescale slope of 0/);
  await refuses(() => image({ "00281053 DS": "1,5" }), /"1,5" in \(0028,1053\); wanted 1 number/);
  await refuses(() => image({ "00200032 DS": undefined }), /no position/);
  await refuses(() => image({ "00280030 DS": undefined }), /no pixel spacing/);
  await refuses(() => image({ "00200037 DS": [1, 0, 0, 1, 0, 0] }), /two unit vectors at right angles/);
  await refuses(
    () => image({ "7fe00010 OW": new Uint8Array(38) }),
    /38 bytes of pixels; wanted 40: the file is truncated/,
  );
  await refuses(() => image({ "7fe00010 OW": undefined }), /no pixels \(7FE0,0010\)/);
  await refuses(() => read([dicomFile(ctSlice({}, { "00180050 DS": undefined }))]), /one slice without a thickness/);
});

test("readVolume() puts the slices of a tilted gantry one above the other", async () => {
  // A ramp that the tilt shears: after resampling it is the same function of place.
  const tilt = 0.3;
  const [columns, rows] = [6, 20];
  const value = (y: number): number => 1000 + 8 * y;
  const list = [0, 1, 2, 3].map((k) => {
    const position = [0, 2.5 * k * Math.tan(tilt), 2.5 * k];
    const pixels = Array.from(
      { length: rows * columns },
      (_, i) => Math.round(value(position[1] + 0.75 * Math.floor(i / columns))),
    );
    return dicomFile(ctSlice({ columns, rows, number: k + 1, position, pixels }));
  });
  const { data, shape, affine } = await read(list);
  assert.equal([shape[0], shape[2]], [6, 4]);
  assert.is(shape[1], 20 + Math.ceil((3 * 2.5 * Math.tan(tilt)) / 0.75));
  const cosines = [affine[1] * affine[2], affine[5] * affine[6], affine[9] * affine[10]];
  assert.ok(Math.abs(cosines.reduce((a, b) => a + b)) < 1e-9, "the axes are at right angles");
  let inside = 0;
  for (let z = 0; z < shape[2]; z++) {
    for (let y = 0; y < shape[1]; y++) {
      const got = data[(z * shape[1] + y) * shape[0] + 3];
      const [, minusY] = applyAffine(affine, [3, y, z]);
      const row = (-minusY - 2.5 * z * Math.tan(tilt)) / 0.75;
      if (row < 0 || row > rows - 1) continue;
      assert.ok(Math.abs(got - value(-minusY)) < 1, `${got} at ${-minusY}`);
      inside++;
    }
  }
  assert.ok(inside >= 4 * 19);
});

test("DicomError is what all of these are", async () => {
  try {
    await read(three({ "00280004 CS": "RGB" }));
    assert.unreachable();
  } catch (error) {
    assert.instance(error, DicomError);
    assert.is((error as DicomError).file, "IM0001");
  }
});

test.run();
