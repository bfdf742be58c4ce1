/**
 * The safetensors format (github.com/huggingface/safetensors): an 8-byte header length, a JSON header with dtype,
 * shape and offsets of every tensor, then the values, little-endian.
 */
import { sha256 } from "./digest.ts";
import { show, VoxgradError } from "./errors.ts";
import { JsonError, parseJson } from "./json.ts";
import { MAX_ELEMENTS } from "./shape.ts";

/** A malformed file, or tensors that do not match the parameters they are loaded into. */
export class SafetensorsError extends VoxgradError {
  override name = "SafetensorsError";
}

/** Supported element types and their size in bytes. */
const elementBytes = {
  F64: 8,
  F32: 4,
  F16: 2,
  BF16: 2,
  I64: 8,
  I32: 4,
  I16: 2,
  I8: 1,
  U64: 8,
  U32: 4,
  U16: 2,
  U8: 1,
  BOOL: 1,
} as const;
export type FileDType = keyof typeof elementBytes;

/** One tensor of a file, with its values as bytes. */
export interface FileTensor {
  readonly name: string;
  readonly dtype: FileDType;
  readonly shape: readonly number[];
  readonly bytes: Uint8Array;
}

const refuse = (message: string): never => {
  throw new SafetensorsError(`safetensors: ${message}`);
};

function need(condition: boolean, message: () => string): asserts condition {
  if (!condition) refuse(message());
}

/** The header size limit of the reference implementation. */
const MAX_HEADER = 100_000_000;
const METADATA = "__metadata__";

/**
 * Encodes tensors. The output is deterministic for the same tensors in the same order. Wider types are written first,
 * so that all values are aligned.
 *
 * @param metadata string pairs for the header
 * @throws SafetensorsError for an empty name, or the names __metadata__ and __proto__
 */
export function encodeSafetensors(
  tensors: readonly FileTensor[],
  metadata: Readonly<Record<string, string>> = {},
): Uint8Array<ArrayBuffer> {
  for (const { name } of tensors) {
    need(name !== "" && name !== METADATA && name !== "__proto__", () => `a tensor cannot be called ${show(name)}`);
  }
  for (const [key, value] of Object.entries(metadata)) {
    need(typeof value === "string", () => `metadata are texts, ${show(key)} is ${show(value)}`);
  }
  const ordered = [...tensors].sort((a, b) => elementBytes[b.dtype] - elementBytes[a.dtype]);

  // Serialized by hand because an object would move integer-like keys to the front.
  const fields: string[] = [];
  if (Object.keys(metadata).length > 0) fields.push(`"${METADATA}":${JSON.stringify(metadata)}`);
  let end = 0;
  for (const { name, dtype, shape, bytes } of ordered) {
    const begin = end;
    end += bytes.length;
    fields.push(`${JSON.stringify(name)}:{"dtype":"${dtype}","shape":[${shape}],"data_offsets":[${begin},${end}]}`);
  }
  const header = new TextEncoder().encode(`{${fields.join(",")}}`);
  const padded = Math.ceil(header.length / 8) * 8;
  const file = new Uint8Array(8 + padded + end);
  new DataView(file.buffer).setBigUint64(0, BigInt(padded), true);
  file.fill(0x20, 8, 8 + padded);
  file.set(header, 8);
  let at = 8 + padded;
  for (const { bytes } of ordered) {
    file.set(bytes, at);
    at += bytes.length;
  }
  return file;
}

/** Metadata key of the SHA-256 of the whole file, computed with zeros in place of the digest. */
const SEAL = "voxgrad sha256";
const DIGITS = 64;

/**
 * As encodeSafetensors, with the SHA-256 of the file in its header, which `checkSeal` verifies.
 *
 * @throws SafetensorsError as encodeSafetensors
 */
export async function encodeSealed(
  tensors: readonly FileTensor[],
  metadata: Readonly<Record<string, string>> = {},
): Promise<Uint8Array<ArrayBuffer>> {
  const file = encodeSafetensors(tensors, { [SEAL]: "0".repeat(DIGITS), ...metadata });
  const digest = await sha256(file);
  file.set(new TextEncoder().encode(digest), sealPlace(file));
  return file;
}

/**
 * Whether a file carries a SHA-256 in its header; verifies it if so.
 *
 * @returns false if there is no digest, as in files of other programs and of voxgrad before 0.2
 * @throws SafetensorsError if the digest does not match
 */
export async function checkSeal(bytes: Uint8Array): Promise<boolean> {
  const at = sealPlace(bytes);
  if (at < 0) return false;
  const copy = new Uint8Array(bytes);
  const stored = new TextDecoder().decode(copy.subarray(at, at + DIGITS));
  copy.fill(0x30, at, at + DIGITS);
  need(
    (await sha256(copy)) === stored,
    () => "the file is damaged: its SHA-256 is not the one in its header; take an intact copy, or write it again",
  );
  return true;
}

/**
 * Offset of the hex digits; negative if the header has none. Quotes within strings are escaped, so nothing else
 * matches.
 */
