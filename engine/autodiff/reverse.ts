/** Reverse mode: vjp, grad, valueAndGrad. */
import { isFloat } from "../core/dtype.ts";
import { check, checkFlag, checkFunction, checkOptions, fail, show } from "../core/errors.ts";
import type { Op } from "../core/op.ts";
import { sameShape } from "../core/shape.ts";
import { Tensor, withRuleOf } from "../core/tensor.ts";
import { callTraced, refusePromise } from "../core/tracing.ts";
import * as tree from "../core/tree.ts";
import { scalar } from "../ops/elementwise/creation.ts";
import { add } from "../ops/elementwise/elementwise.ts";
import { scatterAt } from "../ops/index/gather.ts";
import { weightGrad } from "../ops/linear/conv_ops.ts";
import { convWeightGrad } from "../ops/linear/conv_weight_grad.ts";
import { alias } from "../ops/shape/reshape.ts";
import { sumRows } from "../ops/shape/take.ts";
import { alike, type ArgumentOptions, between, directionsOf, freshLeaves, pick, positionsOf } from "./graph.ts";
import { outputsOf } from "./region.ts";
import { type Unit, unitOf } from "./unit.ts";
import { outermost, scaledPullBack } from "../ops/elementwise/loss_scale.ts";

/** Cotangents of `inputs` given those of `outputs`, as graph nodes. */
export function pullBack(
  inputs: readonly Tensor[],
  outputs: readonly Tensor[],
  cotangents: readonly Tensor[],
): Tensor[] {
  // What rules of reverse mode alone use.
  weightGrad.is(convWeightGrad);
  sumRows.is(scatterAt);
  const sums = new Map<Tensor, Tensor>();
  const accumulate = (t: Tensor, part: Tensor): void => {
    // In mixed precision a rule may return a cotangent of another float type than its input.
    const g = alike(part, t);
    const before = sums.get(t);
    sums.set(t, before ? add(before, g) : g);
  };
  outputs.forEach((t, k) => accumulate(t, cotangents[k]));
  const path = between(inputs, outputs);
  const onPath = new Set(path);
  const stop = new Set(inputs);
  const closed = new Set<Unit>();
  for (const t of path.reverse()) {
    const g = sums.get(t);
    if (g === undefined || stop.has(t) || t.source.kind !== "op") continue;
    const unit = unitOf(t);
    if (unit) {
      // A unit's results have consecutive ids, so when the last one is visited all have their cotangents.
      if (closed.has(unit)) continue;
      closed.add(unit);
      const cotangents = unit.results.map((result) => sums.get(result) ?? null);
      for (const [x, part] of unit.backward(cotangents, (x) => onPath.has(x), pullBack)) {
        if (onPath.has(x)) accumulate(x, part);
      }
      continue;
    }
    const { op, inputs: parents, attrs } = t.source;
    const rule = op.vjp ?? throughParts(op, (x) => onPath.has(x));
    const parts = withRuleOf(t, () => rule({ inputs: parents, output: t, attrs }, g));
    parts.forEach((part, k) => {
      const parent = parents[k];
      if (part === null || !onPath.has(parent)) return;
      check(
        sameShape(part.shape, parent.shape),
        op.name,
        () => `its derivative rule gave ${show(part.shape)} for an input of ${show(parent.shape)}`,
      );
      accumulate(parent, part);
    });
  }
  return inputs.map((t) => sums.get(t) ?? scalar(0, t.dtype, t.shape));
}

/** The rule of an operator without one: the derivative of what it is composed of. */
const throughParts = (op: Op, wanted: (x: Tensor) => boolean): NonNullable<Op["vjp"]> => {
  const { composed } = op;
  if (!composed) fail(op.name, "is not differentiable; stopGradient its input if that is meant");
  return ({ inputs, attrs }, g) => {
    const fresh = inputs.map((x) => (wanted(x) ? freshLeaves(op.name, x).leaves[0] : x));
    const moving = fresh.filter((_, k) => wanted(inputs[k]));
    const pulled = pullBack(moving, [composed(fresh, attrs)], [g]);
    return inputs.map((x) => (wanted(x) ? pulled.shift()! : null));
  };
};

