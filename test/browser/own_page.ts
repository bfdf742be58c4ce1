/** The page of engine/train/README.md, which trains by itself, and its training in Node. */
import { File } from "node:buffer";
import { mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { memoryFiles, mountFiles, setHost } from "../../engine/mod.ts";
import { bundle } from "../../engine/platform/cli/bundle.ts";
import { serveLoopback } from "../../engine/platform/cli/loopback.ts";
import { blocksOf, ROOT } from "../helpers/examples.ts";

const SMALL = 'steps: 5, folds: 2, features: [4, 8], patch: [16, 16, 16], augment: "mirror"';
const HTML = '<!doctype html><input id="folder" type="file" webkitdirectory><button id="stop">Stop</button>' +
  '<p id="status"></p><script type="module" src="page.js"></script>';

/** The script of the guide, smaller, which imports the sources. */
function guide(): { training: string; page: string } {
  const { code } = blocksOf("engine/train/README.md").find(({ code }) => code.includes("webkitdirectory"))!;
  const entries: Record<string, string> = { "": "engine/mod.ts", "/models": "models/mod.ts" };
  const whole = code.replace("steps: 400", SMALL).replace(
    /from "voxgrad(\/?\w*)"/g,
    (_, entry: string) => `from ${JSON.stringify(join(ROOT, entries[entry] ?? `engine${entry}/mod.ts`))}`,
  );
  const [training, page] = whole.split("// The page has");
  return { training, page: `${training}//${page}` };
}

/**
 * A module whose default export takes a number of steps, trains the guide's network on phantoms in memory, and gives the
 * loss of each step; `use` takes its file.
 */
export const withPhantomTraining = <T>(use: (file: string) => Promise<T>): Promise<T> =>
  written(
    `${guide().training}
import { memoryFiles } from ${JSON.stringify(join(ROOT, "engine/mod.ts"))};
export default async function (steps: number): Promise<number[]> {
  const files = memoryFiles();
  setHost({ files, log: () => undefined });
  const small = { phantoms: 3, folds: 3, features: [4, 8], patch: [16, 16, 16] };
  await train({ ...small, steps }, new AbortController().signal);
  setHost({ files: undefined, log: undefined });
  const log = new TextDecoder().decode(await files.read("runs/mine/log.jsonl"));
  return log.trimEnd().split("\\n").map((line) => JSON.parse(line).loss);
}
`,
    use,
  );

async function written<T>(code: string, use: (file: string) => Promise<T>): Promise<T> {
  const folder = join(ROOT, `.cache/page-${process.pid}`);
  await mkdir(folder, { recursive: true });
  try {
    await writeFile(join(folder, "page.ts"), code);
    return await use(join(folder, "page.ts"));
  } finally {
    await rm(folder, { recursive: true });
  }
}

/** Serves the page. */
export async function serveOwnPage() {
  const { code } = await written(guide().page, (file) => bundle(file));
  return serveLoopback(0, {
    "/": () => ({ type: "text/html", body: HTML }),
    "/page.js": () => ({ type: "text/javascript", body: code }),
  });
}

/** The lines of log.jsonl of the same training in Node, on the Files of a folder. */
export async function trainInNode(data: string): Promise<string> {
  const module = await written(guide().training, (file) => import(pathToFileURL(file).href));
  const entries = await readdir(data, { recursive: true, withFileTypes: true });
  const list = entries.filter((entry) => entry.isFile()).map(async (entry) => {
    const path = join(entry.parentPath, entry.name);
    return new File([await readFile(path)], path.slice(data.length + 1));
  });
  const files = memoryFiles();
  setHost({ files, log: () => undefined });
  try {
    const options = new Function(`return { ${SMALL} }`)();
    await module.train({ ...options, data: mountFiles(await Promise.all(list), "data") }, new AbortController().signal);
    return new TextDecoder().decode(await files.read("runs/mine/log.jsonl"));
  } finally {
    setHost({ files: undefined, log: undefined });
  }
}
