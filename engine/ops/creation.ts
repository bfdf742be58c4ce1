/** Tensors from numbers: constants, ranges, host data. */
import { allocate, dtypeOf, isDType, type DType, type TypedArray } from "../core/dtype.ts";
import { check, checkOptions, fail, show } from "../core/errors.ts";
import type { Op } from "../core/op.ts";
import { checkShape, size, type Shape } from "../core/shape.ts";
import { node, Tensor } from "../core/tensor.ts";
import { literal } from "./elementwise.ts";

/** Numbers nested to any depth, all rows of a level equally long. */
export type Nested = number | boolean | readonly Nested[];

/** A number of a dtype as WGSL. */
export function constant(value: number, dtype: DType): string {
  switch (dtype) {
    case "f32":
      return literal(value);
    case "i32":
      return value < 0 ? `(${Math.trunc(value)}i)` : `${Math.trunc(value)}i`;
    case "u32":
      return `${Math.trunc(value)}u`;
    case "bool":
      return value !== 0 ? "true" : "false";
  }
}

const fullOp: Op<{ value: number }> = {
  name: "full",
  lowering: { kind: "map", cost: 0, emit: (e) => constant(e.attrs.value, e.output.dtype) },
  vjp: () => [],
  jvp: null,
};

/** A constant that costs no memory: it is a literal in the kernels that use it. */
export const scalar = (value: number, dtype: DType, shape: Shape = []): Tensor =>
  node(fullOp, [], { value }, shape, dtype);

/** Shape `shape` filled with `value`. */
export function full(shape: Shape, value: number, options: { dtype?: DType } = {}): Tensor {
  checkOptions("full", options, ["dtype"]);
  checkShape("full", shape);
  check(typeof value === "number", "full", () => `the value is a number, got ${show(value)}`);
  return scalar(value, checkDType("full", options.dtype ?? "f32"), shape);
}

/** Zeros of a shape. */
export const zeros = (shape: Shape, options: { dtype?: DType } = {}): Tensor => full(shape, 0, options);

/** Ones of a shape. */
export const ones = (shape: Shape, options: { dtype?: DType } = {}): Tensor => full(shape, 1, options);

const arangeOp: Op<{ start: number; step: number }> = {
  name: "arange",
  lowering: {
    kind: "map",
    cost: 2,
    emit(e, index) {
      const { dtype } = e.output;
      return e.bind(
        `${constant(e.attrs.start, dtype)} + ${dtype}(${index.offset}) * ${constant(e.attrs.step, dtype)}`,
        dtype,
      );
    },
  },
  vjp: null,
};

/** start, start + step, ... below stop; whole numbers give i32 unless dtype says otherwise. */
export function arange(start: number, stop?: number, options: { step?: number; dtype?: DType } = {}): Tensor {
  checkOptions("arange", options, ["step", "dtype"]);
  const [from, to] = stop === undefined ? [0, start] : [start, stop];
  const step = options.step ?? 1;
  check(
    [from, to, step].every(Number.isFinite) && step !== 0,
    "arange",
    () => `start, stop and step are finite and step is not 0, got ${from}, ${to}, ${step}`,
  );
  const whole = [from, to, step].every(Number.isInteger);
  const dtype = checkDType("arange", options.dtype ?? (whole ? "i32" : "f32"));
  check(dtype !== "bool", "arange", () => "dtype bool has no ranges; use f32, i32 or u32");
  check(whole || dtype === "f32", "arange", () => `fractions need dtype f32, got ${dtype}`);
  const length = Math.max(0, Math.ceil((to - from) / step));
  checkShape("arange", [length]);
  return node(arangeOp, [], { start: from, step }, [length], dtype);
}

const eyeOp: Op = {
  name: "eye",
  lowering: {
    kind: "map",
    cost: 1,
    emit: (e, index) => e.bind(`${e.output.dtype}(${index.part(0, 0)} == ${index.part(1, 1)})`, e.output.dtype),
  },
  vjp: null,
};

/** The n x n identity matrix. */
export function eye(n: number, options: { dtype?: DType } = {}): Tensor {
  checkOptions("eye", options, ["dtype"]);
  checkShape("eye", [n, n]);
  return node(eyeOp, [], {}, [n, n], checkDType("eye", options.dtype ?? "f32"));
}

/**
 * A tensor from a number, nested arrays or a typed array. A typed array is kept, not copied: do not change it afterwards.
 *
 * @param options.shape needed for a typed array of more than one axis
 * @param options.dtype default f32, bool for truth values, or the type of the typed array (Uint8Array: bool)
 * @example tensor(new Float32Array(6), { shape: [2, 3] })
 */
export function tensor(data: Nested | TypedArray, options: { shape?: Shape; dtype?: DType } = {}): Tensor {
  checkOptions("tensor", options, ["shape", "dtype"]);
  if (ArrayBuffer.isView(data)) {
    const own =
      dtypeOf(data) ??
      fail("tensor", `got a ${data.constructor.name}; use Float32Array, Int32Array, Uint32Array or Uint8Array`);
    return fromTyped(data, options.shape ?? [data.length], own, checkDType("tensor", options.dtype ?? own));
  }
  const shape: number[] = [];
  for (let level: Nested = data; Array.isArray(level); level = level[0] as Nested) {
    shape.push(level.length);
    if (level.length === 0) break;
  }
  const values: number[] = [];
  let truth = true;
  const visit = (value: Nested, depth: number): void => {
    if (Array.isArray(value)) {
      check(
        value.length === shape[depth],
        "tensor",
        () => `rows differ in length at depth ${depth}: ${value.length} and ${shape[depth]}`,
      );
      return value.forEach((child) => visit(child, depth + 1));
    }
    check(
      depth === shape.length && (typeof value === "number" || typeof value === "boolean"),
      "tensor",
      () => `got ${show(value)} where a number is wanted`,
    );
    if (typeof value === "number") truth = false;
    values.push(Number(value));
  };
  visit(data, 0);
  const dtype = checkDType("tensor", options.dtype ?? (truth && values.length > 0 ? "bool" : "f32"));
  const array = allocate(dtype, values.length);
  array.set(dtype === "bool" ? values.map((v) => Number(v !== 0)) : values);
  return fromTyped(array, options.shape ?? shape, dtype, dtype);
}

function fromTyped(data: TypedArray, shape: Shape, own: DType, dtype: DType): Tensor {
  checkShape("tensor", shape);
  check(
    data.length === size(shape),
    "tensor",
    () => `the data has ${data.length} elements, shape ${show(shape)} needs ${size(shape)}`,
  );
  let values = data;
  if (own !== dtype) {
    values = allocate(dtype, data.length);
    if (dtype === "bool") data.forEach((v, k) => (values[k] = Number(v !== 0)));
    else values.set(data);
  }
  return new Tensor(shape, dtype, { kind: "host", data: values, uses: 0 });
}

function checkDType(operator: string, dtype: unknown): DType {
  check(isDType(dtype), operator, () => `dtype is f32, i32, u32 or bool, got ${show(dtype)}`);
  return dtype;
}
