/** What files that are derived from a series have in common: whose they are, when and by what they were made. */
import { sha256 } from "../../core/digest.ts";
import { VERSION } from "../../core/version.ts";
import type { DicomSource, Volume } from "../volume/volume.ts";
import { DicomError } from "./dicom_error.ts";
import type { Code, SegmentCode } from "./codes.ts";
import type { ElementList } from "./write_elements.ts";

export interface DicomLabel {
  /** Above 0. */
  readonly value: number;
  readonly name: string;
}

export interface DerivedOptions {
  /** What the values mean, without the background. */
  readonly labels: readonly DicomLabel[];
  /** Codes and colors by the name of a label, for those that the table has not or has otherwise. */
  readonly codes?: Readonly<Record<string, SegmentCode>>;
  /** When it was made; default: now. */
  readonly date?: Date;
  /** Shown in lists; default "Segmentation". */
  readonly description?: string;
}

/** The series of a label map, and its values, which fit the labels. */
export function checkDerived(what: string, volume: Volume, options: DerivedOptions): DicomSource {
  const { dicom, channels, name, data } = volume;
  if (!dicom) {
    throw new DicomError(name, "a label map of a scan that was not read from DICOM", `one that was, for a ${what}`);
  }
  if (channels !== 1) throw new DicomError(name, `${channels} channels`, "one label for each voxel");
  const { labels, codes = {} } = options;
  const values = new Set(labels.map(({ value }) => value));
  const numbered = labels.every(({ value }) => Number.isInteger(value) && value >= 1 && value <= 65535);
  if (labels.length === 0 || values.size !== labels.length || !numbered) {
    throw new DicomError(
      name,
      `labels ${[...values].slice(0, 20).join(", ")}`,
      "different whole values from 1 to 65535",
    );
  }
  for (const value of new Set(data)) {
    if (value !== 0 && !values.has(value)) {
      throw new DicomError(
        name,
        `the value ${value}`,
        `0 or one of the labels: ${[...values].slice(0, 20).join(", ")}`,
      );
    }
  }
  for (const [label, { color, category, type }] of Object.entries(codes)) {
    const isCode = (code: Code | undefined): boolean =>
      code === undefined ||
      (Array.isArray(code) && code.length === 3 && code.every((v) => typeof v === "string" && v !== ""));
    if (!isCode(category) || !isCode(type)) {
      throw new DicomError(`the codes of ${label}`, "no code", '["10200004", "SCT", "Liver"]: value, scheme, meaning');
    }
    if (color !== undefined && !/^#[0-9a-f]{6}$/i.test(color)) {
      throw new DicomError(`the codes of ${label}`, `the color ${String(color).slice(0, 20)}`, "#rrggbb");
    }
  }
  return dicom;
}

/** A UID of a UUID (PS3.5, B.2), the same for the same content. */
export async function uidOf(...content: readonly (string | Uint8Array)[]): Promise<string> {
  const digests = await Promise.all(content.map((each) => sha256(each)));
  const digest = await sha256(digests.join());
  return `2.25.${BigInt(`0x${digest.slice(0, 32)}`)}`;
}

/** Text of at most 64 letters that any character set of a series has. */
export const plainText = (text: string): string =>
  text.normalize("NFKD").replace(/[\u0300-\u036f]/g, "").replace(/[^ -~]|\\/g, "?").slice(0, 64);

export const codeItem = ([value, scheme, meaning]: Code): ElementList => ({
  "00080100 SH": value,
  "00080102 SH": scheme,
  "00080104 LO": plainText(meaning),
});

const two = (value: number): string => String(value).padStart(2, "0");
export const dicomDate = (date: Date): string =>
  `${date.getFullYear()}${two(date.getMonth() + 1)}${two(date.getDate())}`;
export const dicomTime = (date: Date): string =>
  `${two(date.getHours())}${two(date.getMinutes())}${two(date.getSeconds())}`;

/** Patient, study and frame of reference of the source, and voxgrad as the equipment. */
export function commonElements(source: DicomSource): ElementList {
  const { attributes } = source;
  const kept = (tag: string): string => attributes[tag] ?? "";
  return {
    "00080005 CS": attributes.x00080005,
    "00080020 DA": kept("x00080020"),
    "00080030 TM": kept("x00080030"),
    "00080050 SH": kept("x00080050"),
    "00080090 PN": kept("x00080090"),
    "00081030 LO": attributes.x00081030,
    "00100010 PN": kept("x00100010"),
    "00100020 LO": kept("x00100020"),
    "00100030 DA": kept("x00100030"),
    "00100040 CS": kept("x00100040"),
    "0020000d UI": kept("x0020000d"),
    "00200010 SH": kept("x00200010"),
    "00200052 UI": kept("x00200052"),
    "00201040 LO": kept("x00201040"),
    "00080070 LO": "voxgrad",
    "00081090 LO": "voxgrad",
    "00181000 LO": "0",
    "00181020 LO": VERSION,
  };
}
