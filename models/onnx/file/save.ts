/** Writes an ONNX file again with other weights: everything else stays as it was, byte for byte. */
import { PbfReader, PbfWriter } from "pbf";
import { toHalf } from "../../../engine/segmenting.ts";

export interface Weights {
  readonly type: number;
  readonly shape: readonly number[];
  /** Undefined: they are kept elsewhere. */
  readonly data?: Float32Array;
}

/** Stands for the place of weights that are kept elsewhere. */
export const ELSEWHERE = "parameters";

/** The fields of a message, each with its tag and content as they stand in the file. */
function* fieldsOf(bytes: Uint8Array): Generator<{ number: number; whole: Uint8Array; content: Uint8Array }> {
  const file = new PbfReader(bytes);
  for (let start = 0, number; (number = file.nextField()) > 0; start = file.pos) {
    const after = file.pos;
    file.skip(file.type);
    const whole = bytes.subarray(start, file.pos);
    // A length stands before the content.
    const inner = new PbfReader(bytes.subarray(after, file.pos));
    const content = file.type === 2 ? inner.readBytes() : whole.subarray(0, 0);
    yield { number, whole, content };
  }
}

const GRAPH = 7;
const INITIALIZER = 5;
const METADATA = 14;
const NAME = 8;
const bytesOfType: Readonly<Record<number, (data: Float32Array) => Uint8Array>> = {
  1: (data) => bytes(data),
  10: (data) => bytes(Uint16Array.from(data, toHalf)),
  11: (data) => bytes(Float64Array.from(data)),
  16: (data) => bytes(Uint16Array.from(data, toBrainFloat)),
};
const bytes = (data: ArrayBufferView): Uint8Array => new Uint8Array(data.buffer, data.byteOffset, data.byteLength);

const word = new DataView(new ArrayBuffer(4));
/** Bits of the nearest bfloat16, ties to even. */
function toBrainFloat(x: number): number {
  word.setFloat32(0, x);
  const bits = word.getUint32(0);
  return Number.isNaN(x) ? 0x7fc0 : (bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16;
}
/** The file with these initializers and entries of its metadata in place of its own of the same name. */
export function withWeights(
  model: Uint8Array,
  weights: ReadonlyMap<string, Weights>,
  metadata: Readonly<Record<string, string>> = {},
): Uint8Array {
  const file = new PbfWriter();
  const raw = (writer: PbfWriter, part: Uint8Array): void => {
    writer.realloc(part.length);
    writer.buf.set(part, writer.pos);
    writer.pos += part.length;
  };
  const textOf = (message: Uint8Array, field: number): string => {
    for (const { number, content } of fieldsOf(message)) if (number === field) return new TextDecoder().decode(content);
    return "";
  };
  const nameOf = (tensor: Uint8Array): string => textOf(tensor, NAME);
  for (const field of fieldsOf(model)) {
    if (field.number !== GRAPH) {
      const replaced = field.number === METADATA && Object.hasOwn(metadata, textOf(field.content, 1));
      if (!replaced) raw(file, field.whole);
      continue;
    }
    const graph = new PbfWriter();
    for (const part of fieldsOf(field.content)) {
      const own = part.number === INITIALIZER ? weights.get(nameOf(part.content)) : undefined;
      if (!own) raw(graph, part.whole);
      else {
        graph.writeMessage(INITIALIZER, (_, tensor) => {
          for (const n of own.shape) tensor.writeVarintField(1, n);
          tensor.writeVarintField(2, own.type);
          tensor.writeStringField(NAME, nameOf(part.content));
          if (own.data) tensor.writeBytesField(9, bytesOfType[own.type](own.data));
          else {
            tensor.writeMessage(13, (_, entry) => {
              entry.writeStringField(1, "location");
              entry.writeStringField(2, ELSEWHERE);
            }, null);
            tensor.writeVarintField(14, 1);
          }
        }, null);
      }
    }
    file.writeBytesField(GRAPH, graph.finish());
  }
  for (const [key, value] of Object.entries(metadata)) {
    file.writeMessage(METADATA, (_, entry) => {
      entry.writeStringField(1, key);
      entry.writeStringField(2, value);
    }, null);
  }
  return file.finish().slice();
}
