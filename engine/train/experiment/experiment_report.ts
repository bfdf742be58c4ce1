/** Tables, figures and report.html of an experiment. */
import { csvField } from "../../imaging/metrics/evaluate.ts";
import { summarize } from "../../imaging/metrics/metrics.ts";
import { type RowBlock, rowsSvg } from "../plot/rows.ts";
import {
  type Arm,
  type ArmCell,
  type ArmGroup,
  type ArmResult,
  type Measure,
  SEEDS_FOR_P,
  type Wins,
} from "./experiment_summary.ts";
import type { Interval } from "./statistics.ts";
import { escapeXml } from "../plot/plots.ts";
import { page, picture, section, table } from "../report/report_page.ts";

/** A figure from the script, in addition to those of every experiment. */
export interface ExperimentFigure {
  /** File in the run's folder, ending in .svg. */
  readonly figure: string;
  readonly caption: string;
  /** Name of the arm whose section shows it. */
  readonly arm?: string;
}

/** The content of a report. */
export interface ExperimentState {
  readonly title: string;
  readonly about: string;
  readonly arms: readonly Arm[];
  readonly seeds: readonly number[];
  readonly reference: Arm;
  readonly measures: readonly Measure[];
  readonly settings: Readonly<Record<string, unknown>>;
  readonly results: readonly ArmResult[];
  readonly groups: readonly ArmGroup[];
  readonly figures: readonly (ExperimentFigure & { readonly svg: string })[];
}

/** A number, "-" if undefined. */
const shown = (value: number, digits: number): string => (Number.isFinite(value) ? value.toFixed(digits) : "-");
/** A difference, with its sign. */
function signed(value: number, digits: number): string {
  const size = shown(Math.abs(value), digits);
  if (size === "-" || Number(size) === 0) return size;
  return `${value < 0 ? "−" : "+"}${size}`;
}
const pValue = (
  p: number,
): string => (Number.isNaN(p) ? "" : `, p\u00a0${p < 0.001 ? "<\u00a00.001" : `=\u00a0${p.toFixed(3)}`}`);

function meanText({ mean, deviation, values, undefined: missing }: ArmCell, { digits }: Measure): string {
  if (values === 0) return "-";
  const spread = Number.isNaN(deviation) ? "" : ` ± ${deviation.toFixed(digits)}`;
  return `${shown(mean, digits)}${spread}${missing > 0 ? ` (${missing} of ${values} undefined)` : ""}`;
}

const intervalText = ({ low, high }: Interval, digits: number): string =>
  Number.isNaN(low) ? "" : ` [${signed(low, digits)}, ${signed(high, digits)}]`;
const winsText = ({ better }: Wins, count: number, measure: Measure, unit: string): string =>
  `${measure.better ? "better" : "higher"} in ${better} of ${count} ${unit}${count === 1 ? "" : "s"}`;

/** Over seeds: what the experiment shows. */
function differenceText({ difference: d }: ArmCell, measure: Measure): string {
  if (!d) return "-";
  const { digits } = measure;
  const told = d.bySeed.length === 1 ? "open" : d.shown ? "shown" : "not shown";
  const wins = winsText(d.seeds, d.bySeed.length, measure, "seed");
  return `${signed(d.mean, digits)}${intervalText(d, digits)} ${told}${pValue(d.p)}, ${wins}`;
}

/** Over the cases of the networks that were trained: a description. */
function casesText({ difference: d }: ArmCell, measure: Measure): string {
  if (!d) return "-";
  const interval = intervalText(d.cases, measure.digits);
  return `${signed(d.cases.mean, measure.digits)}${interval}, ${winsText(d.cases, d.cases.count, measure, "case")}`;
}

const arrow = ({ heading, better }: Measure): string =>
  better ? `${heading} ${better === "higher" ? "↑" : "↓"}` : heading;

/** The title of a group; "" if there is only one. */
function groupTitle(group: ArmGroup, { groups }: ExperimentState): string {
  const name = group.class || "mean over classes";
  const several = new Set(groups.map((each) => each.class)).size > 1;
  return [...(several || !group.variant ? [name] : []), ...(group.variant ? [group.variant] : [])].join(", ");
}

