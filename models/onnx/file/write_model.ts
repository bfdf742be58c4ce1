/** Writes the messages of an ONNX file (onnx.proto). */
import { PbfWriter } from "pbf";
import type { DType, Shape, TypedArray } from "../../../engine/mod.ts";

/** Types of onnx.proto by dtype. */
const TYPES: Readonly<Record<DType, number>> = { f32: 1, f16: 1, i32: 6, u32: 12, bool: 9 };
export const typeOfDType = (dtype: DType): number => TYPES[dtype];

export type WrittenAttribute = number | string | readonly number[] | { readonly float: number } | WrittenTensor;
export interface WrittenTensor {
  readonly name: string;
  readonly shape: Shape;
  /** Of onnx.proto. */
  readonly type: number;
  readonly bytes: Uint8Array;
}
export interface WrittenNode {
  readonly type: string;
  readonly inputs: readonly string[];
  readonly output: string;
  readonly attributes: Readonly<Record<string, WrittenAttribute>>;
}
export interface WrittenValue {
  readonly name: string;
  /** Sizes, or the names of those that each call binds. */
  readonly shape: readonly (number | string)[];
  readonly type: number;
}
export interface WrittenModel {
  readonly opset: number;
  readonly producer: string;
  readonly version: string;
  readonly nodes: readonly WrittenNode[];
  readonly initializers: readonly WrittenTensor[];
  readonly inputs: readonly WrittenValue[];
  readonly outputs: readonly WrittenValue[];
  readonly metadata: Readonly<Record<string, string>>;
}

/** Numbers as the file stores them; bool in bytes. */
export function tensorBytes(data: TypedArray, dtype: DType): Uint8Array {
  const own = dtype === "bool" ? Uint8Array.from(data) : data;
  return new Uint8Array(own.buffer, own.byteOffset, own.byteLength);
}
export const int64 = (name: string, values: readonly number[]): WrittenTensor => ({
  name,
  shape: [values.length],
  type: 7,
  bytes: new Uint8Array(BigInt64Array.from(values, BigInt).buffer),
});

function writeTensor({ name, shape, type, bytes }: WrittenTensor, file: PbfWriter): void {
  for (const n of shape) file.writeVarintField(1, n);
  file.writeVarintField(2, type);
  file.writeStringField(8, name);
  file.writeBytesField(9, bytes);
}
function writeAttribute([name, value]: readonly [string, WrittenAttribute], file: PbfWriter): void {
  file.writeStringField(1, name);
  const kind = (n: number): void => file.writeVarintField(20, n);
  if (typeof value === "number") {
    file.writeVarintField(3, value);
    kind(2);
  } else if (typeof value === "string") {
    file.writeStringField(4, value);
    kind(3);
  } else if (Array.isArray(value)) {
    for (const n of value) file.writeVarintField(8, n);
    kind(7);
  } else if ("float" in value) {
    file.writeFloatField(2, value.float);
    kind(1);
  } else {
    file.writeMessage(5, writeTensor, value as WrittenTensor);
    kind(4);
  }
}
function writeNode({ type, inputs, output, attributes }: WrittenNode, file: PbfWriter): void {
  for (const input of inputs) file.writeStringField(1, input);
  file.writeStringField(2, output);
  file.writeStringField(3, output);
  file.writeStringField(4, type);
  for (const attribute of Object.entries(attributes)) file.writeMessage(5, writeAttribute, attribute);
}
function writeSize(size: number | string, file: PbfWriter): void {
  if (typeof size === "number") file.writeVarintField(1, size);
  else file.writeStringField(2, size);
}
function writeValue({ name, shape, type }: WrittenValue, file: PbfWriter): void {
  file.writeStringField(1, name);
  file.writeMessage(2, (_, of) => {
    of.writeMessage(1, (_, tensor) => {
      tensor.writeVarintField(1, type);
      tensor.writeMessage(2, (_, sizes) => {
        for (const n of shape) sizes.writeMessage(1, writeSize, n);
      }, null);
    }, null);
  }, null);
}
function writePair([key, value]: readonly [string, string], file: PbfWriter): void {
  file.writeStringField(1, key);
  file.writeStringField(2, value);
}

/** The bytes of a model. */
export function writeModel(model: WrittenModel): Uint8Array {
  const file = new PbfWriter();
  // The version of the format that came with opset 17.
  file.writeVarintField(1, 8);
  file.writeStringField(2, model.producer);
  file.writeStringField(3, model.version);
  file.writeMessage(7, (_, graph) => {
    for (const node of model.nodes) graph.writeMessage(1, writeNode, node);
    graph.writeStringField(2, model.producer);
    for (const t of model.initializers) graph.writeMessage(5, writeTensor, t);
    for (const input of model.inputs) graph.writeMessage(11, writeValue, input);
    for (const output of model.outputs) graph.writeMessage(12, writeValue, output);
  }, null);
  file.writeMessage(8, (_, opset) => {
    opset.writeStringField(1, "");
    opset.writeVarintField(2, model.opset);
  }, null);
  for (const pair of Object.entries(model.metadata)) file.writeMessage(14, writePair, pair);
  return file.finish().slice();
}
