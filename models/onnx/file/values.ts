/** Values of a graph while it is built: tensors, and numbers that are known on the host, such as shapes. */
import { type DType, type Shape, Tensor, tensor, VoxgradError } from "../../../engine/mod.ts";
import type { OnnxTensor } from "./messages.ts";

/** The model needs what voxgrad does not have. */
export class UnsupportedOnnx extends VoxgradError {
  override name = "UnsupportedOnnx";
  /** What it needs, without where. */
  readonly what: string;

  constructor(what: string, place = "openOnnx") {
    super(`${place}: the model needs ${what}, which voxgrad does not have`);
    this.what = what;
  }
}
export const lacks = (what: string): never => {
  throw new UnsupportedOnnx(what);
};

/** Numbers that are known while the graph is built. */
export class Known {
  readonly shape: Shape;
  readonly data: readonly number[] | Float32Array;
  /** The type of onnx.proto. */
  readonly type: number;

  constructor(shape: Shape, data: readonly number[] | Float32Array, type: number) {
    this.shape = shape;
    this.data = data;
    this.type = type;
  }

  get list(): readonly number[] {
    return Array.isArray(this.data) ? this.data as readonly number[] : Array.from(this.data);
  }
}
export type Value = Tensor | Known | readonly Value[];
export type Single = Tensor | Known;

/** dtype of a tensor of an ONNX type; null if there is none. */
export function dtypeOrNull(type: number): DType | null {
  if (isFloatType(type)) return "f32";
  if (type === 9) return "bool";
  if (type === 12 || type === 13) return "u32";
  return [2, 3, 4, 5, 6, 7].includes(type) ? "i32" : null;
}
export const dtypeOf = (type: number): DType => dtypeOrNull(type) ?? lacks(`values of type ${nameOf(type)}`);
export const isFloatType = (type: number): boolean => type === 1 || type === 10 || type === 11 || type === 16;

const NAMES = ["undefined", "float", "uint8", "int8", "uint16", "int16", "int32", "int64", "string", "bool"];
const LATER = ["float16", "double", "uint32", "uint64", "complex64", "complex128", "bfloat16"];
/** The name of an ONNX type. */
export const nameOf = (type: number): string => [...NAMES, ...LATER][type] ?? `number ${type}`;

const made = new WeakMap<Known, Tensor>();
export function toTensor(value: Value | null | undefined): Tensor {
  if (value instanceof Tensor) return value;
  if (!(value instanceof Known)) return lacks("a sequence or a missing value where a tensor is needed");
  let t = made.get(value);
  if (!t) {
    const dtype = dtypeOf(value.type);
    const limit = dtype === "u32" ? 2 ** 32 : 2 ** 31;
    if (dtype !== "f32" && value.list.some((v) => Math.abs(v) > limit || (dtype === "i32" && v === limit))) {
      lacks("integers of more than 32 bits");
    }
    const beyond = (v: number): boolean =>
      Number.isFinite(v) && v !== 0 && (Math.abs(v) > 3.4e38 || Math.abs(v) < 1e-37);
    if (value.type === 11 && value.list.some(beyond)) lacks("doubles beyond the range of f32");
    t = tensor(value.data as Float32Array, { dtype, shape: value.shape });
    made.set(value, t);
  }
  return t;
}

/** Known numbers in another order: `source` is the index in x of an index in the result. */
export function rearranged(x: Known, shape: Shape, source: (at: readonly number[]) => readonly number[]): Known {
  const { list } = x;
  const count = shape.reduce((a, b) => a * b, 1);
  const data = Array.from({ length: count }, (_, place) => {
    const at = new Array<number>(shape.length);
    let rest = place;
    for (let k = shape.length - 1; k >= 0; k--) {
      at[k] = rest % shape[k];
      rest = Math.floor(rest / shape[k]);
    }
    return list[source(at).reduce((offset, i, k) => offset * x.shape[k] + i, 0)];
  });
  return new Known(shape, data, x.type);
}

export function toNumbers(value: Value | null | undefined, what: string): readonly number[] {
  return value instanceof Known ? value.list : lacks(`${what} that depends on data`);
}
export const toNumber = (value: Value | null | undefined, what: string): number => toNumbers(value, what)[0];
export const fromFile = (t: OnnxTensor): Known =>
  t.type === 8
    ? lacks("strings")
    : dtypeOrNull(t.type) === null
    ? lacks(`values of type ${nameOf(t.type)}`)
    : new Known(t.shape, t.data, t.type);
export const known = (shape: Shape, data: readonly number[], type = 7): Known => new Known(shape, data, type);
export const vector = (data: readonly number[], type = 7): Known => new Known([data.length], data, type);
export const shapeOf = (value: Single): Shape => value.shape;
/** The ONNX type of a value; of tensors the one that their dtype stands for. */
export const typeOf = (value: Single): number =>
  value instanceof Known ? value.type : ({ f32: 1, f16: 10, i32: 6, u32: 12, bool: 9 } as const)[value.dtype];
