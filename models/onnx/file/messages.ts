/** Reads the messages of an ONNX file (onnx.proto): model, graph, nodes, attributes, tensors. */
import { PbfReader } from "pbf";
import { check, show } from "../../../engine/mod.ts";
import { fromHalf } from "../../../engine/segmenting.ts";

/** A tensor as the file holds it; also 64-bit integers are numbers. */
export interface OnnxTensor {
  readonly name: string;
  readonly shape: readonly number[];
  /** By onnx.proto: 1 float, 2 uint8, 3 int8, 4 uint16, 5 int16, 6 int32, 7 int64, 8 string, 9 bool, 10 float16, ... */
  readonly type: number;
  readonly data: readonly number[] | Float32Array;
  /** Where its bytes are, if in a file of their own. */
  readonly external?: ExternalData;
}

export interface ExternalData {
  /** Path relative to the model's folder. */
  readonly location: string;
  readonly offset: number;
  readonly length?: number;
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
  readonly name: string;
  readonly type: string;
  readonly domain: string;
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  readonly attributes: ReadonlyMap<string, OnnxAttribute>;
}

/** An input or output of a graph. */
export interface OnnxValueInfo {
  readonly name: string;
  /** The type of onnx.proto; null for what is no tensor. */
  readonly type: number | null;
  /** Sizes, or the names of those that are bound when it is called ("?" without a name); null if the file says none. */
  readonly shape: readonly (number | string)[] | null;
}

export interface OnnxGraph {
  readonly nodes: readonly OnnxNode[];
  readonly initializers: readonly OnnxTensor[];
  readonly inputs: readonly OnnxValueInfo[];
  readonly outputs: readonly OnnxValueInfo[];
}

/** A model's file. */
export interface OnnxFile {
  readonly graph: OnnxGraph;
  /** Version of the default operators. */
  readonly opset: number;
  /** Whether it defines functions of its own. */
  readonly functions: boolean;
  readonly producer: string;
  readonly metadata: Readonly<Record<string, string>>;
}

type OnField<T> = (field: number, result: T, file: PbfReader) => void;

/** Refuses fields of types that protobuf does not have; readers go by the field's number. */
const checked = <T>(onField: OnField<T>): OnField<T> => (field, result, file) => {
  if (![0, 1, 2, 5].includes(file.type)) throw new Error(`a field is of the type ${file.type}`);
  onField(field, result, file);
};

/** A message within another. */
function inner<T>(file: PbfReader, onField: OnField<T>, result: T): T {
  const end = file.readVarint() + file.pos;
  if (!(end <= file.length)) throw new Error("a message ends within a field");
  file.readFields(checked(onField), result, end);
  if (file.pos !== end) throw new Error("a field reaches beyond its message");
  return result;
}
function whole<T>(bytes: Uint8Array, onField: OnField<T>, result: T): T {
  const file = new PbfReader(bytes);
  file.readFields(checked(onField), result);
  if (file.pos > bytes.length) throw new Error("the file ends within a field");
  return result;
}
function bytesOf(file: PbfReader): Uint8Array {
  const bytes = file.readBytes();
  if (file.pos > file.length) throw new Error("the file ends within a field");
  return bytes;
}
const text = (file: PbfReader): string => new TextDecoder().decode(bytesOf(file));

const brain = new DataView(new ArrayBuffer(4));
function brainFloat(bits: number): number {
  brain.setUint32(0, bits << 16);
  return brain.getFloat32(0);
}

/** Bytes of an element and how one is read, by type. */
const RAW: Readonly<Record<number, readonly [number, (v: DataView, at: number) => number]>> = {
  1: [4, (v, at) => v.getFloat32(at, true)],
  2: [1, (v, at) => v.getUint8(at)],
  3: [1, (v, at) => v.getInt8(at)],
  4: [2, (v, at) => v.getUint16(at, true)],
  5: [2, (v, at) => v.getInt16(at, true)],
  6: [4, (v, at) => v.getInt32(at, true)],
  7: [8, (v, at) => Number(v.getBigInt64(at, true))],
  9: [1, (v, at) => v.getUint8(at)],
  10: [2, (v, at) => fromHalf(v.getUint16(at, true))],
  11: [8, (v, at) => v.getFloat64(at, true)],
  12: [4, (v, at) => v.getUint32(at, true)],
  13: [8, (v, at) => Number(v.getBigUint64(at, true))],
  16: [2, (v, at) => brainFloat(v.getUint16(at, true))],
};
const isSingle = (type: number): boolean => type === 1 || type === 10 || type === 16;

