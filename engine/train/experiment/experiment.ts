/** An experiment: arms of a method over seeds, with results stored as they arrive, and tables, figures and a report. */
import { check, isPlain, VoxgradError } from "../../core/errors.ts";
import { VERSION } from "../../core/version.ts";
import { Comparison, measuresOf } from "../../imaging/metrics/evaluate.ts";
import { ConfigError } from "../run/config.ts";
import {
  armsSvg,
  casesCsv,
  differencesSvg,
  type ExperimentFigure,
  experimentJson,
  type ExperimentState,
  markdown,
  reportHtml,
} from "./experiment_report.ts";
import {
  type Arm,
  type ArmGroup,
  type ArmResult,
  type Measure,
  type MeasuredCase,
  summarizeArms,
} from "./experiment_summary.ts";
import { readJsonLines } from "../run/logging.ts";
import { splitList } from "../run/script.ts";
import type { RunFolder } from "../run/run_folder.ts";

const FILE = "results.jsonl";
const FORMAT = "voxgrad experiment 1";
const OWN_FIGURES = ["arms.svg", "differences.svg"];

const fraction = (name: string, heading = name): Measure => ({ name, heading, better: "higher", digits: 4 });
const distance = (name: string, heading = name): Measure => ({
  name,
  heading: `${heading} (mm)`,
  better: "lower",
  digits: 2,
});

/** Measures of summary.json with a direction: higher or lower is better. */
const MEASURES: readonly Measure[] = [
  fraction("Dice"),
  fraction("IoU"),
  fraction("sensitivity", "Sensitivity"),
  fraction("precision", "Precision"),
  fraction("surface_dice", "Surface Dice"),
  distance("HD"),
  distance("HD95"),
  distance("HD95_max_of_directed", "HD95 max."),
  distance("ASSD"),
];

export interface ExperimentOptions {
  readonly title: string;
  /** A paragraph for the report. */
  readonly about?: string;
  /** In display order. */
  readonly arms: readonly Arm[];
  readonly seeds: readonly number[];
  /** Name of the arm that the others are compared with; default: the first. */
  readonly reference?: string;
  /** Columns of the tables, by name in summary.json; default: Dice, sensitivity, precision and HD95. */
  readonly measures?: readonly (string | Measure)[];
  /** Settings that all results must share, such as data, steps and rate; results with other settings are rejected. */
  readonly settings?: Readonly<Record<string, unknown>>;
}

/**
 * The arms selected on the command line.
 *
 * @param text "main", "all", or names separated by commas
 * @param main the arms of "main"; more: the additional arms of "all"
 * @returns in the order of `main` and `more`
 * @throws ConfigError for an unknown name
 * @example
 * ```ts
 * import { chooseArms } from "voxgrad/train";
 *
 * const arms = [{ name: "plain", title: "U-Net" }, { name: "colab", title: "CoLab" }];
 * chooseArms("colab", arms).length; // 1
 * ```
 */
export function chooseArms<T extends { readonly name: string }>(
  text: string,
  main: readonly T[],
  more: readonly T[] = [],
): T[] {
  const known = [...main, ...more];
  if (text === "main") return [...main];
  if (text === "all") return known;
  const names = splitList(text);
  const unknown = names.length === 0 ? "" : names.find((name) => !known.some((arm) => arm.name === name));
  if (unknown !== undefined) {
    throw new ConfigError(`--arms: there is no ${unknown}; there are ${known.map(({ name }) => name).join(", ")}`);
  }
  return known.filter(({ name }) => names.includes(name));
}

/** Measured cases: of a Comparison, or from the script. */
export type ExperimentCases = Comparison | readonly MeasuredCase[];

/** An open experiment; `openExperiment` makes one. */
export class Experiment {
  readonly run: RunFolder;
  readonly #options: ExperimentOptions;
  readonly #reference: Arm;
  readonly #measures: readonly Measure[];
  readonly #results: ArmResult[] = [];
  readonly #figures = new Map<string, ExperimentFigure>();

  constructor(run: RunFolder, options: ExperimentOptions) {
    const { arms, seeds, reference = arms[0]?.name, measures = ["Dice", "sensitivity", "precision", "HD95"] } = options;
    const unique = (list: readonly unknown[]): boolean => new Set(list).size === list.length;
    const names = arms.map((arm) => arm.name);
    const wanted = "give each a name (title) of its own";
    check(arms.length > 0 && unique(names), "experiment", () => `arms are ${names.join(", ") || "missing"}; ${wanted}`);
    check(
      seeds.length > 0 && unique(seeds),
      "experiment",
      () => `seeds are ${seeds.join(", ") || "missing"}; give different ones`,
    );
    const found = arms.find((arm) => arm.name === reference);
    if (!found) {
      throw new VoxgradError(`experiment: the reference ${reference} is no arm; the arms are ${names.join(", ")}`);
    }
    this.run = run;
    this.#options = options;
    this.#reference = found;
    this.#measures = measures.map((measure) => (typeof measure === "string" ? measureNamed(measure) : measure));
  }

