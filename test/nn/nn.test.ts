// deno-lint-ignore-file no-explicit-any
/** Initial values, layers, losses, optimizers and schedules against float64 loops and PyTorch's numbers. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import { closeDevice, compile, grad, random, Tensor, tensor, zeros } from "../../engine/mod.ts";
import * as nn from "../../engine/nn/mod.ts";
import {
  adam,
  clipGradNorm,
  constantSchedule,
  cosineSchedule,
  deepSupervision,
  deepSupervisionWeights,
  diceBinaryCrossEntropy,
  diceCrossEntropy,
  type Optimizer,
  plateauRate,
  polySchedule,
  regionTargets,
  resizeLabels,
  sgd,
  softDice,
  type SoftDiceOptions,
  stepDecaySchedule,
} from "../../engine/nn/mod.ts";
import { refuses } from "../helpers/refuse.ts";
import { near } from "../helpers/compare.ts";

const count = (shape: readonly number[]): number => shape.reduce((a, b) => a * b, 1);
const wave = (shape: readonly number[], a: number, scale = 1): Float32Array =>
  Float32Array.from({ length: count(shape) }, (_, i) => scale * Math.sin(a + 1.7393 * i + 0.001 * i * i));

interface Reference extends SoftDiceOptions {
  diceWeight: number;
  crossEntropyWeight: number;
}

/** Both losses in float64 loops over [N, K, M]. */
function reference(logits: ArrayLike<number>, labels: ArrayLike<number>, [n, k, m]: number[], o: Reference): number {
  const { smooth = 1e-5, includeBackground = false, batch = false, ignoreIndex } = o;
  const groups = batch ? 1 : n;
  const table = () => Array.from({ length: groups }, () => new Array<number>(k).fill(0));
  const [both, either] = [table(), table()];
  let [crossEntropy, valid] = [0, 0];
  for (let b = 0; b < n; b++) {
    for (let i = 0; i < m; i++) {
      const label = labels[b * m + i];
      if (label === ignoreIndex) continue;
      valid++;
      const z = Array.from({ length: k }, (_, c) => logits[(b * k + c) * m + i]);
      const top = Math.max(...z);
      const total = z.reduce((s, v) => s + Math.exp(v - top), 0);
      for (let c = 0; c < k; c++) {
        const p = Math.exp(z[c] - top) / total;
        const y = Number(label === c);
        both[batch ? 0 : b][c] += p * y;
        either[batch ? 0 : b][c] += p + y;
        if (y) crossEntropy -= z[c] - top - Math.log(total);
      }
    }
  }
  const scores: number[] = [];
  for (let g = 0; g < groups; g++) {
    for (let c = includeBackground ? 0 : 1; c < k; c++) {
      scores.push((2 * both[g][c] + smooth) / (either[g][c] + smooth));
    }
  }
  const dice = 1 - scores.reduce((a, b) => a + b, 0) / scores.length;
  return o.diceWeight * dice + o.crossEntropyWeight * (crossEntropy / valid);
}

const lossCases: {
  name: string;
  shape: number[];
  options: SoftDiceOptions & { diceWeight?: number; crossEntropyWeight?: number };
  classes?: number;
}[] = [
  { name: "defaults", shape: [2, 3, 3, 5, 1], options: {} },
  { name: "batch", shape: [3, 4, 7, 3], options: { batch: true } },
  { name: "background", shape: [2, 2, 5, 3, 3], options: { includeBackground: true } },
  { name: "smooth 1, weights", shape: [1, 5, 11], options: { smooth: 1, diceWeight: 0.5, crossEntropyWeight: 2 } },
  { name: "ignored label 255", shape: [2, 3, 5, 4], options: { ignoreIndex: 255 }, classes: 255 },
  { name: "a class without labels", shape: [2, 3, 4, 3], options: {}, classes: 2 },
  { name: "one class", shape: [1, 1, 5], options: { includeBackground: true } },
];