function notes({ seeds, reference }: ExperimentState): string[] {
  return [
    `Mean ± standard deviation (n − 1) over ${seeds.length} seed${
      seeds.length === 1 ? "" : "s"
    } of the mean over held-out cases. ` +
    "A measure that is not defined in a case, such as a distance where nothing was found, is in no mean; such " +
    "values are counted.",
    `Differences are paired by seed and case with ${reference.title}. Cases of one trained network are no ` +
    "independent trials of a method, so the seed is the unit: its value is the mean over its cases. The interval is " +
    "Student's t interval of 95 % over the seeds (a bootstrap of so few values is too narrow). Shown: the interval " +
    "leaves 0 out; not shown: it holds 0; open: one seed, which has no interval. " +
    `p is of the exact sign-flip test over the seeds, two-sided, and given from ${SEEDS_FOR_P} seeds on, for with ` +
    "fewer it cannot fall below 0.05. Neither is corrected for the number of comparisons.",
    "Over cases: how the same trained networks would differ on other cases, with a bootstrap interval of 95 %. It " +
    "describes these networks, and is no evidence for a method.",
  ];
}

/** Differences over seeds, then over cases: the heading of the first column, and the rows. */
function differenceTables(group: ArmGroup, { measures, reference }: ExperimentState): [string, string[][]][] {
  const others = group.arms.filter(({ arm }) => arm.name !== reference.name);
  const tables = [
    [`difference to ${reference.title}, over seeds`, differenceText],
    ["the same over cases, descriptive", casesText],
  ] as const;
  if (others.length === 0) return [];
  return tables.map(([heading, textOf]) => [
    heading,
    others.map(({ arm, cells }) => [arm.title, ...cells.map((cell, m) => textOf(cell, measures[m]))]),
  ]);
}

/** What scripts noted of each training, such as seconds: by arm the mean over its seeds, numbers alone. */
function notedRows({ arms, seeds, results }: ExperimentState): { keys: string[]; rows: string[][] } {
  const own = results.filter(({ seed }) => seeds.includes(seed));
  const known = own.filter(({ arm }) => arms.some(({ name }) => name === arm));
  const numbers = (list: readonly ArmResult[], key: string): number[] =>
    list.map(({ extra }) => extra[key]).filter((value): value is number => typeof value === "number");
  const keys = [...new Set(known.flatMap(({ extra }) => Object.keys(extra)))]
    .filter((key) => numbers(known, key).length > 0);
  const rows = arms.map(({ name, title }) => {
    const mine = known.filter(({ arm }) => arm === name);
    return [title, ...keys.map((key) => spread(summarize(numbers(mine, key))))];
  });
  return { keys, rows: keys.length > 0 ? rows : [] };
}

/** A mean and its deviation with three digits that count; of equal numbers that number with four. */
function spread({ mean, deviation }: { mean: number; deviation: number }): string {
  if (!Number.isFinite(mean)) return "-";
  if (!(deviation > 0)) return String(Number.isInteger(mean) ? mean : Number(mean.toPrecision(4)));
  const digits = mean === 0 ? 0 : Math.min(20, Math.max(0, 2 - Math.floor(Math.log10(Math.abs(mean)))));
  return `${mean.toFixed(digits)} ± ${deviation.toFixed(digits)}`;
}

const meanRows = (group: ArmGroup, measures: readonly Measure[]): string[][] =>
  group.arms.map((
    { arm, seeds, cells },
  ) => [arm.title, String(seeds.length), ...cells.map((cell, m) => meanText(cell, measures[m]))]);

