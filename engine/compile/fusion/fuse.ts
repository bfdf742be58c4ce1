/** Decides which values are materialized; the others are recomputed inside the kernels that use them. */
import type { Target } from "../../../shaders/types.ts";
import { Materialized } from "../graph/cone.ts";
import { type Graph, isView, storageOf, type Value } from "../graph/lower.ts";

const isMap = (v: Value): boolean => v.op?.lowering.kind === "map";

/** Recomputing a value in several kernels pays off up to this many operations and one large read. */
const CHEAP_COST = 4;
/** A value this many times smaller than its user counts as broadcast. */
const BROADCAST = 4;
/** A broadcast value is recomputed only if it costs at most BROADCAST_COST per element or BROADCAST_WORK in total. */
const BROADCAST_COST = 2;
const BROADCAST_WORK = 32;
const ROW = 64;

/** Operations that a kernel may fuse into its loads: normalization, an affine function and an activation. */
const LOAD_COST = 8;
const LOAD_READS = 1;

interface Price {
  readonly cost: number;
  /** Values read from memory, without small broadcast ones. */
  readonly reads: readonly Value[];
}

/** The cost of recomputing each value from those that are kept, by id. */
function prices(graph: Graph, isKept: (v: Value) => boolean): Price[] {
  const table: Price[] = [];
  for (const v of graph.values) table.push(priceOf(v, table, isKept));
  return table;
}

function priceOf(v: Value, table: readonly Price[], isKept: (v: Value) => boolean): Price {
  const lowering = v.op?.lowering;
  let cost = lowering?.kind === "map" ? lowering.cost : 0;
  let reads: readonly Value[] = [];
  for (const x of v.inputs) {
    const kept = isKept(x);
    // A value that is constant along a row is computed once per row.
    if (!kept && x.size * ROW > v.size) cost += table[x.id].cost;
    for (const read of kept ? [x] : table[x.id].reads) {
      if (read.size * BROADCAST > v.size && !reads.includes(read)) reads = [...reads, read];
    }
  }
  return { cost, reads };
}

/**
 * A map value is materialized if it is an output, is needed by a kernel that cannot fuse it, is in `forced`, is needed
 * by several kernels and not cheap, or would be recomputed for every element it is broadcast to.
 */
export function chooseMaterialized(graph: Graph, forced: ReadonlySet<Value>, target: Target): Materialized {
  const isAlways = (v: Value): boolean => (!isMap(v) && !isView(v)) || forced.has(v);
  // The first pass computes costs as if nothing else were materialized; the second uses the first's result.
  const first = assign(graph, forced, prices(graph, isAlways), target);
  return assign(graph, forced, prices(graph, (v) => isAlways(v) || first.has(v)), target);
}

/** Elementwise values that all kernels using them can fuse into their loads. */
function loadable(graph: Graph, table: readonly Price[], target: Target): Set<Value> {
  const refused = new Set<Value>();
  const fusable = new Set<Value>();
  for (const v of graph.values) {
    const lowering = v.op?.lowering;
    if (lowering?.kind === "loop") { for (const x of v.inputs) refused.add(storageOf(x)); }
    if (lowering?.kind !== "kernel") continue;
    const loads = !lowering.readsRepeatedly || target.fusesPrologues ? (lowering.fusesPrologue ?? []) : [];
    v.inputs.forEach((x, k) => (loads.includes(k) ? fusable : refused).add(storageOf(x)));
  }
  return new Set(
    [...fusable].filter((x) => {
      const { cost, reads } = table[x.id];
      return isMap(x) && !refused.has(x) && cost <= LOAD_COST && reads.length <= LOAD_READS;
    }),
  );
}

/** Whether recomputing x for each element of `user` costs more than reading it. */
function isCostlyBroadcast(x: Value, user: Value, cost: number): boolean {
  const times = user.size / x.size;
  return times >= BROADCAST && cost > BROADCAST_COST && cost * times > BROADCAST_WORK;
}

/** With this many kernels, a value with two reads is never cheap; more need not be told apart. */
const MANY_USERS = 4;

/** The kernels of two lists, up to MANY_USERS. */
function united(a: readonly Value[], b: readonly Value[]): readonly Value[] {
  if (a.length === 0) return b;
  const others = b.filter((v) => !a.includes(v));
  return others.length === 0 || a.length === MANY_USERS ? a : [...a, ...others].slice(0, MANY_USERS);
}

function assign(
  graph: Graph,
  forced: ReadonlySet<Value>,
  table: readonly Price[],
  target: Target,
): Materialized {
  const loaded = loadable(graph, table, target);
  const result = new Materialized();
  const stored = new Set<Value>(forced);
  // The kernels that use each value, by id; lists are shared.
  const users = graph.values.map((): readonly Value[] => []);
  for (const v of graph.outputs) stored.add(storageOf(v));
  const isLive = graph.values.map(() => false);
  for (const v of graph.outputs) isLive[v.id] = true;
  for (let k = graph.values.length - 1; k >= 0; k--) {
    const v = graph.values[k];
    if (!isLive[k] && !stored.has(v)) continue;
    for (const x of v.inputs) isLive[x.id] = true;
    if (v.leaf !== null) continue;
    const kernels = users[v.id];
    const { cost, reads } = table[v.id];
    // Materialized: its reads, one write, and one read per using kernel. Recomputed: its reads once per using kernel.
    const most = loaded.has(v) ? LOAD_COST : CHEAP_COST;
    const cheap = cost <= most && kernels.length * reads.length <= reads.length + 1 + kernels.length;
    const { kind } = v.op!.lowering;
    const isMaterialized = kind !== "view" && (kind !== "map" || stored.has(v) || (kernels.length > 1 && !cheap));
    if (isMaterialized) result.add(v);
    const own = isMaterialized ? [v] : kernels;
    for (const x of v.inputs) {
      const source = storageOf(x);
      if (kind === "loop" || (kind === "kernel" && !loaded.has(source))) stored.add(source);
      else if (kind === "map" && isMap(source) && isCostlyBroadcast(source, v, table[source.id].cost)) {
        stored.add(source);
      }
      users[x.id] = united(users[x.id], own);
    }
  }
  return result;
}
