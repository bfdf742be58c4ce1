/** Memory planning: values with disjoint lifetimes share a buffer. */
import type { Place, Schedule } from "./schedule.ts";

export interface MemoryPlan {
  /** Bytes of each arena slot. */
  readonly slots: readonly number[];
  /** The slot of each place that is in the arena. */
  readonly slotOf: ReadonlyMap<Place, number>;
  readonly arenaBytes: number;
  /** Arena, arguments and outputs together: the peak memory of a call. */
  readonly peakBytes: number;
}

/**
 * Greedy by size: assigns each place, largest first, to the smallest slot without a live occupant. Since sizes
 * decrease, a slot never grows. Slots are separate buffers, so that a kernel may read one and write another.
 */
export function planMemory(schedule: Schedule): MemoryPlan {
  const first = new Map<Place, number>();
  const last = new Map<Place, number>();
  schedule.steps.forEach((step, k) => {
    for (const { place } of [...step.reads, ...step.writes]) {
      if (!first.has(place)) first.set(place, k);
      last.set(place, k);
    }
  });
  const outputs = new Set(schedule.outputs);
  const inArena = schedule.places.filter((p) => p.leaf === null && !outputs.has(p) && first.has(p));
  const sorted = inArena.sort((a, b) => b.bytes - a.bytes || first.get(a)! - first.get(b)!);
  const slots: { bytes: number; tenants: Place[] }[] = [];
  const slotOf = new Map<Place, number>();
  for (const place of sorted) {
    const [from, to] = [first.get(place)!, last.get(place)!];
    let best = -1;
    slots.forEach((slot, k) => {
      const free = slot.tenants.every((other) => last.get(other)! < from || first.get(other)! > to);
      if (free && (best < 0 || slot.bytes < slots[best].bytes)) best = k;
    });
    if (best < 0) best = slots.push({ bytes: place.bytes, tenants: [] }) - 1;
    slots[best].tenants.push(place);
    slotOf.set(place, best);
  }
  const total = (list: Iterable<{ bytes: number }>): number => [...list].reduce((sum, x) => sum + x.bytes, 0);
  const arenaBytes = total(slots);
  const outside = new Set([...schedule.places.filter((p) => p.leaf !== null), ...outputs]);
  return { slots: slots.map((s) => s.bytes), slotOf, arenaBytes, peakBytes: arenaBytes + total(outside) };
}
