/** The result type of the emitters, and helpers they share. */
import type { Dispatch, Slot, Target, VariantChoice } from "../../../shaders/types.ts";
import type { Body } from "./body.ts";
import type { Materialized } from "../graph/cone.ts";
import { isView, type Value } from "../graph/lower.ts";

export interface Emitted {
  readonly temps: readonly number[];
  readonly dispatches: readonly Dispatch[];
  /** The value that Slot input k refers to. */
  readonly reads: readonly Value[];
  /** The variant choice of its kernel, if any. */
  readonly choice?: VariantChoice;
}

/** The bindings of a kernel; input k is `reads[k]`. */
export const slotsOf = (body: Body, reads: readonly Value[]): Slot[] =>
  body.bindings.map(({ value, chunk }) => ({
    input: reads.indexOf(value),
    ...(chunk === null ? {} : { chunk }),
  }));

/** Kernel name for profiles: its fused operators, root first; `given` is known as if it were read. */
export function chainName(root: Value, materialized: Materialized, given: Value | null = null): string {
  const names = [root.op!.name];
  const visit = (v: Value): void => {
    for (const x of v.inputs) {
      if (names.length >= 4) return;
      if (x.leaf !== null || x === given || materialized.has(x)) continue;
      if (!isView(x) && x.op!.lowering.kind === "map" && x.op!.lowering.cost > 0) names.push(x.op!.name);
      visit(x);
    }
  };
  visit(root);
  return names.join("+");
}

/** The maximum number of buffers that one of the kernels binds. */
export const bindingsOf = ({ dispatches }: Emitted): number =>
  dispatches.reduce((most, { reads, writes }) => Math.max(most, reads.length + writes.length), 0);

export const hasTooManyBindings = (emitted: Emitted, target: Target): boolean =>
  bindingsOf(emitted) > target.maxStorageBuffers;
