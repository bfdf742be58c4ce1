import { test } from "uvu";
import * as assert from "uvu/assert";
import { readVolume } from "../../../engine/imaging/mod.ts";
import { goldenJson } from "../../helpers/golden.ts";
import { refuses } from "../../helpers/refuse.ts";
import { enhancedCt, ramp } from "./compressed_files.ts";
import { ctSlice, dicomFile, type Elements } from "./dicom_files.ts";

/** Made of compressed_files.ts by DCMTK 3.6.7 and GDCM 3.0; what is lossy with the values that pydicom reads. */
const golden = goldenJson("dicom_compressed") as Record<string, { bytes: string; values?: number[] }>;
const bytesOf = (name: string): Uint8Array<ArrayBuffer> => new Uint8Array(Buffer.from(golden[name].bytes, "base64"));

const UNSIGNED = ramp(18 * 13, 4095).map((v) => v - 1024);
const SIGNED = ramp(18 * 13, 4095).map((v) => v - 2000);

test("readVolume() of lossless compression has the values that were compressed", async () => {
  for (const name of ["rle", "jpeg_lossless", "jpeg_lossless_sv1", "jpeg_ls", "j2k"]) {
    assert.equal([...(await readVolume(bytesOf(name))).data], UNSIGNED, name);
  }
  for (const name of ["rle_signed", "jpeg_lossless_signed", "jpeg_ls_signed", "j2k_signed"]) {
    assert.equal([...(await readVolume(bytesOf(name))).data], SIGNED, name);
  }
});

test("readVolume() of lossy compression has the values of other decoders", async () => {
  for (const [name, most, shift] of [["jpeg_baseline", 1, 0], ["jpeg_ls_near", 0, -1024]] as const) {
    const { data } = await readVolume(bytesOf(name));
    golden[name].values!.forEach((v, k) => assert.ok(Math.abs(data[k] - v - shift) <= most, `${name}: ${k}`));
  }
});

test("readVolume() of an enhanced file sorts its frames and scales each by its own group", async () => {
  const wanted = [0, 1, 2, 3].flatMap((slice) =>
    Array.from({ length: 20 }, (_, k) => 2 * (10 * slice + k) + 100 * slice)
  );
  for (const bytes of [dicomFile(enhancedCt()), bytesOf("enhanced_rle")]) {
    const { data, shape, affine, dicom } = await readVolume(bytes);
    assert.equal(shape, [5, 4, 4]);
    assert.equal([...data], wanted);
    assert.equal(affine.slice(0, 12), [-0.5, 0, 0, -1, 0, -0.75, 0, -2, 0, 0, 3, 0]);
    assert.equal(dicom!.slices.map(({ frame }) => frame), [1, 3, 0, 2]);
  }
  const moved = (changes: Elements): Promise<unknown> => readVolume(dicomFile(enhancedCt(changes)));
  await refuses(() => moved({ "52009230 SQ": [] }), /no position of its slices/);
  const twice = [0, 1, 0, 1].map((z) => ({ "00209113 SQ": [{ "00200032 DS": [0, 0, z] }] }));
  await refuses(() => moved({ "52009230 SQ": twice }), /each place has 2 slices, such as time points/);
});

test("readVolume() names compression that it does not read, and damage of what it does", async () => {
  await refuses(() => readVolume(bytesOf("jpeg_12")), /JPEG extended, 12 bits; wanted intact ones \(samples of 8 bits/);
  const other = (syntax: string): Uint8Array<ArrayBuffer> =>
    dicomFile(ctSlice({}, { "7fe00010 OW": undefined }), { syntax, fragments: [new Uint8Array([255, 216, 255, 217])] });
  await refuses(() => readVolume(other("1.2.840.10008.1.2.4.201")), /High-Throughput JPEG 2000.*gdcmconv --raw/);
  await refuses(
    () => readVolume(other("1.2.840.10008.1.2.4.100")),
    /the transfer syntax 1\.2\.840\.10008\.1\.2\.4\.100/,
  );
  for (
    const syntax of [
      "1.2.840.10008.1.2.5",
      "1.2.840.10008.1.2.4.50",
      "1.2.840.10008.1.2.4.70",
      "1.2.840.10008.1.2.4.80",
      "1.2.840.10008.1.2.4.90",
    ]
  ) {
    await refuses(() => readVolume(other(syntax)), /damaged pixels|pixels of \d component/);
  }
  for (const name of ["rle", "jpeg_lossless", "jpeg_ls", "j2k", "jpeg_baseline"]) {
    const bytes = bytesOf(name);
    // The last fragment loses its end, and keeps its length.
    bytes.fill(0, bytes.length - 40, bytes.length - 8);
    await refuses(() => readVolume(bytes), /damaged pixels/);
  }
});

test.run();
