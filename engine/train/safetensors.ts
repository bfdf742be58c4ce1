/**
 * The safetensors format (github.com/huggingface/safetensors): 8 bytes of header length, a JSON header that names
 * dtype, shape and place of every tensor, then the values, little-endian.
 */
import { type DType, toHalf, type TypedArray } from "../core/dtype.ts";
import { check, checkOptions, show, VoxgradError } from "../core/errors.ts";
import { MAX_ELEMENTS, sameShape } from "../core/shape.ts";
import { Tensor } from "../core/tensor.ts";
import * as tree from "../core/tree.ts";
import { evaluate } from "../compile/mod.ts";
import { tensor } from "../ops/creation.ts";
import { decoders, type FileDType } from "./safetensors_dtype.ts";

/** A malformed file, or tensors that do not fit the parameters they are meant for. */
export class SafetensorsError extends VoxgradError {
  override name = "SafetensorsError";
}

const refuse = (message: string): never => {
  throw new SafetensorsError(`safetensors: ${message}`);
};

function need(condition: boolean, message: () => string): asserts condition {
  if (!condition) refuse(message());
}

/** More than any header needs; the reference reader has the same bound. */
const MAX_HEADER = 100_000_000;
const METADATA = "__metadata__";
const written: Record<DType, FileDType> = { f16: "F16", f32: "F32", i32: "I32", u32: "U32", bool: "BOOL" };

/**
 * The bytes of a file with these tensors, named by their paths joined by ".". The same tensors in the same order give
 * the same bytes. Values of four bytes come first, then those of two (f16) and one (bool), so that all lie
 * aligned.
 *
 * @param tensors a tree, or a Map from names to tensors
 * @param metadata names and texts for the header
 * @throws SafetensorsError for an empty name, or the reserved name __metadata__
 * @example await writeFile("model.safetensors", await saveSafetensors(params, { epoch: "10" }));
 */
export async function saveSafetensors(
  tensors: object,
  metadata: Readonly<Record<string, string>> = {},
): Promise<Uint8Array<ArrayBuffer>> {
  const named: ReadonlyMap<string, Tensor> = tensors instanceof Map ? tensors : tree.flatten(tensors);
  const entries = [...named];
  for (const [name, t] of entries) {
    need(t instanceof Tensor, () => `${show(name)} is not a tensor`);
    need(name !== "" && name !== METADATA, () => `a tensor cannot be called ${show(name)}`);
  }
  for (const [key, value] of Object.entries(metadata)) {
    need(typeof value === "string", () => `metadata are texts, ${show(key)} is ${show(value)}`);
  }
  const width = (t: Tensor): number => decoders[written[t.dtype]].bytes;
  const ordered = entries.sort(([, a], [, b]) => width(b) - width(a));
  await evaluate(ordered.map(([, t]) => t));

  // Written by hand, for an object would move names that look like numbers to the front.
  const fields: string[] = [];
  if (Object.keys(metadata).length > 0) fields.push(`"${METADATA}":${JSON.stringify(metadata)}`);
  let end = 0;
  for (const [name, t] of ordered) {
    const begin = end;
    end += t.size * width(t);
    fields.push(
      `${JSON.stringify(name)}:{"dtype":"${written[t.dtype]}","shape":[${t.shape}],"data_offsets":[${begin},${end}]}`,
    );
  }
  const header = new TextEncoder().encode(`{${fields.join(",")}}`);
  const padded = Math.ceil(header.length / 8) * 8;
  const bytes = new Uint8Array(8 + padded + end);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(padded), true);
  bytes.fill(0x20, 8, 8 + padded);
  bytes.set(header, 8);
  let at = 8 + padded;
  for (const [, t] of ordered) {
    const values = await t.data();
    const data = t.dtype === "f16" ? Uint16Array.from(values, toHalf) : values;
    bytes.set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength), at);
    at += data.byteLength;
  }
  return bytes;
}

/** What a file holds, in the order of its header. */
export interface LoadedTensors {
  tensors: Map<string, Tensor>;
  metadata: Record<string, string>;
}

/**
 * The tensors of a file. F32, I32, U32 and BOOL come as they are; F16, BF16 and F64 as f32; I8, I16, I64 as i32; U8,
 * U16, U64 as u32. A value that its type here cannot hold is an error.
 *
 * @throws SafetensorsError for a file that is cut short, whose header is malformed, or whose tensors overlap or leave
 * gaps
 * @example const { tensors } = loadSafetensors(await readFile("model.safetensors"));
 */
