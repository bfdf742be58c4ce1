/** Text in SVG: estimates widths and lays out legends in lines. */

const NARROW = /[ijlftrI.,:;'|!()[\]{} -]/;
const WIDE = /[A-Z0-9&$?#=+<>~^_-]/;
const WIDEST = /[MWmw@%…]/;
/** Scripts with square characters, and emoji. */
const SQUARE = /[\u1100-\u11ff\u2e80-\ud7ff\uf900-\ufaff\ufe30-\ufe4f\uff00-\uff60\u{1f000}-\u{3ffff}]/u;

/** Estimated width of a string in pixels, on the high side, because the font is unknown. */
export function textWidth(content: string, size = 12): number {
  let em = 0;
  for (const c of content) {
    em += SQUARE.test(c) ? 1.05 : NARROW.test(c) ? 0.38 : WIDEST.test(c) ? 0.95 : WIDE.test(c) ? 0.7 : 0.6;
  }
  return em * size;
}

/** The string, truncated with an ellipsis to fit a width in pixels. */
export function shortened(content: string, room: number, size = 12): string {
  if (textWidth(content, size) <= room) return content;
  const characters = [...content];
  let left = room - textWidth("…", size);
  let count = 0;
  for (; count < characters.length; count++) {
    left -= textWidth(characters[count], size);
    if (left < 0) break;
  }
  return `${characters.slice(0, count).join("").trimEnd()}…`;
}

/** Positions of items side by side, wrapping to the next line when one is full. */
export function inLines(widths: readonly number[], room: number): { x: number; line: number }[] {
  let [x, line] = [0, 0];
  return widths.map((width) => {
    if (x > 0 && x + width > room) [x, line] = [0, line + 1];
    const place = { x, line };
    x += width;
    return place;
  });
}

/** Joins parts with commas and wraps them to a width in pixels; parts longer than a line are truncated. */
export function wrapped(parts: readonly string[], room: number, size = 12): string[] {
  const lines: string[] = [];
  for (const part of parts.map((each, k) => shortened(k < parts.length - 1 ? `${each},` : each, room, size))) {
    const longer = lines.length > 0 ? `${lines.at(-1)} ${part}` : part;
    if (lines.length > 0 && textWidth(longer, size) <= room) lines[lines.length - 1] = longer;
    else lines.push(part);
  }
  return lines;
}
