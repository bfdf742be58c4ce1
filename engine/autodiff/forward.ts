/** Forward mode: jvp, and hvp as forward over reverse. */
import { check, checkFunction, fail, show } from "../core/errors.ts";
import type { Op } from "../core/op.ts";
import { node, type Tensor, withRuleOf } from "../core/tensor.ts";
import { callTraced } from "../core/tracing.ts";
import * as tree from "../core/tree.ts";
import { scalar } from "../ops/elementwise/creation.ts";
import { outermost } from "../ops/elementwise/loss_scale.ts";
import { alias } from "../ops/shape/reshape.ts";
import { alike, type ArgumentOptions, between, directionsOf, floatOf, freshLeaves, pick } from "./graph.ts";
import { outputsOf } from "./region.ts";
import { ancestorsSince, type Pushed, type Unit, unitOf } from "./unit.ts";
import { differentiated, type Picked } from "./reverse.ts";

/**
 * Tangents of `outputs` given those of `inputs`, as graph nodes; null where nothing depends on the inputs. A loop that
 * computes tangents computes its values too: `values` are the outputs made of those, so that no loop runs twice.
 */
export function pushForward(
  inputs: readonly Tensor[],
  tangents: readonly Tensor[],
  outputs: readonly Tensor[],
): Pushed {
  const known = new Map<Tensor, Tensor>(inputs.map((t, k) => [t, tangents[k]]));
  const path = new Set(between(inputs, outputs));
  const replaced = new Map<Tensor, Tensor>();
  const now = (t: Tensor): Tensor => replaced.get(t) ?? t;
  const done = new Set<Unit>();
  for (const t of ancestorsSince(outputs, Math.min(...inputs.map((t) => t.id)))) {
    if (known.has(t) || t.source.kind !== "op") continue;
    const unit = unitOf(t);
    if (unit?.forward && unit.results.some((result) => path.has(result))) {
      if (done.has(unit)) continue;
      done.add(unit);
      const moved = unit.forward((x) => known.get(x) ?? null, now, pushForward);
      moved.tangents.forEach((tangent, k) => {
        if (tangent) known.set(unit.results[k], alike(tangent, unit.results[k]));
      });
      moved.values?.forEach((value, k) => replaced.set(unit.results[k], value));
      continue;
    }
    if (replaced.size > 0) replace(t, unit, replaced, now);
    if (path.has(t)) {
      const tangent = tangentOf(t, known, now);
      if (tangent) known.set(t, alike(tangent, t));
    }
  }
  return { values: outputs.map(now), tangents: outputs.map((t) => known.get(t) ?? null) };
}

/** Makes a node again if what it depends on is replaced. */
function replace(t: Tensor, unit: Unit | null, replaced: Map<Tensor, Tensor>, now: (t: Tensor) => Tensor): void {
  if (t.source.kind !== "op" || replaced.has(t)) return;
  if (unit) {
    if (![...t.source.inputs, ...unit.inputs, ...unit.outputs].some((x) => replaced.has(x))) return;
    unit.replay(now).forEach((result, k) => replaced.set(unit.results[k], result));
  } else if (t.source.inputs.some((x) => replaced.has(x))) {
    replaced.set(t, node(t.source.op, t.source.inputs.map(now), t.source.attrs, t.shape, t.dtype));
  }
}

/** The tangent of a node by its operator's rule. */
function tangentOf(t: Tensor, known: ReadonlyMap<Tensor, Tensor>, now: (t: Tensor) => Tensor): Tensor | null {
  const { op, inputs, attrs } = t.source as { op: Op; inputs: readonly Tensor[]; attrs: never };
  const tangents = inputs.map((x) => known.get(x) ?? null);
  if (tangents.every((x) => x === null)) return null;
  const parents = inputs.map(now);
  const rule = op.jvp;
  if (rule) return withRuleOf(t, () => rule({ inputs: parents, output: now(t), attrs }, tangents));
  const expand = op.composed ?? (op.lowering.kind === "composite" ? op.lowering.expand : null);
  if (!expand) fail(op.name, "has no forward derivative");
  // Without a rule of its own, it is differentiated through its expansion.
  const fresh = parents.map((x, k) => (tangents[k] ? freshLeaves(op.name, x).leaves[0] : x));
  const inner = expand(fresh, attrs);
  const moving = fresh.filter((_, k) => tangents[k]);
  return pushForward(moving, tangents.filter((x) => x !== null), [inner]).tangents[0];
}

/**
 * The value of f at `primals` and its derivative along `tangents`; both have the structure of f's result.
 *
 * @param f a function from trees of tensors to a tree of tensors
 * @param primals its arguments, trees of f32 or f16 tensors
 * @param tangents one tree per primal, or per entry of argnums, with the same structure and shapes
 * @param options.argnums position or positions of the primals that move; the others may be anything. Default: all
 * @throws VoxgradError for tangents that do not fit, naming the path, and for an operator without a forward derivative
 * @example
 * ```ts
 * import { jvp, tensor } from "voxgrad";
 *
 * const [y, dy] = jvp((x) => x.square(), [tensor([1, 2])], [tensor([1, 10])]);
 * await dy.array(); // [2, 40]
 * ```
 */
