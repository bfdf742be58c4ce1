/** Reads the messages of ONNX that its backend tests hold: models, graphs, nodes, attributes, tensors (onnx.proto). */

/** A tensor as the file holds it; the data are numbers, also of 64-bit integers. */
export interface OnnxTensor {
  readonly name: string;
  readonly shape: readonly number[];
  /** By onnx.proto: 1 float, 2 uint8, 3 int8, 4 uint16, 5 int16, 6 int32, 7 int64, 8 string, 9 bool, 10 float16, ... */
  readonly type: number;
  readonly data: readonly number[];
}

export type OnnxAttribute =
  | number
  | string
  | OnnxTensor
  | OnnxGraph
  | readonly number[]
  | readonly string[]
  | undefined;

export interface OnnxNode {
  readonly type: string;
  readonly domain: string;
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  readonly attributes: ReadonlyMap<string, OnnxAttribute>;
}

export interface OnnxGraph {
  readonly nodes: readonly OnnxNode[];
  readonly initializers: readonly OnnxTensor[];
  readonly inputs: readonly { readonly name: string; readonly type: number | null }[];
  readonly outputs: readonly string[];
}

export interface OnnxModel {
  readonly graph: OnnxGraph;
  /** Version of the default operators. */
  readonly opset: number;
  /** Functions that the model defines itself. */
  readonly functions: boolean;
}

/** One field: its number, and an integer or bytes. */
interface Field {
  readonly number: number;
  readonly integer: bigint;
  readonly bytes: Uint8Array;
}
const NONE = new Uint8Array();

function* fields(bytes: Uint8Array): Generator<Field> {
  let at = 0;
  const varint = (): bigint => {
    let [value, shift] = [0n, 0n];
    for (;;) {
      const byte = bytes[at++];
      if (byte === undefined) throw new Error("a protobuf message ends within a number");
      value |= BigInt(byte & 127) << shift;
      if (byte < 128) return value;
      shift += 7n;
    }
  };
  const take = (count: number): Uint8Array => {
    if (at + count > bytes.length) throw new Error("a protobuf message ends within a field");
    return bytes.subarray(at, at += count);
  };
  while (at < bytes.length) {
    const key = Number(varint());
    const number = key >>> 3;
    switch (key & 7) {
      case 0:
        yield { number, integer: varint(), bytes: NONE };
        break;
      case 1:
        yield { number, integer: 0n, bytes: take(8) };
        break;
      case 2:
        yield { number, integer: 0n, bytes: take(Number(varint())) };
        break;
      case 5:
        yield { number, integer: 0n, bytes: take(4) };
        break;
      default:
        throw new Error(`a protobuf field has the wire type ${key & 7}`);
    }
  }
}

const text = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);
const view = (bytes: Uint8Array): DataView => new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
const signed = (value: bigint): number => Number(BigInt.asIntN(64, value));
const float = (bytes: Uint8Array): number => view(bytes).getFloat32(0, true);

/** Repeated numbers, packed or one by one. */
function packed(field: Field, size: number, read: (v: DataView, at: number) => number): number[] {
  const v = view(field.bytes);
  return Array.from({ length: field.bytes.length / size }, (_, k) => read(v, k * size));
}
function packedIntegers(field: Field): number[] {
  if (field.bytes.length === 0) return [signed(field.integer)];
  const list: number[] = [];
  let [value, shift] = [0n, 0n];
  for (const byte of field.bytes) {
    value |= BigInt(byte & 127) << shift;
    shift += 7n;
    if (byte >= 128) continue;
    list.push(signed(value));
    [value, shift] = [0n, 0n];
  }
  return list;
}

function half(bits: number): number {
  const [sign, exponent, fraction] = [bits >> 15 ? -1 : 1, (bits >> 10) & 31, bits & 1023];
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 31) return fraction ? NaN : sign * Infinity;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}

/** Bytes an element, and how one is read, by type. */
const RAW: Record<number, readonly [number, (v: DataView, at: number) => number]> = {
  1: [4, (v, at) => v.getFloat32(at, true)],
  2: [1, (v, at) => v.getUint8(at)],
  3: [1, (v, at) => v.getInt8(at)],
  4: [2, (v, at) => v.getUint16(at, true)],
  5: [2, (v, at) => v.getInt16(at, true)],
  6: [4, (v, at) => v.getInt32(at, true)],
  7: [8, (v, at) => Number(v.getBigInt64(at, true))],
  9: [1, (v, at) => v.getUint8(at)],
  10: [2, (v, at) => half(v.getUint16(at, true))],
  11: [8, (v, at) => v.getFloat64(at, true)],
  12: [4, (v, at) => v.getUint32(at, true)],
  13: [8, (v, at) => Number(v.getBigUint64(at, true))],
};