  /** Reads the run's folder, or starts a new one. */
  async open(): Promise<void> {
    await this.run.lock();
    const path = `${this.run.path}/${FILE}`;
    const settings = JSON.stringify({ ...this.#options.settings, voxgrad: VERSION });
    const lines = await readJsonLines<unknown>(path);
    const [head, ...rest] = lines;
    const measured = isPlain(head) && head.format === FORMAT && isPlain(head.settings) ? head.settings : undefined;
    if (head !== undefined && !measured) throw new VoxgradError(`${path}: it is no ${FORMAT}; name another folder`);
    if (measured && JSON.stringify(measured) !== settings) {
      const now = JSON.parse(settings);
      const keys = [...new Set([...Object.keys(measured), ...Object.keys(now)])];
      const differing = keys.filter((key) => JSON.stringify(measured[key]) !== JSON.stringify(now[key]));
      const told = differing.map((key) => `${key} ${JSON.stringify(measured[key])}, now ${JSON.stringify(now[key])}`);
      throw new VoxgradError(
        `${path}: its results were measured with other settings (${told.join("; ") || "in another order"}); ` +
          "set them as they were, or name another folder",
      );
    }
    for (const [index, line] of rest.entries()) {
      if (!isResult(line)) {
        throw new VoxgradError(
          `${path}: line ${index + 2} is no result of an arm; correct it, or remove it: what it recorded is lost then`,
        );
      }
      if ("figure" in line) this.#figures.set(line.figure, line);
      else this.#results.push(line);
    }
    // Drop a truncated last line, so that appending starts a new line.
    const kept = [head ?? { format: FORMAT, settings: JSON.parse(settings) }, ...rest];
    await this.run.write(FILE, kept.map((line) => `${JSON.stringify(line)}\n`).join(""));
  }

  /** Whether there are results of an arm and seed. */
  done(arm: string, seed: number): boolean {
    return this.#results.some((result) => result.arm === arm && result.seed === seed);
  }

  /**
   * Stores the results of an arm and seed; they are on disk when the promise resolves.
   *
   * @param cases held-out cases, or those of several variants by name: `{ "as predicted": a, "largest component": b }`
   * @param extra further values for the report: seconds, the last loss
   * @throws VoxgradError for an unknown arm or seed, one that already has results or lacks a measure, or if the cases
   *   differ from those of the seed's other arms
   */
  async add(
    arm: string,
    seed: number,
    cases: ExperimentCases | Readonly<Record<string, ExperimentCases>>,
    extra: Readonly<Record<string, number | string>> = {},
  ): Promise<void> {
    const what = `experiment: ${arm}, seed ${seed}`;
    const { arms, seeds } = this.#options;
    const known = arms.some(({ name }) => name === arm) && seeds.includes(seed);
    const listed = `arms are ${arms.map(({ name }) => name).join(", ")}, seeds ${seeds.join(", ")}`;
    if (!known) throw new VoxgradError(`${what}: ${listed}; add results of these`);
    if (this.done(arm, seed)) throw new VoxgradError(`${what}: it has results already; ask done() first`);
    const single = cases instanceof Comparison || Array.isArray(cases);
    const named = (single ? { "": cases } : cases) as Record<string, ExperimentCases>;
    const variants = Object.fromEntries(Object.entries(named).map(([name, each]) => [name, plainCases(what, each)]));
    for (const [variant, list] of Object.entries(variants)) this.#check(what, seed, variant, list);
    const result: ArmResult = { arm, seed, variants, extra };
    // As it will be read back: NaN is null.
    const line = JSON.stringify(result);
    await this.run.append(FILE, `${line}\n`);
    this.#results.push(JSON.parse(line));
  }

  #check(what: string, seed: number, variant: string, cases: readonly MeasuredCase[]): void {
    const outline = (list: readonly MeasuredCase[]): string[] =>
      list.map(({ id, classes }) => `${id} (${Object.keys(classes).join(", ")})`);
    const got = outline(cases);
    if (got.length === 0 || new Set(cases.map(({ id }) => id)).size < got.length) {
      throw new VoxgradError(`${what}: cases are ${got.join(", ") || "missing"}; give each held-out case once`);
    }
    for (const { name } of this.#measures) {
      const lacking = cases.find((each) =>
        Object.values(each.classes).some((measured) => measured[name] === undefined)
      );
      if (lacking) {
        throw new VoxgradError(`${what}: case ${lacking.id} lacks ${name}; give it, null where it is not defined`);
      }
    }
    const other = this.#results.find((result) => result.seed === seed && result.variants[variant]);
    const wanted = other && outline(other.variants[variant]);
    if (!wanted || got.join() === wanted.join()) return;
    const at = got.findIndex((each, k) => each !== wanted[k]);
    throw new VoxgradError(
      `${what}: its cases and classes are not those of ${other.arm}: got ${got[at] ?? `only ${got.length} cases`}, ` +
        `wanted ${wanted[at] ?? `only ${wanted.length} cases`}; compare all arms on the same cases and classes`,
    );
  }

  /**
   * Stores a figure for the report, replacing one of the same name.
   *
   * @param name file name, ending in .svg
   * @param options arm: the arm whose section shows it
   */
  async figure(name: string, svg: string, caption: string, options: { arm?: string } = {}): Promise<void> {
    check(
      /^[^/]+\.svg$/.test(name),
      "experiment",
      () => `a figure is named ${name}; wanted a file name that ends in .svg`,
    );
    check(
      !OWN_FIGURES.includes(name),
      "experiment",
      () => `the figure ${name} is drawn by the experiment; name it otherwise`,
    );
    const figure: ExperimentFigure = { figure: name, caption, ...options };
    await this.run.write(name, svg);
    await this.run.append(FILE, `${JSON.stringify(figure)}\n`);
    this.#figures.set(name, figure);
  }

  /** Means and differences of the results so far. */
  groups(): ArmGroup[] {
    return summarizeArms(this.#results, {
      ...this.#options,
      reference: this.#reference.name,
      measures: this.#measures,
    });
  }