export function jvp<P extends unknown[], R, const O extends ArgumentOptions = ArgumentOptions>(
  f: (...primals: P) => R,
  primals: readonly [...P],
  tangents: readonly [...NoInfer<Picked<P, O>>],
  options: O = {} as O,
): [value: R, tangent: R] {
  checkFunction("jvp", "the first argument", f);
  const { of, picked } = pick("jvp", f, primals, options);
  return along("jvp", of, picked, tangents);
}

/** The value and the derivative along tangents, with the name of the calling function in its errors. */
function along<R>(
  name: string,
  f: (...primals: unknown[]) => R,
  primals: readonly unknown[],
  tangents: readonly unknown[],
): [value: R, tangent: R] {
  return linearized(name, f, primals).push(tangents);
}

/** The value of f, and its derivative as a function of the tangents. */
function linearized<R>(
  name: string,
  f: (...primals: unknown[]) => R,
  primals: readonly unknown[],
): { value: R; outputs: readonly Tensor[]; push: (tangents: readonly unknown[]) => [value: R, tangent: R] } {
  const fresh = primals.map((primal) => freshLeaves(name, primal));
  const points = fresh.flatMap((x) => x.leaves);
  const [, out] = outermost(() => callTraced(name, () => f(...fresh.map((x) => x.tree))));
  const outputs = outputsOf(name, out);
  return {
    value: out,
    outputs,
    push(tangents) {
      check(
        Array.isArray(tangents) && tangents.length === primals.length,
        name,
        () => `tangents are an array, one tree for each of the ${primals.length} primals, got ${show(tangents)}`,
      );
      const directions = directionsOf(name, "the tangents", fresh.map((x) => x.tree), tangents);
      const pushed = pushForward(points, directions, outputs);
      const tangent = pushed.tangents.map((t, k) => t ?? scalar(0, floatOf(outputs[k].dtype), outputs[k].shape));
      return [tree.rebuild(out, pushed.values) as R, tree.rebuild(out, tangent) as R];
    },
  };
}

/**
 * The value of f at `primals`, and its derivative there as a linear function of tangents, as jax.linearize. f is called
 * once; for many tangents at one point, vmap the pushforward.
 *
 * @param f a function from trees of tensors to a tree of tensors
 * @param primals its arguments, trees of f32 or f16 tensors
 * @param options.argnums position or positions of the primals that move; the others may be anything. Default: all
 * @returns [value, pushforward]; the pushforward takes one tree per primal, or per entry of argnums, and returns the
 *   structure and shapes of the value
 * @throws VoxgradError as jvp; the pushforward throws for tangents that do not fit, naming the path
 * @example
 * ```ts
 * import { linearize, tensor, vmap } from "voxgrad";
 *
 * const [y, push] = linearize((x) => x.square(), [tensor([1, 2])]);
 * await push(tensor([1, 10])).array(); // [2, 40]
 * await vmap(push)(tensor([[1, 0], [0, 1]])).array(); // [[2, 0], [0, 4]]
 * ```
 */
export function linearize<P extends unknown[], R, const O extends ArgumentOptions = ArgumentOptions>(
  f: (...primals: P) => R,
  primals: readonly [...P],
  options: O = {} as O,
): [value: R, pushforward: (...tangents: Picked<P, O>) => R] {
  checkFunction("linearize", "the first argument", f);
  const { of, picked } = pick("linearize", f, primals, options);
  const { value, outputs, push } = linearized("linearize", of, picked);
  // The caller gets aliases: evaluating them does not drop the history that the pushforward needs.
  return [tree.rebuild(value, outputs.map(alias)) as R, (...tangents) => push(tangents)[1]];
}

/**
 * Hessian-vector products, forward mode over reverse mode: one tree per primal.
 *
 * @param f returns a tensor of one element, f32 or f16
 * @param primals its arguments, trees of f32 or f16 tensors
 * @param tangents the vector: one tree per primal, or per entry of argnums, with the same structure and shapes
 * @param options.argnums position or positions of the primals to differentiate with respect to; the others may be
 *   anything. Default: all
 * @throws VoxgradError as grad and jvp
 * @example
 * ```ts
 * import { hvp, tensor } from "voxgrad";
 *
 * const [hv] = hvp((w) => w.pow(3).sum(), [tensor([1, 2])], [tensor([1, 1])]); // 6 w v
 * await hv.array(); // [6, 12]
 * ```
 */
export function hvp<P extends unknown[], const O extends ArgumentOptions = ArgumentOptions>(
  f: (...primals: P) => Tensor,
  primals: readonly [...P],
  tangents: readonly [...NoInfer<Picked<P, O>>],
  options: O = {} as O,
): Picked<P, O> {
  checkFunction("hvp", "the first argument", f);
  const { of, picked } = pick("hvp", f, primals, options);
  const gradient = (...args: unknown[]): unknown => differentiated("hvp", (all: unknown[]) => of(...all))(args)[1];
  return along("hvp", gradient, picked, tangents)[1] as Picked<P, O>;
}
