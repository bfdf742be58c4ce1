/** k-means clustering of intensities on the host in float64; seeded, and identical on every host. */
import { check, checkOptions, show } from "../../core/errors.ts";
import { Prng } from "../../core/prng.ts";

export interface KMeansOptions {
  /** How many clusters. */
  readonly clusters: number;
  /** Values per point; default 1. */
  readonly channels?: number;
  /** Seed of the initial centers; default 0. */
  readonly seed?: number;
  /** Number of restarts, of which the one with the lowest inertia is kept; default 10, as in scikit-learn. */
  readonly restarts?: number;
  /** Most iterations per restart; default 300. Stops earlier when no point changes its cluster. */
  readonly iterations?: number;
}

export interface KMeans {
  /** [clusters, channels], by ascending mean over the channels. */
  readonly centers: Float64Array<ArrayBuffer>;
  /** Sum over all points of the squared distance to the nearest center. */
  readonly inertia: number;
}

/**
 * Lloyd's k-means (IEEE Trans. Inf. Theory 28, 1982) initialized by k-means++ (Arthur and Vassilvitskii 2007): the
 * first center is a random point, each next one is drawn with probability proportional to its squared distance to the
 * nearest center so far.
 *
 * @param points [channels, n], channel by channel as an image
 * @returns centers in ascending order of their mean, so that cluster numbers are ordered by brightness
 * @throws VoxgradError for fewer distinct points than clusters, values that are not finite, options out of range
 * @example
 * ```ts
 * import { kMeans } from "voxgrad/imaging";
 *
 * const { centers } = kMeans([1, 2, 1, 9, 8], { clusters: 2 }); // 1.33, 8.5
 * ```
 */
export function kMeans(points: ArrayLike<number>, options: KMeansOptions): KMeans {
  const name = "kMeans";
  checkOptions(name, options, ["clusters", "channels", "seed", "restarts", "iterations"]);
  const { clusters, channels = 1, seed = 0, restarts = 10, iterations = 300 } = options;
  for (const [key, value] of Object.entries({ clusters, channels, restarts, iterations })) {
    check(Number.isInteger(value) && value >= 1, name, () => `${key} is an integer from 1 on, got ${show(value)}`);
  }
  const count = points.length / channels;
  check(Number.isInteger(count), name, () => `${points.length} values are no whole points of ${channels} channels`);
  const data = Float64Array.from(points);
  check(data.every(Number.isFinite), name, () => "the points hold NaN or infinity; replace or leave out those");
  const task: Task = { data, count, channels, clusters };
  const prng = new Prng(seed);
  let best: KMeans | undefined;
  for (let start = 0; start < restarts; start++) {
    const found = lloyd(task, firstCenters(task, prng.fork(start)), iterations);
    if (!best || found.inertia < best.inertia) best = found;
  }
  return { centers: ordered(best!.centers, channels), inertia: best!.inertia };
}

/**
 * The nearest center of each point; the first of ties.
 *
 * @param points [channels, n], channel by channel as an image
 * @param centers [clusters, channels], from kMeans
 * @returns [n], numbers from 0
 * @throws VoxgradError if the lengths do not match, or for more than 256 centers
 * @example
 * ```ts
 * import { nearestCenters } from "voxgrad/imaging";
 *
 * nearestCenters([1, 2, 1, 9, 8], [1.33, 8.5]); // [0, 0, 0, 1, 1]
 * ```
 */
export function nearestCenters(
  points: ArrayLike<number>,
  centers: ArrayLike<number>,
  options: { channels?: number } = {},
): Uint8Array<ArrayBuffer> {
  const { channels = 1 } = options;
  const [count, clusters] = [points.length / channels, centers.length / channels];
  const fits = Number.isInteger(count) && Number.isInteger(clusters) && clusters >= 1 && clusters <= 256;
  check(
    fits,
    "nearestCenters",
    () => `got ${points.length} and ${centers.length} values, for ${channels} channel(s) each`,
  );
  const labels = new Uint8Array(count);
  const least = new Float64Array(count).fill(Infinity);
  for (let k = 0; k < clusters; k++) {
    for (let i = 0; i < count; i++) {
      let square = 0;
      for (let c = 0; c < channels; c++) square += (points[c * count + i] - centers[k * channels + c]) ** 2;
      if (square < least[i]) [least[i], labels[i]] = [square, k];
    }
  }
  return labels;
}

