/** Scatter plots, histograms and a report's figures: places in the SVG against those computed by hand. */
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "uvu";
import * as assert from "uvu/assert";
import {
  Histogram,
  histogramSvg,
  type Point,
  readFigures,
  RunFolder,
  scatterSvg,
  writeFigure,
  writeReport,
} from "../../../engine/train/mod.ts";
import { checkSvg } from "../../helpers/svg.ts";

const circles = (svg: string): number[][] =>
  [...svg.matchAll(/<circle cx="([-\d.]+)" cy="([-\d.]+)"/g)].map((m) => [Number(m[1]), Number(m[2])]);
/** The plot of each panel: left, top, bottom, right of its axes. */
const frames = (svg: string): number[][] =>
  [...svg.matchAll(/<path d="M([\d.]+),([\d.]+)V([\d.]+)H([\d.]+)" fill="none" stroke="#888"/g)].map((m) =>
    m.slice(1).map(Number)
  );

test("scatterSvg() places points on one square range for all panels, and the diagonal from corner to corner", () => {
  const panels = [
    {
      title: "one",
      notes: ["3 points"],
      groups: [{ name: "a", points: [[0, 10], [5, 5]] as Point[] }, { name: "b", points: [[10, 0]] as Point[] }],
    },
    { title: "two", groups: [{ name: "b", points: [[2, 3]] as Point[] }, { name: "a", points: [] }] },
  ];
  const svg = scatterSvg(panels, { title: "T <1>", xLabel: "x", yLabel: "y", diagonal: "boundary" });
  checkSvg(svg);
  const [one, two] = frames(svg);
  const [left, top, bottom, right] = one;
  assert.is(right - left, bottom - top, "square");
  const side = right - left;
  // The range of all is 0 to 10, which is nice already.
  const at = (frame: number[], x: number, y: number) => [frame[0] + (side * x) / 10, frame[2] - (side * y) / 10];
  const wanted = [at(one, 0, 10), at(one, 5, 5), at(one, 10, 0), at(two, 2, 3)];
  const near = (a: number[][], b: number[][]) =>
    a.length === b.length && a.every((p, k) => p.every((v, axis) => Math.abs(v - b[k][axis]) <= 0.005));
  assert.ok(near(circles(svg), wanted), `${circles(svg)} for ${wanted}`);
  assert.ok(svg.includes(`d="M${left},${bottom}L${right},${top}"`), "x = y");
  for (const word of [">boundary<", ">3 points<", "T &#60;1&#62;", ">one<", ">two<"]) {
    assert.ok(svg.includes(word), word);
  }
  // A name has one color, whatever its place in a panel, and stands in the legend once.
  const groups = [...svg.matchAll(/<g fill="(#\w+)" fill-opacity/g)].map((m) => m[1]);
  assert.equal([groups[0], groups[1]], [groups[3], groups[2]]);
  assert.is.not(groups[0], groups[1]);
  assert.is(svg.match(/>b</g)!.length, 1);
});