for (const { name, shape, options, classes } of lossCases) {
  test(`diceCrossEntropy() and its gradient agree with a float64 loop: ${name}`, async () => {
    const [n, k, ...space] = shape;
    const m = count(space);
    const logits = wave(shape, 0.3, 3);
    const labels = Int32Array.from(
      { length: n * m },
      (_, i) => classes === 255 && i % 3 === 1 ? 255 : (i * 7 + (i >> 2)) % Math.min(k, classes ?? k),
    );
    const x = tensor(logits, { shape });
    const y = tensor(labels, { shape: [n, ...space] });
    const combined = { diceWeight: 1, crossEntropyWeight: 1, ...options };
    const value = (z: ArrayLike<number>, o: Reference): number => reference(z, labels, [n, k, m], o);
    near([await diceCrossEntropy(x, y, options).item()], [value(logits, combined)], 1e-5, "loss");
    const { diceWeight: _d, crossEntropyWeight: _c, ...dice } = options;
    near(
      [await softDice(x, y, dice).item()],
      [value(logits, { ...dice, diceWeight: 1, crossEntropyWeight: 0 })],
      1e-5,
      "softDice",
    );
    const slopes = Array.from(logits, (v, i) => {
      const z = Float64Array.from(logits);
      const h = 1e-4;
      z[i] = v + h;
      const up = value(z, combined);
      z[i] = v - h;
      return (up - value(z, combined)) / (2 * h);
    });
    near(await grad((z: Tensor) => diceCrossEntropy(z, y, options))(x).data(), slopes, 1e-5, "gradient");
  });
}

test("diceCrossEntropy() takes the class axis anywhere", async () => {
  const logits = wave([2, 3, 4, 5], 0.1, 2);
  const y = tensor(
    Int32Array.from({ length: 40 }, (_, i) => i % 3),
    { shape: [2, 4, 5] },
  );
  const x = tensor(logits, { shape: [2, 3, 4, 5] });
  const want = await diceCrossEntropy(x, y).item();
  near(
    [await diceCrossEntropy(x.transpose({ axes: [0, 2, 3, 1] }), y, { axis: -1 }).item()],
    [want],
    1e-6,
    "last axis",
  );
  // Without a batch: one sample.
  const one = x.slice({ end: [1] });
  const label = y.slice({ end: [1] });
  const alone = diceCrossEntropy(one.reshape({ shape: [3, 4, 5] }), label.reshape({ shape: [4, 5] }), { axis: 0 });
  near([await alone.item()], [await diceCrossEntropy(one, label).item()], 1e-6, "axis 0");
});

test("diceCrossEntropy() is 0 at a perfect prediction and finite for huge logits", async () => {
  const y = tensor([[0, 1, 2, 1, 0, 0]], { dtype: "i32" });
  const x = tensor(
    Float32Array.from({ length: 18 }, (_, i) => ([0, 1, 2, 1, 0, 0][i % 6] === Math.floor(i / 6) ? 1e4 : -1e4)),
    { shape: [1, 3, 6] },
  );
  assert.ok(Math.abs(await diceCrossEntropy(x, y).item()) < 1e-6);
  const wrong = x.neg();
  assert.ok(Number.isFinite(await diceCrossEntropy(wrong, y).item()));
  assert.ok((await grad((z: Tensor) => diceCrossEntropy(z, y))(wrong).data()).every(Number.isFinite));
});

test("diceBinaryCrossEntropy() and its gradient agree with nnU-Net's region loss in float64", async () => {
  const [N, size] = [2, 3 * 4 * 5];
  const regions = [[1, 2, 3], [2, 3], [3]];
  const x = random.normal(random.key(4), { shape: [N, 3, 3, 4, 5], std: 3 });
  const label = Int32Array.from({ length: N * size }, (_, i) => [0, 1, 2, 3, 9, 0, 2][(i * 5) % 7]);
  const y = tensor(label, { shape: [N, 3, 4, 5] });
  const logits = await x.data();
  const value = (z: ArrayLike<number>, batch: boolean): number => {
    let [entropy, positions, dice] = [0, 0, 0];
    for (let r = 0; r < 3; r++) {
      let [both, either] = [0, 0];
      for (let n = 0; n < N; n++) {
        for (let i = 0; i < size; i++) {
          const stored = label[n * size + i];
          if (stored === 9) continue;
          const t = regions[r].includes(stored) ? 1 : 0;
          const p = 1 / (1 + Math.exp(-z[(n * 3 + r) * size + i]));
          entropy -= t * Math.log(p) + (1 - t) * Math.log(1 - p);
          positions++;
          both += t * p;
          either += t + p;
        }
        if (batch && n === 0) continue;
        dice += (2 * both + 1e-5) / (either + 1e-5);
        [both, either] = [0, 0];
      }
    }
    return entropy / positions + 1 - dice / (batch ? 3 : 3 * N);
  };
  for (const batch of [true, false]) {
    const options = { regions, batch, ignoreIndex: 9 };
    near([await diceBinaryCrossEntropy(x, y, options).item()], [value(logits, batch)], 1e-5, "loss");
    const gradient = await grad((z: Tensor) => diceBinaryCrossEntropy(z, y, options))(x).data();
    const slopes = Float64Array.from(logits, (_, k) => {
      const moved = (by: number) => value(Float64Array.from(logits, (v, j) => (j === k ? v + by : v)), batch);
      return (moved(1e-4) - moved(-1e-4)) / 2e-4;
    });
    near(gradient, slopes, 1e-5, "gradient");
  }
  const target = await regionTargets(y, regions).data();
  assert.is(target[0], Number(label[0] > 0));
  const far = x.mul(100);
  assert.ok(Number.isFinite(await diceBinaryCrossEntropy(far, y, { regions }).item()));
  assert.throws(() => diceBinaryCrossEntropy(x, y, { regions: [[1]] }), /labels and 1 regions/);
  assert.throws(() => regionTargets(y, [[]]), /regions are lists of label values/);
});

