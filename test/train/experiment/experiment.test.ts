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
import { bootstrapInterval, wilcoxon } from "../../../engine/train/experiment/statistics.ts";
import { checkSvg } from "../../helpers/svg.ts";
import { refuses } from "../../helpers/refuse.ts";

const folder = mkdtempSync(join(tmpdir(), "voxgrad-experiment-"));
test.after(() => rmSync(folder, { recursive: true, force: true }));

const close = (got: number, wanted: number, tolerance: number, what = "") =>
  assert.ok(Math.abs(got - wanted) <= tolerance * Math.abs(wanted), `${what}: got ${got}, wanted ${wanted}`);

/** Whole numbers that the golden constants were computed from. */
function drawn(count: number, seed: number, modulus: number, shift: number): number[] {
  let x = seed;
  return Array.from({ length: count }, () => {
    x = (Math.imul(x, 1103515245) + 12345) & 0x7fffffff;
    return ((x >> 8) % modulus) - shift;
  });
}

// scipy 1.10.1: scipy.stats.wilcoxon(d, zero_method="wilcox", correction=False, method="exact" or "approx"). Where
// there are ties, which that exact method has not, all 2^n choices of signs were counted.
const GOLDEN: readonly [
  data: [number, number, number, number],
  statistic: number,
  approximate: number,
  exact?: number,
][] = [
  [[5, 1, 1000, 300], 6, 0.6858304344516057, 0.8125],
  [[12, 6, 9, 3], 20, 0.1329244248231632, 0.15771484375], // 7 ties
  [[24, 2, 100000, 42000], 122, 0.4237107971667934, 0.4389305114746094],
  [[24, 3, 15, 5], 60.5, 0.09554814470408779], // 4 zeros, 13 ties
  [[50, 7, 1000000, 450000], 572, 0.5271975580152891, 0.5335711137818162],
  [[72, 4, 1000000, 440000], 882, 0.015339974237148815, 0.014830304130572255],
  [[72, 5, 21, 8], 786.5, 0.007523699808888911], // 2 zeros, 59 ties
  [[72, 8, 1000000, 100000], 50, 1.3106426830127557e-12, 1.3375920786566284e-17],
];

test("wilcoxon() gives scipy's numbers, with ties and zeros, exact and approximate", () => {
  for (const [data, statistic, approximate, exact] of GOLDEN) {
    const differences = drawn(...data);
    const what = data.join();
    assert.is(wilcoxon(differences).statistic, statistic, what);
    // Float64 sums and erfc: scipy's own is good to some 1e-15 as well.
    close(wilcoxon(differences, { method: "approximate" }).p, approximate, 1e-12, what);
    if (exact !== undefined) close(wilcoxon(differences, { method: "exact" }).p, exact, 1e-12, what);
    const auto = wilcoxon(differences, { method: data[0] <= 50 ? "exact" : "approximate" });
    assert.equal(wilcoxon(differences), auto, "exact up to 50");
    assert.equal(wilcoxon(differences.map((d) => -d)), auto, "two-sided");
  }
  assert.equal(wilcoxon([0, 0, 3, 0, -5, 0]), wilcoxon([3, -5]), "zeros are dropped");
  assert.is(wilcoxon([1, -1]).p, 1);
  assert.equal(wilcoxon([0, 0]), { p: NaN, statistic: 0, count: 0 });
  assert.throws(() => wilcoxon([1, NaN]), "a difference is NaN");
});

