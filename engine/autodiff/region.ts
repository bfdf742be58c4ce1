/**
 * Regions: parts of a graph, made by one call of a function, that reverse mode takes as a whole. checkpoint computes
 * the part anew instead of keeping its values; customVjp puts a rule of the user's in its place.
 */
import { check, fail, show } from "../core/errors.ts";
import type { Op } from "../core/op.ts";
import { ancestors, node, Tensor } from "../core/tensor.ts";
import { callTraced } from "../core/tracing.ts";
import * as tree from "../core/tree.ts";
import { alias } from "../ops/shape/reshape.ts";

/** Reverse mode: cotangents of inputs from those of outputs. */
export type PullBack = (
  inputs: readonly Tensor[],
  outputs: readonly Tensor[],
  cotangents: readonly Tensor[],
) => Tensor[];

/** What a region does in reverse mode and under vmap. */
export interface RegionRule {
  /**
   * Tensors outside (the region's inputs, or what else it uses) with what their cotangents grow by.
   * @param cotangents of the results, null where there is none
   * @param wanted whether a tensor needs a cotangent
   */
  backward(
    region: Region,
    cotangents: readonly (Tensor | null)[],
    pull: PullBack,
    wanted: (t: Tensor) => boolean,
  ): readonly (readonly [Tensor, Tensor])[];
  /** The rule for a batch of examples, where all inputs have the batch axis. */
  batched(vmap: <A extends unknown[], R>(f: (...args: A) => R) => (...args: A) => R): RegionRule;
}

/** One call of a function in the graph. */
export interface Region {
  readonly rule: RegionRule;
  /** They stand for the arguments inside. */
  readonly inputs: readonly Tensor[];
  /** What the function gave, and the nodes that stand for it outside. */
  readonly outputs: readonly Tensor[];
  readonly results: readonly Tensor[];
}

/** A result of a region: the value of its input. */
const regionOp: Op<{ region: Region }> = {
  name: "region",
  lowering: { kind: "view" },
  vjp: () => fail("region", "reverse mode takes it as a whole"),
  jvp: (_, [t]) => t!,
};

/** The region that a node is a result of; null for other nodes. */
export const regionOf = (t: Tensor): Region | null =>
  t.source.kind === "op" && t.source.op === regionOp ? (t.source.attrs as { region: Region }).region : null;

/** Closes a region: its results are created one after the other, behind all that is inside. */
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

/** Calls f in a region of its own; tensors among the arguments are replaced by nodes that stand for them. */
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

/** What a node is made of, for derivatives: a result of a region of the region's inputs too. */
export function parentsOf(t: Tensor): readonly Tensor[] {
  if (t.source.kind !== "op") return [];
  const region = regionOf(t);
  return region ? [...t.source.inputs, ...region.inputs] : t.source.inputs;
}

/**
 * Tensors created from `first` on that `outputs` are made of, in order of creation; not what lies behind `ends`. A
 * region comes with all of its outputs.
 */
export const ancestorsSince = (outputs: readonly Tensor[], first: number, ends?: (t: Tensor) => boolean): Tensor[] =>
  ancestors(outputs, (t) => {
    if (t.id < first) return null;
    return ends?.(t) ? [] : [...parentsOf(t), ...(regionOf(t)?.outputs ?? [])];
  });
