// deno-lint-ignore-file no-explicit-any
/** Marginal losses against loops in float64, the ordinary losses of the engine, and identities. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import { closeDevice, compile, crossEntropy, hvp, Tensor, tensor, valueAndGrad } from "../../../engine/mod.ts";
import { diceCrossEntropy, softDice } from "../../../engine/nn/mod.ts";
import { partial } from "../../../models/mod.ts";
import { nearNumber, relativeError } from "../../helpers/compare.ts";
import { noise } from "../../helpers/noise.ts";
import {
  both,
  inner,
  labelsOf,
  logitsOf,
  type Loss,
  losses,
  moved,
  names,
  reference,
  type Settings,
  softmaxOf,
  space,
  total,
  unlike,
  V,
} from "../../helpers/reference/partial.ts";

test.after(() => closeDevice());

for (
  const settings of [
    {},
    { batch: false, smooth: 1 },
    { mode: "logit" },
    { includeBackground: true, ignoreIndex: 3, gamma: 0.5 },
    { partly: 0.25 },
    { partly: 3, batch: false, ignoreIndex: 3 },
  ] as Settings[]
) {
  test(`partial.marginalDice() and others agree with float64: ${JSON.stringify(settings)}`, async () => {
    // One sample has all classes annotated where the two kinds count differently.
    const b = settings.partly === undefined
      ? unlike()
      : { ...unlike(), groups: [[0, 1, 2, 3, 4, 5].map((k) => [k]), ...unlike().groups.slice(1)] };
    const [x, labels] = [logitsOf(b), labelsOf(b)];
    const merge = partial.mergeMatrix(b.groups, 6);
    const v = noise(3 * 6 * V, 13);
    const direction = tensor(v, { shape: [3, 6, ...space] });
    const run = compile((logits: Tensor, groups: Tensor) =>
      names.map((name) => {
        const f = (y: Tensor): Tensor => losses[name](y, labels, { ...settings, groups });
        return [valueAndGrad(f)(logits), hvp(f, [logits], [direction])];
      })
    ) as any;
    const results = await run(x, merge);
    for (const [k, name] of names.entries()) {
      const [[value, slope], [curved]] = results[k];
      const at = (h: number): number => reference(moved(b, v, h), settings)[name];
      nearNumber(await value.item(), at(0), 2e-6, name);
      const h = 1e-3;
      nearNumber(inner(await slope.data(), v), (at(h) - at(-h)) / (2 * h), 2e-5, `${name}: slope`);
      nearNumber(inner(await curved.data(), v), (at(h) - 2 * at(0) + at(-h)) / h ** 2, 2e-5, `${name}: curvature`);
      const alone = await losses[name](x, labels, { ...settings, groups: b.groups }).item();
      nearNumber(alone, at(0), 2e-6, `${name}, groups as arrays`);
    }
  });
}

test("partial.marginalDice() and others take other groups in one program, and rows in any order", async () => {
  let traced = 0;
  const b = unlike();
  const [x, labels] = [logitsOf(b), labelsOf(b)];
  const run = compile((groups: Tensor) => {
    traced += 1;
    return names.map((name) => losses[name](x, labels, { groups }));
  }) as any;
  for (const shift of [0, 1, 2]) {
    const groups = b.groups.map((_, n) => [...b.groups[(n + shift) % 3]].reverse());
    const got: Tensor[] = await run(partial.mergeMatrix(groups, 6));
    const wanted = reference({ ...b, groups });
    for (const [k, name] of names.entries()) {
      nearNumber(await got[k].item(), wanted[name], 2e-6, `${name}, shifted by ${shift}`);
    }
  }
  assert.is(traced, 1);
  const one = [[4, 1], [2, 0, 5], [3]];
  const wanted = reference({ ...b, groups: [one, one, one] });
  const rows = tensor(
    [
      [0, 1, 0, 0, 1, 0],
      [1, 0, 1, 0, 0, 1],
      [0, 0, 0, 1, 0, 0],
    ],
    { dtype: "f32" },
  );
  for (const groups of [one, rows, partial.mergeMatrix(one, 6)]) {
    for (const name of names) nearNumber(await losses[name](x, labels, { groups }).item(), wanted[name], 2e-6, name);
  }
});

test("partial.marginalDice() summed is the mean times the sets that are scored", async () => {
  const b = unlike();
  const [x, labels] = [logitsOf(b), labelsOf(b)];
  const foreground = b.groups.map((sets) => sets.filter((set) => !set.includes(0)));
  // Over the batch a set is scored once, however many samples have it.
  const distinct = new Set(foreground.flat().map((set) => [...set].sort().join())).size;
  for (const [batch, count] of [[true, distinct], [false, foreground.flat().length / 3]] as const) {
    const of = (reduction: "mean" | "sum") =>
      partial.marginalDice(x, labels, { groups: b.groups, batch, reduction }).item();
    nearNumber(await of("sum"), (await of("mean")) * count, 2e-6, `batch ${batch}`);
  }
  assert.throws(
    () => partial.marginalDice(x, labels, { groups: b.groups, reduction: "none" as "sum" }),
    /marginalDice: reduction is "mean" or "sum", got "none"/,
  );
});

test("partial.marginalDice() and others with every class annotated are the ordinary ones", async () => {
  const b = unlike();
  const x = logitsOf(b);
  const labels = tensor(Int32Array.from(b.labels.flat()), { shape: [3, ...space] });
  const full = partial.mergedGroups(undefined, 6);
  assert.equal(full, [[0], [1], [2], [3], [4], [5]]);
  // 7 and -1 are no class: no loss passes over them.
  for (const stray of [7, -1]) {
    const wrong = tensor(Int32Array.from(b.labels.flat(), (l, k) => (k === 5 ? stray : l)), { shape: [3, ...space] });
    assert.ok(Number.isNaN(await partial.marginalCrossEntropy(x, wrong, { groups: full }).item()));
    assert.ok(Number.isNaN(await diceCrossEntropy(x, wrong).item()));
    assert.ok(
      Number.isFinite(await partial.marginalCrossEntropy(x, wrong, { groups: full, ignoreIndex: stray }).item()),
    );
    assert.ok(Number.isFinite(await diceCrossEntropy(x, wrong, { ignoreIndex: stray }).item()));
  }
  const samples = partial.mergeMatrix([full, full, full], 6);
  for (
    const common of [
      { batch: true },
      { batch: false, includeBackground: true, ignoreIndex: 2 },
      { batch: true, reduction: "sum" },
      { batch: false, reduction: "sum", includeBackground: true },
    ] as const
  ) {
    const options = (groups: partial.Groups) => ({ groups, ...common });
    const { batch: _, includeBackground: __, ...ignored } = { includeBackground: false, ...common };
    const entropy: Loss = (y) => diceCrossEntropy(y, labels, { ...ignored, diceWeight: 0 });
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
      nearNumber(await value.item(), await wanted.item(), 1e-6, "value");
      const error = relativeError(await slope.data(), await wantedSlope.data());
      assert.ok(error < 5e-6, `gradient off by ${error}`);
    }
  }
  nearNumber(
    await partial.marginalCrossEntropy(x, labels, { groups: full }).item(),
    await crossEntropy(x, labels).item(),
    1e-6,
    "crossEntropy",
  );
});

test("partial.marginalCrossEntropy() has the gradient (1 - z/q) p of the set of the class (Eq. 8)", async () => {
  const b = unlike();
  const [, slope] = await both((x) => partial.marginalCrossEntropy(x, labelsOf(b), { groups: b.groups }), logitsOf(b));
  const wanted = new Float64Array(slope.length);
  b.labels.forEach((row, n) =>
    row.forEach((label, v) => {
      const p = softmaxOf(b.logits[n].map((channel) => channel[v]));
      p.forEach((pj, j) => {
        const set = b.groups[n].find((s) => s.includes(j))!;
        const [z, q] = [Number(set.includes(label)), total(set.map((k) => p[k]))];
        wanted[(n * 6 + j) * V + v] = ((1 - z / q) * pj) / (3 * V);
      });
    })
  );
  assert.ok(relativeError(slope, wanted) < 2e-6);
});

test("partial.mergedProbabilities() add up to 1; those of summed logits differ", async () => {
  const b = unlike();
  const x = logitsOf(b);
  for (const groups of [b.groups, partial.mergeMatrix(b.groups, 6)]) {
    for (const mode of ["probability", "logit"] as const) {
      const q = await partial.mergedProbabilities(x, { groups, mode }).data();
      for (let n = 0; n < 3; n++) {
        for (let v = 0; v < V; v++) {
          nearNumber(total([0, 1, 2, 3, 4, 5].map((k) => q[(n * 6 + k) * V + v])), 1, 1e-6, "sum");
        }
        // The set of 1 in sample 1 is {1, 2}; class 2 names none.
        const p = softmaxOf(b.logits[1].map((channel) => channel[4]));
        if (mode === "probability") nearNumber(q[7 * V + 4], p[1] + p[2], 1e-6, "q of {1, 2}");
        assert.is(q[8 * V + 4], 0);
      }
    }
  }
  // By hand: a = (0, 0, ln 2), {0, 1} against {2}: 1/2 of probability; logits 0 against ln 2, hence 1/3.
  const fixed = tensor(Float32Array.of(0, 0, Math.log(2)), { shape: [1, 3, 1] });
  const label = tensor(Int32Array.of(1), { shape: [1, 1] });
  const groups = [[0, 1], [2]];
  nearNumber(await partial.marginalCrossEntropy(fixed, label, { groups }).item(), Math.log(2), 1e-6, "probability");
  nearNumber(
    await partial.marginalCrossEntropy(fixed, label, { groups, mode: "logit" }).item(),
    Math.log(3),
    1e-6,
    "logit",
  );
});

test("partial.marginalDice() and others keep their value and no NaN for logits of 100 and -100", async () => {
  const signs = unlike(1);
  const b = { ...signs, logits: signs.logits.map((s) => s.map((row) => row.map((x) => 100 * Math.sign(x)))) };
  for (const mode of ["probability", "logit"] as const) {
    for (const name of names) {
      const options = { groups: partial.mergeMatrix(b.groups, 6), mode, gamma: 0.5 };
      const [value, slope] = await both((x) => losses[name](x, labelsOf(b), options), logitsOf(b));
      nearNumber(value, reference(b, { mode, gamma: 0.5 })[name], 2e-6, `${name}, ${mode}`);
      assert.ok(slope.every(Number.isFinite), `${name}, ${mode}`);
      if (name !== "crossEntropy") continue;
      // Voxels that are wrong by 200 still pull with all their weight.
      assert.ok(Math.max(...slope.map(Math.abs)) > 0.3 / (3 * V));
    }
  }
  const exclusion = partial.exclusionLabels(labelsOf(b), { groups: b.groups, classes: 6 });
  const prior = [0.5, 0.1, 0.1, 0.1, 0.1, 0.1];
  const empty = tensor(
    Float32Array.from({ length: 6 * V }, (_, i) => (i < V ? 200 : 0)),
    { shape: [1, 6, ...space] },
  );
  const others: [Tensor, Loss][] = [
    [logitsOf(b), (x) => partial.exclusionDice(x, exclusion)],
    [logitsOf(b), (x) => partial.exclusionCrossEntropy(x, exclusion)],
    [logitsOf(b), (x) => partial.priorAware(x, { prior })],
    [empty, (x) => partial.priorAware(x, { prior })],
  ];
  for (const [x, f] of others) {
    const [value, slope] = await both(f, x);
    assert.ok(Number.isFinite(value) && slope.every(Number.isFinite));
  }
  // log p is 0 for that class and -200 for the five others; what is left of it is 5 exp(-200).
  const entropy = total(prior.map((q) => q * Math.log(q) + (1 - q) * Math.log(1 - q)));
  nearNumber(
    await partial.priorAware(empty, { prior }).item(),
    entropy + 0.5 * 200 + 0.5 * (200 - Math.log(5)),
    1e-5,
    "one class has it all",
  );
});

test("partial.marginalDice() and others are 0 where no class is annotated, alone or beside others", async () => {
  const b = unlike();
  const none = [[0, 1, 2, 3, 4, 5]];
  const groups = [none, b.groups[1], none];
  for (const batch of [true, false]) {
    const wanted = reference({ ...b, groups }, { batch });
    for (const name of names) {
      nearNumber(
        await losses[name](logitsOf(b), labelsOf(b), { groups: partial.mergeMatrix(groups, 6), batch }).item(),
        wanted[name],
        2e-6,
        name,
      );
      const [value, slope] = await both((x) => losses[name](x, labelsOf(b), { groups: none, batch }), logitsOf(b));
      assert.ok(Math.abs(value) < 2e-7 && slope.every((s) => Math.abs(s) < 1e-8), name);
    }
  }
});

test.run();
