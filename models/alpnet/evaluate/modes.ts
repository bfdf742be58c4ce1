/** The two evaluation modes of one-shot segmentation: over choices of the support, and within single scans. */
import {
  type CaseStore,
  type ClassComparison,
  type ComparedClass,
  compareLabels,
  Comparison,
  loadCase,
  metrics,
  openCaseStore,
  type PreparedCase,
  readVolume,
  storeFolder,
  type Volume,
  writeNifti,
} from "../../../engine/imaging/mod.ts";
import {
  chartSvg,
  ConfigError,
  counted,
  formatTable,
  labelColor,
  type OverlayCase,
  overlaySvg,
  print,
  type ReportTable,
  writeFigure,
  writeReport,
  writeTable,
} from "../../../engine/train/mod.ts";
import { type Evaluation, openResults } from "./results.ts";
import { oneShotSegmenter, sliceRanges } from "../scans.ts";
import {
  drawSupports,
  notableSupports,
  pairTable,
  type Spread,
  spreadOf,
  summarizeSupports,
  supportsSvg,
  supportTables,
} from "./statistics.ts";
import { segmentWithin } from "./within.ts";

/** Cases shown of a support, and scans shown of --within. */
const SHOWN = 4;
/** Slices shown of a scan with one labeled slice. */
const TILES = 6;

const valuesOf = (classes: readonly ComparedClass[]): number[] => classes.map(({ values }) => values[0]);

/** Maps classes to 1, 2, ... and everything else to 0, for overlays. */
function asClasses(labels: ArrayLike<number>, classes: readonly ComparedClass[]): Uint8Array {
  const number = new Map(valuesOf(classes).map((value, k) => [value, k + 1]));
  return Uint8Array.from(labels, (value) => number.get(value) ?? 0);
}
const namesOf = (classes: readonly ComparedClass[]): string[] => ["background", ...classes.map(({ name }) => name)];

/** Mean Dice over the classes for which it is defined. */
const diceOf = ({ classes }: { readonly classes: readonly ClassComparison[] }): number =>
  metrics.summarize(classes.map(({ dice }) => dice)).mean;

async function loaded({ dataset }: Evaluation, id: string) {
  const item = await loadCase(dataset, dataset.cases.find((each) => each.id === id)!);
  return { ...item, label: item.label! };
}

function printTable({ title, headings, rows }: ReportTable): void {
  print(`\n${title}\n${formatTable(headings, rows.map((row) => row.map((cell) => cell ?? NaN)))}`);
}

interface PairResult {
  readonly support: string;
  readonly id: string;
  readonly prediction: string;
  readonly reference: string;
  readonly classes: readonly ClassComparison[];
}

