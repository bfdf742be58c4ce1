/** What both modes of an evaluation of one-shot segmentation share. */
import { type ClassComparison, type ComparedClass, loadCase, metrics } from "../../../engine/imaging/mod.ts";
import { formatTable, print, type ReportTable } from "../../../engine/train/mod.ts";
import type { PrototypeUse } from "../scans.ts";
import type { Evaluation } from "./results.ts";

/** Cases shown of a support, and scans shown of --within. */
export const SHOWN = 4;

export const valuesOf = (classes: readonly ComparedClass[]): number[] => classes.map(({ values }) => values[0]);

/** Maps classes to 1, 2, ... and everything else to 0, for overlays. */
export function asClasses(labels: ArrayLike<number>, classes: readonly ComparedClass[]): Uint8Array {
  const number = new Map(valuesOf(classes).map((value, k) => [value, k + 1]));
  return Uint8Array.from(labels, (value) => number.get(value) ?? 0);
}
export const namesOf = (
  classes: readonly ComparedClass[],
): string[] => ["background", ...classes.map(({ name }) => name)];

/** Mean Dice over the classes for which it is defined. */
export const diceOf = ({ classes }: { readonly classes: readonly ClassComparison[] }): number =>
  metrics.summarize(classes.map(({ dice }) => dice)).mean;

export async function loaded({ dataset }: Evaluation, id: string) {
  const item = await loadCase(dataset, dataset.cases.find((each) => each.id === id)!);
  return { ...item, label: item.label! };
}

export function printTable({ title, headings, rows }: ReportTable): void {
  print(`\n${title}\n${formatTable(headings, rows.map((row) => row.map((cell) => cell ?? NaN)))}`);
}

export const NO_USE: PrototypeUse = { sets: 0, local: 0, windows: 0, used: 0 };

export const totalUse = (list: readonly PrototypeUse[]): PrototypeUse =>
  list.reduce((a, b) => ({
    sets: a.sets + b.sets,
    local: a.local + b.local,
    windows: a.windows + b.windows,
    used: a.used + b.used,
  }), NO_USE);

/** Tells how far local prototypes of the classes were in use; without windows nothing. */
export function tellUse({ sets, local, windows, used }: PrototypeUse): void {
  if (sets === 0) return;
  const percent = (part: number, all: number): string => `${Number(((100 * part) / all).toPrecision(2))} %`;
  print(
    `Local prototypes of the classes: in ${percent(local, sets)} of the supports; ${percent(used, windows)} of the ` +
      `windows lie in a class${local === 0 ? ". Smaller windows would, by --window and --probe" : ""}`,
  );
}
