/** jacobian and hessian: all derivatives of results by arguments. */
import { isFloat } from "../core/dtype.ts";
import { check, checkFunction, checkOptions, show } from "../core/errors.ts";
import type { Tensor } from "../core/tensor.ts";
import { callTraced } from "../core/tracing.ts";
import * as tree from "../core/tree.ts";
import { eye, scalar } from "../ops/elementwise/creation.ts";
import { cast } from "../ops/elementwise/elementwise.ts";
import { outermost } from "../ops/elementwise/loss_scale.ts";
import { reshape } from "../ops/shape/reshape.ts";
import { transpose } from "../ops/shape/transpose.ts";
import { pushForward } from "./forward.ts";
import { freshLeaves, positionsOf } from "./graph.ts";
import { outputsOf } from "./region.ts";
import { type Gradient, type GradOptions, pullBack } from "./reverse.ts";
import { vmap } from "./vmap.ts";

export interface JacobianOptions extends GradOptions {
  /**
   * "forward" takes one derivative along each element of the arguments, "reverse" one for each element of the results;
   * all at once, by vmap. Default: whichever are fewer.
   */
  mode?: "forward" | "reverse";
}

/** The Jacobian of a function with arguments A and result R: its result, with the argument's tree at each leaf. */
export type JacobianOf<A extends readonly unknown[], R, O> = tree.Mapped<R, Gradient<A, O>>;
/** The Jacobian of a Jacobian. */
export type HessianOf<A extends readonly unknown[], R, O> = tree.Mapped<R, tree.Mapped<Gradient<A, O>, Gradient<A, O>>>;

/**
 * The Jacobian of f with respect to its first argument, as jax.jacfwd and jax.jacrev.
 *
 * @param f a function from trees of tensors to a tree of float tensors
 * @param options.argnums position or positions of the arguments to differentiate with respect to, as in grad
 * @param options.mode "forward" or "reverse"; default: by the number of elements of arguments and results
 * @returns a function of the arguments of f. Its result is the tree of f's result, with a tree like the argument in
 *   place of each tensor (a list of trees for a list of argnums): for a result of shape R and an argument of shape A
 *   they have shape [...R, ...A]
 * @throws VoxgradError at the call, for arguments that are not trees of float tensors, and for results that are not
 * @example
 * ```ts
 * import { jacobian, tensor, type Tensor } from "voxgrad";
 *
 * const f = (x: Tensor) => x.cumsum().square();
 * await jacobian(f)(tensor([1, 2])).array(); // [[2, 0], [6, 6]]
 * ```
 */
export function jacobian<A extends unknown[] = Tensor[], R = Tensor, const O extends JacobianOptions = JacobianOptions>(
  f: (...args: A) => R,
  options: O = {} as O,
): (...args: A) => JacobianOf<A, R, O> {
  checkFunction("jacobian", "the first argument", f);
  checkOptions("jacobian", options, ["argnums", "mode"]);
  const { mode } = options;
  check(
    mode === undefined || mode === "forward" || mode === "reverse",
    "jacobian",
    () => `mode is "forward" or "reverse", got ${show(mode)}`,
  );
  return jacobianOf("jacobian", f, options) as (...args: A) => JacobianOf<A, R, O>;
}

/**
 * The Hessian of f with respect to its first argument, forward mode over reverse mode, as jax.hessian. For its product
 * with a vector, hvp is cheaper.
 *
 * @param f a function from trees of tensors to a float tensor, or a tree of them
 * @param options.argnums position or positions of the arguments to differentiate with respect to, as in grad
 * @returns a function of the arguments of f. For a loss of one tensor by an argument of one tensor of shape A it gives
 *   shape [...A, ...A]; trees nest as in jacobian: `h.weight.bias` is the derivative of the gradient by `weight`, by
 *   `bias`
 * @throws VoxgradError as jacobian
 * @example
 * ```ts
 * import { hessian, tensor, type Tensor } from "voxgrad";
 *
 * const f = (x: Tensor) => x.cumsum().square().sum();
 * await hessian(f)(tensor([1, 2])).array(); // [[4, 2], [2, 2]]
 * ```
 */
export function hessian<A extends unknown[] = Tensor[], R = Tensor, const O extends GradOptions = GradOptions>(
  f: (...args: A) => R,
  options: O = {} as O,
): (...args: A) => HessianOf<A, R, O> {
  checkFunction("hessian", "the first argument", f);
  checkOptions("hessian", options, ["argnums"]);
  const gradients = jacobianOf("hessian", f, { ...options, mode: "reverse" });
  return jacobianOf("hessian", gradients, { ...options, mode: "forward" }) as (...args: A) => HessianOf<A, R, O>;
}

const sum = (tensors: readonly Tensor[]): number => tensors.reduce((n, t) => n + t.size, 0);

/** The unit vectors of x, one a row. */
const basis = (x: Tensor): Tensor => reshape(eye(x.size, { dtype: x.dtype }), { shape: [x.size, ...x.shape] });

function jacobianOf<A extends unknown[]>(
  name: string,
  f: (...args: A) => unknown,
  { argnums = 0, mode }: JacobianOptions,
): (...args: A) => unknown {
  const positions = positionsOf(name, argnums);
  return (...args) => {
    const fresh = positions.map((k) => freshLeaves(name, args[k]));
    const leaves = fresh.flatMap((x) => x.leaves);
    const traced: unknown[] = [...args];
    positions.forEach((k, j) => (traced[k] = fresh[j].tree));
    const [, out] = outermost(() => callTraced(name, () => f(...(traced as A))));
    const outputs = outputsOf(name, out);
    for (const t of outputs) {
      check(isFloat(t.dtype), name, () => `the function gives f32 or f16, which have derivatives, got ${t}`);
    }
    const isForward = mode ? mode === "forward" : sum(leaves) <= sum(outputs);
    const rows = isForward ? columns(leaves, outputs) : outputs.map((y) => byCotangents(leaves, y));
    const trees = rows.map((row) => {
      const list = fresh.map((x) => tree.rebuild(x.tree, row.splice(0, x.leaves.length)));
      return typeof argnums === "number" ? list[0] : list;
    });
    return tree.rebuild(out, trees);
  };
}

/** For each output its derivatives by each input, along the unit vectors of the inputs. */
function columns(inputs: readonly Tensor[], outputs: readonly Tensor[]): Tensor[][] {
  const rows: Tensor[][] = outputs.map(() => []);
  for (const x of inputs) {
    const along = vmap((direction: Tensor) =>
      pushForward([x], [direction], outputs).tangents.map((t, k) => t ?? scalar(0, outputs[k].dtype, outputs[k].shape))
    );
    const tangents = x.size === 0 ? null : along(basis(x));
    outputs.forEach((y, k) => {
      const shape = [...y.shape, ...x.shape];
      if (!tangents) return rows[k].push(scalar(0, y.dtype, shape));
      // [elements of x, ...y] to [...y, elements of x].
      const axes = [...y.shape.map((_, j) => j + 1), 0];
      rows[k].push(cast(reshape(transpose(tangents[k], { axes }), { shape }), y.dtype));
    });
  }
  return rows;
}

/** The derivatives of one output by each input, from the unit vectors of the output. */
function byCotangents(inputs: readonly Tensor[], y: Tensor): Tensor[] {
  if (y.size === 0) return inputs.map((x) => scalar(0, x.dtype, [...y.shape, ...x.shape]));
  const grads = vmap((cotangent: Tensor) => pullBack(inputs, [y], [cotangent]))(basis(y));
  return grads.map((g, k) => reshape(g, { shape: [...y.shape, ...inputs[k].shape] }));
}