export function readTensor(bytes: Uint8Array): OnnxTensor {
  const shape: number[] = [];
  let [type, name] = [0, ""];
  let data: number[] = [];
  let raw: Uint8Array | null = null;
  for (const field of fields(bytes)) {
    if (field.number === 1) shape.push(...packedIntegers(field));
    else if (field.number === 2) type = Number(field.integer);
    else if (field.number === 4) data.push(...packed(field, 4, (v, at) => v.getFloat32(at, true)));
    else if (field.number === 5 || field.number === 7 || field.number === 11) data.push(...packedIntegers(field));
    else if (field.number === 8) name = text(field.bytes);
    else if (field.number === 9) raw = field.bytes;
    else if (field.number === 10) data.push(...packed(field, 8, (v, at) => v.getFloat64(at, true)));
  }
  if (raw && RAW[type]) {
    const [size, read] = RAW[type];
    data = packed({ number: 9, integer: 0n, bytes: raw }, size, read);
  } else if (type === 10) data = data.map(half);
  return { name, shape, type, data };
}

/** Type and name of a graph's input; the type is null for what is no tensor. */
function readValueInfo(bytes: Uint8Array): { name: string; type: number | null } {
  let [name, type] = ["", null as number | null];
  for (const field of fields(bytes)) {
    if (field.number === 1) name = text(field.bytes);
    if (field.number !== 2) continue;
    for (const kind of fields(field.bytes)) {
      if (kind.number !== 1) continue;
      for (const of of fields(kind.bytes)) if (of.number === 1) type = Number(of.integer);
    }
  }
  return { name, type };
}

function readAttribute(bytes: Uint8Array): [string, OnnxAttribute] {
  let name = "";
  let value: OnnxAttribute;
  const [floats, integers, strings]: [number[], number[], string[]] = [[], [], []];
  let kind = 0;
  for (const field of fields(bytes)) {
    if (field.number === 1) name = text(field.bytes);
    else if (field.number === 2) value = float(field.bytes);
    else if (field.number === 3) value = signed(field.integer);
    else if (field.number === 4) value = text(field.bytes);
    else if (field.number === 5) value = readTensor(field.bytes);
    else if (field.number === 6) value = readGraph(field.bytes);
    else if (field.number === 7) floats.push(...packed(field, 4, (v, at) => v.getFloat32(at, true)));
    else if (field.number === 8) integers.push(...packedIntegers(field));
    else if (field.number === 9) strings.push(text(field.bytes));
    else if (field.number === 20) kind = Number(field.integer);
  }
  if (kind === 6) value = floats;
  if (kind === 7) value = integers;
  if (kind === 8) value = strings;
  return [name, value];
}

function readNode(bytes: Uint8Array): OnnxNode {
  const [inputs, outputs]: [string[], string[]] = [[], []];
  const attributes = new Map<string, OnnxAttribute>();
  let [type, domain] = ["", ""];
  for (const field of fields(bytes)) {
    if (field.number === 1) inputs.push(text(field.bytes));
    else if (field.number === 2) outputs.push(text(field.bytes));
    else if (field.number === 4) type = text(field.bytes);
    else if (field.number === 5) attributes.set(...readAttribute(field.bytes));
    else if (field.number === 7) domain = text(field.bytes);
  }
  return { type, domain, inputs, outputs, attributes };
}

function readGraph(bytes: Uint8Array): OnnxGraph {
  const nodes: OnnxNode[] = [];
  const initializers: OnnxTensor[] = [];
  const inputs: { name: string; type: number | null }[] = [];
  const outputs: string[] = [];
  for (const field of fields(bytes)) {
    if (field.number === 1) nodes.push(readNode(field.bytes));
    else if (field.number === 5) initializers.push(readTensor(field.bytes));
    else if (field.number === 11) inputs.push(readValueInfo(field.bytes));
    else if (field.number === 12) outputs.push(readValueInfo(field.bytes).name);
  }
  return { nodes, initializers, inputs, outputs };
}

export function readModel(bytes: Uint8Array): OnnxModel {
  let graph: OnnxGraph | null = null;
  let [opset, functions] = [1, false];
  for (const field of fields(bytes)) {
    if (field.number === 7) graph = readGraph(field.bytes);
    if (field.number === 25) functions = true;
    if (field.number !== 8) continue;
    let [domain, version] = ["", 1];
    for (const of of fields(field.bytes)) {
      if (of.number === 1) domain = text(of.bytes);
      if (of.number === 2) version = Number(of.integer);
    }
    if (domain === "") opset = version;
  }
  if (!graph) throw new Error("the model has no graph");
  return { graph, opset, functions };
}
