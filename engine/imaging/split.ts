/** Which cases train and which are held out. */
import { Prng } from "./prng.ts";

/**
 * Splits case ids at random, the same way for the same seed whatever the order of the ids. A case keeps its rank when
 * others are added, so a grown dataset moves few cases between the parts.
 *
 * @param options heldOut: how many cases (1 or more), or which fraction of them (below 1, rounded, at least one)
 * @returns both parts sorted by id
 * @throws RangeError when nothing would be left for training
 * @example const { training, heldOut } = splitCases(dataset.cases.map((c) => c.id), { seed: 1, heldOut: 0.2 });
 */
export function splitCases(
  ids: readonly string[],
  options: { seed: number; heldOut: number },
): { training: string[]; heldOut: string[] } {
  const { seed, heldOut } = options;
  const count =
    heldOut >= 1 ? heldOut : heldOut > 0 ? Math.max(1, Math.round(heldOut * ids.length)) : heldOut === 0 ? 0 : NaN;
  if (!(Number.isInteger(count) && count >= 0 && count < ids.length)) {
    throw new RangeError(
      `splitCases: heldOut ${heldOut} of ${ids.length} cases; wanted a count or fraction that leaves some`,
    );
  }
  if (new Set(ids).size !== ids.length) throw new RangeError("splitCases: an id occurs twice; give each case one id");
  const prng = new Prng(seed).fork("split");
  const ranked = ids.map((id) => ({ id, rank: prng.fork(id).uint32() }));
  ranked.sort((a, b) => a.rank - b.rank || (a.id < b.id ? -1 : 1));
  const sorted = (part: { id: string }[]) => part.map((entry) => entry.id).sort();
  return { training: sorted(ranked.slice(count)), heldOut: sorted(ranked.slice(0, count)) };
}
