/** Rows of the elementwise table, and how they become operators. */
import { arithmetic, type DType, dtypes, isDType, isFloat, joinNumber, promote } from "../../core/dtype.ts";
import { check, refuseOptions, show } from "../../core/errors.ts";
import { bitsOf, call, type Expr, infix, isLiteral, select, u32 } from "../../core/expr.ts";
import type { Op, RuleContext } from "../../core/op.ts";
import { mixed } from "../../core/precision.ts";
import { broadcastShapes, type Shape } from "../../core/shape.ts";
import { checkTensor, node, Tensor } from "../../core/tensor.ts";
import { alignBatch, broadcastTo } from "../shape/broadcast_to.ts";
import { sumTo } from "../shape/sum_to.ts";
import { constant, f32 } from "./constant.ts";
import { scalar } from "./creation.ts";

/** A tensor, or a plain number that takes the dtype of the other operands. */
export type Operand = Tensor | number;
export type UnaryOperator = (x: Tensor) => Tensor;
export type BinaryOperator = (a: Operand, b: Operand) => Tensor;

export interface Row<A> {
  /** The result expression; `inputs` is the dtype of the first input. */
  readonly expr: (args: readonly Expr[], attrs: A, inputs: DType) => Expr;
  /** Operation count for fusion; a transcendental function counts 8. */
  readonly cost?: number;
  /** Result dtype from the promoted input dtype; inputs are cast to `inputs` first. */
  readonly dtype?: (promoted: DType, attrs: A) => DType;
  readonly inputs?: (promoted: DType) => DType;
  /**
   * Input k: multiplies t by dy/dx_k. The matrix is diagonal, so one rule serves cotangents and tangents.
   * Missing: the result is piecewise constant or not a number.
   */
  readonly d?: readonly (((t: Tensor, c: RuleContext<A>) => Tensor) | null)[];
}

export const float = (dtype: DType): DType => (isFloat(dtype) ? dtype : "f32");
/** For functions whose values overflow f16 easily: f32 in mixed precision. */
export const wide = (dtype: DType): DType => (mixed() ? "f32" : float(dtype));
export const bool = (): DType => "bool";
/** Ordered comparison and arithmetic treat bool as integers. */
export const numeric = (dtype: DType): DType => arithmetic(dtype);

export function define<A = object>(name: string, row: Row<A>): Op<A> {
  const derivative = row.d;
  const op: Op<A> = {
    name,
    lowering: {
      kind: "map",
      cost: row.cost ?? 1,
      elementwise: true,
      emit(e, index) {
        const args = e.inputs.map((aval, k) => e.input(k, index.unbroadcast(aval.shape)));
        const dtype = e.inputs[0].dtype;
        // WGSL rejects overflow in constant expressions, but not of a named value.
        if (args.every(isLiteral)) args[0] = e.bind(call(isFloat(dtype) ? "f32" : dtype, args[0]), dtype);
        return e.bind(row.expr(args, e.attrs, dtype), e.output.dtype);
      },
    },
    vjp: derivative
      ? (c, g) =>
        c.inputs.map((x, k) =>
          isFloat(x.dtype) && derivative[k] ? sumTo(cast(derivative[k](g, c), x.dtype), x.shape) : null
        )
      : null,
    jvp: derivative
      ? (c, tangents) => {
        let total: Tensor | null = null;
        tangents.forEach((t, k) => {
          if (t === null || !derivative[k]) return;
          const term = broadcastTo(cast(derivative[k](t, c), c.output.dtype), { shape: c.output.shape });
          total = total === null ? term : add(total, term);
        });
        return total ?? scalar(0, c.output.dtype, c.output.shape);
      }
      : null,
    batch: ({ inputs, batched, size, output, attrs }) =>
      node(
        op,
        inputs.map((x, k) => (batched[k] ? alignBatch(x, output.shape.length) : x)),
        attrs,
        [size, ...output.shape],
        output.dtype,
      ),
  };
  return op;
}

export const isOperand = (value: unknown): value is Operand => value instanceof Tensor || typeof value === "number";

