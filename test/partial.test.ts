/** Marginal and exclusion losses against PyTorch's numbers, loops in float64, the engine's ordinary losses, identities. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import {
  closeDevice, compile, crossEntropy, deepSupervision, deviceInfo, diceCrossEntropy, grad, hvp, resizeLabels, softDice, Tensor, tensor, valueAndGrad,
} from "../engine/mod.ts";
import { partial } from "../models/mod.ts";
import { goldenJson, goldenTensors, noise, relativeError, toTensor } from "./helpers.ts";

const { features } = await deviceInfo();
test.after(() => closeDevice());
const read = goldenTensors("methods");

type Loss = (logits: Tensor) => Tensor;

/** Value and gradient, compiled. */
async function both(loss: Loss, logits: Tensor): Promise<[number, Float32Array]> {
  const [value, slope] = await compile((x: Tensor) => valueAndGrad(loss)(x) as [Tensor, Tensor])(logits);
  return [await value.item(), (await slope.data()) as Float32Array];
}

const near = (got: number, wanted: number, tolerance: number, what: string): void =>
  assert.ok(Math.abs(got - wanted) <= tolerance * Math.max(1, Math.abs(wanted)), `${what}: ${got} for ${wanted}`);

// Sums of a thousand f32 values around 1: 1e-6 of the value, 1e-5 of the largest slope.
for (const c of goldenJson("methods").cases.filter((entry: any) => entry.name.startsWith("partial."))) {
  test(`${c.name}: losses, gradients and exclusion labels of PyTorch`, async () => {
    const logits = toTensor(read(c.input));
    // There labels count the merged classes; here they are class values.
    const stored = read(c.labels);
    const labels = tensor(Int32Array.from(stored.data, (m) => c.groups[m][0]), { shape: stored.shape });
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
      near(value, c[name], 1e-6, name);
      const error = relativeError(slope, read(c[`${name}Grad`]).data);
      assert.ok(error < 1e-5, `${name}: gradient off by ${error}`);
    }
  });
}

/** A batch in float64: logits [N][K][V], labels [N][V], and a partition for each sample. */
interface Batch {
  readonly logits: number[][][];
  readonly labels: number[][];
  readonly groups: number[][][];
}
interface Settings {
  readonly mode?: "probability" | "logit";
  readonly batch?: boolean;
  readonly includeBackground?: boolean;
  readonly smooth?: number;
  readonly alpha?: number;
  readonly beta?: number;
  readonly gamma?: number;
  readonly ignoreIndex?: number;
}

const total = (list: readonly number[]): number => list.reduce((a, b) => a + b, 0);
const softmaxOf = (a: readonly number[]): number[] => {
  const top = Math.max(...a);
  const e = a.map((v) => Math.exp(v - top));
  return e.map((v) => v / total(e));
};

/** Eqs. 4 to 6 voxel by voxel, and the focal and Tversky losses with their q. */
function reference(b: Batch, s: Settings = {}): { crossEntropy: number; focal: number; tversky: number; dice: number } {
  const { batch = true, includeBackground = false, smooth = 1e-5, alpha = 0.3, beta = 0.7, gamma = 2 } = s;
  let [entropy, focal, voxels] = [0, 0, 0];
  const scores = new Map<string, { q: number; z: number; both: number }>();
  b.groups.forEach((sets, n) => sets.forEach((set) => {
    if (includeBackground || !set.includes(0)) scores.set(`${batch ? "" : n}:${[...set].sort()}`, { q: 0, z: 0, both: 0 });
  }));
  b.labels.forEach((row, n) => row.forEach((label, v) => {
    if (label === s.ignoreIndex) return;
    voxels += 1;
    const a = b.logits[n]!.map((channel) => channel[v]!);
    const p = softmaxOf(a);
    const sets = b.groups[n]!;
    const q = s.mode === "logit"
      ? softmaxOf(sets.map((set) => total(set.map((k) => a[k]!))))
      : sets.map((set) => total(set.map((k) => p[k]!)));
    sets.forEach((set, m) => {
      const z = Number(set.includes(label));
      if (z) entropy -= Math.log(q[m]!);
      if (z) focal -= (1 - q[m]!) ** gamma * Math.log(q[m]!);
      const score = scores.get(`${batch ? "" : n}:${[...set].sort()}`);
      if (!score) return;
      score.q += q[m]!;
      score.z += z;
      score.both += z * q[m]!;
    });
  }));
  const over = (f: (x: { q: number; z: number; both: number }) => number): number =>
    scores.size === 0 ? 0 : total([...scores.values()].map(f)) / scores.size;
  return {
    crossEntropy: entropy / voxels,
    focal: focal / voxels,
    dice: over(({ q, z, both }) => 1 - (2 * both + smooth) / (q + z + smooth)),
    tversky: over(({ q, z, both }) => 1 - (both + smooth) / (both + alpha * (q - both) + beta * (z - both) + smooth)),
  };
}

