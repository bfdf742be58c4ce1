/** Reverse mode: vjp, grad, valueAndGrad. */
import { check, fail, show } from "../core/errors.ts";
import { sameShape } from "../core/shape.ts";
import { Tensor } from "../core/tensor.ts";
import * as tree from "../core/tree.ts";
import { scalar } from "../ops/creation.ts";
import { add } from "../ops/elementwise.ts";
import { between, freshLeaves } from "./graph.ts";

/** Cotangents of `inputs` given those of `outputs`, as graph nodes. */
export function pullBack(
  inputs: readonly Tensor[],
  outputs: readonly Tensor[],
  cotangents: readonly Tensor[],
): Tensor[] {
  const sums = new Map<Tensor, Tensor>();
  const accumulate = (t: Tensor, g: Tensor): void => {
    const before = sums.get(t);
    sums.set(t, before ? add(before, g) : g);
  };
  outputs.forEach((t, k) => accumulate(t, cotangents[k]!));
  const path = between(inputs, outputs);
  const onPath = new Set(path);
  const stop = new Set(inputs);
  for (const t of path.reverse()) {
    const g = sums.get(t);
    if (g === undefined || stop.has(t) || t.source.kind !== "op") continue;
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
  return inputs.map((t) => sums.get(t) ?? scalar(0, "f32", t.shape));
}

/**
 * The value of f at `primals` and the map from a cotangent of the value to one tree of cotangents per primal.
 *
 * @example
 * const [y, pullback] = vjp((x) => x.sin(), [x]);
 * const [dx] = pullback(ones(y.shape));
 */
export function vjp(f: (...args: any[]) => any, primals: readonly any[]): [any, (cotangent: any) => any[]] {
  check(Array.isArray(primals), "vjp", () => `primals are an array, one entry per argument, got ${show(primals)}`);
  const fresh = primals.map((primal) => freshLeaves("vjp", primal));
  const out = f(...fresh.map((x) => x.tree));
  const outputs: Tensor[] = tree.leaves(out);
  const pullback = (cotangent: any): any[] => {
    const cotangents: Tensor[] = tree.leaves(cotangent);
    check(
      cotangents.length === outputs.length && cotangents.every((g, k) => sameShape(g.shape, outputs[k]!.shape)),
      "vjp",
      () =>
        `the cotangent has the structure and shapes of the output, ${outputs.join(", ")}; got ${cotangents.join(", ")}`,
    );
    const grads = pullBack(
      fresh.flatMap((x) => x.leaves),
      outputs,
      cotangents,
    );
    return fresh.map((x) => tree.rebuild(x.tree, grads.splice(0, x.leaves.length)));
  };
  return [out, pullback];
}

type Scalar = Tensor;

/**
 * The function (...args) -> [f(...args), df/dargs[0]]; f gives one number, or with hasAux a pair of it and anything else.
 *
 * @param options.hasAux f gives [loss, aux]; the value is then [loss, aux] too
 * @example const [loss, grads] = valueAndGrad(lossOf)(params, images, labels);
 */
export function valueAndGrad<A extends unknown[]>(
  f: (...args: A) => any,
  options: { hasAux?: boolean } = {},
): (...args: A) => [any, any] {
  return (...args) => {
    const [first, ...rest] = args;
    const fresh = freshLeaves("grad", first);
    const value = (f as (...all: unknown[]) => unknown)(fresh.tree, ...rest);
    check(
      !(value instanceof Promise),
      "grad",
      () => "the function is asynchronous; derivatives are taken of the graph, so do not await inside",
    );
    const loss = (options.hasAux ? (value as [Scalar])[0] : value) as Scalar;
    check(
      loss instanceof Tensor && loss.size === 1 && loss.dtype === "f32",
      "grad",
      () => `the function gives one f32 number, got ${String(loss)}; reduce it, or use vjp`,
    );
    const grads = pullBack(fresh.leaves, [loss], [scalar(1, "f32", loss.shape)]);
    return [value, tree.rebuild(fresh.tree, grads)];
  };
}

/**
 * The gradient of f by its first argument, any tree of f32 tensors.
 *
 * @example grad((w) => w.square().sum())(w) // 2 w
 */
export function grad<A extends unknown[]>(f: (...args: A) => any): (...args: A) => any {
  const both = valueAndGrad(f);
  return (...args) => both(...args)[1];
}
