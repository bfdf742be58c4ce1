// Weighs what npm publishes, and fails above the limits. `npm run size`; a limit is raised with its reason in
// CHANGELOG.md.
import { execFileSync } from "node:child_process";
import { mkdtemp, readdir, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { gzipSync } from "node:zlib";
import { packageRoot } from "../package_root.ts";

const root = fileURLToPath(packageRoot);
const reexports = (entries: Readonly<Record<string, string>>): string =>
  Object.entries(entries).map(([entry, names]) => `export ${names} from "voxgrad${entry}";\n`).join("");
const inference = reexports({ "/models": "{ openModel }" });
const everything = reexports({ "": "*", "/nn": "*", "/imaging": "*", "/train": "*", "/models": "*" });

const npm = (words: readonly string[], cwd: string): string =>
  execFileSync("npm", [...words, "--no-audit", "--no-fund", "--loglevel=error"], { cwd, encoding: "utf8" });

/** Bytes of the files in a folder. */
async function sizeOf(folder: string): Promise<number> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
  return (await Promise.all(files.map((file) => stat(file)))).reduce((sum, { size }) => sum + size, 0);
}

/** Vite's bundler. */
const ROLLDOWN = "rolldown@1.3.3";

interface Chunk {
  readonly fileName: string;
  readonly isEntry: boolean;
  readonly imports: readonly string[];
  readonly code: string;
}

/** Minified modules of the browser. */
async function bundled(contents: string, cwd: string): Promise<readonly Chunk[]> {
  await writeFile(join(cwd, "page.js"), contents);
  const { rolldown } = await import(pathToFileURL(join(cwd, "node_modules/rolldown/dist/index.mjs")).href);
  const bundle = await rolldown({ cwd, input: "page.js", platform: "browser" });
  const { output } = await bundle.generate({ format: "esm", minify: true });
  return output as readonly Chunk[];
}

/** Bytes of the chunks that a page loads at once, compressed, and of each that it loads when needed. */
function chunkSizes(output: readonly Chunk[]): { first: number; later: Map<string, number> } {
  const atOnce = new Set(output.filter(({ isEntry }) => isEntry).map(({ fileName }) => fileName));
  for (const name of atOnce) {
    for (const other of output.find(({ fileName }) => fileName === name)!.imports) atOnce.add(other);
  }
  const later = new Map<string, number>();
  let first = 0;
  for (const { fileName, code } of output) {
    const bytes = gzipSync(code, { level: 9 }).length;
    if (atOnce.has(fileName)) first += bytes;
    else later.set(fileName, bytes);
  }
  return { first, later };
}

const folder = await mkdtemp(join(tmpdir(), "voxgrad-size-"));
try {
  const [{ filename, size }] = JSON.parse(npm(["pack", "--json", "--pack-destination", folder], root));
  await writeFile(join(folder, "package.json"), '{ "private": true }');
  npm(["install", join(folder, filename)], folder);
  const installed = await sizeOf(join(folder, "node_modules"));
  npm(["install", ROLLDOWN], folder);
  const { first, later } = chunkSizes(await bundled(inference, folder));
  const { first: whole } = chunkSizes(await bundled(everything, folder));
  const rows: [what: string, bytes: number, limit: number][] = [
    ["tarball", size, 1720e3],
    ["browser install", installed, 8.4e6],
    ["inference, minified and gzipped", first, 124e3],
    ["everything but what is loaded when needed", whole, 420e3],
  ];
  for (const [what, bytes, limit] of rows) {
    const over = bytes > limit ? "  TOO LARGE" : "";
    console.log(`${what.padEnd(44)}${(bytes / 1e3).toFixed(1).padStart(8)} kB of ${limit / 1e3}${over}`);
  }
  for (const [name, bytes] of later) {
    console.log(
      `${`  loaded when needed: ${name.replace(/-.*/, "")}`.padEnd(44)}${(bytes / 1e3).toFixed(1).padStart(8)} kB`,
    );
  }
  if (rows.some(([, bytes, limit]) => bytes > limit)) process.exitCode = 1;
} finally {
  await rm(folder, { recursive: true });
}
