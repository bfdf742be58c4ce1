/** Summarizes the results of an experiment: means over cases and seeds, and paired differences to one arm. */
import { summarize } from "../../imaging/metrics/metrics.ts";
import { bootstrapInterval, wilcoxon } from "./statistics.ts";

/** One of the methods compared. */
export interface Arm {
  /** Short and without spaces, for file names and the command line. */
  readonly name: string;
  /** For tables and figures. */
  readonly title: string;
  /** A sentence for the report. */
  readonly about?: string;
}

/** A column of the tables. */
export interface Measure {
  /** Name in summary.json: Dice, HD95. */
  readonly name: string;
  readonly heading: string;
  /** Which direction is better; without it arms are not called better or worse. */
  readonly better?: "higher" | "lower";
  /** Decimals to show. */
  readonly digits: number;
}

/** Measures of one case by class and name; null if undefined. */
export interface MeasuredCase {
  readonly id: string;
  readonly classes: Readonly<Record<string, Readonly<Record<string, number | null>>>>;
}

/** The result of one arm with one seed. */
export interface ArmResult {
  readonly arm: string;
  readonly seed: number;
  /** Held-out cases by variant; a single variant has an empty name. */
  readonly variants: Readonly<Record<string, readonly MeasuredCase[]>>;
  /** Further values for the report: seconds, parameters, the last loss. */
  readonly extra: Readonly<Record<string, number | string>>;
}

/** An arm's values minus those of the reference arm. */
export interface Difference {
  /** Mean over the pairs: cases of a seed where both arms are defined. */
  readonly mean: number;
  /** 95 % bootstrap interval of the mean, over seeds and cases. */
  readonly low: number;
  readonly high: number;
  /**
   * Wilcoxon's signed-rank test, two-sided, over the seeds: each seed is one value, the mean over its cases. Cases of
   * one trained network are not independent trials of a method. NaN for fewer than SEEDS_FOR_P seeds.
   */
  readonly p: number;
  /** Seeds where both arms are defined. */
  readonly seeds: number;
  readonly pairs: number;
  readonly cases: number;
  /** Pairs where the arm is better, or worse, than the reference; higher or lower for measures without a direction. */
  readonly better: number;
  readonly worse: number;
}

/** With fewer seeds p cannot fall below 0.05: its minimum is 2 of 2^n choices of signs. */
export const SEEDS_FOR_P = 6;

/** One measure of one arm. */
export interface ArmCell {
  /** For each seed of the arm: the mean over the defined cases. */
  readonly bySeed: readonly number[];
  /** Mean over the seeds; the deviation is the sample standard deviation (n - 1), NaN for one seed. */
  readonly mean: number;
  readonly deviation: number;
  /** Number of values (cases of all seeds), and of undefined ones, which are excluded from means. */
  readonly values: number;
  readonly undefined: number;
  /** Absent for the reference arm, or without a common seed. */
  readonly difference?: Difference;
}

/** The arms' results for one class (or the mean over classes) of one variant. */
export interface ArmGroup {
  readonly variant: string;
  /** "" for the mean over classes. */
  readonly class: string;
  readonly arms: readonly {
    readonly arm: Arm;
    readonly seeds: readonly number[];
    readonly cells: readonly ArmCell[];
  }[];
}

/**
 * Summarizes results. The mean over classes is that of the classes' means, as `foreground_mean` of summary.json; there
 * a paired difference is the mean over the classes where both arms are defined.
 *
 * @param results of the arms and seeds so far; unknown ones are ignored
 * @returns for each variant each class, and their mean if there are several; cells by `measures`
 */
export function summarizeArms(
  results: readonly ArmResult[],
  options: { arms: readonly Arm[]; seeds: readonly number[]; measures: readonly Measure[]; reference: string },
): ArmGroup[] {
  const { arms, seeds, measures, reference } = options;
  const known = results.filter(({ arm, seed }) => arms.some(({ name }) => name === arm) && seeds.includes(seed));
  const variants = [...new Set(known.flatMap((result) => Object.keys(result.variants)))];
  return variants.flatMap((variant) => {
    const having = known.filter((result) => result.variants[variant]);
    const casesOf = (arm: string, seed: number) =>
      having.find((result) => result.arm === arm && result.seed === seed)?.variants[variant];
    const all = having.flatMap((result) => result.variants[variant]);
    const classes = [...new Set(all.flatMap((each) => Object.keys(each.classes)))];
    const groups = classes.length > 1 ? [classes, ...classes.map((name) => [name])] : [classes];
    return groups.map((group): ArmGroup => ({
      variant,
      class: group.length === 1 ? group[0] : "",
      arms: arms.map((arm) => {
        const own = seeds.filter((seed) => casesOf(arm.name, seed));
        const cells = measures.map((measure): ArmCell => {
          const table = (name: string, list: readonly number[]) =>
            list.map((seed) => valuesOf(casesOf(name, seed)!, group, measure));
          const values = table(arm.name, own);
          const bySeed = values.map((cases) => meanOver(group.map((_, c) => meanOver(cases.map((row) => row[c])))));
          const { mean, deviation } = summarize(bySeed);
          const flat = values.flat(2);
          const missing = flat.filter(Number.isNaN).length;
          const cell = { bySeed, mean, deviation, values: flat.length, undefined: missing };
          const common = own.filter((seed) => casesOf(reference, seed));
          if (arm.name === reference || common.length === 0) return cell;
          const ids = common.map((seed) => casesOf(arm.name, seed)!.map(({ id }) => id));
          return { ...cell, difference: difference(table(arm.name, common), table(reference, common), ids, measure) };
        });
        return { arm, seeds: own, cells };
      }),
    }));
  });
}

/** Mean of the defined values. */
const meanOver = (values: readonly number[]): number => summarize(values).mean;

/** [case][class]; cases in the order of their names, which is the same in all arms. */
const valuesOf = (cases: readonly MeasuredCase[], classes: readonly string[], { name }: Measure): number[][] =>
  cases.map((each) => classes.map((key) => each.classes[key]?.[name] ?? NaN));

/** @param own [seed][case][class]; @param other of the reference arm; @param ids [seed][case] */
function difference(
  own: readonly number[][][],
  other: readonly number[][][],
  ids: readonly (readonly string[])[],
  { better: good = "higher" }: Measure,
): Difference {
  // [seed][case], NaN where no class is defined in both.
  const bySeed = own.map((cases, s) =>
    new Map(cases.map((row, k) => [ids[s][k], meanOver(row.map((value, c) => value - other[s][k][c]))]))
  );
  const names = [...new Set(ids.flat())];
  const table = bySeed.map((values) => names.map((id) => values.get(id) ?? NaN));
  const pairs = table.flat().filter((d) => !Number.isNaN(d));
  const byCase = names.map((_, k) => meanOver(table.map((row) => row[k]))).filter((d) => !Number.isNaN(d));
  const means = table.map(meanOver).filter((d) => !Number.isNaN(d));
  const [higher, lower] = [pairs.filter((d) => d > 0).length, pairs.filter((d) => d < 0).length];
  return {
    ...bootstrapInterval(table),
    p: means.length < SEEDS_FOR_P ? NaN : wilcoxon(means).p,
    seeds: means.length,
    pairs: pairs.length,
    cases: byCase.length,
    better: good === "higher" ? higher : lower,
    worse: good === "higher" ? lower : higher,
  };
}