function sealPlace(bytes: Uint8Array): number {
  if (bytes.length < 8) return -1;
  const length = Number(new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(0, true));
  if (!(length <= MAX_HEADER && 8 + length <= bytes.length)) return -1;
  const entry = new TextEncoder().encode(`"${SEAL}":"`);
  const end = 8 + length - entry.length - DIGITS;
  for (let at = bytes.indexOf(entry[0], 8); at >= 0 && at <= end; at = bytes.indexOf(entry[0], at + 1)) {
    if (entry.every((byte, k) => bytes[at + k] === byte)) return at + entry.length;
  }
  return -1;
}

/** The content of a file, in header order. */
export interface FileContent {
  readonly tensors: readonly FileTensor[];
  readonly metadata: Record<string, string>;
}

/**
 * Decodes tensors as views of the file's bytes, which may be unaligned.
 *
 * @throws SafetensorsError for a truncated file, a malformed header, or tensors that overlap or leave gaps
 */
export function decodeSafetensors(bytes: Uint8Array): FileContent {
  need(bytes instanceof Uint8Array, () => `bytes are a Uint8Array, got ${show(bytes)}`);
  need(bytes.length >= 8, () => `the file has ${bytes.length} bytes, the length of the header alone takes 8`);
  const length = new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(0, true);
  need(
    length <= BigInt(MAX_HEADER),
    () =>
      `the header is said to have ${length} bytes, at most ${MAX_HEADER} are allowed; this is not a safetensors file`,
  );
  const start = 8 + Number(length);
  need(
    start <= bytes.length,
    () => `the header is said to have ${length} bytes, the file has ${bytes.length} in all; it was cut short`,
  );
  const header = parseHeader(bytes.subarray(8, start));
  const data = bytes.subarray(start);

  const metadata = Object.entries(header[METADATA] === undefined ? {} : object(header[METADATA], METADATA))
    .map(([key, value]) => {
      need(typeof value === "string", () => `${METADATA} holds texts, ${show(key)} is ${show(value)}`);
      return [key, value] as const;
    })
    .filter(([key]) => key !== SEAL);
  const places = Object.entries(header)
    .filter(([name]) => name !== METADATA)
    .map(([name, value]) => parseEntry(name, value, data.length));
  // Sorted by offset, each tensor begins where the previous one ends: no overlap, no gap, no trailing bytes.
  let end = 0;
  for (const { name, from, to } of [...places].sort((a, b) => a.from - b.from || a.to - b.to)) {
    need(
      from === end,
      () =>
        `tensor ${show(name)} begins at byte ${from} of the data, ` +
        `${from < end ? "inside the one before" : "after a gap"}, which ends at ${end}`,
    );
    end = to;
  }
  need(end === data.length, () => `the tensors take ${end} bytes, the file has ${data.length} after its header`);

  const tensors = places.map(({ name, dtype, shape, from, to }) => ({
    name,
    dtype,
    shape,
    bytes: data.subarray(from, to),
  }));
  return { tensors, metadata: Object.fromEntries(metadata) };
}

interface Place {
  readonly name: string;
  readonly dtype: FileDType;
  readonly shape: readonly number[];
  readonly from: number;
  readonly to: number;
}

function parseHeader(bytes: Uint8Array): Record<string, unknown> {
  need(bytes[0] === 0x7b, () => "the header does not begin with {; this is not a safetensors file");
  try {
    return object(parseJson(bytes, "the header", { most: MAX_HEADER, deepest: 8 }), "the header");
  } catch (error) {
    if (!(error instanceof JsonError)) throw error;
    return refuse(`the header is not JSON in UTF-8 as it is taken: ${error.problem}`);
  }
}

function object(value: unknown, what: string): Record<string, unknown> {
  need(typeof value === "object" && value !== null && !Array.isArray(value), () => `${what} is not an object`);
  return value as Record<string, unknown>;
}

const isCount = (n: unknown): n is number => Number.isSafeInteger(n) && (n as number) >= 0;

function parseEntry(name: string, value: unknown, available: number): Place {
  const { dtype, shape, data_offsets: offsets, ...rest } = object(value, `tensor ${show(name)}`);
  need(Object.keys(rest).length === 0, () => `tensor ${show(name)} has the unknown field ${Object.keys(rest)[0]}`);
  need(
    typeof dtype === "string" && Object.hasOwn(elementBytes, dtype),
    () => `tensor ${show(name)} has dtype ${show(dtype)}; known are ${Object.keys(elementBytes).join(", ")}`,
  );
  need(
    Array.isArray(shape) && shape.every(isCount),
    () => `tensor ${show(name)}: shape is a list of integers >= 0, got ${show(shape)}`,
  );
  const elements = shape.reduce((product: number, n: number) => product * n, 1);
  need(elements < MAX_ELEMENTS, () => `tensor ${show(name)} of shape ${show(shape)} has 2^31 elements or more`);
  need(
    Array.isArray(offsets) && offsets.length === 2 && offsets.every(isCount),
    () => `tensor ${show(name)}: data_offsets are two integers >= 0, got ${show(offsets)}`,
  );
  const [from, to] = offsets as [number, number];
  need(from <= to && to <= available, () => `tensor ${show(name)} lies at bytes ${from} to ${to} of ${available}`);
  const wanted = elements * elementBytes[dtype as FileDType];
  need(
    to - from === wanted,
    () =>
      `tensor ${show(name)}: ${dtype} of shape ${show(shape)} takes ${wanted} bytes, ` +
      `its data_offsets span ${to - from}`,
  );
  return { name, dtype: dtype as FileDType, shape, from, to };
}
