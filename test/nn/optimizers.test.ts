// deno-lint-ignore-file no-explicit-any
/** Optimizers and schedules of the learning rate against float64 loops and PyTorch's numbers. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import { compile, Tensor, tensor, zeros } from "../../engine/mod.ts";
import {
  adam,
  adamw,
  clipGradNorm,
  constantSchedule,
  cosineSchedule,
  emaUpdate,
  lamb,
  lion,
  muon,
  oneCycleSchedule,
  type Optimizer,
  parameterGroups,
  plateauRate,
  polySchedule,
  rmsprop,
  sgd,
  stepDecaySchedule,
  warmupSchedule,
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
    "rmsprop",
    rmsprop(),
    [0.00065276594, 0.53354623, 0.031766582, 0.68769041, 0.09668309, 0.24730879, 1.9262201, 0.63810438, -0.30096523],
  ],
  [
    "rmsprop with all options",
    rmsprop({ alpha: 0.9, eps: 1e-3, momentum: 0.8, centered: true, weightDecay: 0.1 }),
    [-0.071429173, 0.35825966, -0.020676014, 0.69573772, 0.15807767, 0.25796157, 1.7778267, 0.62232989, -0.17552218],
  ],
  [
    "adamw",
    adamw(),
    [0.63236034, 0.79672094, 0.16853628, -0.47854945, -0.71479537, -0.13053183, 0.78984951, -0.17685222, -0.80751841],
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

type Matrix = number[][];
const product = (a: Matrix, b: Matrix): Matrix =>
  a.map((row) => b[0].map((_, j) => sumOf(row.map((v, k) => v * b[k][j]))));
const flip = (a: Matrix): Matrix => a[0].map((_, j) => a.map((row) => row[j]));
const sumOf = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0);
const norm = (values: readonly number[]): number => Math.sqrt(sumOf(values.map((v) => v * v)));

/** Three steps of a rule in float64 on a matrix; state is the rule's own. */
function follow(rule: (p: Matrix, g: Matrix, state: Record<string, Matrix>, t: number) => Matrix): number[] {
  let p: Matrix = [[0.5, -1, 2], [1.5, 0.25, -0.75], [1, 1, 0.5], [-2, 0.1, 0.3]];
  const state = { mean: p.map((row) => row.map(() => 0)), square: p.map((row) => row.map(() => 0)) };
  for (let t = 1; t <= 3; t++) {
    p = rule(
      p,
      p.map((row, i) => row.map((v, j) => Math.cos(i + 2 * j + t) + 0.1 * v)),
      state,
      t,
    );
  }
  return p.flat();
}
const each = (f: (...values: number[]) => number, ...matrices: Matrix[]): Matrix =>
  matrices[0].map((row, i) => row.map((_, j) => f(...matrices.map((m) => m[i][j]))));

// Formulas of the papers.
const papers: [string, Optimizer, Parameters<typeof follow>[0]][] = [
  ["lion", lion({ beta1: 0.8, beta2: 0.95, weightDecay: 0.2 }), (p, g, state) => {
    const c = each((m, g) => 0.8 * m + 0.2 * g, state.mean, g);
    state.mean = each((m, g) => 0.95 * m + 0.05 * g, state.mean, g);
    return each((p, c) => p - 0.1 * (Math.sign(c) + 0.2 * p), p, c);
  }],
  ["lamb", lamb({ weightDecay: 0.05 }), (p, g, state, t) => {
    state.mean = each((m, g) => 0.9 * m + 0.1 * g, state.mean, g);
    state.square = each((v, g) => 0.999 * v + 0.001 * g * g, state.square, g);
    const u = each(
      (p, m, v) => m / (1 - 0.9 ** t) / (Math.sqrt(v / (1 - 0.999 ** t)) + 1e-6) + 0.05 * p,
      p,
      state.mean,
      state.square,
    );
    const ratio = norm(p.flat()) / norm(u.flat());
    return each((p, u) => p - 0.1 * ratio * u, p, u);
  }],
  ["muon", muon({ momentum: 0.9 }), (p, g, state) => {
    state.mean = each((m, g) => 0.9 * m + 0.1 * g, state.mean, g);
    const d = flip(each((m, g) => 0.1 * g + 0.9 * m, state.mean, g));
    let x = each((v) => v / (norm(d.flat()) + 1e-7), d);
    for (let k = 0; k < 5; k++) {
      const gram = product(x, flip(x));
      const rest = each((a, b) => -4.775 * a + 2.0315 * b, gram, product(gram, gram));
      x = each((x, y) => 3.4445 * x + y, x, product(rest, x));
    }
    return each((p, o) => p * (1 - 0.1 * 0.1) - 0.1 * Math.sqrt(4 / 3) * o, p, flip(x));
  }],
];
for (const [name, optimizer, rule] of papers) {
  test(`${name}() follows its paper's formula over three steps`, async () => {
    let params = { w: tensor([[0.5, -1, 2], [1.5, 0.25, -0.75], [1, 1, 0.5], [-2, 0.1, 0.3]]) };
    let state = optimizer.init(params);
    for (let t = 1; t <= 3; t++) {
      const wave = tensor(Array.from({ length: 4 }, (_, i) => [0, 1, 2].map((j) => Math.cos(i + 2 * j + t))));
      [params, state] = optimizer.update({ w: wave.add(params.w.mul(0.1)) }, state, params, 0.1);
    }
    near(await params.w.data(), follow(rule), 1e-5, name);
  });
}

