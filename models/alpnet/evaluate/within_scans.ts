/** One-shot segmentation within scans, each from a labeled slice of its own. */
import {
  type ClassComparison,
  type ComparedClass,
  Comparison,
  readVolume,
  type Volume,
  writeNifti,
} from "../../../engine/imaging/mod.ts";
import {
  chartSvg,
  ConfigError,
  counted,
  labelColor,
  overlaySvg,
  print,
  type ReportTable,
  writeFigure,
  writeReport,
  writeTable,
} from "../../../engine/train/mod.ts";
import type { PrototypeUse } from "../scans.ts";
import { type Evaluation, openResults } from "./results.ts";
import {
  asClasses,
  diceOf,
  loaded,
  namesOf,
  NO_USE,
  printTable,
  SHOWN,
  tellUse,
  totalUse,
  valuesOf,
} from "./shared.ts";
import { type Spread, spreadOf } from "./statistics.ts";
import { segmentWithin } from "./within.ts";

/** Slices shown of a scan with one labeled slice. */
const TILES = 6;

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
  /** Dice of the other slices by `copiedSegmenter`. */
  readonly copied: readonly (number | null)[];
  readonly use: PrototypeUse;
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
    let use = NO_USE;
    const found = await segmentWithin(encoder.model, encoder.params, item, {
      ...encoder.fewShot,
      plan: { ...encoder.plan, labels: dataset.labels.map(({ name }) => name) },
      classes,
      preparation,
      ranges,
      batch,
      onPrototypes: (one) => void (use = one),
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
      copied: found.classes.map(({ copied }) => copied),
      use,
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
  const use = totalUse(chosen.map((each) => each.use));
  tellUse(use);
  const told = {
    ranges,
    preparation,
    scans: chosen.map(({ id, classes: measured, given, size, copied }) => ({
      id,
      pixels: size,
      classes: Object.fromEntries(
        measured.map((
          each,
          k,
        ) => [each.name, {
          support_slice: given[k] + 1 || null,
          Dice: each.dice,
          copied_mask_Dice: copied[k],
          HD95: each.hausdorff95,
        }]),
      ),
    })),
    classes: Object.fromEntries(classes.map(({ name }, k) => [name, {
      Dice: spreadOf(chosen.map((each) => each.classes[k].dice)),
      HD95: spreadOf(chosen.map((each) => each.classes[k].hausdorff95)),
      copied_mask_Dice: spreadOf(chosen.map((each) => each.copied[k] ?? NaN)),
    }])),
    local_prototypes: use,
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
    const copied = spreadOf(results.map((each) => each.copied[k] ?? NaN));
    return [name, dice.mean, dice.deviation, dice.least, dice.largest, copied.mean, distance.mean, dice.undefined];
  });
  return [
    {
      name: "1_classes",
      title: "One labeled slice of the same scan",
      caption:
        `Over ${results.length} scan${
          results.length === 1 ? "" : "s"
        }: Dice of all slices but the labeled one, and HD95 (mm) of the scan with that ` +
        "slice as it was labeled. Copied mask: Dice of the labeled slice's mask in every slice, without a look at " +
        "the image. Where neither map has the class in another slice nothing is measured.",
      headings: ["class", "Dice", "deviation", "least", "largest", "copied mask", "HD95", "not measured"],
      rows: over,
    },
    {
      name: "2_scans",
      title: "Each scan",
      caption: "Slices are numbered as in the overlays; pixels are those of a slice as the encoder saw it.",
      headings: [
        "scan",
        "pixels",
        "class",
        "labeled slice",
        "Dice",
        "copied mask",
        "sensitivity",
        "precision",
        "HD95 (mm)",
      ],
      rows: results.flatMap(({ id, size, classes: measured, given, copied }) =>
        measured.map((each, k) => [
          id,
          size.join(" x "),
          each.name,
          given[k] < 0 ? NaN : given[k] + 1,
          each.dice,
          copied[k] ?? NaN,
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