  /**
   * By name of each arm with results the mean of a measure over its seeds, of the mean over classes, first variant.
   *
   * @throws VoxgradError for a measure that the experiment has not
   */
  means(measure: string): Map<string, number> {
    const at = this.#measures.findIndex(({ name }) => name === measure);
    check(at >= 0, "experiment", () => `it measures no ${measure}; add it to measures`);
    const rows = this.groups()[0]?.arms ?? [];
    return new Map(rows.flatMap(({ arm, seeds, cells }) => (seeds.length > 0 ? [[arm.name, cells[at].mean]] : [])));
  }

  /**
   * Writes experiment.json, table.md, cases.csv, arms.svg, differences.svg and report.html of the results so far; it
   * may be called after each arm.
   *
   * @returns the tables as Markdown
   */
  async finish(): Promise<string> {
    const { title, about = "", arms, seeds, settings = {} } = this.#options;
    const [own, results] = [[...this.#figures.values()], this.#results];
    const figures = await Promise.all(
      own.map(async (each) => ({ ...each, svg: await this.run.readText(each.figure) })),
    );
    const state: ExperimentState = {
      title,
      about,
      arms,
      seeds,
      settings,
      results,
      reference: this.#reference,
      measures: this.#measures,
      groups: this.groups(),
      figures,
    };
    const table = markdown(state);
    await this.run.writeJson("experiment.json", experimentJson(state));
    await this.run.write("table.md", table);
    await this.run.write("cases.csv", casesCsv(state));
    await this.run.write("arms.svg", armsSvg(state));
    if (arms.length > 1) await this.run.write("differences.svg", differencesSvg(state));
    await this.run.write("report.html", await reportHtml(state));
    return table;
  }
}

/**
 * Opens an experiment in a run's folder, and loads existing results: an arm and seed that are `done` need not be run
 * again. Results are stored in results.jsonl, one line per arm and seed, written atomically.
 *
 * @throws VoxgradError if the folder holds an experiment with other settings
 * @example
 * ```ts
 * import { openExperiment, RunFolder } from "voxgrad/train";
 *
 * const arms = [{ name: "plain", title: "U-Net" }, { name: "colab", title: "CoLab" }];
 * const options = { title: "CoLab", arms, seeds: [1, 2, 3], settings: { steps: 400 } };
 * const experiment = await openExperiment(new RunFolder("runs/colab"), options);
 * const left = arms.filter(({ name }) => !experiment.done(name, 1)); // to be trained with seed 1, then experiment.add
 * console.log(left.length, await experiment.finish());
 * ```
 */
export async function openExperiment(run: RunFolder, options: ExperimentOptions): Promise<Experiment> {
  const experiment = new Experiment(run, options);
  await experiment.open();
  return experiment;
}

/** Whether a line is a valid figure, or a valid result of an arm and seed. */
function isResult(line: unknown): line is ArmResult | (ExperimentFigure & { readonly figure: string }) {
  if (!isPlain(line)) return false;
  if (Object.hasOwn(line, "figure")) return typeof line.figure === "string" && typeof line.caption === "string";
  const { arm, seed, variants, extra } = line;
  return typeof arm === "string" && Number.isSafeInteger(seed) && isPlain(extra) && isPlain(variants) &&
    Object.values(variants).every((cases) =>
      Array.isArray(cases) &&
      cases.every((each) => isPlain(each) && typeof each.id === "string" && isPlain(each.classes))
    );
}

const measureNamed = (name: string): Measure =>
  MEASURES.find((measure) => measure.name === name) ?? { name, heading: name.replaceAll("_", " "), digits: 3 };

/** In the order of their names. */
export function plainCases(what: string, cases: ExperimentCases): MeasuredCase[] {
  if (cases instanceof Comparison) {
    const names = cases.classes.map((each) => each.name);
    const twin = names.find((name, k) => names.indexOf(name) < k);
    if (twin !== undefined) throw new VoxgradError(`${what}: two classes are named ${twin}; name them differently`);
  }
  const list = cases instanceof Comparison
    ? cases.cases.map(({ id, classes }) => ({
      id,
      classes: Object.fromEntries(classes.map((c) => [c.name, measuresOf(c)])),
    }))
    : cases;
  return [...list].sort((a, b) => (a.id < b.id ? -1 : a.id > b.id ? 1 : 0));
}
