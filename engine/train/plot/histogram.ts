/** Histograms as SVG text: densities of groups over shared bins, several panels side by side. */
import { scaleLinear } from "d3-scale";
import { check, VoxgradError } from "../../core/errors.ts";
import { drawNothing, drawTicks, type Frame, type GridPanel, legendOf, panelGridSvg } from "./panel_grid.ts";
import { COLORS, round } from "./plots.ts";

/** The bins of a histogram: `bins` of equal width from range[0] to range[1]. */
export interface Bins {
  readonly range: readonly [number, number];
  /** Default 60. */
  readonly bins?: number;
}

/**
 * Counts of values in bins of equal width; a bin holds its lower edge, the last one both. Values beyond the range only
 * count in the total, so the density integrates to the fraction within the range.
 *
 * @throws VoxgradError for a range that is empty or not finite
 * @example
 * ```ts
 * import { Histogram } from "voxgrad/train";
 *
 * const intensities = new Histogram({ range: [0, 100], bins: 20 });
 * for (const value of [12, 47, 48, 99]) intensities.add(value);
 * ```
 */
export class Histogram {
  readonly range: readonly [number, number];
  readonly counts: Float64Array;
  /** Number of values added, including those beyond the range. */
  total = 0;

  constructor({ range, bins = 60 }: Bins) {
    const [low, high] = range;
    check(Number.isFinite(high - low) && low < high, "Histogram", () => `range is [low, high], got [${low}, ${high}]`);
    check(Number.isInteger(bins) && bins >= 1, "Histogram", () => `bins is an integer from 1, got ${bins}`);
    this.range = range;
    this.counts = new Float64Array(bins);
  }

  /** @throws VoxgradError for NaN */
  add(value: number): void {
    if (Number.isNaN(value)) {
      throw new VoxgradError("Histogram: got NaN, wanted a number; leave out what is not defined");
    }
    const [low, high] = this.range;
    this.total++;
    if (value < low || value > high) return;
    const bin = Math.floor(((value - low) / (high - low)) * this.counts.length);
    this.counts[Math.min(bin, this.counts.length - 1)]++;
  }

  /** Fraction of the values in each bin per unit of the axis; 0 if nothing was added. */
  density(): Float64Array {
    const width = (this.range[1] - this.range[0]) / this.counts.length;
    return this.counts.map((count) => count / (Math.max(1, this.total) * width));
  }
}

export interface HistogramGroup {
  readonly name: string;
  readonly histogram: Histogram;
  /** Default: the next of COLORS; a name has the same color in all panels. */
  readonly color?: string;
}

export interface HistogramPanel extends GridPanel {
  readonly groups: readonly HistogramGroup[];
}

/**
 * Densities of groups as translucent steps with an outline. All panels share the axis of values; each has its own
 * density axis.
 *
 * @returns an SVG document
 * @throws VoxgradError if histograms differ in their bins
 * @example
 * ```ts
 * import { Histogram, histogramSvg } from "voxgrad/train";
 *
 * const histogram = new Histogram({ range: [0, 100], bins: 20 });
 * for (const value of [12, 47, 48, 99]) histogram.add(value);
 * const svg = histogramSvg([{ title: "Intensity", groups: [{ name: "lesion", histogram }] }], { xLabel: "HU" });
 * ```
 */
export function histogramSvg(
  panels: readonly HistogramPanel[],
  options: { title?: string; xLabel?: string; yLabel?: string } = {},
): string {
  const { title, xLabel, yLabel = "density" } = options;
  const groups = panels.flatMap((panel) => panel.groups);
  const binsOf = ({ histogram }: HistogramGroup) =>
    `${histogram.counts.length} bins over ${histogram.range.join(" to ")}`;
  const other = groups.find((group) => binsOf(group) !== binsOf(groups[0]));
  check(!other, "histogramSvg", () => {
    return `the groups share bins, got ${binsOf(groups[0])} for "${groups[0].name}", ${binsOf(other!)} for "${
      other!.name
    }"`;
  });
  const legend = legendOf(groups, COLORS);
  const colorOf = new Map(legend.map(({ name, color }) => [name, color]));
  const draw = (panel: HistogramPanel, frame: Frame): string => {
    const domain = groups[0]?.histogram.range ?? [0, 1];
    const densities = panel.groups.map(({ histogram }) => histogram.density());
    const highest = densities.reduce((most, density) => density.reduce((a, b) => Math.max(a, b), most), 0);
    const x = scaleLinear().domain(domain).range([frame.left, frame.right]);
    const y = scaleLinear().domain([0, highest || 1]).range([frame.bottom, frame.top]).nice(4);
    const shapes = panel.groups.map(({ name, histogram }, k) => {
      if (histogram.total === 0) return "";
      const edge = (i: number): number => round(x(domain[0] + ((domain[1] - domain[0]) * i) / histogram.counts.length));
      const steps = [...densities[k]].map((value, i) => `V${round(y(value))}H${edge(i + 1)}`).join("");
      const color = colorOf.get(name);
      return (
        `<path d="M${edge(0)},${round(frame.bottom)}${steps}V${round(frame.bottom)}Z" fill="${color}" ` +
        `fill-opacity="0.2" stroke="${color}" stroke-width="1.5" stroke-linejoin="round"/>`
      );
    });
    return [
      drawTicks(frame, { x, y }, { x: 5, y: 4 }),
      ...shapes,
      panel.groups.every(({ histogram }) => histogram.total === 0) ? drawNothing(frame) : "",
    ].join("\n");
  };
  return panelGridSvg(panels, { title, xLabel, yLabel, legend, aspect: 0.75, draw });
}