const space = [3, 5, 7];
const V = 105;
/** Three samples of six classes, each with classes of its own annotated; one has two of them drawn as one. */
function unlike(scale = 2): Batch {
  const a = noise(3 * 6 * V, 11);
  const marks = noise(3 * V, 12);
  const logits = [0, 1, 2].map((n) => [0, 1, 2, 3, 4, 5].map((k) => Array.from({ length: V }, (_, v) => scale * a[(n * 6 + k) * V + v]!)));
  const labels = [0, 1, 2].map((n) => Array.from({ length: V }, (_, v) => Math.floor((marks[n * V + v]! + 1) * 3)));
  return { logits, labels, groups: [[[0, 3, 4, 5], [1], [2]], [[0], [4], [1, 2], [5, 3]], [[0, 1, 3, 5], [2], [4]]] };
}
const logitsOf = (b: Batch): Tensor => tensor(Float32Array.from(b.logits.flat(2)), { shape: [b.labels.length, b.logits[0]!.length, ...space] });
const labelsOf = (b: Batch): Tensor => tensor(Int32Array.from(b.labels.flat()), { shape: [b.labels.length, ...space] });

/** The four losses by their names in the reference. */
const losses = {
  crossEntropy: partial.marginalCrossEntropy,
  focal: partial.marginalFocal,
  dice: partial.marginalDice,
  tversky: partial.marginalTversky,
} as const;
const names = Object.keys(losses) as (keyof typeof losses)[];

/** f(x + h v) and so on in float64. */
const moved = (b: Batch, v: Float32Array, h: number): Batch => ({
  ...b,
  logits: b.logits.map((sample, n) => sample.map((row, k) => row.map((x, i) => x + h * v[(n * sample.length + k) * row.length + i]!))),
});
const inner = (a: ArrayLike<number>, b: ArrayLike<number>): number => Array.from(a).reduce((sum, x, k) => sum + x * b[k]!, 0);

for (const settings of [{}, { batch: false, smooth: 1 }, { mode: "logit" }, { includeBackground: true, ignoreIndex: 3, gamma: 0.5 }] as Settings[]) {
  test(`a batch of unlike groups is what loops in float64 say, to its second derivative: ${JSON.stringify(settings)}`, async () => {
    const b = unlike();
    const [x, labels] = [logitsOf(b), labelsOf(b)];
    const merge = partial.mergeMatrix(b.groups, 6);
    const v = noise(3 * 6 * V, 13);
    const direction = tensor(v, { shape: [3, 6, ...space] });
    const run = compile((logits: Tensor, groups: Tensor) => names.map((name) => {
      const f = (y: Tensor): Tensor => losses[name](y, labels, { ...settings, groups });
      return [valueAndGrad(f)(logits), hvp(f, [logits], [direction])];
    })) as any;
    const results = await run(x, merge);
    for (const [k, name] of names.entries()) {
      const [[value, slope], [curved]] = results[k];
      const at = (h: number): number => reference(moved(b, v, h), settings)[name];
      near(await value.item(), at(0), 2e-6, name);
      const h = 1e-3;
      near(inner(await slope.data(), v), (at(h) - at(-h)) / (2 * h), 2e-5, `${name}: slope`);
      near(inner(await curved.data(), v), (at(h) - 2 * at(0) + at(-h)) / h ** 2, 2e-5, `${name}: curvature`);
      const alone = await losses[name](x, labels, { ...settings, groups: b.groups }).item();
      near(alone, at(0), 2e-6, `${name}, groups as arrays`);
    }
  });
}

