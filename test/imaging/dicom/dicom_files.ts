/** Writes DICOM files for tests, on its own: in each encoding that has its own order of bytes or form of elements. */

export type Value = string | number | readonly number[] | Uint8Array<ArrayBuffer> | readonly Elements[] | undefined;
/** Values by tag and VR: { "00280010 US": 64 }. */
export type Elements = { readonly [tag: string]: Value };

export interface Encoding {
  /** UID of the transfer syntax. */
  readonly syntax?: string;
  readonly explicit?: boolean;
  readonly little?: boolean;
  /** What stands before the elements. */
  readonly start?: "whole" | "no preamble" | "nothing";
  /** Fragments of compressed pixels. */
  readonly fragments?: readonly Uint8Array<ArrayBuffer>[];
}

export const IMPLICIT: Encoding = { syntax: "1.2.840.10008.1.2", explicit: false };
export const EXPLICIT: Encoding = { syntax: "1.2.840.10008.1.2.1" };
export const BIG_ENDIAN: Encoding = { syntax: "1.2.840.10008.1.2.2", little: false };

const LONG = new Set(["OB", "OW", "SQ", "UN", "UT", "OF"]);
const NUMBERS: Readonly<Record<string, [bytes: number, set: "setUint16" | "setInt16" | "setUint32" | "setFloat64"]>> = {
  US: [2, "setUint16"],
  SS: [2, "setInt16"],
  UL: [4, "setUint32"],
  FD: [8, "setFloat64"],
  AT: [2, "setUint16"],
};

const joined = (parts: readonly Uint8Array<ArrayBuffer>[]): Uint8Array<ArrayBuffer> => {
  const out = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
};

function header(tag: string, vr: string, length: number, explicit: boolean, little: boolean): Uint8Array<ArrayBuffer> {
  const long = explicit && LONG.has(vr);
  const out = new Uint8Array(long ? 12 : 8);
  const view = new DataView(out.buffer);
  view.setUint16(0, parseInt(tag.slice(0, 4), 16), little);
  view.setUint16(2, parseInt(tag.slice(4), 16), little);
  if (!explicit) view.setUint32(4, length, little);
  else {
    out[4] = vr.charCodeAt(0);
    out[5] = vr.charCodeAt(1);
    if (long) view.setUint32(8, length, little);
    else view.setUint16(6, length, little);
  }
  return out;
}

function valueBytes(vr: string, value: Value, explicit: boolean, little: boolean): Uint8Array<ArrayBuffer> {
  if (value instanceof Uint8Array) return value;
  if (vr === "SQ") {
    return joined((value as readonly Elements[]).flatMap((item) => {
      const content = elements(item, explicit, little);
      return [header("fffee000", "", content.length, false, little), content];
    }));
  }
  const numeric = NUMBERS[vr];
  if (numeric) {
    const list = (Array.isArray(value) ? value : [value]) as number[];
    const out = new Uint8Array(numeric[0] * list.length);
    const view = new DataView(out.buffer);
    list.forEach((each, k) => view[numeric[1]](numeric[0] * k, each, little));
    return out;
  }
  const text = Array.isArray(value) ? value.join("\\") : String(value);
  return new TextEncoder().encode(text.length % 2 === 1 ? text + (vr === "UI" ? "\0" : " ") : text);
}

function elements(list: Elements, explicit: boolean, little: boolean): Uint8Array<ArrayBuffer> {
  return joined(
    Object.entries(list).filter(([, value]) => value !== undefined).sort(([a], [b]) => (a < b ? -1 : 1)).flatMap(
      ([key, value]) => {
        const [tag, vr] = key.split(" ");
        const bytes = valueBytes(vr, value, explicit, little);
        const even = bytes.length % 2 === 1 ? joined([bytes, new Uint8Array(1)]) : bytes;
        return [header(tag, vr, even.length, explicit, little), even];
      },
    ),
  );
}

