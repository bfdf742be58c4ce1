// report.html by hand-made run folders: what a case has not annotated, curves, empty tables, files of other hands.
import { createHash } from "node:crypto";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { compareLabels, Comparison, makeVolume, scaling } from "../../../engine/imaging/mod.ts";
import {
  formatTable,
  overlaySvg,
  RunFolder,
  tilesSvg,
  writeComparison,
  writeReport,
  writeTable,
} from "../../../engine/train/mod.ts";
import { recordChart } from "../../../engine/train/plot/record_chart.ts";
import { chartSvg } from "../../../engine/train/plot/plots.ts";
import { HOSTILE, hostileRun } from "../../helpers/hostile_run.ts";
import { checkSvg } from "../../helpers/svg.ts";

const folder = await mkdtemp(join(tmpdir(), "voxgrad-report-"));
test.after(() => rm(folder, { recursive: true, force: true }));

const volumeOf = (values: readonly number[]) =>
  makeVolume(Uint8Array.from(values), { shape: [2, 2, 2], affine: scaling([1, 1, 1]), name: "map" });
const classes = ["liver", "spleen", "kidney"].map((name, k) => ({ name, values: [k + 1] }));
const [predicted, drawn] = [[1, 1, 0, 2, 0, 3, 0, 0], [1, 1, 0, 0, 0, 0, 0, 0]];

async function open(name: string, config: object): Promise<RunFolder> {
  const run = new RunFolder(join(folder, name));
  await run.writeJson("config.json", config);
  return run;
}
/** Rows of the table that has a heading, as lists of texts. */
function rowsOf(html: string, heading: string): string[][] {
  const table = html.match(/<table>[^]*?<\/table>/g)!.find((each) => each.includes(`>${heading}</th>`))!;
  return table.match(/<tr>.*?<\/tr>/g)!.map((row) =>
    [...row.matchAll(/<t[dh][^>]*>(.*?)<\/t[dh]>/g)].map((cell) => cell[1])
  );
}

test("writeReport() counts what a case has not annotated as that, not as absent", async () => {
  const run = await open("partial", { classes: classes.map(({ name }) => name), options: {} });
  const compare = (labelsPresent?: number[]) =>
    compareLabels(volumeOf(predicted), volumeOf(drawn), { classes, ...(labelsPresent && { labelsPresent }) });
  const cases = [["whole"], ["part", [1]], ["other", [1, 2]]] as [string, number[]?][];
  await writeComparison(
    run,
    new Comparison(cases.map(([id, present]) => ({
      id,
      prediction: `${id}.nii.gz`,
      reference: `${id}.nii.gz`,
      classes: compare(present),
    }))),
  );
  await writeReport(run);
  const html = await readFile(`${run.path}/report.html`, "utf8");
  const [headings, ...rows] = rowsOf(html, "in neither");
  const column = (name: string) => rows.slice(0, 3).map((row) => row[headings.indexOf(name)]);
  // Where it is annotated each class is in the prediction, so none is in neither map.
  assert.equal(column("in neither"), ["0", "0", "0"]);
  assert.equal(column("not annotated"), ["0", "1", "2"]);
  assert.equal(column("in one alone"), ["0", "2", "1"]);
  const named = rowsOf(html, "case").slice(1).map((row) => `${row[0]} ${row[1]}`);
  assert.equal(named.filter((name) => name.includes("not annotated")).sort(), [
    "other kidney (not annotated)",
    "part kidney (not annotated)",
    "part spleen (not annotated)",
  ]);
});

