/** Dot plots of an experiment: arms in rows, measures side by side. Scales by d3. */
import { scaleLinear } from "d3-scale";
import { COLORS, escapeXml, openSvg, round, short, text } from "./plots.ts";

/** The content of one row of one panel. */
export interface RowMark {
  /** Drawn as a bar, or as a point with an interval. */
  readonly mean: number;
  /** Drawn small, one below the other. */
  readonly dots?: readonly number[];
  readonly interval?: readonly [number, number];
  /** Written at the right. */
  readonly label: string;
}

/** Rows under a heading. */
export interface RowBlock {
  readonly title: string;
  /** marks: one per panel; undefined leaves it empty. muted: gray, for the reference arm. */
  readonly rows: readonly {
    readonly name: string;
    readonly muted?: boolean;
    readonly marks: readonly (RowMark | undefined)[];
  }[];
}

export interface RowColumn {
  readonly title: string;
  /** Small, below the title. */
  readonly note?: string;
  /** Drawn as a line through the rows of a block: 0 of differences; "muted" is the mean of the muted row. */
  readonly line: number | "muted";
  /** Limits of possible values, where the axis ends. */
  readonly limits?: readonly [number, number];
}

const WIDTH = 1000;
const ROW = 26;
const AXIS = 36;
/** Height of a block's title, and of panel titles with their notes. */
const HEAD = 66;
const LABEL = 52;
const GAP = 16;
const MOST_COLUMNS = 4;
const CHARACTER = 6.4;

/**
 * A dot plot: blocks one above the other, columns side by side (at most four, further ones below).
 *
 * @returns an SVG document
 * @example
 * ```ts
 * import { rowsSvg } from "voxgrad/train";
 *
 * const marks = [{ mean: 0.81, dots: [0.8, 0.82], label: "0.81" }];
 * const blocks = [{ title: "liver", rows: [{ name: "U-Net", marks }] }];
 * const svg = rowsSvg(blocks, [{ title: "Dice", line: "muted", limits: [0, 1] }], { title: "Arms" });
 * ```
 */
export function rowsSvg(
  blocks: readonly RowBlock[],
  columns: readonly RowColumn[],
  options: { title: string },
): string {
  const names = blocks.flatMap((block) => block.rows.map((row) => row.name.length));
  const left = Math.min(16 + CHARACTER * Math.max(8, ...names) + 14, WIDTH * 0.34);
  const fitting = Math.floor((left - 30) / CHARACTER);
  const parts: string[] = [];
  let top = 42;
  for (const block of blocks) {
    for (let from = 0; from < columns.length; from += MOST_COLUMNS) {
      const shown = columns.slice(from, from + MOST_COLUMNS);
      // As wide as if the last line of panels were full, so that panels align.
      const width = (WIDTH - left - 8) / Math.min(columns.length, MOST_COLUMNS);
      parts.push(text(16, top + 16, block.title, 'font-size="14" font-weight="600" fill="#1a1a1a"'));
      for (const [index, { name, muted }] of block.rows.entries()) {
        const y = top + HEAD + (index + 0.5) * ROW;
        const cut = name.length > fitting ? `${name.slice(0, fitting - 1).trimEnd()}…` : name;
        parts.push(
          `<g><title>${escapeXml(name)}</title>${text(16, y + 4, cut, `fill="${muted ? "#666" : "#1a1a1a"}"`)}</g>`,
        );
      }
      shown.forEach((column, k) => parts.push(panel(block, column, from + k, left + k * width, top, width)));
      top += HEAD + block.rows.length * ROW + AXIS + 10;
    }
  }
  const title = text(16, 27, options.title, 'font-size="17" font-weight="600" fill="#1a1a1a"');
  return [openSvg(WIDTH, Math.round(top)), title, ...parts, "</svg>", ""].join("\n");
}

