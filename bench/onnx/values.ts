/** Values of a graph while it is built: tensors, and arrays that are known on the host, such as shapes. */
import { type DType, type Shape, Tensor, tensor } from "../../engine/mod.ts";
import type { OnnxTensor } from "./protobuf.ts";

/** The graph needs what voxgrad does not offer; counted, not failed. */
export class NotApplicable extends Error {
  override name = "NotApplicable";
}
export const lacks = (what: string): never => {
  throw new NotApplicable(what);
};

/** Numbers that are known while the graph is built. */
export class Known {
  readonly shape: Shape;
  readonly data: readonly number[];
  /** The type of onnx.proto. */
  readonly type: number;

  constructor(shape: Shape, data: readonly number[], type: number) {
    this.shape = shape;
    this.data = data;
    this.type = type;
  }
}
export type Value = Tensor | Known | readonly Value[];
export type Single = Tensor | Known;

/** dtype of a tensor of an ONNX type. */
export function dtypeOf(type: number): DType {
  if (type === 1 || type === 10 || type === 11) return "f32";
  if (type === 9) return "bool";
  if (type === 12 || type === 13) return "u32";
  return [2, 3, 4, 5, 6, 7].includes(type) ? "i32" : lacks(`values of type ${type}`);
}
export const isFloatType = (type: number): boolean => type === 1 || type === 10 || type === 11;

const made = new WeakMap<Known, Tensor>();
export function toTensor(value: Value | null | undefined): Tensor {
  if (value instanceof Tensor) return value;
  if (!(value instanceof Known)) return lacks("a sequence or a missing value where a tensor is needed");
  let t = made.get(value);
  if (!t) {
    const dtype = dtypeOf(value.type);
    const limit = dtype === "u32" ? 2 ** 32 : 2 ** 31;
    if (dtype !== "f32" && value.data.some((v) => Math.abs(v) > limit || (dtype === "i32" && v === limit))) {
      lacks("integers of more than 32 bits");
    }
    const beyond = (v: number): boolean =>
      Number.isFinite(v) && v !== 0 && (Math.abs(v) > 3.4e38 || Math.abs(v) < 1e-37);
    if (value.type === 11 && value.data.some(beyond)) lacks("doubles beyond the range of f32");
    t = tensor(value.data as number[], { dtype, shape: value.shape });
    made.set(value, t);
  }
  return t;
}

export function toNumbers(value: Value | null | undefined, what: string): readonly number[] {
  return value instanceof Known ? value.data : lacks(`${what} that depends on data`);
}
export const toNumber = (value: Value | null | undefined, what: string): number => toNumbers(value, what)[0];
export const fromFile = (t: OnnxTensor): Known =>
  t.type === 8
    ? lacks("strings")
    : t.type > 13
    ? lacks(`values of type ${t.type}`)
    : new Known(t.shape, t.data.length > 0 || t.shape.includes(0) ? t.data : [], t.type);
export const known = (shape: Shape, data: readonly number[], type = 7): Known => new Known(shape, data, type);
export const vector = (data: readonly number[], type = 7): Known => new Known([data.length], data, type);
export const shapeOf = (value: Single): Shape => value.shape;
/** The ONNX type of a value; of tensors the one that their dtype stands for. */
export const typeOf = (value: Single): number =>
  value instanceof Known ? value.type : ({ f32: 1, f16: 10, i32: 6, u32: 12, bool: 9 } as const)[value.dtype];