/** Every case from every support. */
export async function evaluateSupports(evaluation: Evaluation): Promise<object> {
  const { options, encoder, dataset, ids, classes, output } = evaluation;
  // For another dataset the labels differ from the plan's.
  const plan = { ...encoder.plan, labels: dataset.labels.map(({ name }) => name) };
  const store = await openCaseStore(dataset, plan, {
    folder: storeFolder(options.cache, dataset, plan),
    workers: options.workers,
    memory: options.memory * 1e9,
    ids,
  });
  const supports = drawSupports(await able(evaluation, store), options.supports, options.seed);
  print(`Supports: ${supports.join(", ")}; each segments ${ids.length - 1} cases`);
  const { lines, results } = await openResults<PairResult>(evaluation);
  const same = (a: { support: string; id: string }, b: { support: string; id: string }): boolean =>
    a.support === b.support && a.id === b.id;
  const pairs = supports.flatMap((support) => ids.filter((id) => id !== support).map((id) => ({ support, id })));
  const todo = pairs.filter((pair) => !results.some((each) => same(each, pair)));
  if (todo.length < pairs.length) print(`${pairs.length - todo.length} of ${pairs.length} scans are segmented already`);
  const segment = oneShotSegmenter(encoder.model, encoder.params, {
    ...encoder.fewShot,
    plan,
    chunks: encoder.chunks,
    batch: options.batch,
  });
  let current: PreparedCase | undefined;
  for (const { support, id } of counted(todo, "scan")) {
    if (current?.id !== support) current = onlyClasses(await store.get(support), classes);
    const { label, labelsPresent } = await loaded(evaluation, id);
    const query = await store.get(id);
    const found = await segment(
      query,
      [current],
      options.ranges === "known" ? { ranges: sliceRanges(query, valuesOf(classes)) } : {},
    );
    const prediction = `predictions/${id}_from_${support}.nii.gz`;
    await output.write(prediction, writeNifti(found, { dtype: "uint8", gzip: true }));
    const reference = dataset.cases.find((each) => each.id === id)!.label!;
    const result = {
      support,
      id,
      prediction,
      reference,
      classes: compareLabels(found, label, { classes, labelsPresent }),
    };
    await lines.add(result);
    await lines.flush();
    results.push(result);
  }
  const chosen = pairs.map((pair) => results.find((each) => same(each, pair))!);
  const summary = summarizeSupports(chosen);
  const [over, each] = supportTables(summary) as [ReportTable, ReportTable];
  const told = {
    supports: summary.supports,
    cases: ids.length - 1,
    ranges: options.ranges,
    classes: Object.fromEntries(summary.rows.map(({ name, Dice, HD95 }) => [name, { Dice, HD95 }])),
  };
  await output.writeJson("metrics.json", told);
  const named = chosen.map((pair) => ({ ...pair, id: `${pair.id} from ${pair.support}` }));
  await output.write("metrics.csv", new Comparison(named).toCsv());
  for (const table of [over, each, pairTable(chosen)]) await writeTable(output, table);
  await writeFigure(output, {
    name: "1_supports",
    title: "Spread over the supports",
    caption: `${supports.length} cases were the support in turn; each segmented the ${ids.length - 1} others.`,
    svg: supportsSvg(summary, { title: `${dataset.name}, one labeled case` }),
  });
  for (const [k, { which, support, dice }] of notableSupports(summary).entries()) {
    const own = chosen.filter((pair) => pair.support === support);
    await writeFigure(output, {
      name: `${k + 2}_${which}_support`,
      title: `${which[0].toUpperCase()}${which.slice(1)} support: ${support}`,
      caption: `Mean Dice ${
        dice.toFixed(3)
      }. The support with its labels, then the cases that came out worst, in the middle and best.`,
      svg: await supportOverlay(evaluation, support, own),
    });
  }
  await writeReport(output);
  for (const table of [each, over]) printTable(table);
  return told;
}

/** Cases that show all classes, after preparation. */
async function able({ ids, classes, dataset }: Evaluation, store: CaseStore): Promise<string[]> {
  const showing: string[] = [];
  for (const id of ids) {
    const { label } = await store.get(id);
    if (valuesOf(classes).every((value) => label.includes(value))) showing.push(id);
  }
  if (ids.length < 2) {
    throw new ConfigError(
      `${dataset.folder}: ${ids.length} case; one is the support and others are segmented, so name more --cases, ` +
        "or --within",
    );
  }
  if (showing.length === 0) {
    throw new ConfigError(
      `${dataset.folder}: no case shows all of ${classes.map(({ name }) => name).join(", ")}; name fewer --classes`,
    );
  }
  if (showing.length < ids.length) print(`${ids.length - showing.length} cases lack a class and cannot be the support`);
  return showing;
}

const onlyClasses = (item: PreparedCase, classes: readonly ComparedClass[]): PreparedCase => ({
  ...item,
  label: Uint8Array.from(item.label, (value) => (valuesOf(classes).includes(value) ? value : 0)),
});

