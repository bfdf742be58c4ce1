// deno-lint-ignore-file no-explicit-any
/**
 * Partial losses against PyTorch's numbers; exclusion losses, pseudo-labels and the prior against loops in float64;
 * errors.
 */
import { test } from "uvu";
import * as assert from "uvu/assert";
import { closeDevice, deviceInfo, grad, hvp, Tensor, tensor } from "../../../engine/mod.ts";
import { deepSupervision, resizeLabels } from "../../../engine/nn/mod.ts";
import { partial } from "../../../models/mod.ts";
import { nearNumber, relativeError } from "../../helpers/compare.ts";
import { goldenJson, goldenTensors, toTensor } from "../../helpers/golden.ts";
import { noise } from "../../helpers/noise.ts";
import {
  type Batch,
  both,
  inner,
  labelsOf,
  logitsOf,
  type Loss,
  losses,
  moved,
  names,
  softmaxOf,
  space,
  total,
  unlike,
  V,
} from "../../helpers/reference/partial.ts";

const { features } = await deviceInfo();
test.after(() => closeDevice());
const read = goldenTensors("methods");

// Sums of a thousand f32 values around 1: 1e-6 of the value, 1e-5 of the largest slope.
for (const c of goldenJson("methods").cases.filter((entry: any) => entry.name.startsWith("partial."))) {
  test(`partial.marginalDice(), other losses and exclusionLabels() agree with PyTorch: ${c.name}`, async () => {
    const logits = toTensor(read(c.input));
    // There labels count the merged classes; here they are class values.
    const stored = read(c.labels);
    const labels = tensor(
      Int32Array.from(stored.data, (m) => c.groups[m][0]),
      { shape: stored.shape },
    );
    const exclusion = toTensor(read(c.exclusion));
    const { groups, classes } = c;
    assert.equal(partial.mergedGroups(groups.slice(1).flat(), classes), groups);
    assert.equal(await partial.exclusionLabels(labels, { groups, classes }).data(), await exclusion.data());
    const losses: [string, Loss][] = [
      ["marginalCE", (x) => partial.marginalCrossEntropy(x, labels, { groups })],
      ["marginalDice", (x) => partial.marginalDice(x, labels, { groups, smooth: 1e-5 })],
      ["exclusionCE", (x) => partial.exclusionCrossEntropy(x, exclusion)],
      ["exclusionDice", (x) => partial.exclusionDice(x, exclusion)],
    ];
    for (const [name, loss] of losses) {
      const [value, slope] = await both(loss, logits);
      nearNumber(value, c[name], 1e-6, name);
      const error = relativeError(slope, read(c[`${name}Grad`]).data);
      assert.ok(error < 1e-5, `${name}: gradient off by ${error}`);
    }
  });
}

/** Eq. 9: whether every class that a label may stand for excludes a class. */
const excludes = (groups: number[][], label: number, sets: readonly (readonly number[])[]): number[] => {
  const meant = groups.find((set) => set.includes(label));
  return sets.map((set) => Number(meant !== undefined && meant.every((k) => set.includes(k))));
};

test("partial.exclusionLabels() come from others' regions, from the background, or from given sets", async () => {
  const b = unlike();
  const labels = tensor(
    Int32Array.from(b.labels.flat(), (l, k) => (k === 3 ? 6 : k === 5 ? -1 : l)),
    { shape: [3, ...space] },
  );
  const values = await labels.data();
  assert.equal(partial.exclusionSets(4), [[], [2, 3], [1, 3], [1, 2]]);
  assert.equal(partial.exclusionSets(3, { background: true }), [[], [0, 2], [0, 1]]);
  const given = [[], [2], [1, 4], [0, 1, 2], [], [1, 2, 4]];
  for (const sets of [undefined, partial.exclusionSets(6, { background: true }), given]) {
    for (const groups of [b.groups, partial.mergeMatrix(b.groups, 6)]) {
      const e = await partial.exclusionLabels(labels, { groups, classes: 6, ...(sets && { sets }) }).data();
      values.forEach((label, i) => {
        const [n, v] = [Math.floor(i / V), i % V];
        const got = [0, 1, 2, 3, 4, 5].map((k) => e[(n * 6 + k) * V + v]);
        assert.equal(
          got,
          excludes(b.groups[n], label, sets ?? partial.exclusionSets(6)),
          `sample ${n}, label ${label}`,
        );
      });
    }
  }
  const ignored = await partial.exclusionLabels(labels, { groups: b.groups, classes: 6, ignoreIndex: 2 }).data();
  const kept = await partial.exclusionLabels(labels, { groups: b.groups, classes: 6 }).data();
  assert.equal(
    [...ignored],
    [...kept].map((e, i) => (values[Math.floor(i / (6 * V)) * V + (i % V)] === 2 ? 0 : e)),
  );
  // The official code: 1 - one-hot for an annotated organ, the annotated region for the others.
  const liver = partial.exclusionLabels(tensor(Int32Array.of(0, 1), { shape: [1, 2] }), {
    groups: [[0, 2], [1]],
    classes: 3,
    sets: partial.exclusionSets(3, { background: true }),
  });
  assert.equal([...(await liver.data())], [0, 0, 1, 0, 0, 1]);
});

