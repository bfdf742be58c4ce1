/** report.html: a self-contained report of a run, read from the run's folder. */
import { platform } from "#platform";
import { VERSION } from "../../core/version.ts";
import type { Comparison } from "../../imaging/metrics/evaluate.ts";
import { readFigures } from "../plot/figures.ts";
import { duration } from "../run/logging.ts";
import { escapeXml } from "../plot/plots.ts";
import { recordChart } from "../plot/record_chart.ts";
import { readConfig, readLogs, readSummary, type RunConfig, type Summary } from "./report_files.ts";
import { type Cell, page, picture, section, table } from "./report_page.ts";
import { contentDigest } from "../run/provenance.ts";
import { readTables } from "../run/tables.ts";
import type { RunFolder } from "../run/run_folder.ts";

const NAME = "report.html";

/**
 * Writes report.html into a run's folder: settings, curves, Dice by class, every case (worst first, sortable),
 * overlays, tables and figures of writeTable and writeFigure; for a cross-validation those of all folds. An unfinished
 * run is reported as far as it got.
 *
 * @throws VoxgradError for a folder without a run
 * @example
 * ```ts
 * import { RunFolder, writeReport } from "voxgrad/train";
 *
 * await writeReport(new RunFolder("runs/liver-001"));
 * ```
 */
export async function writeReport(run: RunFolder): Promise<string> {
  const config = await readConfig(run);
  const folds = (await platform.listFiles(run.path)).filter((name) => /^fold_\d+$/.test(name));
  const parts = [run.path, ...folds.map((name) => `${run.path}/${name}`)];
  const summary = await readSummary(run);
  const heading = `${config.dataset?.name ?? config.plan?.dataset ?? "Training"}: ${run.path.split("/").at(-1)}`;
  const sections: string[] = [];
  const named = (name: string, folder: string): string =>
    folder === run.path ? name : `${name} of ${folder.split("/").at(-1)}`;
  for (const folder of parts) {
    for (const { title, caption, headings, rows } of await readTables(folder)) {
      sections.push(section(named(title, folder), `<p>${escapeXml(caption)}</p>${table(headings, rows)}`));
    }
  }
  if (summary && summary.metric_per_case.length > 0) {
    sections.push(section("Held-out cases, whole volumes", classTable(summary)));
    sections.push(section("Every case", caseTable(summary)));
  }
  for (const folder of parts) {
    const chart = await chartOf(folder, config.curves ?? config.classes);
    if (chart) sections.push(section(named("Training", folder), chart));
  }
  for (const folder of parts) {
    if (!(await platform.exists(`${folder}/overlay.svg`))) continue;
    const overlay = new TextDecoder().decode(await platform.readFile(`${folder}/overlay.svg`));
    sections.push(section(named("Overlays", folder), picture(overlay, named("Overlays", folder))));
  }
  for (const folder of parts) {
    for (const { title, caption, svg } of await readFigures(folder)) {
      sections.push(section(named(title, folder), `<p>${escapeXml(caption)}</p>${picture(svg, title)}`));
    }
  }
  const models: [string, Cell][] = [];
  for (const folder of parts) {
    const file = `${folder}/model.safetensors`;
    if (await platform.exists(file)) {
      models.push([`SHA-256 of ${file.slice(run.path.length + 1)}`, await contentDigest(file)]);
    }
  }
  sections.push(`<details><summary>Settings</summary>\n${settingsTable(config, models)}</details>`);
  return run.write(NAME, await page(heading, sections));
}

/**
 * Writes the metrics of a run's held-out cases: summary.json in nnU-Net's format, with the digests of the compared
 * files, and metrics.csv.
 *
 * @example
 * ```ts
 * import { compareLabels, Comparison, phantomCase } from "voxgrad/imaging";
 * import { openRun, writeComparison } from "voxgrad/train";
 *
 * const { label } = phantomCase({ seed: 1 });
 * const compared = { id: "a", prediction: "a", reference: "b", classes: compareLabels(label, label) };
 * await writeComparison(await openRun({ name: "phantom" }), new Comparison([compared]));
 * ```
 */
export async function writeComparison(run: RunFolder, comparison: Comparison): Promise<void> {
  const summary = comparison.toJson() as { metric_per_case: Record<string, unknown>[] };
  const digest = async (path: unknown): Promise<string | undefined> =>
    typeof path === "string" && (await platform.exists(path)) ? contentDigest(path) : undefined;
  const cases = [];
  for (const each of summary.metric_per_case) {
    const [prediction, reference] = [await digest(each.prediction_file), await digest(each.reference_file)];
    cases.push({
      ...each,
      ...(prediction && { prediction_sha256: prediction }),
      ...(reference && { reference_sha256: reference }),
    });
  }
  await run.writeJson("summary.json", { voxgrad: VERSION, ...summary, metric_per_case: cases });
  await run.write("metrics.csv", comparison.toCsv());
}

