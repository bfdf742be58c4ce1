/** Kernels of a schedule that become one: sums over the same rows, and sums with what is made of them. */
import type { ReduceAttrs } from "../core/op.ts";
import { type Target, windowElements } from "../../shaders/types.ts";
import { TooLarge } from "./emit/body.ts";
import type { Emitted } from "./emit/emitted.ts";
import { emitKernel } from "./emit/kernel.ts";
import { emitMap } from "./emit/map.ts";
import { emitFinished, emitReduce } from "./emit/reduce.ts";
import type { Roots } from "./fuse.ts";
import type { Value } from "./lower.ts";

/** Values that one sequence of kernels computes. */
export interface Unit {
  readonly members: readonly Value[];
  readonly emitted: Emitted;
  /** The same, for one elementwise member, with the result in the memory of a value that it reads. */
  readonly overwriting?: (alias: Value) => Emitted;
  /** The same with one more member, made of moments of parts of the first; null where that does not do. */
  readonly leaving?: (moments: Value) => Emitted | null;
}

/** Units in which a partner is looked for, and values that one unit computes, at most. */
const REACH = 12;
const MOST = 4;

/** Equal keys, one loop for both; null for what has no partner. */
function rowsKey(v: Value, most: number): string | null {
  if (v.op!.lowering.kind !== "reduce" || (v.attrs as ReduceAttrs).by !== "sum") return null;
  const [input] = v.inputs as [Value];
  if (input.size > most) return null;
  return `${input.dtype}[${input.shape}] ${(v.attrs as ReduceAttrs).axes}`;
}

/** Joins each sum with an earlier one where neither order of reading nor the number of bindings stands against it. */
export function joinSums(
  order: readonly Value[],
  emitted: ReadonlyMap<Value, Emitted>,
  roots: Roots,
  target: Target,
): Unit[] {
  const most = windowElements(target);
  const units: Unit[] = [];
  for (const v of order) {
    const own = emitted.get(v)!;
    const key = rowsKey(v, most);
    const place = key === null ? null : findPlace(units, own, key, most);
    const joined = place === null
      ? null
      : unlessTooLarge(() => emitReduce([...units[place.partner].members, v], roots, target));
    if (!place || !joined || tooMany(joined, target)) {
      const overwriting = (alias: Value): Emitted => emitMap(v, roots, target, alias);
      const { kind } = v.op!.lowering;
      units.push({
        members: [v],
        emitted: own,
        ...(kind === "map" ? { overwriting } : {}),
        ...(kind === "kernel" ? { leaving: (moments) => storing(v, null, moments, roots, target) } : {}),
      });
      continue;
    }
    const unit = { members: [...units[place.partner].members, v], emitted: joined };
    if (place.early) units[place.partner] = unit;
    else units.push(...units.splice(place.partner, 1).map(() => unit));
  }
  return units;
}

/** What `emit` gives; null where that would compute too much in one kernel. */
function unlessTooLarge<T>(emit: () => T): T | null {
  try {
    return emit();
  } catch (error) {
    if (error instanceof TooLarge) return null;
    throw error;
  }
}

const tooMany = ({ dispatches }: Emitted, target: Target): boolean =>
  dispatches.some((d) => d.reads.length + d.writes.length > target.maxStorageBuffers);

/** The unit that v joins: at that unit's place if what v reads is there by then, else at the end if nobody asks before. */
function findPlace(
  units: readonly Unit[],
  own: Emitted,
  key: string,
  most: number,
): { partner: number; early: boolean } | null {
  for (let k = units.length - 1; k >= Math.max(0, units.length - REACH); k--) {
    const { members } = units[k];
    if (members.length >= MOST || rowsKey(members[0], most) !== key) continue;
    const made = new Set(units.slice(k).flatMap((unit) => unit.members));
    if (!own.reads.some((x) => made.has(x))) return { partner: k, early: true };
    const asked = [own, ...units.slice(k + 1).map((unit) => unit.emitted)].some((e) =>
      e.reads.some((x) => members.includes(x))
    );
    if (!asked) return { partner: k, early: false };
  }
  return null;
}

