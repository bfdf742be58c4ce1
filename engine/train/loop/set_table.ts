/** Dice of held-out cases by set of a dataset group. */
import type { Dataset } from "../../imaging/dataset/types.ts";
import type { Comparison } from "../../imaging/metrics/evaluate.ts";
import { summarize } from "../../imaging/metrics/metrics.ts";
import type { ReportTable } from "../run/tables.ts";

/**
 * The table of a run on a dataset group: for each set with held-out cases the mean Dice by class.
 *
 * @returns undefined where cases of fewer than two sets are held out
 */
export function setTable(
  { cases, classes }: Comparison,
  dataset: Pick<Dataset, "cases" | "sets">,
): ReportTable | undefined {
  const setOf = new Map(dataset.cases.map(({ id, set }) => [id, set]));
  const rows = (dataset.sets ?? []).flatMap(({ name }) => {
    const own = cases.filter(({ id }) => setOf.get(id) === name);
    if (own.length === 0) return [];
    const means = classes.map((_, k) => summarize(own.map((each) => each.classes[k].dice)).mean);
    return [[name, own.length, ...means, summarize(means).mean]];
  });
  if (rows.length < 2) return undefined;
  return {
    name: "sets",
    title: "Dice by set",
    caption: "Means over the held-out cases of each set; - where a set has not annotated a class.",
    headings: ["set", "cases", ...classes.map(({ name }) => name), "mean"],
    rows,
  };
}
