/** Keys and draws: reproducible, independent, of the right distribution. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import * as vg from "../../engine/mod.ts";
import { threefry } from "../../engine/core/prng.ts";

const { random } = vg;
const moments = (x: ArrayLike<number>): { mean: number; variance: number } => {
  let [s, q] = [0, 0];
  for (let k = 0; k < x.length; k++) ((s += x[k]), (q += x[k] ** 2));
  return { mean: s / x.length, variance: q / x.length - (s / x.length) ** 2 };
};

test("random.uniform() follows the host's Threefry, element by element", async () => {
  const seed = 2 ** 40 + 12345;
  const got = await random.uniform(random.key(seed), { shape: [3, 5] }).data();
  const key: [number, number] = [seed % 2 ** 32, Math.floor(seed / 2 ** 32)];
  const wanted = Float32Array.from({ length: 15 }, (_, k) => (threefry(key[0], key[1], k, 0)[0] >>> 8) / 2 ** 24);
  assert.equal([...got], [...wanted]);
});

test("random.uniform() and normal() have the moments of their distributions", async () => {
  const n = 200_000;
  const [a, b] = random.split(random.key(7));
  const u = moments(await random.uniform(a, { shape: [n], min: -1, max: 3 }).data());
  // Five standard errors of the mean: sd / sqrt(n).
  assert.ok(Math.abs(u.mean - 1) < 5 * Math.sqrt(16 / 12 / n) && Math.abs(u.variance - 16 / 12) < 0.02);
  const z = moments(await random.normal(b, { shape: [n], mean: 2, std: 3 }).data());
  assert.ok(Math.abs(z.mean - 2) < 15 / Math.sqrt(n) && Math.abs(z.variance - 9) < 0.15);
});

test("random.split() gives keys that differ from each other and from draws", async () => {
  const parent = random.key(3);
  const keys = await Promise.all(random.split(parent, 50).map(async (k) => (await k.data()).join()));
  assert.is(new Set([...keys, (await parent.data()).join()]).size, 51);
  const again = await Promise.all(random.split(random.key(3), 50).map(async (k) => (await k.data()).join()));
  assert.equal(again, keys);
});

test("random.bernoulli() hits its probability; random.permutation() is one", async () => {
  const hits = await random
    .bernoulli(random.key(5), { shape: [100_000], p: 0.3 })
    .sum()
    .item();
  assert.ok(Math.abs(hits / 100_000 - 0.3) < 5 * Math.sqrt(0.21 / 100_000));
  for (const n of [0, 1, 257]) {
    const p = [...(await random.permutation(random.key(n), { n }).data())];
    assert.equal(
      [...p].sort((x, y) => x - y),
      Array.from({ length: n }, (_, k) => k),
    );
  }
});

test("random.key() refuses what is not a seed", () => {
  for (const seed of [-1, 0.5, NaN, 2 ** 53]) {
    assert.throws(() => random.key(seed), /random.key: the seed is an integer/);
  }
});

test.after(vg.closeDevice);
test.run();