/**
 * The value of f at `primals`, and its pullback, which maps a cotangent of the value to one tree of cotangents per
 * primal.
 *
 * @param f a function from trees of tensors to a tree of tensors
 * @param primals its arguments, trees of f32 or f16 tensors
 * @param options.argnums position or positions of the primals to differentiate with respect to; the others may be
 *   anything. Default: all
 * @returns [value, pullback]; a cotangent has the structure and shapes of the value, and the pullback returns a list
 *   with the structure and shapes of the primals, or of those in argnums
 * @throws VoxgradError for primals that are not an array of trees of float tensors; the pullback throws for a
 *   cotangent that does not fit, naming the path
 * @example
 * ```ts
 * import { ones, tensor, vjp } from "voxgrad";
 *
 * const [y, pullback] = vjp((x) => x.square(), [tensor([1, 2, 3])]);
 * const [dx] = pullback(ones(y.shape));
 * await dx.array(); // [2, 4, 6]
 * ```
 */
export function vjp<P extends unknown[], R, const O extends ArgumentOptions = ArgumentOptions>(
  f: (...primals: P) => R,
  primals: readonly [...P],
  options: O = {} as O,
): [value: R, pullback: (cotangent: R) => Picked<P, O>] {
  checkFunction("vjp", "the first argument", f);
  const { of, picked } = pick("vjp", f, primals, options);
  const fresh = picked.map((primal) => freshLeaves("vjp", primal));
  const [, out] = outermost(() => callTraced("vjp", () => of(...fresh.map((x) => x.tree))));
  const outputs = outputsOf("vjp", out);
  // The caller gets aliases: evaluating them does not drop the history that the pullback needs.
  const value = tree.rebuild(out, outputs.map(alias)) as R;
  const pullback = (cotangent: R): Picked<P, O> => {
    const grads = pullBack(
      fresh.flatMap((x) => x.leaves),
      outputs,
      directionsOf("vjp", "the cotangents", out, cotangent),
    );
    return fresh.map((x) => tree.rebuild(x.tree, grads.splice(0, x.leaves.length))) as Picked<P, O>;
  };
  return [value, pullback];
}

/** The primals that argnums lists, as a tuple; all without argnums. */
export type Picked<P extends readonly unknown[], O> = O extends { argnums: infer N }
  ? N extends readonly unknown[] ? { -readonly [K in keyof N]: Argument<P, N[K]> } : [Argument<P, N>]
  : P;

export interface GradOptions extends ArgumentOptions {
  /**
   * Position of the argument to differentiate with respect to, or a list of positions, which returns a list. Default:
   * 0.
   */
  argnums?: number | readonly number[];
}

export interface ValueAndGradOptions extends GradOptions {
  /** Whether f returns [loss, aux] instead of loss; the value is then [loss, aux] too. Default: false. */
  hasAux?: boolean;
}

type Argument<A extends readonly unknown[], K> = K extends number ? A[K] : never;

/** The gradient of a function with arguments A: the argument's type, or a tuple of those that argnums lists. */
export type Gradient<A extends readonly unknown[], O> = O extends { argnums: infer N }
  ? N extends readonly unknown[] ? { -readonly [K in keyof N]: Argument<A, N[K]> } : Argument<A, N>
  : A[0];

/**
 * The function (...args) -> [f(...args), gradient of f with respect to its first argument].
 *
 * @param f returns a tensor of one element (f32 or f16), or with hasAux a pair of it and anything else
 * @param options.argnums position or positions of the arguments to differentiate with respect to, as in
 *   jax.value_and_grad
 * @param options.hasAux f returns [loss, aux]; the value is then [loss, aux] too
 * @returns a function; its gradient has the structure and shapes of the argument
 * @throws VoxgradError at the call, for an argument that is not a tree of float tensors or a loss with several
 *   elements
 * @example
 * ```ts
 * import { matmul, ones, type Tensor, valueAndGrad } from "voxgrad";
 *
 * const lossOf = (params: { weight: Tensor }, x: Tensor) => matmul(x, params.weight).square().mean();
 * const [loss, grads] = valueAndGrad(lossOf)({ weight: ones([3, 2]) }, ones([4, 3]));
 * await loss.item(); // 9
 * await grads.weight.array(); // [[3, 3], [3, 3], [3, 3]]
 * ```
 */
