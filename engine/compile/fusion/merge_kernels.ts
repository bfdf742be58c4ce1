/** Merges kernels: sums over the same rows, sums and convolutions with their epilogues, and statistics. */
import { chunkElements, type Target } from "../../../shaders/types.ts";
import { computedPlaces, type Materialized } from "../graph/cone.ts";
import { MOST_COMPUTED, TooLarge } from "../emit/body.ts";
import { canEndWith } from "../emit/kernel.ts";
import { emitReduce } from "../emit/reduce.ts";
import {
  bindsTooMany,
  epilogueGroup,
  groupOf,
  haveSameRows,
  isShareable,
  type KernelGroup,
  kernelGroup,
  reduceGroup,
} from "./kernel_groups.ts";
import type { Value } from "../graph/lower.ts";

/** Maximum number of groups to search for a partner, and of values that one group computes. */
const REACH = 12;
const MOST_MEMBERS = 4;

/** Merges each sum with an earlier one over the same rows, if the order of reads and the bindings allow it. */
export function mergeReductions(order: readonly Value[], materialized: Materialized, target: Target): KernelGroup[] {
  const groups: KernelGroup[] = [];
  for (const v of order) {
    const group = groupOf(v, materialized, target);
    const place = isShareable(v, target) ? findPartner(groups, group, target) : null;
    const merged = place && reduceGroup([...groups[place.partner].members, v], materialized, target);
    if (!place || !merged || !isWithinLimits(merged, materialized, target)) groups.push(group);
    else if (place.isEarly) groups[place.partner] = merged;
    else {
      groups.splice(place.partner, 1);
      groups.push(merged);
    }
  }
  return groups;
}

/** Whether merged reductions stay within the limits on computed values and bindings. */
function isWithinLimits(group: KernelGroup, materialized: Materialized, target: Target): boolean {
  if (bindsTooMany(group, target)) return false;
  const { members } = group;
  const certain = MOST_COMPUTED / 4;
  if (computedPlaces(members.flatMap((v) => v.inputs), materialized, certain) < certain) return true;
  try {
    emitReduce(members, materialized, target, { isBounded: true });
    return true;
  } catch (error) {
    if (error instanceof TooLarge) return false;
    throw error;
  }
}

/**
 * The group that v joins: at that group's position if everything v reads is ready by then, else at the end if nothing
 * reads the group before.
 */
function findPartner(
  groups: readonly KernelGroup[],
  joining: KernelGroup,
  target: Target,
): { partner: number; isEarly: boolean } | null {
  for (let k = groups.length - 1; k >= Math.max(0, groups.length - REACH); k--) {
    const { members, reads } = groups[k];
    const [first] = members;
    // Sums of unrelated values would save a dispatch, but each number of them is another pipeline.
    if (!reads.some((x) => joining.reads.includes(x))) continue;
    const fits = members.length < MOST_MEMBERS && isShareable(first, target) && haveSameRows(first, joining.members[0]);
    if (!fits) continue;
    const written = new Set(groups.slice(k).flatMap((group) => group.members));
    if (!joining.reads.some((x) => written.has(x))) return { partner: k, isEarly: true };
    const isRead = [joining, ...groups.slice(k + 1)].some(({ reads }) => reads.some((x) => members.includes(x)));
    if (!isRead) return { partner: k, isEarly: false };
  }
  return null;
}

/** The kernels of x with v, an elementwise function of it, fused in as an epilogue; null if it cannot be fused. */
function withEpilogue(x: Value, v: Value, materialized: Materialized, target: Target): KernelGroup | null {
  const { lowering } = x.op!;
  if (lowering.kind === "kernel") {
    if (!lowering.fusesEpilogue || x.size > chunkElements(target)) return null;
    return kernelGroup(x, { epilogue: v }, materialized, target);
  }
  if (!isShareable(x, target) || v.dtype !== "f32" || x.dtype !== "f32") return null;
  return canEndWith(x, v, materialized, target) ? epilogueGroup(x, v, materialized, target) : null;
}

/**
 * Fuses an elementwise function into the sum or convolution that it reads, if that has no other use and the function's
 * other inputs are ready in time. For example, a parameter update fuses into its gradient, and a mean scales its sum.
 */
export function fuseEpilogues(
  groups: readonly KernelGroup[],
  outputs: ReadonlySet<Value>,
  materialized: Materialized,
  target: Target,
): KernelGroup[] {
  const place = new Map<Value, number>();
  const readers = new Map<Value, Set<KernelGroup>>();
  groups.forEach((group, k) => {
    for (const v of group.members) place.set(v, k);
    for (const x of group.reads) {
      if (!readers.has(x)) readers.set(x, new Set());
      readers.get(x)!.add(group);
    }
  });
  const result = [...groups] as (KernelGroup | null)[];
  groups.forEach((group, k) => {
    const [v] = group.members;
    if (group.members.length > 1 || v.op!.lowering.kind !== "map" || v.size > chunkElements(target)) return;
    const isEarlier = (x: Value, at: number): boolean => (place.get(x) ?? -1) < at;
    for (const x of group.reads) {
      const at = place.get(x);
      if (at === undefined || outputs.has(x) || readers.get(x)!.size > 1 || groups[at].members.length > 1) continue;
      if (result[at] !== groups[at] || !group.reads.every((y) => y === x || isEarlier(y, at))) continue;
      const fused = withEpilogue(x, v, materialized, target);
      if (!fused || bindsTooMany(fused, target)) continue;
      result[at] = fused;
      result[k] = null;
      place.set(v, at);
      return;
    }
  });
  return result.filter((group): group is KernelGroup => group !== null);
}

/**
 * Lets kernels output statistics of parts of their result for a norm that follows, which merges those instead of
 * reading the tensor.
 */
export function shareStatistics(
  groups: readonly KernelGroup[],
  materialized: Materialized,
  target: Target,
): KernelGroup[] {
  if (!target.sharesStatistics) return [...groups];
  const result = [...groups];
  const place = new Map<Value, number>();
  groups.forEach((group, k) => group.members.forEach((v) => place.set(v, k)));
  const joined = new Set<KernelGroup>();
  for (const group of groups) {
    const [v] = group.members;
    const { lowering } = v.op!;
    if (lowering.kind !== "kernel" || !lowering.fromPartialMoments) continue;
    for (const at of group.reads.map((x) => place.get(x))) {
      if (at === undefined || result[at] !== groups[at]) continue;
      const shared = withStatistics(groups[at], v, materialized, target);
      if (!shared || bindsTooMany(shared, target)) continue;
      result[at] = shared;
      joined.add(group);
      break;
    }
  }
  return result.filter((group) => !joined.has(group));
}

/** The same kernels, also computing statistics; null if they cannot. */
function withStatistics(
  { kernel }: KernelGroup,
  statistics: Value,
  materialized: Materialized,
  target: Target,
): KernelGroup | null {
  if (!kernel) return null;
  const { value, options } = kernel;
  const { lowering } = value.op!;
  if (lowering.kind !== "kernel" || !lowering.fusesEpilogue || value.size > chunkElements(target)) return null;
  return kernelGroup(value, { ...options, statistics }, materialized, target);
}