test("scatterSvg() takes many panels, none, and empty groups; it refuses what is not finite", () => {
  const panel = (title: string) => ({
    title,
    groups: [{ name: "a", points: [[1, 1], [1, 1]] as Point[], color: "#123456" }],
  });
  const seven = scatterSvg("abcdefg".split("").map(panel));
  checkSvg(seven);
  assert.is(frames(seven).length, 7);
  assert.is(new Set(frames(seven).map((f) => f[1])).size, 3, "rows of three");
  assert.ok(seven.includes('fill="#123456"'));
  const empty = scatterSvg([{ title: "e", groups: [{ name: "a", points: [] }] }]);
  checkSvg(empty);
  assert.ok(empty.includes("no values"));
  checkSvg(scatterSvg([]));
  for (const bad of [[NaN, 1], [1, NaN], [Infinity, 0]] as Point[]) {
    const groups = [{ name: "a", points: [[0, 0] as Point, bad] }];
    assert.throws(
      () => scatterSvg([{ title: "P", groups }]),
      /scatterSvg: P: point 1 of "a" is \(.*wanted finite numbers/,
    );
  }
});

test("Histogram.add() counts as a loop over its edges does, and its density sums to the share in range", () => {
  const values = Array.from({ length: 997 }, (_, i) => ((i * 7919) % 1000) / 100 - 2);
  const histogram = new Histogram({ range: [-1, 6], bins: 14 });
  for (const value of values) histogram.add(value);
  const wanted = Array.from({ length: 14 }, (_, b) => {
    const [from, to] = [-1 + b / 2, -1 + (b + 1) / 2];
    return values.filter((v) => v >= from && (v < to || (b === 13 && v === to))).length;
  });
  assert.equal([...histogram.counts], wanted);
  assert.is(histogram.total, 997);
  const within = values.filter((v) => v >= -1 && v <= 6).length;
  assert.ok(within < 997);
  const area = [...histogram.density()].reduce((sum, density) => sum + density * 0.5, 0);
  assert.ok(Math.abs(area - within / 997) < 1e-12);
  assert.throws(() => histogram.add(NaN), /Histogram: got NaN/);
  for (const range of [[1, 1], [2, 1], [NaN, 1], [0, Infinity]] as [number, number][]) {
    assert.throws(() => new Histogram({ range }), /Histogram: range is \[low, high\]/);
  }
  assert.throws(() => new Histogram({ range: [0, 1], bins: 2.5 }), /bins is an integer/);
  assert.equal([...new Histogram({ range: [0, 1], bins: 2 }).density()], [0, 0]);
});

test("histogramSvg() draws densities as steps; groups share bins", () => {
  const histogram = new Histogram({ range: [0, 4], bins: 4 });
  for (const value of [0, 0.5, 1, 3.5]) histogram.add(value);
  const none = new Histogram({ range: [0, 4], bins: 4 });
  const svg = histogramSvg([{ title: "P", groups: [{ name: "a", histogram }, { name: "empty", histogram: none }] }], {
    xLabel: "HU",
  });
  checkSvg(svg);
  const [left, top, bottom, right] = frames(svg)[0];
  // Densities 0.5, 0.25, 0, 0.25 up to an axis of 0.5.
  const x = (value: number) => left + ((right - left) * value) / 4;
  const y = (value: number) => bottom - ((bottom - top) * value) / 0.5;
  const rounded = (v: number) => Math.round(v * 100) / 100;
  const steps = [0.5, 0.25, 0, 0.25].map((d, i) => `V${rounded(y(d))}H${rounded(x(i + 1))}`).join("");
  assert.ok(svg.includes(`<path d="M${left},${rounded(bottom)}${steps}V${rounded(bottom)}Z"`), svg);
  assert.is(svg.match(/fill-opacity="0.2"/g)!.length, 1, "nothing is drawn for an empty group");
  assert.ok(svg.includes(">empty<"), "but the legend has it");
  const nothing = histogramSvg([{ title: "P", groups: [{ name: "empty", histogram: none }] }]);
  checkSvg(nothing);
  assert.ok(nothing.includes("no values"));
  checkSvg(histogramSvg([]));
  const others = new Histogram({ range: [0, 5], bins: 4 });
  assert.throws(
    () => histogramSvg([{ title: "P", groups: [{ name: "a", histogram }, { name: "b", histogram: others }] }]),
    /share bins, got 4 bins over 0 to 4 for "a", 4 bins over 0 to 5 for "b"/,
  );
});

test("writeFigure() keeps title and caption; reports show figures of the run, its folds and other SVG files", async () => {
  const folder = await mkdtemp(join(tmpdir(), "voxgrad-figures-"));
  try {
    const run = new RunFolder(folder);
    assert.equal(await readFigures(folder), []);
    await run.writeJson("config.json", { options: {} });
    const figure = { name: "b", title: 'Logits & "more" <1>', caption: "Held-out > training.", svg: scatterSvg([]) };
    await writeFigure(run, figure);
    await writeFigure(run.folder("fold_1"), { ...figure, title: "Inner" });
    await writeFile(
      join(folder, "figures/a.svg"),
      '<?xml version="1.0"?>\n<svg xmlns="x"><g><title>of a shape</title></g></svg>',
    );
    await writeFile(join(folder, "figures/notes.txt"), "no figure");
    const [a, b, ...more] = await readFigures(folder);
    assert.equal(more, []);
    assert.equal(a, {
      name: "a",
      title: "a",
      caption: "",
      svg: '<svg xmlns="x"><g><title>of a shape</title></g></svg>',
    });
    assert.equal(b, figure);
    const { readFile } = await import("node:fs/promises");
    const page = await readFile(await writeReport(run), "utf8");
    const order = [
      "<h2>a</h2>",
      '<h2>Logits &#38; &#34;more&#34; &#60;1&#62;</h2>\n<p>Held-out &#62; training.</p><img src="data:image/svg+xml;',
      "<h2>Inner of fold_1</h2>",
    ];
    const places = order.map((words) => page.indexOf(words));
    assert.ok(places.every((at, k) => at > (places[k - 1] ?? 0)), String(places));
    assert.not.match(page, "<?xml");
    await mkdir(join(folder, "wrong/figures"), { recursive: true });
    await writeFile(join(folder, "wrong/figures/x.svg"), "<p>");
    const message = await readFigures(join(folder, "wrong")).catch((error: Error) => error.message);
    assert.match(message as string, /figures\/x\.svg: it is no SVG document/);
    const refused = await writeFigure(run, { ...figure, svg: "<p>" }).catch((error: Error) => error.message);
    assert.match(refused, /writeFigure: b is no SVG document/);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
});

test.run();
