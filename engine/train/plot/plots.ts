/** Training curves as SVG: loss and Dice by step. Scales and paths by d3. */
import { scaleLinear, scaleLog, scaleSymlog } from "d3-scale";
import { inLines, shortened, textWidth } from "./svg_text.ts";

/** [step, value]; a value of NaN leaves a gap. */
export type Point = readonly [number, number];

export interface ChartPanel {
  readonly title: string;
  /** Curves by name, drawn in this order. */
  readonly series: Readonly<Record<string, readonly Point[]>>;
  /** Fixed range of values; default that of the points. */
  readonly range?: readonly [number, number];
  /** Logarithmic axis; symlog if some values are 0 or below. */
  readonly log?: boolean;
  /** Draw each curve of 20 points or more pale with its moving average on top, for noisy per-step values. */
  readonly smooth?: boolean;
  /** Colors of the curves in turn; default COLORS. */
  readonly colors?: readonly string[];
  /** Whether the legend shows the last value of each curve; default true. */
  readonly latest?: boolean;
}

/** Okabe and Ito's color-blind-safe colors. */
export const COLORS: readonly string[] = [
  "#0072b2",
  "#d55e00",
  "#009e73",
  "#cc79a7",
  "#e69f00",
  "#56b4e9",
  "#5b4fa2",
  "#666666",
];

/** Colors of labels from 1 on, in curves and overlays alike: bright enough to show over gray slices. */
export const LABEL_COLORS: readonly string[] = [
  "#e69f00",
  "#56b4e9",
  "#cc79a7",
  "#009e73",
  "#d55e00",
  "#0072b2",
  "#5b4fa2",
  "#8c8c8c",
];

/**
 * The color of a label from 1 on, as "#rrggbb"; after eight labels they repeat.
 *
 * @example
 * ```ts
 * import { labelColor } from "voxgrad/train";
 *
 * labelColor(1); // "#e69f00"
 * ```
 */
export const labelColor = (value: number): string => LABEL_COLORS[(value - 1) % LABEL_COLORS.length];