test("softDice() and other losses throw on labels and options that do not fit", () => {
  const [x, y] = [zeros([2, 3, 4]), zeros([2, 4], { dtype: "i32" })];
  refuses(() => softDice(x, zeros([2, 4])), /labels are i32 or u32/);
  refuses(() => softDice(x, zeros([2, 5], { dtype: "i32" })), /labels have the shape \[2, 4\].*got \[2, 5\]/);
  refuses(() => softDice(zeros([2, 1, 4]), y), /includeBackground/);
  refuses(() => diceCrossEntropy(x, y, { smoth: 1 } as object), /unknown option "smoth"/);
  refuses(() => deepSupervision(softDice, [x, x], y, { weights: [1] }), /weights has 2 numbers/);
});

test("resizeLabels() takes the voxels of torch's nearest-exact", async () => {
  const line = tensor(
    Int32Array.from({ length: 10 }, (_, i) => i),
    { shape: [1, 10] },
  );
  const places: [number, number[]][] = [
    [1, [5]],
    [2, [2, 7]],
    [3, [1, 5, 8]],
    [4, [1, 3, 6, 8]],
    [5, [1, 3, 5, 7, 9]],
    [7, [0, 2, 3, 5, 6, 7, 9]],
    [10, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]],
    [15, [0, 1, 1, 2, 3, 3, 4, 5, 5, 6, 7, 7, 8, 9, 9]],
  ];
  for (const [n, want] of places) {
    const got = resizeLabels(line, [n]);
    assert.is(got.dtype, "i32");
    assert.equal(Array.from(await got.data()), want, `10 to ${n}`);
  }
  const volume = tensor(
    Int32Array.from({ length: 2 * 4 * 6 * 9 }, (_, i) => i),
    { shape: [2, 4, 6, 9] },
  );
  const want: number[] = [];
  for (let n = 0; n < 2; n++) {
    for (const z of [1, 3]) {
      for (const y of [0, 2, 3, 5]) for (const x of [1, 4, 7]) want.push(((n * 4 + z) * 6 + y) * 9 + x);
    }
  }
  assert.equal(Array.from(await resizeLabels(volume, [2, 4, 3]).data()), want);
});

test("deepSupervision() weighs outputs as nnU-Net does", async () => {
  assert.equal(deepSupervisionWeights(1), [1]);
  assert.equal(deepSupervisionWeights(2), [1, 0]);
  near(deepSupervisionWeights(4), [4 / 7, 2 / 7, 1 / 7, 0], 1e-12, "four outputs");
  near(deepSupervisionWeights(2, { coarsest: true }), [2 / 3, 1 / 3], 1e-12, "with the coarsest");
  const y = tensor(
    Int32Array.from({ length: 64 }, (_, i) => (i * 5) % 3),
    { shape: [1, 4, 4, 4] },
  );
  const outputs = [
    [4, 4, 4],
    [2, 2, 2],
    [1, 1, 1],
  ].map((s, k) => tensor(wave([1, 3, ...s], k), { shape: [1, 3, ...s] }));
  const losses = [
    await diceCrossEntropy(outputs[0], y).item(),
    await diceCrossEntropy(outputs[1], resizeLabels(y, [2, 2, 2])).item(),
  ];
  const seen: Tensor[] = [];
  const total = deepSupervision((z, t) => (seen.push(z), diceCrossEntropy(z, t)), outputs, y);
  near([await total.item()], [(losses[0] * 2) / 3 + losses[1] / 3], 1e-6, "sum");
  assert.is(seen.length, 2, "the output of weight 0 is not computed");
  near([await deepSupervision(diceCrossEntropy, outputs[0], y).item()], [losses[0]], 1e-6, "one tensor");
});

