/** Label maps as DICOM segmentations (PS3.3, A.51): one binary frame for each label and slice that has it. */
import { turnedOnto } from "../volume/reorient.ts";
import { columnNorms } from "../volume/affine.ts";
import type { DicomSlice, DicomSource, Volume } from "../volume/volume.ts";
import { cieLab, codeOf } from "./codes.ts";
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
import { seriesGrid } from "./geometry.ts";
import { SEGMENTATION } from "./series.ts";
import { type ElementList, encodeDicom } from "./write_elements.ts";

/** Encodes a label map as `writeDicomSeg` says. */
export async function encodeSegmentation(volume: Volume, options: DerivedOptions): Promise<Uint8Array<ArrayBuffer>> {
  const source = checkDerived("DICOM segmentation", volume, options);
  const { labels, codes, date = new Date(), description = "Segmentation" } = options;
  const { turned, slices, own } = onSlices(volume, source);
  const [columns, rows, count] = turned.shape;
  // Slices of a tilted gantry are shifted within their planes, one for each of the series.
  const referred = count === source.slices.length;
  const size = columns * rows;
  const numbers = new Map(labels.map(({ value }, k) => [value, k + 1]));
  const frames: { segment: number; z: number }[] = [];
  const present = Array.from({ length: count }, (_, z) => new Set(turned.data.subarray(z * size, (z + 1) * size)));
  for (const { value } of labels) {
    const segment = numbers.get(value)!;
    for (let z = 0; z < count; z++) {
      const edge = segment === 1 && (z === 0 || z === count - 1);
      if (present[z].has(value) || edge) frames.push({ segment, z });
    }
  }
  const bits = new Uint8Array(Math.ceil((frames.length * size) / 8));
  frames.forEach(({ segment, z }, frame) => {
    const { value } = labels[segment - 1];
    for (let i = 0; i < size; i++) {
      if (turned.data[z * size + i] !== value) continue;
      const bit = frame * size + i;
      bits[bit >> 3] |= 1 << (bit & 7);
    }
  });
  const made = `${dicomDate(date)}${dicomTime(date)}`;
  const instance = await uidOf(source.series, made, JSON.stringify([labels, codes ?? {}, description]), bits);
  const [series, organization] = [await uidOf(instance, "series"), await uidOf(instance, "dimensions")];
  const spacing = columnNorms(turned.affine);
  return encodeDicom({
    ...commonElements(source),
    "00080008 CS": "DERIVED\\PRIMARY",
    "00080016 UI": SEGMENTATION,
    "00080018 UI": instance,
    "00080021 DA": dicomDate(date),
    "00080023 DA": dicomDate(date),
    "00080031 TM": dicomTime(date),
    "00080033 TM": dicomTime(date),
    "00080060 CS": "SEG",
    "0008103e LO": plainText(description),
    "00081115 SQ": referred ? [{ "0008114a SQ": references(source), "0020000e UI": source.series }] : undefined,
    "0020000e UI": series,
    "00200011 IS": [300],
    "00200013 IS": [1],
    "00209221 SQ": [{ "00209164 UI": organization }],
    "00209222 SQ": [
      dimension(organization, [0x62, 0x0b], [0x62, 0x0a], "ReferencedSegmentNumber"),
      dimension(organization, [0x20, 0x32], [0x20, 0x9113], "ImagePositionPatient"),
    ],
    "00280002 US": [1],
    "00280004 CS": "MONOCHROME2",
    "00280008 IS": [frames.length],
    "00280010 US": [rows],
    "00280011 US": [columns],
    "00280100 US": [1],
    "00280101 US": [1],
    "00280102 US": [0],
    "00280103 US": [0],
    "00282110 CS": "00",
    "00620001 CS": "BINARY",
    "00620002 SQ": labels.map(({ value, name }, k) => segmentItem(k + 1, name, codeOf(name, value, codes))),
    "00700080 CS": "SEGMENTATION",
    "00700081 LO": plainText(description),
    "00700084 PN": "",
    "52009229 SQ": [{
      "00209116 SQ": [{ "00200037 DS": [...slices[0].right, ...slices[0].down] }],
      "00289110 SQ": [{
        "00180050 DS": [spacing[2]],
        "00180088 DS": [spacing[2]],
        "00280030 DS": [slices[0].pixel[1], slices[0].pixel[0]],
      }],
    }],
    "52009230 SQ": frames.map(({ segment, z }) => ({
      "00089124 SQ": referred ? [derivation(source, source.slices[z], own)] : [],
      "00209111 SQ": [{ "00209157 UL": [segment, z + 1] }],
      "00209113 SQ": [{ "00200032 DS": slices[z].position }],
      "0062000a SQ": [{ "0062000b US": [segment] }],
    })),
    "7fe00010 OB": bits,
  });
}

