// deno-lint-ignore-file no-explicit-any
/** k-means against the best of all partitions, and what follows from the definition. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import { kMeans, nearestCenters, Prng } from "../../../engine/imaging/mod.ts";
import { noise } from "../../helpers/noise.ts";

/** Sum of squared distances to the mean, of points [channels, n] in a cluster each. */
function inertiaOf(points: readonly number[], channels: number, labels: ArrayLike<number>, clusters: number): number {
  const n = points.length / channels;
  let sum = 0;
  for (let k = 0; k < clusters; k++) {
    const own = Array.from({ length: n }, (_, i) => i).filter((i) => labels[i] === k);
    for (let c = 0; c < channels; c++) {
      const mean = own.reduce((a, i) => a + points[c * n + i], 0) / own.length;
      for (const i of own) sum += (points[c * n + i] - mean) ** 2;
    }
  }
  return sum;
}

/** The least inertia over all ways to put n points into clusters of one or more. */
function bestOfAll(points: readonly number[], channels: number, clusters: number): number {
  const n = points.length / channels;
  const labels = new Array<number>(n).fill(0);
  let best = Infinity;
  // A point opens the next cluster or joins an open one, so no partition is met twice.
  const place = (i: number, open: number): void => {
    if (i === n) {
      if (open === clusters) best = Math.min(best, inertiaOf(points, channels, labels, clusters));
      return;
    }
    for (let k = 0; k < Math.min(open + 1, clusters); k++) {
      labels[i] = k;
      place(i + 1, Math.max(open, k + 1));
    }
  };
  place(0, 0);
  return best;
}

test("kMeans() with enough restarts finds the best of all partitions", () => {
  for (const [channels, n, clusters] of [[1, 9, 3], [2, 8, 3], [3, 7, 4], [2, 9, 2], [1, 5, 5], [1, 6, 1]] as const) {
    const points = [...noise(channels * n, 10 * n + channels)];
    const wanted = bestOfAll(points, channels, clusters);
    const { centers, inertia } = kMeans(points, { clusters, channels, restarts: 40 });
    // Both are float64 sums of a few terms.
    assert.ok(Math.abs(inertia - wanted) < 1e-12, `${channels} x ${n} in ${clusters}: ${inertia} for ${wanted}`);
    const labels = nearestCenters(points, centers, { channels });
    assert.ok(Math.abs(inertiaOf(points, channels, labels, clusters) - wanted) < 1e-12, "by nearest centers");
  }
});

test("kMeans() is never worse with more restarts, and its result is its own next step", () => {
  // Some seeds of both lists empty a cluster on the way.
  const lists = [
    { channels: 2, clusters: 4, points: [14, 6, 17, 0, 18, 14, 16, 15, 12, 12, 12, 13, 8, 9, 5, 5, 2, 15, 17, 5] },
    { channels: 1, clusters: 4, points: [19, 8, 4, 9, 14, 9, 2, 18, 15, 9, 4, 1] },
  ];
  for (const { channels, clusters, points } of lists) {
    const n = points.length / channels;
    for (let seed = 0; seed < 3000; seed++) {
      const { centers, inertia } = kMeans(points, { channels, clusters, seed, restarts: 1 });
      const labels = nearestCenters(points, centers, { channels });
      assert.is(new Set(labels).size, clusters, `seed ${seed}: no empty cluster`);
      for (let k = 0; k < clusters; k++) {
        const own = Array.from({ length: n }, (_, i) => i).filter((i) => labels[i] === k);
        for (let c = 0; c < channels; c++) {
          const mean = own.reduce((a, i) => a + points[c * n + i], 0) / own.length;
          assert.ok(Math.abs(centers[k * channels + c] - mean) < 1e-12, `seed ${seed}, center ${k}`);
        }
      }
      if (seed < 20) assert.ok(kMeans(points, { channels, clusters, seed, restarts: 5 }).inertia <= inertia);
    }
  }
});

test("kMeans() finds known clusters, ordered by their mean over the channels, the same bits for the same seed", () => {
  const [n, truth] = [901, [2, 0, 1]];
  const means = [[9, 3], [-4, 1], [2, -1]];
  const prng = new Prng(3);
  const of = Array.from({ length: n }, () => prng.integer(3));
  const points = Float32Array.from([0, 1].flatMap((c) => of.map((k) => means[k][c] + 0.3 * prng.normal())));
  for (let seed = 0; seed < 6; seed++) {
    const { centers } = kMeans(points, { clusters: 3, channels: 2, seed });
    assert.equal([...nearestCenters(points, centers, { channels: 2 })], of.map((k) => truth[k]));
    assert.equal([...centers].map(Math.round), [-4, 1, 2, -1, 9, 3], `seed ${seed}`);
    assert.equal(kMeans(points, { clusters: 3, channels: 2, seed }).centers, centers);
  }
  assert.equal([...nearestCenters([0, 1, 2, 3, 4], [1, 3])], [0, 0, 0, 1, 1], "of equally near centers the first");
  assert.is(nearestCenters([], [1, 3]).length, 0);
  const limited = kMeans(points, { clusters: 3, channels: 2, restarts: 1, iterations: 1 });
  assert.ok(limited.centers.every(Number.isFinite) && limited.inertia > 0);
});

test("kMeans() draws starting centers by squared distance", () => {
  // From 0 or 1 the point 11 comes next in 11^2 or 10^2 of 11^2 + 1 or 10^2 + 1 draws; from 11 any other.
  const points = [0, 1, 11];
  let far = 0;
  for (let seed = 0; seed < 600; seed++) {
    const { inertia } = kMeans(points, { clusters: 2, seed, restarts: 1, iterations: 1 });
    far += Number(inertia < 1);
  }
  assert.ok(far > 570, `${far} of 600`);
});

test("kMeans() throws on points that cannot be clustered", () => {
  assert.throws(
    () => kMeans([1, 2, 1, 2, 2], { clusters: 3 }),
    /kMeans: 5 points hold 2 different ones; 3 clusters want as many/,
  );
  assert.throws(() => kMeans([], { clusters: 1 }), /hold 0 different ones/);
  assert.throws(() => kMeans([1, 1, 2, 2], { clusters: 2, channels: 2 }), /hold 1 different/);
  assert.throws(() => kMeans([1, NaN], { clusters: 1 }), /NaN or infinity/);
  assert.throws(() => kMeans([1, 2, 3], { clusters: 1, channels: 2 }), /no whole points of 2 channels/);
  assert.throws(() => kMeans([1, 2], { clusters: 0 }), /clusters is an integer from 1 on, got 0/);
  assert.throws(() => kMeans([1, 2], { clusters: 1, restarts: 0.5 }), /restarts/);
  assert.throws(() => kMeans([1, 2], { clusters: 1, other: 1 } as any), /unknown option "other"/);
  assert.throws(() => nearestCenters([1, 2, 3], [1, 2], { channels: 2 }), /nearestCenters: got 3 and 2 values/);
});

test.run();