/** The kernels of x with functions where they write the result; null where that does not do. */
function storing(x: Value, finish: Value | null, moments: Value | null, roots: Roots, target: Target): Emitted | null {
  const { lowering } = x.op!;
  if (lowering.kind !== "kernel" || !lowering.stores || x.size > windowElements(target)) return null;
  const emitted = emitKernel(x, roots, target, finish, moments);
  return emitted && "dispatches" in emitted ? emitted : null;
}

/** The kernels of x that write v, an elementwise function of it, instead; null where that does not do. */
function finishing(x: Value, v: Value, roots: Roots, target: Target): Omit<Unit, "members"> | null {
  if (x.op!.lowering.kind === "kernel") {
    const emitted = storing(x, v, null, roots, target);
    return emitted && { emitted, leaving: (moments) => storing(x, v, moments, roots, target) };
  }
  if (rowsKey(x, windowElements(target)) === null) return null;
  const emitted = emitFinished(x, v, roots, target);
  return emitted && { emitted, overwriting: (alias) => emitFinished(x, v, roots, target, alias)! };
}

/**
 * Writes an elementwise function of a sum or of a convolution in its stead, where nothing else needs that and all that the
 * function reads is there in time: the update of a parameter ends its gradient, a mean is scaled as it is made.
 */
export function joinFinishes(
  units: readonly Unit[],
  outputs: ReadonlySet<Value>,
  roots: Roots,
  target: Target,
): Unit[] {
  const most = windowElements(target);
  const place = new Map<Value, number>();
  const readers = new Map<Value, Set<Unit>>();
  units.forEach((unit, k) => {
    for (const v of unit.members) place.set(v, k);
    for (const x of unit.emitted.reads) {
      if (!readers.has(x)) readers.set(x, new Set());
      readers.get(x)!.add(unit);
    }
  });
  const result = [...units] as (Unit | null)[];
  units.forEach((unit, k) => {
    const [v] = unit.members as [Value];
    if (unit.members.length > 1 || v.op!.lowering.kind !== "map" || v.size > most) return;
    const early = (x: Value, at: number): boolean => (place.get(x) ?? -1) < at;
    for (const x of unit.emitted.reads) {
      const at = place.get(x);
      if (at === undefined || outputs.has(x) || readers.get(x)!.size > 1 || units[at].members.length > 1) continue;
      if (result[at] !== units[at] || !unit.emitted.reads.every((y) => y === x || early(y, at))) continue;
      const joined = finishing(x, v, roots, target);
      if (!joined || tooMany(joined.emitted, target)) continue;
      result[at] = { members: [v], ...joined };
      result[k] = null;
      place.set(v, at);
      return;
    }
  });
  return result.filter((unit): unit is Unit => unit !== null);
}

/**
 * Lets kernels leave moments of parts of what they write to a norm that follows, which then joins those and does not read
 * the tensor for them.
 */
export function joinMoments(units: readonly Unit[], target: Target): Unit[] {
  if (!target.leavesMoments) return [...units];
  const result = [...units];
  const place = new Map<Value, number>();
  units.forEach((unit, k) => unit.members.forEach((v) => place.set(v, k)));
  const joined = new Set<Unit>();
  for (const unit of units) {
    const [v] = unit.members as [Value];
    const { lowering } = v.op!;
    if (lowering.kind !== "kernel" || !lowering.fromPartialMoments) continue;
    for (const at of unit.emitted.reads.map((x) => place.get(x))) {
      if (at === undefined || result[at] !== units[at]) continue;
      const emitted = units[at].leaving?.(v);
      if (!emitted || tooMany(emitted, target)) continue;
      result[at] = { members: [...units[at].members, v], emitted };
      joined.add(unit);
      break;
    }
  }
  return result.filter((unit) => !joined.has(unit));
}
