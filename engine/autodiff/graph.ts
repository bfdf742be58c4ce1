/** Graph traversal between the inputs of a derivative and its outputs. */
import { type DType, isFloat } from "../core/dtype.ts";
import { check, checkOptions, ifTraced, show } from "../core/errors.ts";
import { checkPair, pairLeaves } from "../core/pair.ts";
import { Tensor } from "../core/tensor.ts";
import * as tree from "../core/tree.ts";
import { cast } from "../ops/elementwise/elementwise.ts";
import { alias, isStopGradient } from "../ops/shape/reshape.ts";
import { ancestorsSince, parentsOf } from "./unit.ts";

/** Nodes on paths from `inputs` to `outputs` through float tensors, in order of creation. */
export function between(inputs: readonly Tensor[], outputs: readonly Tensor[]): Tensor[] {
  const reached = new Set<Tensor>(inputs);
  // Nodes older than the oldest input cannot depend on an input.
  const first = Math.min(...inputs.map((t) => t.id));
  return ancestorsSince(outputs, first, isStopGradient).filter((t) => {
    if (reached.has(t)) return true;
    if (isStopGradient(t)) return false;
    const hit = isFloat(t.dtype) && parentsOf(t).some((x) => reached.has(x));
    if (hit) reached.add(t);
    return hit;
  });
}

/** Aliases the leaves of a tree, so that derivatives with respect to them ignore other uses of the same tensors. */
export function freshLeaves(name: string, argument: unknown): { tree: unknown; leaves: Tensor[] } {
  const leaves: Tensor[] = [];
  const fresh = tree.map(argument, (leaf, path) => {
    check(
      leaf instanceof Tensor,
      name,
      () => `arguments are trees of tensors, got ${show(leaf)}${path && ` at ${path}`}`,
    );
    check(
      isFloat(leaf.dtype),
      name,
      () =>
        `the ${
          path ? `leaf ${path}` : "argument"
        } is ${leaf.dtype}, which has no gradient; use f32 or f16, or capture it`,
    );
    const node = alias(leaf);
    leaves.push(node);
    return node;
  });
  check(argument !== undefined && argument !== null, name, () => `arguments are trees of tensors, got ${argument}`);
  return { tree: fresh, leaves };
}

/** The leaves of a tree of tangents or cotangents, in the order of the tensors they match by path. */
export function directionsOf(name: string, what: string, of: unknown, given: unknown): Tensor[] {
  return pairLeaves(name, what, of, given).map((pair) => {
    const { of, given } = checkPair(name, what, pair);
    return alike(given, of);
  });
}

/** The dtype of derivatives of a value. */
export const floatOf = (dtype: DType): DType => (isFloat(dtype) ? dtype : "f32");

/** Casts a tangent or cotangent to the dtype of the tensor it belongs to. */
export const alike = (t: Tensor, of: Tensor): Tensor => cast(t, floatOf(of.dtype));

/** Which arguments a derivative is with respect to. */
export interface ArgumentOptions {
  /** Position of an argument, or a list of positions. */
  argnums?: number | readonly number[];
}

/** The positions that argnums lists. */
export function positionsOf(name: string, argnums: unknown): readonly number[] {
  const positions = (typeof argnums === "number" ? [argnums] : argnums) as readonly number[];
  check(
    Array.isArray(positions) &&
      positions.length > 0 &&
      positions.every((k) => Number.isInteger(k) && k >= 0) &&
      new Set(positions).size === positions.length,
    name,
    () =>
      `argnums is the position of an argument from 0 on, or a list of different ones, got ${show(argnums)}` +
      ifTraced(argnums),
  );
  return positions;
}

/** f as a function of the primals that argnums lists, and those; without argnums of all. */
export function pick<P extends unknown[], R>(
  name: string,
  f: (...primals: P) => R,
  primals: unknown,
  options: ArgumentOptions,
): { of: (...picked: unknown[]) => R; picked: unknown[] } {
  checkOptions(name, options, ["argnums"]);
  check(Array.isArray(primals), name, () => `primals are an array, one entry per argument, got ${show(primals)}`);
  const given: unknown[] = primals;
  if (options.argnums === undefined) return { of: f as (...picked: unknown[]) => R, picked: given };
  const positions = positionsOf(name, options.argnums);
  for (const k of positions) {
    check(k < given.length, name, () => `argnums lists the argument ${k}, there are ${given.length} primals`);
  }
  return {
    of(...picked) {
      const all = [...given];
      positions.forEach((k, j) => (all[k] = picked[j]));
      return f(...(all as P));
    },
    picked: positions.map((k) => given[k]),
  };
}
