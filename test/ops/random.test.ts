/** Keys and draws: reproducible, independent, of the right distribution. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import * as vg from "../../engine/mod.ts";
import { threefry } from "../../engine/core/prng.ts";
import { refuses } from "../helpers/refuse.ts";

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
  for (const n of [0, 1, 64, 257, 70001]) {
    const p = [...(await random.permutation(random.key(n), { n }).data())];
    // The rank of each word.
    const words = [...(await random.bits32(random.key(n), { shape: [n] }).data())];
    const order = words.map((_, k) => k).sort((i, j) => words[i] - words[j] || i - j);
    assert.ok(order.every((place, rank) => p[place] === rank));
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

test("random.foldIn() is the Threefry block of the number, apart from splits and draws", async () => {
  const seed = 2 ** 40 + 12345;
  const key: [number, number] = [seed % 2 ** 32, Math.floor(seed / 2 ** 32)];
  for (const n of [0, 1, 77, 2 ** 32 - 1]) {
    const wanted = [...threefry(key[0], key[1], n, 2)];
    assert.equal([...await random.foldIn(random.key(seed), n).data()], wanted, `number ${n}`);
    const word = vg.tensor(new Uint32Array([n])).reshape({ shape: [] });
    assert.equal([...await random.foldIn(random.key(seed), word).data()], wanted, `tensor ${n}`);
  }
  const steps = vg.tensor([3, 4, 5], { dtype: "i32" });
  const keys = await vg.vmap((step: vg.Tensor) => random.foldIn(random.key(seed), step))(steps).data();
  assert.equal([...keys], [3, 4, 5].flatMap((n) => [...threefry(key[0], key[1], n, 2)]));
  await refuses(() => random.foldIn(random.key(1), -1), /random.foldIn: the number is an integer from 0 to 2\^32 - 1/);
  await refuses(() => random.foldIn(random.key(1), vg.tensor(1)), /cast\("i32"\) it/);
});

test("random.randint() is the upper word of word times span, plus min", async () => {
  for (const [min, max] of [[0, 6], [-5, 17], [-(2 ** 31), 2 ** 31 - 1], [3, 4]]) {
    const got = await random.randint(random.key(9), { shape: [50], min, max }).data();
    const wanted = Array.from({ length: 50 }, (_, k) => {
      const word = BigInt(threefry(9, 0, k, 0)[0] >>> 0);
      return Number((word * BigInt(max - min)) >> 32n) + min;
    });
    assert.equal([...got], wanted, `${min} to ${max}`);
  }
  await refuses(() => random.randint(random.key(1), { shape: [2], min: 3, max: 3 }), /min 3 is not below max 3/);
  await refuses(() => random.randint(random.key(1), { shape: [2], max: 0.5 }), /max is an integer of 32 bits/);
});

// Mean and variance of a truncated normal by scipy.stats.truncnorm(a, b).stats("mv").
const truncated: [number, number, number, number][] = [
  [-2, 2, 0, 0.7737413035499232],
  [0.5, 1, 0.7345404588412985, 0.020517995256375987],
  [3, Infinity, 3.28309865493044, 0.07055918678525586],
  [-Infinity, -6, -6.158482604544618, 0.023987636789045252],
  [-1, Infinity, 0.2875999709391784, 0.6296862857766055],
];
for (const [min, max, mean, variance] of truncated) {
  test(`random.truncatedNormal() from ${min} to ${max} keeps its bounds and has SciPy's moments`, async () => {
    const n = 100_000;
    const x = await random.truncatedNormal(random.key(11), { shape: [n], min, max }).data();
    assert.ok(x.every((v) => v >= min && v <= max));
    const got = moments(x);
    assert.ok(Math.abs(got.mean - mean) < 5 * Math.sqrt(variance / n) + 1e-5, `mean ${got.mean}`);
    assert.ok(Math.abs(got.variance / variance - 1) < 0.05, `variance ${got.variance}`);
  });
}

test("random.gumbel(), categorical() and gamma() have the moments and frequencies of their distributions", async () => {
  const n = 100_000;
  const g = moments(await random.gumbel(random.key(12), { shape: [n] }).data());
  assert.ok(Math.abs(g.mean - 0.5772156649) < 5 * Math.sqrt(Math.PI ** 2 / 6 / n));
  assert.ok(Math.abs(g.variance - Math.PI ** 2 / 6) < 0.05);

  const logits = vg.tensor([[0, 1, -Infinity, 2], [3, 3, 3, 3]]);
  const drawn = await random.categorical(random.key(13), logits, { shape: [n, 2] }).data();
  const total = 1 + Math.E + Math.E ** 2;
  [[1 / total, Math.E / total, 0, Math.E ** 2 / total], [0.25, 0.25, 0.25, 0.25]].forEach((wanted, row) =>
    wanted.forEach((p, label) => {
      let count = 0;
      for (let k = row; k < 2 * n; k += 2) count += Number(drawn[k] === label);
      assert.ok(Math.abs(count / n - p) <= 5 * Math.sqrt(p * (1 - p) / n), `class ${label} of row ${row}: ${count}`);
    })
  );
  const across = random.categorical(random.key(13), logits, { axis: 0 });
  assert.equal([...across.shape], [4]);
  await refuses(
    () => random.categorical(random.key(1), logits, { shape: [3] }),
    /the shape ends with .*\[2\], got \[3\]/,
  );

  for (const a of [0.1, 0.5, 1, 3, 200]) {
    const got = moments(await random.gamma(random.key(14), { shape: [n], concentration: a }).data());
    assert.ok(Math.abs(got.mean - a) < 5 * Math.sqrt(a / n), `gamma(${a}): mean ${got.mean}`);
    assert.ok(Math.abs(got.variance / a - 1) < 0.1, `gamma(${a}): variance ${got.variance}`);
  }
  assert.ok(Number.isNaN(await random.gamma(random.key(1), { shape: [], concentration: vg.tensor(-1) }).item()));
});

test("random.permutation() of a tensor reorders whole entries along an axis", async () => {
  const x = vg.arange(35).reshape({ shape: [5, 7] });
  const y = await random.permutation(random.key(4), { of: x, axis: 1 }).data();
  const order = [...await random.permutation(random.key(4), { n: 7 }).data()];
  assert.equal([...y], Array.from({ length: 5 }, (_, row) => order.map((k) => 7 * row + k)).flat());
});

test.after(vg.closeDevice);
test.run();
