/** Tensor creation: constants, ranges, host data. */
import {
  allocate,
  checkAttached,
  convert,
  type DType,
  dtypeOf,
  dtypes,
  fits,
  isDType,
  isFloat,
  type TypedArray,
} from "../../core/dtype.ts";
import { check, checkFlag, checkOptions, fail, show } from "../../core/errors.ts";
import { call, infix } from "../../core/expr.ts";
import type { Op } from "../../core/op.ts";
import { checkShape, type Shape, size } from "../../core/shape.ts";
import { checkTensor, node, Tensor } from "../../core/tensor.ts";
import { constant } from "./constant.ts";

/** Numbers nested to any depth; all rows of a level have the same length. */
export type Nested = number | boolean | readonly Nested[];

const fullOp: Op<{ value: number }> = {
  name: "full",
  lowering: { kind: "map", cost: 0, emit: (e) => constant(e.attrs.value, e.output.dtype) },
  vjp: () => [],
  jvp: null,
};

/** A constant that uses no memory: it is a literal in the kernels that read it. */
export const scalar = (value: number, dtype: DType, shape: Shape = []): Tensor =>
  node(fullOp, [], { value }, shape, dtype);

/**
 * A tensor of `shape` filled with `value`.
 *
 * @example
 * ```ts
 * import { full } from "voxgrad";
 *
 * await full([2, 2], 7).array(); // [[7, 7], [7, 7]]
 * ```
 */
export const full = (shape: Shape, value: number, options: { dtype?: DType } = {}): Tensor =>
  filled("full", shape, value, options);

function filled(name: string, shape: Shape, value: number, options: { dtype?: DType }): Tensor {
  checkOptions(name, options, ["dtype"]);
  checkShape(name, shape);
  check(typeof value === "number", name, () => `the value is a number, got ${show(value)}`);
  const dtype = checkDType(name, options.dtype ?? "f32");
  check(fits(value, dtype), name, () => `the value ${value} does not fit dtype ${dtype}`);
  return scalar(value, dtype, shape);
}

/**
 * A tensor of zeros.
 *
 * @example
 * ```ts
 * import { zeros } from "voxgrad";
 *
 * await zeros([3]).array(); // [0, 0, 0]
 * const labels = zeros([1, 8, 16, 16], { dtype: "i32" });
 * ```
 */
export const zeros = (shape: Shape, options: { dtype?: DType } = {}): Tensor => filled("zeros", shape, 0, options);

/**
 * A tensor of ones.
 *
 * @example
 * ```ts
 * import { ones } from "voxgrad";
 *
 * await ones([2, 2]).array(); // [[1, 1], [1, 1]]
 * ```
 */
export const ones = (shape: Shape, options: { dtype?: DType } = {}): Tensor => filled("ones", shape, 1, options);

const filledLike = (name: string, x: Tensor, value: number, options: { dtype?: DType }): Tensor => {
  checkTensor(name, x);
  checkOptions(name, options, ["dtype"]);
  return filled(name, x.shape, value, { ...options, dtype: options.dtype ?? x.dtype });
};

/**
 * Zeros of the shape of x, and of its dtype unless another is given.
 *
 * @example
 * ```ts
 * import { tensor } from "voxgrad";
 *
 * await tensor([1, 2]).zerosLike().array(); // [0, 0]
 * ```
 */
export const zerosLike = (x: Tensor, options: { dtype?: DType } = {}): Tensor => filledLike("zerosLike", x, 0, options);

/**
 * Ones of the shape of x, and of its dtype unless another is given.
 *
 * @example
 * ```ts
 * import { tensor } from "voxgrad";
 *
 * await tensor([[1, 2]]).onesLike({ dtype: "i32" }).array(); // [[1, 1]]
 * ```
 */
export const onesLike = (x: Tensor, options: { dtype?: DType } = {}): Tensor => filledLike("onesLike", x, 1, options);

const arangeOp: Op<{ start: number; step: number }> = {
  name: "arange",
  lowering: {
    kind: "map",
    cost: 2,
    emit(e, index) {
      const { dtype } = e.output;
      const type = isFloat(dtype) ? "f32" : dtype;
      return e.bind(
        infix(
          constant(e.attrs.start, type),
          "+",
          infix(call(type, index.offset), "*", constant(e.attrs.step, type)),
        ),
        dtype,
      );
    },
  },
  vjp: null,
};

/**
 * start, start + step, ... below stop; default dtype: i32 for integers, otherwise f32.
 *
 * @example
 * ```ts
 * import { arange } from "voxgrad";
 *
 * await arange(4).array(); // [0, 1, 2, 3]
 * await arange(0, 1, { step: 0.25 }).array(); // [0, 0.25, 0.5, 0.75]
 * ```
 */
export function arange(start: number, stop?: number, options: { step?: number; dtype?: DType } = {}): Tensor {
  checkOptions("arange", options, ["step", "dtype"]);
  const [from, to] = stop === undefined ? [0, start] : [start, stop];
  const step = options.step ?? 1;
  check(
    [from, to, step].every(Number.isFinite) && step !== 0,
    "arange",
    () => `start, stop and step are finite and step is not 0, got ${show([from, to, step])}`,
  );
  const whole = [from, to, step].every(Number.isInteger);
  const dtype = checkDType("arange", options.dtype ?? (whole ? "i32" : "f32"));
  check(dtype !== "bool", "arange", () => "dtype bool has no ranges; use f32, i32 or u32");
  check(whole || isFloat(dtype), "arange", () => `fractions need dtype f32 or f16, got ${dtype}`);
  const length = Math.max(0, Math.ceil((to - from) / step));
  checkShape("arange", [length]);
  for (const value of [from, from + Math.max(0, length - 1) * step]) {
    check(fits(value, dtype), "arange", () => `the value ${value} does not fit dtype ${dtype}`);
  }
  return node(arangeOp, [], { start: from, step }, [length], dtype);
}

