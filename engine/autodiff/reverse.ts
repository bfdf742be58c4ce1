/** Reverse mode: vjp, grad, valueAndGrad. */
import { isFloat } from "../core/dtype.ts";
import { check, checkFlag, checkFunction, checkOptions, fail, refuseOptions, show } from "../core/errors.ts";
import { sameShape } from "../core/shape.ts";
import { Tensor, withRuleOf } from "../core/tensor.ts";
import { callTraced, refusePromise } from "../core/tracing.ts";
import * as tree from "../core/tree.ts";
import { scalar } from "../ops/elementwise/creation.ts";
import { add } from "../ops/elementwise/elementwise.ts";
import { alias } from "../ops/shape/reshape.ts";
import { alike, between, directionsOf, freshLeaves, outputsOf } from "./graph.ts";
import { type Region, regionOf } from "./region.ts";
import { outermost, scaledPullBack } from "../ops/elementwise/loss_scale.ts";

/** Cotangents of `inputs` given those of `outputs`, as graph nodes. */
export function pullBack(
  inputs: readonly Tensor[],
  outputs: readonly Tensor[],
  cotangents: readonly Tensor[],
): Tensor[] {
  const sums = new Map<Tensor, Tensor>();
  const accumulate = (t: Tensor, part: Tensor): void => {
    // In mixed precision a rule may leave the type of its input.
    const g = alike(part, t);
    const before = sums.get(t);
    sums.set(t, before ? add(before, g) : g);
  };
  outputs.forEach((t, k) => accumulate(t, cotangents[k]));
  const path = between(inputs, outputs);
  const onPath = new Set(path);
  const stop = new Set(inputs);
  const closed = new Set<Region>();
  for (const t of path.reverse()) {
    const g = sums.get(t);
    if (g === undefined || stop.has(t) || t.source.kind !== "op") continue;
    const region = regionOf(t);
    if (region) {
      // Results follow each other, so all of them have their cotangents when the last is met.
      if (closed.has(region)) continue;
      closed.add(region);
      const given = region.results.map((result) => sums.get(result) ?? null);
      for (const [x, part] of region.rule.backward(region, given, pullBack, (x) => onPath.has(x))) {
        if (onPath.has(x)) accumulate(x, part);
      }
      continue;
    }
    const { op, inputs: parents, attrs } = t.source;
    if (op.vjp === null) fail(op.name, "is not differentiable; stopGradient its input if that is meant");
    const rule = op.vjp;
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

/**
 * The value of f at `primals` and the map from a cotangent of the value to one tree of cotangents per primal.
 *
 * @example
 * ```ts
 * import { ones, type Tensor, tensor, vjp } from "voxgrad";
 *
 * const [y, pullback] = vjp((x: Tensor) => x.square(), [tensor([1, 2])]);
 * const [dx] = pullback(ones([2]));
 * await dx.array(); // [2, 4]
 * ```
 */
export function vjp(
  f: (...args: any[]) => any,
  primals: readonly any[],
  ...rest: never[]
): [any, (cotangent: any) => any[]] {
  refuseOptions("vjp", rest);
  checkFunction("vjp", "the first argument", f);
  check(Array.isArray(primals), "vjp", () => `primals are an array, one entry per argument, got ${show(primals)}`);
  const fresh = primals.map((primal) => freshLeaves("vjp", primal));
  const [, out] = outermost(() => callTraced("vjp", () => f(...fresh.map((x) => x.tree))));
  const outputs = outputsOf("vjp", out);
  // The caller gets nodes of their own: evaluating them takes no history from the pullback.
  const shown = tree.map(out, alias);
  const pullback = (cotangent: any): any[] => {
    const grads = pullBack(
      fresh.flatMap((x) => x.leaves),
      outputs,
      directionsOf("vjp", "the cotangents", out, cotangent),
    );
    return fresh.map((x) => tree.rebuild(x.tree, grads.splice(0, x.leaves.length)));
  };
  return [shown, pullback];
}

export interface GradOptions {
  /** Position of the argument to differentiate by, or a list of positions, for which gradients come as a list. Default 0. */
  argnums?: number | readonly number[];
}

export interface ValueAndGradOptions extends GradOptions {
  /** f gives [loss, aux]; the value is then [loss, aux] too. Default false. */
  hasAux?: boolean;
}

/**
 * The function (...args) -> [f(...args), df/dargs[0]]; f gives one number, or with hasAux a pair of it and anything else.
 *
 * @param options.argnums differentiate by the argument at this position, or by those at these, as jax.value_and_grad
 * @param options.hasAux f gives [loss, aux]; the value is then [loss, aux] too
 * @example
 * ```ts
 * import { type Tensor, tensor, valueAndGrad } from "voxgrad";
 *
 * const params = { weight: tensor([1, 2]) };
 * const lossOf = (p: typeof params, x: Tensor) => p.weight.mul(x).sum();
 * const [loss, grads] = valueAndGrad(lossOf)(params, tensor([3, 4]));
 * await grads.weight.array(); // [3, 4]
 * ```
 */
export const valueAndGrad = <A extends unknown[]>(
  f: (...args: A) => any,
  options: ValueAndGradOptions = {},
): (...args: A) => [any, any] => {
  checkFunction("valueAndGrad", "the first argument", f);
  checkOptions("valueAndGrad", options, ["argnums", "hasAux"]);
  checkFlag("valueAndGrad", "hasAux", options.hasAux);
  return differentiated("valueAndGrad", f, options);
};

/** valueAndGrad, whose errors begin with the name of what was called. */
export function differentiated<A extends unknown[]>(
  name: string,
  f: (...args: A) => any,
  options: ValueAndGradOptions = {},
): (...args: A) => [any, any] {
  const { argnums = 0, hasAux = false } = options;
  const positions = (typeof argnums === "number" ? [argnums] : argnums) as readonly number[];
  check(
    Array.isArray(positions) &&
      positions.length > 0 &&
      positions.every((k) => Number.isInteger(k) && k >= 0) &&
      new Set(positions).size === positions.length,
    name,
    () => `argnums is the position of an argument from 0 on, or a list of different ones, got ${show(argnums)}`,
  );
  return (...args) => {
    const fresh = positions.map((k) => freshLeaves(name, args[k]));
    const leaves = fresh.flatMap((x) => x.leaves);
    const given: unknown[] = [...args];
    positions.forEach((k, j) => (given[k] = fresh[j].tree));
    const [scaling, value] = outermost(() => callTraced(name, () => (f as (...all: unknown[]) => unknown)(...given)));
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
 * The gradient of f by its first argument, any tree of float tensors.
 *
 * @param options.argnums by the argument at this position, or by those at these, as jax.grad
 * @example
 * ```ts
 * import { grad, type Tensor, tensor } from "voxgrad";
 *
 * const gradient = grad((w: Tensor) => w.square().sum())(tensor([1, 2]));
 * await gradient.array(); // [2, 4]
 * ```
 */
export function grad<A extends unknown[]>(f: (...args: A) => any, options: GradOptions = {}): (...args: A) => any {
  checkFunction("grad", "the first argument", f);
  checkOptions("grad", options, ["argnums"]);
  const both = differentiated("grad", f, options);
  return (...args) => both(...args)[1];
}
