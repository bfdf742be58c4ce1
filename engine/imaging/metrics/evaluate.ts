/** Evaluates a folder of predictions against a folder of references: file pairs, nnU-Net's summary, CSV. */
import { trimSlashes } from "../../core/paths.ts";
import { platform } from "#platform";
import { listed, VoxgradError } from "../../core/errors.ts";
import { notMeasured } from "./compare.ts";
import type { ClassComparison, ComparedClass } from "./compare.ts";
import { baseName } from "../dataset/files.ts";
import { hasImageEnding, imageStem, withoutEnding } from "../formats/image_files.ts";
import { keysOf, readingsOf } from "../dataset/plain.ts";
import { summarize } from "./metrics.ts";

export interface FilePair {
  readonly id: string;
  readonly prediction: string;
  readonly reference: string;
}

/** Matched predictions and references, and the unmatched ones. */
export interface Pairing {
  readonly pairs: readonly FilePair[];
  /** Reference files without a prediction. */
  readonly missing: readonly string[];
  /** Predictions without a reference. */
  readonly extra: readonly string[];
}

/**
 * Pairs the files of two folders by name, without their endings; or two single files. A reference may have a label
 * prefix or suffix: CASE_seg, segmentation-0 for CASE and volume-0.
 *
 * @throws VoxgradError when there is no pair, or a folder is compared with a file; PlatformError
 * @example
 * ```ts
 * import { pairFiles } from "voxgrad/imaging";
 *
 * const { pairs, missing } = await pairFiles("predictions", "data/labelsTs");
 * ```
 */
export async function pairFiles(prediction: string, reference: string): Promise<Pairing> {
  if (hasImageEnding(prediction) !== hasImageEnding(reference)) {
    throw new VoxgradError(`${prediction} and ${reference}: got a file and a folder; wanted two files or two folders`);
  }
  if (hasImageEnding(prediction)) {
    return { pairs: [{ id: withoutEnding(baseName(prediction)), prediction, reference }], missing: [], extra: [] };
  }
  const [predictions, references] = [await byStem(prediction), await byStem(reference)];
  const byName = new Map<string, string[]>();
  for (const [id, file] of predictions) {
    for (const { key, channel } of readingsOf(id)) {
      if (channel === "") byName.set(key, [...(byName.get(key) ?? []), file]);
    }
  }
  const pairs: FilePair[] = [];
  const missing: string[] = [];
  for (const [id, file] of references) {
    // Match by another name only if it is unambiguous.
    const others = keysOf(id).map((key) => byName.get(key) ?? []).find((files) => files.length > 0) ?? [];
    const found = predictions.get(id) ??
      (others.length === 1 && !references.has(withoutEnding(baseName(others[0]))) ? others[0] : undefined);
    if (found === undefined) missing.push(file);
    else pairs.push({ id: withoutEnding(baseName(found)), prediction: found, reference: file });
  }
  const paired = new Set(pairs.map((pair) => pair.prediction));
  const extra = [...predictions.values()].filter((file) => !paired.has(file));
  if (pairs.length > 0) return { pairs, missing, extra };
  const some = (
    files: readonly string[],
    folder: string,
  ) => (files.length > 0 ? listed(files.map(baseName), 3) : `no image in ${folder}`);
  const [got, wanted] = [some([...predictions.values()], prediction), some(missing, reference)];
  throw new VoxgradError(
    `${prediction} has no file named as one of ${reference}: got ${got}; wanted names as in ${wanted}`,
  );
}

async function byStem(path: string): Promise<Map<string, string>> {
  const folder = trimSlashes(path);
  const files = new Map<string, string>();
  for (const name of await platform.listFiles(folder)) {
    const stem = name.startsWith(".") ? undefined : imageStem(name);
    if (stem === undefined) continue;
    const twin = files.get(stem);
    if (twin) throw new VoxgradError(`${folder}/${name}: ${twin} is the same case; only one of them can be compared`);
    files.set(stem, `${folder}/${name}`);
  }
  return files;
}

/** Names in summary.json and in the CSV: those of nnU-Net where it has them. */
const FIELDS: readonly [string, (c: ClassComparison) => number][] = [
  ["Dice", (c) => c.dice],
  ["IoU", (c) => c.iou],
  ["TP", (c) => c.truePositive],
  ["FP", (c) => c.falsePositive],
  ["FN", (c) => c.falseNegative],
  ["TN", (c) => c.trueNegative],
  ["n_pred", (c) => c.truePositive + c.falsePositive],
  ["n_ref", (c) => c.truePositive + c.falseNegative],
  ["sensitivity", (c) => c.sensitivity],
  ["precision", (c) => c.precision],
  ["HD", (c) => c.hausdorff],
  ["HD95", (c) => c.hausdorff95],
  ["HD95_max_of_directed", (c) => c.hausdorff95MaxOfDirected],
  ["ASSD", (c) => c.averageSymmetricSurfaceDistance],
  ["surface_dice", (c) => c.surfaceDice],
  ["volume_pred_ml", (c) => c.predictedVolume],
  ["volume_ref_ml", (c) => c.referenceVolume],
];

/**
 * The measures of a class by their names in summary.json and in the CSV; NaN if undefined.
 *
 * @example
 * ```ts
 * import { compareLabels, measuresOf, phantomCase } from "voxgrad/imaging";
 *
 * const { label } = phantomCase({ seed: 1 });
 * const [organ] = compareLabels(label, label, { classes: [{ name: "organ", values: [1] }] });
 * measuresOf(organ).Dice; // 1
 * ```
 */
export const measuresOf = (compared: ClassComparison): Record<string, number> =>
  Object.fromEntries(FIELDS.map(([name, pick]) => [name, pick(compared)]));

