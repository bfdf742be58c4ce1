/** Statistics of differences between arms: intervals over seeds and over cases, and a test of the signs. */
import { VoxgradError } from "../../core/errors.ts";
import { Prng } from "../../core/prng.ts";

export interface Interval {
  readonly mean: number;
  readonly low: number;
  readonly high: number;
}

const meanOf = (values: readonly number[]): number => values.reduce((sum, v) => sum + v, 0) / values.length;

function checkFinite(name: string, values: readonly number[]): void {
  const strange = values.find((v) => !Number.isFinite(v));
  if (strange !== undefined) throw new VoxgradError(`${name}: a value is ${strange}; leave such values out`);
}

/**
 * Student's t interval of the mean of independent values, such as one difference for each seed. A bootstrap of so few
 * values is too narrow: the 95 % interval of 3 normal values leaves
 * out their mean one time in three, that of 6 one time in seven.
 *
 * @param options level: default 0.95
 * @returns NaN limits for fewer than two values
 * @throws VoxgradError for a value that is not finite
 * @example
 * ```ts
 * import { tInterval } from "voxgrad/train";
 *
 * tInterval([0.01, 0.02, 0.06]); // { mean: 0.03, low: -0.0357, high: 0.0957 }
 * ```
 */
export function tInterval(values: readonly number[], options: { level?: number } = {}): Interval {
  checkFinite("tInterval", values);
  const { level = 0.95 } = options;
  const [n, mean] = [values.length, meanOf(values)];
  if (n < 2) return { mean, low: NaN, high: NaN };
  const variance = values.reduce((sum, v) => sum + (v - mean) ** 2, 0) / (n - 1);
  const half = tQuantile(level, n - 1) * Math.sqrt(variance / n);
  return { mean, low: mean - half, high: mean + half };
}

/** The t that |T| of Student's distribution stays below with a probability, by bisection of its angle. */
function tQuantile(level: number, freedom: number): number {
  let [low, high] = [0, Math.PI / 2];
  for (let k = 0; k < 60; k++) {
    const middle = (low + high) / 2;
    if (tProbability(middle, freedom) < level) low = middle;
    else high = middle;
  }
  return Math.sqrt(freedom) * Math.tan(low);
}

/** P(|T| < sqrt(n) tan(angle)), n degrees of freedom: Abramowitz and Stegun 26.7.3 and 26.7.4. */
function tProbability(angle: number, n: number): number {
  const square = Math.cos(angle) ** 2;
  const isOdd = n % 2 === 1;
  let [term, sum] = [isOdd ? Math.cos(angle) : 1, 0];
  for (let k = isOdd ? 3 : 2; k <= n; k += 2) {
    sum += term;
    term *= square * (k - 1) / k;
  }
  const total = Math.sin(angle) * sum;
  return isOdd ? (2 / Math.PI) * (angle + total) : total;
}

/** Above this many values there are too many signs to try. */
export const MOST_SIGNS = 20;

/**
 * The exact sign-flip test of a mean of 0, two-sided: the share of all 2^n choices of signs of the values whose mean is
 * at least as far from 0. It cannot be below 2 / 2^n.
 *
 * @param values independent and, if their mean is 0, symmetric about it: differences of seeds; at most 20
 * @throws VoxgradError for a value that is not finite, or more than 20
 * @example
 * ```ts
 * import { signFlipTest } from "voxgrad/train";
 *
 * signFlipTest([1, 2, 3, 4, 5, -1]); // 0.09375
 * ```
 */
export function signFlipTest(values: readonly number[]): number {
  checkFinite("signFlipTest", values);
  const n = values.length;
  if (n > MOST_SIGNS) throw new VoxgradError(`signFlipTest: got ${n} values, wanted at most ${MOST_SIGNS}`);
  const size = values.reduce((sum, v) => sum + Math.abs(v), 0);
  // Sums that are equal may differ by rounding.
  const bound = Math.abs(values.reduce((sum, v) => sum + v, 0)) - 1e-12 * size;
  let beyond = 0;
  for (let signs = 0; signs < 2 ** n; signs++) {
    const sum = values.reduce((total, v, k) => total + ((signs >> k) & 1 ? -v : v), 0);
    if (Math.abs(sum) >= bound) beyond++;
  }
  return beyond / 2 ** n;
}

/**
 * The percentile bootstrap interval of a mean: values are drawn with replacement.
 *
 * @param options level: default 0.95; resamples: default 10000; seed: default 0. The same numbers give the same
 *   interval on every host
 * @returns NaN limits for fewer than two values
 * @throws VoxgradError for a value that is not finite
 * @example
 * ```ts
 * import { bootstrapInterval } from "voxgrad/train";
 *
 * const { mean, low, high } = bootstrapInterval([0.01, 0.02, 0.03, 0.02, 0.01, 0.05]);
 * ```
 */
export function bootstrapInterval(
  values: readonly number[],
  options: { level?: number; resamples?: number; seed?: number } = {},
): Interval {
  checkFinite("bootstrapInterval", values);
  const { level = 0.95, resamples = 10_000, seed = 0 } = options;
  const [n, mean] = [values.length, meanOf(values)];
  if (n < 2) return { mean, low: NaN, high: NaN };
  const prng = new Prng(seed);
  const means = Float64Array.from({ length: resamples }, () => {
    let sum = 0;
    for (let k = 0; k < n; k++) sum += values[prng.integer(n)];
    return sum / n;
  }).sort();
  return { mean, low: percentile(means, (1 - level) / 2), high: percentile(means, (1 + level) / 2) };
}

/** Percentile of sorted values, interpolated as in numpy.percentile. */
function percentile(sorted: Float64Array, share: number): number {
  const at = share * (sorted.length - 1);
  const below = Math.floor(at);
  const above = Math.min(below + 1, sorted.length - 1);
  return sorted[below] + (at - below) * (sorted[above] - sorted[below]);
}