test("other groups run in the same program; a matrix of any order of rows, and one for all samples", async () => {
  let traced = 0;
  const b = unlike();
  const [x, labels] = [logitsOf(b), labelsOf(b)];
  const run = compile((groups: Tensor) => {
    traced += 1;
    return names.map((name) => losses[name](x, labels, { groups }));
  }) as any;
  for (const shift of [0, 1, 2]) {
    const groups = b.groups.map((_, n) => [...b.groups[(n + shift) % 3]!].reverse());
    const got: Tensor[] = await run(partial.mergeMatrix(groups, 6));
    const wanted = reference({ ...b, groups });
    for (const [k, name] of names.entries()) near(await got[k]!.item(), wanted[name], 2e-6, `${name}, shifted by ${shift}`);
  }
  assert.is(traced, 1);
  const one = [[4, 1], [2, 0, 5], [3]];
  const wanted = reference({ ...b, groups: [one, one, one] });
  const rows = tensor([[0, 1, 0, 0, 1, 0], [1, 0, 1, 0, 0, 1], [0, 0, 0, 1, 0, 0]], { dtype: "f32" });
  for (const groups of [one, rows, partial.mergeMatrix(one, 6)]) {
    for (const name of names) near(await losses[name](x, labels, { groups }).item(), wanted[name], 2e-6, name);
  }
});

test("with every class annotated the marginal losses are the ordinary ones", async () => {
  const b = unlike();
  const x = logitsOf(b);
  // 7 and -1 are no class and count as in the ordinary losses.
  const labels = tensor(Int32Array.from(b.labels.flat(), (l, k) => (k % 11 === 0 ? 7 : k % 13 === 0 ? -1 : l)), { shape: [3, ...space] });
  const full = partial.mergedGroups(undefined, 6);
  assert.equal(full, [[0], [1], [2], [3], [4], [5]]);
  const samples = partial.mergeMatrix([full, full, full], 6);
  for (const common of [{ batch: true }, { batch: false, includeBackground: true, ignoreIndex: 2 }]) {
    const options = (groups: partial.Groups) => ({ groups, ...common });
    const entropy: Loss = (y) => diceCrossEntropy(y, labels, { ...common, diceWeight: 0 });
    const dice: Loss = (y) => softDice(y, labels, common);
    const pairs: [Loss, Loss][] = [
      [(y) => partial.marginalCrossEntropy(y, labels, options(samples)), entropy],
      [(y) => partial.marginalFocal(y, labels, { ...options(samples), gamma: 0 }), entropy],
      [(y) => partial.marginalDice(y, labels, options(full)), dice],
      [(y) => partial.marginalDice(y, labels, options(samples)), dice],
      [(y) => partial.marginalTversky(y, labels, { ...options(full), alpha: 0.5, beta: 0.5, smooth: 5e-6 }), dice],
    ];
    const run = compile((y: Tensor) => pairs.map((pair) => pair.map((f) => valueAndGrad(f)(y)))) as any;
    for (const [[value, slope], [wanted, wantedSlope]] of await run(x)) {
      near(await value.item(), await wanted.item(), 1e-6, "value");
      const error = relativeError(await slope.data(), await wantedSlope.data());
      assert.ok(error < 5e-6, `gradient off by ${error}`);
    }
  }
  near(await partial.marginalCrossEntropy(x, labels, { groups: full }).item(), await crossEntropy(x, labels).item(), 1e-6, "crossEntropy");
});

test("the slope of the marginal cross-entropy is (1 - z/q) p of the set that holds the class (Eq. 8)", async () => {
  const b = unlike();
  const [, slope] = await both((x) => partial.marginalCrossEntropy(x, labelsOf(b), { groups: b.groups }), logitsOf(b));
  const wanted = new Float64Array(slope.length);
  b.labels.forEach((row, n) => row.forEach((label, v) => {
    const p = softmaxOf(b.logits[n]!.map((channel) => channel[v]!));
    p.forEach((pj, j) => {
      const set = b.groups[n]!.find((s) => s.includes(j))!;
      const [z, q] = [Number(set.includes(label)), total(set.map((k) => p[k]!))];
      wanted[(n * 6 + j) * V + v] = ((1 - z / q) * pj) / (3 * V);
    });
  }));
  assert.ok(relativeError(slope, wanted) < 2e-6);
});

