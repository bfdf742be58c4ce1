// deno-lint-ignore-file no-explicit-any
/** Initial values and layers against float64 loops and PyTorch's numbers. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import { closeDevice, grad, random, Tensor, tensor } from "../../engine/mod.ts";
import * as nn from "../../engine/nn/mod.ts";
import { refuses } from "../helpers/refuse.ts";
import { near } from "../helpers/compare.ts";

const count = (shape: readonly number[]): number => shape.reduce((a, b) => a * b, 1);
const wave = (shape: readonly number[], a: number, scale = 1): Float32Array =>
  Float32Array.from({ length: count(shape) }, (_, i) => scale * Math.sin(a + 1.7393 * i + 0.001 * i * i));

test("kaimingNormal() and kaimingUniform() have the moments of He's schemes", async () => {
  const shape = [64, 24, 3, 3, 3];
  const std = Math.sqrt(2 / (1 + 0.01 ** 2) / (24 * 27));
  const moments = (d: ArrayLike<number>): [number, number] => {
    const mean = Array.from(d).reduce((a, b) => a + b, 0) / d.length;
    return [mean, Math.sqrt(Array.from(d).reduce((a, b) => a + (b - mean) ** 2, 0) / d.length)];
  };
  const n = count(shape);
  const normal = await nn.kaimingNormal(random.key(1), { shape, a: 0.01 }).data();
  const [mean, spread] = moments(normal);
  assert.ok(
    Math.abs(mean) < (5 * std) / Math.sqrt(n) && Math.abs(spread / std - 1) < 5 / Math.sqrt(2 * n),
    `${mean}, ${spread} for ${std}`,
  );
  // Beyond two standard deviations: 4.55 % of a normal distribution.
  const far = normal.filter((v: number) => Math.abs(v) > 2 * std).length / n;
  assert.ok(Math.abs(far - 0.0455) < 5 * Math.sqrt(0.0455 / n), `${far} beyond two standard deviations`);
  const bound = Math.sqrt(6 / (1 + 5) / (24 * 27));
  const uniform = await nn.kaimingUniform(random.key(2), { shape, a: Math.sqrt(5) }).data();
  assert.ok(uniform.every((v: number) => Math.abs(v) <= bound));
  assert.ok(Math.max(...uniform) > 0.99 * bound && Math.abs(moments(uniform)[1] / (bound / Math.sqrt(3)) - 1) < 0.02);
  refuses(() => nn.kaimingNormal(random.key(1), { shape: [3] }), /two axes or more/);
  refuses(() => nn.initialize(random.key(1), { a: { b: 3 } }), /leaf a.b is no Parameter/);
});

test("xavierNormal() and xavierUniform() have Glorot's deviation, orthogonal() orthonormal vectors", async () => {
  const shape = [40, 30, 3, 3];
  const std = 1.5 * Math.sqrt(2 / (9 * 70));
  for (const fill of [nn.xavierNormal, nn.xavierUniform]) {
    const values = await fill(random.key(3), { shape, gain: 1.5 }).data();
    const spread = Math.sqrt(Array.from(values).reduce((sum, v) => sum + v * v, 0) / values.length);
    assert.ok(Math.abs(spread / std - 1) < 0.03, `${spread} for ${std}`);
  }
  for (const [rows, columns] of [[5, 12], [12, 5], [24, 24], [1, 7], [64, 64]]) {
    const w = nn.orthogonal(random.key(4), { shape: rows === 5 ? [5, 3, 4] : [rows, columns], gain: 2 });
    const matrix = w.reshape({ shape: [rows, columns] });
    const small = rows <= columns ? matrix.matmul(matrix.transpose()) : matrix.transpose().matmul(matrix);
    const n = Math.min(rows, columns);
    const identity = Float32Array.from({ length: n * n }, (_, k) => (k % (n + 1) === 0 ? 4 : 0));
    near(await small.data(), identity, 2e-5, `${rows} x ${columns}`);
  }
  refuses(() => nn.xavierUniform(random.key(1), { shape: [3] }), /xavierUniform: a weight has two axes or more/);
});

test("linear() is x W' + b along the last axis, with and without bias", async () => {
  const [x, weight, bias] = [wave([2, 3, 5], 0.3), wave([4, 5], 1.1), wave([4], 2)];
  const wanted = Array.from({ length: 24 }, (_, k) => {
    const [row, column] = [Math.floor(k / 4), k % 4];
    return Array.from({ length: 5 }, (_, i) => x[5 * row + i] * weight[5 * column + i]).reduce((a, b) => a + b, 0);
  });
  const params = { weight: tensor(weight, { shape: [4, 5] }), bias: tensor(bias) };
  const input = tensor(x, { shape: [2, 3, 5] });
  near(await nn.linear({ weight: params.weight }, input).data(), wanted, 1e-6, "without bias");
  const y = nn.linear(params, input);
  assert.equal(y.shape, [2, 3, 4]);
  near(await y.data(), wanted.map((v, k) => v + bias[k % 4]), 1e-6, "with bias");
  const initial = nn.initialize(random.key(1), nn.linearParameters(500, 300));
  assert.equal([initial.weight.shape, initial.bias!.shape], [[300, 500], [300]]);
  assert.ok(Math.abs(await initial.weight.std().item() / Math.sqrt(2 / 500) - 1) < 0.01);
  assert.is(nn.linearParameters(5, 4, { bias: false }).bias, undefined);
  await refuses(() => nn.linear(params, tensor([1, 2])), /^linear: x is \[\.\.\., inputs\] and the weight/);
});

test("initialize() gives a parameter what its key and path say, whatever else there is", async () => {
  const weight = () => nn.heParameter([4, 3, 5]);
  const first = (seed: number, specification: any) => nn.initialize(random.key(seed), specification);
  const data = async (t: Tensor) => [...(await t.data())];
  const whole = first(1, {
    encoder: [{ conv: weight() }, { conv: weight() }],
    head: { weight: weight() },
    more: weight(),
  });
  const part = first(1, { head: { weight: weight() }, encoder: [{ conv: weight() }] });
  assert.equal(await data(part.encoder[0].conv), await data(whole.encoder[0].conv));
  assert.equal(await data(part.head.weight), await data(whole.head.weight));
  const all = [
    whole.encoder[0].conv,
    whole.encoder[1].conv,
    whole.head.weight,
    whole.more,
    first(2, { more: weight() }).more,
  ];
  const lists = await Promise.all(all.map(data));
  lists.forEach((a, i) =>
    lists.slice(i + 1).forEach((b) => {
      // Independent draws agree nowhere, and do not go together: 60 products of unit normals have a mean of 0 +- 0.13.
      assert.ok(a.every((v, k) => v !== b[k]));
      const [p, q] = [a, b].map((list) => list.map((v) => v / Math.sqrt(2 / 15)));
      assert.ok(Math.abs(p.reduce((sum, v, k) => sum + v * q[k], 0) / 60) < 0.5);
    })
  );
  const many = first(3, Array.from({ length: 300 }, () => nn.heParameter([2, 2])));
  assert.is(new Set((await Promise.all(many.map(data))).map(String)).size, 300);
});

test("averagePool() drops the remainder, as torch.nn.AvgPool with kernel = stride", async () => {
  const shape = [2, 3, 5, 4, 7];
  const data = wave(shape, 0.5);
  const x = tensor(data, { shape });
  const want: number[] = [];
  for (let nc = 0; nc < 6; nc++) {
    for (let z = 0; z < 2; z++) {
      for (let y = 0; y < 4; y++) {
        for (let w = 0; w < 2; w++) {
          let total = 0;
          for (let a = 0; a < 2; a++) {
            for (let b = 0; b < 3; b++) total += data[((nc * 5 + 2 * z + a) * 4 + y) * 7 + 3 * w + b];
          }
          want.push(total / 6);
        }
      }
    }
  }
  const pooled = nn.averagePool(x, [2, 1, 3]);
  assert.equal(pooled.shape, [2, 3, 2, 4, 2]);
  near(await pooled.data(), want, 1e-6, "values");
  const g = await grad((v: Tensor) => nn.averagePool(v, [2, 1, 3]).sum())(x).data();
  near(
    g,
    Float32Array.from(g, (_, i) => (Math.floor(i / 28) % 5 < 4 && i % 7 < 6 ? 1 / 6 : 0)),
    1e-6,
    "gradient",
  );
  refuses(() => nn.averagePool(x, [2, 5, 1]), /kernel has 3 integers/);
});

test("dropout() keeps the mean, drops whole channels, and is the identity without a key", async () => {
  const x = tensor(new Float32Array(20000).fill(1), { shape: [10, 20, 10, 10] });
  assert.is(nn.dropout(x, { p: 0.3 }), x);
  const y = await nn.dropout(x, { p: 0.3, key: random.key(1) }).data();
  assert.ok(y.every((v: number) => v === 0 || Math.abs(v - 1 / 0.7) < 1e-6));
  const kept = y.filter((v: number) => v !== 0).length / y.length;
  assert.ok(Math.abs(kept - 0.7) < 5 * Math.sqrt(0.21 / y.length), `${kept} kept`);
  const channels = await nn.dropout(x, { p: 0.3, key: random.key(1), channels: true }).data();
  for (let c = 0; c < 200; c++) {
    assert.ok(channels.slice(c * 100, (c + 1) * 100).every((v: number) => v === channels[c * 100]));
  }
  assert.ok(new Set(channels.slice(0, 2000)).size === 2, "channels of one sample differ");
});

test.after(() => closeDevice());
test.run();
