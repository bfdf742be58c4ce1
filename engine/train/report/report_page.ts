/** The page of a report: tables, sections, style. Strings are escaped here; HTML is inserted as is. */
import { sha256 } from "../../core/digest.ts";
import { base64 } from "../run/base64.ts";
import { escapeXml } from "../plot/plots.ts";

/** A table cell: a string, a number, or undefined. */
export type Cell = string | number | null | undefined;

const shown = (cell: Cell): string => {
  if (cell === null || cell === undefined || Number.isNaN(cell)) return "-";
  if (typeof cell !== "number") return escapeXml(String(cell));
  return Number.isInteger(cell) ? String(cell) : cell.toFixed(3);
};

/** Rows under headings; columns with numbers are right-aligned. A click on a heading sorts. */
export function table(headings: readonly string[], rows: readonly (readonly Cell[])[]): string {
  if (rows.length === 0) return "<p>There is nothing to show.</p>";
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

/** A possibly untrusted SVG as an image: in an <img> browsers run no scripts and load no resources. */
export function picture(svg: string, title: string): string {
  // Inline SVG needs no namespace; in an image it does.
  const named = svg.replace(/<svg\b(?![^>]*\sxmlns\s*=)/, '<svg xmlns="http://www.w3.org/2000/svg"');
  const encoded = named.replace(
    /[^ !$'()*+,\-./0-9:;=@A-Z[\]_a-z{}~]+/g,
    (part) => encodeURIComponent(part.replace(/[\ud800-\udfff]/gu, "\ufffd")),
  );
  return `<img src="data:image/svg+xml;charset=utf-8,${encoded}" alt="${escapeXml(title)}">`;
}

const STYLE = `
body { font: 15px/1.5 system-ui, sans-serif; color: #1a1a1a; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; } th, td { padding: .2rem .8rem .2rem 0; text-align: left; vertical-align: top; }
summary { font-size: 1.5em; font-weight: bold; margin: 1em 0; cursor: pointer; }
th { border-bottom: 1px solid #888; cursor: pointer; } .n { text-align: right; font-variant-numeric: tabular-nums; }
td { border-bottom: 1px solid #e4e4e4; overflow-wrap: anywhere; } svg, img { max-width: 100%; height: auto; }
figure { margin: 1rem 0; } figcaption { color: #555; }
section:has(tbody tr:nth-child(30)) table { display: block; max-height: 40rem; overflow-y: auto; }
`;

const SORT = `
for (const th of document.querySelectorAll("th")) th.onclick = () => {
  const body = th.closest("table").tBodies[0], k = th.cellIndex, up = th.dataset.up !== "1";
  th.dataset.up = up ? "1" : "0";
  const value = (row) => {
    const t = row.cells[k].textContent;
    return t === "-" ? Infinity : isNaN(t) ? t : Number(t);
  };
  const order = (a, b) => (typeof a === typeof b ? (a < b ? -1 : a > b ? 1 : 0) : typeof a === "number" ? -1 : 1);
  body.append(...[...body.rows].sort((a, b) => (up ? 1 : -1) * order(value(a), value(b))));
};
`;

/** Content security policy: only the page's own style, its one script, and embedded images. */
const policy = async (): Promise<string> => {
  const hash = base64(Uint8Array.from((await sha256(SORT)).match(/../g)!, (pair) => parseInt(pair, 16)));
  return `default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-${hash}'; base-uri ` +
    "'none'; form-action 'none'";
};

/**
 * A self-contained page. `sections` are HTML.
 *
 * @param options width: maximum width, in rem
 */
export const page = async (
  title: string,
  sections: readonly string[],
  options: { width?: number } = {},
): Promise<string> =>
  `<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="${await policy()}"><title>${escapeXml(title)}</title>
<meta name="viewport" content="width=device-width"><style>${STYLE}body { max-width: ${
    options.width ?? 60
  }rem; }</style></head>
<body><h1>${escapeXml(title)}</h1>
${sections.join("\n")}
<script>${SORT}</script></body></html>
`;
