import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { deflateSync } from "node:zlib";
import { zipSync } from "fflate";
import { test } from "uvu";
import * as assert from "uvu/assert";
import {
  checkScan,
  fingerprintDataset,
  imageStem,
  makeVolume,
  openDataset,
  phantomCase,
  readVolume,
} from "../../../engine/imaging/mod.ts";
import { scaling, writeMetaImage, writeMgh, writeNrrd, writeVolume } from "../../../engine/imaging/mod.ts";
import type { Volume } from "../../../engine/imaging/mod.ts";
import { encodeCase } from "../../../engine/imaging/prepare/case_file.ts";
import { loadCase, preprocessCase } from "../../../engine/imaging/mod.ts";
import { planFor } from "../../helpers/plans.ts";
import { findImages } from "../../../engine/train/mod.ts";
import { goldenJson } from "../../helpers/golden.ts";
import { refuses } from "../../helpers/refuse.ts";
import { ctSlice, dicomFile } from "../dicom/dicom_files.ts";

/** Written by Teem's unu 1.12 and nibabel 5.0.0. */
const golden = goldenJson("image_formats") as Record<string, string>;
const file = (name: string, as = name): File => new File([Buffer.from(golden[name], "base64")], as);

const folder = await mkdtemp(join(tmpdir(), "voxgrad-formats-"));
test.after(() => rm(folder, { recursive: true }));

/** The values of the golden files. */
const VALUES = Array.from({ length: 12 }, (_, k) => 37 * k - 200);

const near = (got: readonly number[], wanted: readonly number[], most = 1e-6): void =>
  wanted.forEach((v, k) => assert.ok(Math.abs(got[k] - v) <= most, `${got} is not ${wanted}`));

test("readVolume() of NRRD has Teem's values and places, in each space, encoding and byte order", async () => {
  const wanted: Record<string, number[]> = {
    "ras.nrrd": [0.5, 0, 0.25, 1, 0, -0.75, 0, 2, 0, 0, 2.5, 3],
    "lps_gz.nrrd": [-0.5, 0, -0.25, -1, 0, 0.75, 0, -2, 0, 0, 2.5, 3],
    "las_big.nrrd": [-0.5, 0, -0.25, -1, 0, -0.75, 0, 2, 0, 0, 2.5, 3],
  };
  for (const [name, affine] of Object.entries(wanted)) {
    const volume = await readVolume(file(name));
    assert.equal([volume.shape, [...volume.data]], [[3, 2, 2], VALUES], name);
    assert.equal(volume.affine, [...affine, 0, 0, 0, 1], name);
  }
  const { channels, shape, data } = await readVolume(file("channels.nrrd"));
  assert.equal([channels, shape], [2, [3, 2, 2]]);
  assert.equal([...data], [0, 1].flatMap((c) => Array.from({ length: 12 }, (_, k) => 11 * (2 * k + c) - 100)));
  assert.equal((await readVolume(file("spacings.nrrd"))).spacing, [0.5, 0.75, 2.5]);
});

test("readVolume() finds the data of a header beside it", async () => {
  for (const name of ["detached.nhdr", "a.raw"]) {
    await writeFile(join(folder, name), Buffer.from(golden[name], "base64"));
  }
  assert.equal([...(await readVolume(join(folder, "detached.nhdr"))).data], VALUES);
  assert.equal([...(await readVolume(file("detached.nhdr"), { data: file("a.raw") })).data], VALUES);
  await refuses(() => readVolume(file("detached.nhdr")), /whose data are in another file/);
  const header = "NDims = 3\nDimSize = 3 2 2\nElementSpacing = 1 2 3\nElementType = MET_SHORT\nElementDataFile = ";
  await writeFile(join(folder, "scan.mhd"), `${header}a.raw\n`);
  assert.equal([...(await readVolume(join(folder, "scan.mhd"))).data], VALUES);
  await writeFile(join(folder, "far.mhd"), `${header}../../etc/passwd\n`);
  await refuses(() => readVolume(join(folder, "far.mhd")), /a data file elsewhere/);
  await rm(join(folder, "far.mhd"));
});