test("lamb() takes a ratio of 1 where a norm is 0; muon() refuses vectors by their path", async () => {
  const optimizer = lamb();
  const params = { zero: zeros([2]), still: tensor([1, 2]) };
  const grads = { zero: tensor([1, -1]), still: zeros([2]) };
  const [next] = optimizer.update(grads, optimizer.init(params), params, 0.5);
  near([...await next.zero.data(), ...await next.still.data()], [-0.5, 0.5, 1, 2], 1e-5, "lamb");
  const bias = { head: { bias: zeros([3]) } };
  refuses(() => muon().update(bias, muon().init(bias), bias, 0.1), /muon: .*at head.bias; give it another optimizer/);
});

test("parameterGroups() updates each group as its own optimizer does alone, and leaves frozen ones", async () => {
  const params = {
    encoder: [tensor([[1, 2], [3, 4]]), tensor([1, 2])],
    head: { weight: tensor([[5, 6]]), bias: tensor([7]) },
  };
  const grads = {
    encoder: [tensor([[1, -1], [2, 1]]), tensor([1, 1])],
    head: { weight: tensor([[2, 2]]), bias: tensor([3]) },
  };
  const decaying = adamw({ weightDecay: 0.5 });
  const optimizer = parameterGroups({
    groups: [
      { paths: /^encoder\.0/, optimizer: decaying, rate: 0.1 },
      { paths: (_, { rank }) => rank === 1, optimizer: sgd({ momentum: 0.9 }) },
    ],
    otherwise: null,
  });
  let [own, state] = [params, optimizer.init(params)];
  let [encoder, adamState] = [[params.encoder[0]], decaying.init([params.encoder[0]])];
  for (let k = 0; k < 2; k++) {
    [own, state] = optimizer.update(grads, state, own, 0.2);
    [encoder, adamState] = decaying.update([grads.encoder[0]], adamState, encoder, 0.02);
  }
  assert.equal([...await own.encoder[0].data()], [...await encoder[0].data()]);
  // 1 - 0.2 (1 + 1.9)
  near([...await own.encoder[1].data(), ...await own.head.bias.data()], [0.42, 1.42, 7 - 0.2 * 2.9 * 3], 1e-6, "sgd");
  assert.equal(await own.head.weight.array(), [[5, 6]]);
  refuses(
    () => parameterGroups({ groups: [{ paths: /norm/, optimizer: null }], otherwise: sgd() }).init(params),
    /no parameter belongs to groups\[0\]; there are encoder.0, encoder.1, head.weight, head.bias/,
  );
  refuses(() => parameterGroups({ groups: [], otherwise: 3 as any }), /otherwise is an optimizer or null, got 3/);
});

test("emaUpdate() is the running mean, and leaves equal trees as they are", async () => {
  const average = emaUpdate({ a: [tensor([1, 2])] }, { a: [tensor([3, -2])] }, { decay: 0.75 });
  near(await average.a[0].data(), [1.5, 1], 1e-7, "mean");
  const same = { w: tensor([0.1, 1e-20, 3e30]) };
  assert.equal([...await emaUpdate(same, same, { decay: 0.3 }).w.data()], [...await same.w.data()]);
  refuses(() => emaUpdate({ a: zeros([2]) }, { a: zeros([3]) }, { decay: 0.5 }), /params at a: a tensor like/);
  refuses(() => emaUpdate({ a: zeros([2]) }, { a: zeros([2]) }, { decay: 2 }), /decay is a number in \[0, 1\]/);
});

test("oneCycleSchedule() follows PyTorch's OneCycleLR; warmupSchedule() rises to another schedule", () => {
  const cycle = oneCycleSchedule(0.1, { steps: 10 });
  const wanted = [0.004, 0.052, 0.1, 0.09504846320134738, 0.0811745653949763, 0.06112620219362893, 0.03887419780637107];
  near([...wanted.map((_, k) => cycle(k)), cycle(9), cycle(50)], [...wanted, 4e-7, 4e-7], 1e-12, "one cycle");
  const warm = warmupSchedule(polySchedule(1, { steps: 10, power: 1 }), { steps: 4, start: 0.2 });
  near([warm(0), warm(3), warm(4), warm(9)], [0.4, 1, 1, 0.5], 1e-12, "warm-up");
  refuses(() => oneCycleSchedule(0.1, { steps: 2 }), /2 steps are too few/);
});

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
