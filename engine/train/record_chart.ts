/** The records of a training as a picture. */
import type { StepRecord } from "./logging.ts";
import { chartSvg, type Point } from "./plots.ts";

/**
 * Loss and pseudo-Dice against the step.
 *
 * @param classes names of the foreground classes, as `record.dice` has them
 * @returns an SVG document
 * @example await run.write("progress.svg", recordChart(records, ["liver"], { title: "Abdomen" }));
 */
export function recordChart(
  records: readonly StepRecord[],
  classes: readonly string[],
  options: { title?: string } = {},
): string {
  const curve = (pick: (record: StepRecord) => number): Point[] => records.map((r) => [r.step, pick(r)]);
  const dice = Object.fromEntries(classes.map((name, c) => [name, curve((r) => r.dice[c])]));
  return chartSvg([
    { title: "Loss", series: { loss: curve((r) => r.loss) }, smooth: true },
    { title: "Pseudo-Dice (training patches)", series: dice, range: [0, 1] },
  ], options);
}
