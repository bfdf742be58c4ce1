/** From a graph to dispatches in order, each naming the memory that it reads and writes. */
import { VoxgradError } from "../core/errors.ts";
import type { Kernel, Slot, Target } from "../../shaders/types.ts";
import { emitMap, emitReduce, type Emitted } from "./emit.ts";
import { chooseRoots, type Roots } from "./fuse.ts";
import { base, isView, type Graph, type Value } from "./lower.ts";

/** A piece of memory of a program. */
export interface Place {
  readonly elements: number;
  readonly bytes: number;
  /** Given from outside. */
  readonly leaf: number | null;
  /** What it is for, in messages. */
  readonly label: string;
}

export interface Step {
  readonly kernel: Kernel;
  readonly reads: readonly Place[];
  readonly writes: readonly Place[];
}

export interface Schedule {
  readonly steps: readonly Step[];
  readonly places: readonly Place[];
  /** Memory of each output; several outputs may share one, and it may be a leaf. */
  readonly outputs: readonly Place[];
  /** Leaf memory that an output takes over, by leaf. */
  readonly inPlace: ReadonlyMap<number, Place>;
}

/** Puts roots in order of creation, which ends with the updates of a training step, and asks each for its kernels. */
export function schedule(graph: Graph, target: Target, donated: ReadonlySet<number> = new Set()): Schedule {
  const { roots, emitted } = fuse(graph, target);
  const order = graph.values.filter((v) => roots.has(v) && v.size > 0);
  const inPlace = overwrite(graph, order, emitted, donated);

  const places: Place[] = [];
  const placeOf = new Map<Value, Place>();
  const add = (elements: number, leaf: number | null, label: string): Place => {
    const place: Place = { elements, bytes: 4 * Math.max(1, elements), leaf, label };
    places.push(place);
    return place;
  };
  for (const v of graph.values) if (v.leaf !== null) placeOf.set(v, add(v.size, v.leaf, `argument ${v.leaf}`));
  const leafPlaces = new Map<number, Place>();
  for (const v of roots) {
    const over = inPlace.get(v);
    if (over) leafPlaces.set(over.leaf!, placeOf.get(over)!);
    placeOf.set(v, over ? placeOf.get(over)! : add(v.size, null, `${v.op!.name} [${v.shape.join(", ")}]`));
  }

  const steps: Step[] = [];
  for (const v of order) {
    const over = inPlace.get(v);
    const { temps, dispatches, reads } = over ? emitMap(v, roots, target, over) : emitted.get(v)!;
    const scratch = temps.map((bytes) => add(bytes / 4, null, `partial results of ${v.op!.name}`));
    const resolve = (slot: Slot): Place =>
      "input" in slot ? placeOf.get(reads[slot.input]!)! : "temp" in slot ? scratch[slot.temp]! : placeOf.get(v)!;
    for (const { kernel, reads: from, writes } of dispatches) {
      steps.push({ kernel, reads: from.map(resolve), writes: writes.map(resolve) });
    }
  }
  return { steps, places, outputs: graph.outputs.map((v) => placeOf.get(base(v))!), inPlace: leafPlaces };
}

/** Roots and their kernels; a kernel with more buffers than a stage may bind is cut in two. */
function fuse(graph: Graph, target: Target): { roots: Roots; emitted: Map<Value, Emitted> } {
  const forced = new Set<Value>();
  for (;;) {
    const roots = chooseRoots(graph, forced);
    const emitted = new Map<Value, Emitted>();
    let cut: Value | null = null;
    for (const v of roots) {
      const result = emit(v, roots, target);
      emitted.set(v, result);
      const most = Math.max(0, ...result.dispatches.map((d) => d.reads.length + d.writes.length));
      if (most > target.maxStorageBuffers) {
        cut = cuttingPoint(v, roots, target);
        break;
      }
    }
    if (cut === null) return { roots, emitted };
    forced.add(cut);
  }
}

function emit(v: Value, roots: Roots, target: Target): Emitted {
  const { lowering } = v.op!;
  if (v.size === 0) return { temps: [], dispatches: [], reads: [], aligned: [] };
  if (lowering.kind === "map") return emitMap(v, roots, target);
  if (lowering.kind === "reduce") return emitReduce(v, roots, target);
  if (lowering.kind !== "kernel") throw new Error(`${v.op!.name}: a ${lowering.kind} has no kernel`);
  return { ...lowering.lower(v.inputs, v, v.attrs, target), reads: v.inputs.map(base), aligned: [] };
}

/** The inner value with most reads that still fits into a kernel of its own. */
function cuttingPoint(root: Value, roots: Roots, target: Target): Value {
  let best: Value | null = null;
  let most = 1;
  const readsOf = (v: Value, top: boolean): Set<Value> => {
    if (!top && (v.leaf !== null || roots.has(v))) return new Set([v]);
    const reads = new Set<Value>();
    for (const x of v.inputs) for (const read of readsOf(x, false)) reads.add(read);
    if (!top && !isView(v) && reads.size > most && reads.size < target.maxStorageBuffers) {
      best = v;
      most = reads.size;
    }
    return reads;
  };
  const all = readsOf(root, true);
  if (best === null) {
    throw new VoxgradError(
      `${root.op!.name}: needs ${all.size + 1} storage buffers in one kernel, the adapter binds ${target.maxStorageBuffers}`,
    );
  }
  return best;
}

/** Outputs that may overwrite a donated leaf: elementwise on it, and nothing reads the leaf later. */
function overwrite(
  graph: Graph,
  order: readonly Value[],
  emitted: ReadonlyMap<Value, Emitted>,
  donated: ReadonlySet<number>,
): Map<Value, Value> {
  const result = new Map<Value, Value>();
  if (donated.size === 0) return result;
  const lastRead = new Map<Value, Value>();
  for (const v of order) for (const read of emitted.get(v)!.reads) lastRead.set(read, v);
  const outputs = new Set(graph.outputs.map(base));
  const taken = new Set<Value>();
  for (const v of order) {
    if (!outputs.has(v)) continue;
    const leaf = emitted
      .get(v)!
      .aligned.find(
        (x) => x.leaf !== null && donated.has(x.leaf) && lastRead.get(x) === v && !taken.has(x) && !outputs.has(x),
      );
    if (!leaf) continue;
    taken.add(leaf);
    result.set(v, leaf);
  }
  return result;
}