test("partial.exclusionDice() and others agree with float64, are 0 without exclusion, lower classes", async () => {
  const b = unlike();
  const x = logitsOf(b);
  const exclusion = partial.exclusionLabels(labelsOf(b), { groups: b.groups, classes: 6 });
  const e = await exclusion.data();
  const loop = (batch: Batch, epsilon: number, pooled: boolean): { crossEntropy: number; dice: number } => {
    let crossEntropy = 0;
    const sums = Array.from({ length: pooled ? 6 : 18 }, () => [0, 0, 0]);
    for (let n = 0; n < 3; n++) {
      for (let v = 0; v < V; v++) {
        const p = softmaxOf(batch.logits[n].map((channel) => channel[v]));
        for (let k = 1; k < 6; k++) {
          const excluded = e[(n * 6 + k) * V + v];
          crossEntropy += (excluded * Math.log(p[k] + epsilon)) / (3 * V);
          const s = sums[pooled ? k : n * 6 + k];
          [s[0], s[1], s[2]] = [s[0] + excluded * p[k], s[1] + excluded, s[2] + p[k]];
        }
      }
    }
    const counted = sums.filter((_, k) => k % 6 !== 0);
    return {
      crossEntropy,
      dice: total(counted.map(([ep, es, ps]) => (2 * ep) / (es + ps + 1e-5))) / counted.length,
    };
  };
  const v = noise(18 * V, 14);
  const direction = tensor(v, { shape: [3, 6, ...space] });
  const h = 1e-3;
  for (
    const [epsilon, batch] of [
      [1, true],
      [0.01, false],
    ] as const
  ) {
    const fs = {
      crossEntropy: (y: Tensor) => partial.exclusionCrossEntropy(y, exclusion, { epsilon }),
      dice: (y: Tensor) => partial.exclusionDice(y, exclusion, { batch }),
    };
    for (const name of ["crossEntropy", "dice"] as const) {
      const at = (s: number): number => loop(moved(b, v, s), epsilon, batch)[name];
      const [value, slope] = await both(fs[name], x);
      nearNumber(value, at(0), 2e-6, name);
      nearNumber(inner(slope, v), (at(h) - at(-h)) / (2 * h), 2e-5, `${name}: slope`);
      const [curved] = hvp(fs[name], [x], [direction]) as [Tensor];
      nearNumber(inner(await curved.data(), v), (at(h) - 2 * at(0) + at(-h)) / h ** 2, 5e-5, `${name}: curvature`);
    }
  }
  for (const batch of [true, false]) {
    const summed = await partial.exclusionDice(x, exclusion, { batch, reduction: "sum" }).item();
    nearNumber(summed, 5 * loop(b, 1, batch).dice, 2e-6, "sum over the foreground classes");
  }
  // By probabilities: one excluded class of a voxel loses, and all it can go to is another class.
  const alone = tensor(
    Float32Array.from({ length: 3 * 4 }, (_, i) => Number(i === 5)),
    { shape: [1, 3, 4] },
  );
  const small = tensor(noise(12, 15), { shape: [1, 3, 4] });
  for (const f of [partial.exclusionDice, partial.exclusionCrossEntropy]) {
    const slope = await (grad((y: Tensor) => f(y, alone))(small) as Tensor).data();
    assert.ok(slope[5] > 0 && slope[1] < 0 && slope[9] < 0);
    assert.is(await f(small, alone.mul(0)).item(), 0);
    // Class 1 has no probability at all where it is excluded.
    assert.is(await f(small.sub(alone.mul(300)), alone).item(), 0);
    assert.ok((await f(small, alone).item()) > 0);
  }
});