/** Numbers from the bytes of a tensor, little endian. */
export function numbersOf({ name, shape, type }: OnnxTensor, bytes: Uint8Array): readonly number[] | Float32Array {
  const [size, read] = RAW[type] ?? [0, () => 0];
  check(size > 0, "openOnnx", () => `the tensor ${show(name)} has the type ${type}, which is not read`);
  const count = elements(shape);
  check(
    bytes.length === count * size,
    "openOnnx",
    () =>
      `the tensor ${show(name)} [${shape}] takes ${count * size} bytes and has ${bytes.length}; the file is damaged`,
  );
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const data = isSingle(type) ? new Float32Array(count) : new Array<number>(count);
  for (let k = 0; k < count; k++) data[k] = read(view, k * size);
  return data;
}
const elements = (shape: readonly number[]): number => shape.reduce((a, b) => a * b, 1);

/** A tensor from its own message, such as a .pb file of test data. */
export const readTensor = (bytes: Uint8Array): OnnxTensor => tensorOf((result) => whole(bytes, tensorField, result));

interface TensorFields {
  shape: number[];
  type: number;
  name: string;
  data: number[];
  raw: Uint8Array | null;
  isExternal: boolean;
  readonly entries: Map<string, string>;
}
const tensorField: OnField<TensorFields> = (field, t, file) => {
  if (field === 1) file.readPackedVarint(t.shape, true);
  else if (field === 2) t.type = file.readVarint();
  else if (field === 4) file.readPackedFloat(t.data);
  else if (field === 5 || field === 7 || field === 11) file.readPackedVarint(t.data, true);
  else if (field === 8) t.name = text(file);
  else if (field === 9) t.raw = bytesOf(file);
  else if (field === 10) file.readPackedDouble(t.data);
  else if (field === 13) t.entries.set(...inner(file, pairField, ["", ""] as [string, string]));
  else if (field === 14) t.isExternal = file.readVarint() === 1;
};
const pairField: OnField<[string, string]> = (field, pair, file) => {
  if (field === 1 || field === 2) pair[field - 1] = text(file);
};

function tensorOf(fill: (result: TensorFields) => TensorFields): OnnxTensor {
  const none = { shape: [], type: 0, name: "", data: [], raw: null, isExternal: false, entries: new Map() };
  const { shape, type, name, data, raw, isExternal, entries } = fill(none);
  const isCount = (n: number): boolean => Number.isSafeInteger(n) && n >= 0;
  check(
    shape.every(isCount) && Number.isSafeInteger(elements(shape)),
    "openOnnx",
    () => `the tensor ${show(name)} has the shape [${shape}]; the file is damaged`,
  );
  if (isExternal) {
    const external = {
      location: entries.get("location") ?? "",
      offset: Number(entries.get("offset") ?? 0),
      ...(entries.has("length") && { length: Number(entries.get("length")) }),
    };
    return { name, shape, type, data: [], external };
  }
  const plain: OnnxTensor = { name, shape, type, data };
  if (raw) return type === 8 ? plain : { ...plain, data: numbersOf(plain, raw) };
  if (type === 8) return plain;
  check(
    data.length === elements(shape),
    "openOnnx",
    () => `the tensor ${show(name)} [${shape}] has ${data.length} values; the file is damaged`,
  );
  const own = type === 10 ? data.map(fromHalf) : type === 16 ? data.map(brainFloat) : data;
  return { ...plain, data: isSingle(type) ? Float32Array.from(own) : own };
}
const readTensorIn = (file: PbfReader): OnnxTensor => tensorOf((result) => inner(file, tensorField, result));

type Sizes = (number | string)[];
const dimensionField: OnField<Sizes> = (field, shape, file) => {
  if (field === 1) shape[shape.length - 1] = file.readVarint(true);
  else if (field === 2) shape[shape.length - 1] = text(file);
};
const shapeField: OnField<Sizes> = (field, shape, file) => {
  if (field !== 1) return;
  shape.push("?");
  inner(file, dimensionField, shape);
};
interface TensorType {
  type: number | null;
  shape: Sizes | null;
}
const tensorTypeField: OnField<TensorType> = (field, result, file) => {
  if (field === 1) result.type = file.readVarint();
  else if (field === 2) result.shape = inner(file, shapeField, []);
};
const typeField: OnField<TensorType> = (field, result, file) => {
  if (field === 1) inner(file, tensorTypeField, result);
};
const valueInfoField: OnField<TensorType & { name: string }> = (field, result, file) => {
  if (field === 1) result.name = text(file);
  else if (field === 2) inner(file, typeField, result);
};
const readValueInfo = (file: PbfReader): OnnxValueInfo =>
  inner(file, valueInfoField, { name: "", type: null, shape: null });