test("merged probabilities add up to 1; sums of logits are something else", async () => {
  const b = unlike();
  const x = logitsOf(b);
  for (const groups of [b.groups, partial.mergeMatrix(b.groups, 6)]) {
    for (const mode of ["probability", "logit"] as const) {
      const q = await partial.mergedProbabilities(x, { groups, mode }).data();
      for (let n = 0; n < 3; n++) {
        for (let v = 0; v < V; v++) near(total([0, 1, 2, 3, 4, 5].map((k) => q[(n * 6 + k) * V + v]!)), 1, 1e-6, "sum");
        // The set of 1 in sample 1 is {1, 2}; class 2 names none.
        const p = softmaxOf(b.logits[1]!.map((channel) => channel[4]!));
        if (mode === "probability") near(q[7 * V + 4]!, p[1]! + p[2]!, 1e-6, "q of {1, 2}");
        assert.is(q[8 * V + 4], 0);
      }
    }
  }
  // By hand: a = (0, 0, ln 2), {0, 1} against {2}: 1/2 of probability; logits 0 against ln 2, hence 1/3.
  const fixed = tensor(Float32Array.of(0, 0, Math.log(2)), { shape: [1, 3, 1] });
  const label = tensor(Int32Array.of(1), { shape: [1, 1] });
  const groups = [[0, 1], [2]];
  near(await partial.marginalCrossEntropy(fixed, label, { groups }).item(), Math.log(2), 1e-6, "probability");
  near(await partial.marginalCrossEntropy(fixed, label, { groups, mode: "logit" }).item(), Math.log(3), 1e-6, "logit");
});

test("logits of 100 and -100 leave no NaN, and the loss its value", async () => {
  const signs = unlike(1);
  const b = { ...signs, logits: signs.logits.map((s) => s.map((row) => row.map((x) => 100 * Math.sign(x)))) };
  for (const mode of ["probability", "logit"] as const) {
    for (const name of names) {
      const options = { groups: partial.mergeMatrix(b.groups, 6), mode, gamma: 0.5 };
      const [value, slope] = await both((x) => losses[name](x, labelsOf(b), options), logitsOf(b));
      near(value, reference(b, { mode, gamma: 0.5 })[name], 2e-6, `${name}, ${mode}`);
      assert.ok(slope.every(Number.isFinite), `${name}, ${mode}`);
      if (name !== "crossEntropy") continue;
      // Voxels that are wrong by 200 still pull with all their weight.
      assert.ok(Math.max(...slope.map(Math.abs)) > 0.3 / (3 * V));
    }
  }
  const exclusion = partial.exclusionLabels(labelsOf(b), { groups: b.groups, classes: 6 });
  const prior = [0.5, 0.1, 0.1, 0.1, 0.1, 0.1];
  const empty = tensor(Float32Array.from({ length: 6 * V }, (_, i) => (i < V ? 200 : 0)), { shape: [1, 6, ...space] });
  const others: [Tensor, Loss][] = [
    [logitsOf(b), (x) => partial.exclusionDice(x, exclusion)], [logitsOf(b), (x) => partial.exclusionCrossEntropy(x, exclusion)],
    [logitsOf(b), (x) => partial.priorAware(x, { prior })], [empty, (x) => partial.priorAware(x, { prior })],
  ];
  for (const [x, f] of others) {
    const [value, slope] = await both(f, x);
    assert.ok(Number.isFinite(value) && slope.every(Number.isFinite));
  }
  // log p is 0 for that class and -200 for the five others; what is left of it is 5 exp(-200).
  const entropy = total(prior.map((q) => q * Math.log(q) + (1 - q) * Math.log(1 - q)));
  near(await partial.priorAware(empty, { prior }).item(), entropy + 0.5 * 200 + 0.5 * (200 - Math.log(5)), 1e-5, "one class has it all");
});

test("where no class is annotated there is nothing to lose, alone or beside others", async () => {
  const b = unlike();
  const none = [[0, 1, 2, 3, 4, 5]];
  const groups = [none, b.groups[1]!, none];
  for (const batch of [true, false]) {
    const wanted = reference({ ...b, groups }, { batch });
    for (const name of names) {
      near(await losses[name](logitsOf(b), labelsOf(b), { groups: partial.mergeMatrix(groups, 6), batch }).item(), wanted[name], 2e-6, name);
      const [value, slope] = await both((x) => losses[name](x, labelsOf(b), { groups: none, batch }), logitsOf(b));
      assert.ok(Math.abs(value) < 2e-7 && slope.every((s) => Math.abs(s) < 1e-8), name);
    }
  }
});

