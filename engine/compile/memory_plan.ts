/** Memory planning: values with disjoint lifetimes share a buffer. */
import type { Bound, Place, Schedule } from "./schedule.ts";

export interface MemoryPlan {
  /** Bytes of each arena slot. */
  readonly slots: readonly number[];
  /** The slot of each place that is in the arena. */
  readonly slotOf: ReadonlyMap<Place, number>;
  readonly arenaBytes: number;
  /** Arena, arguments and outputs together: the peak memory of a call. */
  readonly peakBytes: number;
}

/** The steps from the first to the last that use a place. */
interface Life {
  readonly from: number;
  to: number;
}

interface Slot {
  readonly bytes: number;
  /** Those of its places. */
  readonly lives: Life[];
}

function isFree({ lives }: Slot, { from, to }: Life): boolean {
  for (const other of lives) if (other.to >= from && other.from <= to) return false;
  return true;
}

/**
 * Greedy by size: assigns each place, largest first, to the smallest slot without a live occupant. Since sizes
 * decrease, a slot never grows. Slots are separate buffers, so that a kernel may read one and write another.
 */
export function planMemory(schedule: Schedule): MemoryPlan {
  const lives = new Map<Place, Life>();
  schedule.steps.forEach(({ reads, writes }, k) => {
    const touch = ({ place }: Bound): void => {
      const life = lives.get(place);
      if (life) life.to = k;
      else lives.set(place, { from: k, to: k });
    };
    reads.forEach(touch);
    writes.forEach(touch);
  });
  const outputs = new Set(schedule.outputs);
  const inArena = schedule.places.filter((p) => p.leaf === null && !outputs.has(p) && lives.has(p));
  const sorted = inArena.sort((a, b) => b.bytes - a.bytes || lives.get(a)!.from - lives.get(b)!.from);
  const slots: Slot[] = [];
  const slotOf = new Map<Place, number>();
  for (const place of sorted) {
    const life = lives.get(place)!;
    let best = -1;
    for (let k = 0; k < slots.length; k++) {
      if ((best < 0 || slots[k].bytes < slots[best].bytes) && isFree(slots[k], life)) best = k;
    }
    if (best < 0) best = slots.push({ bytes: place.bytes, lives: [] }) - 1;
    slots[best].lives.push(life);
    slotOf.set(place, best);
  }
  const total = (list: Iterable<{ bytes: number }>): number => [...list].reduce((sum, x) => sum + x.bytes, 0);
  const arenaBytes = total(slots);
  const outside = new Set([...schedule.places.filter((p) => p.leaf !== null), ...outputs]);
  return { slots: slots.map((s) => s.bytes), slotOf, arenaBytes, peakBytes: arenaBytes + total(outside) };
}
