/** DICOM files: recognized, parsed by dicom-parser, and their elements read with checks. */
import dicomParser from "dicom-parser";
import type { DataSet } from "dicom-parser";
import { contentSink } from "../nifti/gunzip.ts";
import { inflate } from "../nifti/inflate.ts";
import { DicomError } from "./dicom_error.ts";
import { PREAMBLE, startOf } from "./is_dicom.ts";

export type { DataSet, Element } from "dicom-parser";

const WANTED = "a DICOM file (PS3.10)";

export interface DicomFile {
  readonly name: string;
  readonly elements: DataSet;
  /** UID of the transfer syntax. */
  readonly syntax: string;
}

/**
 * Parses a DICOM file. Values are not read before they are asked for.
 *
 * @throws DicomError if it is no DICOM file, or its elements do not fit into it
 */
export function parseDicom(bytes: Uint8Array, name: string): DicomFile {
  if (bytes.length === 0) throw new DicomError(name, "an empty file", WANTED);
  const start = startOf(bytes);
  if (start === undefined) throw new DicomError(name, `${bytes.length} bytes that are no DICOM elements`, WANTED);
  let whole = new Uint8Array(bytes.buffer as ArrayBuffer, bytes.byteOffset, bytes.byteLength);
  if (start === "prefix" || start === "meta") {
    const before = start === "prefix" ? PREAMBLE : PREAMBLE + 4;
    whole = new Uint8Array(before + bytes.length);
    whole.set([68, 73, 67, 77], PREAMBLE);
    whole.set(bytes, before);
  }
  const given = typeof start === "object" ? { TransferSyntaxUID: start.syntax } : {};
  const elements = parsed(name, () => dicomParser.parseDicom(whole, { ...given, inflater }));
  const syntax = typeof start === "object" ? start.syntax : text(elements, "x00020010") ?? "";
  if (syntax === "") throw new DicomError(name, "no transfer syntax (0002,0010)", WANTED);
  return { name, elements, syntax };
}

/** The whole file with its deflated part unpacked: what lies before `position` stays as it is. */
function inflater(bytes: Uint8Array, position: number): Uint8Array {
  const sink = contentSink({ head: 0, wanted: () => 1032 * bytes.length });
  inflate(bytes as Uint8Array<ArrayBuffer>, position, sink);
  const whole = new Uint8Array(position + sink.length);
  whole.set(bytes.subarray(0, position));
  whole.set(sink.buffer.subarray(0, sink.length), position);
  return whole;
}

/** Runs the parser, whose errors are strings, objects of its own, or of the host where offsets lead out of the file. */
function parsed<T>(name: string, run: () => T): T {
  try {
    return run();
  } catch (cause) {
    const inner = (cause as { exception?: unknown }).exception ?? cause;
    const why = inner instanceof Error ? inner.message : String(inner);
    throw new DicomError(name, `damaged elements (${why.replace(/^dicomParser\.\w+: /, "")})`, WANTED, cause);
  }
}

/** A tag for a message: x00280010 as (0028,0010). */
export const shownTag = (tag: string): string => `(${tag.slice(1, 5)},${tag.slice(5)})`;

/** The bytes of an element's value; undefined if it is absent or empty. */
export function valueBytes(elements: DataSet, tag: string): Uint8Array | undefined {
  const element = elements.elements[tag];
  if (!element || element.length === 0 || element.fragments || element.items) return undefined;
  const { byteArray } = elements;
  if (element.dataOffset + element.length > byteArray.length) return undefined;
  return byteArray.subarray(element.dataOffset, element.dataOffset + element.length);
}

/** A string without padding; undefined if it is absent or empty. Latin 1, which identifiers and codes are within. */
export function text(elements: DataSet, tag: string): string | undefined {
  const bytes = valueBytes(elements, tag);
  if (!bytes || bytes.length > 2 ** 20) return undefined;
  let out = "";
  for (const byte of bytes) out += String.fromCharCode(byte);
  out = out.replace(/[\0 ]+$/, "").replace(/^ +/, "");
  return out === "" ? undefined : out;
}

const NUMBER = /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i;

/**
 * The numbers of a decimal or integer string; undefined if it is absent.
 *
 * @param count wanted; default: any
 * @throws DicomError if they are others
 */
export function numbers(elements: DataSet, tag: string, name: string, count?: number): number[] | undefined {
  const stored = text(elements, tag);
  if (stored === undefined) return undefined;
  const parts = stored.split("\\").map((part) => part.replace(/[\0 ]+$/, "").trim());
  const found = parts.map((part) => (NUMBER.test(part) ? Number(part) : NaN));
  if (found.every(Number.isFinite) && (count === undefined || found.length === count)) return found;
  const wanted = `${count ?? "decimal"} number(s)`;
  throw new DicomError(name, `"${stored.slice(0, 80)}" in ${shownTag(tag)}`, wanted);
}

/** A number of a decimal or integer string. */
export const number = (elements: DataSet, tag: string, name: string): number | undefined =>
  numbers(elements, tag, name, 1)?.[0];

/** An unsigned integer of two bytes; undefined if it is absent. */
export function uint16(elements: DataSet, tag: string, name: string): number | undefined {
  const element = elements.elements[tag];
  if (!element || element.length === 0) return undefined;
  const value = element.length >= 2 && valueBytes(elements, tag) ? elements.uint16(tag) : undefined;
  if (value === undefined) throw new DicomError(name, `${element.length} bytes in ${shownTag(tag)}`, "two");
  return value;
}

/** The data sets of a sequence's items; empty if it is absent. */
export const items = (elements: DataSet, tag: string): DataSet[] =>
  (elements.elements[tag]?.items ?? []).flatMap(({ dataSet }) => (dataSet ? [dataSet] : []));
