// JavaScript as it is published: minified, but in lines of a statement each, so that an error that nobody catches
// prints the one that threw it; with a map of lines, which is a tenth of one with columns.
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { decode, encode } from "@jridgewell/sourcemap-codec";
import { build, type Plugin, transform } from "esbuild";

/** Where a line ends, if what follows begins with a token that the map places. */
const END = /(?:[;}]|(?<!\$)\{)$/;

interface SourceMap {
  readonly version: number;
  readonly sources: readonly string[];
  readonly mappings: string;
}

/** Lines of kernels without indentation and comments: most of their text is no code that a minifier sees. */
const kernelLines = (source: string): { text: string; line: number }[] =>
  source.split("\n").map((text, line) => ({ text: text.trimStart(), line })).filter(({ text }) =>
    text !== "" && !/^\/\/(?!#)/.test(text)
  );

const KERNELS = /[\\/]shaders[\\/].*\.ts$/;

/** Gives esbuild the kernels so. Outside of their templates spaces and comments at the start of a line mean nothing. */
export const shortKernels: Plugin = {
  name: "short kernels",
  setup({ onLoad }) {
    onLoad({ filter: KERNELS }, async ({ path }) => ({
      contents: kernelLines(await readFile(path, "utf8")).map(({ text }) => text).join("\n"),
      loader: "ts",
    }));
  },
};

/**
 * Minified code with the lines of its source.
 *
 * @param map of columns, of one source
 * @param lineOf the line of the source that its line k was, from 0 on
 */
function inLines(code: string, map: SourceMap, lineOf: (k: number) => number): { code: string; map: string } {
  const lines: string[] = [];
  const places: [number, number, number, number][][] = [];
  const add = (text: string, source: number | undefined): void => {
    lines.push(text);
    places.push(source === undefined ? [] : [[0, 0, lineOf(source), 0]]);
  };
  const segments = decode(map.mappings);
  code.split("\n").forEach((line, k) => {
    let start = 0;
    let source: number | undefined;
    for (const [column, , at] of segments[k] ?? []) {
      if (at === undefined || at === source) continue;
      if (source !== undefined && END.test(line.slice(start, column))) {
        add(line.slice(start, column), source);
        start = column;
        source = undefined;
      }
      source ??= at;
    }
    add(line.slice(start), source);
  });
  const { version, sources } = map;
  return { code: lines.join("\n"), map: JSON.stringify({ version, sources, names: [], mappings: encode(places) }) };
}

/** Sources by themselves as JavaScript with maps, by the names of the files in the folder `outdir`. */
export async function javaScriptOf(
  root: string,
  sources: readonly string[],
  outdir: string,
): Promise<Map<string, { code: string; map: string }>> {
  const { outputFiles } = await build({
    absWorkingDir: root,
    entryPoints: [...sources],
    outbase: ".",
    outdir,
    format: "esm",
    target: "es2022",
    minify: true,
    plugins: [shortKernels],
    sourcemap: true,
    sourcesContent: false,
    write: false,
  });
  const texts = new Map(outputFiles.map(({ path, text }) => [path, text]));
  const made = new Map<string, { code: string; map: string }>();
  for (const source of sources) {
    const file = join(root, outdir, source.replace(/\.ts$/, ".js"));
    const map = JSON.parse(texts.get(`${file}.map`)!) as SourceMap;
    const kept = KERNELS.test(`/${source}`) ? kernelLines(await readFile(join(root, source), "utf8")) : undefined;
    const code = texts.get(file)!;
    // Of types alone nothing is left, and nothing imports it.
    if (/^\s*(\/\/#.*)?\s*$/.test(code)) continue;
    const own = inLines(code, map, (k) => kept?.[k].line ?? k);
    const [before, after] = await Promise.all([code, own.code].map((each) => transform(each, { minify: true })));
    if (before.code !== after.code) throw new Error(`${source}: its lines end where none may`);
    made.set(file, own);
  }
  return made;
}