test("readVolume() of MGH has nibabel's values and places", async () => {
  const affine = [0, -0.75, 0, 1, 0.5, 0, 0, 2, 0, 0, 2.5, 3];
  for (const name of ["m_i2.mgz", "m_i4.mgz", "m_f4.mgz", "plain.mgh"]) {
    const volume = await readVolume(file(name));
    assert.equal([volume.shape, [...volume.data]], [[3, 2, 2], VALUES], name);
    near(volume.affine, affine);
  }
  assert.equal([...(await readVolume(file("m_u1.mgz"))).data], VALUES.map((_, k) => k));
  const frames = await readVolume(file("frames.mgz"));
  assert.equal([frames.channels, frames.data[12]], [2, 11 * 12 - 100]);
  // Known by content too.
  assert.equal([...(await readVolume(file("plain.mgh", "scan"))).data], VALUES);
});

test("readVolume() of MetaImage reads it as ITK's documentation says", async () => {
  const words = (little: boolean): Buffer => {
    const out = Buffer.alloc(24);
    VALUES.forEach((v, k) => little ? out.writeInt16LE(v, 2 * k) : out.writeInt16BE(v, 2 * k));
    return out;
  };
  const lines = [
    ...["ObjectType = Image", "NDims = 3", "BinaryData = True", "DimSize = 3 2 2", "ElementSpacing = 0.5 0.75 2.5"],
    ...["Offset = 1 2 3", "TransformMatrix = 0 1 0 1 0 0 0 0 -1", "ElementType = MET_SHORT"],
  ];
  const made = (extra: readonly string[], data: Buffer): File =>
    new File([[...lines, ...extra, "ElementDataFile = LOCAL\n"].join("\n"), new Uint8Array(data)], "scan.mha");
  const files = [
    made([], words(true)),
    made(["BinaryDataByteOrderMSB = True"], words(false)),
    made(["CompressedData = True"], deflateSync(words(true))),
  ];
  for (const each of files) {
    const { data, affine } = await readVolume(each);
    assert.equal([...data], VALUES);
    // Rows of the matrix are the directions of the axes, in LPS.
    assert.equal(affine, [0, -0.75, 0, -1, -0.5, 0, 0, -2, 0, 0, -2.5, 3, 0, 0, 0, 1]);
  }
  const damaged = deflateSync(words(true));
  damaged[damaged.length - 1] ^= 1;
  await refuses(() => readVolume(made(["CompressedData = True"], damaged)), /the checksum differs/);
  await refuses(() => readVolume(made([], words(true).subarray(2))), /22 bytes of voxels; wanted 24/);
});

test("writeNrrd(), writeMetaImage() and writeMgh() come back, with channels and oblique axes", async () => {
  const affine = [-0.5, 0.1, 0, 3, 0.1, 0.7, 0.2, -4, 0, -0.3, 2.4, 5, 0, 0, 0, 1];
  for (const make of [Int16Array, Float32Array, Uint8Array, Uint16Array, Int32Array]) {
    const data = new make(5 * 3 * 4 * 2);
    for (let k = 0; k < data.length; k++) data[k] = (k * 7) % 100;
    const volume = makeVolume(data, { shape: [5, 3, 4], affine, channels: 2, name: "v" });
    for (const bytes of [writeNrrd(volume), writeMetaImage(volume), writeMgh(volume, { gzip: false })]) {
      const back = await readVolume(bytes);
      assert.equal([back.shape, back.channels, back.data], [volume.shape, 2, data]);
      near(back.affine, affine, 1e-5);
    }
  }
  const wide = makeVolume(new Float64Array(8), { shape: [2, 2, 2], affine: scaling([1, 1, 1]), name: "v" });
  await refuses(() => writeMgh(wide), /v: got values of float64; wanted one of uint8/);
  const scan = phantomCase({ seed: 1, shape: [16, 17, 18] }).image;
  for (const name of ["a.nrrd", "a.mha", "a.mgz", "a.nii.gz"]) {
    await writeVolume(join(folder, name), scan);
    assert.equal((await readVolume(join(folder, name))).data, scan.data, name);
    await rm(join(folder, name));
  }
  await refuses(() => writeVolume(join(folder, "a.dcm"), scan), /the ending \.dcm; wanted \.nii/);
});

const slices = (): Record<string, Uint8Array<ArrayBuffer>> =>
  Object.fromEntries(
    [1, 2, 3].map((number) => [`IM${number}`, dicomFile(ctSlice({ number, position: [0, 0, 2.5 * number] }))]),
  );

/** Writes a DICOM folder. */
async function dicomFolder(...names: string[]): Promise<string> {
  const path = join(folder, ...names);
  await writeFiles(path, slices());
  return path;
}

async function writeFiles(path: string, files: Record<string, Uint8Array | string>): Promise<void> {
  const { mkdir } = await import("node:fs/promises");
  await mkdir(path, { recursive: true });
  for (const [name, bytes] of Object.entries(files)) await writeFile(join(path, name), bytes);
}

