/** Bounds the size of fused expressions, because shader compilers take superlinear time for large ones. */
import type { Target } from "../../../shaders/types.ts";
import { type Graph, isView, storageOf, type Value } from "../graph/lower.ts";
import { coneOf, type Materialized } from "../graph/cone.ts";

/** Maximum number of values that one kernel computes along with its root. */
const MOST_VALUES = 128;

/** With more operands than this, materializing one value at a time until the bindings suffice would take long. */
const MANY_READS = 64;

/** Values to materialize so that no kernel computes or reads too many values. */
export function oversized(graph: Graph, materialized: Materialized, target: Target): Value[] {
  const cuts: Value[] = [];
  for (const root of graph.values) {
    if (!materialized.has(root)) continue;
    const { inside, reads } = coneOf(root, materialized);
    if (inside.length > MOST_VALUES || reads.length > MANY_READS) {
      cuts.push(...cutsOf(root, [...inside].sort((a, b) => a.id - b.id), new Set(reads), target.maxStorageBuffers - 1));
    }
  }
  return cuts;
}

/** Cuts a cone from its far end: a value is materialized if a user would otherwise compute or read too much. */
function cutsOf(root: Value, inside: readonly Value[], reads: ReadonlySet<Value>, mostReads: number): Value[] {
  const cuts = new Set<Value>();
  /** The values needed to compute a value, including itself. */
  const needs = new Map<Value, { values: Set<Value>; reads: Set<Value> }>();
  for (const v of [...inside, root]) {
    for (;;) {
      const needed = { values: new Set<Value>(), reads: new Set<Value>() };
      const sources = v.inputs.map(storageOf).filter((x) => !cuts.has(x) && needs.has(x));
      for (const x of v.inputs.map(storageOf)) if (cuts.has(x) || reads.has(x)) needed.reads.add(x);
      for (const x of sources) {
        for (const y of needs.get(x)!.values) needed.values.add(y);
        for (const y of needs.get(x)!.reads) needed.reads.add(y);
      }
      if (!isView(v) && v !== root) needed.values.add(v);
      const many = needed.values.size > MOST_VALUES;
      if ((!many && needed.reads.size <= mostReads) || sources.length === 0) {
        needs.set(v, needed);
        break;
      }
      const weight = (x: Value): number => (many ? needs.get(x)!.values.size : needs.get(x)!.reads.size);
      cuts.add(sources.reduce((a, b) => (weight(b) > weight(a) ? b : a)));
    }
  }
  return [...cuts];
}