/** A string as a CSV field. */
export const csvField = (text: string): string => (/[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);

export interface EvaluatedCase extends FilePair {
  readonly classes: readonly ClassComparison[];
}

/** nnU-Net writes a region's key as Python writes a tuple. */
const keyOf = ({ values }: ComparedClass): string => values.length === 1 ? String(values[0]) : `(${values.join(", ")})`;

/** Measures of many cases: summary.json, CSV and a table. Every case has the same classes in the same order. */
export class Comparison {
  readonly cases: readonly EvaluatedCase[];
  readonly missing: readonly string[];
  readonly classes: readonly ComparedClass[];

  constructor(cases: readonly EvaluatedCase[], options: { missing?: readonly string[] } = {}) {
    this.cases = withSameClasses(cases);
    this.missing = options.missing ?? [];
    this.classes = this.cases[0]?.classes ?? [];
  }

  /** Mean and spread of a field over the cases, by class. */
  #over(index: number, pick: (c: ClassComparison) => number) {
    return summarize(this.cases.map((entry) => pick(entry.classes[index])));
  }

  /** Whether no class occurs in any map of any case. */
  isEmpty(): boolean {
    return this.cases.every(({ classes }) =>
      classes.every((c) => !(c.truePositive + c.falsePositive + c.falseNegative > 0))
    );
  }

  /**
   * What summary.json holds: nnU-Net's `metric_per_case`, `mean` and `foreground_mean`, with more measures; `min` and
   * `max`. They cover defined values; `undefined` counts the others by class. Undefined numbers are null.
   */
  toJson(): object {
    const fields = (of: (pick: (c: ClassComparison) => number) => number) =>
      Object.fromEntries(FIELDS.map(([name, pick]) => [name, of(pick)]));
    const perClass = <T>(of: (index: number) => T) =>
      Object.fromEntries(this.classes.map((each, index) => [keyOf(each), of(index)]));
    return {
      metric_per_case: this.cases.map((entry) => ({
        metrics: perClass((index) => fields((pick) => pick(entry.classes[index]))),
        prediction_file: entry.prediction,
        reference_file: entry.reference,
      })),
      mean: perClass((index) => fields((pick) => this.#over(index, pick).mean)),
      min: perClass((index) => fields((pick) => this.#over(index, pick).min)),
      max: perClass((index) => fields((pick) => this.#over(index, pick).max)),
      foreground_mean: fields((pick) => summarize(this.classes.map((_, index) => this.#over(index, pick).mean)).mean),
      undefined: perClass((index) => fields((pick) => this.#over(index, pick).undefined)),
      class_names: Object.fromEntries(this.classes.map((each) => [keyOf(each), each.name])),
      missing_predictions: this.missing,
    };
  }

  /** One row per case and class. */
  toCsv(): string {
    const rows = this.cases.flatMap((entry) =>
      entry.classes.map((each) =>
        [
          csvField(entry.id),
          csvField(keyOf(each)),
          csvField(each.name),
          ...FIELDS.map(([, pick]) => String(pick(each))),
        ].join(",")
      )
    );
    return [["case", "label", "name", ...FIELDS.map(([name]) => name)].join(","), ...rows, ""].join("\n");
  }

  /**
   * Headings and rows of the printed table: means by class, the lowest and the highest Dice of a case, and the number
   * of cases in which a class was in neither map or in only one.
   */
  tableRows(): { headings: string[]; rows: (string | number)[][] } {
    const shown = ["Dice", "IoU", "sensitivity", "precision", "HD95", "ASSD", "surface_dice"];
    const picks = FIELDS.filter(([name]) => shown.includes(name));
    const rows = this.classes.map((each, index) => {
      const means = picks.map(([, pick]) => this.#over(index, pick).mean);
      const { min, max } = this.#over(index, (c) => c.dice);
      const [notMeasured, noDice, noDistance] = [
        (c: ClassComparison) => c.truePositive,
        (c: ClassComparison) => c.dice,
        (c: ClassComparison) => c.hausdorff,
      ].map((pick) => this.#over(index, pick).undefined) as [number, number, number];
      return [each.name, ...means, min, max, String(noDice - notMeasured), String(noDistance - noDice)];
    });
    const headings = [
      "class",
      ...picks.map(([name]) => name.replace("_", " ")),
      "min Dice",
      "max Dice",
      "in neither",
      "in one alone",
    ];
    if (rows.length < 2) return { headings, rows };
    const means = picks.map((_, at) => summarize(rows.map((row) => row[at + 1] as number)).mean);
    return { headings, rows: [...rows, ["mean", ...means, "", "", "", ""]] };
  }
}

/** If classes were found per case, adds the classes of the other cases to each: they are in neither of its maps. */
function withSameClasses(cases: readonly EvaluatedCase[]): readonly EvaluatedCase[] {
  const all = new Map<string, ClassComparison>();
  for (const { classes } of cases) for (const each of classes) if (!all.has(keyOf(each))) all.set(keyOf(each), each);
  if (cases.every(({ classes }) => classes.length === all.size)) return cases;
  const order = [...all.values()].sort((a, b) => a.values[0] - b.values[0]);
  return cases.map((entry) => {
    const own = new Map(entry.classes.map((each) => [keyOf(each), each]));
    return { ...entry, classes: order.map((each) => own.get(keyOf(each)) ?? absent(each, entry.classes)) };
  });
}

function absent({ name, values }: ComparedClass, others: readonly ClassComparison[]): ClassComparison {
  const [one] = others;
  const voxels = one ? one.truePositive + one.falsePositive + one.falseNegative + one.trueNegative : NaN;
  const nothing = { truePositive: 0, falsePositive: 0, falseNegative: 0, predictedVolume: 0, referenceVolume: 0 };
  return { ...notMeasured({ name, values }), ...nothing, trueNegative: voxels };
}