test("readVolume() reads a series in an archive, in folders within folders, and as a list", async () => {
  const wanted: Volume = await readVolume(await dicomFolder("series"));
  const nested = zipSync(Object.fromEntries(Object.entries(slices()).map(([name, bytes]) => [`P/S/${name}`, bytes])));
  assert.equal((await readVolume(nested as Uint8Array<ArrayBuffer>)).data, wanted.data);
  await dicomFolder("disk", "DICOM", "PAT1", "ST1");
  await writeFile(join(folder, "disk", "DICOMDIR"), dicomFile({ "00080016 UI": "1.2.840.10008.1.3.10" }));
  assert.equal((await readVolume(join(folder, "disk"))).data, wanted.data);
  assert.equal((await readVolume(Object.keys(slices()).map((name) => join(folder, "series", name)))).data, wanted.data);
  const damaged = nested.slice();
  damaged[60] ^= 255;
  await refuses(() => readVolume(damaged), /damaged|checksum|intact/);
});

test("findImages() and openDataset() take a folder of DICOM files for an image", async () => {
  await dicomFolder("scans", "patient_a");
  await dicomFolder("scans", "patient_b");
  const found = await findImages(join(folder, "scans"), 1);
  assert.equal(found.map(({ id }) => id), ["patient_a", "patient_b"]);
  assert.equal((await findImages(`${join(folder, "scans", "patient_a")}/`, 1)).map(({ id }) => id), ["patient_a"]);
  const root = join(folder, "dataset");
  await dicomFolder("dataset", "imagesTr", "case_0000");
  const label = await readVolume(join(root, "imagesTr", "case_0000"));
  const labels = { ...label, data: Uint8Array.from(label.data, (_, k) => k % 2) };
  await writeFiles(join(root, "labelsTr"), { "case.nrrd": writeNrrd(labels) });
  const description = {
    channel_names: { "0": "CT" },
    labels: { background: 0, a: 1 },
    numTraining: 1,
    file_ending: ".nrrd",
  };
  await writeFile(join(root, "dataset.json"), JSON.stringify(description));
  const dataset = await openDataset(root);
  assert.equal(dataset.cases.map(({ id, images }) => [id, images.length]), [["case", 1]]);
  assert.is(imageStem("a.seg.nrrd"), "a.seg");
  // Threads that prepare cases load the readers of other formats by themselves.
  const [alone, threads] = [await fingerprintDataset(dataset), await fingerprintDataset(dataset, { workers: 2 })];
  assert.equal(threads, alone);
  const item = await preprocessCase(
    await loadCase(dataset, dataset.cases[0]),
    planFor({ labels: ["background", "a"] }),
  );
  assert.ok(item.geometry.source.dicom);
  assert.not.ok(Buffer.from(await encodeCase(item, "key")).includes("Doe"), "stored cases do not tell the patient");
});

test("checkScan() tells each series, its faults and identifying fields, and not what those say", async () => {
  const { scans, findings } = await checkScan(await dicomFolder("checked"));
  assert.is(scans.length, 1);
  assert.match(scans[0], /^series 4: CT, 3 slice\(s\).*explicit VR.*5 x 4 x 3 voxels of 0\.5 x 0\.75 x 2\.5 mm, LPS$/);
  const text = JSON.stringify(findings);
  assert.match(text, /PatientBirthDate, PatientID, PatientName/);
  assert.not.match(text, /Doe|P-17|1970/);
  await rm(join(folder, "checked", "IM2"));
  await writeFile(join(folder, "checked", "IM4"), dicomFile(ctSlice({ number: 4, position: [0, 0, 10] })));
  await writeFile(join(folder, "checked", "IM5"), dicomFile(ctSlice({ number: 5, position: [0, 0, 12.5] })));
  const second = await checkScan(join(folder, "checked"));
  assert.match(second.findings[0].problem, /1 slice\(s\) missing between/);
  assert.is(second.findings[0].severity, "error");
  const third = await dicomFolder("with_damage");
  await writeFile(join(third, "IM4"), dicomFile(ctSlice({ number: 4 })).subarray(0, 500));
  const { scans: whole, findings: damage } = await checkScan(third);
  assert.is(whole.length, 1, "the series is told, beside the damaged file");
  assert.equal(damage.filter(({ severity }) => severity === "error").map(({ file }) => file), [join(third, "IM4")]);
  await refuses(() => readVolume(third), /IM4: got damaged elements/);
});

test.run();
