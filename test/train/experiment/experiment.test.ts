// Experiments: statistics against scipy, aggregation against numbers made by hand, resuming, tables, figures, report.
import { appendFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { Comparison } from "../../../engine/imaging/metrics/evaluate.ts";
import type { ClassComparison } from "../../../engine/imaging/metrics/compare.ts";
import { Prng } from "../../../engine/core/prng.ts";
import { chooseArms, type ExperimentOptions, openExperiment } from "../../../engine/train/experiment/experiment.ts";
import { type MeasuredCase, summarizeArms } from "../../../engine/train/experiment/experiment_summary.ts";
import { RunFolder } from "../../../engine/train/run/run_folder.ts";
import { bootstrapInterval, signFlipTest, tInterval } from "../../../engine/train/experiment/statistics.ts";
import { checkSvg } from "../../helpers/svg.ts";
import { refuses } from "../../helpers/refuse.ts";

const folder = mkdtempSync(join(tmpdir(), "voxgrad-experiment-"));
test.after(() => rmSync(folder, { recursive: true, force: true }));

const close = (got: number, wanted: number, tolerance: number, what = "") =>
  assert.ok(Math.abs(got - wanted) <= tolerance * Math.abs(wanted), `${what}: got ${got}, wanted ${wanted}`);

// scipy 1.13: stats.t.interval(0.95, n - 1, mean, stats.sem(x)), stats.permutation_test with permutation_type "samples".
const GOLDEN: readonly { values: number[]; low: number; high: number; p: number }[] = [
  { values: [0.25, 0.5], low: -1.2132755920218368, high: 1.9632755920218368, p: 0.5 },
  { values: [0.01, 0.02, 0.06], low: -0.03572410607728428, high: 0.09572410607728428, p: 0.25 },
  {
    values: [0.0125, -0.004, 0.031, 0.0205, -0.0015, 0.0165],
    low: -0.0015051501385298129,
    high: 0.02650515013852981,
    p: 0.125,
  },
  { values: [3, -1, 4, -1, 5, -9, 2, 6], low: -2.9076946608926946, high: 5.157694660892695, p: 0.578125 },
];

test("tInterval() and signFlipTest() give scipy's numbers", () => {
  for (const { values, low, high, p } of GOLDEN) {
    const found = tInterval(values);
    close(found.low, low, 1e-11, "low");
    close(found.high, high, 1e-11, "high");
    assert.is(signFlipTest(values), p);
    assert.is(signFlipTest(values.map((v) => -v)), p, "two-sided");
  }
  // Of [-1, 1] the half width is t itself: stats.t.ppf(0.9, 1), stats.t.ppf(0.995, 1).
  close(tInterval([-1, 1], { level: 0.8 }).high, 3.0776835371752527, 1e-11);
  close(tInterval([-1, 1], { level: 0.99 }).high, 63.65674116287399, 1e-11);
  // 20 values of deviation 1 and mean 0: stats.t.ppf(0.975, 19) / sqrt(20).
  const many = Array.from({ length: 20 }, (_, k) => (k % 2 ? 1 : -1) * Math.sqrt(19 / 20));
  close(tInterval(many).high, 2.0930240544083087 / Math.sqrt(20), 1e-11);
  assert.equal(tInterval([0.5]), { mean: 0.5, low: NaN, high: NaN });
  assert.is(signFlipTest([1, 2, 3, 4, 5, -1]), 0.09375);
  assert.is(signFlipTest([0, 0, 0]), 1);
  assert.throws(() => tInterval([1, NaN]), "tInterval: a value is NaN");
  assert.throws(() => signFlipTest([Infinity]), "a value is Infinity");
  assert.throws(() => signFlipTest(new Array(21).fill(1)), "got 21 values, wanted at most 20");
});

test("bootstrapInterval() has the spread of a mean", () => {
  const prng = new Prng(5);
  const values = Array.from({ length: 40 }, () => 3 + prng.normal());
  const mean = values.reduce((a, b) => a + b, 0) / values.length;
  const deviation = Math.sqrt(values.reduce((sum, v) => sum + (v - mean) ** 2, 0) / values.length);
  const found = bootstrapInterval(values);
  close(found.mean, mean, 1e-12);
  // The means of so many values are about normal, and 10000 resamples place a 2.5 % point to about 1 % of the width.
  close(found.high - found.low, 2 * 1.959964 * deviation / Math.sqrt(40), 0.04);
  assert.ok(Math.abs(found.high + found.low - 2 * mean) < 0.1 * (found.high - found.low));
  assert.equal(bootstrapInterval(values), found, "deterministic");
  assert.ok(bootstrapInterval(values, { level: 0.5 }).low > found.low);
  assert.equal(bootstrapInterval([2, 2, 2]), { mean: 2, low: 2, high: 2 });
  assert.equal(bootstrapInterval([0.5]), { mean: 0.5, low: NaN, high: NaN });
});

/** Cases x and y with classes L and M from [[x L, x M], [y L, y M]]. */
const cases = (values: (number | null)[][], name = "Dice"): MeasuredCase[] =>
  values.map(([L, M], k) => ({ id: "xy"[k], classes: { L: { [name]: L }, M: { [name]: M } } }));

const ARMS = [{ name: "a", title: "Arm A" }, { name: "b", title: "Arm B", about: "What B is." }];
const DICE = { name: "Dice", heading: "Dice", better: "higher", digits: 4 } as const;
const RESULTS = [
  { arm: "b", seed: 2, variants: { "": cases([[0.75, null], [0.75, null]]) }, extra: {} },
  { arm: "a", seed: 1, variants: { "": cases([[0.5, 0.75], [0.75, null]]) }, extra: {} },
  { arm: "a", seed: 2, variants: { "": cases([[0.625, 0.875], [0.875, null]]) }, extra: {} },
  { arm: "b", seed: 1, variants: { "": cases([[0.625, 0.625], [1, 0.5]]) }, extra: {} },
  { arm: "a", seed: 9, variants: { "": cases([[0, 0], [0, 0]]) }, extra: {} },
];

test("summarizeArms() tests over seeds, however many patients each has: no p below 6 seeds, then that of means", () => {
  const patients = Array.from({ length: 16 }, (_, k) => `patient ${k + 1}`);
  // Every patient of every seed is better, but in the last seed, which is worse by little.
  const resultsOf = (seeds: number[]) =>
    seeds.flatMap((seed) =>
      ["a", "b"].map((arm) => ({
        arm,
        seed,
        extra: {},
        variants: {
          "": patients.map((name, k) => ({
            id: `seed ${seed}, ${name}`,
            classes: { L: { Dice: 0.5 + k / 64 + (arm === "a" ? 0 : seed === 7 ? -0.01 : 0.1 + seed / 64) } },
          })),
        },
      }))
    );
  const of = (seeds: number[]) => {
    const options = { arms: ARMS, seeds, measures: [DICE], reference: "a" };
    const { difference } = summarizeArms(resultsOf(seeds), options)[0].arms[1].cells[0];
    assert.equal([difference!.bySeed.length, difference!.cases.count], [seeds.length, 16 * seeds.length]);
    return difference!;
  };
  assert.ok(Number.isNaN(of([1, 2, 3]).p) && Number.isNaN(of([1, 2, 3, 4, 5]).p));
  // All six signs alike: 2 of 64. With the seventh, the smallest, against: 4 of 128.
  const six = of([1, 2, 3, 4, 5, 6]);
  assert.is(six.p, 2 / 64);
  assert.is(of([1, 2, 3, 4, 5, 6, 7]).p, 4 / 128);
  // 0.1 + k / 64 for k = 1 to 6: mean 0.1 + 3.5 / 64, deviation sqrt(3.5) / 64.
  const half = 2.5705818356363146 * Math.sqrt(3.5 / 6) / 64;
  close(six.mean, 0.1 + 3.5 / 64, 1e-12);
  close(six.low, 0.1 + 3.5 / 64 - half, 1e-10);
  close(six.high, 0.1 + 3.5 / 64 + half, 1e-10);
  assert.equal([six.seeds, six.shown], [{ better: 6, worse: 0 }, true]);
  const turned = { arms: ARMS, seeds: [1, 2, 3, 4, 5, 6], measures: [DICE], reference: "b" };
  const negative = summarizeArms(resultsOf(turned.seeds), turned)[0].arms[0].cells[0].difference!;
  assert.equal([negative.shown, negative.seeds, negative.p], [true, { better: 0, worse: 6 }, 2 / 64]);
  // Two seeds of the same sign: 32 patients are better, and yet nothing is shown.
  const two = of([1, 6]);
  assert.ok(two.low < 0 && two.high > 0 && !two.shown && two.cases.low > 0);
  assert.equal([two.cases.better, two.cases.worse], [32, 0]);
  // 0.1 + 2 / 64 and -0.01.
  assert.equal(of([2, 7]).seeds, { better: 1, worse: 1 });
  const one = of([3]);
  assert.ok(Number.isNaN(one.low) && Number.isNaN(one.high) && !one.shown);
});

test("summarizeArms() gives the numbers made by hand", () => {
  const options = { arms: ARMS, seeds: [1, 2], measures: [DICE], reference: "a" };
  const groups = summarizeArms(RESULTS, options);
  assert.equal(groups.map((group) => group.class), ["", "L", "M"]);
  const [mean, L, M] = groups.map((group) => group.arms.map(({ cells }) => cells[0]));
  const sd = (half: number) => half * Math.SQRT2; // of two values 2 half apart
  assert.equal(L[0], { bySeed: [0.625, 0.75], mean: 0.6875, deviation: sd(0.0625), values: 4, undefined: 0 });
  const { difference, ...cell } = L[1];
  close(cell.deviation, sd(0.03125), 1e-12);
  assert.equal({ ...cell, deviation: 0 }, {
    bySeed: [0.8125, 0.75],
    mean: 0.78125,
    deviation: 0,
    values: 4,
    undefined: 0,
  });
  // Differences 0.125, 0.25 (seed 1), 0.125, -0.125 (seed 2): by seed 0.1875 and 0, by case 0.125 and 0.0625.
  const { low, high, cases, ...rest } = difference!;
  assert.equal(rest, { bySeed: [0.1875, 0], mean: 0.09375, p: NaN, seeds: { better: 1, worse: 0 }, shown: false });
  close(low, 0.09375 - 12.706204736174694 * 0.09375, 1e-10);
  close(high, 0.09375 + 12.706204736174694 * 0.09375, 1e-10);
  assert.equal(cases, { mean: 0.09375, low: 0.0625, high: 0.125, better: 2, worse: 0, count: 2 });

  assert.equal(M[0], { bySeed: [0.75, 0.875], mean: 0.8125, deviation: sd(0.0625), values: 4, undefined: 2 });
  assert.equal([M[1].bySeed, M[1].mean, M[1].deviation, M[1].undefined], [[0.5625, NaN], 0.5625, NaN, 2]);
  // One pair only.
  const undefinedLimits = { mean: -0.125, low: NaN, high: NaN };
  const worse = { better: 0, worse: 1 };
  assert.equal(M[1].difference, {
    bySeed: [-0.125],
    ...undefinedLimits,
    shown: false,
    p: NaN,
    seeds: worse,
    cases: { ...undefinedLimits, ...worse, count: 1 },
  });

  assert.equal([mean[0].bySeed, mean[1].bySeed], [[0.6875, 0.8125], [0.6875, 0.75]]);
  assert.equal([mean[0].undefined, mean[0].values], [2, 8]);
  // 0 (both classes, seed 1 x), 0.25, 0.125, -0.125 (L alone).
  assert.equal([mean[1].difference!.mean, mean[1].difference!.bySeed], [0.0625, [0.125, 0]]);

  // A measure whose low values are good; a seed that only one arm has is in its mean, and in no pair.
  const part = RESULTS.filter(({ arm, seed }) => arm !== "b" || seed === 1);
  const [, lower] = summarizeArms(part, { ...options, measures: [{ ...DICE, better: "lower" }] });
  assert.equal(lower.arms.map(({ seeds }) => seeds), [[1, 2], [1]]);
  const turned = lower.arms[1].cells[0].difference!;
  assert.equal([turned.seeds, turned.cases.better, turned.cases.worse], [{ better: 0, worse: 1 }, 0, 2]);
  assert.equal(summarizeArms([], options), []);
});

const OPTIONS: ExperimentOptions = {
  title: "Trial",
  arms: ARMS,
  seeds: [1, 2],
  measures: ["Dice"],
  settings: { steps: 100, patch: [8, 8, 8] },
};
const X = cases([[0.5, 0.75], [0.75, null]]);
test("openExperiment() resumes a stopped experiment where it was", async () => {
  const path = join(folder, "resumed");
  const file = join(path, "results.jsonl");
  const first = await openExperiment(new RunFolder(path), OPTIONS);
  assert.not(first.done("a", 1));
  await first.add("a", 1, X, { seconds: 12.5, loss: NaN });
  await first.figure("map.svg", "<svg/>", "A map");
  await first.add("b", 1, cases([[1, NaN], [0, 0.5]]));
  assert.ok(first.done("a", 1) && first.done("b", 1) && !first.done("a", 2));

  // A stop while the third line was being written.
  const whole = readFileSync(file, "utf8");
  appendFileSync(file, '{"arm":"a","seed":2,"variants":{"":[{"id":"x","cla');
  const second = await openExperiment(new RunFolder(path), OPTIONS);
  assert.is(readFileSync(file, "utf8"), whole);
  assert.ok(second.done("b", 1) && !second.done("a", 2));
  assert.equal(second.groups(), first.groups());
  await second.add("a", 2, X);
  const third = await openExperiment(new RunFolder(path), { ...OPTIONS, seeds: [1, 2, 3] });
  assert.ok(third.done("a", 2), "further seeds may be added");
  assert.equal(third.groups()[1].arms.map(({ seeds }) => seeds), [[1, 2], [1]]);
  assert.match(await third.finish(), /Arm A/);
  const report = readFileSync(join(path, "report.html"), "utf8");
  assert.ok(report.includes("Not finished: 3 of 6") && report.includes("<figcaption>A map"));

  const other = { ...OPTIONS, settings: { steps: 200, patch: [8, 8, 8] } };
  await refuses(
    openExperiment(new RunFolder(path), other),
    /resumed\/results\.jsonl: .*other settings \(steps 100, now 200\)/,
  );
  assert.match(readFileSync(file, "utf8"), /"steps":100/);
  writeFileSync(file, whole.replace('{"arm":"a"', '{"arm":"a'));
  await refuses(openExperiment(new RunFolder(path), OPTIONS), /results\.jsonl: line 2 is no JSON/);
  writeFileSync(file, "{}\n");
  await refuses(openExperiment(new RunFolder(path), OPTIONS), /it is no voxgrad experiment 1/);
});

test("experiment.add() throws on results that cannot be compared", async () => {
  const experiment = await openExperiment(new RunFolder(join(folder, "refused")), OPTIONS);
  await experiment.add("a", 1, X);
  await refuses(experiment.add("a", 1, X), /a, seed 1: it has results already/);
  await refuses(experiment.add("c", 1, X), /c, seed 1: arms are a, b, seeds 1, 2/);
  await refuses(experiment.add("a", 7, X), /arms are a, b, seeds 1, 2/);
  await refuses(experiment.add("b", 1, X.slice(1)), /got y \(L, M\), wanted x \(L, M\)/);
  await refuses(experiment.add("b", 1, [...X, { ...X[0], id: "z" }]), /got z \(L, M\), wanted only 2 cases/);
  await refuses(experiment.add("b", 1, [X[0], X[0]]), /cases are x \(L, M\), x \(L, M\); give each/);
  await refuses(experiment.add("b", 1, []), /cases are missing/);
  await refuses(experiment.add("b", 1, cases([[1, 1], [1, 1]], "IoU")), /case x lacks Dice/);
  await refuses(experiment.figure("../map.svg", "", ""), /a figure is named \.\.\/map\.svg/);
  await refuses(experiment.figure("arms.svg", "", ""), /drawn by the experiment/);
  await refuses(experiment.add("b", 1, comparison(0, ["L", "L"])), /two classes are named L/);
  assert.not(experiment.done("b", 1));
  // In another order they are the same cases.
  await experiment.add("b", 1, [...X].reverse());
  const open = (changes: object) => openExperiment(new RunFolder(join(folder, "none")), { ...OPTIONS, ...changes });
  await refuses(open({ reference: "c" }), /the reference c is no arm; the arms are a, b/);
  await refuses(open({ arms: [] }), /arms are missing/);
  await refuses(open({ seeds: [1, 1] }), /seeds are 1, 1/);
});

/** A comparison of two cases with classes of awkward names. */
function comparison(shift: number, names = ['le"sion', "<cyst>"]): Comparison {
  const one = (name: string, c: number, k: number): ClassComparison => ({
    name,
    values: [c + 1],
    truePositive: 1,
    falsePositive: 1,
    falseNegative: 1,
    trueNegative: 9,
    dice: 0.5 + shift + 0.1 * (k + c),
    iou: 0.4,
    sensitivity: 0.6,
    precision: 0.7,
    hausdorff: 9,
    hausdorff95: shift > 0 ? NaN : 8 - k - c,
    hausdorff95MaxOfDirected: 8,
    averageSymmetricSurfaceDistance: 2,
    surfaceDice: 0.8,
    predictedVolume: 1,
    referenceVolume: 1,
  });
  const ids = ["case_b", "case,a"];
  return new Comparison(
    ids.map((id, k) => ({
      id,
      prediction: `p/${id}`,
      reference: `r/${id}`,
      classes: names.map((n, c) => one(n, c, k)),
    })),
  );
}

test("experiment.finish() writes tables, figures and a report that mention everything, escaped", async () => {
  const run = new RunFolder(join(folder, "report"));
  const arms = [
    { name: "plain", title: "U-Net | <base>" },
    {
      name: "new",
      title: "New & better, with a name that is far too long for the left side of a figure",
      about: "About <new>.",
    },
    { name: "late", title: "Not yet" },
  ];
  const experiment = await openExperiment(run, {
    title: 'A <b>"trial"</b>',
    about: "Paragraph & more.",
    arms,
    seeds: [4, 5],
    settings: { rate: 0.01, data: "<data>" },
  });
  // Of no result at all.
  assert.match(await experiment.finish(), /No results yet/);
  checkSvg(readFileSync(join(run.path, "arms.svg"), "utf8"));
  for (const seed of [4, 5]) {
    const variants = (shift: number) => ({
      "as predicted": comparison(shift),
      "largest | part": comparison(shift - 0.1),
    });
    await experiment.add("plain", seed, variants(0));
    await experiment.add("new", seed, variants(0.125 * (seed - 3)), { seconds: 61.25, "last <loss>": 0.5 });
  }
  await experiment.figure("context.svg", '<svg id="own-figure"></svg>', "Context <maps>", { arm: "new" });
  const markdown = await experiment.finish();
  const read = (name: string) => readFileSync(join(run.path, name), "utf8");
  assert.is(read("table.md"), markdown);
  const row = markdown.split("\n").find((line) => line.startsWith("| New & better"))!;
  assert.is(
    row,
    `| ${arms[1].title} | 2 | 0.7875 ± 0.0884 | 0.6000 ± 0.0000 | 0.7000 ± 0.0000 | - (8 of 8 undefined) |`,
  );
  // 0.125 and 0.25 of two seeds, 12.7 times 0.0625 about their mean.
  const [found2, cases2] = markdown.split("\n").filter((line) => /^\| New & better.*better in/.test(line));
  assert.match(found2, /\| \+0\.1875 \[−0\.6066, \+0\.9816\] not shown, better in 2 of 2 seeds \|/);
  assert.match(found2, /\| 0\.0000 \[0\.0000, 0\.0000\] not shown, better in 0 of 2 seeds \|/);
  assert.match(cases2, /\| \+0\.1875 \[\+0\.1875, \+0\.1875\], better in 2 of 2 cases \|/);
  assert.match(markdown, /\| arm \| seconds \| last .*\n.*\n.* \| - \| - \|\n\| New & better.* \| 61\.25 \| 0\.5 \|/);
  assert.match(markdown, /## \\<cyst>, largest \\| part/);
  // Every table row has as many cells as its heading.
  for (const block of markdown.split("\n\n").filter((part) => part.startsWith("|"))) {
    const counts = block.split("\n").map((line) => line.match(/(?<!\\)\|/g)!.length);
    assert.ok(counts.every((count) => count === counts[0]), block);
  }

  const json = JSON.parse(read("experiment.json"));
  assert.equal([json.reference, json.seeds, json.settings.rate, json.groups.length], ["plain", [4, 5], 0.01, 6]);
  const found = json.groups[0].arms[1];
  assert.equal([found.arm, found.measures.HD95.mean, found.measures.HD95.undefined], ["new", null, 8]);
  close(found.measures.Dice.difference.mean, 0.1875, 1e-12);

  const lines = read("cases.csv").trim().split("\n");
  assert.is(lines.length, 1 + 2 * 2 * 2 * 2 * 2);
  assert.match(lines[0], /^arm,seed,variant,case,class,Dice,IoU,/);
  assert.ok(lines.some((line) => line.startsWith('plain,4,as predicted,"case,a","le""sion",0.6,0.4,')), lines[1]);

  const report = read("report.html");
  const words = [
    "A &#60;b&#62;&#34;trial&#34;&#60;/b&#62;",
    "Paragraph &#38; more.",
    "U-Net | &#60;base&#62;",
    "About &#60;new&#62;.",
    "Not yet",
    "No results yet.",
    "Not finished: 4 of 6",
    "le&#34;sion",
    "&#60;cyst&#62;",
    "as predicted",
    "mean over classes",
    "Dice",
    "HD95 (mm)",
    "last &#60;loss&#62;",
    "61.250",
    "data:image/svg+xml;charset=utf-8,%3Csvg xmlns=%22http://www.w3.org/2000/svg%22 id=%22own-figure%22%3E%3C/svg%3E",
    "Context &#60;maps&#62;",
    "&#60;data&#62;",
    "0.7875 ± 0.0884",
    "given from 6 seeds on",
    "difference to U-Net | &#60;base&#62;, over seeds",
    "the same over cases, descriptive",
    "8 of 8 undefined",
    "Differences to U-Net",
  ];
  for (const word of words) assert.ok(report.includes(word), word);
  assert.not.match(report.split("<script>")[0], /<b>|<base>|<cyst>|<loss>|<data>|<maps>|NaN/);
  for (const name of ["arms.svg", "differences.svg"]) {
    const svg = read(name);
    checkSvg(svg);
    for (
      const word of ["&#60;cyst&#62;", "Not yet", "Dice", "HD95 (mm)", "lower is better", "0.1875"].slice(
        0,
        name === "arms.svg" ? 5 : 6,
      )
    ) {
      assert.ok(svg.includes(word), `${name}: ${word}`);
    }
    assert.match(svg, /<title>New &#38; better, .* figure<\/title><text[^>]*>New &#38; better, .*…</);
  }
});

test("experiment.finish() places dots, means and the reference's line of arms.svg on one scale", async () => {
  const experiment = await openExperiment(new RunFolder(join(folder, "figure")), { ...OPTIONS, settings: {} });
  const single = (values: number[]) => values.map((Dice, k) => ({ id: `${k}`, classes: { L: { Dice } } }));
  await experiment.add("a", 1, single([0.25, 0.25]));
  await experiment.add("a", 2, single([0.5, 0.5]));
  await experiment.add("b", 1, single([0.5, 0.5]));
  await experiment.add("b", 2, single([0.75, 1]));
  await experiment.finish();
  const svg = readFileSync(join(folder, "figure/arms.svg"), "utf8");
  const dots = [...svg.matchAll(/<circle cx="([\d.]+)"/g)].map((match) => Number(match[1]));
  const bars = [...svg.matchAll(/<path d="M([\d.]+),[\d.]+v18"/g)].map((match) => Number(match[1]));
  const line = Number(/<line x1="([\d.]+)"[^>]*stroke-dasharray/.exec(svg)![1]);
  // Of 0.25 0.5 | 0.5 0.875 in pixels, rounded to a hundredth.
  const scale = (dots[1] - dots[0]) / 0.25;
  const wanted = [0.25, 0.5, 0.5, 0.875].map((v) => dots[0] + (v - 0.25) * scale);
  dots.forEach((x, k) => assert.ok(Math.abs(x - wanted[k]) < 0.1, `dot ${k}`));
  assert.ok(Math.abs(bars[0] - dots[0] - 0.125 * scale) < 0.1 && Math.abs(bars[1] - dots[0] - 0.4375 * scale) < 0.1);
  assert.is(line, bars[0]);
});

test("chooseArms() takes main, all or names, in their order, and tells a name that is none", () => {
  const [main, more] = [[{ name: "a" }, { name: "b" }], [{ name: "c" }]];
  const names = (text: string) => chooseArms(text, main, more).map(({ name }) => name).join("");
  assert.equal(["main", "all", "c, a", "b"].map(names), ["ab", "abc", "ac", "b"]);
  assert.throws(() => names("a,d"), /--arms: there is no d; there are a, b, c/);
});

test.run();