interface Task {
  readonly data: Float64Array;
  readonly count: number;
  readonly channels: number;
  readonly clusters: number;
}

const squareTo = ({ data, count, channels }: Task, i: number, centers: Float64Array, k: number): number => {
  let square = 0;
  for (let c = 0; c < channels; c++) square += (data[c * count + i] - centers[k * channels + c]) ** 2;
  return square;
};

function firstCenters(task: Task, prng: Prng): Float64Array<ArrayBuffer> {
  const { data, count, channels, clusters } = task;
  const centers = new Float64Array(clusters * channels);
  const least = new Float64Array(count).fill(Infinity);
  for (let k = 0; k < clusters; k++) {
    const sum = k === 0 ? count : least.reduce((a, b) => a + b, 0);
    check(sum > 0, "kMeans", () => `${count} points hold ${k} different ones; ${clusters} clusters want as many`);
    let chosen = k === 0 ? prng.integer(count) : 0;
    if (k > 0) {
      let left = prng.uniform() * sum;
      // Rounding may run past the end, and a point that is already a center must not be chosen.
      for (let i = 0; i < count && left >= 0; i++) if (least[i] > 0) [chosen, left] = [i, left - least[i]];
    }
    for (let c = 0; c < channels; c++) centers[k * channels + c] = data[c * count + chosen];
    for (let i = 0; i < count; i++) least[i] = Math.min(least[i], squareTo(task, i, centers, k));
  }
  return centers;
}

function lloyd(task: Task, centers: Float64Array<ArrayBuffer>, iterations: number): KMeans {
  const { data, count, channels, clusters } = task;
  const labels = new Int32Array(count).fill(-1);
  const least = new Float64Array(count);
  for (let step = 0; step < iterations; step++) {
    let changed = 0;
    for (let i = 0; i < count; i++) {
      let [nearest, square] = [0, Infinity];
      for (let k = 0; k < clusters; k++) {
        const to = squareTo(task, i, centers, k);
        if (to < square) [nearest, square] = [k, to];
      }
      if (labels[i] !== nearest) changed++;
      labels[i] = nearest;
      least[i] = square;
    }
    if (changed === 0) break;
    const sizes = new Float64Array(clusters);
    for (let i = 0; i < count; i++) sizes[labels[i]]++;
    for (let k = 0; k < clusters; k++) {
      if (sizes[k] !== 0) continue;
      // An empty cluster gets the point farthest from its center.
      const worst = least.indexOf(least.reduce((a, b) => Math.max(a, b), 0));
      sizes[labels[worst]]--;
      labels[worst] = k;
      least[worst] = 0;
      sizes[k] = 1;
    }
    centers.fill(0);
    for (let i = 0; i < count; i++) {
      for (let c = 0; c < channels; c++) centers[labels[i] * channels + c] += data[c * count + i];
    }
    for (let at = 0; at < centers.length; at++) centers[at] /= sizes[Math.floor(at / channels)];
  }
  let inertia = 0;
  for (let i = 0; i < count; i++) {
    let square = Infinity;
    for (let k = 0; k < clusters; k++) square = Math.min(square, squareTo(task, i, centers, k));
    inertia += square;
  }
  return { centers, inertia };
}

function ordered(centers: Float64Array, channels: number): Float64Array<ArrayBuffer> {
  const rows = Array.from(
    { length: centers.length / channels },
    (_, k) => [...centers.subarray(k * channels, (k + 1) * channels)],
  );
  const sum = (row: readonly number[]): number => row.reduce((a, b) => a + b, 0);
  return Float64Array.from(rows.sort((a, b) => sum(a) - sum(b)).flat());
}
