import daikon from "daikon";
import { test } from "uvu";
import * as assert from "uvu/assert";
import {
  DicomError,
  makeVolume,
  readLabelVolume,
  readVolume,
  reorient,
  scaling,
  volumeLike,
} from "../../../engine/imaging/mod.ts";
import { encodeLabels, LABEL_FORMATS, writeDicomRtStruct, writeDicomSeg } from "../../../engine/imaging/mod.ts";
import type { LabelFormat, Volume } from "../../../engine/imaging/mod.ts";
import { cieLab } from "../../../engine/imaging/dicom/codes.ts";
import { failure, refuses } from "../../helpers/refuse.ts";
import { ctSlice, dicomFile } from "./dicom_files.ts";
import { orientations, seriesOf } from "./orientations.ts";

interface DaikonTag {
  readonly id: string;
  // deno-lint-ignore no-explicit-any
  readonly value: any;
}
type DaikonTags = { readonly tags: Readonly<Record<string, DaikonTag>> };

/** Parsed by another library. */
const parsed = (bytes: Uint8Array<ArrayBuffer>): DaikonTags =>
  daikon.Series.parseImage(new DataView(bytes.slice().buffer)) as DaikonTags;

/** Tags of an item of a sequence. */
const itemOf = (sequence: DaikonTag, k: number): Record<string, DaikonTag> =>
  Object.fromEntries(
    (sequence.value[k].value as DaikonTag[]).map((tag) => [tag.id, tag]),
  );

const scanOf = (name: string): Promise<Volume> =>
  readVolume(seriesOf(orientations().get(name)!).map((bytes, k) => new File([bytes], `IM${k}`)));

const LABELS = [{ value: 1, name: "liver" }, { value: 2, name: "left kidney" }, { value: 3, name: "Läsion ß" }];
const date = new Date(2024, 4, 6, 7, 8, 9);

/** A label map with every label, one slice without any, and one with all. */
const labelsOf = (scan: Volume): Volume =>
  volumeLike(
    scan,
    Uint8Array.from({ length: scan.data.length }, (_, i) => (Math.floor(i / 42) === 2 ? 0 : (7 * i + (i >> 3)) % 4)),
  );

test("writeDicomSeg() comes back exactly by readLabelVolume(), from every orientation", async () => {
  for (const name of ["012_0", "012_3_oblique", "120_5", "201_6_oblique", "210_7"]) {
    const labels = labelsOf(await scanOf(name));
    const bytes = await writeDicomSeg(labels, { labels: LABELS, date });
    const back = await readLabelVolume(bytes);
    assert.equal(back.shape, labels.shape, name);
    assert.equal([...back.data], [...labels.data], name);
    back.affine.forEach((v, k) => assert.ok(Math.abs(v - labels.affine[k]) < 1e-9));
  }
});

test("writeDicomSeg() puts label maps that were turned back onto the slices of the series", async () => {
  const labels = labelsOf(await scanOf("102_3_oblique"));
  const turned = await writeDicomSeg(reorient(labels, "RAS"), { labels: LABELS, date });
  assert.equal([...(await readLabelVolume(turned)).data], [...labels.data]);
});

