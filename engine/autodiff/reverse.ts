/** Reverse mode: vjp, grad, valueAndGrad. */
import { isFloat } from "../core/dtype.ts";
import { check, checkFlag, checkFunction, checkOptions, fail, show } from "../core/errors.ts";
import { sameShape } from "../core/shape.ts";
import { Tensor } from "../core/tensor.ts";
import * as tree from "../core/tree.ts";
import { scalar } from "../ops/creation.ts";
import { add } from "../ops/elementwise.ts";
import { alias } from "../ops/reshape.ts";
import { alike, between, checkDirections, freshLeaves, outputsOf } from "./graph.ts";
import { type Region, regionOf } from "./region.ts";
import { outermost, scaledPullBack } from "../ops/loss_scale.ts";

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
  outputs.forEach((t, k) => accumulate(t, cotangents[k]!));
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
    const parts = op.vjp({ inputs: parents, output: t, attrs }, g);
    parts.forEach((part, k) => {
      const parent = parents[k]!;
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
 * const [y, pullback] = vjp((x) => x.sin(), [x]);
 * const [dx] = pullback(ones(y.shape));
 */
export function vjp(f: (...args: any[]) => any, primals: readonly any[]): [any, (cotangent: any) => any[]] {
  checkFunction("vjp", "the first argument", f);
  check(Array.isArray(primals), "vjp", () => `primals are an array, one entry per argument, got ${show(primals)}`);
  const fresh = primals.map((primal) => freshLeaves("vjp", primal));
  const [, out] = outermost(() => f(...fresh.map((x) => x.tree)));
  const outputs = outputsOf("vjp", out);
  // The caller gets nodes of their own: evaluating them takes no history from the pullback.
  const shown = tree.map(out, alias);
  const pullback = (cotangent: any): any[] => {
    const cotangents: Tensor[] = tree.leaves(cotangent);
    checkDirections("vjp", "cotangents", cotangents, outputs);
    const grads = pullBack(
      fresh.flatMap((x) => x.leaves),
      outputs,
      cotangents.map((g, k) => alike(g, outputs[k]!)),
    );
    return fresh.map((x) => tree.rebuild(x.tree, grads.splice(0, x.leaves.length)));
  };
  return [shown, pullback];
}

/**
 * The function (...args) -> [f(...args), df/dargs[0]]; f gives one number, or with hasAux a pair of it and anything else.
 *
 * @param options.hasAux f gives [loss, aux]; the value is then [loss, aux] too
 * @example const [loss, grads] = valueAndGrad(lossOf)(params, images, labels);
 */
export const valueAndGrad = <A extends unknown[]>(
  f: (...args: A) => any,
  options: { hasAux?: boolean } = {},
): ((...args: A) => [any, any]) => differentiated("valueAndGrad", f, options);

/** valueAndGrad, whose errors begin with the name of what was called. */
export function differentiated<A extends unknown[]>(
  name: string,
  f: (...args: A) => any,
  options: { hasAux?: boolean } = {},
): (...args: A) => [any, any] {
  checkFunction(name, "the first argument", f);
  checkOptions(name, options, ["hasAux"]);
  checkFlag(name, "hasAux", options.hasAux);
  return (...args) => {
    const [first, ...rest] = args;
    const fresh = freshLeaves(name, first);
    const [scaling, value] = outermost(() => (f as (...all: unknown[]) => unknown)(fresh.tree, ...rest));
    check(
      !(value instanceof Promise),
      name,
      () => "the function is asynchronous; derivatives are taken of the graph, so do not await inside",
    );
    check(
      !options.hasAux || (Array.isArray(value) && value.length === 2),
      name,
      () => `with hasAux the function gives [loss, aux], got ${show(value)}`,
    );
    const loss = options.hasAux ? (value as [unknown])[0] : value;
    check(
      loss instanceof Tensor && loss.size === 1 && isFloat(loss.dtype),
      name,
      () => `the function gives one number of dtype f32 or f16, got ${show(loss)}; reduce it, or use vjp`,
    );
    const grads = scaling
      ? scaledPullBack(scaling, loss, (seed) => pullBack(fresh.leaves, [loss], [seed]))
      : pullBack(fresh.leaves, [loss], [scalar(1, loss.dtype, loss.shape)]);
    return [value, tree.rebuild(fresh.tree, grads)];
  };
}

/**
 * The gradient of f by its first argument, any tree of float tensors.
 *
 * @example grad((w) => w.square().sum())(w) // 2 w
 */
export function grad<A extends unknown[]>(f: (...args: A) => any): (...args: A) => any {
  const both = differentiated("grad", f);
  return (...args) => both(...args)[1];
}
