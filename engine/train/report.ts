/** report.html: what a run did, in one file that needs nothing else. Everything is read from the run's folder. */
import { platform } from "#platform";
import { VoxgradError } from "../core/errors.ts";
import type { Comparison } from "../imaging/evaluate.ts";
import { duration, type StepRecord } from "./logging.ts";
import { escapeXml } from "./plots.ts";
import { recordChart } from "./record_chart.ts";
import type { RunFolder } from "./run_folder.ts";
import type { EpochRecord } from "./train.ts";

const NAME = "report.html";

/** A table cell: a text, or a number, or something that is not defined. */
type Cell = string | number | null | undefined;

/** summary.json, as Comparison writes it. */
interface Summary {
  readonly metric_per_case: readonly { readonly metrics: ByClass; readonly prediction_file: string }[];
  readonly mean: ByClass;
  readonly foreground_mean: ByClass[string];
  readonly undefined: ByClass;
  readonly class_names: Readonly<Record<string, string>>;
}
/** Measures by class and name; null where one is not defined. */
type ByClass = Readonly<Record<string, Readonly<Record<string, number | null>>>>;

/**
 * Writes report.html into a run's folder: settings, curves, Dice by class, every case (worst first, sortable), overlays;
 * for a cross-validation those of all folds. A run that is not finished is reported as far as it came.
 *
 * @throws VoxgradError for a folder that holds no run
 * @example await writeReport(new RunFolder("runs/liver-001"));
 */
export async function writeReport(run: RunFolder): Promise<string> {
  const config = await run.readJson("config.json");
  if (!config) throw new VoxgradError(`${run.path}: it holds no run (there is no config.json)`);
  const folds = (await platform.listFiles(run.path)).filter((name) => /^fold_\d+$/.test(name));
  const parts = [run.path, ...folds.map((name) => `${run.path}/${name}`)];
  const summary = (await run.readJson("summary.json")) as Summary | undefined;
  const title = `${config.dataset?.name ?? config.plan?.dataset ?? "Training"}: ${run.path.split("/").at(-1)}`;
  const sections: string[] = [];
  if (summary && summary.metric_per_case.length > 0) {
    sections.push(section("Held-out cases, whole volumes", classTable(summary)));
    sections.push(section("Every case", caseTable(summary)));
  }
  for (const folder of parts) {
    const chart = await chartOf(folder, config.classes);
    if (chart) sections.push(section(folder === run.path ? "Training" : `Training of ${folder.split("/").at(-1)}`, chart));
  }
  for (const folder of parts) {
    if (!(await platform.exists(`${folder}/overlay.svg`))) continue;
    const name = folder === run.path ? "Overlays" : `Overlays of ${folder.split("/").at(-1)}`;
    sections.push(section(name, new TextDecoder().decode(await platform.readFile(`${folder}/overlay.svg`))));
  }
  sections.push(`<details><summary>Settings</summary>\n${settingsTable(config)}</details>`);
  return run.write(NAME, page(title, sections));
}

/** Writes the measures of a run's held-out cases: summary.json in nnU-Net's shape, and metrics.csv. */
export async function writeComparison(run: RunFolder, comparison: Comparison): Promise<void> {
  await run.writeJson("summary.json", comparison.toJson());
  await run.write("metrics.csv", comparison.toCsv());
}

/** Curves of one training; undefined where the folder has no log. */
async function chartOf(folder: string, names?: readonly string[]): Promise<string | undefined> {
  const records = await readLines<StepRecord>(`${folder}/log.jsonl`);
  if (records.length === 0) return undefined;
  const epochs = await readLines<EpochRecord>(`${folder}/epochs.jsonl`);
  const classes = names ?? records[0]!.dice.map((_, c) => `class ${c + 1}`);
  const numbers = records.map((record) => ({ ...record, dice: record.dice.map((d) => d ?? NaN) }));
  const last = records.at(-1)!;
  const text = `${last.step} steps in ${duration(last.seconds)}, last loss ${last.loss.toFixed(3)}`;
  return `<p>${escapeXml(text)}</p>${recordChart(numbers, classes, { epochs })}`;
}

/** Whole lines of a file of JSON lines; none where there is no file. */
async function readLines<R>(path: string): Promise<R[]> {
  if (!(await platform.exists(path))) return [];
  const text = new TextDecoder().decode(await platform.readFile(path));
  // What follows the last line break was being written when the process ended.
  return text.split("\n").slice(0, -1).map((line) => JSON.parse(line) as R);
}

function settingsTable(config: any): string {
  const { options = {}, plan, splits, device, parameters } = config;
  const rows: [string, Cell][] = [];
  if (device) rows.push(["device", `${device.name} (${device.kind})`]);
  if (plan) {
    const { network, patch, spacing, batch, normalisation } = { normalisation: plan.channels, ...plan };
    rows.push(["network", `${network.name} ${network.features.join("-")}, ${parameters ?? "?"} parameters`]);
    rows.push(["patch", `${batch} x ${patch.join(" x ")} at ${spacing.map((s: number) => +s.toFixed(3)).join(" x ")} mm`]);
    rows.push(["channels", normalisation.map((c: any) => `${c.name} (${c.normalisation})`).join(", ")]);
    rows.push(["labels", plan.labels.join(", ")]);
  }
  const parts = (splits ?? []).map(({ train, val }: any) => `${train.length} + ${val.length}`);
  if (parts.length > 0) rows.push(["cases to train on + held out, by fold", parts.join(", ")]);
  for (const [key, value] of Object.entries(options)) {
    if (value !== "" && String(value) !== "") rows.push([`--${key}`, String(value)]);
  }
  return table(["setting", "value"], rows);
}