test("bootstrapInterval() has the spread of rows, columns and what is left", () => {
  const prng = new Prng(5);
  const [R, C] = [24, 30];
  const [rows, columns] = [R, C].map((n) => Array.from({ length: n }, () => prng.normal()));
  const values = rows.map((r) => columns.map((c) => 3 + 0.8 * r + 0.5 * c + prng.normal()));
  const mean = (list: readonly number[]) => list.reduce((a, b) => a + b, 0) / list.length;
  const m = mean(values.flat());
  const byRow = values.map(mean);
  const byColumn = columns.map((_, c) => mean(values.map((row) => row[c])));
  const square = (list: readonly number[]) => mean(list.map((v) => v * v));
  const rest = values.map((row, r) => row.map((v, c) => v - byRow[r] - byColumn[c] + m));
  // Variance of sum of w_r v_c d_rc / RC for multinomial w and v.
  const variance = square(byRow.map((v) => v - m)) / R + square(byColumn.map((v) => v - m)) / C +
    square(rest.flat()) / (R * C);
  const found = bootstrapInterval(values);
  close(found.mean, m, 1e-12);
  // The means of so many values are about normal, and 10000 resamples place a 2.5 % point to about 1 % of the width.
  close(found.high - found.low, 2 * 1.959964 * Math.sqrt(variance), 0.04);
  assert.ok(Math.abs(found.high + found.low - 2 * m) < 0.1 * (found.high - found.low));
  assert.equal(bootstrapInterval(values), found, "deterministic");
  assert.ok(bootstrapInterval(values, { level: 0.5 }).low > found.low);

  // One group: the plain bootstrap of its items; items that repeat over groups are no further evidence.
  const single = bootstrapInterval([values[0]]);
  const repeated = bootstrapInterval(Array.from({ length: 3 }, () => values[0]));
  close(repeated.high - repeated.low, single.high - single.low, 0.04);
  const spread = 2 * 1.959964 * Math.sqrt(square(values[0].map((v) => v - mean(values[0]))) / C);
  close(single.high - single.low, spread, 0.06);
  const constant = bootstrapInterval([[2, 2, NaN], [NaN, 2, NaN], [NaN, NaN, NaN]]);
  assert.equal(constant, { mean: 2, low: 2, high: 2 });
  assert.equal(bootstrapInterval([[NaN, 0.5]]), { mean: 0.5, low: NaN, high: NaN });
  assert.equal(bootstrapInterval([]), { mean: NaN, low: NaN, high: NaN });
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
  const p = (seeds: number[]) => {
    const options = { arms: ARMS, seeds, measures: [DICE], reference: "a" };
    const { difference } = summarizeArms(resultsOf(seeds), options)[0].arms[1].cells[0];
    assert.equal([difference!.seeds, difference!.pairs], [seeds.length, 16 * seeds.length]);
    return difference!.p;
  };
  assert.ok(Number.isNaN(p([1, 2, 3])) && Number.isNaN(p([1, 2, 3, 4, 5])));
  // All six signs alike: 2 of 64. With the seventh, of the smallest rank, against: 4 of 128.
  close(p([1, 2, 3, 4, 5, 6]), 2 / 64, 1e-12);
  close(p([1, 2, 3, 4, 5, 6, 7]), 4 / 128, 1e-12);
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
  // Differences 0.125, 0.25 (seed 1), 0.125, -0.125 (seed 2).
  const { low, high, ...rest } = difference!;
  assert.equal(rest, { mean: 0.09375, p: NaN, seeds: 2, pairs: 4, cases: 2, better: 3, worse: 1 });
  assert.ok(low >= -0.125 && low < 0.09375 && high > 0.09375 && high <= 0.25);

  assert.equal(M[0], { bySeed: [0.75, 0.875], mean: 0.8125, deviation: sd(0.0625), values: 4, undefined: 2 });
  assert.equal([M[1].bySeed, M[1].mean, M[1].deviation, M[1].undefined], [[0.5625, NaN], 0.5625, NaN, 2]);
  // One pair only.
  const one = { mean: -0.125, low: NaN, high: NaN, p: NaN, seeds: 1, pairs: 1, cases: 1, better: 0, worse: 1 };
  assert.equal(M[1].difference, one);

  assert.equal([mean[0].bySeed, mean[1].bySeed], [[0.6875, 0.8125], [0.6875, 0.75]]);
  assert.equal([mean[0].undefined, mean[0].values], [2, 8]);
  // 0 (both classes, seed 1 x), 0.25, 0.125, -0.125 (L alone).
  const { mean: over, pairs, better, worse } = mean[1].difference!;
  assert.equal([over, pairs, better, worse], [0.0625, 4, 2, 1]);

  // A measure whose low values are good; a seed that only one arm has is in its mean, and in no pair.
  const part = RESULTS.filter(({ arm, seed }) => arm !== "b" || seed === 1);
  const [, lower] = summarizeArms(part, { ...options, measures: [{ ...DICE, better: "lower" }] });
  assert.equal(lower.arms.map(({ seeds }) => seeds), [[1, 2], [1]]);
  const turned = lower.arms[1].cells[0].difference!;
  assert.equal([turned.pairs, turned.better, turned.worse], [2, 0, 2]);
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
  // 0.125 and 0.25 of two cases each: the interval is that of two seeds.
  const better = String.raw`\+0\.1875 \[\+0\.1250, \+0\.2500\], better in 4/4`;
  assert.match(
    markdown,
    new RegExp(String.raw`\| New & better.* \| ${better} \| 0\.0000 \[0\.0000, 0\.0000\], better in 0/4 \|`),
  );
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
    "With fewer than 6 seeds, here 2, p cannot fall below 0.05",
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
