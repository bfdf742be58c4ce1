/**
 * Decides which values to materialize: those that fusion chooses, and those that keep kernels within adapter limits.
 */
import { VoxgradError } from "../../core/errors.ts";
import { chunkElements, type Target } from "../../../shaders/types.ts";
import { oversized } from "./bound.ts";
import { computedPlaces, type Cone, coneOf, type Materialized } from "../graph/cone.ts";
import { MOST_COMPUTED, TooLarge } from "../emit/body.ts";
import { bindingsOf } from "../emit/emitted.ts";
import { unfusableInput } from "../emit/kernel.ts";
import { emitMap } from "../emit/map.ts";
import { emitReduce } from "../emit/reduce.ts";
import { chooseMaterialized } from "./fuse.ts";
import { type Graph, isView, storageOf, type Value } from "../graph/lower.ts";

/** Cuts made one at a time; after this many, each round makes all cuts it finds. */
const SINGLE_CUTS = 32;
/** The count of computed places ignores views; a kernel above this count is built to verify its size. */
const CERTAIN_PLACES = MOST_COMPUTED / 4;

/** The values that are written to memory. A kernel that would bind or compute too much is cut in two. */
export function materialize(graph: Graph, target: Target): Materialized {
  const forced = new Set<Value>();
  // Skips kernels whose cone has not changed.
  const checked = new Map<Value, Cone>();
  for (let round = 0;; round++) {
    const materialized = chooseMaterialized(graph, forced, target);
    const large = oversized(graph, materialized, target);
    if (large.length > 0) {
      for (const v of large) forced.add(v);
      continue;
    }
    let cuts = 0;
    for (const v of materialized) {
      const cone = coneOf(v, materialized);
      if (isSameCone(checked.get(v), cone)) continue;
      const cut = cutOf(v, cone, materialized, target);
      if (cut === null) {
        checked.set(v, cone);
        continue;
      }
      forced.add(cut);
      cuts++;
      if (round < SINGLE_CUTS) break;
    }
    if (cuts === 0) return materialized;
  }
}

const isSameList = (a: readonly Value[], b: readonly Value[]): boolean =>
  a.length === b.length && a.every((v, k) => v === b[k]);
const isSameCone = (a: Cone | undefined, b: Cone): boolean =>
  a !== undefined && isSameList(a.reads, b.reads) && isSameList(a.inside, b.inside);

/** A value to materialize so that the kernel of v stays within limits; null if it already does. */
function cutOf(v: Value, { inside, reads }: Cone, materialized: Materialized, target: Target): Value | null {
  const { kind } = v.op!.lowering;
  // A step of a loop is cut on its own.
  if (v.size === 0 || kind === "loop") return null;
  if (kind === "kernel") {
    const unfusable = unfusableInput(v, materialized, target);
    if (unfusable || inside.every(isView)) return unfusable;
    const needed = reads.length + 1;
    return needed > target.maxStorageBuffers ? cuttingPoint(v, materialized, target, needed) : null;
  }
  const most = chunkElements(target);
  const isPlain = v.size <= most && reads.every((x) => x.size > 0 && x.size <= most);
  // A multi-pass argmax writes two values.
  const bindings = reads.length + (kind === "reduce" ? 2 : 1);
  if (
    isPlain && bindings <= target.maxStorageBuffers &&
    computedPlaces(v.inputs, materialized, CERTAIN_PLACES) < CERTAIN_PLACES
  ) return null;
  try {
    const emitted = kind === "map"
      ? emitMap(v, materialized, target, null, true)
      : emitReduce([v], materialized, target, { isBounded: true });
    const needed = bindingsOf(emitted);
    return needed > target.maxStorageBuffers ? cuttingPoint(v, materialized, target, needed) : null;
  } catch (error) {
    if (error instanceof TooLarge) return error.stored;
    throw error;
  }
}

/** The error for a kernel that cannot be cut. */
export const tooManyBindings = (v: Value, needed: number, target: Target): VoxgradError =>
  new VoxgradError(
    `${v.op!.name} [${v.shape.join(", ")}]: needs ${needed} bindings of at most ` +
      `${target.maxBindingBytes} bytes in one kernel, the adapter has ${target.maxStorageBuffers}; use smaller tensors`,
  );

/** The inner value with the most reads that still fits into its own kernel. */
function cuttingPoint(root: Value, materialized: Materialized, target: Target, needed: number): Value {
  let best: Value | null = null;
  let most = 1;
  // Large values take one binding per chunk, except reads at exactly the index being written.
  const bindings = (v: Value, reads: ReadonlySet<Value>): number => {
    const chunks = (x: Value): number => Math.ceil(x.size / chunkElements(target));
    return [...reads].reduce(
      (sum, x) => sum + (x.size === v.size && v.op!.lowering.kind === "map" ? 1 : chunks(x)),
      0,
    );
  };
  const found = new Map<Value, Set<Value>>();
  const readsOf = (v: Value, top: boolean): Set<Value> => {
    if (!top && (v.leaf !== null || materialized.has(v))) return new Set([v]);
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
  // Parts of large values may take fewer chunks than counted here, so fall back to the operand with the largest cone.
  const operands = root.inputs.map(storageOf).filter((x) => x.op?.lowering.kind === "map" && !materialized.has(x));
  const made = (x: Value): number => coneOf(x, materialized).inside.length;
  best ??= operands.reduce<Value | null>((a, b) => (a && made(a) >= made(b) ? a : b), null);
  if (best === null) throw tooManyBindings(root, needed, target);
  return best;
}
