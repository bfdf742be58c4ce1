/** Tasks of the page's worker, which run in Node as well. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import { strFromU8, unzipSync } from "fflate";
import { makeVolume, readNifti, reorient, writeNifti } from "../../../engine/imaging/mod.ts";
import { encode, encodeAll, largest, measures, read } from "../../../scripts/app/tasks/labels.ts";
import { measure } from "../../../scripts/app/tasks/measure.ts";
import { contentOf } from "../../../scripts/app/tasks/scan_files.ts";
import { channel, close, open } from "../../../scripts/app/tasks/scans.ts";
import { toneOf } from "../../../scripts/app/tasks/tone.ts";

const affine = [0, -2, 0, 30, 0, 0, 3, -8, 1.5, 0, 0, 4, 0, 0, 0, 1] as const;
const shape = [5, 4, 3] as const;
const values = Float32Array.from({ length: 120 }, (_, i) => i - 10);
const volume = makeVolume(values, { shape, affine: [...affine], channels: 2, name: "scan" });
const file = new File([writeNifti(volume)], "scan.nii");
const names = [{ value: 1, name: "liver", color: "#ff0000" }, { value: 3, name: "cyst", color: "#00ff00" }];

test("open() turns the first channel for the viewer; labels come back on the grid of the file", async () => {
  const scan = await open({ files: [{ file }] });
  const turned = reorient({ ...volume, channels: 1, data: values.subarray(0, 60) }, "RAS");
  assert.equal([scan.shape, scan.channels, scan.name, scan.dicom], [[5, 4, 3], 2, "scan.nii", false]);
  assert.equal([scan.shown.shape, [...scan.shown.data]], [turned.shape, [...turned.data]]);
  assert.equal(scan.shown.affine, turned.affine);
  assert.is((await channel({ scan: scan.id, index: 1 })).data[0], scan.shown.data[0] + 60);

  const labels = Uint8Array.from(turned.data, (value) => (value > 20 ? 3 : 0));
  const { name, bytes } = await encode({ scan: scan.id, labels, names, format: "nifti" });
  const back = readNifti(bytes);
  assert.is(name, "scan_labels.nii.gz");
  assert.equal([back.shape, back.affine], [[5, 4, 3], [...affine]]);
  assert.equal([...back.data], Array.from(values.subarray(0, 60), (value) => (value > 20 ? 3 : 0)));
  const again = await read({ scan: scan.id, file: new File([bytes], name) });
  assert.equal([again.labels, again.names.map(({ value }) => value)], [labels, [3]]);

  const other = writeNifti(makeVolume(new Uint8Array(60), { shape: [3, 4, 5], affine: [...affine] }));
  await read({ scan: scan.id, file: new File([other], "other.nii") }).then(
    () => assert.unreachable(),
    (error: Error) => assert.match(error.message, /other\.nii/),
  );
  await close({ scan: scan.id });
  await encode({ scan: scan.id, labels, names, format: "nifti" }).then(
    () => assert.unreachable(),
    (error: Error) => assert.match(error.message, "no longer open"),
  );
});

test("open() shows values that are not finite as 0, and has a tone without them", async () => {
  const odd = makeVolume(Float32Array.of(NaN, 2, Infinity, -1), { shape: [4, 1, 1], affine: [...affine] });
  const { shown } = await open({ files: [{ file: new File([writeNifti(odd)], "odd.nii") }] });
  assert.equal([[...shown.data].sort((a, b) => a - b), shown.tone.min, shown.tone.max], [[-1, 0, 0, 2], -1, 2]);
});

test("encodeAll() zips the formats of a scan that is no DICOM, and its measures", async () => {
  const scan = await open({ files: [{ file }] });
  const labels = new Uint8Array(60);
  labels.fill(1, 0, 3);
  const { name, bytes } = await encodeAll({ scan: scan.id, labels, names });
  const files = unzipSync(bytes);
  assert.is(name, "scan.zip");
  const wanted = ["scan_labels.nii.gz", "scan_labels.seg.nrrd", "scan_labels.mha", "scan_labels.mgz", "measures.csv"];
  assert.equal(Object.keys(files), wanted);
  assert.match(strFromU8(files["measures.csv"]), /\n1,"liver",3,0\.0270,/);
  assert.is(readNifti(files["scan_labels.nii.gz"] as Uint8Array<ArrayBuffer>).data.filter((v) => v === 1).length, 3);
});

test("measure() gives volumes, and the longest distance within an axial slice, as all pairs do", () => {
  const [X, Y, Z] = [13, 11, 4];
  let seed = 5;
  const labels = Uint8Array.from({ length: X * Y * Z }, () => {
    seed = (seed * 48271) % 2147483647;
    return [0, 0, 0, 0, 0, 0, 0, 1, 2, 0][Math.floor(seed / 4096) % 10];
  });
  const found = measure(labels, [X, Y, Z], [0.7, 1.3, 5]);
  for (const value of [1, 2]) {
    let [most, count] = [0, 0];
    for (let i = 0; i < labels.length; i++) {
      if (labels[i] !== value) continue;
      count++;
      for (let k = i; k < labels.length && Math.floor(k / (X * Y)) === Math.floor(i / (X * Y)); k++) {
        if (labels[k] !== value) continue;
        const [dx, dy] = [(i % X) - (k % X), (Math.floor(i / X) % Y) - (Math.floor(k / X) % Y)];
        most = Math.max(most, Math.hypot(dx * 0.7, dy * 1.3));
      }
    }
    const own = found.find((each) => each.value === value)!;
    assert.is(own.voxels, count);
    assert.ok(Math.abs(own.milliliters - count * 0.7 * 1.3 * 5 / 1000) < 1e-9);
    assert.ok(Math.abs(own.diameter - most) < 1e-9, `${own.diameter} for ${most}`);
  }
  assert.equal(measure(new Uint8Array(8), [2, 2, 2], [1, 1, 1]), []);
  assert.equal(measure(Uint8Array.of(7), [1, 1, 1], [1, 1, 1]), [{
    value: 7,
    voxels: 1,
    milliliters: 0.001,
    diameter: 0,
  }]);
});

test("measures() and largest() work on the grid that the page shows", async () => {
  const scan = await open({ files: [{ file }] });
  const { shape: [X, Y, Z], spacing } = scan.shown;
  const labels = new Uint8Array(X * Y * Z);
  labels[0] = labels[1] = 1;
  labels[X * Y * Z - 1] = 1;
  const [one] = await measures({ scan: scan.id, labels });
  assert.equal([one.voxels, one.diameter], [3, spacing[0]]);
  const kept = await largest({ scan: scan.id, labels: labels.slice(), values: [1] });
  assert.equal([...kept.labels.keys()].filter((i) => kept.labels[i] > 0), [0, 1]);
});

test("contentOf() tells scans, pairs, channels and series by the names of files", () => {
  const files = (...list: string[]): File[] => list.map((name) => new File([], name));
  const told = (...list: string[]): unknown =>
    JSON.stringify(contentOf(files(...list)), (_, value) => (value instanceof File ? value.name : value));
  assert.is(told("a.nii.gz"), '{"source":"a.nii.gz"}');
  assert.is(told("b.img", "b.hdr"), '{"header":"b.hdr","data":"b.img"}');
  assert.is(told("t2.nii", "t1.nii.gz"), '{"channels":["t1.nii.gz","t2.nii"]}');
  assert.is(told("IM1", ".DS_Store", "IM2", "DICOMDIR"), '{"source":["IM1","IM2"]}');
});

test("toneOf() finds Hounsfield units, windows without the background, and survives constant values", () => {
  const ct = Float32Array.from({ length: 1000 }, (_, i) => (i < 500 ? -1024 : i - 400));
  assert.equal([toneOf(ct).hounsfield, toneOf(ct).window], [true, [-160, 240]]);
  const mr = Float32Array.from({ length: 1000 }, (_, i) => (i < 900 ? 0 : i));
  assert.ok(toneOf(mr).window[0] >= 900);
  assert.equal(toneOf(new Float32Array(9).fill(4)).window, [4, 5]);
  assert.equal(toneOf(new Float32Array(9).fill(NaN)).window, [0, 1]);
});

test.run();