export function loadSafetensors(bytes: Uint8Array): LoadedTensors {
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

  const metadata = Object.entries(header[METADATA] === undefined ? {} : object(header[METADATA], METADATA)).map(
    ([key, value]) => {
      need(typeof value === "string", () => `${METADATA} holds texts, ${show(key)} is ${show(value)}`);
      return [key, value] as const;
    },
  );
  const places = Object.entries(header)
    .filter(([name]) => name !== METADATA)
    .map(([name, value]) => parseEntry(name, value, data.length));
  // Sorted by place, each begins where the one before ends: no overlap, no gap, no byte left over.
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

  const tensors = new Map<string, Tensor>();
  for (const { name, dtype, shape, from, to } of places) {
    // A copy, which is aligned too; slice would not copy a Node Buffer.
    const raw = new Uint8Array(data.subarray(from, to));
    let values: TypedArray;
    try {
      values = decoders[dtype].decode(raw.buffer);
    } catch (error) {
      return refuse(`tensor ${show(name)}: ${(error as Error).message}`);
    }
    tensors.set(name, tensor(values, { shape }));
  }
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
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch (error) {
    return refuse(`the header is not JSON in UTF-8: ${(error as Error).message}`);
  }
  return object(value, "the header");
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
    typeof dtype === "string" && Object.hasOwn(decoders, dtype),
    () => `tensor ${show(name)} has dtype ${show(dtype)}; known are ${Object.keys(decoders).join(", ")}`,
  );
  need(
    Array.isArray(shape) && shape.every(isCount),
    () => `tensor ${show(name)}: shape is a list of whole numbers >= 0, got ${show(shape)}`,
  );
  const elements = shape.reduce((product: number, n: number) => product * n, 1);
  need(elements < MAX_ELEMENTS, () => `tensor ${show(name)} of shape ${show(shape)} has 2^31 elements or more`);
  need(
    Array.isArray(offsets) && offsets.length === 2 && offsets.every(isCount),
    () => `tensor ${show(name)}: data_offsets are two whole numbers >= 0, got ${show(offsets)}`,
  );
  const [from, to] = offsets as [number, number];
  need(from <= to && to <= available, () => `tensor ${show(name)} lies at bytes ${from} to ${to} of ${available}`);
  const wanted = elements * decoders[dtype as FileDType].bytes;
  need(
    to - from === wanted,
    () =>
      `tensor ${show(name)}: ${dtype} of shape ${show(shape)} takes ${wanted} bytes, ` +
      `its data_offsets span ${to - from}`,
  );
  return { name, dtype: dtype as FileDType, shape, from, to };
}

/**
 * Parameters with the values of a file: the structure of `template` with the tensors of its names.
 *
 * @param options.ignore names in the file that are not wanted. Checkpoints of nnU-Net hold every weight up to three
 * times: /(^|\.)all_modules\.|^decoder\.encoder\./
 * @throws SafetensorsError that lists missing, unexpected and misshapen tensors by name
 * @example const params = loadParameters(model.init(random.key(0)), loadSafetensors(bytes).tensors);
 */
export function loadParameters<T>(
  template: T,
  tensors: ReadonlyMap<string, Tensor>,
  options: { ignore?: RegExp } = {},
): T {
  checkOptions("loadParameters", options, ["ignore"]);
  const { ignore } = options;
  check(
    ignore === undefined || (ignore instanceof RegExp && !ignore.global),
    "loadParameters",
    () => "ignore is a regular expression without the flag g",
  );
  const wanted = tree.flatten(template as object);
  const missing = [...wanted.keys()].filter((name) => !tensors.has(name));
  const extra = [...tensors.keys()].filter((name) => !wanted.has(name) && !ignore?.test(name));
  const misshapen = [...wanted].flatMap(([name, t]) => {
    const found = tensors.get(name);
    if (!found || (sameShape(found.shape, t.shape) && found.dtype === t.dtype)) return [];
    return [`${name} (${found.dtype} ${show(found.shape)} for ${t.dtype} ${show(t.shape)})`];
  });
  const list = (what: string, names: string[]): string[] =>
    names.length === 0
      ? []
      : [`${names.length} ${what}: ${names.slice(0, 12).join(", ")}${names.length > 12 ? ", ..." : ""}`];
  const problems = [
    ...list("missing", missing),
    ...list("unexpected", extra),
    ...list("of another shape or dtype", misshapen),
  ];
  if (problems.length > 0) {
    throw new SafetensorsError(
      `loadParameters: the tensors do not fit the ${wanted.size} parameters; ${problems.join("; ")}`,
    );
  }
  return tree.map(template, (_, path) => tensors.get(path));
}