/** Curves of one training; undefined if the folder has no log. */
async function chartOf(folder: string, names?: readonly string[]): Promise<string | undefined> {
  const { records, epochs } = await readLogs(folder);
  if (records.length === 0) return undefined;
  const { dice } = records[0];
  // With another number of classes the names would be wrong.
  const classes = names?.length === dice.length ? names : dice.map((_, c) => `class ${c + 1}`);
  const numbers = records.map((record) => ({ ...record, dice: record.dice.map((d) => d ?? NaN) }));
  const last = records.at(-1)!;
  const text = `${last.step} steps in ${duration(last.seconds)}, last loss ${last.loss.toFixed(3)}`;
  return `<p>${escapeXml(text)}</p>${recordChart(numbers, classes, { epochs })}`;
}

/** @param models the digests of the run's weights */
function settingsTable(config: RunConfig, models: readonly [string, Cell][]): string {
  const { options = {}, plan, splits, device, parameters, architecture, voxgrad, identity } = config;
  const rows: [string, Cell][] = [];
  if (voxgrad !== undefined) rows.push(["voxgrad", String(voxgrad)]);
  for (const part of ["options", "plan", "splits"]) {
    if (identity?.[part] !== undefined) rows.push([`SHA-256 of ${part}`, String(identity[part])]);
  }
  rows.push(...models);
  if (device) rows.push(["device", `${device.name} (${device.kind})`]);
  if (plan) {
    const { network, patch, spacing, channels, batch } = plan;
    // A method's network may differ from the plan's.
    const features = [architecture?.features ?? network.features ?? "?"].flat();
    rows.push(["network", `${config.network ?? network.name} ${features.join("-")}, ${parameters ?? "?"} parameters`]);
    rows.push([
      "patch",
      `${batch} x ${patch.join(" x ")} at ${spacing.map((s) => +s.toFixed(3)).join(" x ")} mm`,
    ]);
    rows.push(["channels", channels.map((c) => `${c.name} (${c.normalization ?? c.normalisation})`).join(", ")]);
    rows.push(["labels", plan.labels.join(", ")]);
  }
  const supports = Object.values(config.supports ?? {}).join(", ");
  if (supports !== "") rows.push(["support", supports]);
  const parts = (splits ?? []).map(({ train, val }) => `${train.length} + ${val.length}`);
  if (parts.length > 0) rows.push(["cases to train on + held out, by fold", parts.join(", ")]);
  for (const [key, value] of Object.entries(options)) {
    if (value !== "" && String(value) !== "") rows.push([`--${key}`, String(value)]);
  }
  return table(["setting", "value"], rows);
}

const MEASURES: readonly [key: string, heading: string][] = [
  ["Dice", "Dice"],
  ["sensitivity", "sensitivity"],
  ["precision", "precision"],
  ["HD95", "HD95 (mm)"],
  ["ASSD", "ASSD (mm)"],
  ["volume_pred_ml", "predicted ml"],
  ["volume_ref_ml", "reference ml"],
];

function classTable(summary: Summary): string {
  // Voxel counts are defined wherever a class was annotated, even if it is in neither map.
  const unannotated = Object.values(summary.undefined).map(({ TP }) => TP ?? 0);
  const some = unannotated.some((count) => count > 0);
  const rows = Object.entries(summary.mean).map(([key, mean], k): Cell[] => {
    const { Dice, HD95 } = summary.undefined[key];
    const counts = [Dice! - unannotated[k], HD95! - Dice!, ...(some ? [unannotated[k]] : [])];
    return [summary.class_names[key], ...MEASURES.map(([name]) => mean[name]), ...counts];
  });
  if (rows.length > 1) rows.push(["mean", ...MEASURES.slice(0, 5).map(([name]) => summary.foreground_mean[name])]);
  const note =
    `Means over ${summary.metric_per_case.length} cases of what is defined. A case where neither map has the ` +
    "class has " +
    `no Dice, one where one alone has it no distances${
      some ? ", and one that does not annotate it nothing" : ""
    }; they are counted in the last columns.`;
  const headings = [
    "class",
    ...MEASURES.map(([, heading]) => heading),
    "in neither",
    "in one alone",
    ...(some ? ["not annotated"] : []),
  ];
  return `<p>${note}</p>${table(headings, rows)}`;
}

function caseTable(summary: Summary): string {
  const rows = summary.metric_per_case.flatMap(({ metrics, prediction_file }) => {
    const id = prediction_file.split("/").at(-1)!.replace(/\.nii(\.gz)?$/, "");
    return Object.entries(metrics).map(([key, values]): Cell[] => [
      id,
      `${summary.class_names[key]}${values.TP === null ? " (not annotated)" : ""}`,
      ...MEASURES.map(([name]) => values[name]),
    ]);
  });
  const dice = (row: Cell[]): number => (typeof row[2] === "number" ? row[2] : 2);
  rows.sort((a, b) => dice(a) - dice(b));
  const note = "Worst Dice first; a click on a heading sorts. A dash stands where a measure is not defined.";
  return `<p>${note}</p>${table(["case", "class", ...MEASURES.map(([, heading]) => heading)], rows)}`;
}
