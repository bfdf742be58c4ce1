/** Held-out cases measured: per case and class, in summary, as JSON and as a table. */
import { overlapMetrics, summarise } from "../imaging/metrics.ts";
import type { ClassMetrics } from "../imaging/metrics.ts";
import type { Volume } from "../imaging/volume.ts";
import { formatTable } from "./logging.ts";

export interface CaseMetrics {
  readonly id: string;
  readonly classes: readonly (ClassMetrics & { readonly name: string })[];
}

export class Evaluation {
  /** Names of the classes by label, the background first. */
  readonly labels: readonly string[];
  readonly cases: CaseMetrics[] = [];
  readonly #ignore: number | undefined;

  /** @param options ignore: reference voxels of this value are left out */
  constructor(labels: readonly string[], options: { ignore?: number } = {}) {
    this.labels = labels;
    this.#ignore = options.ignore;
  }

  /** Measures one prediction against its reference. */
  add(id: string, prediction: Volume, reference: Volume): CaseMetrics {
    const options = { classes: this.labels.length, ...(this.#ignore === undefined ? {} : { ignore: this.#ignore }) };
    const classes = overlapMetrics(prediction.data, reference.data, options);
    const entry = { id, classes: classes.map((m) => ({ ...m, name: this.labels[m.label] })) };
    this.cases.push(entry);
    return entry;
  }

  /** Measures of one class over the cases. */
  #over(label: number, pick: (m: ClassMetrics) => number) {
    return summarise(this.cases.map((entry) => pick(entry.classes[label - 1])));
  }

  /** Mean Dice of a class over the cases; NaN when it never occurs. */
  dice(label: number): number {
    return this.#over(label, (m) => m.dice).mean;
  }

  /** Mean of the classes' mean Dice. */
  meanDice(): number {
    return summarise(this.labels.slice(1).map((_, k) => this.dice(k + 1))).mean;
  }

  /** What metrics.json holds: `mean` over cases per class and over classes, then every case. */
  toJson(): object {
    const classes = this.labels.slice(1).map((name, k) => {
      const dice = this.#over(k + 1, (m) => m.dice);
      return {
        label: k + 1,
        name,
        dice: dice.mean,
        diceDeviation: dice.deviation,
        sensitivity: this.#over(k + 1, (m) => m.sensitivity).mean,
        precision: this.#over(k + 1, (m) => m.precision).mean,
        cases: dice.defined,
        casesWithout: dice.undefined,
      };
    });
    return { mean: { dice: this.meanDice(), classes }, cases: this.cases };
  }

  /** Dice per class for people. */
  table(): string {
    const rows = this.labels.slice(1).map((name, k) => {
      const dice = this.#over(k + 1, (m) => m.dice);
      const others = [this.#over(k + 1, (m) => m.sensitivity).mean, this.#over(k + 1, (m) => m.precision).mean];
      return [name, dice.mean, dice.deviation, dice.min, ...others];
    });
    const column = (at: number): number => summarise(rows.map((row) => row[at] as number)).mean;
    const mean = ["mean", column(1), NaN, NaN, column(4), column(5)];
    const headings = ["class", "Dice", "+-", "worst", "sensitivity", "precision"];
    return formatTable(headings, rows.length > 1 ? [...rows, mean] : rows);
  }
}