test("partial.loss() is the sum of its terms, composes with deep supervision, and takes f16", async () => {
  const b = unlike();
  const [x, labels] = [logitsOf(b), labelsOf(b)];
  const groups = partial.mergeMatrix(b.groups, 6);
  const e = partial.exclusionLabels(labels, { groups, classes: 6 });
  const terms = [
    partial.marginalCrossEntropy(x, labels, { groups }),
    partial.marginalDice(x, labels, { groups }),
    partial.exclusionCrossEntropy(x, e),
    partial.exclusionDice(x, e),
  ];
  const values = await Promise.all(terms.map((t) => t.item()));
  nearNumber(
    await partial.loss(x, labels, { groups }).item(),
    values[0] + values[1] + 2 * values[2] + 2 * values[3],
    2e-6,
    "the paper's weights",
  );
  const some = { groups, crossEntropy: 0, dice: 3, exclusionCrossEntropy: 0, exclusionDice: 0.5 };
  nearNumber(await partial.loss(x, labels, some).item(), 3 * values[1] + 0.5 * values[3], 2e-6, "other weights");
  const half = partial.loss(x.cast("f16"), labels, { groups });
  assert.is(half.dtype, "f32");
  if (features.includes("shader-f16")) {
    nearNumber(await half.item(), await partial.loss(x, labels, { groups }).item(), 2e-3, "f16");
  }
  const coarse = tensor(noise(3 * 6 * 24, 16), { shape: [3, 6, 2, 3, 4] });
  const one = (output: Tensor, target: Tensor): Tensor => partial.loss(output, target, { groups });
  const both = deepSupervision(one, [x, coarse], labels, { weights: [0.7, 0.3] });
  const wanted = 0.7 * (await one(x, labels).item()) +
    0.3 * (await one(coarse, resizeLabels(labels, [2, 3, 4])).item());
  nearNumber(await both.item(), wanted, 2e-6, "deep supervision");
});

test("partial.pseudoLabels() take the most likely class of those that a label may stand for", async () => {
  const b = unlike();
  const raw = Int32Array.from(b.labels.flat(), (l, k) => (k === 7 ? 9 : l));
  const labels = tensor(raw, { shape: [3, ...space] });
  const got = await partial.pseudoLabels(logitsOf(b), labels, { groups: b.groups }).data();
  raw.forEach((label, i) => {
    const [n, v] = [Math.floor(i / V), i % V];
    const set = b.groups[n].find((s) => s.includes(label));
    const best = set?.reduce((a, k) => (b.logits[n][k][v] > b.logits[n][a][v] ? k : a));
    assert.is(got[i], best ?? 9);
  });
});

test("partial.priorAware() is the KL of the batch's shares, 0 where they are the prior's", async () => {
  const b = unlike();
  const x = logitsOf(b);
  const prior = [0.6, 0.2, 0.1, 0.06, 0.04, 0];
  const loop = (batch: Batch): number => {
    const p = Array<number>(6).fill(0);
    batch.labels.forEach((row, n) =>
      row.forEach((_, v) =>
        softmaxOf(batch.logits[n].map((channel) => channel[v])).forEach((share, k) => (p[k] += share / (3 * V)))
      )
    );
    const part = (q: number, r: number): number => (q === 0 ? 0 : q * Math.log(q / r));
    return total(prior.map((q, k) => part(q, p[k]) + part(1 - q, 1 - p[k])));
  };
  const v = noise(18 * V, 17);
  const h = 1e-3;
  const [value, slope] = await both((y) => partial.priorAware(y, { prior }), x);
  nearNumber(value, loop(b), 2e-6, "value");
  nearNumber(inner(slope, v), (loop(moved(b, v, h)) - loop(moved(b, v, -h))) / (2 * h), 2e-5, "slope");
  const uniform = Array<number>(6).fill(1 / 6);
  assert.ok(Math.abs(await partial.priorAware(x.mul(0), { prior: uniform }).item()) < 1e-6);
  nearNumber(await partial.priorAware(x, { prior: tensor(prior) }).item(), value, 1e-6, "as a tensor");
});