// Parameters after seven steps of PyTorch 1.13 in float64.
const optimizers: [string, Optimizer, number[]][] = [
  [
    "sgd({})",
    sgd(),
    [0.73864641, 0.87338917, 0.19891777, -0.63094524, -0.83244109, -0.22223526, 0.63091543, -0.29891601, -0.90581094],
  ],
  [
    "sgd momentum",
    sgd({ momentum: 0.9 }),
    [0.5271698, 0.80256462, 0.32065523, -0.37101412, -0.5720467, -0.10346038, 0.82377624, -0.05507513, -0.73418464],
  ],
  [
    "sgd Nesterov and weight decay",
    sgd({ momentum: 0.99, nesterov: true, weightDecay: 0.03 }),
    [0.32648118, 0.69785922, 0.39932467, -0.14004902, -0.32916196, -0.00311747, 0.92800606, 0.14300409, -0.55287404],
  ],
  [
    "sgd weight decay",
    sgd({ weightDecay: 0.2 }),
    [0.66643415, 0.790787, 0.18237762, -0.56780843, -0.75061816, -0.19986392, 0.57486786, -0.2672902, -0.81859508],
  ],
  [
    "adam()",
    adam(),
    [0.63581217, 0.80073657, 0.16914771, -0.48142732, -0.71873993, -0.13138071, 0.79324682, -0.17815552, -0.81175847],
  ],
  [
    "adam with all options",
    adam({ beta1: 0.8, beta2: 0.95, eps: 1e-3, weightDecay: 0.1 }),
    [0.62360143, 0.76743117, 0.15730887, -0.47934523, -0.70747292, -0.13617567, 0.74986581, -0.18698139, -0.78815359],
  ],
  [
    "adam decoupled",
    adam({ weightDecay: 0.1, decoupled: true }),
    [0.60196709, 0.76133595, 0.16313243, -0.45323359, -0.68006645, -0.12307241, 0.75985051, -0.16540735, -0.77017024],
  ],
];

for (const [name, optimizer, want] of optimizers) {
  test(`${name}() follows PyTorch over seven steps, compiled and donated`, async () => {
    const slope = (n: number, t: number, s: number): Tensor =>
      tensor(Float32Array.from({ length: n }, (_, i) => Math.cos(0.7 * i + 1.3 * t + s)));
    let params: { a: Tensor; b: Tensor[] } = {
      a: tensor(
        Float32Array.from({ length: 6 }, (_, i) => Math.sin(1 + i)),
        { shape: [2, 3] },
      ),
      b: [tensor(Float32Array.from({ length: 3 }, (_, i) => Math.cos(1 + i)))],
    };
    let state = optimizer.init(params);
    const step = compile(
      (p: typeof params, s: any, a: Tensor, b: Tensor, rate: Tensor) => {
        const grads = { a: a.reshape({ shape: [2, 3] }).add(p.a.mul(0.05)), b: [b.add(p.b[0].mul(0.05))] };
        return optimizer.update(grads, s, p, rate) as [typeof params, any];
      },
      { donate: [0, 1] },
    );
    for (let t = 0; t < 7; t++) {
      [params, state] = await step(params, state, slope(6, t, 0), slope(3, t, 2), 0.1 * (1 - t / 10));
    }
    near([...(await params.a.data()), ...(await params.b[0].data())], want, 2e-6, name);
    assert.is(step.programs().length, 1);
    step.dispose();
  });
}

test("adam() corrects its bias accurately at the first step and after a million", async () => {
  const optimizer = adam();
  for (const before of [0, 1, 9, 499, 1e6]) {
    const state = { step: tensor([before]).reshape({ shape: [] }), mean: [tensor([0.25])], square: [tensor([0.04])] };
    const [[p]] = optimizer.update([tensor([0.5])], state, [tensor([0])], 1);
    const [m, v, t] = [0.9 * 0.25 + 0.1 * 0.5, 0.999 * 0.04 + 0.001 * 0.25, before + 1];
    const want = -(m / (1 - 0.9 ** t)) / (Math.sqrt(v / (1 - 0.999 ** t)) + 1e-8);
    near(await p.data(), [want], 2e-6, `step ${t}`);
  }
});

