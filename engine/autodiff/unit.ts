/** Units: nodes of one call that derivatives and vmap treat together, such as the results of a region or a loop. */
import { ancestors, inputsOf, node, type Tensor } from "../core/tensor.ts";

/** Reverse mode: cotangents of inputs from those of outputs. */
export type PullBack = (
  inputs: readonly Tensor[],
  outputs: readonly Tensor[],
  cotangents: readonly Tensor[],
) => Tensor[];

/** Outputs and their tangents; null where an output does not depend on what moves. */
export interface Pushed {
  readonly values: readonly Tensor[];
  readonly tangents: readonly (Tensor | null)[];
}

/** Forward mode: outputs, computed again where that saves work, and their tangents from those of the inputs. */
export type PushForward = (
  inputs: readonly Tensor[],
  tangents: readonly Tensor[],
  outputs: readonly Tensor[],
) => Pushed;

/** vmap: per-example tensors mapped to their batched versions, batch axis first. */
export type Batches = Map<Tensor, Tensor>;

/** A batch, and how the nodes of a per-example function are batched: `batches` gets what `outputs` need. */
export interface Batching {
  readonly size: number;
  readonly batches: Batches;
  /** The batched x, repeated if it is the same for all examples. */
  full(x: Tensor): Tensor;
  extend(outputs: readonly Tensor[], batches: Batches): void;
  vmap<A extends unknown[], R>(f: (...args: A) => R): (...args: A) => R;
}

export interface Unit {
  /** The tensors outside that it depends on, beyond the inputs of its nodes. */
  readonly inputs: readonly Tensor[];
  /** Nodes inside that its results are made of; empty if there are none in the graph. */
  readonly outputs: readonly Tensor[];
  /** Its nodes. Their ids are consecutive. */
  readonly results: readonly Tensor[];
  /**
   * Contributions to the cotangents of outside tensors: the inputs and whatever else it uses.
   * @param cotangents of the results, null for results without one
   * @param wanted whether a tensor needs a cotangent
   */
  backward(
    cotangents: readonly (Tensor | null)[],
    wanted: (t: Tensor) => boolean,
    pull: PullBack,
  ): readonly (readonly [Tensor, Tensor])[];
  /**
   * Tangents of the results, and the results if they are computed again. Missing: those of the nodes one by one.
   * @param now the replacement of a tensor that is computed again, else itself
   */
  forward?(
    tangentOf: (t: Tensor) => Tensor | null,
    now: (t: Tensor) => Tensor,
    push: PushForward,
  ): { readonly values?: readonly Tensor[]; readonly tangents: readonly (Tensor | null)[] };
  /** The batched results, null for those that are the same for all examples. */
  batch(batching: Batching): readonly (Tensor | null)[];
  /** The results of the same unit of other tensors. */
  replay(now: (t: Tensor) => Tensor): readonly Tensor[];
}

/** The unit that a node is a result of; null for other nodes. */
export const unitOf = ({ source }: Tensor): Unit | null =>
  source.kind === "op" ? ((source.attrs as { unit?: Unit }).unit ?? null) : null;

/**
 * The inputs of a node for differentiation: for a result of a unit these are the unit's inputs, and what is inside if
 * forward mode goes through it.
 */
export function parentsOf(t: Tensor): readonly Tensor[] {
  const unit = unitOf(t);
  return !unit ? inputsOf(t) : unit.forward ? unit.inputs : [...inputsOf(t), ...unit.inputs];
}

/**
 * Ancestors of `outputs` created at or after node `first`, in order of creation, without what lies beyond `ends`.
 * Units are included with all their outputs.
 */
export const ancestorsSince = (outputs: readonly Tensor[], first: number, ends?: (t: Tensor) => boolean): Tensor[] =>
  ancestors(outputs, (t) => {
    if (t.id < first) return null;
    if (ends?.(t)) return [];
    const unit = unitOf(t);
    return unit ? [...parentsOf(t), ...unit.outputs] : inputsOf(t);
  });

/** `outputs` computed from other tensors: the keys of `known` are replaced; what depends on them is added to it. */
export function substitute(outputs: readonly Tensor[], known: Map<Tensor, Tensor>): Tensor[] {
  const now = (t: Tensor): Tensor => known.get(t) ?? t;
  const first = Math.min(...[...known.keys()].map((t) => t.id));
  for (const t of ancestorsSince(outputs, first, (t) => known.has(t))) {
    if (known.has(t) || t.source.kind !== "op") continue;
    const unit = unitOf(t);
    if (unit) {
      if (![...inputsOf(t), ...unit.inputs, ...unit.outputs].some((x) => known.has(x))) continue;
      unit.replay(now).forEach((result, k) => {
        if (!known.has(unit.results[k])) known.set(unit.results[k], result);
      });
    } else if (t.source.inputs.some((x) => known.has(x))) {
      known.set(t, node(t.source.op, t.source.inputs.map(now), t.source.attrs, t.shape, t.dtype));
    }
  }
  return outputs.map(now);
}