function panel(block: RowBlock, column: RowColumn, index: number, x0: number, top: number, width: number): string {
  const rows = block.rows.map((row) => ({ ...row, mark: row.marks[index] }));
  const muted = rows.find((row) => row.muted)?.mark?.mean ?? NaN;
  const line = column.line === "muted" ? muted : column.line;
  const values = rows.flatMap(({ mark }) => (mark ? [mark.mean, ...(mark.dots ?? []), ...(mark.interval ?? [])] : []));
  const right = x0 + width - GAP - LABEL;
  const x = scaleLinear().domain(domainOf([...values, line], column.limits)).range([x0, right]).nice(4);
  const [above, below] = [top + HEAD - 2, top + HEAD + rows.length * ROW];
  const parts = [text(x0, top + 40, column.title, 'font-weight="600" fill="#333"')];
  if (column.note) parts.push(text(x0, top + 55, column.note, 'font-size="10.5" fill="#777"'));
  for (const tick of x.ticks(Math.max(2, Math.floor((right - x0) / 30)))) {
    const at = round(x(tick));
    parts.push(`<line x1="${at}" x2="${at}" y1="${above}" y2="${below}" stroke="#ececec"/>`);
    parts.push(text(at, below + 15, short(tick).replace(/^-/, "−"), 'text-anchor="middle" font-size="11" fill="#666"'));
  }
  parts.push(`<path d="M${round(x0)},${below}H${round(right)}" stroke="#999" fill="none"/>`);
  if (Number.isFinite(line)) {
    const at = round(x(line));
    parts.push(`<line x1="${at}" x2="${at}" y1="${above}" y2="${below}" stroke="#777" stroke-dasharray="3 3"/>`);
  }
  for (const [at, row] of rows.entries()) {
    const y = top + HEAD + (at + 0.5) * ROW;
    const { mark } = row;
    if (!mark) continue;
    const color = row.muted ? "#666666" : COLORS[0];
    parts.push(drawMark(mark, color, (value) => round(x(value)), y));
    parts.push(
      text(right + 8, y + 4, mark.label, 'font-size="11" fill="#333" style="font-variant-numeric:tabular-nums"'),
    );
  }
  return parts.join("\n");
}

function drawMark(
  { mean, dots = [], interval }: RowMark,
  color: string,
  x: (value: number) => number,
  y: number,
): string {
  const parts: string[] = [];
  if (interval && interval.every(Number.isFinite)) {
    const [low, high] = interval.map(x);
    parts.push(
      `<path d="M${low},${y}H${high}M${low},${y - 4}v8M${high},${
        y - 4
      }v8" stroke="${color}" stroke-width="1.5" fill="none"/>`,
    );
  }
  // A seed has the same height within every row, so that arms can be compared seed by seed.
  for (const [k, value] of dots.entries()) {
    if (!Number.isFinite(value)) continue;
    const cy = round(y + (dots.length > 1 ? (k / (dots.length - 1) - 0.5) * 12 : 0));
    parts.push(`<circle cx="${x(value)}" cy="${cy}" r="2.8" fill="${color}" fill-opacity="0.5"/>`);
  }
  if (!Number.isFinite(mean)) return parts.join("\n");
  if (interval) {
    // Filled if the interval excludes 0.
    const fill = interval[0] > 0 || interval[1] < 0 ? color : "#fff";
    parts.push(`<circle cx="${x(mean)}" cy="${y}" r="4" fill="${fill}" stroke="${color}" stroke-width="1.5"/>`);
  } else {
    parts.push(`<path d="M${x(mean)},${y - 9}v18" stroke="${color}" stroke-width="2.5" fill="none"/>`);
  }
  return parts.join("\n");
}

/** The range of the values with a margin, within the limits. */
function domainOf(
  values: readonly number[],
  limits: readonly [number, number] = [-Infinity, Infinity],
): [number, number] {
  const finite = values.filter(Number.isFinite);
  if (finite.length === 0) return [0, 1];
  const [low, high] = [Math.min(...finite), Math.max(...finite)];
  const margin = (high - low) * 0.06 || Math.abs(high) * 0.05 || 0.5;
  return [Math.max(limits[0], low - margin), Math.min(limits[1], high + margin)];
}
