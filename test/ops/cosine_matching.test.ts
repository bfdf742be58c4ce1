/**
 * cosineMatching against float64 loops and against the operators that it joins; derivatives of it are in the operator
 * table.
 */
import { test } from "uvu";
import * as assert from "uvu/assert";
import * as vg from "../../engine/mod.ts";
import { type Tensor, tensor } from "../../engine/mod.ts";
import { assertClose } from "../helpers/compare.ts";
import { noise } from "../helpers/noise.ts";

interface Given {
  readonly query: Float32Array;
  readonly prototypes: Float32Array;
  readonly used: readonly boolean[];
  readonly temperature: number;
  readonly eps: number;
}

/** sum_k S_k softmax_k(S_k) of each pixel of a query [n, c, space]; the mean of all S_k where none is used. */
function reference(n: number, c: number, space: number, g: Given): Float64Array {
  const lengthOf = (v: readonly number[]): number => Math.max(g.eps, Math.sqrt(v.reduce((a, x) => a + x * x, 0)));
  return Float64Array.from({ length: n * space }, (_, i) => {
    const q = Array.from({ length: c }, (_, k) => g.query[(Math.floor(i / space) * c + k) * space + (i % space)]);
    const s = g.used.map((_, k) => {
      const p = Array.from(g.prototypes.subarray(k * c, (k + 1) * c));
      return (g.temperature * p.reduce((a, x, j) => a + x * q[j], 0)) / (lengthOf(p) * lengthOf(q));
    });
    if (!g.used.includes(true)) return s.reduce((a, b) => a + b) / s.length;
    const top = Math.max(...s.filter((_, k) => g.used[k]));
    const e = s.map((v, k) => (g.used[k] ? Math.exp(v - top) : 0));
    return s.reduce((a, v, k) => a + v * e[k], 0) / e.reduce((a, b) => a + b);
  });
}

/** The same in operators, as the sums are written down. */
function composed(query: Tensor, prototypes: Tensor, used: Tensor, temperature: number, eps: number): Tensor {
  const [n, c, ...space] = query.shape as [number, number, ...number[]];
  const k = prototypes.shape[0];
  const s = vg
    .cosineSimilarity(query.reshape({ shape: [n, 1, c, -1] }), prototypes.reshape({ shape: [k, c, 1] }), {
      axis: 2,
      eps,
    })
    .mul(temperature);
  const weights = vg.softmax(vg.where(used.reshape({ shape: [k, 1] }), s, -1e30), { axis: 1 });
  return s
    .mul(weights)
    .sum({ axes: [1] })
    .reshape({ shape: [n, ...space] });
}

const seeded = (n: number, c: number, space: number, used: readonly boolean[], more: Partial<Given> = {}): Given => ({
  query: noise(n * c * space, 5),
  prototypes: noise(used.length * c, 6),
  used,
  temperature: 20,
  eps: 1e-4,
  ...more,
});
const flags = (k: number, f: (k: number) => boolean): boolean[] => Array.from({ length: k }, (_, i) => f(i));

const cases: Record<string, readonly [n: number, c: number, space: readonly number[], given: Given]> = {
  "one pixel, one channel, one prototype": [1, 1, [1], seeded(1, 1, 1, [true])],
  "one prototype, not used": [2, 5, [3, 7], seeded(2, 5, 21, [false])],
  "several images, odd sizes": [
    3,
    67,
    [5, 13],
    seeded(
      3,
      67,
      65,
      flags(17, (k) => k % 4 !== 2),
    ),
  ],
  volumes: [
    2,
    3,
    [3, 2, 5],
    seeded(
      2,
      3,
      30,
      flags(9, (k) => k > 1),
    ),
  ],
  "no space": [
    7,
    6,
    [],
    seeded(
      7,
      6,
      1,
      flags(5, () => true),
    ),
  ],
  "none used": [
    2,
    9,
    [4, 5],
    seeded(
      2,
      9,
      20,
      flags(37, () => false),
    ),
  ],
  "one of many used, the last": [
    1,
    4,
    [6, 7],
    seeded(
      1,
      4,
      42,
      flags(300, (k) => k === 299),
    ),
  ],
  "many prototypes": [
    1,
    3,
    [5, 5],
    seeded(
      1,
      3,
      25,
      flags(1500, (k) => k % 7 > 0),
    ),
  ],
  "a high temperature": [
    1,
    8,
    [9],
    seeded(
      1,
      8,
      9,
      flags(40, () => true),
      { temperature: 5000 },
    ),
  ],
  "a negative temperature": [
    1,
    8,
    [9],
    seeded(
      1,
      8,
      9,
      flags(40, () => true),
      { temperature: -7 },
    ),
  ],
  "vectors that are shorter than eps": [
    1,
    4,
    [9],
    seeded(
      1,
      4,
      9,
      flags(6, () => true),
      { eps: 1.3 },
    ),
  ],
};

