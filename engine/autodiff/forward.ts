/** Forward mode: jvp, and hvp as forward over reverse. */
import { check, checkFunction, fail, refuseOptions, show } from "../core/errors.ts";
import { type Tensor, withRuleOf } from "../core/tensor.ts";
import { callTraced } from "../core/tracing.ts";
import * as tree from "../core/tree.ts";
import { scalar } from "../ops/elementwise/creation.ts";
import { outermost } from "../ops/elementwise/loss_scale.ts";
import { alike, between, directionsOf, floatOf, freshLeaves } from "./graph.ts";
import { outputsOf } from "./region.ts";
import { type Unit, unitOf } from "./unit.ts";
import { differentiated } from "./reverse.ts";

/** Tangents of `outputs` given those of `inputs`, as graph nodes; null where nothing depends on the inputs. */
function pushForward(
  inputs: readonly Tensor[],
  tangents: readonly Tensor[],
  outputs: readonly Tensor[],
): (Tensor | null)[] {
  const known = new Map<Tensor, Tensor>(inputs.map((t, k) => [t, tangents[k]]));
  const done = new Set<Unit>();
  for (const t of between(inputs, outputs)) {
    if (known.has(t) || t.source.kind !== "op") continue;
    const unit = unitOf(t);
    if (unit?.forward) {
      if (done.has(unit)) continue;
      done.add(unit);
      unit.forward((x) => known.get(x) ?? null, pushForward).forEach((tangent, k) => {
        if (tangent) known.set(unit.results[k], alike(tangent, unit.results[k]));
      });
      continue;
    }
    const { op, inputs: parents, attrs } = t.source;
    const parentTangents = parents.map((x) => known.get(x) ?? null);
    if (parentTangents.every((x) => x === null)) continue;
    if (op.jvp) {
      const rule = op.jvp;
      known.set(t, alike(withRuleOf(t, () => rule({ inputs: parents, output: t, attrs }, parentTangents)), t));
    } else if (op.lowering.kind === "composite") {
      // A composite without its own rule is differentiated through its expansion.
      const fresh = parents.map((x, k) => (parentTangents[k] ? freshLeaves(op.name, x).leaves[0] : x));
      const inner = op.lowering.expand(fresh, attrs);
      const at = fresh.filter((_, k) => parentTangents[k]);
      const [tangent] = pushForward(
        at,
        parentTangents.filter((x): x is Tensor => x !== null),
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
 * The value of f at `primals` and its derivative along `tangents`; both have the structure of f's result.
 *
 * @param f a function from trees of tensors to a tree of tensors
 * @param primals its arguments, trees of f32 or f16 tensors
 * @param tangents one tree per primal, with the same structure and shapes
 * @throws VoxgradError for tangents that do not fit, naming the path, and for an operator without a forward derivative
 * @example
 * ```ts
 * import { jvp, tensor } from "voxgrad";
 *
 * const [y, dy] = jvp((x) => x.square(), [tensor([1, 2])], [tensor([1, 10])]);
 * await dy.array(); // [2, 40]
 * ```
 */
export function jvp<P extends unknown[], R>(
  f: (...primals: P) => R,
  primals: readonly [...P],
  tangents: readonly [...NoInfer<P>],
  ...rest: never[]
): [value: R, tangent: R] {
  refuseOptions("jvp", rest);
  return along("jvp", f, primals, tangents);
}

/** jvp with the name of the calling function in its errors. */
function along<P extends unknown[], R>(
  name: string,
  f: (...primals: P) => R,
  primals: readonly unknown[],
  tangents: readonly unknown[],
): [value: R, tangent: R] {
  checkFunction(name, "the first argument", f);
  check(
    Array.isArray(primals) && Array.isArray(tangents) && primals.length === tangents.length,
    name,
    () => `primals and tangents are arrays of one length, got ${show(primals)} and ${show(tangents)}`,
  );
  const fresh = primals.map((primal) => freshLeaves(name, primal));
  const points = fresh.flatMap((x) => x.leaves);
  const directions = directionsOf(name, "the tangents", fresh.map((x) => x.tree), tangents);
  const [, out] = outermost(() => callTraced(name, () => f(...(fresh.map((x) => x.tree) as P))));
  const outputs = outputsOf(name, out);
  const results = pushForward(points, directions, outputs);
  const tangent = results.map((t, k) => t ?? scalar(0, floatOf(outputs[k].dtype), outputs[k].shape));
  return [out, tree.rebuild(out, tangent) as R];
}

/**
 * Hessian-vector products, forward mode over reverse mode: one tree per primal.
 *
 * @param f returns a tensor of one element, f32 or f16
 * @param primals its arguments, trees of f32 or f16 tensors
 * @param tangents the vector: one tree per primal, with the same structure and shapes
 * @throws VoxgradError as grad and jvp
 * @example
 * ```ts
 * import { hvp, tensor } from "voxgrad";
 *
 * const [hv] = hvp((w) => w.pow(3).sum(), [tensor([1, 2])], [tensor([1, 1])]); // 6 w v
 * await hv.array(); // [6, 12]
 * ```
 */
export function hvp<P extends unknown[]>(
  f: (...primals: P) => Tensor,
  primals: readonly [...P],
  tangents: readonly [...NoInfer<P>],
  ...rest: never[]
): P {
  refuseOptions("hvp", rest);
  checkFunction("hvp", "the first argument", f);
  const gradient = (...args: P): P => differentiated("hvp", (all: P) => f(...all))(args)[1] as P;
  return along("hvp", gradient, primals, tangents)[1];
}
