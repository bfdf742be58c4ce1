/**
 * Regions: parts of a graph, each made by one function call, that reverse mode treats as a unit. checkpoint recomputes
 * the part instead of keeping its values; customVjp replaces its derivative by a user-defined rule.
 */
import { check, fail, show } from "../core/errors.ts";
import type { Op } from "../core/op.ts";
import { ancestors, inputsOf, node, Tensor } from "../core/tensor.ts";
import { callTraced } from "../core/tracing.ts";
import * as tree from "../core/tree.ts";
import { alias } from "../ops/shape/reshape.ts";

/** Reverse mode: cotangents of inputs from those of outputs. */
export type PullBack = (
  inputs: readonly Tensor[],
  outputs: readonly Tensor[],
  cotangents: readonly Tensor[],
) => Tensor[];

/** How a region behaves in reverse mode and under vmap. */
export interface RegionRule {
  /**
   * Contributions to the cotangents of outside tensors: the region's inputs and whatever else it uses.
   * @param cotangents of the results, null for results without one
   * @param wanted whether a tensor needs a cotangent
   */
  backward(
    region: Region,
    cotangents: readonly (Tensor | null)[],
    pull: PullBack,
    wanted: (t: Tensor) => boolean,
  ): readonly (readonly [Tensor, Tensor])[];
  /** The rule for a batch of examples; all inputs have the batch axis. */
  batched(vmap: <A extends unknown[], R>(f: (...args: A) => R) => (...args: A) => R): RegionRule;
}

/** One function call in the graph. */
export interface Region {
  readonly rule: RegionRule;
  /** Placeholders for the arguments inside the region. */
  readonly inputs: readonly Tensor[];
  /** The function's results, and the nodes that represent them outside. */
  readonly outputs: readonly Tensor[];
  readonly results: readonly Tensor[];
}

/** A result of a region; the identity of its input. */
const regionOp: Op<{ region: Region }> = {
  name: "region",
  lowering: { kind: "view" },
  vjp: () => fail("region", "reverse mode takes it as a whole"),
  jvp: (_, [t]) => t!,
};

/** The region that a node is a result of; null for other nodes. */
export const regionOf = (t: Tensor): Region | null =>
  t.source.kind === "op" && t.source.op === regionOp ? (t.source.attrs as { region: Region }).region : null;

/** Closes a region. Its result nodes are created consecutively, after everything inside. */
export function makeRegion(rule: RegionRule, inputs: readonly Tensor[], outputs: readonly Tensor[]): Region {
  const results: Tensor[] = [];
  const region: Region = { rule, inputs, outputs, results };
  for (const t of outputs) results.push(node(regionOp, [t], { region }, t.shape, t.dtype));
  return region;
}

/** The tensors that a differentiated function returned. */
export function outputsOf(name: string, out: unknown): Tensor[] {
  return tree.leaves(out).map((t) => {
    check(t instanceof Tensor, name, () => `the function gives a tree of tensors, got the leaf ${show(t)}`);
    return t;
  });
}

/** Calls f in its own region; tensors among the arguments are replaced by placeholders. */
export function callInRegion<A extends unknown[], R>(
  name: string,
  f: (...args: A) => R,
  args: A,
  ruleOf: (inside: A, out: R) => RegionRule,
): R {
  const inputs: Tensor[] = [];
  const inside = tree.map(args as readonly unknown[], (leaf) => {
    if (!(leaf instanceof Tensor)) return leaf;
    inputs.push(alias(leaf));
    return inputs.at(-1);
  }) as A;
  const out = callTraced(name, () => f(...inside));
  const outputs = outputsOf(name, out);
  return tree.rebuild(out, makeRegion(ruleOf(inside, out), inputs, outputs).results) as R;
}

/** The inputs of a node for differentiation: for a result of a region these are the region's inputs. */
export function parentsOf(t: Tensor): readonly Tensor[] {
  const region = regionOf(t);
  return region ? [...inputsOf(t), ...region.inputs] : inputsOf(t);
}

/**
 * Ancestors of `outputs` created at or after node `first`, in order of creation, without what lies beyond `ends`.
 * Regions are included with all their outputs.
 */
export const ancestorsSince = (outputs: readonly Tensor[], first: number, ends?: (t: Tensor) => boolean): Tensor[] =>
  ancestors(outputs, (t) => {
    if (t.id < first) return null;
    if (ends?.(t)) return [];
    const region = regionOf(t);
    return region ? [...parentsOf(t), ...region.outputs] : inputsOf(t);
  });
