/** Statistics, tables and a figure of one-shot segmentation over many choices of the support. */
import { type ClassComparison, metrics, Prng } from "../../../engine/imaging/mod.ts";
import { type ReportTable, rowsSvg } from "../../../engine/train/mod.ts";

/** A case that was segmented by a support. */
export interface SupportedCase {
  readonly support: string;
  readonly id: string;
  readonly classes: readonly ClassComparison[];
  /** Dice of each class if the support's mask is copied; see `copiedSegmenter`. */
  readonly copied?: readonly (number | null)[];
}

const MEASURES = [
  { name: "Dice", digits: 3, limits: [0, 1], of: (each: ClassComparison): number => each.dice },
  { name: "HD95", digits: 1, limits: [0, Infinity], of: (each: ClassComparison): number => each.hausdorff95 },
] as const;

export type SupportMeasure = (typeof MEASURES)[number]["name"];

/** Statistics of a measure over the supports; NaN without a defined value. */
export interface Spread {
  readonly mean: number;
  /** Sample standard deviation (n - 1); NaN for a single support. */
  readonly deviation: number;
  readonly least: number;
  readonly largest: number;
  /** Number of pairs of support and case where it is undefined; they are excluded from means. */
  readonly undefined: number;
}

/** One measure of one class, or of the mean over classes. */
export interface SupportCell {
  /** For each support: the mean over its defined cases. */
  readonly bySupport: readonly number[];
  readonly spread: Spread;
}

export interface SupportsSummary {
  /** In the order in which they were drawn. */
  readonly supports: readonly string[];
  /** Classes, and if there are several the mean over them last: for each support the mean of the classes' means. */
  readonly rows: readonly ({ readonly name: string } & Readonly<Record<SupportMeasure | "copied", SupportCell>>)[];
}

/** Mean and spread of the defined values. */
export function spreadOf(values: readonly number[]): Spread {
  const { mean, deviation, min, max, undefined: missing } = metrics.summarize(values);
  return { mean, deviation, least: min, largest: max, undefined: missing };
}

/**
 * Draws distinct cases to be the support in turn.
 *
 * @param ids candidates; their order does not matter
 * @returns `count` of them, or all if there are fewer
 * @example
 * ```ts
 * import { drawSupports } from "voxgrad/models";
 *
 * drawSupports(["a", "b", "c"], 2, 1).length; // 2
 * ```
 */
export const drawSupports = (ids: readonly string[], count: number, seed: number): string[] =>
  new Prng(seed).fork("supports").shuffle([...ids].sort()).slice(0, count);

/**
 * Means over cases for each support, and their spread over the supports.
 *
 * @param cases all with the same classes in the same order
 * @example
 * ```ts
 * import { compareLabels, phantomCase } from "voxgrad/imaging";
 * import { summarizeSupports } from "voxgrad/models";
 *
 * const { label } = phantomCase({ seed: 1 });
 * const classes = compareLabels(label, label, { classes: [{ name: "organ", values: [1] }] });
 * const { rows } = summarizeSupports([{ support: "a", id: "b", classes }, { support: "b", id: "a", classes }]);
 * ```
 */
export function summarizeSupports(cases: readonly SupportedCase[]): SupportsSummary {
  const supports = [...new Set(cases.map(({ support }) => support))];
  const names = cases[0]?.classes.map(({ name }) => name) ?? [];
  const own = supports.map((support) => cases.filter((each) => each.support === support));
  const cell = (bySupport: readonly number[], missing: number): SupportCell => ({
    bySupport,
    spread: { ...spreadOf(bySupport), undefined: missing },
  });
  const measures = [
    ...MEASURES.map(({ of }) => (each: SupportedCase, k: number): number => of(each.classes[k])),
    (each: SupportedCase, k: number): number => each.copied?.[k] ?? NaN,
  ];
  const cells = measures.map((of) => {
    const classes = names.map((_, k) => {
      const values = own.map((list) => metrics.summarize(list.map((each) => of(each, k))));
      return cell(values.map(({ mean }) => mean), values.reduce((sum, each) => sum + each.undefined, 0));
    });
    if (names.length < 2) return classes;
    const means = supports.map((_, s) => metrics.summarize(classes.map(({ bySupport }) => bySupport[s])).mean);
    return [...classes, cell(means, classes.reduce((sum, { spread }) => sum + spread.undefined, 0))];
  });
  const titles = names.length < 2 ? names : [...names, "mean over classes"];
  return {
    supports,
    rows: titles.map((name, r) => ({ name, Dice: cells[0][r], HD95: cells[1][r], copied: cells[2][r] })),
  };
}