async function supportOverlay(evaluation: Evaluation, support: string, own: readonly PairResult[]): Promise<string> {
  const { classes, output } = evaluation;
  const { image, label } = await loaded(evaluation, support);
  const shown: OverlayCase[] = [{ name: `${support}, the support`, image, reference: asClasses(label.data, classes) }];
  const level = (pair: PairResult): number => (Number.isNaN(diceOf(pair)) ? 2 : diceOf(pair));
  const ranked = [...own].sort((a, b) => level(a) - level(b));
  const places = new Set(
    Array.from({ length: SHOWN - 1 }, (_, k) => Math.round((k / (SHOWN - 2)) * (ranked.length - 1))),
  );
  for (const place of places) {
    const { id, prediction, classes: measured } = ranked[place];
    const query = await loaded(evaluation, id);
    const found = await readVolume(`${output.path}/${prediction}`);
    shown.push({
      name: id,
      image: query.image,
      reference: asClasses(query.label.data, classes),
      prediction: asClasses(found.data, classes),
      measured,
    });
  }
  return overlaySvg(shown, { labels: namesOf(classes) });
}

interface ScanResult {
  readonly id: string;
  readonly prediction: string;
  readonly reference: string;
  readonly along: "S" | "A" | "R";
  readonly size: readonly [number, number];
  readonly classes: readonly ClassComparison[];
  /** By class: the labeled slice as pictures count them, -1 without one; Dice of every slice. */
  readonly given: readonly number[];
  readonly bySlice: readonly (readonly (number | null)[])[];
}

/** Every scan from a slice of its own. */
export async function evaluateWithin(evaluation: Evaluation): Promise<object> {
  const { options, encoder, dataset, ids, classes, output } = evaluation;
  const { preparation, side, clip, slice, ranges, batch } = options;
  const { lines, results } = await openResults<ScanResult>(evaluation);
  const lacking = new Set<string>();
  for (const id of counted(ids.filter((each) => !results.some((result) => result.id === each)), "scan")) {
    const item = await loaded(evaluation, id);
    if (!item.label.data.some((value) => valuesOf(classes).includes(value))) {
      lacking.add(id);
      continue;
    }
    const found = await segmentWithin(encoder.model, encoder.params, item, {
      ...encoder.fewShot,
      plan: { ...encoder.plan, labels: dataset.labels.map(({ name }) => name) },
      classes,
      preparation,
      ranges,
      batch,
      ...(side > 0 && { side }),
      ...(clip.length > 0 && { clip: clip as unknown as [number, number] }),
      ...(slice > 0 && { slice: slice - 1 }),
    });
    const prediction = `predictions/${id}.nii.gz`;
    await output.write(prediction, writeNifti(found.prediction, { dtype: "uint8", gzip: true }));
    const result = {
      id,
      prediction,
      reference: dataset.cases.find((each) => each.id === id)!.label!,
      along: found.places.along,
      size: found.size,
      classes: found.classes.map(({ compared }) => compared),
      given: found.classes.map(({ given }) => given),
      bySlice: found.classes.map(({ bySlice }) => bySlice),
    };
    await lines.add(result);
    await lines.flush();
    results.push(result);
  }
  if (lacking.size > 0) print(`Left out, for they show no class: ${[...lacking].join(", ")}`);
  const chosen = ids.filter((id) => !lacking.has(id)).map((id) => results.find((each) => each.id === id)!);
  if (chosen.length === 0) {
    throw new ConfigError(
      `${dataset.folder}: no case shows one of ${classes.map(({ name }) => name).join(", ")}; name other --classes`,
    );
  }
  const tables = withinTables(chosen, classes);
  const told = {
    ranges,
    preparation,
    scans: chosen.map(({ id, classes: measured, given, size }) => ({
      id,
      pixels: size,
      classes: Object.fromEntries(
        measured.map((
          each,
          k,
        ) => [each.name, { support_slice: given[k] + 1 || null, Dice: each.dice, HD95: each.hausdorff95 }]),
      ),
    })),
    classes: Object.fromEntries(classes.map(({ name }, k) => [name, {
      Dice: spreadOf(chosen.map((each) => each.classes[k].dice)),
      HD95: spreadOf(chosen.map((each) => each.classes[k].hausdorff95)),
    }])),
  };
  await output.writeJson("metrics.json", told);
  await output.write("metrics.csv", new Comparison(chosen).toCsv());
  for (const table of tables) await writeTable(output, table);
  await withinFigures(evaluation, chosen);
  await writeReport(output);
  for (const table of tables) printTable(table);
  return told;
}

