/** Losses against float64 loops and PyTorch's numbers. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import { grad, random, Tensor, tensor, zeros } from "../../engine/mod.ts";
import {
  deepSupervision,
  deepSupervisionWeights,
  diceBinaryCrossEntropy,
  diceCrossEntropy,
  regionTargets,
  resizeLabels,
  softDice,
  type SoftDiceOptions,
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
  const { smooth = 1e-5, includeBackground = false, batch = false, squared = false, ignoreIndex } = o;
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
        either[batch ? 0 : b][c] += squared ? p * p + y * y : p + y;
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
  const classes = o.reduction === "sum" ? k - (includeBackground ? 0 : 1) : 1;
  const dice = classes * (1 - scores.reduce((a, b) => a + b, 0) / scores.length);
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
  { name: "squares", shape: [2, 3, 3, 5, 1], options: { squared: true } },
  { name: "sum over classes", shape: [2, 4, 7], options: { reduction: "sum", batch: true } },
  {
    name: "squares, sum over all classes, ignored label 255",
    shape: [2, 3, 5, 4],
    options: { squared: true, reduction: "sum", includeBackground: true, ignoreIndex: 255 },
    classes: 255,
  },
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
  refuses(() => softDice(x, y, { reduction: "none" as "sum" }), /reduction is "mean" or "sum", got "none"/);
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

test.run();