/** The label map on the slices of its series, if it is on their grid, else on slices of its own. */
export function onSlices(volume: Volume, source: DicomSource): {
  turned: Volume;
  slices: readonly DicomSlice[];
  own: boolean;
} {
  const [first] = source.slices;
  const { affine, shift } = seriesGrid(source.slices.map(asSlice), volume.name);
  const shape = [first.columns, first.rows, source.slices.length] as const;
  const turned = shift ? undefined : turnedOnto(volume, { shape, affine, spacing: columnNorms(affine) });
  if (turned) return { turned, slices: source.slices, own: true };
  const norms = columnNorms(volume.affine);
  const lps = (column: number): [number, number, number] => {
    const at = (row: number): number => (row < 2 ? -1 : 1) * volume.affine[4 * row + column] + 0;
    return [at(0), at(1), at(2)];
  };
  const unit = (column: number): [number, number, number] => {
    const [x, y, z] = lps(column);
    return [x / norms[column], y / norms[column], z / norms[column]];
  };
  const [right, down, step, origin] = [unit(0), unit(1), lps(2), lps(3)];
  const slices = Array.from({ length: volume.shape[2] }, (_, z): DicomSlice => ({
    ...{ instance: "", frame: 0, columns: volume.shape[0], rows: volume.shape[1], right, down },
    position: [origin[0] + z * step[0], origin[1] + z * step[1], origin[2] + z * step[2]],
    pixel: [norms[0], norms[1]],
  }));
  return { turned: volume, slices, own: false };
}

const asSlice = (slice: DicomSlice) => ({
  ...slice,
  ...{ file: slice.instance, step: 1, slope: 1, intercept: 0, bits: 16, signed: false },
});

/** Each instance of the series once. */
export const references = ({ slices, sopClass }: DicomSource): ElementList[] =>
  [...new Set(slices.map(({ instance }) => instance))].map((instance) => ({
    "00081150 UI": sopClass,
    "00081155 UI": instance,
  }));

const dimension = (uid: string, index: number[], group: number[], label: string): ElementList => ({
  "00209164 UI": uid,
  "00209165 AT": index,
  "00209167 AT": group,
  "00209421 LO": label,
});

function segmentItem(number: number, name: string, code: ReturnType<typeof codeOf>): ElementList {
  const { category, type, color, side } = code;
  return {
    "00620003 SQ": [codeItem(category)],
    "00620004 US": [number],
    "00620005 LO": plainText(name),
    "00620008 CS": "AUTOMATIC",
    "00620009 LO": "voxgrad",
    "0062000d US": cieLab(color),
    "0062000f SQ": [{ ...codeItem(type), "00620011 SQ": side ? [codeItem(side)] : undefined }],
  };
}

/** The frame that a frame of the segmentation was made from. */
const derivation = (
  { sopClass, slices }: DicomSource,
  { instance, frame }: DicomSlice,
  inPlace: boolean,
): ElementList => ({
  "00082112 SQ": [{
    "00081150 UI": sopClass,
    "00081155 UI": instance,
    "00081160 IS": slices.filter((each) => each.instance === instance).length > 1 ? [frame + 1] : undefined,
    "0028135a CS": inPlace ? "YES" : "NO",
    "0040a170 SQ": [codeItem(["121322", "DCM", "Source image for image processing operation"])],
  }],
  "00089215 SQ": [codeItem(["113076", "DCM", "Segmentation"])],
});
