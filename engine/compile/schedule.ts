/** From a graph to dispatches in order, each naming the memory that it reads and writes. */
import { bytesOf, bytesPerElement, type DType } from "../core/dtype.ts";
import { VoxgradError } from "../core/errors.ts";
import { type Kernel, type Slot, type Target, windowElements } from "../../shaders/types.ts";
import { TooLarge } from "./emit/body.ts";
import { coneOf, oversized } from "./bound.ts";
import type { Emitted } from "./emit/emitted.ts";
import { emitKernel } from "./emit/kernel.ts";
import { emitMap } from "./emit/map.ts";
import { emitReduce } from "./emit/reduce.ts";
import { chooseRoots, type Roots } from "./fuse.ts";
import { joinFinishes, joinMoments, joinSums, type Unit } from "./join.ts";
import { base, type Graph, isView, type Value } from "./lower.ts";

/** A piece of memory of a program. */
export interface Place {
  readonly dtype: DType;
  readonly bytes: number;
  /** Given from outside. */
  readonly leaf: number | null;
  /** What it is for, in messages. */
  readonly label: string;
}

/** A place, or a part of it, as a kernel sees it. */
export interface Bound {
  readonly place: Place;
  readonly offset: number;
  readonly bytes: number;
}

export interface Step {
  readonly kernel: Kernel;
  readonly reads: readonly Bound[];
  readonly writes: readonly Bound[];
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
  const half = graph.values.find((v) => v.dtype === "f16");
  if (half && !target.features.has("shader-f16")) {
    throw new VoxgradError(
      `${half.op?.name ?? "tensor"}: dtype f16 needs the WebGPU feature shader-f16, which this adapter lacks; use f32`,
    );
  }
  const { roots, emitted } = fuse(graph, target);
  const order = graph.values.filter((v) => roots.has(v) && v.size > 0);
  const outputs = new Set(graph.outputs.map(base));
  const joined = joinMoments(joinFinishes(joinSums(order, emitted, roots, target), outputs, roots, target), target);
  const units = soonest(joined, outputs, donated);
  // What only a joined kernel asks for has no memory.
  const kept = new Set(units.flatMap((unit) => unit.members));
  const inPlace = overwrite(graph, units, donated);

  const places: Place[] = [];
  const placeOf = new Map<Value, Place>();
  const add = (elements: number, dtype: DType, leaf: number | null, label: string): Place => {
    const place: Place = { dtype, bytes: bytesOf(elements, dtype), leaf, label };
    places.push(place);
    return place;
  };
  for (const v of graph.values) if (v.leaf !== null) placeOf.set(v, add(v.size, v.dtype, v.leaf, `argument ${v.leaf}`));
  const leafPlaces = new Map<number, Place>();
  for (const v of [...roots].filter((v) => kept.has(v) || v.size === 0)) {
    const over = inPlace.get(v);
    if (over) leafPlaces.set(over.leaf!, placeOf.get(over)!);
    placeOf.set(v, over ? placeOf.get(over)! : add(v.size, v.dtype, null, `${v.op!.name} [${v.shape.join(", ")}]`));
  }

  const bind = (place: Place, window?: number): Bound => {
    if (window === undefined) return { place, offset: 0, bytes: place.bytes };
    const width = windowElements(target) * bytesPerElement(place.dtype);
    return { place, offset: window * width, bytes: Math.min(width, place.bytes - window * width) };
  };
  const steps: Step[] = [];
  for (const { members, emitted: own, overwriting } of units) {
    const [v] = members as [Value];
    const over = inPlace.get(v);
    const { temps, dispatches, reads } = over ? overwriting!(over) : own;
    const scratch = temps.map((bytes) => add(bytes / 4, "u32", null, `partial results of ${v.op!.name}`));
    const resolve = (slot: Slot): Bound => {
      if ("temp" in slot) return bind(scratch[slot.temp]);
      return bind(placeOf.get("input" in slot ? reads[slot.input] : members[slot.output])!, slot.window);
    };
    for (const { kernel, reads: from, writes } of dispatches) {
      steps.push({ kernel, reads: from.map(resolve), writes: writes.map(resolve) });
    }
  }
  return { steps, places, outputs: graph.outputs.map((v) => placeOf.get(base(v))!), inPlace: leafPlaces };
}

/** Cuts that are found one at a time; after so many, a round cuts wherever something is to be cut. */
const SINGLE_CUTS = 32;

/** Roots and their kernels; a kernel with more buffers than a stage may bind is cut in two. */
function fuse(graph: Graph, target: Target): { roots: Roots; emitted: Map<Value, Emitted> } {
  const forced = new Set<Value>();
  // Kernels stay as they are while nothing that they are made of becomes a root or ceases to be one.
  const known = new Map<Value, { readonly emitted: Emitted; readonly touched: ReadonlySet<Value> }>();
  let before: Roots = new Set();
  for (let round = 0;; round++) {
    const roots = chooseRoots(graph, forced, target);
    const large = oversized(graph, roots, target);
    if (large.length > 0) {
      for (const v of large) forced.add(v);
      continue;
    }
    const changed = [...roots].filter((v) => !before.has(v)).concat([...before].filter((v) => !roots.has(v)));
    for (const [v, { touched }] of known) if (!roots.has(v) || changed.some((x) => touched.has(x))) known.delete(v);
    before = roots;
    let cuts = 0;
    for (const v of roots) {
      if (known.has(v)) continue;
      const result = emit(v, roots, target);
      let cut = "stored" in result ? result.stored : null;
      if (!("stored" in result)) {
        const most = Math.max(0, ...result.dispatches.map((d) => d.reads.length + d.writes.length));
        if (most > target.maxStorageBuffers) cut = cuttingPoint(v, roots, target, most);
        else {
          const { inside, reads } = coneOf(v, roots);
          known.set(v, { emitted: result, touched: new Set([...inside, ...reads]) });
        }
      }
      if (cut === null) continue;
      forced.add(cut);
      cuts++;
      if (round < SINGLE_CUTS) break;
    }
    if (cuts === 0) return { roots, emitted: new Map([...roots].map((v) => [v, known.get(v)!.emitted])) };
  }
}

