/** Label maps as sets of contours for radiotherapy (RT Structure Set, PS3.3, A.19). */
import type { DicomSlice, LpsVector, Volume } from "../volume/volume.ts";
import { codeOf, rgbOf } from "./codes.ts";
import { outlines, type Point } from "./contours.ts";
import {
  checkDerived,
  codeItem,
  commonElements,
  type DerivedOptions,
  dicomDate,
  dicomTime,
  plainText,
  uidOf,
} from "./derived.ts";
import { type ElementList, encodeDicom } from "./write_elements.ts";
import { onSlices, references } from "./write_segmentation.ts";

const STRUCTURE_SET = "1.2.840.10008.5.1.4.1.1.481.3";
const STUDY_MANAGEMENT = "1.2.840.10008.3.1.2.3.1";

/** Encodes a label map as `writeDicomRtStruct` says. */
export async function encodeStructures(volume: Volume, options: DerivedOptions): Promise<Uint8Array<ArrayBuffer>> {
  const source = checkDerived("RT Structure Set", volume, options);
  const { labels, codes, date = new Date(), description = "Segmentation" } = options;
  const { turned, slices, own } = onSlices(volume, source);
  const [columns, rows] = turned.shape;
  const size = columns * rows;
  const instance = await uidOf(
    ...[source.series, `${dicomDate(date)}${dicomTime(date)}`, JSON.stringify([labels, codes ?? {}, description])],
    new Uint8Array(turned.data.buffer, turned.data.byteOffset, turned.data.byteLength),
  );
  const reference = (slice: DicomSlice): ElementList[] | undefined =>
    own ? [{ "00081150 UI": source.sopClass, "00081155 UI": slice.instance, ...frameOf(slice, slices) }] : undefined;
  const contours = (value: number): ElementList[] =>
    slices.flatMap((slice, z) =>
      outlines(turned.data.subarray(z * size, (z + 1) * size), columns, rows, value).map((points): ElementList => ({
        "30060016 SQ": reference(slice),
        "30060042 CS": "CLOSED_PLANAR",
        "30060046 IS": [points.length],
        "30060050 DS": points.flatMap((point) => placeOf(slice, point)),
      }))
    );
  const frame = source.attributes.x00200052 ?? "";
  const coded = labels.map(({ value, name }) => codeOf(name, value, codes));
  return encodeDicom({
    ...commonElements(source),
    "00080016 UI": STRUCTURE_SET,
    "00080018 UI": instance,
    "00080021 DA": dicomDate(date),
    "00080031 TM": dicomTime(date),
    "00080060 CS": "RTSTRUCT",
    "0008103e LO": plainText(description),
    "00081070 PN": "",
    "0020000e UI": await uidOf(instance, "series"),
    "00200011 IS": [301],
    "30060002 SH": "voxgrad",
    "30060004 LO": plainText(description),
    "30060008 DA": dicomDate(date),
    "30060009 TM": dicomTime(date),
    "30060010 SQ": [{
      "00200052 UI": frame,
      "30060012 SQ": [{
        "00081150 UI": STUDY_MANAGEMENT,
        "00081155 UI": source.attributes.x0020000d ?? "",
        "30060014 SQ": [{ "0020000e UI": source.series, "30060016 SQ": references(source) }],
      }],
    }],
    "30060020 SQ": labels.map(({ name }, k) => ({
      "30060022 IS": [k + 1],
      "30060024 UI": frame,
      "30060026 LO": plainText(name),
      "30060036 CS": "AUTOMATIC",
    })),
    "30060039 SQ": labels.map(({ value }, k) => {
      const found = contours(value);
      return {
        "3006002a IS": rgbOf(coded[k].color),
        "30060040 SQ": found.length > 0 ? found : undefined,
        "30060084 IS": [k + 1],
      };
    }),
    "30060080 SQ": labels.map(({ name }, k) => ({
      "30060082 IS": [k + 1],
      "30060084 IS": [k + 1],
      "30060085 SH": plainText(name).slice(0, 16),
      "30060086 SQ": [codeItem(coded[k].type)],
      "300600a4 CS": "ORGAN",
      "300600a6 PN": "",
    })),
    "300e0002 CS": "UNAPPROVED",
  }, { implicit: true }); // contours may be longer than the lengths of explicit VR
}

/** The number of a slice's frame, if its instance has several. */
const frameOf = ({ instance, frame }: DicomSlice, slices: readonly DicomSlice[]): ElementList =>
  slices.filter((each) => each.instance === instance).length > 1 ? { "00081160 IS": [frame + 1] } : {};

/** A point of a slice in the patient's coordinates, to a thousandth of a millimeter. */
function placeOf({ position, right, down, pixel }: DicomSlice, [column, row]: Point): LpsVector {
  const at = (axis: 0 | 1 | 2): number =>
    Math.round(1000 * (position[axis] + column * pixel[0] * right[axis] + row * pixel[1] * down[axis])) / 1000;
  return [at(0), at(1), at(2)];
}