/** Eq. 9: whether every class that a label may stand for excludes a class. */
const excludes = (groups: number[][], label: number, sets: readonly (readonly number[])[]): number[] => {
  const meant = groups.find((set) => set.includes(label));
  return sets.map((set) => Number(meant !== undefined && meant.every((k) => set.includes(k))));
};

test("exclusion labels: of others' annotated regions, of the background as the official code, of given sets", async () => {
  const b = unlike();
  const labels = tensor(Int32Array.from(b.labels.flat(), (l, k) => (k === 3 ? 6 : k === 5 ? -1 : l)), { shape: [3, ...space] });
  const values = await labels.data();
  assert.equal(partial.exclusionSets(4), [[], [2, 3], [1, 3], [1, 2]]);
  assert.equal(partial.exclusionSets(3, { background: true }), [[], [0, 2], [0, 1]]);
  const given = [[], [2], [1, 4], [0, 1, 2], [], [1, 2, 4]];
  for (const sets of [undefined, partial.exclusionSets(6, { background: true }), given]) {
    for (const groups of [b.groups, partial.mergeMatrix(b.groups, 6)]) {
      const e = await partial.exclusionLabels(labels, { groups, classes: 6, ...(sets && { sets }) }).data();
      values.forEach((label, i) => {
        const [n, v] = [Math.floor(i / V), i % V];
        const got = [0, 1, 2, 3, 4, 5].map((k) => e[(n * 6 + k) * V + v]!);
        assert.equal(got, excludes(b.groups[n]!, label, sets ?? partial.exclusionSets(6)), `sample ${n}, label ${label}`);
      });
    }
  }
  // The official code: 1 - one-hot for an annotated organ, the annotated region for the others.
  const liver = partial.exclusionLabels(tensor(Int32Array.of(0, 1), { shape: [1, 2] }), {
    groups: [[0, 2], [1]], classes: 3, sets: partial.exclusionSets(3, { background: true }),
  });
  assert.equal([...(await liver.data())], [0, 0, 1, 0, 0, 1]);
});

test("exclusion losses are loops in float64; nothing excluded costs nothing; they push excluded classes down", async () => {
  const b = unlike();
  const x = logitsOf(b);
  const exclusion = partial.exclusionLabels(labelsOf(b), { groups: b.groups, classes: 6 });
  const e = await exclusion.data();
  const loop = (batch: Batch, epsilon: number, pooled: boolean): { crossEntropy: number; dice: number } => {
    let crossEntropy = 0;
    const sums = Array.from({ length: pooled ? 6 : 18 }, () => [0, 0, 0]);
    for (let n = 0; n < 3; n++) {
      for (let v = 0; v < V; v++) {
        const p = softmaxOf(batch.logits[n]!.map((channel) => channel[v]!));
        for (let k = 1; k < 6; k++) {
          const excluded = e[(n * 6 + k) * V + v]!;
          crossEntropy += (excluded * Math.log(p[k]! + epsilon)) / (3 * V);
          const s = sums[pooled ? k : n * 6 + k]!;
          [s[0], s[1], s[2]] = [s[0]! + excluded * p[k]!, s[1]! + excluded, s[2]! + p[k]!];
        }
      }
    }
    const counted = sums.filter((_, k) => k % 6 !== 0);
    return { crossEntropy, dice: total(counted.map(([ep, es, ps]) => (2 * ep!) / (es! + ps! + 1e-5))) / counted.length };
  };
  const v = noise(18 * V, 14);
  const direction = tensor(v, { shape: [3, 6, ...space] });
  const h = 1e-3;
  for (const [epsilon, batch] of [[1, true], [0.01, false]] as const) {
    const fs = {
      crossEntropy: (y: Tensor) => partial.exclusionCrossEntropy(y, exclusion, { epsilon }),
      dice: (y: Tensor) => partial.exclusionDice(y, exclusion, { batch }),
    };
    for (const name of ["crossEntropy", "dice"] as const) {
      const at = (s: number): number => loop(moved(b, v, s), epsilon, batch)[name];
      const [value, slope] = await both(fs[name], x);
      near(value, at(0), 2e-6, name);
      near(inner(slope, v), (at(h) - at(-h)) / (2 * h), 2e-5, `${name}: slope`);
      const [curved] = hvp(fs[name], [x], [direction]) as [Tensor];
      near(inner(await curved.data(), v), (at(h) - 2 * at(0) + at(-h)) / h ** 2, 5e-5, `${name}: curvature`);
    }
  }
  // By probabilities: one excluded class of a voxel loses, and all it can go to is another class.
  const alone = tensor(Float32Array.from({ length: 3 * 4 }, (_, i) => Number(i === 5)), { shape: [1, 3, 4] });
  const small = tensor(noise(12, 15), { shape: [1, 3, 4] });
  for (const f of [partial.exclusionDice, partial.exclusionCrossEntropy]) {
    const slope = await (grad((y: Tensor) => f(y, alone))(small) as Tensor).data();
    assert.ok(slope[5]! > 0 && slope[1]! < 0 && slope[9]! < 0);
    assert.is(await f(small, alone.mul(0)).item(), 0);
    // Class 1 has no probability at all where it is excluded.
    assert.is(await f(small.sub(alone.mul(300)), alone).item(), 0);
    assert.ok((await f(small, alone).item()) > 0);
  }
});