export const escapeXml = (text: string): string =>
  // deno-lint-ignore no-control-regex
  text.replace(/[&<>"']/g, (c) => `&#${c.charCodeAt(0)};`).replace(/[\0-\x08\x0b\x0c\x0e-\x1f]/g, " ");

/** The start of an SVG document on white. */
export const openSvg = (width: number, height: number): string =>
  `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" ` +
  `font-family="Inter, Helvetica, Arial, sans-serif" font-size="12">\n` +
  `<rect width="${width}" height="${height}" fill="#fff"/>`;

const WIDTH = 860;
const PANEL_HEIGHT = 260;
const MARGIN = { left: 64, right: 24, top: 34, bottom: 26 };
const MOST_POINTS = 1000;
/** Width between the margins in pixels, and height of a legend line. */
const ROOM = WIDTH - MARGIN.left - MARGIN.right;
const LINE = 18;

/**
 * Line charts one above the other, over one axis of steps.
 *
 * @param options title over all; xLabel below, default "step"
 * @returns an SVG document
 * @example
 * ```ts
 * import { chartSvg } from "voxgrad/train";
 *
 * const svg = chartSvg([{ title: "Loss", series: { training: [[1, 0.9], [2, 0.7]] }, log: true }]);
 * ```
 */
export function chartSvg(panels: readonly ChartPanel[], options: { title?: string; xLabel?: string } = {}): string {
  const { title, xLabel = "step" } = options;
  const head = title ? 40 : 8;
  const heads = panels.map(headOf);
  const tops = heads.map((_, k) => head + heads.slice(0, k).reduce((sum, { extra }) => sum + PANEL_HEIGHT + extra, 0));
  const height = head + heads.reduce((sum, { extra }) => sum + PANEL_HEIGHT + extra, 0) + 34;
  const steps = panels.flatMap((panel) => Object.values(panel.series).flatMap((points) => points.map((p) => p[0])));
  const [first, last] = extent(steps.filter(Number.isFinite), [0, 1]);
  const body = panels.map((panel, index) => drawPanel(panel, heads[index], tops[index], [first, last]));
  return [
    openSvg(WIDTH, height),
    title ? text(MARGIN.left, 27, shortened(title, ROOM, 18), 'font-size="17" font-weight="600" fill="#1a1a1a"') : "",
    ...body,
    text((MARGIN.left + WIDTH - MARGIN.right) / 2, height - 14, xLabel, 'text-anchor="middle" fill="#555"'),
    "</svg>",
    "",
  ].join("\n");
}

/**
 * The progress of a training: loss above, Dice by class below.
 *
 * @param record loss: points of one curve, or curves by name; dice: curves by class name
 * @param options title; logLoss: logarithmic loss
 * @returns an SVG document
 */
export function progressSvg(
  record: { loss: readonly Point[] | ChartPanel["series"]; dice?: ChartPanel["series"] },
  options: { title?: string; logLoss?: boolean } = {},
): string {
  const loss = isPoints(record.loss) ? { loss: record.loss } : record.loss;
  const panels: ChartPanel[] = [{ title: "Loss", series: loss, log: options.logLoss, smooth: true }];
  if (record.dice && Object.keys(record.dice).length > 0) {
    panels.push({ title: "Dice", series: record.dice, range: [0, 1], colors: LABEL_COLORS });
  }
  return chartSvg(panels, { title: options.title });
}

const isPoints = (loss: readonly Point[] | ChartPanel["series"]): loss is readonly Point[] => Array.isArray(loss);

/** An SVG text element. */
export const text = (x: number, y: number, content: string, attributes = ""): string =>
  `<text x="${round(x)}" y="${round(y)}" ${attributes}>${escapeXml(content)}</text>`;

/** Rounds a coordinate to a hundredth of a pixel. */
export const round = (v: number): number => Math.round(v * 100) / 100;

/** Minimum and maximum of values, widened by half if they are equal; `fallback` without values. */
export function extent(values: readonly number[], fallback: [number, number]): [number, number] {
  let [low, high] = [Infinity, -Infinity];
  for (const v of values) {
    low = Math.min(low, v);
    high = Math.max(high, v);
  }
  if (!(low <= high)) return fallback;
  const around = Math.abs(low) / 2 || 0.5;
  return low === high ? [low - around, high + around] : [low, high];
}

/** Formats a number briefly: 0.912, 12.3, 1.2e-5. */
export function short(value: number): string {
  const size = Math.abs(value);
  if (value === 0) return "0";
  return size >= 1e5 || size < 1e-3 ? value.toExponential(1).replace(".0e", "e") : String(+value.toPrecision(3));
}

/** At most MOST_POINTS points: the mean step and value of runs of neighbors. */
export function thin(points: readonly Point[]): readonly Point[] {
  const run = Math.ceil(points.length / MOST_POINTS);
  if (run <= 1) return points;
  return Array.from({ length: Math.ceil(points.length / run) }, (_, i): Point => {
    const group = points.slice(i * run, (i + 1) * run);
    const mean = (axis: 0 | 1) => group.reduce((sum, p) => sum + p[axis], 0) / group.length;
    return [mean(0), mean(1)];
  });
}

/** Centered moving average over a twentieth of the points: smooth and without lag. */
export function smooth(points: readonly Point[]): readonly Point[] {
  const half = Math.floor(points.length / 40);
  return points.map(([step, value], i): Point => {
    if (!Number.isFinite(value)) return [step, value];
    const near = points.slice(Math.max(0, i - half), i + half + 1).filter((p) => Number.isFinite(p[1]));
    return [step, near.reduce((sum, p) => sum + p[1], 0) / near.length];
  });
}

function valueScale(panel: ChartPanel, values: readonly number[], rows: [number, number]) {
  const domain = panel.range ? [...panel.range] : extent(values, [0, 1]);
  if (!panel.log) return scaleLinear().domain(domain).range(rows).nice(5);
  if (domain[0] > 0) return scaleLog().domain(domain).range(rows);
  return scaleSymlog().domain(domain).range(rows).nice(5);
}

/** About five ticks: d3's for linear scales; for logarithmic scales the decades, or 1, 2, 5 of each if they are few. */
function valueTicks(scale: ReturnType<typeof valueScale>, logarithmic: boolean): number[] {
  if (!logarithmic) return scale.ticks(5);
  const [low, high] = scale.domain();
  if (high / low < 3) return scaleLinear().domain([low, high]).ticks(5);
  const all: number[] = [];
  for (let power = Math.floor(Math.log10(low)); power <= Math.ceil(Math.log10(high)); power++) {
    for (const digit of [1, 2, 5]) all.push(Number(`${digit}e${power}`));
  }
  const inside = all.filter((v) => v >= low * 0.999 && v <= high * 1.001);
  const decades = inside.filter((v) => /^1(0*|e.*)$|^0\.0*1$/.test(String(v)));
  return inside.length > 8 && decades.length > 1 ? decades : inside;
}

interface Curve {
  readonly name: string;
  readonly points: readonly Point[];
  readonly color: string;
}

/** The header of a panel: its title, and the legend beside it or, if too long, in lines below. */
interface Head {
  readonly curves: readonly Curve[];
  readonly title: string;
  readonly labels: readonly {
    readonly label: string;
    readonly color: string;
    readonly x: number;
    readonly line: number;
  }[];
  /** Height of the lines below the title. */
  readonly extra: number;
}

function headOf(panel: ChartPanel): Head {
  const colors = panel.colors ?? COLORS;
  const curves = Object.entries(panel.series).map(([name, points], index) => ({
    name,
    points: thin(points),
    color: colors[index % colors.length],
  }));
  const labels = Object.values(panel.series).map((points, k) => {
    const last = [...points].reverse().find((p) => Number.isFinite(p[1]))?.[1];
    const value = panel.latest === false ? "" : ` ${last === undefined ? "-" : short(last)}`;
    const { name, color } = curves[k];
    return { label: shortened(name, ROOM - 36 - textWidth(value)) + value, color };
  });
  const title = shortened(panel.title, ROOM, 15);
  const widths = labels.map(({ label }) => textWidth(label) + 36);
  const all = widths.reduce((a, b) => a + b, 0);
  const beside = textWidth(title, 15) + all <= ROOM;
  const places = beside
    ? inLines(widths, Infinity).map(({ x, line }) => ({ x: ROOM - all + 14 + x, line }))
    : inLines(widths, ROOM);
  const lines = beside ? 0 : places.at(-1)!.line + 1;
  return {
    curves,
    title,
    extra: lines * LINE,
    labels: labels.map((each, k) => ({
      ...each,
      x: MARGIN.left + places[k].x,
      line: beside ? 0 : places[k].line + 1,
    })),
  };
}

function drawPanel(panel: ChartPanel, head: Head, top: number, steps: [number, number]): string {
  const columns: [number, number] = [MARGIN.left, WIDTH - MARGIN.right];
  const rows: [number, number] = [top + head.extra + PANEL_HEIGHT - MARGIN.bottom, top + head.extra + MARGIN.top];
  const x = scaleLinear().domain(steps).range(columns);
  const series = head.curves;
  const values = series.flatMap((s) => s.points.map((p) => p[1])).filter(Number.isFinite);
  const y = valueScale(panel, values, rows);
  const height = (value: number): number => Math.min(rows[0], Math.max(rows[1], y(value)));
  const path = (points: readonly Point[]): string => {
    const shown = (k: number): boolean => Number.isFinite(points[k]?.[1]);
    const parts = points.map(([step, value], k) => {
      if (!shown(k)) return "";
      const alone = !shown(k - 1) && !shown(k + 1);
      return `${shown(k - 1) ? "L" : "M"}${round(x(step))},${round(height(value))}${alone ? "Z" : ""}`;
    });
    return parts.join("");
  };
  const parts: string[] = [text(columns[0], top + 18, head.title, 'font-size="14" font-weight="600" fill="#1a1a1a"')];
  for (const tick of valueTicks(y, panel.log === true && y.domain()[0] > 0)) {
    const at = round(y(tick));
    if (at > rows[0] + 1 || at < rows[1] - 1) continue;
    parts.push(`<line x1="${columns[0]}" x2="${columns[1]}" y1="${at}" y2="${at}" stroke="#e6e6e6"/>`);
    parts.push(text(columns[0] - 8, at + 4, short(tick), 'text-anchor="end" fill="#555"'));
  }
  for (const tick of x.ticks(8)) {
    const at = round(x(tick));
    parts.push(`<line x1="${at}" x2="${at}" y1="${rows[1]}" y2="${rows[0]}" stroke="#f2f2f2"/>`);
    parts.push(text(at, rows[0] + 17, short(tick), 'text-anchor="middle" fill="#555"'));
  }
  parts.push(`<path d="M${columns[0]},${rows[1]}V${rows[0]}H${columns[1]}" fill="none" stroke="#888"/>`);
  for (const { points, color } of series) {
    const averaged = panel.smooth && points.length >= 20;
    const style = `fill="none" stroke="${color}" stroke-linejoin="round"`;
    if (averaged) parts.push(`<path d="${path(points)}" ${style} stroke-opacity="0.28"/>`);
    parts.push(`<path d="${path(averaged ? smooth(points) : points)}" ${style} stroke-width="2"/>`);
    if (averaged || points.length > 60) continue;
    for (const point of points) {
      if (!Number.isFinite(point[1])) continue;
      parts.push(`<circle cx="${round(x(point[0]))}" cy="${round(height(point[1]))}" r="2.6" fill="${color}"/>`);
    }
  }
  if (values.length === 0) {
    parts.push(
      text((columns[0] + columns[1]) / 2, (rows[0] + rows[1]) / 2, "no values yet", 'text-anchor="middle" fill="#888"'),
    );
  }
  for (const { label, color, x: at, line } of head.labels) {
    const y = top + 18 + line * LINE;
    parts.push(
      `<path d="M${round(at)},${y - 4}h16" fill="none" stroke="${color}" stroke-width="3"/>`,
      text(at + 22, y, label, 'fill="#333"'),
    );
  }
  return parts.join("\n");
}