/**
 * The supports with the highest, the middle and the lowest mean Dice, without duplicates; for an even number the middle
 * is the better of the two.
 */
export function notableSupports(
  { supports, rows }: SupportsSummary,
): { which: "best" | "median" | "worst"; support: string; dice: number }[] {
  const dice = rows.at(-1)?.Dice.bySupport ?? [];
  const level = (s: number): number => (Number.isNaN(dice[s]) ? -1 : dice[s]);
  const ranked = supports.map((_, s) => s).sort((a, b) => level(b) - level(a));
  const places = [["best", 0], ["median", Math.floor((ranked.length - 1) / 2)], ["worst", ranked.length - 1]] as const;
  const seen = new Set<number>();
  return places.flatMap(([which, place]) => {
    const s = ranked[place];
    if (s === undefined || seen.has(s)) return [];
    seen.add(s);
    return [{ which, support: supports[s], dice: dice[s] }];
  });
}

/** Mean, deviation, least and largest over the supports by class; and each support. */
export function supportTables(summary: SupportsSummary): ReportTable[] {
  const { supports, rows } = summary;
  const spread = (
    { spread: { mean, deviation, least, largest } }: SupportCell,
  ): number[] => [mean, deviation, least, largest];
  return [
    {
      name: "1_over_supports",
      title: `Over ${supports.length} supports`,
      caption:
        "Of each support the mean over all other cases; of those means mean, standard deviation (n - 1), least and " +
        "largest over the supports. Copied mask: Dice if each slice gets its support slice's mask, middle on middle, " +
        "without a look at the image. HD95 in mm. A measure is not defined where neither map has the class, HD95 " +
        "where one " +
        "lacks it: such pairs of support and case are in no mean, and counted.",
      headings: [
        "class",
        "Dice",
        "deviation",
        "least",
        "largest",
        "copied mask",
        "HD95",
        "deviation",
        "least",
        "largest",
        "no Dice",
        "no HD95",
      ],
      rows: rows.map((row) => [
        row.name,
        ...spread(row.Dice),
        row.copied.spread.mean,
        ...spread(row.HD95),
        row.Dice.spread.undefined,
        row.HD95.spread.undefined,
      ]),
    },
    {
      name: "2_supports",
      title: "Each support",
      caption:
        "Means over all other cases: Dice of the classes; of the copied mask, and HD95 in mm, the mean over classes.",
      headings: ["support", ...rows.map(({ name }) => name), "copied mask", "HD95"],
      rows: supports.map((
        support,
        s,
      ) => [
        support,
        ...rows.map(({ Dice }) => Dice.bySupport[s]),
        rows.at(-1)!.copied.bySupport[s],
        rows.at(-1)!.HD95.bySupport[s],
      ]),
    },
  ];
}

/** Every pair of support and case, the worst first. */
export function pairTable(cases: readonly SupportedCase[]): ReportTable {
  const rows = cases.flatMap(({ support, id, classes }) =>
    classes.map((each) => ({
      dice: each.dice,
      cells: [id, support, each.name, each.dice, each.sensitivity, each.precision, each.hausdorff95],
    }))
  );
  const level = (dice: number): number => (Number.isNaN(dice) ? 2 : dice);
  return {
    name: "3_pairs",
    title: "Every case from every support",
    caption: "Worst Dice first; a click on a heading sorts.",
    headings: ["case", "support", "class", "Dice", "sensitivity", "precision", "HD95 (mm)"],
    rows: rows.sort((a, b) => level(a.dice) - level(b.dice)).map(({ cells }) => cells),
  };
}

/** Rows of classes, a dot for each support and a bar for their mean. */
export function supportsSvg({ rows }: SupportsSummary, options: { title: string }): string {
  const mark = (row: SupportsSummary["rows"][number], { name, digits }: (typeof MEASURES)[number]) => {
    const { bySupport, spread } = row[name];
    return { mean: spread.mean, dots: bySupport, label: Number.isNaN(spread.mean) ? "-" : spread.mean.toFixed(digits) };
  };
  const block = {
    title: "Mean over cases, a dot for each support",
    rows: rows.map((row) => ({ name: row.name, marks: MEASURES.map((measure) => mark(row, measure)) })),
  };
  const columns = MEASURES.map(({ name, limits }) => ({
    title: name === "HD95" ? "HD95 (mm)" : name,
    note: name === "HD95" ? "lower is better" : "higher is better",
    line: NaN,
    limits,
  }));
  return rowsSvg([block], columns, options);
}
