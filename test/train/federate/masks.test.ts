import { test } from "uvu";
import * as assert from "uvu/assert";
import { Prng } from "../../../engine/core/prng.ts";
import { aggregate, masked, privacySpent, roundSeed, siteKey, toFixed } from "../../../engine/train/federate/masks.ts";
import { normalNumbers } from "../../../engine/train/federate/client.ts";
import { refuses } from "../../helpers/refuse.ts";

const prng = new Prng(1);
const names = ["a", "b", "c", "d"];
const keys = new Map(await Promise.all(names.map(async (name) => [name, await siteKey()] as const)));
const members = names.map((site, k) => ({ site, key: keys.get(site)!.publicKey, samples: 3 + 4 * k }));
const updates = new Map(names.map((name) => [name, Float32Array.from({ length: 501 }, () => prng.uniform(-0.1, 0.1))]));
const round = 3;
const sent = new Map(
  await Promise.all(
    names.map(async (own) =>
      [own, await masked(updates.get(own)!, { own, key: keys.get(own)!, round, members })] as const
    ),
  ),
);

/** The mean in f64, weighted by samples. */
const meanOf = (sites: readonly string[]): number[] => {
  const own = members.filter(({ site }) => sites.includes(site));
  const total = own.reduce((sum, { samples }) => sum + samples, 0);
  return Array.from(
    { length: 501 },
    (_, k) => own.reduce((sum, { site, samples }) => sum + updates.get(site)![k] * samples, 0) / total,
  );
};
const near = (got: Float32Array, wanted: readonly number[]): void =>
  wanted.forEach((value, k) => assert.ok(Math.abs(got[k] - value) < 1e-6, `${k}: ${got[k]}, ${value}`));

test("aggregate() is the weighted mean of the updates, whatever the order in which they come", async () => {
  const mean = await aggregate(sent, members, []);
  near(mean, meanOf(names));
  assert.equal(await aggregate(new Map([...sent].reverse()), members, []), mean);
});

test("aggregate() takes out the masks of a site that is missing, by what the others reveal", async () => {
  const left = names.filter((name) => name !== "b");
  const came = new Map([...sent].filter(([name]) => name !== "b"));
  const seeds = await Promise.all(left.map(async (site) => ({
    ...{ site, missing: "b" },
    seed: await roundSeed(keys.get(site)!, keys.get("b")!.publicKey, round),
  })));
  near(await aggregate(came, members, seeds), meanOf(left));
});

test("masked() hides an update: its bits say nothing of the weights", async () => {
  const one = sent.get("a")!;
  const mean = one.reduce((sum, value) => sum + value / 2 ** 32, 0) / one.length;
  assert.ok(Math.abs(mean - 0.5) < 0.06, String(mean));
  const other = await masked(updates.get("a")!, { own: "a", key: keys.get("a")!, round: 4, members });
  assert.ok(other.filter((value, k) => value === one[k]).length < 3);
});

test("roundSeed() is the same for both sites of a pair", async () => {
  const [a, b] = [keys.get("a")!, keys.get("b")!];
  assert.is(await roundSeed(a, b.publicKey, 1), await roundSeed(b, a.publicKey, 1));
});

test("toFixed() refuses updates that are not finite or too large", async () => {
  await refuses(() => toFixed(Float32Array.of(0, NaN), 1, 4), /its update holds NaN; its training has diverged/);
  await refuses(() => toFixed(Float32Array.of(1000), 1, 4), /its update changes a weight by 1000, more than 128/);
});

test("privacySpent() is that of one Gaussian mechanism within its known bounds", () => {
  // The optimum of T a / (2 s^2) + log(1 / d) / (a - 1) over a is T / (2 s^2) + sqrt(2 T log(1 / d)) / s.
  for (const [noise, rounds] of [[1, 1], [2, 20], [8, 100]]) {
    const exact = rounds / (2 * noise * noise) + Math.sqrt(2 * rounds * Math.log(1e5)) / noise;
    assert.ok(Math.abs(privacySpent(new Array<number>(rounds).fill(noise)) / exact - 1) < 1e-3);
  }
});

test("privacySpent() adds what rounds of other noise spend", () => {
  // Two rounds of noise s sqrt(2) spend what one of noise s does.
  const [one, two] = [privacySpent([1.5]), privacySpent([1.5 * Math.SQRT2, 1.5 * Math.SQRT2])];
  assert.ok(Math.abs(one / two - 1) < 1e-12, `${one}, ${two}`);
  assert.ok(privacySpent([2, 1]) > privacySpent([2, 2]));
  assert.is(privacySpent([0]), Infinity);
});

test("normalNumbers() have the moments of a normal distribution, and no two are alike", () => {
  const count = 200_001;
  const [a, b] = [normalNumbers(count), normalNumbers(count)];
  const mean = (f: (x: number) => number): number => a.reduce((sum, x) => sum + f(x), 0) / count;
  // Deviations of the means are 1, sqrt(2), sqrt(15) and sqrt(96) over sqrt(count).
  const wanted = [[1, 0, 1], [2, 1, Math.SQRT2], [3, 0, Math.sqrt(15)], [4, 3, Math.sqrt(96)]];
  for (const [power, value, deviation] of wanted) {
    const got = mean((x) => x ** power);
    assert.ok(Math.abs(got - value) < (6 * deviation) / Math.sqrt(count), `moment ${power}: ${got}`);
  }
  const along = a.reduce((sum, x, k) => sum + x * b[k], 0) / count;
  assert.ok(Math.abs(along) < 6 / Math.sqrt(count), `two calls: ${along}`);
  assert.ok(new Set(a).size > 0.999 * count);
  assert.equal(normalNumbers(0).length, 0);
});

test.run();
