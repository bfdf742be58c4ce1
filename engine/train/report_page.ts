/** The page of a report: tables, sections, style. Texts are escaped here; what is called HTML is taken as it is. */
import { escapeXml } from "./plots.ts";

/** A table cell: a text, or a number, or something that is not defined. */
export type Cell = string | number | null | undefined;

const shown = (cell: Cell): string => {
  if (cell === null || cell === undefined || Number.isNaN(cell)) return "-";
  if (typeof cell === "string") return escapeXml(cell);
  return Number.isInteger(cell) ? String(cell) : cell.toFixed(3);
};

/** Rows under headings; columns that hold a number are aligned to the right. A click on a heading sorts. */
export function table(headings: readonly string[], rows: readonly (readonly Cell[])[]): string {
  const kind = (column: number): string => (rows.some((row) => typeof row[column] === "number") ? ' class="n"' : "");
  const kinds = headings.map((_, column) => kind(column));
  const line = (tag: string, cells: readonly Cell[]): string =>
    `<tr>${headings.map((_, c) => `<${tag}${kinds[c]}>${shown(cells[c])}</${tag}>`).join("")}</tr>`;
  const body = rows.map((row) => line("td", row)).join("\n");
  return `<table><thead>${line("th", headings)}</thead>\n<tbody>${body}</tbody></table>`;
}

/** A part of a page under a heading; `content` is HTML. */
export const section = (title: string, content: string): string =>
  `<section><h2>${escapeXml(title)}</h2>\n${content}</section>`;

const STYLE = `
body { font: 15px/1.5 system-ui, sans-serif; color: #1a1a1a; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; } th, td { padding: .2rem .8rem .2rem 0; text-align: left; vertical-align: top; }
summary { font-size: 1.5em; font-weight: bold; margin: 1em 0; cursor: pointer; }
th { border-bottom: 1px solid #888; cursor: pointer; } .n { text-align: right; font-variant-numeric: tabular-nums; }
td { border-bottom: 1px solid #e4e4e4; overflow-wrap: anywhere; } svg { max-width: 100%; height: auto; }
figure { margin: 1rem 0; } figcaption { color: #555; }
section:has(tbody tr:nth-child(30)) table { display: block; max-height: 40rem; overflow-y: auto; }
`;

const SORT = `
for (const th of document.querySelectorAll("th")) th.onclick = () => {
  const body = th.closest("table").tBodies[0], k = th.cellIndex, up = th.dataset.up !== "1";
  th.dataset.up = up ? "1" : "0";
  const value = (row) => { const t = row.cells[k].textContent; return t === "-" ? Infinity : isNaN(t) ? t : Number(t); };
  const order = (a, b) => (typeof a === typeof b ? (a < b ? -1 : a > b ? 1 : 0) : typeof a === "number" ? -1 : 1);
  body.append(...[...body.rows].sort((a, b) => (up ? 1 : -1) * order(value(a), value(b))));
};
`;

/**
 * A whole page: one file that needs nothing else. `sections` are HTML.
 *
 * @param options width: the largest, in rem
 */
export const page = (title: string, sections: readonly string[], options: { width?: number } = {}): string => `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>${escapeXml(title)}</title>
<meta name="viewport" content="width=device-width"><style>${STYLE}body { max-width: ${options.width ?? 60}rem; }</style></head>
<body><h1>${escapeXml(title)}</h1>
${sections.join("\n")}
<script>${SORT}</script></body></html>
`;