/** A file with these elements. */
export function dicomFile(list: Elements, encoding: Encoding = EXPLICIT): Uint8Array<ArrayBuffer> {
  const { syntax = EXPLICIT.syntax!, explicit = true, little = true, start = "whole", fragments } = encoding;
  const content = [elements(list, explicit, little)];
  if (fragments) {
    const item = (bytes: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer>[] => {
      const even = bytes.length % 2 === 1 ? joined([bytes, new Uint8Array(1)]) : bytes;
      return [header("fffee000", "", even.length, false, true), even];
    };
    content.push(header("7fe00010", "OB", 0xffffffff, true, true), ...item(new Uint8Array(0)));
    content.push(...fragments.flatMap(item), header("fffee0dd", "", 0, false, true));
  }
  if (start === "nothing") return joined(content);
  const facts = { "00020002 UI": list["00080016 UI"], "00020003 UI": list["00080018 UI"], "00020010 UI": syntax };
  const meta = elements(facts, true, true);
  const whole = [elements({ "00020000 UL": meta.length }, true, true), meta, ...content];
  const preamble = new Uint8Array(132);
  preamble.set([68, 73, 67, 77], 128);
  return joined(start === "whole" ? [preamble, ...whole] : whole);
}

/** Elements of a slice of a CT series; `changes` replace and add, undefined removes. */
export function ctSlice(
  { columns = 5, rows = 4, number = 1, position = [0, 0, 0], orientation = [1, 0, 0, 0, 1, 0], pixels }: {
    columns?: number;
    rows?: number;
    number?: number;
    position?: readonly number[];
    orientation?: readonly number[];
    pixels?: Uint8Array<ArrayBuffer> | readonly number[];
  },
  changes: Elements = {},
): Elements {
  const values = pixels ?? Array.from({ length: rows * columns }, (_, k) => 100 * number + k);
  return {
    "00080005 CS": "ISO_IR 100",
    "00080008 CS": "ORIGINAL\\PRIMARY\\AXIAL",
    "00080016 UI": "1.2.840.10008.5.1.4.1.1.2",
    "00080018 UI": `1.2.826.0.1.3680043.10.1.${number}`,
    "00080020 DA": "20240102",
    "00080030 TM": "101112",
    "00080050 SH": "",
    "00080060 CS": "CT",
    "00080070 LO": "voxgrad",
    "00080090 PN": "",
    "00100010 PN": "Doe^Jane",
    "00100020 LO": "P-17",
    "00100030 DA": "19700101",
    "00100040 CS": "F",
    "00180050 DS": 2.5,
    "00180060 DS": 120,
    "0020000d UI": "1.2.826.0.1.3680043.10.2",
    "0020000e UI": "1.2.826.0.1.3680043.10.3",
    "00200010 SH": "S1",
    "00200011 IS": 4,
    "00200012 IS": 1,
    "00200013 IS": number,
    "00200032 DS": position.map((v) => +v.toFixed(6)),
    "00200037 DS": orientation.map((v) => +v.toFixed(6)),
    "00200052 UI": "1.2.826.0.1.3680043.10.4",
    "00201040 LO": "",
    "00280002 US": 1,
    "00280004 CS": "MONOCHROME2",
    "00280010 US": rows,
    "00280011 US": columns,
    "00280030 DS": [0.75, 0.5],
    "00280100 US": 16,
    "00280101 US": 16,
    "00280102 US": 15,
    "00280103 US": 1,
    "00281052 DS": 0,
    "00281053 DS": 1,
    "7fe00010 OW": values instanceof Uint8Array ? values : words(values),
    ...changes,
  };
}

/** Integers as words of 16 bits. */
export function words(values: readonly number[], little = true): Uint8Array<ArrayBuffer> {
  const out = new Uint8Array(2 * values.length);
  const view = new DataView(out.buffer);
  values.forEach((value, k) => view.setUint16(2 * k, value & 0xffff, little));
  return out;
}
