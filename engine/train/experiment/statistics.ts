/** Statistics of paired differences: Wilcoxon's signed-rank test, and bootstrap intervals of the mean. */
import { VoxgradError } from "../../core/errors.ts";
import { Prng } from "../../core/prng.ts";

export interface SignedRankTest {
  /** Two-sided; NaN if all differences are 0. */
  readonly p: number;
  /** The smaller of the sums of ranks of positive and of negative differences. */
  readonly statistic: number;
  /** Number of non-zero differences. */
  readonly count: number;
}

/** Up to this many differences the exact distribution is used, as in scipy. */
const EXACT = 50;

/**
 * Wilcoxon's signed-rank test, two-sided: whether paired differences are symmetric about 0. Zeros are dropped, as in
 * Wilcoxon's method, and ties share the mean of their ranks.
 *
 * @param options method: exact, the distribution over all signs given the ranks, ties included; approximate, the normal
 *   distribution with a correction for ties but not for continuity (scipy.stats.wilcoxon's default); auto: exact up to
 *   50 differences
 * @throws VoxgradError for a difference that is not finite
 * @example
 * ```ts
 * import { wilcoxon } from "voxgrad/train";
 *
 * wilcoxon([6, 8, 14, 16, 23, 24, 28, 29, 41, -48, 49, 56, 60, -67, 75]).p; // 0.0413
 * ```
 */
export function wilcoxon(
  differences: readonly number[],
  options: { method?: "auto" | "exact" | "approximate" } = {},
): SignedRankTest {
  const strange = differences.find((d) => !Number.isFinite(d));
  if (strange !== undefined) throw new VoxgradError(`wilcoxon: a difference is ${strange}; leave such pairs out`);
  const sorted = differences.filter((d) => d !== 0).sort((a, b) => Math.abs(a) - Math.abs(b));
  const n = sorted.length;
  if (n === 0) return { p: NaN, statistic: 0, count: 0 };
  // Twice the ranks, which are integers even for ties.
  const ranks = new Array<number>(n);
  let tied = 0;
  for (let from = 0, to = 0; from < n; from = to) {
    while (to < n && Math.abs(sorted[to]) === Math.abs(sorted[from])) to++;
    ranks.fill(from + 1 + to, from, to);
    tied += (to - from) ** 3 - (to - from);
  }
  const positive = sorted.reduce((sum, d, i) => sum + (d > 0 ? ranks[i] : 0), 0);
  const smaller = Math.min(positive, n * (n + 1) - positive);
  const { method = "auto" } = options;
  const exact = method === "exact" || (method === "auto" && n <= EXACT);
  return { p: exact ? exactP(ranks, smaller) : normalP(n, tied, smaller / 2), statistic: smaller / 2, count: n };
}

/** Twice the share of the 2^n choices of signs whose positive ranks sum to at most `smaller`. */
function exactP(ranks: readonly number[], smaller: number): number {
  const shares = new Float64Array(ranks.reduce((a, b) => a + b, 0) + 1);
  shares[0] = 1;
  let top = 0;
  for (const rank of ranks) {
    top += rank;
    for (let sum = top; sum >= 0; sum--) shares[sum] = (shares[sum] + (sum >= rank ? shares[sum - rank] : 0)) / 2;
  }
  return Math.min(1, 2 * shares.subarray(0, smaller + 1).reduce((a, b) => a + b, 0));
}

function normalP(n: number, tied: number, smaller: number): number {
  const variance = (n * (n + 1) * (2 * n + 1) - tied / 2) / 24;
  return erfc((n * (n + 1) / 4 - smaller) / Math.sqrt(2 * variance));
}

/** Complementary error function of x >= 0: the series of erf below 2, Laplace's continued fraction above. */
function erfc(x: number): number {
  const density = Math.exp(-x * x) / Math.sqrt(Math.PI);
  if (x < 2) {
    // erf x = 2 exp(-x^2) / sqrt(pi) * sum of 2^k x^(2k+1) / (1 3 5 ... (2k+1))
    let sum = 0;
    for (let k = 0, term = x; k < 60; k++, term *= (2 * x * x) / (2 * k + 1)) sum += term;
    return 1 - 2 * density * sum;
  }
  let fraction = x;
  for (let k = 80; k >= 1; k--) fraction = x + k / 2 / fraction;
  return density / fraction;
}

export interface Interval {
  readonly mean: number;
  readonly low: number;
  readonly high: number;
}

/**
 * A bootstrap interval of the mean of a table of groups x items, such as seeds x cases, whose rows and columns are both
 * samples: each resample draws both groups and items with replacement and weights every value by how often its group
 * times its item was drawn (the pigeonhole bootstrap; Owen 2007, Annals of Applied Statistics 1:386). Neither values of
 * one item nor values of one group count as independent. The limits are percentiles of the resampled means. With a
 * single group only items are drawn, and vice versa.
 *
 * @param values [group][item]; NaN if missing
 * @param options level: default 0.95; resamples: default 10000; seed: default 0. The same numbers give the same
 *   interval on every host
 * @returns NaN limits for fewer than two values
 * @example
 * ```ts
 * import { bootstrapInterval } from "voxgrad/train";
 *
 * const { mean, low, high } = bootstrapInterval([[0.01, 0.02, 0.03], [0.02, 0.01, 0.05]]); // seeds x cases
 * ```
 */
export function bootstrapInterval(
  values: readonly (readonly number[])[],
  options: { level?: number; resamples?: number; seed?: number } = {},
): Interval {
  const { level = 0.95, resamples = 10_000, seed = 0 } = options;
  // Groups and items without a value are excluded.
  const rows = values.filter((row) => row.some((v) => !Number.isNaN(v)));
  const columns = (rows[0] ?? []).map((_, i) => i).filter((i) => rows.some((row) => !Number.isNaN(row[i])));
  const cells = rows.flatMap((row, g) =>
    columns.flatMap((column, i) => (Number.isNaN(row[column]) ? [] : [{ g, i, value: row[column] }]))
  );
  const mean = cells.reduce((sum, { value }) => sum + value, 0) / cells.length;
  if (cells.length < 2) return { mean, low: NaN, high: NaN };
  const prng = new Prng(seed);
  const draw = (n: number): Uint32Array => {
    const times = new Uint32Array(n);
    for (let k = 0; k < n; k++) times[prng.integer(n)]++;
    return times;
  };
  const means = new Float64Array(resamples);
  for (let r = 0; r < resamples;) {
    const [groups, items] = [draw(rows.length), draw(columns.length)];
    let [sum, weight] = [0, 0];
    for (const { g, i, value } of cells) {
      const times = groups[g] * items[i];
      sum += times * value;
      weight += times;
    }
    // If some are missing, a resample may contain none of the others.
    if (weight > 0) means[r++] = sum / weight;
  }
  means.sort();
  return { mean, low: percentile(means, (1 - level) / 2), high: percentile(means, (1 + level) / 2) };
}

/** Percentile of sorted values, interpolated as in numpy.percentile. */
function percentile(sorted: Float64Array, share: number): number {
  const at = share * (sorted.length - 1);
  const below = Math.floor(at);
  const above = Math.min(below + 1, sorted.length - 1);
  return sorted[below] + (at - below) * (sorted[above] - sorted[below]);
}