const MEASURES: readonly [key: string, heading: string][] = [
  ["Dice", "Dice"], ["sensitivity", "sensitivity"], ["precision", "precision"], ["HD95", "HD95 (mm)"],
  ["ASSD", "ASSD (mm)"], ["volume_pred_ml", "predicted ml"], ["volume_ref_ml", "reference ml"],
];

function classTable(summary: Summary): string {
  const rows = Object.entries(summary.mean).map(([key, mean]): Cell[] => [
    summary.class_names[key]!, ...MEASURES.map(([name]) => mean[name]), summary.undefined[key]!.Dice,
    summary.undefined[key]!.HD95! - summary.undefined[key]!.Dice!,
  ]);
  if (rows.length > 1) rows.push(["mean", ...MEASURES.slice(0, 5).map(([name]) => summary.foreground_mean[name])]);
  const note =
    `Means over ${summary.metric_per_case.length} cases of what is defined. A case where neither map has the class has ` +
    "no Dice, one where one alone has it no distances; they are counted in the last columns.";
  const headings = ["class", ...MEASURES.map(([, heading]) => heading), "in neither", "in one alone"];
  return `<p>${note}</p>${table(headings, rows)}`;
}

function caseTable(summary: Summary): string {
  const rows = summary.metric_per_case.flatMap(({ metrics, prediction_file }) => {
    const id = prediction_file.split("/").at(-1)!.replace(/\.nii(\.gz)?$/, "");
    return Object.entries(metrics).map(([key, values]): Cell[] => [
      id, summary.class_names[key]!, ...MEASURES.map(([name]) => values[name]),
    ]);
  });
  const dice = (row: Cell[]): number => (typeof row[2] === "number" ? row[2] : 2);
  rows.sort((a, b) => dice(a) - dice(b));
  const note = "Worst Dice first; a click on a heading sorts. A dash stands where a measure is not defined.";
  return `<p>${note}</p>${table(["case", "class", ...MEASURES.map(([, heading]) => heading)], rows)}`;
}

const shown = (cell: Cell): string => {
  if (cell === null || cell === undefined || Number.isNaN(cell)) return "-";
  if (typeof cell === "string") return escapeXml(cell);
  return Number.isInteger(cell) ? String(cell) : cell.toFixed(3);
};

function table(headings: readonly string[], rows: readonly (readonly Cell[])[]): string {
  const kind = (column: number): string => (rows.some((row) => typeof row[column] === "number") ? ' class="n"' : "");
  const kinds = headings.map((_, column) => kind(column));
  const line = (tag: string, cells: readonly Cell[]): string =>
    `<tr>${headings.map((_, c) => `<${tag}${kinds[c]}>${shown(cells[c])}</${tag}>`).join("")}</tr>`;
  const body = rows.map((row) => line("td", row)).join("\n");
  return `<table><thead>${line("th", headings)}</thead>\n<tbody>${body}</tbody></table>`;
}

const section = (title: string, content: string): string =>
  `<section><h2>${escapeXml(title)}</h2>\n${content}</section>`;

const STYLE = `
body { font: 15px/1.5 system-ui, sans-serif; color: #1a1a1a; margin: 2rem auto; max-width: 60rem; padding: 0 1rem; }
table { border-collapse: collapse; } th, td { padding: .2rem .8rem .2rem 0; text-align: left; vertical-align: top; }
summary { font-size: 1.5em; font-weight: bold; margin: 1em 0; cursor: pointer; }
th { border-bottom: 1px solid #888; cursor: pointer; } .n { text-align: right; font-variant-numeric: tabular-nums; }
td { border-bottom: 1px solid #e4e4e4; overflow-wrap: anywhere; } svg { max-width: 100%; height: auto; }
section:has(tbody tr:nth-child(30)) table { display: block; max-height: 40rem; overflow-y: auto; }
`;

const SORT = `
for (const th of document.querySelectorAll("th")) th.onclick = () => {
  const body = th.closest("table").tBodies[0], k = th.cellIndex, up = th.dataset.up !== "1";
  th.dataset.up = up ? "1" : "0";
  const value = (row) => { const t = row.cells[k].textContent; return t === "-" ? Infinity : isNaN(t) ? t : Number(t); };
  const order = (a, b) => (typeof a === typeof b ? (a < b ? -1 : a > b ? 1 : 0) : typeof a === "number" ? -1 : 1);
  body.append(...[...body.rows].sort((a, b) => (up ? 1 : -1) * order(value(a), value(b))));
};
`;

const page = (title: string, sections: readonly string[]): string => `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>${escapeXml(title)}</title>
<meta name="viewport" content="width=device-width"><style>${STYLE}</style></head>
<body><h1>${escapeXml(title)}</h1>
${sections.join("\n")}
<script>${SORT}</script></body></html>
`;