/** Applies a row: promotes dtypes, converts numbers to constants, broadcasts. */
export function apply<A>(op: Op<A>, row: Row<A>, operands: readonly Operand[], attrs: A): Tensor {
  let tensors: DType | null = null;
  let shape: Shape = [];
  for (const x of operands) {
    check(isOperand(x), op.name, () => `operands are tensors or numbers, got ${show(x)}`);
    if (typeof x === "number") continue;
    tensors = tensors === null ? x.dtype : promote(tensors, x.dtype);
    shape = broadcastShapes(op.name, shape, x.shape);
  }
  let promoted = tensors ?? "f32";
  for (const x of operands) if (typeof x === "number") promoted = joinNumber(promoted, x);
  const wanted = row.inputs ? row.inputs(promoted) : promoted;
  const inputs = operands.map((x) =>
    typeof x === "number" ? scalar(x, wanted) : x.dtype === wanted ? x : cast(x, wanted)
  );
  return node(op, inputs, attrs, shape, row.dtype ? row.dtype(wanted, attrs) : wanted);
}

const NONE = {};

export function unary(name: string, row: Row<object>): UnaryOperator {
  const op = define(name, row);
  return (x: Tensor, ...rest: unknown[]) => {
    checkTensor(name, x);
    refuseOptions(name, rest);
    return apply(op, row, [x], NONE);
  };
}

export function binary(name: string, row: Row<object>): BinaryOperator {
  const op = define(name, row);
  return (a: Operand, b: Operand, ...rest: unknown[]) => {
    refuseOptions(name, rest);
    return apply(op, row, [a, b], NONE);
  };
}

// The rules above use these two rows, so they are here and not in the table.

const castRow: Row<{ dtype: DType }> = {
  expr: ([x], { dtype }, from) => {
    if (isFloat(dtype)) return call("f32", x);
    if (!isFloat(from)) return call(dtype, x);
    // Subnormal numbers may compare equal to 0.
    const magnitude = infix(bitsOf(x), "&", u32(0x7fffffff));
    if (dtype === "bool") return infix(magnitude, "!=", u32(0));
    // The largest floats within the integer range.
    const [least, largest, most] = dtype === "i32"
      ? [-(2 ** 31), 2147483520, 2 ** 31 - 1]
      : [0, 4294967040, 2 ** 32 - 1];
    const inside = call(dtype, call("clamp", x, f32(least), f32(largest)));
    const saturated = select(inside, constant(most, dtype), infix(x, ">=", f32(most + 1)));
    return select(saturated, constant(0, dtype), infix(magnitude, ">", u32(0x7f800000)));
  },
  // Casts between float types are almost free, and materializing them would cost the memory that f16 saves.
  cost: 0,
  d: [(t) => t],
};
const castOp = define("cast", castRow);

/**
 * Casts to another dtype. Floats are truncated to integers, out-of-range values saturate and NaN becomes 0; between
 * i32 and u32 the bits are kept; to bool it is `!= 0`, which holds for NaN. The gradient passes between floats.
 *
 * @example
 * ```ts
 * import { tensor } from "voxgrad";
 *
 * await tensor([1.7, -1.7, 300]).cast("i32").array(); // [1, -1, 300]
 * ```
 */
export function cast(x: Tensor, dtype: DType, ...rest: never[]): Tensor {
  checkTensor("cast", x);
  refuseOptions("cast", rest);
  check(isDType(dtype), "cast", () => `dtype is one of ${dtypes.join(", ")}, got ${show(dtype)}`);
  return x.dtype === dtype ? x : node(castOp, [x], { dtype }, x.shape, dtype);
}

/**
 * a + b
 *
 * @example
 * ```ts
 * import { tensor } from "voxgrad";
 *
 * await tensor([1, 2]).add(tensor([3, 4])).array(); // [4, 6]
 * ```
 */
export const add: BinaryOperator = binary("add", {
  expr: ([a, b]) => infix(a, "+", b),
  inputs: numeric,
  d: [(t) => t, (t) => t],
});