test("clipGradNorm() scales all gradients together", async () => {
  const grads = { a: tensor([3, -4]), b: [tensor([[12]])] };
  const [clipped, norm] = clipGradNorm(grads, 6.5);
  near(
    [await norm.item(), ...(await clipped.a.data()), ...(await clipped.b[0].data())],
    [13, 1.5, -2, 6],
    1e-6,
    "above",
  );
  const [same] = clipGradNorm(grads, 100);
  near([...(await same.a.data()), ...(await same.b[0].data())], [3, -4, 12], 1e-7, "below");
  const many = Array.from({ length: 37 }, (_, k) => tensor(wave([5], k)));
  const [, total] = clipGradNorm(many, 1);
  const squares = (await Promise.all(many.map((g) => g.data()))).flatMap((d) => Array.from(d, (v) => v * v));
  near([await total.item()], [Math.sqrt(squares.reduce((a, b) => a + b, 0))], 1e-6, "37 tensors");
  const [none, zero] = clipGradNorm([zeros([3])], 1);
  assert.equal([await zero.item(), ...(await none[0].data())], [0, 0, 0, 0]);
});

test("optimizer.update() names the parameter that does not fit", () => {
  const params = { conv: { weight: zeros([2, 3]) } };
  const optimizer = sgd({ momentum: 0.9 });
  refuses(
    () => optimizer.update({ conv: { weight: zeros([3, 2]) } }, optimizer.init(params), params, 0.1),
    /sgd: grads at conv.weight: the shape is that of Tensor\(f32\[2, 3\]\), got Tensor\(f32\[3, 2\]\)/,
  );
  refuses(() => optimizer.update(params, {}, params, 0.1), /the state has no velocity/);
  refuses(() => sgd({ nesterov: true }), /needs momentum/);
  refuses(() => adam({ beta2: 1 }), /below 1/);
  refuses(() => clipGradNorm(params, 0), /maxNorm is a number > 0/);
});

test("polySchedule(), cosineSchedule() and others follow their formulas", () => {
  assert.is(constantSchedule(0.1)(1e6), 0.1);
  const poly = polySchedule(0.01, { steps: 1000 });
  near(
    [poly(0), poly(500), poly(999), poly(1000), poly(2000)],
    [0.01, 0.01 * 0.5 ** 0.9, 0.01 * 0.001 ** 0.9, 0, 0],
    1e-12,
    "poly",
  );
  const cosine = cosineSchedule(1, { steps: 110, least: 0.2, warmup: 10 });
  near(
    [cosine(0), cosine(9), cosine(10), cosine(60), cosine(110), cosine(500)],
    [1 / 11, 10 / 11, 1, 0.6, 0.2, 0.2],
    1e-12,
    "cosine",
  );
  const decay = stepDecaySchedule(1, { every: 10, factor: 0.5 });
  assert.equal([decay(0), decay(9), decay(10), decay(25)], [1, 1, 0.5, 0.25]);
  refuses(() => polySchedule(0.1, { steps: 0 }), /steps is a number > 0/);
});

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
  refuses(() => nn.averagePool(x, [2, 5, 1]), /kernel has 3 whole numbers/);
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
test("plateauRate() follows PyTorch's ReduceLROnPlateau", () => {
  const losses = [1, 0.9, 0.895, 0.899, 0.889, 0.9, 0.9, 0.7, 0.8, 0.7, 0.69, 0.71, 0.7, 0.7, 0.7, 0.5];
  const rates = [...Array(10).fill(0.1), 0.08, 0.08, 0.08, 0.064, 0.064, 0.064];
  losses.forEach((_, k) => {
    const got = plateauRate(0.1, losses.slice(0, k + 1), { factor: 0.8, patience: 2, threshold: 1e-2 });
    assert.ok(Math.abs(got - rates[k]) < 1e-12, `${k}: ${got}`);
  });
  assert.is(plateauRate(0.1, []), 0.1);
  assert.throws(() => plateauRate(0.1, [], { factor: 2 }), /factor/);
  assert.throws(() => plateauRate(0.1, [], { patience: -1 }), /patience/);
});

test.run();