test("writeDicomSeg() writes bits, segments, places and references that another parser finds", async () => {
  const scan = await scanOf("012_0");
  const labels = labelsOf(scan);
  const { tags } = parsed(await writeDicomSeg(labels, { labels: LABELS, date }));
  assert.is(tags["00080016"].value[0], "1.2.840.10008.5.1.4.1.1.66.4");
  assert.is(tags["0020000D"].value[0], "1.2.826.0.1.3680043.10.2", "the study of the scan");
  assert.is(String(tags["00100020"].value[0]), "P-17");
  const frames = Number(tags["00280008"].value[0]);
  const { buffer, byteOffset, byteLength } = tags["7FE00010"].value;
  const bits = new Uint8Array(buffer, byteOffset, byteLength);
  const found = new Uint8Array(labels.data.length);
  for (let frame = 0; frame < frames; frame++) {
    const group = itemOf(tags["52009230"], frame);
    const [segment] = [itemOf(group["0062000A"], 0)["0062000B"].value[0]];
    const position = itemOf(group["00209113"], 0)["00200032"].value;
    const z = Math.round((Number(position[2]) - 40.75) / 2.5);
    for (let i = 0; i < 42; i++) {
      const bit = frame * 42 + i;
      if ((bits[bit >> 3] >> (bit & 7)) & 1) found[z * 42 + i] = Number(segment);
    }
    const derived = itemOf(itemOf(group["00089124"], 0)["00082112"], 0);
    assert.is(derived["00081155"].value[0], `1.2.826.0.1.3680043.10.1.${z + 1}`, "the slice's own instance");
  }
  assert.equal([...found], [...labels.data]);
  const segments = [0, 1, 2].map((k) => itemOf(tags["00620002"], k));
  assert.equal(segments.map((each) => String(each["00620005"].value[0]).trim()), ["liver", "left kidney", "Lasion ?"]);
  const type = itemOf(segments[1]["0062000F"], 0);
  assert.is(String(type["00080100"].value[0]), "64033007");
  assert.is(String(itemOf(type["00620011"], 0)["00080104"].value[0]).trim(), "Left");
});

test("writeDicomSeg() takes codes and colors of the user, and is the same for the same input", async () => {
  const labels = labelsOf(await scanOf("012_0"));
  const codes = { liver: { type: ["T-62000", "SRT", "Liver"], color: "#ff0000" } } as const;
  const [a, b] = [
    await writeDicomSeg(labels, { labels: LABELS, codes, date }),
    await writeDicomSeg(labels, { labels: LABELS, codes, date }),
  ];
  assert.equal(a, b);
  const segment = itemOf(parsed(a).tags["00620002"], 0);
  assert.is(String(itemOf(segment["0062000F"], 0)["00080102"].value[0]).trim(), "SRT");
  // Red in CIELab of D50 is 54.29, 80.81, 69.89 (Lindbloom's calculator).
  const [l, red, yellow] = cieLab("#ff0000");
  assert.ok(Math.abs((l / 65535) * 100 - 54.29) < 0.05);
  assert.ok(Math.abs((red / 65535) * 255 - 128 - 80.81) < 0.1);
  assert.ok(Math.abs((yellow / 65535) * 255 - 128 - 69.89) < 0.1);
});

test("writeDicomSeg() of a label map without labels, and after a tilted gantry, has the grid of the scan", async () => {
  const scan = await scanOf("012_0");
  const none = volumeLike(scan, new Uint8Array(scan.data.length));
  const back = await readLabelVolume(await writeDicomSeg(none, { labels: LABELS }));
  assert.equal(back.shape, scan.shape);
  assert.ok(back.data.every((v) => v === 0));
  const tilted = await readVolume([0, 1, 2, 3].map((k) => {
    const slice = ctSlice({ columns: 6, rows: 20, number: k + 1, position: [0, k, 2.5 * k] });
    return new File([dicomFile(slice)], `IM${k}`);
  }));
  const labels = volumeLike(tilted, Uint8Array.from(tilted.data, (_, i) => i % 3));
  const again = await readLabelVolume(await writeDicomSeg(labels, { labels: LABELS }));
  assert.equal(again.shape, tilted.shape);
  assert.equal([...again.data], [...labels.data]);
});

test("writeDicomSeg() refuses other scans, values without a label, and codes that are none", async () => {
  const scan = await scanOf("012_0");
  const labels = labelsOf(scan);
  const plain = makeVolume(new Uint8Array(8), { shape: [2, 2, 2], affine: scaling([1, 1, 1]), name: "mask" });
  await refuses(
    () => writeDicomSeg(plain, { labels: LABELS }),
    /mask: got a label map of a scan that was not read from DICOM/,
  );
  await refuses(
    () => writeDicomSeg(labels, { labels: LABELS.slice(0, 2) }),
    /the value 3; wanted 0 or one of the labels: 1, 2/,
  );
  await refuses(() => writeDicomSeg(labels, { labels: [LABELS[0], LABELS[0]] }), /different whole values/);
  await refuses(
    () => writeDicomSeg(labels, { labels: LABELS, codes: { liver: { color: "red" } } }),
    /the color red; wanted #rrggbb/,
  );
  const wrong = { liver: { type: ["1", "SCT"] } } as never;
  assert.instance(await failure(() => writeDicomSeg(labels, { labels: LABELS, codes: wrong })), DicomError);
});