export function valueAndGrad<
  A extends unknown[] = Tensor[],
  X = unknown,
  const O extends ValueAndGradOptions & { hasAux: true } = { hasAux: true },
>(
  f: (...args: A) => readonly [loss: Tensor, aux: X],
  options: O,
): (...args: A) => [value: [loss: Tensor, aux: X], gradient: Gradient<A, O>];
export function valueAndGrad<
  A extends unknown[] = Tensor[],
  const O extends ValueAndGradOptions & { hasAux?: false } = { hasAux?: false },
>(f: (...args: A) => Tensor, options?: O): (...args: A) => [value: Tensor, gradient: Gradient<A, O>];
export function valueAndGrad<A extends unknown[]>(
  f: (...args: A) => unknown,
  options: ValueAndGradOptions = {},
): (...args: A) => [unknown, unknown] {
  checkFunction("valueAndGrad", "the first argument", f);
  checkOptions("valueAndGrad", options, ["argnums", "hasAux"]);
  checkFlag("valueAndGrad", "hasAux", options.hasAux);
  return differentiated("valueAndGrad", f, options);
}

/** valueAndGrad with the name of the calling function in its errors. */
export function differentiated<A extends unknown[]>(
  name: string,
  f: (...args: A) => unknown,
  options: ValueAndGradOptions = {},
): (...args: A) => [value: unknown, gradient: unknown] {
  const { argnums = 0, hasAux = false } = options;
  const positions = positionsOf(name, argnums);
  return (...args) => {
    const fresh = positions.map((k) => freshLeaves(name, args[k]));
    const leaves = fresh.flatMap((x) => x.leaves);
    const traced: unknown[] = [...args];
    positions.forEach((k, j) => (traced[k] = fresh[j].tree));
    const [scaling, value] = outermost(() => callTraced(name, () => f(...(traced as A))));
    tree.map(value, (leaf) => refusePromise(name, leaf));
    check(
      !hasAux || (Array.isArray(value) && value.length === 2),
      name,
      () => `with hasAux the function gives [loss, aux], got ${show(value)}`,
    );
    const loss = hasAux ? (value as [unknown])[0] : value;
    check(
      loss instanceof Tensor && loss.size === 1 && isFloat(loss.dtype),
      name,
      () => `the function gives one number of dtype f32 or f16, got ${show(loss)}; reduce it, or use vjp`,
    );
    const grads = scaling
      ? scaledPullBack(scaling, loss, (seed) => pullBack(leaves, [loss], [seed]))
      : pullBack(leaves, [loss], [scalar(1, loss.dtype, loss.shape)]);
    const trees = fresh.map((x) => tree.rebuild(x.tree, grads.splice(0, x.leaves.length)));
    return [value, typeof argnums === "number" ? trees[0] : trees];
  };
}

/**
 * The gradient of f with respect to its first argument, any tree of float tensors.
 *
 * @param f returns a tensor of one element, f32 or f16
 * @param options.argnums position or positions of the arguments to differentiate with respect to, as in jax.grad
 * @returns a function of the arguments of f whose result has the structure and shapes of the argument
 * @throws VoxgradError at the call, for an argument that is not a tree of float tensors or a result with several
 *   elements
 * @example
 * ```ts
 * import { grad, tensor } from "voxgrad";
 *
 * await grad((w) => w.square().sum())(tensor([1, 2, 3])).array(); // [2, 4, 6]
 * ```
 */
export function grad<A extends unknown[] = Tensor[], const O extends GradOptions = GradOptions>(
  f: (...args: A) => Tensor,
  options?: O,
): (...args: A) => Gradient<A, O>;
export function grad<A extends unknown[]>(
  f: (...args: A) => unknown,
  options: GradOptions = {},
): (...args: A) => unknown {
  checkFunction("grad", "the first argument", f);
  checkOptions("grad", options, ["argnums"]);
  const both = differentiated("grad", f, options);
  return (...args) => both(...args)[1];
}