/** table.md: for each group the means, and the differences to the reference arm. */
export function markdown(state: ExperimentState): string {
  const { title, measures, groups } = state;
  const cell = (content: string): string => content.replace(/[\\|<>*_`]/g, "\\$&").replace(/\s+/g, " ");
  const line = (cells: readonly string[]): string => `| ${cells.map(cell).join(" | ")} |`;
  const rows = (headings: readonly string[], body: readonly (readonly string[])[], kind: string): string[] => [
    line(headings),
    `| --- |${headings.slice(1).map(() => ` ${kind} |`).join("")}`,
    ...body.map(line),
    "",
  ];
  const parts = [`# ${cell(title)}`, ""];
  for (const group of groups) {
    parts.push(`## ${cell(groupTitle(group, state))}`, "");
    parts.push(...rows(["arm", "seeds", ...measures.map(arrow)], meanRows(group, measures), "---:"));
    for (const [heading, body] of differenceTables(group, state)) {
      parts.push(...rows([heading, ...measures.map((m) => m.heading)], body, "---"));
    }
  }
  const noted = notedRows(state);
  if (noted.rows.length > 0) parts.push("## Trainings", "", ...rows(["arm", ...noted.keys], noted.rows, "---:"));
  if (groups.length === 0) parts.push("No results yet.", "");
  return [...parts, ...notes(state).flatMap((note) => [cell(note), ""])].join("\n");
}

/** experiment.json: settings and all numbers of the tables; null if undefined. */
export function experimentJson(
  { title, about, arms, seeds, reference, measures, settings, results, groups }: ExperimentState,
): object {
  return {
    format: "voxgrad experiment 1",
    title,
    about,
    settings,
    arms,
    seeds,
    reference: reference.name,
    measures,
    groups: groups.map(({ variant, class: name, arms: rows }) => ({
      variant,
      class: name || "mean over classes",
      arms: rows.map(({ arm, seeds: own, cells }) => ({
        arm: arm.name,
        seeds: own,
        measures: Object.fromEntries(cells.map((cell, m) => [measures[m].name, cell])),
      })),
    })),
    runs: results.map(({ arm, seed, extra }) => ({ arm, seed, ...extra })),
  };
}

/** One row per arm, seed, variant, case and class, with all measures. */
export function casesCsv({ results, arms }: ExperimentState): string {
  const order = results.filter(({ arm }) => arms.some(({ name }) => name === arm));
  const rows = order.flatMap(({ arm, seed, variants }) =>
    Object.entries(variants).flatMap(([variant, cases]) =>
      cases.flatMap(({ id, classes }) =>
        Object.entries(classes).map(([name, measured]) => ({ keys: [arm, String(seed), variant, id, name], measured }))
      )
    )
  );
  const names = [...new Set(rows.flatMap(({ measured }) => Object.keys(measured)))];
  const lines = rows.map(({ keys, measured }) =>
    [...keys.map(csvField), ...names.map((name) => String(measured[name] ?? NaN))].join(",")
  );
  return [["arm", "seed", "variant", "case", "class", ...names].map(csvField).join(","), ...lines, ""].join("\n");
}

const isFraction = ({ better, digits }: Measure): boolean => better === "higher" && digits === 4;

// Fonts for figures may lack arrows.
const columnOf = ({ heading, better }: Measure) => ({ title: heading, ...(better && { note: `${better} is better` }) });

/** Means of the arms: a dot per seed, a bar for their mean; the line is the mean of the reference arm. */
export function armsSvg(state: ExperimentState): string {
  const { measures, reference, groups, title } = state;
  const blocks = groups.map((group): RowBlock => ({
    title: groupTitle(group, state),
    rows: group.arms.map(({ arm, cells }) => ({
      name: arm.title,
      muted: arm.name === reference.name,
      marks: cells.map((
        { mean, bySeed },
        m,
      ) => (bySeed.length === 0 ? undefined : { mean, dots: bySeed, label: shown(mean, measures[m].digits) })),
    })),
  }));
  const columns = measures.map((measure) => ({
    ...columnOf(measure),
    line: "muted" as const,
    ...(isFraction(measure)
      ? { limits: [0, 1] as const }
      : measure.better === "lower"
      ? { limits: [0, Infinity] as const }
      : {}),
  }));
  return rowsSvg(blocks, columns, { title });
}

/** Differences to the reference arm with their intervals. */
export function differencesSvg(state: ExperimentState): string {
  const { measures, reference, groups } = state;
  const blocks = groups.map((group): RowBlock => ({
    title: groupTitle(group, state),
    rows: group.arms.filter(({ arm }) => arm.name !== reference.name).map(({ arm, cells }) => ({
      name: arm.title,
      marks: cells.map(({ difference: d }, m) =>
        d && {
          mean: d.mean,
          interval: [d.low, d.high] as const,
          dots: d.bySeed,
          label: signed(d.mean, measures[m].digits),
        }
      ),
    })),
  }));
  return rowsSvg(blocks, measures.map((measure) => ({ ...columnOf(measure), line: 0 })), {
    title: `Differences to ${reference.title}`,
  });
}

/** report.html: tables, figures, settings, a section for each arm. */
export async function reportHtml(state: ExperimentState): Promise<string> {
  const { title, about, arms, measures, reference, groups, figures, settings, results, seeds } = state;
  const paragraph = (content: string): string => `<p>${escapeXml(content)}</p>`;
  const drawn = (svg: string, caption: string): string =>
    `<figure>${svg}<figcaption>${escapeXml(caption)}</figcaption></figure>`;
  const done = arms.reduce(
    (sum, arm) => sum + seeds.filter((seed) => results.some((r) => r.arm === arm.name && r.seed === seed)).length,
    0,
  );
  const sections: string[] = [];
  if (about) sections.push(paragraph(about));
  if (done < arms.length * seeds.length) {
    sections.push(paragraph(`Not finished: ${done} of ${arms.length * seeds.length} arms and seeds have results.`));
  }
  sections.push(...notes(state).map(paragraph));
  for (const group of groups) {
    const means = table(["arm", "seeds", ...measures.map(arrow)], meanRows(group, measures));
    const differences = differenceTables(group, state)
      .map(([heading, rows]) => table([heading, ...measures.map((m) => m.heading)], rows));
    sections.push(section(groupTitle(group, state), [means, ...differences].join("\n<br>\n")));
  }
  const noted = notedRows(state);
  if (noted.rows.length > 0) sections.push(section("Trainings", table(["arm", ...noted.keys], noted.rows)));
  if (groups.length > 0) {
    sections.push(section(
      "Arms",
      drawn(
        armsSvg(state),
        `Dots: mean over the cases of each seed. Bars: mean over the seeds. Dashed: that of ${reference.title}.`,
      ),
    ));
    if (arms.length > 1) {
      sections.push(section(
        "Differences",
        drawn(
          differencesSvg(state),
          `Paired differences to ${reference.title} with 95 % intervals over the seeds; filled where the interval ` +
            "leaves 0 out. Dots: the seeds.",
        ),
      ));
    }
  }
  const figuresOf = (arm?: string): string[] =>
    figures.filter((each) => each.arm === arm).map(({ svg, caption }) => drawn(picture(svg, caption), caption));
  if (figuresOf().length > 0) sections.push(section("Figures", figuresOf().join("\n")));
  for (const arm of arms) {
    const own = results.filter((result) => result.arm === arm.name && seeds.includes(result.seed));
    const rows = groups.flatMap((group) => {
      const row = group.arms.find((each) => each.arm.name === arm.name)!;
      return row.seeds.map((
        seed,
        s,
      ) => [
        groupTitle(group, state),
        String(seed),
        ...row.cells.map((cell, m) => shown(cell.bySeed[s], measures[m].digits)),
      ]);
    });
    const keys = [...new Set(own.flatMap(({ extra }) => Object.keys(extra)))];
    const extras = own.map(({ seed, extra }) => [String(seed), ...keys.map((key) => extra[key])]);
    sections.push(section(
      `${arm.title} (${arm.name})`,
      [
        ...(arm.about ? [paragraph(arm.about)] : []),
        rows.length > 0 ? table(["class", "seed", ...measures.map(arrow)], rows) : paragraph("No results yet."),
        ...(keys.length > 0 ? ["<br>", table(["seed", ...keys], extras)] : []),
        ...figuresOf(arm.name),
      ].join("\n"),
    ));
  }
  const text = (value: unknown): string => (typeof value === "string" ? value : JSON.stringify(value));
  const listed = [
    ["seeds", seeds.join(", ")],
    ["compared with", reference.title],
    ...Object.entries(settings).map(([key, value]) => [key, text(value)]),
  ];
  sections.push(`<details><summary>Settings</summary>\n${table(["setting", "value"], listed)}</details>`);
  return page(title, sections, { width: 76 });
}
