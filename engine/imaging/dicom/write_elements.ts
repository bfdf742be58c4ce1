/** Writes DICOM files: little-endian, sequences of defined length. */
import { EXPLICIT, IMPLICIT, PREAMBLE } from "./is_dicom.ts";

/** Text, numbers of a binary VR, bytes, or the items of a sequence; undefined leaves the element out. */
export type ElementValue = string | readonly number[] | Uint8Array | readonly ElementList[] | undefined;

/** Elements by tag and VR: { "00280010 US": [64] }. Numbers of DS and IS are written as text. */
export type ElementList = { readonly [tag: string]: ElementValue };

/** VRs with a length of four bytes. */
const LONG: ReadonlySet<string> = new Set(["OB", "OW", "SQ", "UT", "UN", "UC"]);
const BINARY: Readonly<Record<string, [bytes: number, set: "setUint16" | "setUint32"]>> = {
  US: [2, "setUint16"],
  UL: [4, "setUint32"],
  AT: [2, "setUint16"],
};
/** By this Implementation Class UID, of a UUID, files are known as voxgrad's. */
const IMPLEMENTATION = "2.25.182963947252904718336273937263501924437";

/** A number as a decimal string of at most 16 characters. */
export function decimal(value: number): string {
  const exact = String(value + 0);
  if (exact.length <= 16) return exact;
  for (let digits = 15; digits > 0; digits--) {
    const text = String(+value.toPrecision(digits));
    if (text.length <= 16) return text;
  }
  return "0";
}

/** Text whose letters are bytes: Latin 1, or what another character set has made of them. */
function bytesOf(text: string): Uint8Array<ArrayBuffer> {
  const out = new Uint8Array(text.length);
  for (let k = 0; k < text.length; k++) out[k] = text.charCodeAt(k);
  return out;
}

function joined(parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const out = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}

/** @param vr "" for an element without it: an item, or any of implicit VR */
function head(tag: string, vr: string, length: number): Uint8Array {
  const long = LONG.has(vr);
  const out = new Uint8Array(vr === "" || !long ? 8 : 12);
  const view = new DataView(out.buffer);
  view.setUint16(0, parseInt(tag.slice(0, 4), 16), true);
  view.setUint16(2, parseInt(tag.slice(4, 8), 16), true);
  if (vr === "") {
    view.setUint32(4, length, true);
    return out;
  }
  out.set(bytesOf(vr), 4);
  if (long) view.setUint32(8, length, true);
  else view.setUint16(6, length, true);
  return out;
}

function valueOf(vr: string, value: Exclude<ElementValue, undefined>, implicit: boolean): Uint8Array {
  if (value instanceof Uint8Array) return value;
  if (vr === "SQ") {
    return joined((value as readonly ElementList[]).flatMap((item) => {
      const content = encodeElements(item, implicit);
      return [head("fffee000", "", content.length), content];
    }));
  }
  const binary = BINARY[vr];
  if (!binary) return bytesOf(typeof value === "string" ? value : (value as readonly number[]).map(decimal).join("\\"));
  const numbers = value as readonly number[];
  const out = new Uint8Array(binary[0] * numbers.length);
  const view = new DataView(out.buffer);
  numbers.forEach((each, k) => view[binary[1]](binary[0] * k, each, true));
  return out;
}

function encodeElements(list: ElementList, implicit = false): Uint8Array<ArrayBuffer> {
  const parts: Uint8Array[] = [];
  for (const key of Object.keys(list).sort()) {
    const value = list[key];
    if (value === undefined) continue;
    const [tag, vr] = key.split(" ");
    const bytes = valueOf(vr, value, implicit);
    const odd = bytes.length % 2;
    parts.push(head(tag, implicit ? "" : vr, bytes.length + odd), bytes);
    // UIDs and bytes are padded by zero, text by a space.
    if (odd) parts.push(Uint8Array.of(vr === "UI" || value instanceof Uint8Array ? 0 : 32));
  }
  return joined(parts);
}

/**
 * A DICOM file (PS3.10) of these elements, among them SOP class and SOP instance.
 *
 * @param options implicit: without VRs, whose lengths are of four bytes, for text of 64 KiB or more
 */
export function encodeDicom(list: ElementList, { implicit = false } = {}): Uint8Array<ArrayBuffer> {
  const meta = encodeElements({
    "00020001 OB": Uint8Array.of(0, 1),
    "00020002 UI": list["00080016 UI"],
    "00020003 UI": list["00080018 UI"],
    "00020010 UI": implicit ? IMPLICIT : EXPLICIT,
    "00020012 UI": IMPLEMENTATION,
    "00020013 SH": "VOXGRAD",
  });
  const start = new Uint8Array(PREAMBLE + 4);
  start.set(bytesOf("DICM"), PREAMBLE);
  return joined([start, encodeElements({ "00020000 UL": [meta.length] }), meta, encodeElements(list, implicit)]);
}
