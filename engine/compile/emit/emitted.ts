/** What the emitters give, and what they share. */
import type { Dispatch, Slot, Target, VariantChoice } from "../../../shaders/types.ts";
import type { Body } from "./body.ts";
import type { Materialized } from "../graph/cone.ts";
import { isView, type Value } from "../graph/lower.ts";

export interface Emitted {
  readonly temps: readonly number[];
  readonly dispatches: readonly Dispatch[];
  /** What Slot input k means. */
  readonly reads: readonly Value[];
  /** The choice between variants of its kernel. */
  readonly choice?: VariantChoice;
}

/** The bindings of a kernel, where input k is the k-th of `reads`. */
export const slotsOf = (body: Body, reads: readonly Value[]): Slot[] =>
  body.bindings.map(({ value, chunk }) => ({
    input: reads.indexOf(value),
    ...(chunk === null ? {} : { chunk }),
  }));

/** For profiles: the operators that a kernel computes, root first. */
export function chainName(root: Value, materialized: Materialized): string {
  const names = [root.op!.name];
  const visit = (v: Value): void => {
    for (const x of v.inputs) {
      if (names.length >= 4) return;
      if (x.leaf !== null || materialized.has(x)) continue;
      if (!isView(x) && x.op!.lowering.kind === "map" && x.op!.lowering.cost > 0) names.push(x.op!.name);
      visit(x);
    }
  };
  visit(root);
  return names.join("+");
}

/** Buffers that the kernel with most of them binds. */
export const bindingsOf = ({ dispatches }: Emitted): number =>
  dispatches.reduce((most, { reads, writes }) => Math.max(most, reads.length + writes.length), 0);

export const hasTooManyBindings = (emitted: Emitted, target: Target): boolean =>
  bindingsOf(emitted) > target.maxStorageBuffers;