function emit(v: Value, roots: Roots, target: Target): Emitted | { readonly stored: Value } {
  const { lowering } = v.op!;
  if (v.size === 0) return { temps: [], dispatches: [], reads: [], aligned: [] };
  try {
    if (lowering.kind === "map") return emitMap(v, roots, target);
    if (lowering.kind === "reduce") return emitReduce([v], roots, target);
    return emitKernel(v, roots, target)!;
  } catch (error) {
    if (error instanceof TooLarge) return { stored: error.stored };
    throw error;
  }
}

/** The inner value with most reads that still fits into a kernel of its own. */
function cuttingPoint(root: Value, roots: Roots, target: Target, needed: number): Value {
  let best: Value | null = null;
  let most = 1;
  // Large values take a binding a window, but for those that are read at the very element that is written.
  const bindings = (v: Value, reads: ReadonlySet<Value>): number => {
    const windows = (x: Value): number => Math.ceil(x.size / windowElements(target));
    return [...reads].reduce(
      (sum, x) => sum + (x.size === v.size && v.op!.lowering.kind === "map" ? 1 : windows(x)),
      0,
    );
  };
  const found = new Map<Value, Set<Value>>();
  const readsOf = (v: Value, top: boolean): Set<Value> => {
    if (!top && (v.leaf !== null || roots.has(v))) return new Set([v]);
    const known = found.get(v);
    if (known) return known;
    const reads = new Set<Value>();
    found.set(v, reads);
    for (const x of v.inputs) for (const read of readsOf(x, false)) reads.add(read);
    const count = top || isView(v) ? 0 : bindings(v, reads);
    if (count > most && count < target.maxStorageBuffers) {
      best = v;
      most = count;
    }
    return reads;
  };
  readsOf(root, true);
  // Parts of large values may take fewer windows than counted here: the operand that is made of most.
  const operands = root.inputs.map(base).filter((x) => x.op?.lowering.kind === "map" && !roots.has(x));
  const made = (x: Value): number => coneOf(x, roots).inside.length;
  best ??= operands.reduce<Value | null>((a, b) => (a && made(a) >= made(b) ? a : b), null);
  if (best === null) {
    throw new VoxgradError(
      `${root.op!.name} [${root.shape.join(", ")}]: needs ${needed} bindings of at most ` +
        `${target.maxBindingBytes} bytes in one kernel, the adapter has ${target.maxStorageBuffers}; use smaller tensors`,
    );
  }
  return best;
}

/**
 * Moves elementwise outputs that can overwrite a donated leaf, and what is computed for them alone, to where all that they
 * read is there and nothing else needs the leaf: a parameter's update follows its gradient, which then need not wait for
 * all the others.
 */
function soonest(units: readonly Unit[], outputs: ReadonlySet<Value>, donated: ReadonlySet<number>): readonly Unit[] {
  if (donated.size === 0) return units;
  const readers = new Map<Value, Unit[]>();
  for (const unit of units) for (const x of unit.emitted.reads) readers.set(x, [...(readers.get(x) ?? []), unit]);
  /** What moves, with the leaves that it may overwrite. */
  const moving = new Map<Unit, Value[]>();
  for (const unit of [...units].reverse()) {
    const [v] = unit.members as [Value];
    if (!unit.overwriting) continue;
    const leaves = outputs.has(v)
      ? unit.emitted.aligned.filter((x) => x.leaf !== null && donated.has(x.leaf) && !outputs.has(x))
      : [];
    if (leaves.length > 0 || (!outputs.has(v) && readers.get(v)?.every((user) => moving.has(user)))) {
      moving.set(unit, leaves);
    }
  }
  const made = new Map<Value, number>();
  const places = new Map<Unit, number>();
  units.forEach((unit, k) => {
    const leaves = moving.get(unit);
    const after = Math.max(-1, ...unit.emitted.reads.map((x) => made.get(x) ?? -1));
    // A reader that comes later keeps the leaf as it is.
    const last = (leaves ?? []).map((leaf) =>
      Math.max(after, ...readers.get(leaf)!.map((other) => (other === unit ? -1 : (places.get(other) ?? k))))
    );
    const at = !leaves || after < 0 ? k : last.length > 0 ? Math.min(k, ...last) : after;
    places.set(unit, at);
    for (const v of unit.members) made.set(v, at);
  });
  return [...units].sort((a, b) => places.get(a)! - places.get(b)!);
}

/** Outputs that may overwrite a donated leaf: elementwise on it, and nothing reads the leaf later. */
function overwrite(graph: Graph, units: readonly Unit[], donated: ReadonlySet<number>): Map<Value, Value> {
  const result = new Map<Value, Value>();
  if (donated.size === 0) return result;
  const lastRead = new Map<Value, Unit>();
  for (const unit of units) for (const read of unit.emitted.reads) lastRead.set(read, unit);
  const outputs = new Set(graph.outputs.map(base));
  const taken = new Set<Value>();
  for (const unit of units) {
    const [v] = unit.members as [Value];
    if (!outputs.has(v)) continue;
    const leaf = unit.emitted.aligned.find(
      (x) => x.leaf !== null && donated.has(x.leaf) && lastRead.get(x) === unit && !taken.has(x) && !outputs.has(x),
    );
    if (!leaf) continue;
    taken.add(leaf);
    result.set(v, leaf);
  }
  return result;
}