function withinTables(results: readonly ScanResult[], classes: readonly ComparedClass[]): ReportTable[] {
  const over = classes.map(({ name }, k) => {
    const [dice, distance] = [(each: ClassComparison) => each.dice, (each: ClassComparison) => each.hausdorff95]
      .map((of) => spreadOf(results.map((each) => of(each.classes[k])))) as [Spread, Spread];
    return [name, dice.mean, dice.deviation, dice.least, dice.largest, distance.mean, dice.undefined];
  });
  return [
    {
      name: "1_classes",
      title: "One labeled slice of the same scan",
      caption:
        `Over ${results.length} scan${
          results.length === 1 ? "" : "s"
        }: Dice of all slices but the labeled one, and HD95 (mm) of the scan with that ` +
        "slice as it was labeled. Where neither map has the class in another slice nothing is measured.",
      headings: ["class", "Dice", "deviation", "least", "largest", "HD95", "not measured"],
      rows: over,
    },
    {
      name: "2_scans",
      title: "Each scan",
      caption: "Slices are numbered as in the overlays; pixels are those of a slice as the encoder saw it.",
      headings: ["scan", "pixels", "class", "labeled slice", "Dice", "sensitivity", "precision", "HD95 (mm)"],
      rows: results.flatMap(({ id, size, classes: measured, given }) =>
        measured.map((each, k) => [
          id,
          size.join(" x "),
          each.name,
          given[k] < 0 ? NaN : given[k] + 1,
          each.dice,
          each.sensitivity,
          each.precision,
          each.hausdorff95,
        ])
      ),
    },
  ];
}

async function withinFigures(evaluation: Evaluation, results: readonly ScanResult[]): Promise<void> {
  const { classes, output } = evaluation;
  // The worst, the best, and scans in between.
  const level = (each: ScanResult): number => (Number.isNaN(diceOf(each)) ? -1 : diceOf(each));
  const ranked = [...results].sort((a, b) => level(a) - level(b));
  const places = Array.from({ length: SHOWN }, (_, k) => Math.round((k / (SHOWN - 1)) * (ranked.length - 1)));
  const shown = [...new Set(places)].map((place) => ranked[place]);
  await writeFigure(output, {
    name: "1_slices",
    title: "Dice by slice",
    caption: "Slices as the overlays count them. A line ends where neither map has the class, and is broken at the " +
      "labeled slice.",
    svg: chartSvg(
      shown.map(({ id, given, bySlice }) => ({
        title: id,
        range: [0, 1] as const,
        latest: false,
        colors: classes.map((_, k) => labelColor(k + 1)),
        series: Object.fromEntries(classes.map(({ name }, k) => [
          given[k] < 0 ? name : `${name} (slice ${given[k] + 1} labeled)`,
          (bySlice[k] ?? []).map((dice, z) => [z + 1, dice ?? NaN] as const),
        ])),
      })),
      { xLabel: "slice" },
    ),
  });
  for (const [k, { id, prediction, along, given, classes: measured }] of shown.entries()) {
    const { image, label } = await loaded(evaluation, id);
    const found: Volume = await readVolume(`${output.path}/${prediction}`);
    const slices = [...new Set(given)].filter((slice) => slice >= 0);
    const noted = (slice: number): string =>
      `labeled${
        slices.length > 1 ? `: ${classes.filter((_, c) => given[c] === slice).map(({ name }) => name).join(", ")}` : ""
      }`;
    const dice = measured.map(({ name, dice: value }) =>
      `${name} ${Number.isNaN(value) ? "not measured" : value.toFixed(2)}`
    ).join(", ");
    await writeFigure(output, {
      name: `${k + 2}_scan`,
      title: `Scan ${id}`,
      caption: "The labeled slice is framed; Dice is that of the others.",
      svg: overlaySvg([{
        name: id,
        image,
        reference: asClasses(label.data, classes),
        prediction: asClasses(found.data, classes),
        marked: slices.map((slice) => ({ slice, note: noted(slice) })),
        caption: `Dice of the other slices ${dice}`,
      }], { labels: namesOf(classes), slices: TILES, along }),
    });
  }
}
