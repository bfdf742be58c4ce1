/** Memory planning: values with disjoint lifetimes share a buffer. */
import { isRepetition, type Place, type Repetition, type Schedule, type Step } from "./schedule.ts";

export interface MemoryPlan {
  /** Bytes of each arena slot. */
  readonly slots: readonly number[];
  /** The slot of each place that is in the arena. */
  readonly slotOf: ReadonlyMap<Place, number>;
  readonly arenaBytes: number;
  /** Arena, arguments and outputs together: the peak memory of a call. */
  readonly peakBytes: number;
}

/** The steps from the first to the last that use a place; those of repetitions count once. */
interface Life {
  from: number;
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

function livesOf(steps: readonly (Step | Repetition)[]): Map<Place, Life> {
  const lives = new Map<Place, Life>();
  let clock = 0;
  const touch = (place: Place, from: number, to: number): void => {
    const life = lives.get(place);
    if (!life) lives.set(place, { from, to });
    else {
      life.from = Math.min(life.from, from);
      life.to = Math.max(life.to, to);
    }
  };
  /** Returns the places that the steps use. */
  const visit = (list: readonly (Step | Repetition)[]): Set<Place> => {
    const all = new Set<Place>();
    for (const step of list) {
      const from = clock++;
      for (const place of isRepetition(step) ? shared(step) : [...step.reads, ...step.writes].map((b) => b.place)) {
        // What a repetition shares with others exists from its first step to its last.
        touch(place, from, clock - 1);
        all.add(place);
      }
    }
    return all;
  };
  const shared = ({ steps, carries, own }: Repetition): Set<Place> => {
    const places = visit(steps);
    for (const { before, after, initial, result, spare } of carries) {
      places.delete(before);
      places.delete(after);
      for (const place of [initial, result, spare]) if (place) places.add(place);
    }
    for (const place of own) places.delete(place);
    return places;
  };
  visit(steps);
  return lives;
}

/**
 * Greedy by size: assigns each place, largest first, to the smallest slot without a live occupant. Since sizes
 * decrease, a slot never grows. Slots are separate buffers, so that a kernel may read one and write another.
 */
export function planMemory(schedule: Schedule): MemoryPlan {
  const lives = livesOf(schedule.steps);
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