test("the whole loss is its terms, composes with deep supervision, and takes f16", async () => {
  const b = unlike();
  const [x, labels] = [logitsOf(b), labelsOf(b)];
  const groups = partial.mergeMatrix(b.groups, 6);
  const e = partial.exclusionLabels(labels, { groups, classes: 6 });
  const terms = [
    partial.marginalCrossEntropy(x, labels, { groups }), partial.marginalDice(x, labels, { groups }),
    partial.exclusionCrossEntropy(x, e), partial.exclusionDice(x, e),
  ];
  const values = await Promise.all(terms.map((t) => t.item()));
  near(await partial.loss(x, labels, { groups }).item(), values[0]! + values[1]! + 2 * values[2]! + 2 * values[3]!, 2e-6, "the paper's weights");
  const some = { groups, crossEntropy: 0, dice: 3, exclusionCrossEntropy: 0, exclusionDice: 0.5 };
  near(await partial.loss(x, labels, some).item(), 3 * values[1]! + 0.5 * values[3]!, 2e-6, "other weights");
  const half = partial.loss(x.cast("f16"), labels, { groups });
  assert.is(half.dtype, "f32");
  if (features.includes("shader-f16")) near(await half.item(), await partial.loss(x, labels, { groups }).item(), 2e-3, "f16");
  const coarse = tensor(noise(3 * 6 * 24, 16), { shape: [3, 6, 2, 3, 4] });
  const one = (output: Tensor, target: Tensor): Tensor => partial.loss(output, target, { groups });
  const both = deepSupervision(one, [x, coarse], labels, { weights: [0.7, 0.3] });
  const wanted = 0.7 * (await one(x, labels).item()) + 0.3 * (await one(coarse, resizeLabels(labels, [2, 3, 4])).item());
  near(await both.item(), wanted, 2e-6, "deep supervision");
});

test("pseudo-labels take the most likely class of those that a label may stand for", async () => {
  const b = unlike();
  const raw = Int32Array.from(b.labels.flat(), (l, k) => (k === 7 ? 9 : l));
  const labels = tensor(raw, { shape: [3, ...space] });
  const got = await partial.pseudoLabels(logitsOf(b), labels, { groups: b.groups }).data();
  raw.forEach((label, i) => {
    const [n, v] = [Math.floor(i / V), i % V];
    const set = b.groups[n]!.find((s) => s.includes(label));
    const best = set?.reduce((a, k) => (b.logits[n]![k]![v]! > b.logits[n]![a]![v]! ? k : a));
    assert.is(got[i], best ?? 9);
  });
});

test("the prior-aware loss is KL of shares of the batch, 0 where they are the prior's", async () => {
  const b = unlike();
  const x = logitsOf(b);
  const prior = [0.6, 0.2, 0.1, 0.06, 0.04, 0];
  const loop = (batch: Batch): number => {
    const p = Array<number>(6).fill(0);
    batch.labels.forEach((row, n) => row.forEach((_, v) =>
      softmaxOf(batch.logits[n]!.map((channel) => channel[v]!)).forEach((share, k) => (p[k]! += share / (3 * V)))));
    const part = (q: number, r: number): number => (q === 0 ? 0 : q * Math.log(q / r));
    return total(prior.map((q, k) => part(q, p[k]!) + part(1 - q, 1 - p[k]!)));
  };
  const v = noise(18 * V, 17);
  const h = 1e-3;
  const [value, slope] = await both((y) => partial.priorAware(y, { prior }), x);
  near(value, loop(b), 2e-6, "value");
  near(inner(slope, v), (loop(moved(b, v, h)) - loop(moved(b, v, -h))) / (2 * h), 2e-5, "slope");
  const uniform = Array<number>(6).fill(1 / 6);
  assert.ok(Math.abs(await partial.priorAware(x.mul(0), { prior: uniform }).item()) < 1e-6);
  near(await partial.priorAware(x, { prior: tensor(prior) }).item(), value, 1e-6, "as a tensor");
});

