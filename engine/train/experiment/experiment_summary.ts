/** Summarizes the results of an experiment: means over cases and seeds, and paired differences to one arm. */
import { summarize } from "../../imaging/metrics/metrics.ts";
import { bootstrapInterval, type Interval, MOST_SIGNS, signFlipTest, tInterval } from "./statistics.ts";

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

/** Numbers of differences above and below 0; of a measure without a direction better means higher. */
export interface Wins {
  readonly better: number;
  readonly worse: number;
}

/**
 * An arm's values minus those of the reference arm. The seed is the unit: each has one value, the mean over its cases,
 * since cases of one trained network are no independent trials of a method.
 */
export interface Difference extends Interval {
  /** By seed, where both arms are defined in a case: the mean over those cases. `mean` is the mean of these. */
  readonly bySeed: readonly number[];
  /** 95 % t interval over the seeds; NaN for one seed. */
  readonly low: number;
  readonly high: number;
  /** Whether the interval leaves 0 out: the difference is shown. */
  readonly shown: boolean;
  /** The exact sign-flip test over the seeds; NaN for fewer than SEEDS_FOR_P. */
  readonly p: number;
  readonly seeds: Wins;
  /**
   * Of these networks on other cases: a bootstrap interval over cases, whose values are means over the seeds that have
   * them. It describes, and tells nothing of networks trained anew.
   */
  readonly cases: Interval & Wins & { readonly count: number };
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
  /** Absent for the reference arm, or without a case where both are defined. */
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
          const found = difference(table(arm.name, common), table(reference, common), ids, measure);
          return found ? { ...cell, difference: found } : cell;
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
): Difference | undefined {
  const values = own.map((cases, s) =>
    cases.map((row, k) => ({ id: ids[s][k], value: meanOver(row.map((v, c) => v - other[s][k][c])) }))
      .filter(({ value }) => !Number.isNaN(value))
  );
  const bySeed = values.filter((cases) => cases.length > 0).map((cases) => meanOver(cases.map(({ value }) => value)));
  if (bySeed.length === 0) return undefined;
  const byCase = new Map<string, number[]>();
  for (const { id, value } of values.flat()) byCase.set(id, [...(byCase.get(id) ?? []), value]);
  const overCases = [...byCase.values()].map(meanOver);
  const winsOf = (differences: readonly number[]): Wins => {
    const [higher, lower] = [differences.filter((d) => d > 0).length, differences.filter((d) => d < 0).length];
    return good === "higher" ? { better: higher, worse: lower } : { better: lower, worse: higher };
  };
  const { mean, low, high } = tInterval(bySeed);
  return {
    bySeed,
    mean,
    low,
    high,
    shown: low > 0 || high < 0,
    p: bySeed.length < SEEDS_FOR_P || bySeed.length > MOST_SIGNS ? NaN : signFlipTest(bySeed),
    seeds: winsOf(bySeed),
    cases: { ...bootstrapInterval(overCases), ...winsOf(overCases), count: overCases.length },
  };
}
