/** Plots side by side in one SVG: layout, axes and legend shared by scatter plots and histograms. */
import { escapeXml, openSvg, round, short, text } from "./plots.ts";
import { inLines, shortened, textWidth } from "./svg_text.ts";

/** The text above the plot of a panel. */
export interface GridPanel {
  readonly title: string;
  /** Lines below the title, such as counts. */
  readonly notes?: readonly string[];
}

/** The rectangle of the plot. */
export interface Frame {
  readonly left: number;
  readonly right: number;
  readonly top: number;
  readonly bottom: number;
}

/** An entry of the legend: a filled mark, or a dashed line. */
export interface LegendEntry {
  readonly name: string;
  readonly color: string;
  readonly line?: boolean;
}

export interface GridOptions<P extends GridPanel> {
  readonly title?: string;
  readonly xLabel?: string;
  readonly yLabel?: string;
  readonly legend: readonly LegendEntry[];
  /** Ratio of a plot's height to its width. */
  readonly aspect: number;
  /** The content of a panel. */
  readonly draw: (panel: P, frame: Frame) => string;
}

const WIDTH = 900;
/** Largest width of a cell. */
const CELL = 430;
const COLUMNS = 3;
const MARGIN = { left: 58, right: 14, bottom: 50 };
const LINE = 16;

/** Panels in rows of at most three, the legend above. */
export function panelGridSvg<P extends GridPanel>(panels: readonly P[], options: GridOptions<P>): string {
  const { title, xLabel, yLabel, legend, aspect, draw } = options;
  const columns = Math.max(1, Math.min(COLUMNS, panels.length));
  const cell = Math.min(CELL, Math.floor(WIDTH / columns));
  const width = cell * columns;
  const plot = cell - MARGIN.left - MARGIN.right;
  const body: string[] = [];
  let y = 8;
  if (title) {
    body.push(text(16, 27, shortened(title, width - 32, 18), 'font-size="17" font-weight="600" fill="#1a1a1a"'));
    y = 40;
  }
  const key = drawLegend(legend, y, width);
  body.push(key.svg);
  y = key.bottom;
  for (let first = 0; first < panels.length; first += columns) {
    const row = panels.slice(first, first + columns);
    const notes = Math.max(...row.map((panel) => panel.notes?.length ?? 0));
    const top = y + 26 + notes * LINE;
    const frame = { top, bottom: top + plot * aspect };
    row.forEach((panel, index) => {
      const left = index * cell + MARGIN.left;
      const right = left + plot;
      const middle = (left + right) / 2;
      body.push(
        text(left, y + 16, shortened(panel.title, plot, 15), 'font-size="14" font-weight="600" fill="#1a1a1a"'),
        ...(panel.notes ?? []).map((note, k) =>
          text(left, y + 16 + (k + 1) * LINE, shortened(note, plot), 'fill="#555"')
        ),
        draw(panel, { left, right, ...frame }),
        `<path d="M${left},${top}V${round(frame.bottom)}H${right}" fill="none" stroke="#888"/>`,
        xLabel ? text(middle, frame.bottom + 36, xLabel, 'text-anchor="middle" fill="#333"') : "",
        yLabel ? sideways(left - 44, (top + frame.bottom) / 2, yLabel) : "",
      );
    });
    y = frame.bottom + MARGIN.bottom;
  }
  return [openSvg(width, Math.ceil(y)), ...body.filter((part) => part !== ""), "</svg>", ""].join("\n");
}

/** A scale of d3: where a value lies, and values for ticks. */
interface Scale {
  (value: number): number;
  ticks(count: number): number[];
}

/** Grid lines and tick labels of both axes. */
export function drawTicks(
  frame: Frame,
  scales: { x: Scale; y: Scale },
  counts: { x: number; y: number },
): string {
  const parts: string[] = [];
  for (const tick of scales.y.ticks(counts.y)) {
    const at = round(scales.y(tick));
    parts.push(`<line x1="${frame.left}" x2="${frame.right}" y1="${at}" y2="${at}" stroke="#ececec"/>`);
    parts.push(text(frame.left - 6, at + 4, short(tick), 'text-anchor="end" fill="#555"'));
  }
  for (const tick of scales.x.ticks(counts.x)) {
    const at = round(scales.x(tick));
    parts.push(`<line x1="${at}" x2="${at}" y1="${frame.top}" y2="${round(frame.bottom)}" stroke="#ececec"/>`);
    parts.push(text(at, frame.bottom + 17, short(tick), 'text-anchor="middle" fill="#555"'));
  }
  return parts.join("\n");
}

/** Placeholder text for an empty plot. */
export const drawNothing = (frame: Frame): string =>
  text((frame.left + frame.right) / 2, (frame.top + frame.bottom) / 2, "no values", 'text-anchor="middle" fill="#888"');

/** Each name once, in order of first appearance; entries without a color take the next of `colors`. */
export function legendOf(
  groups: readonly { readonly name: string; readonly color?: string }[],
  colors: readonly string[],
): LegendEntry[] {
  const entries = new Map<string, LegendEntry>();
  for (const { name, color } of groups) {
    if (!entries.has(name)) entries.set(name, { name, color: color ?? colors[entries.size % colors.length] });
  }
  return [...entries.values()];
}

function drawLegend(entries: readonly LegendEntry[], top: number, width: number): { svg: string; bottom: number } {
  const names = entries.map(({ name }) => shortened(name, width - 32 - 42));
  const places = inLines(names.map((name) => 42 + textWidth(name)), width - 32);
  const parts = entries.flatMap(({ color, line }, k) => {
    const [x, y] = [round(16 + places[k].x), top + 20 * places[k].line];
    return [
      line
        ? `<path d="M${x},${y + 9}h16" stroke="${color}" stroke-width="1.5" stroke-dasharray="4 3"/>`
        : `<rect x="${x}" y="${y + 3}" width="14" height="11" rx="2" fill="${color}"/>`,
      text(x + 22, y + 13, names[k], 'fill="#333"'),
    ];
  });
  return { svg: parts.join("\n"), bottom: entries.length > 0 ? top + 20 * places.at(-1)!.line + 26 : top };
}

const sideways = (x: number, y: number, content: string): string =>
  `<text transform="translate(${round(x)} ${round(y)}) rotate(-90)" text-anchor="middle" fill="#333">` +
  `${escapeXml(content)}</text>`;
