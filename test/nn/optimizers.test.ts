// deno-lint-ignore-file no-explicit-any
/** Optimizers and schedules of the learning rate against float64 loops and PyTorch's numbers. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import { compile, Tensor, tensor, zeros } from "../../engine/mod.ts";
import {
  adam,
  clipGradNorm,
  constantSchedule,
  cosineSchedule,
  type Optimizer,
  plateauRate,
  polySchedule,
  sgd,
  stepDecaySchedule,
} from "../../engine/nn/mod.ts";
import { refuses } from "../helpers/refuse.ts";
import { near } from "../helpers/compare.ts";

const count = (shape: readonly number[]): number => shape.reduce((a, b) => a * b, 1);
const wave = (shape: readonly number[], a: number, scale = 1): Float32Array =>
  Float32Array.from({ length: count(shape) }, (_, i) => scale * Math.sin(a + 1.7393 * i + 0.001 * i * i));

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
