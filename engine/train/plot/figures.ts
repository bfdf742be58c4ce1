/** Figures of a run: SVG files in its folder figures/, each with title and caption inside, shown in reports. */
import { platform } from "#platform";
import { VoxgradError } from "../../core/errors.ts";
import { escapeXml } from "./plots.ts";
import type { RunFolder } from "../run/run_folder.ts";

const FOLDER = "figures";

export interface Figure {
  /** Name of the file, without .svg. Reports show figures in the order of their names. */
  readonly name: string;
  readonly title: string;
  /** Caption, one or two sentences. */
  readonly caption: string;
  /** The document, without title and desc elements. */
  readonly svg: string;
}

/**
 * Writes a figure to figures/NAME.svg of a run. Title and caption become the title and desc elements of the SVG, so the
 * file is self-describing.
 *
 * @throws VoxgradError if it is not an SVG document
 * @example
 * ```ts
 * import { chartSvg, RunFolder, writeFigure } from "voxgrad/train";
 *
 * const svg = chartSvg([{ title: "Loss", series: { training: [[1, 0.9], [2, 0.7]] } }]);
 * await writeFigure(new RunFolder("runs/mine"), { name: "loss", title: "Loss", caption: "Of two steps.", svg });
 * ```
 */
export async function writeFigure(run: RunFolder, figure: Figure): Promise<string> {
  const { name, title, caption, svg } = figure;
  const start = /<svg\b[^>]*>/.exec(svg);
  if (!start) throw new VoxgradError(`writeFigure: ${name} is no SVG document; there is no svg element`);
  const at = start.index + start[0].length;
  const said = `\n<title>${escapeXml(title)}</title>\n<desc>${escapeXml(caption)}</desc>`;
  return run.write(`${FOLDER}/${name}.svg`, svg.slice(0, at) + said + svg.slice(at));
}

/**
 * The figures in a run's folder, ordered by name: those of writeFigure, and SVG files put there by hand, titled by file
 * name if they have no title.
 *
 * @param path of the run's folder
 * @throws VoxgradError for an .svg file that is not an SVG document
 * @example
 * ```ts
 * import { readFigures } from "voxgrad/train";
 *
 * for (const { title, caption, svg } of await readFigures("runs/liver-001")) console.log(title, caption, svg.length);
 * ```
 */
export async function readFigures(path: string): Promise<Figure[]> {
  const folder = `${path}/${FOLDER}`;
  if (!(await platform.exists(folder))) return [];
  const figures: Figure[] = [];
  for (const file of await platform.listFiles(folder)) {
    if (!file.endsWith(".svg")) continue;
    const source = new TextDecoder().decode(await platform.readFile(`${folder}/${file}`));
    const at = source.search(/<svg\b/);
    if (at < 0) throw new VoxgradError(`${folder}/${file}: it is no SVG document; correct it or remove it`);
    const name = file.slice(0, -".svg".length);
    // Only direct children of the root describe the document; shapes may have titles too.
    let svg = source.slice(at);
    const take = (element: string): string | undefined => {
      const found = new RegExp(`^(<svg\\b[^>]*>)\\s*<${element}>([^<]*)</${element}>`).exec(svg);
      if (!found) return undefined;
      svg = found[1] + svg.slice(found[0].length);
      return unescaped(found[2]);
    };
    const title = take("title") ?? name;
    figures.push({ name, title, caption: take("desc") ?? "", svg });
  }
  return figures;
}

const NAMED: Readonly<Record<string, string>> = { amp: "&", lt: "<", gt: ">", quot: '"', apos: "'" };

const unescaped = (text: string): string =>
  text.replace(
    /&(?:#(\d+)|(amp|lt|gt|quot|apos));/g,
    (_, code, name) => (name ? NAMED[name] : Number(code) <= 0x10ffff ? String.fromCodePoint(Number(code)) : "\ufffd"),
  );