const eyeOp: Op = {
  name: "eye",
  lowering: {
    kind: "map",
    cost: 1,
    emit(e, index) {
      const { dtype } = e.output;
      return e.bind(call(isFloat(dtype) ? "f32" : dtype, infix(index.part(0, 0), "==", index.part(1, 1))), dtype);
    },
  },
  vjp: null,
};

/**
 * The n x n identity matrix, or its first columns, or zeros to its right.
 *
 * @param options.columns default: n
 * @example
 * ```ts
 * import { eye } from "voxgrad";
 *
 * await eye(2).array(); // [[1, 0], [0, 1]]
 * await eye(2, { columns: 3 }).array(); // [[1, 0, 0], [0, 1, 0]]
 * ```
 */
export function eye(n: number, options: { columns?: number; dtype?: DType } = {}): Tensor {
  checkOptions("eye", options, ["columns", "dtype"]);
  const shape = [n, options.columns ?? n];
  checkShape("eye", shape);
  return node(eyeOp, [], {}, shape, checkDType("eye", options.dtype ?? "f32"));
}

export interface TensorOptions {
  /** Required for a typed array with more than one axis. */
  shape?: Shape;
  /** Default: f32, bool for booleans, or the type of the typed array (Uint8Array: bool). */
  dtype?: DType;
  /**
   * Whether to copy a typed array; default: true. With false the tensor keeps a reference to the array, which must not
   * be changed or transferred afterwards.
   */
  copy?: boolean;
}

/** Nesting limit, which also catches arrays that contain themselves. */
const DEEPEST = 512;

/**
 * Creates a tensor from a number, nested arrays or a typed array. The data is copied.
 *
 * @param options.shape required for a typed array with more than one axis
 * @param options.dtype default: f32, bool for booleans, or the type of the typed array (Uint8Array: bool)
 * @param options.copy false keeps a reference to a typed array: do not change it afterwards
 * @example
 * ```ts
 * import { tensor } from "voxgrad";
 *
 * const matrix = tensor([[1, 2], [3, 4]]); // f32 [2, 2]
 * const volume = tensor(new Float32Array(24), { shape: [1, 2, 3, 4] });
 * const labels = tensor([0, 1, 2], { dtype: "i32" });
 * ```
 */
export function tensor(data: Nested | TypedArray, options: TensorOptions = {}): Tensor {
  checkOptions("tensor", options, ["shape", "dtype", "copy"]);
  checkFlag("tensor", "copy", options.copy);
  const { copy = true } = options;
  if (ArrayBuffer.isView(data)) {
    const own = dtypeOf(data) ??
      fail("tensor", `got a ${data.constructor.name}; use Float32Array, Int32Array, Uint32Array or Uint8Array`);
    checkAttached("tensor", data);
    return fromTyped(data, options.shape ?? [data.length], own, checkDType("tensor", options.dtype ?? own), copy);
  }
  const shape: number[] = [];
  for (let level: Nested = data; Array.isArray(level); level = level[0] as Nested) {
    shape.push(level.length);
    check(
      shape.length <= DEEPEST,
      "tensor",
      () => `the arrays contain themselves, or are nested deeper than ${DEEPEST} levels`,
    );
    if (level.length === 0) break;
  }
  const values: number[] = [];
  let truth = true;
  const visit = (value: Nested, depth: number): void => {
    if (Array.isArray(value)) {
      check(
        depth < shape.length,
        "tensor",
        () => `an array of ${value.length} lies at depth ${depth}, where other rows have numbers`,
      );
      check(
        value.length === shape[depth],
        "tensor",
        () => `rows differ in length at depth ${depth}: ${value.length} and ${shape[depth]}`,
      );
      for (let k = 0; k < value.length; k++) visit(value[k], depth + 1);
      return;
    }
    check(
      depth === shape.length && (typeof value === "number" || typeof value === "boolean"),
      "tensor",
      () =>
        `got ${show(value)} where a number is wanted${value instanceof Tensor ? "; stack([...]) joins tensors" : ""}`,
    );
    if (typeof value === "number") truth = false;
    values.push(Number(value));
  };
  visit(data, 0);
  const dtype = checkDType("tensor", options.dtype ?? (truth && values.length > 0 ? "bool" : "f32"));
  const array = allocate(dtype, values.length);
  values.forEach((v, k) => (array[k] = convert(v, dtype)));
  return fromTyped(array, options.shape ?? shape, dtype, dtype, false);
}

function fromTyped(data: TypedArray, shape: Shape, own: DType, dtype: DType, copy: boolean): Tensor {
  checkShape("tensor", shape);
  check(
    data.length === size(shape),
    "tensor",
    () => `the data has ${data.length} elements, shape ${show(shape)} needs ${size(shape)}`,
  );
  let values = data;
  if (own !== dtype || dtype === "f16") {
    values = allocate(dtype, data.length);
    // Between integer types the bits are kept, as in cast.
    if (!isFloat(own) && !isFloat(dtype) && dtype !== "bool") values.set(data);
    else data.forEach((v, k) => (values[k] = convert(v, dtype)));
  } else if (dtype === "bool" && data.some((v) => v > 1)) {
    values = data.map((v) => Number(v !== 0));
  } else if (copy) values = data.slice();
  return new Tensor(shape, dtype, { kind: "host", data: values, uses: 0 });
}

function checkDType(operator: string, dtype: unknown): DType {
  check(isDType(dtype), operator, () => `dtype is one of ${dtypes.join(", ")}, got ${show(dtype)}`);
  return dtype;
}
