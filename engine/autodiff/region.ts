/**
 * Regions: parts of a graph, each made by one function call, that reverse mode treats as a unit. checkpoint recomputes
 * the part instead of keeping its values; customVjp replaces its derivative by a user-defined rule.
 */
import { check, fail, show } from "../core/errors.ts";
import type { Op } from "../core/op.ts";
import { node, Tensor } from "../core/tensor.ts";
import { callTraced } from "../core/tracing.ts";
import * as tree from "../core/tree.ts";
import { alias } from "../ops/shape/reshape.ts";
import type { Batching, PullBack, Unit } from "./unit.ts";

/** How a region behaves in reverse mode and under vmap. */
export interface RegionRule {
  /** As Unit.backward. */
  backward(
    region: Region,
    cotangents: readonly (Tensor | null)[],
    wanted: (t: Tensor) => boolean,
    pull: PullBack,
  ): readonly (readonly [Tensor, Tensor])[];
  /** The tangents of the results. */
  forward?(
    region: Region,
    tangentOf: (t: Tensor) => Tensor | null,
  ): readonly (Tensor | null)[];
  /** The rule for a batch of examples; all inputs have the batch axis. */
  batched(vmap: <A extends unknown[], R>(f: (...args: A) => R) => (...args: A) => R): RegionRule;
}

/** A result of a region; the identity of its input. */
const regionOp: Op<{ unit: Region }> = {
  name: "region",
  lowering: { kind: "view" },
  vjp: () => fail("region", "reverse mode takes it as a whole"),
  jvp: (_, [t]) => t!,
};

/** One function call in the graph. */
export class Region implements Unit {
  readonly rule: RegionRule;
  /** Placeholders for the arguments inside the region. */
  readonly inputs: readonly Tensor[];
  /** The function's results, and the nodes that represent them outside, which come after everything inside. */
  readonly outputs: readonly Tensor[];
  readonly results: readonly Tensor[];
  readonly forward?: Unit["forward"];

  constructor(rule: RegionRule, inputs: readonly Tensor[], outputs: readonly Tensor[]) {
    this.rule = rule;
    this.inputs = inputs;
    this.outputs = outputs;
    this.results = outputs.map((t) => node(regionOp, [t], { unit: this }, t.shape, t.dtype));
    const { forward } = rule;
    if (forward) {
      this.forward = (tangentOf, now) => {
        const isSame = [...inputs, ...outputs].every((t) => now(t) === t);
        const region = isSame ? this : new Region(rule, inputs.map(now), outputs.map(now));
        const tangents = new Map(inputs.map((t, k) => [region.inputs[k], tangentOf(t)]));
        return { values: region.results, tangents: forward(region, (t) => tangents.get(t) ?? null) };
      };
    }
  }

  readonly backward: Unit["backward"] = (cotangents, wanted, pull) =>
    this.rule.backward(this, cotangents, wanted, pull);

  batch({ batches, full, vmap }: Batching): readonly (Tensor | null)[] {
    if (![...this.inputs, ...this.outputs].some((t) => batches.has(t))) return this.results.map(() => null);
    return new Region(this.rule.batched(vmap), this.inputs.map(full), this.outputs.map(full)).results;
  }

  replay(now: (t: Tensor) => Tensor): readonly Tensor[] {
    return new Region(this.rule, this.inputs.map(now), this.outputs.map(now)).results;
  }
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
  return tree.rebuild(out, new Region(ruleOf(inside, out), inputs, outputs).results) as R;
}
