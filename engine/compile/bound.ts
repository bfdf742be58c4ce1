/** Fused expressions are cut where they would grow without bound: compilers take more than proportional time for them. */
import type { Target } from "../../shaders/types.ts";
import { base, type Graph, isView, type Value } from "./lower.ts";
import type { Roots } from "./fuse.ts";

/** Values that one kernel computes along with its root at most. */
const MOST_VALUES = 128;

/** Beyond so many operands, cutting at one binding too many at a time would take long. */
const MANY_READS = 64;

/** What a kernel computes for its root, in order of creation, and what it reads for that. */
export function coneOf(
  root: Value,
  roots: Roots,
): { readonly inside: readonly Value[]; readonly reads: readonly Value[] } {
  const seen = new Set<Value>(root.inputs);
  for (const v of seen) if (v.leaf === null && !roots.has(v)) { for (const x of v.inputs) seen.add(x); }
  const ends = (v: Value): boolean => v.leaf !== null || roots.has(v);
  const inside = [...seen].filter((v) => !ends(v)).sort((a, b) => a.id - b.id);
  return { inside, reads: [...seen].filter(ends) };
}

/** Values to be kept so that no kernel computes too many values, or reads very many. */
export function oversized(graph: Graph, roots: Roots, target: Target): Value[] {
  const cuts: Value[] = [];
  for (const root of graph.values) {
    if (!roots.has(root)) continue;
    const { inside, reads } = coneOf(root, roots);
    if (inside.length > MOST_VALUES || reads.length > MANY_READS) {
      cuts.push(...cutsOf(root, inside, new Set(reads), target.maxStorageBuffers - 1));
    }
  }
  return cuts;
}

/** Cuts a cone from its far end on: a value is kept where a user would otherwise have too much to compute or to read. */
function cutsOf(root: Value, inside: readonly Value[], reads: ReadonlySet<Value>, mostReads: number): Value[] {
  const cuts = new Set<Value>();
  /** What computing a value takes, itself among them. */
  const needs = new Map<Value, { values: Set<Value>; reads: Set<Value> }>();
  for (const v of [...inside, root]) {
    for (;;) {
      const own = { values: new Set<Value>(), reads: new Set<Value>() };
      const sources = v.inputs.map(base).filter((x) => !cuts.has(x) && needs.has(x));
      for (const x of v.inputs.map(base)) if (cuts.has(x) || reads.has(x)) own.reads.add(x);
      for (const x of sources) {
        for (const y of needs.get(x)!.values) own.values.add(y);
        for (const y of needs.get(x)!.reads) own.reads.add(y);
      }
      if (!isView(v) && v !== root) own.values.add(v);
      const many = own.values.size > MOST_VALUES;
      if ((!many && own.reads.size <= mostReads) || sources.length === 0) {
        needs.set(v, own);
        break;
      }
      const weight = (x: Value): number => (many ? needs.get(x)!.values.size : needs.get(x)!.reads.size);
      cuts.add(sources.reduce((a, b) => (weight(b) > weight(a) ? b : a)));
    }
  }
  return [...cuts];
}