test("writeReport() names curves by what they are of, and says where a table is empty", async () => {
  const line = JSON.stringify({ step: 1, loss: 1.5, rate: 1e-3, dice: [0.25], seconds: 1 });
  const run = await open("curves", { classes: ["liver", "spleen"], curves: ["class of the episode"], options: {} });
  await run.write("log.jsonl", `${line}\n`);
  await writeTable(run, { name: "1", title: "Nothing", caption: "Of no case.", headings: ["class", "Dice"], rows: [] });
  await writeReport(run);
  const html = await readFile(`${run.path}/report.html`, "utf8");
  assert.match(html, />class of the episode 0\.25</);
  assert.not.match(html, />liver |>spleen /);
  assert.match(html, /Of no case\.<\/p><p>There is nothing to show\.<\/p>/);
  // Without such names the dataset's are not taken for others either.
  const older = await open("older", { classes: ["liver", "spleen"], options: {} });
  await older.write("log.jsonl", `${line}\n`);
  await writeReport(older);
  assert.match(await readFile(`${older.path}/report.html`, "utf8"), />class 1 0\.25</);
});

test("writeReport() takes no script, handler or address out of a foreign run folder", async () => {
  const path = join(folder, "foreign");
  await hostileRun(path);
  const html = await readFile(`${path}/report.html`, "utf8");
  const scripts = [...html.matchAll(/<script>([^]*?)<\/script>/g)].map((match) => match[1]);
  assert.is(scripts.length, 1, "its own script alone");
  assert.is(html.match(/<script/gi)!.length, 1);
  const hash = createHash("sha256").update(scripts[0]).digest("base64");
  assert.ok(
    html.includes(
      `content="default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-${hash}'; base-uri 'none'`,
    ),
  );
  // Nothing of it is an element or an attribute of the page; what is text is escaped.
  const elements = html.replace(/<script>[^]*<\/script>/, "").match(/<[a-zA-Z][^>]*>/g)!;
  for (const element of elements) {
    assert.not.match(element, /(src|href)\s*=\s*"(?!data:image\/svg\+xml|#)/);
    const each = element.replace(/"[^"]*"/g, '""');
    assert.not.match(each, /\son\w+=|\b(src|href)\s*=(?!"")/i);
    assert.not.match(each, /^<(iframe|foreignObject|a|object|embed|link|base|form)\b/i);
  }
  assert.is(html.match(/<img /g)!.length, HOSTILE.length + 1);
});

test("formatTable() says so where there is nothing under its headings", () => {
  assert.is(formatTable(["class", "Dice"], []), "No class to show");
});

test("readTables() refuses what is no table, by file", async () => {
  const run = await open("tables", { options: {} });
  for (
    const content of [
      '{"title":{}}',
      "null",
      '{"title":"t","caption":"c","headings":["a"],"rows":[[{"toFixed":1}]]}',
      '{"title":"t","caption":"c","headings":["a"],"rows":[[1,2]]}',
    ]
  ) {
    await run.write("tables/odd.json", content);
    const message = await writeReport(run).then(() => "", (error: Error) => error.message);
    assert.match(message, /tables\/odd\.json: it is no table of writeTable/, content);
  }
});

/** Boxes that texts of an SVG take, by a width of 0.5 em a character, which is less than fonts have. */
const textBoxes = (svg: string) =>
  [...svg.matchAll(/<text x="([\d.]+)" y="([\d.]+)"([^>]*)>([^<]*)<\/text>/g)].map((m) => {
    const size = Number(/font-size="([\d.]+)"/.exec(m[3])?.[1] ?? 12);
    const content = m[4].replace(/&#\d+;/g, "x");
    const width = 0.5 * size * [...content].length;
    const left = Number(m[1]) - (m[3].includes('"end"') ? width : m[3].includes('"middle"') ? width / 2 : 0);
    return { left, right: left + width, bottom: Number(m[2]), top: Number(m[2]) - 0.7 * size, content };
  });

test("chartSvg() and others keep legends, titles and captions apart and within the picture", () => {
  const organs = ["liver", "spleen", "pancreas", "left kidney", "right kidney"];
  const many = Array.from({ length: 31 }, (_, k) => `structure number ${k + 1} of the abdomen`);
  const long = ["x".repeat(400), "肝".repeat(200), "a name & <more> of it, ".repeat(20)];
  const image = makeVolume(Float32Array.from({ length: 8 }, (_, k) => k), {
    shape: [2, 2, 2],
    affine: scaling([1, 1, 1]),
    name: "i",
  });
  const labels = Uint8Array.from(drawn);
  for (const names of [organs, many, long, [], ["one"]]) {
    const record = { step: 1, loss: 1, rate: 1e-3, dice: names.map(() => 0.123456), seconds: 1 };
    const measured = names.map((name, k) => ({ name, dice: k % 2 ? 0.5 : NaN, truePositive: k % 3 ? 1 : NaN }));
    const pictures = {
      chart: recordChart([record], names, { title: names.join(" ") }),
      overlay: overlaySvg(
        [{ name: names.join(" ") || "case", image, reference: labels, prediction: labels, measured }],
        { labels: ["background", ...names], title: names.join(" ") },
      ),
      tiles: tilesSvg([{ name: names.join(" "), image, slice: 0, tiles: [{ values: image.data, scale: "heat" }] }], {
        columns: [names.join(" ")],
        classes: names,
      }),
    };
    for (const [kind, svg] of Object.entries(pictures)) {
      checkSvg(svg);
      const width = Number(/viewBox="0 0 (\d+)/.exec(svg)![1]);
      const boxes = textBoxes(svg).filter(({ content }) => content !== "");
      boxes.forEach((a, i) => {
        assert.ok(
          a.left >= -1 && a.right <= width + 1,
          `${kind}: "${a.content}" runs from ${a.left} to ${a.right} of ${width}`,
        );
        for (const b of boxes.slice(i + 1)) {
          const apart = a.right <= b.left || b.right <= a.left || a.bottom <= b.top || b.bottom <= a.top;
          assert.ok(apart, `${kind}: "${a.content}" lies over "${b.content}"`);
        }
      });
    }
  }
});

test("overlaySvg() names what is not annotated, and regions with their own Dice", () => {
  const image = makeVolume(Float32Array.from({ length: 8 }, (_, k) => k), {
    shape: [2, 2, 2],
    affine: scaling([1, 1, 1]),
    name: "i",
  });
  const [a, b] = [Uint8Array.from([1, 2, 3, 0, 0, 0, 0, 0]), Uint8Array.from([2, 1, 3, 3, 0, 0, 0, 0])];
  const regions = [{ name: "WT", values: [1, 2, 3] }, { name: "ET", values: [3] }];
  const labels = ["background", "oedema", "core", "enhancing"];
  const svg = overlaySvg([{ name: "c", image, prediction: a, reference: b }], { labels, regions });
  assert.match(svg, />c: Dice WT 0\.86, ET 0\.67</);
  assert.not.match(svg, /oedema|enhancing/);
  const measured = compareLabels(volumeOf(predicted), volumeOf(drawn), { classes, labelsPresent: [1] });
  const partly = overlaySvg([{
    name: "p",
    image,
    prediction: Uint8Array.from(predicted),
    reference: Uint8Array.from(drawn),
    measured,
  }], { labels: ["b", "liver", "spleen", "kidney"] });
  assert.match(partly, />p: Dice liver 1\.00, spleen not annotated, kidney not annotated</);
});

test("chartSvg() puts a constant curve in the middle of its axis, which never goes below 0", () => {
  const ticks = (value: number) => {
    const svg = chartSvg([{ title: "Learning rate", series: { rate: [[1, value], [2, value]] } }]);
    return [...svg.matchAll(/text-anchor="end"[^>]*>([^<]*)</g)].map((m) => Number(m[1]));
  };
  for (const value of [1e-3, 0.5, 3e-4, 700]) {
    assert.ok(ticks(value).every((tick) => tick >= 0 && tick < 3 * value), `${value}: ${ticks(value)}`);
  }
});

test.run();
