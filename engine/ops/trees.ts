/** Trees as vectors: arithmetic on all their tensors, paired by name. */
import { isFloat } from "../core/dtype.ts";
import { check, refuseOptions, show } from "../core/errors.ts";
import { pairLeaves } from "../core/pair.ts";
import { sameShape } from "../core/shape.ts";
import { Tensor } from "../core/tensor.ts";
import { leaves, map } from "../core/tree.ts";
import { scalar } from "./elementwise/creation.ts";
import { add as addTensors, cast, mul, sub as subTensors, where as whereTensors } from "./elementwise/elementwise.ts";
import { rootOf } from "./reduce/measures.ts";
import { sum } from "./reduce/reduce.ts";

export * from "../core/tree.ts";

/** Applies f to the tensors of one or two trees, which have the same shapes at the same places. */
function each<T>(name: string, a: T, others: readonly unknown[], f: (x: Tensor, y: Tensor) => Tensor): T {
  const partners = others.map((b) => pairLeaves(name, "the second tree", a, b).map(({ given }) => given))[0];
  let next = 0;
  return map<unknown, Tensor>(a, (x, path) => {
    const y = partners ? partners[next++] : x;
    const at = path && ` at ${path}`;
    check(x instanceof Tensor, name, () => `a tree of tensors is wanted, got ${show(x)}${at}`);
    check(y instanceof Tensor, name, () => `a tree of tensors is wanted, got ${show(y)}${at} of the second tree`);
    check(sameShape(x.shape, y.shape), name, () => `the trees differ${at}: ${x} and ${y}`);
    return f(x, y);
  }) as T;
}

/**
 * a + b for trees of tensors with the same structure and shapes.
 *
 * @throws VoxgradError for trees that differ, naming the path
 * @example
 * ```ts
 * import { tensor, tree } from "voxgrad";
 *
 * const sum = tree.add({ w: tensor([1, 2]) }, { w: tensor([3, 4]) });
 * await sum.w.array(); // [4, 6]
 * ```
 */
export function add<T>(a: T, b: NoInfer<T>, ...rest: never[]): T {
  refuseOptions("tree.add", rest);
  return each("tree.add", a, [b], addTensors);
}

/**
 * a - b for trees of tensors with the same structure and shapes.
 *
 * @throws VoxgradError for trees that differ, naming the path
 * @example
 * ```ts
 * import { tensor, tree } from "voxgrad";
 *
 * const difference = tree.sub({ w: tensor([1, 2]) }, { w: tensor([3, 5]) });
 * await difference.w.array(); // [-2, -3]
 * ```
 */
export function sub<T>(a: T, b: NoInfer<T>, ...rest: never[]): T {
  refuseOptions("tree.sub", rest);
  return each("tree.sub", a, [b], subTensors);
}

/**
 * A tree of tensors times a number; float tensors keep their dtype.
 *
 * @param factor a number or a scalar tensor
 * @throws VoxgradError for leaves that are not tensors, naming the path, and for another factor
 * @example
 * ```ts
 * import { tensor, tree } from "voxgrad";
 *
 * await tree.scale([tensor([1, 2])], 3)[0].array(); // [3, 6]
 * ```
 */
export function scale<T>(a: T, factor: number | Tensor, ...rest: never[]): T {
  refuseOptions("tree.scale", rest);
  check(
    typeof factor === "number" || (factor instanceof Tensor && factor.rank === 0),
    "tree.scale",
    () => `the factor is a number or a scalar tensor, got ${show(factor)}`,
  );
  return each("tree.scale", a, [], (x) => (isFloat(x.dtype) ? cast(mul(x, factor), x.dtype) : mul(x, factor)));
}

/** The sum of scalars, one after the other: however many a kernel can bind, all parts of that have one structure. */
const total = (scalars: readonly Tensor[]): Tensor =>
  scalars.length > 0 ? scalars.reduce((sum, x) => addTensors(sum, x)) : scalar(0, "f32");

const wide = (x: Tensor): Tensor => cast(x, "f32");

/**
 * The sum of the products of all elements of two trees with the same structure and shapes, as an f32 scalar.
 *
 * @throws VoxgradError for trees that differ, naming the path
 * @example
 * ```ts
 * import { tensor, tree } from "voxgrad";
 *
 * const [a, b] = [{ w: tensor([1, 2]), b: tensor(3) }, { b: tensor(4), w: tensor([5, 6]) }];
 * await tree.dot(a, b).item(); // 29
 * ```
 */
export function dot<T>(a: T, b: NoInfer<T>, ...rest: never[]): Tensor {
  refuseOptions("tree.dot", rest);
  return total(leaves<unknown>(each<unknown>("tree.dot", a, [b], (x, y) => sum(mul(wide(x), wide(y))))) as Tensor[]);
}

/**
 * The Euclidean norm of all elements of a tree together, as an f32 scalar; its derivative at 0 is 0.
 *
 * @throws VoxgradError for leaves that are not tensors, naming the path
 * @example
 * ```ts
 * import { tensor, tree } from "voxgrad";
 *
 * await tree.norm({ w: tensor([2, 3]), b: tensor(6) }).item(); // 7
 * ```
 */
export function norm<T>(a: T, ...rest: never[]): Tensor {
  refuseOptions("tree.norm", rest);
  const squares = each<unknown>("tree.norm", a, [], (x) => sum(mul(wide(x), wide(x))));
  return rootOf(total(leaves<unknown>(squares) as Tensor[]));
}

/**
 * A tree of zeros with the structure, shapes and dtypes of another.
 *
 * @throws VoxgradError for leaves that are not tensors, naming the path
 * @example
 * ```ts
 * import { ones, tree } from "voxgrad";
 *
 * const velocity = tree.zerosLike({ weight: ones([2, 3]), bias: null }); // { weight, bias }
 * ```
 */
export function zerosLike<T>(a: T, ...rest: never[]): T {
  refuseOptions("tree.zerosLike", rest);
  return each("tree.zerosLike", a, [], (x) => scalar(0, x.dtype, x.shape));
}

/**
 * The tensors of a where the condition holds, else those of b; the trees have the same structure and shapes. Both are
 * computed; cond chooses between functions.
 *
 * @param condition a bool scalar
 * @throws VoxgradError for trees that differ, naming the path, and for another condition
 * @example
 * ```ts
 * import { tensor, tree } from "voxgrad";
 *
 * const [next, before] = [{ w: tensor([NaN, 1]) }, { w: tensor([2, 3]) }];
 * const kept = tree.where(next.w.isFinite().all(), next, before);
 * await kept.w.array(); // [2, 3]
 * ```
 */
export function where<T>(condition: Tensor, a: T, b: NoInfer<T>, ...rest: never[]): T {
  refuseOptions("tree.where", rest);
  check(
    condition instanceof Tensor && condition.rank === 0 && condition.dtype === "bool",
    "tree.where",
    () => `the condition is a bool scalar, got ${show(condition)}`,
  );
  return each("tree.where", a, [b], (x, y) => whereTensors(condition, x, y));
}