test("partial.marginalCrossEntropy() and others throw on bad arguments", async () => {
  const b = unlike();
  const [x, labels] = [logitsOf(b), labelsOf(b)];
  const ce = (groups: any, more: object = {}) => () => partial.marginalCrossEntropy(x, labels, { groups, ...more });
  assert.throws(
    ce([
      [0, 1, 2],
      [3, 4],
    ]),
    /marginalCrossEntropy: class 5 is in no set/,
  );
  assert.throws(
    ce([
      [0, 1, 2],
      [2, 3, 4, 5],
    ]),
    /class 2 is in two sets/,
  );
  assert.throws(ce([[0, 1, 2, 3, 4, 5], [6]]), /class values from 0 to 5, got 6/);
  assert.throws(ce([[0, 1, 2, 3, 4, 5], []]), /groups are lists/);
  assert.throws(ce([]), /groups are/);
  assert.throws(ce(undefined), /groups are/);
  assert.throws(ce(b.groups.slice(1)), /one for each of 3 samples, got 2/);
  assert.throws(ce(partial.mergeMatrix(b.groups.slice(1), 6)), /\[3, M, 6\]/);
  assert.throws(ce(partial.mergeMatrix([[0], [1]], 2)), /\[M, 6\]/);
  assert.throws(ce(b.groups, { mode: "sum" }), /mode is/);
  assert.throws(ce(b.groups, { ignoreIndex: 0.5 }), /ignoreIndex/);
  assert.throws(() => partial.mergedProbabilities(x, { groups: b.groups, mode: "sum" as "logit" }), /mode is/);
  assert.throws(() => partial.marginalDice(x, x, { groups: b.groups }), /marginalDice: labels are/);
  assert.throws(
    () => partial.marginalDice(x, labels.slice({ end: [2] }), { groups: b.groups }),
    /labels are \[N, \.\.\.space\], here \[3,3,5,7\]/,
  );
  assert.throws(() => partial.marginalDice(labels, labels, { groups: b.groups }), /logits are/);
  assert.throws(() => partial.marginalDice(x, labels, { groups: b.groups, smooth: -1 }), /smooth/);
  assert.throws(() => partial.marginalTversky(x, labels, { groups: b.groups, alpha: -1 }), /alpha/);
  assert.throws(() => partial.marginalFocal(x, labels, { groups: b.groups, gamma: -1 }), /gamma/);
  assert.throws(() => partial.mergedGroups([6], 6), /class values from 1 to 5, got 6/);
  assert.throws(() => partial.mergedGroups([1], 1), /classes/);
  assert.throws(() => partial.exclusionLabels(labels, { groups: b.groups, classes: 5 }), /got 5/);
  assert.throws(
    () => partial.exclusionLabels(labels, { groups: b.groups, classes: 6, sets: [[], [1], [], [], [], []] }),
    /the others/,
  );
  assert.throws(() => partial.exclusionDice(x, labels), /the logits' shape/);
  assert.throws(() => partial.exclusionDice(x, x, { smooth: 0 }), /smooth/);
  assert.throws(() => partial.exclusionCrossEntropy(x, x, { epsilon: 0 }), /epsilon/);
  assert.throws(() => partial.priorAware(x, { prior: [1] }), /6 shares/);
  assert.throws(
    () =>
      partial.loss(x, labels, {
        groups: b.groups,
        crossEntropy: 0,
        dice: 0,
        exclusionCrossEntropy: 0,
        exclusionDice: 0,
      }),
    /weights are 0/,
  );
  assert.throws(() => partial.loss(x, labels, { groups: b.groups, dice: NaN }), /dice/);
  // A matrix is only known when the program runs: what is no partition gives no number.
  const twice = tensor(
    [
      [1, 0, 0, 0, 0, 0],
      [0, 1, 1, 1, 1, 1],
      [0, 1, 0, 0, 0, 0],
    ],
    { dtype: "f32" },
  );
  const missing = tensor([[1, 0, 1, 1, 1, 1]], { dtype: "f32" });
  for (const groups of [twice, missing]) {
    for (const name of names) assert.ok(Number.isNaN(await losses[name](x, labels, { groups }).item()), name);
    assert.ok((await partial.pseudoLabels(x, labels, { groups }).data()).every((l) => l === -1));
  }
});

test("partial.exclusionDice() and exclusionCrossEntropy() ignore fully labeled samples", async () => {
  const x = tensor(noise(2 * 5 * 24, 3), { shape: [2, 5, 2, 3, 4] });
  const label = tensor(Int32Array.from({ length: 48 }, (_, k) => (k * 7) % 4), { shape: [2, 2, 3, 4] });
  const half = (t: Tensor, n: number) => t.slice({ start: [n], end: [n + 1] });
  const groups = [partial.mergedGroups([1, 2, 3], 5), partial.mergedGroups(undefined, 5)];
  const only = { groups, crossEntropy: 0, dice: 0 };
  const e = partial.exclusionLabels(half(label, 0), { groups: groups[0], classes: 5 });
  // The mean over voxels is that of both samples.
  const alone = (await partial.exclusionCrossEntropy(half(x, 0), e).item()) +
    2 * (await partial.exclusionDice(half(x, 0), e).item());
  assert.ok(Math.abs((await partial.loss(x, label, only).item()) - alone) < 1e-6);
  assert.is(await partial.loss(x, label, { ...only, groups: groups[1] }).item(), 0);
  assert.throws(() => partial.exclusionDice(x, x, { samples: tensor([1, 0, 1]) }), /samples/);
});

test.run();
