/** Which cases train and which are held out. */
import { VoxgradError } from "../../core/errors.ts";
import { showJson } from "../../core/json.ts";
import { Prng } from "../../core/prng.ts";

/** Cases that train and cases that are held out. The names are nnU-Net's, as in its splits_final.json. */
export interface Fold {
  readonly train: readonly string[];
  readonly val: readonly string[];
}

/**
 * Splits for cross-validation: every case is held out once. The same seed gives the same splits, whatever the order of
 * the ids; fold sizes differ by one case at most.
 *
 * @param options folds: how many, from 2 to the number of cases; seed: default 12345; setOf: the set of each case, to
 *   divide every set evenly
 * @throws VoxgradError for other numbers of folds, or an id that occurs twice
 * @example
 * ```ts
 * import { kFold } from "voxgrad/imaging";
 *
 * const [{ train, val }] = kFold(["a", "b", "c", "d", "e", "f"], { folds: 3 });
 * val.length; // 2
 * ```
 */
export function kFold(
  ids: readonly string[],
  options: { folds: number; seed?: number; setOf?: (id: string) => string },
): Fold[] {
  const { folds, seed = 12345, setOf = () => "" } = options;
  if (!(Number.isInteger(folds) && folds >= 2 && folds <= ids.length)) {
    throw new VoxgradError(`kFold: ${folds} folds of ${ids.length} cases; wanted 2 or more, and a case for each`);
  }
  if (new Set(ids).size !== ids.length) throw new VoxgradError("kFold: an id occurs twice; give each case one id");
  const prng = new Prng(seed).fork("split");
  const rank = new Map(ids.map((id) => [id, prng.fork(id).uint32()]));
  const compare = (a: string, b: string): number => (a === b ? 0 : a < b ? -1 : 1);
  const bySet = (a: string, b: string): number => compare(setOf(a), setOf(b));
  // Cases are dealt round-robin, so sort those of a set together.
  const ranked = [...ids].sort((a, b) => bySet(a, b) || rank.get(a)! - rank.get(b)! || compare(a, b));
  return Array.from({ length: folds }, (_, fold) => ({
    train: ranked.filter((_, k) => k % folds !== fold).sort(),
    val: ranked.filter((_, k) => k % folds === fold).sort(),
  }));
}

/**
 * Checks splits that a user wrote, in the form of nnU-Net's splits_final.json: [{ "train": [...], "val": [...] }, ...].
 *
 * @param json the content of the file
 * @param ids the cases of the dataset
 * @param file for messages
 * @throws VoxgradError naming the fold and the case
 */
export function checkSplits(json: unknown, ids: readonly string[], file: string): Fold[] {
  const fail = (problem: string): never => {
    throw new VoxgradError(`${file}: ${problem}; wanted [{ "train": ["CASE", ...], "val": ["CASE", ...] }, ...]`);
  };
  if (!Array.isArray(json) || json.length === 0) return fail("it is no list of folds");
  const known = new Set(ids);
  return json.map((fold: unknown, index): Fold => {
    const { train, val } = (typeof fold === "object" && fold !== null ? fold : {}) as Record<string, unknown>;
    const seen = new Set<string>();
    const list = (name: string, part: unknown): string[] => {
      if (!Array.isArray(part)) return fail(`fold ${index} has no list "${name}"`);
      for (const id of part as unknown[]) {
        if (typeof id !== "string" || !known.has(id)) fail(`fold ${index} names ${showJson(id)}, which is no case`);
        if (seen.has(id as string)) fail(`fold ${index} names ${id} twice`);
        seen.add(id as string);
      }
      return part as string[];
    };
    const parts = { train: list("train", train), val: list("val", val) };
    if (parts.train.length === 0) fail(`fold ${index} has nothing to train on`);
    return parts;
  });
}
