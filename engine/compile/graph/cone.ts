/** The cone of a fused kernel: the values it computes and reads, found in the graph before code generation. */
import { isFloat } from "../../core/dtype.ts";
import type { Value } from "./lower.ts";

export interface Cone {
  /** Values computed inside the kernel. */
  readonly inside: readonly Value[];
  /** Values read from memory, in order of first use. */
  readonly reads: readonly Value[];
}

/** Values that kernels write to memory. */
export class Materialized extends Set<Value> {
  /** The cones that were asked for, once all values are here. */
  readonly cones = new Map<Value, Cone>();
}

const isInMemory = (v: Value, materialized: Materialized): boolean => v.leaf !== null || materialized.has(v);

/** The cone of `starts`. The walk is iterative because a cone may be deep before it is cut. */
export function coneFrom(starts: readonly Value[], materialized: Materialized): Cone {
  const seen = new Set<Value>();
  const inside: Value[] = [];
  const reads: Value[] = [];
  const stack = [...starts].reverse();
  while (stack.length > 0) {
    const v = stack.pop()!;
    if (seen.has(v)) continue;
    seen.add(v);
    if (isInMemory(v, materialized)) {
      reads.push(v);
      continue;
    }
    inside.push(v);
    for (let k = v.inputs.length - 1; k >= 0; k--) stack.push(v.inputs[k]);
  }
  return { inside, reads };
}

/** The cone of a materialized value. */
export function coneOf(root: Value, materialized: Materialized): Cone {
  let cone = materialized.cones.get(root);
  if (!cone) materialized.cones.set(root, cone = coneFrom(root.inputs, materialized));
  return cone;
}

/** The cone of values that one kernel computes. */
export const coneOfAll = (roots: readonly Value[], materialized: Materialized): Cone =>
  roots.length === 1 ? coneOf(roots[0], materialized) : coneFrom(roots.flatMap((v) => v.inputs), materialized);

/** Whether input x of v is read at the index at which v is written. */
const keepsPlace = (v: Value, x: Value): boolean => {
  const { lowering } = v.op!;
  return lowering.kind === "view" || (lowering.kind === "map" && lowering.elementwise === true && x.size === v.size);
};

/** The reads of `root` at other indices than the one it is written at. */
export const movedReads = (root: Value, materialized: Materialized): Set<Value> =>
  movedFrom(root.inputs.map((x) => [x, !keepsPlace(root, x)]), materialized);

/**
 * The reads of a cone at other indices than the starts'; the flags mark starts that are themselves at another index.
 */
export function movedFrom(starts: readonly (readonly [Value, boolean])[], materialized: Materialized): Set<Value> {
  const moved = new Set<Value>();
  const seen = [new Set<Value>(), new Set<Value>()];
  const stack = [...starts];
  while (stack.length > 0) {
    const [v, isMoved] = stack.pop()!;
    if (seen[Number(isMoved)].has(v)) continue;
    seen[Number(isMoved)].add(v);
    if (isInMemory(v, materialized)) {
      if (isMoved) moved.add(v);
    } else for (const x of v.inputs) stack.push([x, isMoved || !keepsPlace(v, x)]);
  }
  return moved;
}

/** Arithmetic operators on floats, counted per element. */
export const operationsOf = (inside: readonly Value[]): number =>
  inside.filter(({ op, dtype }) => op!.lowering.kind === "map" && op!.lowering.cost > 0 && isFloat(dtype)).length;

/**
 * Upper bound on the number of values a kernel computes, counting one per index at which a value is needed; stops at
 * `limit`. Movement operators change the index, elementwise ones keep it.
 */
export function computedPlaces(starts: readonly Value[], materialized: Materialized, limit: number): number {
  // Indices are numbered in the order in which they are met.
  let indices = 1;
  const broadcasts = new Map<string, number>();
  const indexOf = (v: Value, x: Value, place: number): number => {
    if (keepsPlace(v, x)) return place;
    const { lowering } = v.op!;
    if (lowering.kind !== "map" || !lowering.elementwise) return indices++;
    // Operators that broadcast alike read at the same index.
    const key = `${place} of [${x.shape}]`;
    const index = broadcasts.get(key) ?? indices++;
    broadcasts.set(key, index);
    return index;
  };
  const seen: Set<Value>[] = [];
  const stack = starts.filter((v) => !isInMemory(v, materialized));
  const places = stack.map(() => 0);
  let count = 0;
  while (stack.length > 0) {
    const v = stack.pop()!;
    const place = places.pop()!;
    const here = (seen[place] ??= new Set());
    if (here.has(v)) continue;
    here.add(v);
    if (++count >= limit) return limit;
    for (const x of v.inputs) {
      if (isInMemory(x, materialized)) continue;
      stack.push(x);
      places.push(indexOf(v, x, place));
    }
  }
  return count;
}