interface AttributeFields {
  name: string;
  value: OnnxAttribute;
  kind: number;
  readonly floats: number[];
  readonly integers: number[];
  readonly strings: string[];
}
const attributeField: OnField<AttributeFields> = (field, a, file) => {
  if (field === 1) a.name = text(file);
  else if (field === 2) a.value = file.readFloat();
  else if (field === 3) a.value = file.readVarint(true);
  else if (field === 4) a.value = text(file);
  else if (field === 5) a.value = readTensorIn(file);
  else if (field === 6) a.value = inner(file, graphField, newGraph());
  else if (field === 7) file.readPackedFloat(a.floats);
  else if (field === 8) file.readPackedVarint(a.integers, true);
  else if (field === 9) a.strings.push(text(file));
  else if (field === 20) a.kind = file.readVarint();
};
function readAttribute(file: PbfReader): [string, OnnxAttribute] {
  const none = { name: "", value: undefined, kind: 0, floats: [], integers: [], strings: [] };
  const { name, value, kind, floats, integers, strings } = inner(file, attributeField, none as AttributeFields);
  const lists: Readonly<Record<number, OnnxAttribute>> = { 6: floats, 7: integers, 8: strings };
  // Some writers leave out a value that is 0 or empty.
  const zeros: Readonly<Record<number, OnnxAttribute>> = { 1: 0, 2: 0, 3: "" };
  return [name, lists[kind] ?? value ?? zeros[kind]];
}

interface NodeFields {
  name: string;
  type: string;
  domain: string;
  readonly inputs: string[];
  readonly outputs: string[];
  readonly attributes: Map<string, OnnxAttribute>;
}
const nodeField: OnField<NodeFields> = (field, node, file) => {
  if (field === 1) node.inputs.push(text(file));
  else if (field === 2) node.outputs.push(text(file));
  else if (field === 3) node.name = text(file);
  else if (field === 4) node.type = text(file);
  else if (field === 5) node.attributes.set(...readAttribute(file));
  else if (field === 7) node.domain = text(file);
};

interface GraphFields extends OnnxGraph {
  readonly nodes: OnnxNode[];
  readonly initializers: OnnxTensor[];
  readonly inputs: OnnxValueInfo[];
  readonly outputs: OnnxValueInfo[];
}
const newGraph = (): GraphFields => ({ nodes: [], initializers: [], inputs: [], outputs: [] });
const graphField: OnField<GraphFields> = (field, graph, file) => {
  if (field === 1) {
    const none = { name: "", type: "", domain: "", inputs: [], outputs: [], attributes: new Map() };
    graph.nodes.push(inner(file, nodeField, none));
  } else if (field === 5) graph.initializers.push(readTensorIn(file));
  else if (field === 11) graph.inputs.push(readValueInfo(file));
  else if (field === 12) graph.outputs.push(readValueInfo(file));
  else if (field === 15) check(false, "openOnnx", () => "the graph holds sparse initializers, which are not read");
};

interface FileFields {
  graph: GraphFields | null;
  opset: number;
  functions: boolean;
  producer: string;
  readonly metadata: Map<string, string>;
}
const opsetField: OnField<{ domain: string; version: number }> = (field, opset, file) => {
  if (field === 1) opset.domain = text(file);
  else if (field === 2) opset.version = file.readVarint(true);
};
const modelField: OnField<FileFields> = (field, model, file) => {
  if (field === 2) model.producer = text(file);
  else if (field === 7) model.graph = inner(file, graphField, newGraph());
  else if (field === 8) {
    const { domain, version } = inner(file, opsetField, { domain: "", version: 1 });
    if (domain === "" || domain === "ai.onnx") model.opset = version;
  } else if (field === 14) model.metadata.set(...inner(file, pairField, ["", ""] as [string, string]));
  else if (field === 25) model.functions = true;
};

/** @throws Error for bytes that are no model */
export function readModel(bytes: Uint8Array): OnnxFile {
  const none: FileFields = { graph: null, opset: 1, functions: false, producer: "", metadata: new Map() };
  const { graph, opset, functions, producer, metadata } = whole(bytes, modelField, none);
  if (!graph) throw new Error("it holds no graph");
  return { graph, opset, functions, producer, metadata: Object.fromEntries(metadata) };
}
