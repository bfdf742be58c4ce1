/** Chart of the records of a training. */
import type { EpochRecord, StepRecord } from "../run/logging.ts";
import { type ChartPanel, chartSvg, LABEL_COLORS, type Point } from "./plots.ts";

/**
 * Loss, pseudo-Dice, learning rate, further values of the method and epoch duration by step. With validation, only its
 * pseudo-Dice is shown.
 *
 * @param classes names of the foreground classes, as in `record.dice`
 * @param options title; epochs: records of the epochs so far
 * @returns an SVG document
 */
export function recordChart(
  records: readonly StepRecord[],
  classes: readonly string[],
  options: { title?: string; epochs?: readonly EpochRecord[] } = {},
): string {
  const { title, epochs = [] } = options;
  const curve = (pick: (record: StepRecord) => number): Point[] => records.map((r) => [r.step, pick(r)]);
  const byEpoch = (pick: (record: EpochRecord) => number | null | undefined): Point[] =>
    epochs.map((e) => [e.step, pick(e) ?? NaN]);
  const loss: Record<string, readonly Point[]> = { training: curve((r) => r.loss) };
  const validated = epochs.some((e) => e.dice);
  if (validated) loss.validation = byEpoch((e) => e.validationLoss);
  const dice: Record<string, readonly Point[]> = Object.fromEntries(
    classes.map((name, c) => [name, validated ? byEpoch((e) => e.dice?.[c]) : curve((r) => r.dice[c])]),
  );
  if (validated) dice["moving average"] = byEpoch((e) => e.average);
  const colors = [...classes.map((_, c) => LABEL_COLORS[c % LABEL_COLORS.length]), "#1a1a1a"];
  const panels: ChartPanel[] = [
    { title: "Loss", series: loss, smooth: true },
    { title: `Pseudo-Dice (${validated ? "validation" : "training"} patches)`, series: dice, range: [0, 1], colors },
    { title: "Learning rate", series: { rate: curve((r) => r.rate) } },
  ];
  const extras = records.filter((r) => r.extra);
  for (const [title, values] of Object.entries(extras[0]?.extra ?? {})) {
    const series = Object.keys(values).map((name) => [
      name,
      extras.map((r): Point => [r.step, r.extra![title]?.[name] ?? NaN]),
    ]);
    panels.push({ title, series: Object.fromEntries(series) });
  }
  if (epochs.length > 1) panels.push({ title: "Seconds an epoch", series: { seconds: byEpoch((e) => e.seconds) } });
  return chartSvg(panels, { title });
}