for (const [name, [n, c, space, given]] of Object.entries(cases)) {
  test(`cosineMatching() and its derivatives agree with float64: ${name}`, async () => {
    const { temperature, eps } = given;
    const query = tensor(given.query, { shape: [n, c, ...space] });
    const prototypes = tensor(given.prototypes, { shape: [given.used.length, c] });
    const used = tensor([...given.used]);
    const area = space.reduce((a, b) => a * b, 1);
    const y = vg.cosineMatching(query, prototypes, used, { temperature, eps });
    // S is good to some 1e-7 of the temperature, and the sum over k of |dy / dS_k| is a small number.
    const tolerance = 2e-6;
    await assertClose(y, { shape: [n, ...space], data: reference(n, c, area, given) }, tolerance, "value");
    // Nothing but rounding: the cosine of numbers does not change, and a high temperature makes much of little.
    if (c === 1 || temperature > 1000) return;
    const cotangent = tensor(noise(n * area, 8), { shape: [n, ...space] });
    const own = vg.vjp((q, p) => vg.cosineMatching(q, p, used, { temperature, eps }), [query, prototypes]);
    const parts = vg.vjp((q, p) => composed(q, p, used, temperature, eps), [query, prototypes]);
    const [got, wanted] = [own[1](cotangent) as Tensor[], parts[1](cotangent) as Tensor[]];
    for (const [k, what] of ["query", "prototypes"].entries()) {
      const data = { shape: wanted[k].shape, data: await wanted[k].data() };
      await assertClose(got[k], data, 1e-5, `gradient of the ${what}`);
    }
  });
}

test("cosineMatching() gives zero vectors no similarity and finite gradients", async () => {
  const query = tensor([[0, 0, 0], [1, 2, -1]]); // prettier-ignore
  const prototypes = tensor([[0, 0, 0], [1, 2, -1]]); // prettier-ignore
  const used = tensor([true, true]);
  const f = (q: Tensor, p: Tensor): Tensor => vg.cosineMatching(q, p, used, { temperature: 1 });
  const [none, one] = await f(query, prototypes).data();
  assert.is(none, 0);
  assert.ok(Math.abs(one - Math.E / (1 + Math.E)) < 1e-6, `${one}`);
  const gradients = vg.grad((all: Tensor[]) => f(all[0], all[1]).sum())([query, prototypes]);
  for (const g of gradients) assert.ok((await g.data()).every(Number.isFinite));
});

test("cosineMatching() keeps NaN in its pixel, or takes it from its prototype", async () => {
  const data = noise(2 * 3 * 5, 1);
  data[7] = NaN;
  data[21] = Infinity;
  const query = tensor(data, { shape: [2, 3, 5] });
  const prototypes = tensor(noise(9 * 3, 2), { shape: [9, 3] });
  const used = tensor(flags(9, (k) => k > 2));
  const y = await vg.cosineMatching(query, prototypes, used).data();
  assert.equal(
    [...y].map(Number.isNaN),
    flags(10, (i) => i === 2 || i === 6),
  );
  const bad = prototypes.add(tensor(flags(9, (k) => k === 8).map((b) => [b ? NaN : 0])));
  assert.ok((await vg.cosineMatching(query, bad, used).data()).every(Number.isNaN));
});

test("cosineMatching() agrees in parts where a tensor is larger than a binding", async () => {
  const run = async (): Promise<ArrayLike<number>[]> => {
    const used = tensor(flags(9, (k) => k !== 4));
    const p = tensor(noise(9 * 5, 2), { shape: [9, 5] });
    const alone = vg.cosineMatching(tensor(noise(5 * 1511, 3), { shape: [1, 5, 1511] }), p, used);
    const several = vg.cosineMatching(tensor(noise(3 * 5 * 200, 4), { shape: [3, 5, 200] }), p, used);
    const each = vg.vmap((q: Tensor, own: Tensor) => vg.cosineMatching(q, own, used));
    const groups = each(
      tensor(noise(3 * 2 * 5 * 100, 5), { shape: [3, 2, 5, 100] }),
      tensor(noise(3 * 9 * 5, 6), { shape: [3, 9, 5] }),
    );
    return Promise.all([alone, several, groups as Tensor].map((y) => y.data()));
  };
  const wanted = await run();
  await vg.closeDevice();
  await vg.openDevice({ maxBindingBytes: 8192 });
  const got = await run();
  got.forEach((y, k) => assert.equal([...Array.from(y)], [...Array.from(wanted[k])], `case ${k}`));
  await vg.closeDevice();
});

test.after(vg.closeDevice);
test.run();