test("readLabelVolume() of a segmentation refuses what is fractional, overlaps or is cut off", async () => {
  const labels = labelsOf(await scanOf("012_0"));
  const bytes = await writeDicomSeg(labels, { labels: LABELS, date });
  const changed = (from: string, to: string): Uint8Array => {
    const at = Buffer.from(bytes).indexOf(from, 0, "latin1");
    const copy = bytes.slice();
    copy.set(Buffer.from(to, "latin1"), at);
    return copy;
  };
  await refuses(() => readVolume(changed("BINARY", "FRACTI")), /a segmentation of the type FRACTI/);
  await refuses(() => readVolume(bytes.subarray(0, bytes.length - 30)), /damaged elements|truncated/);
  // All bits set: every segment everywhere.
  const full = bytes.slice();
  full.fill(255, full.length - 40);
  await refuses(() => readVolume(full), /segments \d and \d, which overlap/);
});

test("writeDicomRtStruct() outlines the pixels of each label, whose even-odd filling gives them back", async () => {
  for (const name of ["012_0", "102_3_oblique"]) {
    const scan = await scanOf(name);
    const labels = labelsOf(scan);
    const { right, down, step } = orientations().get(name)!;
    const { tags } = parsed(await writeDicomRtStruct(labels, { labels: LABELS, date }));
    assert.is(tags["00080060"].value[0], "RTSTRUCT");
    const found = new Uint8Array(labels.data.length);
    for (const [k, { value }] of LABELS.entries()) {
      const contours = itemOf(tags["30060039"], k)["30060040"];
      const inside = new Uint8Array(found.length);
      for (let c = 0; c < contours.value.length; c++) {
        const data = Array.from(itemOf(contours, c)["30060050"].value, Number);
        // From the patient's coordinates to pixels, by the series' own geometry.
        const points = Array.from({ length: data.length / 3 }, (_, p) => {
          const [x, y, z] = [0, 1, 2].map((axis) => data[3 * p + axis] - [-21.5, 13.25, 40.75][axis]);
          const along = (v: readonly number[]): number => x * v[0] + y * v[1] + z * v[2];
          return [along(right) / 0.5, along(down) / 0.75, along(step) / 6.25];
        });
        const slice = Math.round(points[0][2]);
        // The volume's slices go along the cross product of rows and columns.
        const z = labels.dicom!.slices.findIndex(({ instance }) => instance.endsWith(`.1.${slice + 1}`));
        for (let row = 0; row < 6; row++) {
          for (let column = 0; column < 7; column++) {
            let odd = false;
            points.forEach(([ax, ay], p) => {
              const [bx, by] = points[(p + 1) % points.length];
              if (ay > row !== by > row && column < ((bx - ax) * (row - ay)) / (by - ay) + ax) odd = !odd;
            });
            if (odd) inside[z * 42 + row * 7 + column] ^= 1;
          }
        }
      }
      inside.forEach((bit, i) => bit && (found[i] = value));
    }
    assert.equal([...found], [...labels.data], name);
  }
});

test("encodeLabels() gives each format that reads back, and refuses DICOM for other scans", async () => {
  const labels = labelsOf(await scanOf("201_6_oblique"));
  for (const [format, ending] of Object.entries(LABEL_FORMATS)) {
    if (format === "rtstruct") continue;
    const bytes = await encodeLabels(labels, format as LabelFormat, { labels: LABELS });
    const back = await readLabelVolume(new File([bytes], `case${ending}`));
    assert.equal([...back.data], [...labels.data], format);
    back.affine.forEach((v, k) => assert.ok(Math.abs(v - labels.affine[k]) < 1e-5, format));
  }
  const { dicom: _, ...plain } = labels;
  await refuses(() => encodeLabels(plain, "seg", { labels: LABELS }), /not read from DICOM/);
  await refuses(() => encodeLabels(labels, "png" as LabelFormat, { labels: LABELS }), /got "png", wanted one of nifti/);
});

test.run();
