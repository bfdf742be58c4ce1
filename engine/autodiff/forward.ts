/** Forward mode: jvp, and hvp as forward over reverse. */
import { check, checkFunction, fail, refuseOptions, show } from "../core/errors.ts";
import { type Tensor, withRuleOf } from "../core/tensor.ts";
import { callTraced } from "../core/tracing.ts";
import * as tree from "../core/tree.ts";
import { scalar } from "../ops/elementwise/creation.ts";
import { outermost } from "../ops/elementwise/loss_scale.ts";
import { alike, between, directionsOf, floatOf, freshLeaves, outputsOf } from "./graph.ts";
import { differentiated } from "./reverse.ts";

/** Tangents of `outputs` given those of `inputs`, as graph nodes; null where nothing depends on the inputs. */
export function pushForward(
  inputs: readonly Tensor[],
  tangents: readonly Tensor[],
  outputs: readonly Tensor[],
): (Tensor | null)[] {
  const known = new Map<Tensor, Tensor>(inputs.map((t, k) => [t, tangents[k]]));
  for (const t of between(inputs, outputs)) {
    if (known.has(t) || t.source.kind !== "op") continue;
    const { op, inputs: parents, attrs } = t.source;
    const given = parents.map((x) => known.get(x) ?? null);
    if (given.every((x) => x === null)) continue;
    if (op.jvp) {
      const rule = op.jvp;
      known.set(t, alike(withRuleOf(t, () => rule({ inputs: parents, output: t, attrs }, given)), t));
    } else if (op.lowering.kind === "composite") {
      // Without a rule of its own a composite is differentiated through what it is made of.
      const fresh = parents.map((x, k) => (given[k] ? freshLeaves(op.name, x).leaves[0] : x));
      const inner = op.lowering.expand(fresh, attrs);
      const at = fresh.filter((_, k) => given[k]);
      const [tangent] = pushForward(
        at,
        given.filter((x): x is Tensor => x !== null),
        [inner],
      );
      if (tangent) known.set(t, alike(tangent, t));
    } else {
      fail(op.name, "has no forward derivative");
    }
  }
  return outputs.map((t) => known.get(t) ?? null);
}

/**
 * The value of f at `primals` and its derivative along `tangents`, both trees like f's result.
 *
 * @example
 * ```ts
 * import { jvp, type Tensor, tensor } from "voxgrad";
 *
 * const [y, dy] = jvp((x: Tensor) => x.square(), [tensor([1, 2])], [tensor([1, 0])]);
 * await dy.array(); // [2, 0]
 * ```
 */
export function jvp(
  f: (...args: any[]) => any,
  primals: readonly any[],
  tangents: readonly any[],
  ...rest: never[]
): [any, any] {
  refuseOptions("jvp", rest);
  return along("jvp", f, primals, tangents);
}

/** jvp, whose errors begin with the name of what was called. */
function along(
  name: string,
  f: (...args: any[]) => any,
  primals: readonly any[],
  tangents: readonly any[],
): [any, any] {
  checkFunction(name, "the first argument", f);
  check(
    Array.isArray(primals) && Array.isArray(tangents) && primals.length === tangents.length,
    name,
    () => `primals and tangents are arrays of one length, got ${show(primals)} and ${show(tangents)}`,
  );
  const fresh = primals.map((primal) => freshLeaves(name, primal));
  const points = fresh.flatMap((x) => x.leaves);
  const directions = directionsOf(name, "the tangents", fresh.map((x) => x.tree), tangents);
  const [, out] = outermost(() => callTraced(name, () => f(...fresh.map((x) => x.tree))));
  const outputs = outputsOf(name, out);
  const results = pushForward(points, directions, outputs);
  return [
    out,
    tree.rebuild(
      out,
      results.map((t, k) => t ?? scalar(0, floatOf(outputs[k].dtype), outputs[k].shape)),
    ),
  ];
}

/**
 * Hessian-vector products of a function that gives one number: one tree per primal.
 *
 * @example
 * ```ts
 * import { hvp, type Tensor, tensor } from "voxgrad";
 *
 * const [product] = hvp((w: Tensor) => w.pow(3).sum(), [tensor([1, 2])], [tensor([1, 1])]);
 * await product.array(); // 6 w v: [6, 12]
 * ```
 */
export function hvp(
  f: (...args: any[]) => any,
  primals: readonly any[],
  tangents: readonly any[],
  ...rest: never[]
): any[] {
  refuseOptions("hvp", rest);
  checkFunction("hvp", "the first argument", f);
  const gradient = (...args: any[]): any[] => differentiated("hvp", (all: any[]) => f(...all))(args)[1];
  return along("hvp", gradient, primals, tangents)[1];
}
