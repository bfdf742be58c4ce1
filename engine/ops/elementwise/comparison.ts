/** Comparisons, logic, and the choice by a condition: one table row each, as in elementwise.ts. */
import { type DType, joinNumber, promote } from "../../core/dtype.ts";
import { check, refuseOptions, show } from "../../core/errors.ts";
import { fn, infix, type InfixOperator, prefix, select } from "../../core/expr.ts";
import type { Op } from "../../core/op.ts";
import { broadcastShapes } from "../../core/shape.ts";
import { checkTensor, node, Tensor } from "../../core/tensor.ts";
import { scalar } from "./creation.ts";
import {
  binary,
  type BinaryOperator,
  bool,
  cast,
  define,
  float,
  isOperand,
  numeric,
  type Operand,
  unary,
  type UnaryOperator,
} from "./elementwise_op.ts";

const compare = (name: string, sign: InfixOperator, inputs: (dtype: DType) => DType = numeric) =>
  binary(name, { expr: ([a, b]) => infix(a, sign, b), inputs, dtype: bool });
/**
 * a == b, as bool
 *
 * @example
 * ```ts
 * import { tensor } from "voxgrad";
 *
 * await tensor([1, 2, 3]).equal(2).array(); // [false, true, false]
 * ```
 */
export const equal: BinaryOperator = compare("equal", "==");
/**
 * a != b, as bool; NaN is not equal to anything
 *
 * @example
 * ```ts
 * import { tensor } from "voxgrad";
 *
 * await tensor([1, 2, 3]).notEqual(2).array(); // [true, false, true]
 * ```
 */
export const notEqual: BinaryOperator = binary("notEqual", {
  expr: ([a, b]) => prefix("!", infix(a, "==", b)),
  inputs: numeric,
  dtype: bool,
});
/**
 * a < b, as bool
 *
 * @example
 * ```ts
 * import { tensor } from "voxgrad";
 *
 * await tensor([1, 2, 3]).less(2).array(); // [true, false, false]
 * ```
 */
export const less: BinaryOperator = compare("less", "<");
/**
 * a > b, as bool
 *
 * @example
 * ```ts
 * import { tensor } from "voxgrad";
 *
 * await tensor([1, 2, 3]).greater(2).array(); // [false, false, true]
 * ```
 */
export const greater: BinaryOperator = compare("greater", ">");
/**
 * a <= b, as bool
 *
 * @example
 * ```ts
 * import { tensor } from "voxgrad";
 *
 * await tensor([1, 2, 3]).lessEqual(2).array(); // [true, true, false]
 * ```
 */
export const lessEqual: BinaryOperator = compare("lessEqual", "<=");
/**
 * a >= b, as bool
 *
 * @example
 * ```ts
 * import { tensor } from "voxgrad";
 *
 * await tensor([1, 2, 3]).greaterEqual(2).array(); // [false, true, true]
 * ```
 */
export const greaterEqual: BinaryOperator = compare("greaterEqual", ">=");
/**
 * a and b, as bool
 *
 * @example
 * ```ts
 * import { tensor } from "voxgrad";
 *
 * const x = tensor([-0.5, 0.5, 1.5]);
 * await x.greater(0).logicalAnd(x.less(1)).array(); // [false, true, false]
 * ```
 */
export const logicalAnd: BinaryOperator = compare("logicalAnd", "&", bool);
/**
 * a or b, as bool
 *
 * @example
 * ```ts
 * import { tensor } from "voxgrad";
 *
 * const x = tensor([-0.5, 0.5, 1.5]);
 * await x.less(0).logicalOr(x.greater(1)).array(); // [true, false, true]
 * ```
 */
export const logicalOr: BinaryOperator = compare("logicalOr", "|", bool);
/**
 * Either a or b, as bool
 *
 * @example
 * ```ts
 * import { tensor } from "voxgrad";
 *
 * await tensor([true, true]).logicalXor(tensor([true, false])).array(); // [false, true]
 * ```
 */
export const logicalXor: BinaryOperator = compare("logicalXor", "!=", bool);
/**
 * not x, as bool
 *
 * @example
 * ```ts
 * import { tensor } from "voxgrad";
 *
 * await tensor([true, false]).logicalNot().array(); // [false, true]
 * ```
 */
export const logicalNot: UnaryOperator = unary("logicalNot", {
  expr: ([x]) => prefix("!", x),
  inputs: bool,
  dtype: bool,
});

/**
 * Whether x is NaN, as bool
 *
 * @example
 * ```ts
 * import { tensor } from "voxgrad";
 *
 * await tensor([0, NaN, Infinity]).isNaN().array(); // [false, true, false]
 * ```
 */
export const isNaN: UnaryOperator = unary("isNaN", {
  expr: ([x]) => fn("vg_is_nan", x),
  inputs: float,
  dtype: bool,
});
/**
 * Whether x is neither NaN nor infinite, as bool
 *
 * @example
 * ```ts
 * import { tensor } from "voxgrad";
 *
 * await tensor([0, NaN, Infinity]).isFinite().array(); // [true, false, false]
 * ```
 */
export const isFinite: UnaryOperator = unary("isFinite", {
  expr: ([x]) => fn("vg_is_finite", x),
  inputs: float,
  dtype: bool,
});
const whereOp: Op = define("where", {
  expr: ([c, a, b]) => select(b, a, c),
  d: [null, (t, c) => where(c.inputs[0], t, 0), (t, c) => where(c.inputs[0], 0, t)],
});
/**
 * a where the condition holds, b elsewhere; all three broadcast; two plain numbers give f32
 *
 * @example
 * ```ts
 * import { tensor, where } from "voxgrad";
 *
 * const x = tensor([-2, 3]);
 * await where(x.greater(0), x, 0).array(); // [0, 3]
 * ```
 */
export function where(condition: Tensor, a: Operand, b: Operand, ...rest: never[]): Tensor {
  checkTensor("where", condition, "the condition");
  refuseOptions("where", rest);
  check(isOperand(a) && isOperand(b), "where", () => `branches are tensors or numbers, got ${show(a)} and ${show(b)}`);
  const tensors = [a, b].filter((x): x is Tensor => x instanceof Tensor);
  let dtype = tensors.map((x) => x.dtype).reduce(promote, "bool" as DType);
  if (tensors.length === 0) dtype = "f32";
  for (const x of [a, b]) if (typeof x === "number") dtype = joinNumber(dtype, x);
  const [x, y] = [a, b].map((v) => (typeof v === "number" ? scalar(v, dtype) : cast(v, dtype))) as [Tensor, Tensor];
  const shape = broadcastShapes("where", condition.shape, broadcastShapes("where", x.shape, y.shape));
  return node(whereOp, [cast(condition, "bool"), x, y], {}, shape, dtype);
}