test("what is wrong is said", async () => {
  const b = unlike();
  const [x, labels] = [logitsOf(b), labelsOf(b)];
  const ce = (groups: any, more: object = {}) => () => partial.marginalCrossEntropy(x, labels, { groups, ...more });
  assert.throws(ce([[0, 1, 2], [3, 4]]), /marginalCrossEntropy: class 5 is in no set/);
  assert.throws(ce([[0, 1, 2], [2, 3, 4, 5]]), /class 2 is in two sets/);
  assert.throws(ce([[0, 1, 2, 3, 4, 5], [6]]), /class values from 0 to 5, got 6/);
  assert.throws(ce([[0, 1, 2, 3, 4, 5], []]), /groups are lists/);
  assert.throws(ce([]), /groups are/);
  assert.throws(ce(undefined), /groups are/);
  assert.throws(ce(b.groups.slice(1)), /one for each of 3 samples, got 2/);
  assert.throws(ce(partial.mergeMatrix(b.groups.slice(1), 6)), /\[3, M, 6\]/);
  assert.throws(ce(partial.mergeMatrix([[0], [1]], 2)), /\[M, 6\]/);
  assert.throws(ce(b.groups, { mode: "sum" }), /mode is/);
  assert.throws(ce(b.groups, { ignoreIndex: 0.5 }), /ignoreIndex/);
  assert.throws(() => partial.marginalDice(x, x, { groups: b.groups }), /marginalDice: labels are/);
  assert.throws(() => partial.marginalDice(x, labels.slice({ end: [2] }), { groups: b.groups }), /labels are \[N, \.\.\.space\], here \[3,3,5,7\]/);
  assert.throws(() => partial.marginalDice(labels, labels, { groups: b.groups }), /logits are/);
  assert.throws(() => partial.marginalDice(x, labels, { groups: b.groups, smooth: -1 }), /smooth/);
  assert.throws(() => partial.marginalTversky(x, labels, { groups: b.groups, alpha: -1 }), /alpha/);
  assert.throws(() => partial.marginalFocal(x, labels, { groups: b.groups, gamma: -1 }), /gamma/);
  assert.throws(() => partial.mergedGroups([6], 6), /class values from 1 to 5, got 6/);
  assert.throws(() => partial.mergedGroups([1], 1), /classes/);
  assert.throws(() => partial.exclusionLabels(labels, { groups: b.groups, classes: 5 }), /got 5/);
  assert.throws(() => partial.exclusionLabels(labels, { groups: b.groups, classes: 6, sets: [[], [1], [], [], [], []] }), /the others/);
  assert.throws(() => partial.exclusionDice(x, labels), /the logits' shape/);
  assert.throws(() => partial.exclusionDice(x, x, { smooth: 0 }), /smooth/);
  assert.throws(() => partial.exclusionCrossEntropy(x, x, { epsilon: 0 }), /epsilon/);
  assert.throws(() => partial.priorAware(x, { prior: [1] }), /6 shares/);
  assert.throws(() => partial.loss(x, labels, { groups: b.groups, crossEntropy: 0, dice: 0, exclusionCrossEntropy: 0, exclusionDice: 0 }), /weights are 0/);
  assert.throws(() => partial.loss(x, labels, { groups: b.groups, dice: NaN }), /dice/);
  // A matrix is only known when the program runs: what is no partition gives no number.
  const twice = tensor([[1, 0, 0, 0, 0, 0], [0, 1, 1, 1, 1, 1], [0, 1, 0, 0, 0, 0]], { dtype: "f32" });
  const missing = tensor([[1, 0, 1, 1, 1, 1]], { dtype: "f32" });
  for (const groups of [twice, missing]) {
    for (const name of names) assert.ok(Number.isNaN(await losses[name](x, labels, { groups }).item()), name);
    assert.ok((await partial.pseudoLabels(x, labels, { groups }).data()).every((l) => l === -1));
  }
});

test.run();
