/** Texts in SVG pictures: how wide they are, and how a legend is laid out in lines. */

const NARROW = /[ijlftrI.,:;'|!()[\]{} -]/;
const WIDE = /[A-Z0-9&$?#=+<>~^_-]/;
const WIDEST = /[MWmw@%…]/;
/** Scripts whose characters are as wide as they are high, and pictures. */
const SQUARE = /[\u1100-\u11ff\u2e80-\ud7ff\uf900-\ufaff\ufe30-\ufe4f\uff00-\uff60\u{1f000}-\u{3ffff}]/u;

/** Pixels that a text takes, rather too many than too few: fonts differ, and there is none to measure by. */
export function textWidth(content: string, size = 12): number {
  let em = 0;
  for (const c of content) {
    em += SQUARE.test(c) ? 1.05 : NARROW.test(c) ? 0.38 : WIDEST.test(c) ? 0.95 : WIDE.test(c) ? 0.7 : 0.6;
  }
  return em * size;
}

/** The text, or as much of it as fits into some pixels, with an ellipsis. */
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

/** Where things of some widths stand beside each other, going on below where a line is full. */
export function inLines(widths: readonly number[], room: number): { x: number; line: number }[] {
  let [x, line] = [0, 0];
  return widths.map((width) => {
    if (x > 0 && x + width > room) [x, line] = [0, line + 1];
    const place = { x, line };
    x += width;
    return place;
  });
}

/** Parts of a text, put together with a comma, in lines of some pixels; a part that is longer than a line is cut. */
export function wrapped(parts: readonly string[], room: number, size = 12): string[] {
  const lines: string[] = [];
  for (const part of parts.map((each, k) => shortened(k < parts.length - 1 ? `${each},` : each, room, size))) {
    const longer = lines.length > 0 ? `${lines.at(-1)} ${part}` : part;
    if (lines.length > 0 && textWidth(longer, size) <= room) lines[lines.length - 1] = longer;
    else lines.push(part);
  }
  return lines;
}
